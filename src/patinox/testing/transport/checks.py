"""The suite: a function for each promise that a transport has to hold. Each serves anew and raises AssertionError.

A check looks at what a client was told, and at the manager under the server; never at how long something took.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from patinox.config import BackpressureConfig, BackpressureStrategy, StreamingConfig
from patinox.core.chunks import Binary, Error, Json, Outcome
from patinox.manager import ActiveStream
from patinox.testing.transport.adapter import Broken, Reading, Record, Refused, Session, Transport

Check = Callable[[Transport], Awaitable[None]]

_SAMPLES: tuple[Any, ...] = (
    "Hello", " wor\nld\r\n", "ünï\u2028\u0085😀", Json({"n": [1, None, "x"]}), Binary(b"\x00\xff"), "", "data: no\n\n",
)  # fmt: skip
_BIG = "x" * 100_000
_BIG_CHUNKS = 200  # far more than sockets take by themselves
_ROOMY = 1 << 30
_ENDINGS = {Outcome.FAILED: ("error", "code", "broke")}  # the others are told by an `end`


async def check_transport(transport: Transport) -> None:
    """Runs every check; the first that fails raises. With pytest, parametrize over `TRANSPORT_CHECKS` instead."""
    for check in TRANSPORT_CHECKS:
        await check(transport)


async def check_attaching(transport: Transport) -> None:
    """A reader is told where it stands, what there is, and what comes while it reads."""
    async with transport.serve(StreamingConfig()) as session:
        stream = await session.manager.create()
        await stream.write("one")
        reading = await session.attach(stream.id)
        assert (reading.outcome, reading.position) == ("start", f"{stream.epoch}-0")
        assert await reading.next() == Record(f"{stream.epoch}-1", "text", {"text": "one"})
        await stream.write("two")
        assert await reading.next() == Record(f"{stream.epoch}-2", "text", {"text": "two"})
        await stream.finish()
        assert await _rest(reading) == [Record(f"{stream.epoch}-3", "end", {"outcome": "complete"})]


async def check_attaching_now(transport: Transport) -> None:
    """`now` leaves out what there was."""
    async with transport.serve(StreamingConfig()) as session:
        stream = await session.manager.create()
        await stream.write("before")
        reading = await session.attach(stream.id, "now")
        assert (reading.outcome, reading.position) == ("start", f"{stream.epoch}-1")
        await stream.write("after")
        assert await reading.next() == Record(f"{stream.epoch}-2", "text", {"text": "after"})


async def check_resuming_at_every_event(transport: Transport) -> None:
    """Cut after any event and resumed, a reader gets what one that was not cut gets, and nothing twice."""
    async with transport.serve(StreamingConfig()) as session:
        stream = await _sampled(session)
        await stream.finish()
        whole = await _rest(await session.attach(stream.id))
        assert [record.id for record in whole] == [f"{stream.epoch}-{n}" for n in range(1, stream.log.head + 1)]
        for cut in range(len(whole)):
            reading = await session.attach(stream.id, f"{stream.epoch}-{cut}")
            assert reading.outcome == "resumed"
            assert await _rest(reading) == whole[cut:]
        last = await session.attach(stream.id, whole[-1].id)
        assert (last.outcome, await _rest(last)) == ("complete", [])


async def check_resuming_while_it_is_written(transport: Transport) -> None:
    """What was written while a reader was away comes when it is back."""
    async with transport.serve(StreamingConfig()) as session:
        stream = await _sampled(session)
        first = await session.attach(stream.id)
        had = [await _record(first) for _ in range(3)]
        await first.leave()
        await _sampled(session, stream)
        again = await session.attach(stream.id, had[-1].id)
        await stream.finish()
        assert [record.id for record in (*had, *await _rest(again))] == _ids(stream)


async def check_gap(transport: Transport) -> None:
    """What is gone for good is told as a gap, which is exact."""
    async with transport.serve(StreamingConfig(buffer_size=4)) as session:
        stream = await session.manager.create(retain="window")
        for n in range(10):
            await stream.write(Json(n))
        for after, first in ((None, 1), (f"{stream.epoch}-2", 3)):
            reading = await session.attach(stream.id, after)
            assert reading.outcome == "gap"
            assert await reading.next() == Record("", "gap", {"from": first, "to": 6})
            assert [(await _record(reading)).data for _ in range(4)] == [6, 7, 8, 9]
            await reading.leave()


async def check_reset(transport: Transport) -> None:
    """An id of another epoch, or beyond the head, means: forget what you have."""
    async with transport.serve(StreamingConfig()) as session:
        stream = await _sampled(session)
        await stream.finish()
        whole = await _rest(await session.attach(stream.id))
        for unknown in ("AAAAAAAAAAAA-3", f"{stream.epoch}-1000"):
            reading = await session.attach(stream.id, unknown)
            assert (reading.outcome, reading.position) == ("reset", f"{stream.epoch}-0")
            assert await _rest(reading) == whole


async def check_snapshot(transport: Transport) -> None:
    """A snapshot stands for everything before it, and reading goes on behind it."""
    async with transport.serve(StreamingConfig()) as session:
        stream = await session.manager.create()
        for word in ("the ", "sea ", "remembers"):
            await stream.write(word)
        reading = await session.attach(stream.id, "snapshot")
        assert reading.outcome == "snapshot"
        snapshot = await _record(reading)
        assert (snapshot.event, snapshot.id) == ("snapshot", f"{stream.epoch}-3")
        assert snapshot.data["content"] == "the sea remembers"
        await stream.write(" every ship")
        assert (await _record(reading)).id == f"{stream.epoch}-4"


async def check_endings(transport: Transport) -> None:
    """Each of the five outcomes is told to readers that are there and to later ones, and nothing after it."""
    for outcome in Outcome:
        async with transport.serve(StreamingConfig()) as session:
            stream = await session.manager.create()
            await stream.write("Hel")
            there = await session.attach(stream.id)
            await _end(stream, outcome)
            for reading in (there, await session.attach(stream.id)):
                *_, last = await _rest(reading)
                assert last.id == stream.position
                event, field, said = _ENDINGS.get(outcome, ("end", "outcome", outcome))
                assert (last.event, last.data.get(field)) == (event, said)


async def check_cancelling(transport: Transport) -> None:
    """A client stops a stream for everybody; doing it twice is no error."""
    async with transport.serve(StreamingConfig()) as session:
        stream = await session.manager.create()
        reading = await session.attach(stream.id)
        await session.cancel(stream.id)
        await session.cancel(stream.id)
        assert stream.state == "cancelled"
        *_, last = await _rest(reading)
        assert last.data["outcome"] == "cancelled"


async def check_leaving(transport: Transport) -> None:
    """A reader that goes ends its own subscription, and neither the stream nor its other readers."""
    async with transport.serve(StreamingConfig()) as session:
        stream = await session.manager.create()
        leaving, staying = await session.attach(stream.id), await session.attach(stream.id)
        await leaving.leave()
        await _until(lambda: stream.feed.readers == 1)
        assert stream.is_open
        await stream.write("on")
        assert (await _record(staying)).data == {"text": "on"}


async def check_slow_reader(transport: Transport) -> None:
    """One that stalls holds nobody up; what it has not taken stays in the log, and it misses nothing."""
    async with transport.serve(StreamingConfig(buffer_bytes=_ROOMY, max_stream_bytes=_ROOMY)) as session:
        stream = await session.manager.create()
        stalled, reading = await session.attach(stream.id), await session.attach(stream.id)
        for _ in range(_BIG_CHUNKS):
            await stream.write(_BIG)
            assert (await _record(reading)).id == stream.position
        assert stream.stats()["lag_bytes"] > _BIG_CHUNKS * len(_BIG) // 2, (
            "a transport keeps what its reader won't take"
        )
        await stream.finish()
        assert [record.id for record in await _rest(stalled)] == _ids(stream)


async def check_too_slow(transport: Transport) -> None:
    """One that lags beyond the hard bound is let go, and goes on where it was."""
    backpressure = BackpressureConfig(strategy=BackpressureStrategy.BUFFER, max_lag=_BIG_CHUNKS // 4)
    config = StreamingConfig(buffer_bytes=_ROOMY, max_stream_bytes=_ROOMY, backpressure=backpressure)
    async with transport.serve(config) as session:
        stream = await session.manager.create()
        stalled, reading = await session.attach(stream.id), await session.attach(stream.id)
        for _ in range(_BIG_CHUNKS):
            await stream.write(_BIG)
            await _record(reading)
        await _until(lambda: stream.feed.readers == 1)
        had = []
        try:
            while (record := await stalled.next()) is not None:
                had.append(record.id)
        except Broken:
            pass
        else:
            raise AssertionError("a reader that was let go was told an end")
        await stream.finish()
        again = await session.attach(stream.id, had[-1] if had else f"{stream.epoch}-0")
        assert had + [record.id for record in await _rest(again)] == _ids(stream)


async def check_limits(transport: Transport) -> None:
    """More readers than there may be are refused, by name, until one leaves."""
    async with transport.serve(StreamingConfig(max_connections_per_stream=1)) as session:
        stream = await session.manager.create()
        first = await session.attach(stream.id)
        assert await _refusal(session, stream.id) == "limit"
        await first.leave()
        await _until(lambda: not stream.feed.readers)
        await session.attach(stream.id)


async def check_refusals(transport: Transport) -> None:
    """What is not there, is gone, or cannot be meant is refused, by name."""
    async with transport.serve(StreamingConfig()) as session:
        stream = await session.manager.create()
        assert await _refusal(session, stream.id, "no-event-id-") == "invalid_event_id"
        assert await _refusal(session, "nosuch") == "not_found"
        await session.manager.delete(stream.id)
        assert await _refusal(session, stream.id) == "gone"


async def check_draining(transport: Transport) -> None:
    """A server that ends tells every reader that its stream was interrupted."""
    async with transport.serve(StreamingConfig()) as session:
        stream = await session.manager.create()
        await stream.write("Hel")
        readings = [await session.attach(stream.id) for _ in range(3)]
        ending = asyncio.ensure_future(session.end())
        for reading in readings:
            *_, last = await _rest(reading)
            assert last.data["outcome"] == "interrupted"
        await ending


TRANSPORT_CHECKS: tuple[Check, ...] = (
    check_attaching, check_attaching_now, check_resuming_at_every_event, check_resuming_while_it_is_written, check_gap,
    check_reset, check_snapshot, check_endings, check_cancelling, check_leaving, check_slow_reader, check_too_slow,
    check_limits, check_refusals, check_draining,
)  # fmt: skip


async def _sampled(session: Session, stream: ActiveStream | None = None) -> ActiveStream:
    stream = await session.manager.create() if stream is None else stream
    for sample in _SAMPLES:
        await stream.write(sample)
    return stream


async def _end(stream: ActiveStream, outcome: Outcome) -> None:
    if outcome is Outcome.FAILED:
        await stream.fail(Error("broke", "it broke"))
    elif outcome is Outcome.CANCELLED:
        await stream.cancel("enough")
    elif outcome is Outcome.INTERRUPTED:
        stream.interrupt_nowait("the producer is gone")
    else:
        await stream.finish(outcome)


async def _record(reading: Reading) -> Record:
    record = await reading.next()
    assert record is not None, "the stream ended too early"
    return record


async def _rest(reading: Reading) -> list[Record]:
    records = []
    while (record := await reading.next()) is not None:
        records.append(record)
    return records


def _ids(stream: ActiveStream) -> list[str]:
    return [f"{stream.epoch}-{sequence}" for sequence in range(1, stream.log.head + 1)]


async def _refusal(session: Session, stream_id: str, after: str | None = None) -> str:
    try:
        await session.attach(stream_id, after)
    except Refused as refused:
        return refused.code
    raise AssertionError("a reader was let in")


async def _until(happened: Callable[[], bool]) -> None:
    """Waits for what the server does when it hears of it: no client is told."""
    loop = asyncio.get_running_loop()
    while not happened():
        looked = loop.create_future()
        loop.call_later(0.005, looked.set_result, None)
        await looked
