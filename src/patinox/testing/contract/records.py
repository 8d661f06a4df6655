"""Creating, loading, locating, listing: what a store says about streams."""

from __future__ import annotations

import asyncio

from patinox.config.choices import Retain
from patinox.core.keys import StreamKey
from patinox.errors import StreamExists, StreamNotFound
from patinox.stores.base import StreamRecord
from patinox.testing.contract.bench import LONG_S, Bench, holds, raises, same, stored

_AT_ONCE = 300
_METADATA = {"model": "smol", "tags": ["a", 1, 2.5, None, True], "nested": {"ü": "\u2028 \x00 \U0001f40c"}}


async def tells_what_its_acknowledgements_survive(bench: Bench) -> None:
    """`durability` is a sentence for people once the store is open, and `probe` finds it alive."""
    await bench.store.probe()
    holds(len(bench.store.durability) > 5, "durability says what an acknowledgement survives")


async def keeps_every_fact(bench: Bench) -> None:
    """A new stream is loaded with all its facts, empty, open, and leased to the node that made it."""
    facts = bench.facts(
        bench.key(), metadata=_METADATA, owner="someone", channel="room", retain=Retain.WINDOW,
        on_abandon="cancel_after=30s", pipeline="guarded", created_s=1234.56789, ttl_s=0.25,
    )  # fmt: skip
    record = await bench.store.create(facts, "one", LONG_S)
    same(record, StreamRecord(facts, node="one", fence=record.fence), "the record that create returns")
    holds(record.fence >= 1, "fences count from 1")
    same(await bench.store.load(facts.key), record, "the record that is loaded")


async def refuses_an_id_that_is_taken(bench: Bench) -> None:
    """A second stream of the same key raises `StreamExists`, and the first is untouched."""
    writer = await bench.create()
    await writer.write("kept")
    await raises(bench.store.create(bench.facts(writer.key), "two", LONG_S), StreamExists, "creating it again")
    record = await bench.store.load(writer.key)
    same((record.facts, record.head, record.node), (writer.record.facts, 1, bench.node("one")), "the first stream")


async def says_not_found_for_what_never_was(bench: Bench) -> None:
    """`load` and `take_over` of an unknown stream raise `StreamNotFound`, and there is nothing to read."""
    key = bench.key("never")
    await raises(bench.store.load(key), StreamNotFound, "loading an unknown stream")
    await raises(bench.store.take_over(key, "one", LONG_S), StreamNotFound, "taking over an unknown stream")
    same(list(await bench.store.read(key, 0, 10)), [], "the chunks of an unknown stream")


async def takes_many_calls_at_once(bench: Bench) -> None:
    """Calls that come together are all answered, however few connections there are to the engine."""
    keys = [bench.key(f"{bench.word}-{number}") for number in range(_AT_ONCE)]
    records = await asyncio.gather(*(bench.store.create(bench.facts(key), "one", LONG_S) for key in keys))
    same([record.facts.key for record in records], keys, "the streams that were created at once")
    loaded = await asyncio.gather(*(bench.store.load(key) for key in keys))
    same(list(loaded), list(records), "the streams that were loaded at once")


async def keeps_tenants_apart(bench: Bench) -> None:
    """The same id is another stream for another tenant, whatever characters either of the two has."""
    word = bench.word
    pairs = [(f"{word}.b", "c"), (word, "b.c"), (f"{word}/b", "c"), (f"{word}:b", "c"), (f"{{{word}}}", "c"),
             (word, "c"), (f"{word}*", "c"), (f"{word} b", "c"), (f"{word}%2Fb", "c")]  # fmt: skip
    keys = [bench.key(id_, tenant) for tenant, id_ in pairs]
    for number, key in enumerate(keys):
        record = await bench.store.create(bench.facts(key, owner=str(number)), "one", LONG_S)
        same(record.facts.owner, str(number), "the stream just made")
    await bench.store.delete(keys[0])
    for number, key in enumerate(keys[1:], 1):
        same((await bench.store.load(key)).facts.owner, str(number), f"the stream of {key}")


async def writes_to_one_tenant_alone(bench: Bench) -> None:
    """An append is seen by its own tenant only."""
    writer = await bench.create("twin")
    other = bench.key("twin", f"{bench.tenant}-other")
    await bench.store.create(bench.facts(other), "one", LONG_S)
    await writer.write("mine")
    same(await stored(bench.store, other), [], "the other tenant's chunks")
    same((await bench.store.load(other)).head, 0, "the other tenant's head")


async def locates_a_stream_by_its_epoch(bench: Bench) -> None:
    """`locate` finds the key of an epoch, for its own tenant only."""
    writer = await bench.create()
    epoch = writer.record.facts.epoch
    same(await bench.store.locate(bench.tenant, epoch), writer.key, "the stream of an epoch")
    same(await bench.store.locate("somebody else", epoch), None, "another tenant's stream")
    same(await bench.store.locate(bench.tenant, "unknown"), None, "an unknown epoch")


async def lists_in_the_order_of_creation(bench: Bench) -> None:
    """A tenant's streams are listed in the order they were made, not in that of their ids or of their times."""
    names = ["m", "a", "z", "b"]
    for place, name in enumerate(names):
        await bench.create(name, created_s=5000.0 - place)
    records = await bench.store.list(bench.tenant, None, 10)
    same([record.facts.key.id for record in records], names, "the list")


async def lists_in_pages(bench: Bench) -> None:
    """`after` and `limit` page through the list; an `after` that is unknown begins at its start."""
    for name in "edcba":
        await bench.create(name)
    pages: list[str] = []
    after: StreamKey | None = None
    while page := await bench.store.list(bench.tenant, after, 2):
        holds(len(page) <= 2, "a page holds no more than its limit")
        pages += [record.facts.key.id for record in page]
        after = page[-1].facts.key
    same("".join(pages), "edcba", "the pages joined")
    unknown = await bench.store.list(bench.tenant, StreamKey(bench.tenant, "unknown"), 2)
    same([record.facts.key.id for record in unknown], ["e", "d"], "the page after an unknown key")


async def lists_every_tenant(bench: Bench) -> None:
    """Without a tenant all streams are listed; with one, no other tenant's."""
    await bench.create("first")
    other = bench.key("second", f"{bench.tenant}-other")
    await bench.store.create(bench.facts(other), "one", LONG_S)
    await bench.create("third")
    found, after = [], None
    while page := await bench.store.list(None, after, 100):
        found += [record.facts.key for record in page if record.facts.key.tenant.startswith(bench.tenant)]
        after = page[-1].facts.key
    same([key.id for key in found], ["first", "second", "third"], "the streams of all")
    mine = await bench.store.list(bench.tenant, None, 10)
    same([record.facts.key.id for record in mine], ["first", "third"], "the streams of one")


async def lists_what_it_would_load(bench: Bench) -> None:
    """What `list` tells of a stream is what `load` does."""
    writer = await bench.create(metadata=_METADATA)
    await writer.write("x", producers={"p": (1, 2)})
    await writer.end()
    same(list(await bench.store.list(bench.tenant, None, 9)), [await bench.store.load(writer.key)], "the list")


CHECKS = (
    tells_what_its_acknowledgements_survive, keeps_every_fact, refuses_an_id_that_is_taken,
    says_not_found_for_what_never_was, takes_many_calls_at_once, keeps_tenants_apart, writes_to_one_tenant_alone,
    locates_a_stream_by_its_epoch, lists_in_the_order_of_creation, lists_in_pages, lists_every_tenant,
    lists_what_it_would_load,
)  # fmt: skip
