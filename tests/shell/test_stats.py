"""What can be read off a manager, a stream and a reader: lags, bytes, what was dropped and why, gaps, resumes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.readers import PushedReader, position

from patinox import BackpressureConfig, StreamingConfig, StreamManager
from patinox.config import BackpressureStrategy, OverflowStrategy, PaceTo, Retain
from patinox.delivery.counters import DeliveryCounters
from patinox.errors import BufferFull
from patinox.manager import ActiveStream
from patinox.testing.fakes import ManualClock, turns

CHUNK = len(b'{"text":"x"}')


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    config = StreamingConfig(buffer_size=10, drain_timeout_s=0)
    async with StreamManager(config) as manager:
        yield manager


@pytest.fixture
async def stream(manager: StreamManager) -> ActiveStream:
    return await manager.create()


def write(stream: ActiveStream, count: int) -> None:
    for _ in range(count):
        stream.write_nowait("x")


class TestLag:
    async def test_of_each_reader_and_the_largest_of_all(self, manager: StreamManager, stream: ActiveStream) -> None:
        other = await manager.create()
        pushed, pulled = PushedReader(stream), stream.subscribe()
        await turns()
        pushed.sink.suspend()
        write(stream, 3)
        await turns()
        write(stream, 4)
        await turns()
        assert pushed.subscription.stats()["lag"] == 4
        assert pushed.subscription.stats()["lag_bytes"] == 4 * CHUNK
        assert (pulled.stats()["lag"], pulled.stats()["lag_bytes"]) == (7, 7 * CHUNK)
        assert (stream.stats()["lag"], stream.stats()["lag_bytes"]) == (7, 7 * CHUNK)
        assert (other.stats()["lag"], manager.stats()["lag"]) == (0, 7)
        assert (manager.stats()["busy"], manager.stats()["at_head"]) == (1, 0)
        await pulled.aclose()
        assert manager.stats()["lag"] == 4
        pushed.sink.resume()
        await turns()
        assert stream.stats()["lag"] == stream.stats()["lag_bytes"] == 0
        await pushed.leave()


async def test_of_a_reader_where_it_stands_and_what_it_was_told(stream: ActiveStream) -> None:
    write(stream, 5)
    reader = PushedReader(stream, position(stream, 2))
    await turns()
    assert reader.subscription.stats() == {
        "outcome": "resumed", "format": "patinox", "type": "sse", "cursor": 5, "lag": 0, "lag_bytes": 0, "gaps": 0,
    }  # fmt: skip
    await reader.leave()
    pulled = stream.subscribe(position(stream, 2))
    await anext(pulled)
    assert pulled.stats() == {"outcome": "resumed", "cursor": 3, "lag": 2, "lag_bytes": 2 * CHUNK, "gaps": 0}
    await pulled.aclose()


class TestCounts:
    async def test_chunks_and_bytes(self, manager: StreamManager, stream: ActiveStream) -> None:
        write(stream, 5)
        write(await manager.create(), 2)
        assert (stream.stats()["chunks"], stream.stats()["chunk_bytes"]) == (5, 5 * CHUNK)
        assert (manager.stats()["chunks"], manager.stats()["chunk_bytes"]) == (7, 7 * CHUNK)

    async def test_attaches_by_outcome(self, manager: StreamManager, stream: ActiveStream) -> None:
        write(stream, 30)
        window = await manager.create(retain="window")
        write(window, 30)
        for after in ("start", "now", position(stream, 3), position(stream, 4), "elsewhere-9"):
            await stream.subscribe(after).aclose()
        await window.subscribe(position(window, 3)).aclose()
        await stream.finish()
        await stream.subscribe(stream.position).aclose()
        assert stream.stats()["attaches"] == {"start": 2, "resumed": 2, "reset": 1, "complete": 1}
        assert window.stats()["attaches"] == {"gap": 1}
        assert manager.stats()["attaches"] == {"start": 2, "resumed": 2, "reset": 1, "complete": 1, "gap": 1}

    async def test_gaps_by_reason(self, manager: StreamManager) -> None:
        window = await manager.create(retain="window")
        reader = window.subscribe()
        write(window, 30)
        await anext(reader)
        assert reader.stats()["gaps"] == 1
        await window.subscribe().aclose()
        assert window.stats()["gaps"] == manager.stats()["gaps"] == {"evicted": 2}
        await reader.aclose()

    async def test_readers_that_were_dropped_by_reason(self) -> None:
        clock = ManualClock()
        clock.install(asyncio.get_running_loop())
        pressure = BackpressureConfig(strategy=BackpressureStrategy.DROP, pace_to=PaceTo.NONE, threshold=5)
        config = StreamingConfig(backpressure=pressure, drain_timeout_s=0, write_deadline_s=10)
        async with StreamManager(config) as manager:
            stream = await manager.create()
            stalled, broken = PushedReader(stream), PushedReader(stream)
            await turns()
            stalled.sink.suspend()
            broken.sink.break_with(OSError("gone"))
            write(stream, 1)
            await turns()
            await broken.leave()
            for _ in range(5):  # the first is under way, and five lag
                write(stream, 1)
                await turns(3)
            assert manager.stats()["dropped"] == {"disconnected": 1, "skipped": 1}
            await clock.advance(11)
            assert manager.stats()["dropped"] == {"disconnected": 1, "skipped": 1, "write_deadline": 1}
            await stalled.leave()

    async def test_appends_that_were_refused(self) -> None:
        config = StreamingConfig(
            overflow_strategy=OverflowStrategy.DROP_NEWEST, buffer_size=2, retain=Retain.WINDOW, drain_timeout_s=0
        )
        async with StreamManager(config) as manager:
            stream = await manager.create()
            reader = stream.subscribe()
            write(stream, 2)
            with pytest.raises(BufferFull):
                write(stream, 1)
            assert stream.stats()["refused"] == 1
            assert stream.stats()["dropped"] == manager.stats()["dropped"] == {"buffer_full": 1}
            await reader.aclose()

    async def test_of_a_window(self, manager: StreamManager) -> None:
        stream = await manager.create(retain="window")
        write(stream, 13)
        figures = stream.stats()
        assert {key: figures[key] for key in ("head", "bytes", "window_chunks", "window_bytes", "evicted")} == {
            "head": 13, "bytes": 13 * CHUNK, "window_chunks": 10, "window_bytes": 10 * CHUNK, "evicted": 3,
        }  # fmt: skip

    async def test_pauses(self) -> None:
        config = StreamingConfig(backpressure=BackpressureConfig(threshold=2), drain_timeout_s=0)
        async with StreamManager(config) as manager:
            stream = await manager.create()
            reader = stream.subscribe()
            write(stream, 2)
            waiting = asyncio.ensure_future(stream.write("x"))
            await turns()
            assert stream.stats()["pauses"] == 1
            await anext(reader)
            await waiting
            await reader.aclose()


def test_counters_say_what_they_hold_and_pass_it_on() -> None:
    whole = DeliveryCounters()
    part = DeliveryCounters(whole)
    assert part.as_dict() == {"chunks": 0, "chunk_bytes": 0, "attaches": {}, "dropped": {}, "gaps": {}}
    part.append(3)
    part.attach("start")
    part.drop("too_slow")
    part.gap("evicted")
    assert part.as_dict() == whole.as_dict()
    assert (part.attaches, part.dropped, part.gaps) == ({"start": 1}, {"too_slow": 1}, {"evicted": 1})
    assert "too_slow" in repr(part)
