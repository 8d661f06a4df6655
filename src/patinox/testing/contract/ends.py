"""Deleting, sweeping, and opening again what was closed."""

from __future__ import annotations

from typing import Any

from patinox.errors import StreamError, StreamGone, StreamNotFound
from patinox.stores.base import Deleted
from patinox.testing.contract.bench import (
    AGES_AGO_S,
    LONG_S,
    Bench,
    Told,
    Writer,
    acknowledged,
    holds,
    raises,
    same,
    stored,
)


async def forgets_what_is_deleted(bench: Bench) -> None:
    """A deleted stream is `StreamGone`, and nothing of it is read, located or listed."""
    writer, other = await bench.create("gone"), await bench.create("stays")
    await writer.write("x", "y")
    await bench.store.delete(writer.key)
    await raises(bench.store.load(writer.key), StreamGone, "loading a deleted stream")
    same(await stored(bench.store, writer.key), [], "its chunks")
    same(await bench.store.locate(bench.tenant, writer.record.facts.epoch), None, "its epoch")
    records = await bench.store.list(bench.tenant, None, 10)
    same([record.facts.key for record in records], [other.key], "the list")


async def forgets_without_a_trace(bench: Bench) -> None:
    """Without a trace a deleted stream is `StreamNotFound`, as if it had never been."""
    writer = await bench.create()
    await bench.store.delete(writer.key, trace=False)
    await raises(bench.store.load(writer.key), StreamNotFound, "loading it")


async def deletes_what_is_not_there(bench: Bench) -> None:
    """Deleting an unknown stream is fine, and makes it no more known; deleting twice is fine too."""
    await bench.store.delete(bench.key("never"))
    await raises(bench.store.load(bench.key("never")), StreamNotFound, "loading what never was")
    writer = await bench.create()
    await bench.store.delete(writer.key)
    await bench.store.delete(writer.key)
    await raises(bench.store.load(writer.key), StreamGone, "loading what was deleted twice")


async def makes_anew_what_was_deleted(bench: Bench) -> None:
    """A deleted stream's key can be taken again: a new, empty stream, with nothing of the old one."""
    old = await bench.create()
    await old.write("old", producers={"p": (1, 1)})
    await old.end()
    await bench.store.delete(old.key)
    new = await bench.create()
    record = await bench.store.load(new.key)
    same((record.head, record.size_bytes, record.outcome, record.producers), (0, 0, None, {}), "the new stream")
    await new.write("new")
    same(await stored(bench.store, new.key), new.written, "its chunks")
    same(await bench.store.locate(bench.tenant, old.record.facts.epoch), None, "the old epoch")


async def sweeps_what_is_over(bench: Bench) -> None:
    """An ended stream is swept when its `ttl_s` has passed since its end; it leaves a trace, and watchers are told."""
    over, later, open_ = [await bench.create(n, ttl_s=t) for n, t in (("over", 10.0), ("later", 99.0), ("open", 0.0))]
    for writer in (over, later):
        await writer.write("x")
        await writer.end()
    ended_s = over.written[-1].timestamp
    told = Told()
    unwatch = await bench.store.watch(over.key, told)
    await _sweep(bench, ended_s + 9.5)
    same((await bench.store.load(over.key)).head, 2, "the stream before its time")
    await _sweep(bench, ended_s + 10.0)
    await raises(bench.store.load(over.key), StreamGone, "loading it when its time is over")
    same(await stored(bench.store, over.key), [], "its chunks")
    await told.until(lambda news: Deleted() in news, "the watcher is told")
    unwatch()
    for writer in (later, open_):
        same((await bench.store.load(writer.key)).facts, writer.record.facts, f"the stream {writer.key.id}")


async def sweeps_in_steps(bench: Bench) -> None:
    """One call of `sweep` deletes no more than its limit, and says how many; calls get through all there is."""
    for number in range(7):
        writer = await bench.create(f"s{number}", ttl_s=1.0)
        await writer.end()
    now_s = AGES_AGO_S + 100
    counts = []
    while swept := await bench.store.sweep(now_s, 3):
        holds(swept <= 3, "a step deletes no more than its limit")
        counts.append(swept)
    holds(sum(counts) >= 7, "the steps tell how many they deleted")
    same(list(await bench.store.list(bench.tenant, None, 10)), [], "what is left")


async def _sweep(bench: Bench, now_s: float) -> None:
    while await bench.store.sweep(now_s, 100):
        pass


async def closes_twice(bench: Bench) -> None:
    """`aclose` is idempotent: its owner, and the context it was opened in, may both do it."""
    await bench.store.aclose()
    await bench.store.aclose()


async def keeps_everything_when_closed_and_opened(bench: Bench) -> None:
    """What was acknowledged is there after closing and opening: records, chunks, traces, order, and who may write."""
    open_ = await bench.create("open", metadata={"ü": [1, None]}, owner="me")
    await open_.write("a", "b", producers={"p": (2, 3)})
    record = await bench.store.take_over(open_.key, bench.node("two"), LONG_S)
    ended = await bench.create("ended")
    await ended.write("c")
    await ended.end()
    deleted = await bench.create("deleted")
    await bench.store.delete(deleted.key)
    before = await _seen(bench, open_, ended, deleted)
    await bench.reopen()
    same(await _seen(bench, open_, ended, deleted), before, "what is there after opening again")
    again = Writer(bench.store, record)
    again.written = open_.written[:]
    acknowledged(await bench.store.append([again.append(again.chunks(["goes on"]))]))


async def _seen(bench: Bench, *writers: Writer) -> list[Any]:
    seen: list[Any] = [[record.facts.key for record in await bench.store.list(bench.tenant, None, 10)]]
    for writer in writers:
        try:
            record: Any = await bench.store.load(writer.key)
        except StreamError as error:
            record = type(error)
        epoch = writer.record.facts.epoch
        seen.append((record, await stored(bench.store, writer.key), await bench.store.locate(bench.tenant, epoch)))
    return seen


CHECKS = (
    forgets_what_is_deleted, forgets_without_a_trace, deletes_what_is_not_there, makes_anew_what_was_deleted,
    sweeps_what_is_over, sweeps_in_steps, closes_twice,
)  # fmt: skip
DURABLE_CHECKS = (keeps_everything_when_closed_and_opened,)
