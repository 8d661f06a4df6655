"""Leases: who may write, until when, and how others notice that nobody does any more."""

from __future__ import annotations

from patinox.errors import StreamClosed, StreamFenced, StreamGone
from patinox.testing.contract.bench import (
    LONG_S,
    Bench,
    Writer,
    acknowledged,
    eventually,
    holds,
    raises,
    refused,
    same,
    stored,
)

_SHORT_S = 0.2
_MANY = 100_000


async def fences_the_node_that_lost_the_lease(bench: Bench) -> None:
    """`take_over` gives another node a higher fence; what the old one still sends is refused, the new one goes on."""
    old = await bench.create()
    await old.write("by the old one", producers={"p": (3, 4)})
    async with bench.another() as other:
        record = await other.take_over(old.key, bench.node("two"), LONG_S)
        holds(record.fence > old.fence, "the fence after a take-over is higher")
        same((record.node, record.head, record.producers), (bench.node("two"), 1, {"p": (3, 4)}), "what it is told")
        refused(await bench.store.append([old.append(old.chunks(["late"]))]), StreamFenced, "the old node's append")
        new = Writer(other, record)
        new.written = old.written[:]
        await new.write("by the new one")
    same(await stored(bench.store, old.key), new.written, "the chunks")
    same((await bench.store.load(old.key)).fence, record.fence, "the fence that is loaded")


async def fences_a_node_from_its_own_past(bench: Bench) -> None:
    """A node that takes over its own stream gets a new fence too: what it sent before may be on its way still."""
    writer = await bench.create(node="one")
    record = await bench.store.take_over(writer.key, bench.node("one"), LONG_S)
    holds(record.fence > writer.fence, "the fence is higher")
    refused(await bench.store.append([writer.append(writer.chunks(["late"]))]), StreamFenced, "the old append")


async def gives_no_lease_on_what_has_ended(bench: Bench) -> None:
    """`take_over` raises `StreamClosed` after the end, and `StreamGone` when the stream is deleted."""
    writer = await bench.create()
    await writer.end()
    await raises(bench.store.take_over(writer.key, "two", LONG_S), StreamClosed, "taking over an ended stream")
    await bench.store.delete(writer.key)
    await raises(bench.store.take_over(writer.key, "two", LONG_S), StreamGone, "taking over a deleted stream")


async def renews_what_a_node_holds(bench: Bench) -> None:
    """`renew` returns the leases that are lost: another fence, another node, or no such stream any more."""
    names = ("held", "fenced", "taken", "deleted")
    held, fenced, taken, deleted = [await bench.create(name) for name in names]
    await bench.store.take_over(fenced.key, bench.node("one"), LONG_S)
    await bench.store.take_over(taken.key, bench.node("two"), LONG_S)
    await bench.store.delete(deleted.key)
    unknown = bench.key("unknown")
    leases = {writer.key: writer.fence for writer in (held, fenced, taken, deleted)} | {unknown: 1}
    lost = await bench.store.renew(leases, bench.node("one"), LONG_S)
    same(set(lost), {fenced.key, taken.key, deleted.key, unknown}, "the leases that are lost")
    same(await bench.store.renew({held.key: held.fence}, bench.node("two"), LONG_S), {held.key}, "another node's")
    acknowledged(await bench.store.append([held.append(held.chunks(["still mine"]))]))


async def names_streams_whose_lease_is_over(bench: Bench) -> None:
    """`orphans` names open streams when their lease has run out, until another node takes them."""
    writer = await bench.create("short", lease_s=_SHORT_S)
    await bench.create("long")
    await writer.write("something")
    async with bench.another() as other:

        async def orphaned() -> bool:
            return writer.key in await other.orphans(_MANY)

        await eventually(orphaned, "a stream whose lease is over is an orphan")
        holds(bench.key("long") not in await other.orphans(_MANY), "one whose lease is not over is none")
        await other.take_over(writer.key, bench.node("two"), LONG_S)
        holds(not await orphaned(), "a stream that was taken over is no orphan")


async def keeps_a_lease_that_is_renewed(bench: Bench) -> None:
    """A renewed lease does not run out when the first one would have."""
    kept = await bench.create("kept", lease_s=_SHORT_S)
    same(await bench.store.renew({kept.key: kept.fence}, bench.node("one"), LONG_S), set(), "the leases that are lost")
    left = await bench.create("left", lease_s=_SHORT_S)  # granted later than the first one: when it is over, both are

    async def orphaned() -> bool:
        return left.key in await bench.store.orphans(_MANY)

    await eventually(orphaned, "the lease that was not renewed runs out")
    holds(kept.key not in await bench.store.orphans(_MANY), "the renewed one holds")


async def lets_the_holder_write_while_nobody_took_over(bench: Bench) -> None:
    """A lease that ran out fences nobody by itself: its node may come back, and go on."""
    writer = await bench.create(lease_s=_SHORT_S)

    async def orphaned() -> bool:
        return writer.key in await bench.store.orphans(_MANY)

    await eventually(orphaned, "the lease runs out")
    await writer.write("I am back")
    same(await bench.store.renew({writer.key: writer.fence}, bench.node("one"), LONG_S), set(), "the lost leases")
    holds(not await orphaned(), "a lease can be renewed after it ran out")


async def counts_only_open_streams_as_orphans(bench: Bench) -> None:
    """Streams that have ended, or are deleted, are no orphans; and no more are named than were asked for."""
    ended, deleted = [await bench.create(name, lease_s=_SHORT_S) for name in ("ended", "deleted")]
    await ended.end()
    await bench.store.delete(deleted.key)
    others = [await bench.create(name, lease_s=_SHORT_S) for name in "abc"]

    async def all_orphaned() -> bool:
        return {writer.key for writer in others} <= set(await bench.store.orphans(_MANY))

    await eventually(all_orphaned, "the open ones become orphans")
    holds(not {ended.key, deleted.key} & set(await bench.store.orphans(_MANY)), "the others do not")
    holds(len(await bench.store.orphans(2)) <= 2, "no more than `limit` are named")


CHECKS = (
    fences_the_node_that_lost_the_lease, fences_a_node_from_its_own_past, gives_no_lease_on_what_has_ended,
    renews_what_a_node_holds, names_streams_whose_lease_is_over, keeps_a_lease_that_is_renewed,
    lets_the_holder_write_while_nobody_took_over, counts_only_open_streams_as_orphans,
)  # fmt: skip
