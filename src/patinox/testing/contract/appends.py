"""Appending and reading: what is acknowledged, what is refused, and what comes back."""

from __future__ import annotations

import asyncio

from patinox.core.chunks import Binary, End, Error, Json, Outcome, Text
from patinox.core.events import BlockDelta, Native, RunStart, ToolReady, Usage
from patinox.errors import StoreConflict, StreamClosed, StreamFenced, StreamGone, StreamNotFound
from patinox.stores.base import Append
from patinox.testing.contract.bench import Bench, acknowledged, holds, refused, same, stored

_EVERY_KIND = (
    Text(""), Text("plain"), Text("\x00\r\n\u2028\U0001f40c \ud7ff"), Json(None), Json({"a": [1, -2.5, "ü", {}]}),
    Json("json text"), Binary(b""), Binary(bytes(range(256))), RunStart(model="m", created_s=1.5),
    BlockDelta(text="Hel", block=0), BlockDelta(op="bytes.append", data=b"\x00\xff", block=1),
    ToolReady(call_id="c", name="f", arguments={"x": 1}), Usage(input_tokens=3, raw={"prompt": 3}),
    Native(dialect="openai-chat", event="x", value={"raw": True}, ext={"openai-chat": {"raw": "{"}}),
)  # fmt: skip
_ENDS = (
    *((outcome, End(outcome)) for outcome in Outcome if outcome is not Outcome.FAILED),
    (Outcome.CANCELLED, End(Outcome.CANCELLED, Error("cancelled", "by hand"))),
    (Outcome.FAILED, Error("boom", "it broke", True, 503, {"k": [1]})),
)


# ── what comes back ──


async def gives_back_every_kind_of_chunk(bench: Bench) -> None:
    """Sequence, data, timestamp, epoch and payload of every kind of chunk are read as they were written."""
    writer = await bench.create()
    written = await writer.write(*_EVERY_KIND)
    same(await stored(bench.store, writer.key), written, "the chunks that are read")


async def gives_back_every_end(bench: Bench) -> None:
    """A final chunk ends the stream: its outcome, and when it ended, are in the record."""
    for number, (outcome, end) in enumerate(_ENDS):
        writer = await bench.create(f"s{number}")
        await writer.write("content")
        last = await writer.end(end)
        record = await bench.store.load(writer.key)
        same((record.outcome, record.ended_s, record.head), (outcome, last.timestamp, 2), f"the record after {end}")
        same(await stored(bench.store, writer.key), writer.written, f"the chunks up to {end}")


async def counts_chunks_and_bytes(bench: Bench) -> None:
    """`head` is the last acknowledged sequence, `size_bytes` the sum of all payloads."""
    writer = await bench.create()
    await writer.write("one", "two")
    await writer.write(Binary(b"three"))
    record = await bench.store.load(writer.key)
    size = sum(len(chunk.payload) for chunk in writer.written)
    same((record.head, record.size_bytes, record.outcome, record.ended_s), (3, size, None, None), "the record")


async def reads_in_pages(bench: Bench) -> None:
    """`read` gives up to `limit` chunks after a position, and none at the head or beyond it."""
    writer = await bench.create()
    for begin in range(0, 70, 7):
        await writer.write(*(f"chunk {number}" for number in range(begin, begin + 7)))
    for after in (0, 1, 6, 7, 8, 35, 69, 70, 71, 1000):
        for limit in (1, 5, 64, 1000):
            page = list(await bench.store.read(writer.key, after, limit))
            same(page, writer.written[after : after + limit], f"up to {limit} chunks after {after}")


async def keeps_large_chunks(bench: Bench) -> None:
    """A chunk of 1 MiB, and a thousand in one append, come back whole."""
    large, many = await bench.create("large"), await bench.create("many")
    await large.write("x" * (1 << 20))
    await many.write(*(f"{number}" for number in range(1000)))
    same(await stored(bench.store, large.key), large.written, "the large chunk")
    same(await stored(bench.store, many.key), many.written, "the thousand chunks")


# ── what is refused ──


async def repeats_an_append_without_doubling_it(bench: Bench) -> None:
    """The same append sent twice is acknowledged twice and there once; the last one of a stream as well."""
    writer = await bench.create()
    await writer.write("before")
    middle = writer.append(writer.chunks(["a", "b"]), producers={"p": (0, 2)})
    for _ in range(3):
        acknowledged(await bench.store.append([middle]))
    last = writer.append(writer.chunks([End(Outcome.COMPLETE)], after=3))
    for _ in range(2):
        acknowledged(await bench.store.append([last]))
    want = [*writer.written, *middle.chunks, *last.chunks]
    same(await stored(bench.store, writer.key), want, "the chunks")
    record = await bench.store.load(writer.key)
    same((record.head, record.producers), (4, {"p": (0, 2)}), "the record")


async def refuses_what_does_not_follow_the_head(bench: Bench) -> None:
    """An append after another position than the head is a `StoreConflict`, and leaves nothing."""
    writer = await bench.create()
    await writer.write("a", "b")
    for name, after, data in (("a hole", 3, ["x"]), ("other content", 1, ["x"]), ("an overlap", 1, ["b", "c"]),
                              ("another beginning", 0, ["x", "b"])):  # fmt: skip
        attempt = writer.append(writer.chunks(data, after=after), producers={"p": (0, 9)})
        refused(await bench.store.append([attempt]), StoreConflict, name)
    same(await stored(bench.store, writer.key), writer.written, "the chunks")
    record = await bench.store.load(writer.key)
    same((record.head, record.producers), (2, {}), "the record")


async def refuses_a_fence_that_is_not_the_leases(bench: Bench) -> None:
    """An append under any other fence is `StreamFenced`, and leaves nothing."""
    writer = await bench.create()
    for fence in (writer.fence - 1, writer.fence + 1):
        attempt = writer.append(writer.chunks(["x"]), fence=fence, producers={"p": (0, 1)})
        refused(await bench.store.append([attempt]), StreamFenced, f"fence {fence}")
    same(await stored(bench.store, writer.key), [], "the chunks")
    same((await bench.store.load(writer.key)).producers, {}, "the producers")


async def refuses_appends_after_the_end(bench: Bench) -> None:
    """Nothing follows a final chunk: `StreamClosed`."""
    writer = await bench.create()
    await writer.end()
    refused(await bench.store.append([writer.append(writer.chunks(["more"]))]), StreamClosed, "after the end")
    same(await stored(bench.store, writer.key), writer.written, "the chunks")


async def refuses_appends_to_what_is_not_there(bench: Bench) -> None:
    """`StreamNotFound` for a stream that never was, `StreamGone` for one that was deleted."""
    writer = await bench.create()
    await bench.store.delete(writer.key)
    gone = writer.append(writer.chunks(["x"]))
    unknown = Append(bench.key("never"), 1, 0, gone.chunks)
    refused(await bench.store.append([gone]), StreamGone, "an append to a deleted stream")
    refused(await bench.store.append([unknown]), StreamNotFound, "an append to an unknown stream")


async def answers_each_append_of_a_batch(bench: Bench) -> None:
    """One call takes appends to many streams; one that is refused keeps no other from being committed."""
    writers = [await bench.create(name) for name in "abcde"]
    appends = [writer.append(writer.chunks(["x", "y"])) for writer in writers]
    appends[1] = writers[1].append(writers[1].chunks(["x"]), fence=99)
    appends[3] = writers[3].append(writers[3].chunks(["x", "y"], after=7))
    answers = await bench.store.append(appends)
    kinds = [type(None), StreamFenced, type(None), StoreConflict, type(None)]
    same([type(answer) for answer in answers], kinds, "the answers, in order")
    for writer, append, answer in zip(writers, appends, answers, strict=True):
        want = [] if answer else list(append.chunks)
        same(await stored(bench.store, writer.key), want, f"the chunks of {writer.key.id}")


async def commits_appends_to_one_stream_in_their_order(bench: Bench) -> None:
    """Several appends of one call to the same stream follow each other."""
    writer = await bench.create()
    chunks = writer.chunks(["a", "b", "c"])
    acknowledged(await bench.store.append([writer.append([chunk]) for chunk in chunks]))
    same(await stored(bench.store, writer.key), chunks, "the chunks")


async def commits_producers_with_their_chunks(bench: Bench) -> None:
    """What producers are acknowledged is there with the chunks; an append changes those that it names."""
    writer = await bench.create()
    await writer.write("a", producers={"p": (0, 1), "ü q": (7, 12)})
    await writer.write("b", producers={"p": (1, 1)})
    await writer.write("c")
    same((await bench.store.load(writer.key)).producers, {"p": (1, 1), "ü q": (7, 12)}, "the producers")


# ── at once ──


async def lets_one_of_two_writers_win(bench: Bench) -> None:
    """Of two different appends after the same head, sent at once by two clients, exactly one is acknowledged."""
    writer = await bench.create()
    async with bench.another() as other:
        for round_ in range(8):
            rivals = [writer.append(writer.chunks([f"{name} {round_}", name], after=2 * round_)) for name in "ab"]
            both = await asyncio.gather(bench.store.append(rivals[:1]), other.append(rivals[1:]))
            answers = [answer for (answer,) in both]
            kinds = {type(answer) for answer in answers}
            same(kinds, {type(None), StoreConflict}, "the answers to two rival appends")
            winner = rivals[answers.index(None)]
            writer.written += winner.chunks
    same(await stored(bench.store, writer.key), writer.written, "the chunks")


async def takes_many_streams_at_once(bench: Bench) -> None:
    """Appends in flight to many streams do not mix, and each stream's own stay in order."""
    writers = [await bench.create(f"s{number}") for number in range(20)]

    async def run(number: int) -> None:
        for step in range(5):
            await writers[number].write(f"{number}.{step}", Json([number, step]))

    await asyncio.gather(*(run(number) for number in range(len(writers))))
    for writer in writers:
        same(await stored(bench.store, writer.key), writer.written, f"the chunks of {writer.key.id}")
        holds((await bench.store.load(writer.key)).head == 10, "the head counts them")


CHECKS = (
    gives_back_every_kind_of_chunk, gives_back_every_end, counts_chunks_and_bytes, reads_in_pages, keeps_large_chunks,
    repeats_an_append_without_doubling_it, refuses_what_does_not_follow_the_head,
    refuses_a_fence_that_is_not_the_leases, refuses_appends_after_the_end, refuses_appends_to_what_is_not_there,
    answers_each_append_of_a_batch, commits_appends_to_one_stream_in_their_order, commits_producers_with_their_chunks,
    lets_one_of_two_writers_win, takes_many_streams_at_once,
)  # fmt: skip
