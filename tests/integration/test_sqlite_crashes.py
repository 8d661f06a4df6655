"""What is left after kill -9, and of copies that were cut anywhere: nothing that was acknowledged is missing."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.sqlite_writer import chunk

from patinox.core.keys import StreamKey
from patinox.stores.sqlite import SqliteStore
from patinox.testing.contract.bench import stored

ROOT = Path(__file__).parents[2]
Heads = dict[str, int]
Acknowledged = tuple[str, int, int]
"""A stream, its head, and how long the write-ahead log was by then."""

pytestmark = pytest.mark.server


async def killed(path: Path, acknowledgements: int, streams: int = 8) -> list[Acknowledged]:
    """Has another process write until it has said so many acknowledgements, and kills it; all that it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.sqlite_writer", str(path), str(streams), stdout=PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    said = []
    while line := await process.stdout.readline():
        if line.endswith(b"\n"):
            stream, head, log_bytes = line.decode().split()
            said.append((stream, int(head), int(log_bytes)))
        if len(said) == acknowledgements:
            process.kill()
    await process.wait()
    assert len(said) >= acknowledgements
    return said


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, synchronous="normal")
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def found(store: SqliteStore) -> Heads:
    """The head of every stream; each is what its writer wrote, in order, from the start."""
    heads = {}
    for record in await store.list("", None, 100):
        name = record.facts.key.id
        chunks = await stored(store, record.facts.key)
        assert chunks == [chunk(name, sequence) for sequence in range(1, record.head + 1)]
        assert record.size_bytes == sum(len(one.payload) for one in chunks)
        assert record.producers == ({"p": (0, record.head)} if record.head else {})
        heads[name] = record.head
    return heads


def missing(said: list[Acknowledged], heads: Heads, upto: int | None = None) -> list[Acknowledged]:
    """What was acknowledged, before the log was longer than `upto` bytes, and is not there."""
    return [one for one in said if (upto is None or one[2] <= upto) and heads.get(one[0], 0) < one[1]]


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    for acknowledgements in (1, 60, 400):  # each goes on where the one before was killed
        said = await killed(path, acknowledgements)
        async with opened(path) as store:
            assert missing(said, await found(store)) == []


async def test_a_killed_process_leaves_leases_that_can_be_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    await killed(path, 20, streams=1)
    async with opened(path) as store:
        key = StreamKey("", "s0")
        assert await store.orphans(10) == []  # it may come back: its lease counts from now
        record = await store.load(key)
        taken = await store.take_over(key, "another", 60.0)
        assert (taken.fence, taken.head) == (record.fence + 1, record.head)


def log_of(path: Path) -> bytes:
    """The write-ahead log."""
    return Path(f"{path}-wal").read_bytes()


def copied(path: Path, log: bytes, folder: Path) -> Path:
    """A copy of the file, with this much of its log."""
    folder.mkdir()
    Path(folder / "streams.db-wal").write_bytes(log)
    return Path(shutil.copy(path, folder))


def cuts(log_bytes: int, page_bytes: int = 4096) -> list[int]:
    """Where every frame of a write-ahead log ends, and as many random places within."""
    boundaries = list(range(32, log_bytes + 1, page_bytes + 24))
    chance = random.Random(7)
    return [0, *boundaries, *(chance.randrange(log_bytes) for _ in boundaries)]


async def test_a_copy_cut_anywhere_opens_with_all_that_was_acknowledged_until_there(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    said = await killed(path, 45, streams=5)
    log = log_of(path)
    whole = 0
    for number, cut in enumerate(cuts(len(log))):
        copy = copied(path, log[:cut], tmp_path / f"{number}")
        async with opened(copy) as store:
            heads = await found(store)
        assert missing(said, heads, upto=cut) == []
        whole += not missing(said, heads)
        shutil.rmtree(copy.parent)
    assert whole  # the last boundary at least has everything


async def test_a_copy_whose_log_was_used_again_opens_consistent_wherever_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    said = await killed(path, 1500, streams=16)
    log = log_of(path)
    chance = random.Random(11)
    for number, cut in enumerate((len(log), *(chance.randrange(len(log)) for _ in range(12)))):
        copy = copied(path, log[:cut], tmp_path / f"{number}")
        async with opened(copy) as store:
            heads = await found(store)
        assert cut < len(log) or missing(said, heads) == []
