"""The file of a SQLite store: whose it is, its version, its size, and what is said when something is wrong with it."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from patinox.core.chunks import Outcome
from patinox.core.keys import StreamKey
from patinox.errors import StoreError, StreamGone
from patinox.stores.base import Deleted, StreamFacts
from patinox.stores.sqlite import SqliteStore
from patinox.stores.sqlite.schema import STEPS
from patinox.testing.contract.bench import Told, Writer, stored
from patinox.testing.fakes import ManualClock

KIB = 1024


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, **{"synchronous": "normal", "busy_timeout_s": 0.0, **options})
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def created(store: SqliteStore, name: str = "a", **fields: Any) -> Writer:
    facts = StreamFacts(StreamKey("", name), f"epoch{name}", 1.0, **{"ttl_s": 60.0, **fields})
    return Writer(store, await store.create(facts, "node", 60.0))


async def filled(store: SqliteStore, name: str, size_bytes: int) -> Writer:
    writer = await created(store, name)
    for _ in range(size_bytes // (16 * KIB)):
        await writer.write("x" * 16 * KIB)
    return writer


async def written_until_it_is_refused(writer: Writer) -> None:
    while True:
        await writer.write("x" * 16 * KIB)


# ── whose file it is ──


async def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "streams.db"
    async with opened(path):
        assert path.stat().st_mode & 0o777 == 0o600


async def test_a_second_store_on_the_file_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "streams.db"):
        with pytest.raises(StoreError, match="in use by another process"):
            await SqliteStore(tmp_path / "streams.db", busy_timeout_s=0.0).open()


async def test_the_file_is_free_when_the_store_is_closed(tmp_path: Path) -> None:
    for _ in range(2):
        async with opened(tmp_path / "streams.db") as store:
            await store.probe()


async def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE streams (x)")
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        await SqliteStore(path).open()
    assert path.read_bytes() == before


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n" * 100)
    with pytest.raises(StoreError, match="not a SQLite database"):
        await SqliteStore(path).open()


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be opened"):
        await SqliteStore(tmp_path / "file" / "streams.db").open()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path / "streams.db") as store:
        pass
    with pytest.raises(StoreError, match="closed"):
        await store.probe()


# ── its version ──

NEXT = (*STEPS, "ALTER TABLE streams ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'")


async def test_an_earlier_version_is_brought_forward_with_all_it_has(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    async with opened(path) as store:
        writer = await created(store)
        await writer.write("kept")
    async with opened(path, steps=NEXT) as store:
        assert await stored(store, writer.key) == writer.written
    file = sqlite3.connect(path)
    assert file.execute("SELECT colour FROM streams").fetchall() == [("blue",)]
    assert file.execute("PRAGMA user_version").fetchone() == (len(NEXT),)
    file.close()


async def test_a_step_that_fails_leaves_the_version_before(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    async with opened(path) as store:
        writer = await created(store)
    broken = (*STEPS, "CREATE TABLE half (x); ALTER TABLE missing ADD COLUMN y")
    with pytest.raises(StoreError, match="no such table"):
        await SqliteStore(path, steps=broken).open()
    async with opened(path, steps=NEXT) as store:
        assert (await store.load(writer.key)).facts == writer.record.facts


async def test_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    async with opened(path, steps=NEXT):
        pass
    with pytest.raises(StoreError, match=r"later version of Patinox \(schema 2; this one knows 1\)"):
        await SqliteStore(path).open()


# ── leases ──


async def test_leases_of_a_process_before_count_from_opening(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path / "streams.db", clock=clock) as store:
        writer = await created(store)
    await clock.advance(1000.0)
    async with opened(tmp_path / "streams.db", clock=clock) as store:
        assert await store.orphans(9) == []
        await clock.advance(59.0)
        assert await store.orphans(9) == []
        await clock.advance(1.0)
        assert await store.orphans(9) == [writer.key]


# ── its size ──


async def test_under_the_cap_the_streams_that_ended_first_make_room(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    async with opened(path, max_store_bytes=4096 * KIB) as store:
        first = await filled(store, "first", 256 * KIB)
        told = Told()
        await store.watch(first.key, told)
        await first.end()
        writers = [first]
        for number in range(40):
            writers.append(await filled(store, f"s{number}", 256 * KIB))
            await writers[-1].end()
        with pytest.raises(StreamGone):
            await store.load(first.key)
        assert told.news[-1] == Deleted()
        assert await stored(store, writers[-1].key) == writers[-1].written
    assert path.stat().st_size <= 4096 * KIB


async def test_a_cap_reached_by_open_streams_refuses_what_comes_until_there_is_room(tmp_path: Path) -> None:
    async with opened(tmp_path / "streams.db", max_store_bytes=1024 * KIB) as store:
        old = await created(store, "old")
        writer = await created(store)
        with pytest.raises(StoreError, match="max_store_bytes"):
            await written_until_it_is_refused(old)
        record = await store.load(old.key)
        assert record.head == len(old.written)  # what was refused left nothing behind
        await store.delete(old.key)
        await writer.write("goes on")
        assert await stored(store, writer.key) == writer.written


async def test_what_was_deleted_is_given_back_to_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    async with opened(path) as store:
        await filled(store, "large", 8192 * KIB)
        await store.delete(StreamKey("", "large"))
        for _ in range(40):
            await store.probe()
    assert path.stat().st_size < 2048 * KIB


async def test_old_traces_are_swept(tmp_path: Path) -> None:
    async with opened(tmp_path / "streams.db", trace_s=100.0, wall_clock=lambda: 5000.0) as store:
        for name in "abc":
            await created(store, name)
            await store.delete(StreamKey("", name))
        assert await store.sweep(5099.0, 10) == 0
        assert [await store.sweep(5100.0, 2) for _ in range(3)] == [2, 1, 0]


async def test_finished_streams_cost_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    async with opened(path) as store:
        await (await created(store)).end()
    with sqlite3.connect(path) as file:  # the same, 100,000 times
        file.execute(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 99999) "
            "INSERT INTO streams SELECT id + n, tenant, 's' || n, epoch || n, facts, node, fence, lease_s, producers, "
            "head, size_bytes, outcome, ended_s, over_s FROM streams, n"
        )
        file.execute(
            "INSERT INTO pages SELECT streams.id << 32 | 1, 1, 1, chunks FROM streams, pages WHERE streams.id > 1"
        )
    file.close()
    tracemalloc.start()
    try:
        async with opened(path) as store:
            held, _ = tracemalloc.get_traced_memory()
            assert (await store.load(StreamKey("", "s77777"))).outcome is Outcome.COMPLETE
            assert len(await store.read(StreamKey("", "s77777"), 0, 10)) == 1
            assert len(await store.list(None, StreamKey("", "s99000"), 500)) == 500
    finally:
        tracemalloc.stop()
    assert held < 256 * KIB


# ── what goes wrong in it ──


async def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    async with opened(path) as store:
        writer = await filled(store, "a", 512 * KIB)
    damaged = bytearray(path.read_bytes())
    damaged[64 * KIB :] = b"\xff" * (len(damaged) - 64 * KIB)
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"damaged|cannot be read"):
        async with opened(path) as store:
            await stored(store, writer.key)


async def test_a_page_that_cannot_be_decoded_is_told(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    async with opened(path) as store:
        writer = await filled(store, "a", 512 * KIB)
        await writer.end()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE pages SET chunks = x'ff'")
    file.close()
    async with opened(path) as store:
        with pytest.raises(StoreError, match="cannot be read"):
            await store.read(writer.key, 0, 10)


async def test_a_journal_with_a_hole_is_told(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    async with opened(path) as store:
        writer = await created(store)
        for text in "abc":
            await writer.write(text)
    with sqlite3.connect(path) as file:
        file.execute("DELETE FROM journal WHERE id = 2")
    file.close()
    with pytest.raises(StoreError, match="goes on at 3 after 1"):
        await SqliteStore(path).open()
