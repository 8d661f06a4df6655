"""Subscriptions that are pulled: chunks for code in the same process, frames for a transport that asks for them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.tally import tally

from patinox import StreamingConfig, StreamManager
from patinox.core.attach import Gap
from patinox.core.chunks import Json, Outcome, StreamChunk, Text
from patinox.delivery.subscription import Subscription
from patinox.delivery.wire import PlainWire, SseWire
from patinox.errors import InvalidEventId
from patinox.formats.patinox import PATINOX
from patinox.formats.text import TEXT
from patinox.manager import ActiveStream
from patinox.manager.stream import parse_after
from patinox.testing.fakes import turns


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    async with StreamManager(StreamingConfig(buffer_size=10, drain_timeout_s=0)) as manager:
        yield manager


async def stream_of(manager: StreamManager, count: int, *, retain: str = "full", ended: bool = True) -> ActiveStream:
    stream = await manager.create(retain=retain)
    for number in range(1, count + 1):
        stream.write_nowait(f"t{number}")
    if ended:
        await stream.finish()
    return stream


def subscription(stream: ActiveStream, after: str = "start", *, foreign: bool = False) -> Subscription:
    format_ = tally() if foreign else PATINOX
    wire = SseWire(format_, ids=True, controls=not foreign, retry_ms=1000)
    attachment = stream.feed.attach(parse_after(after), snapshots=wire.controls)
    return Subscription(stream.feed, stream.feed.view(format_, wire), attachment)


async def read(reader: Subscription) -> bytes:
    out = []
    while (piece := await reader.next()) is not None:
        out.append(piece)
    return b"".join(out)


class TestChunks:
    async def test_all_come_in_order_up_to_the_final_one(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 100)
        chunks = [chunk async for chunk in manager.subscribe(stream.id)]
        assert [chunk.sequence for chunk in chunks] == list(range(1, 102))
        assert [chunk.is_final for chunk in chunks] == [False] * 100 + [True]
        assert stream.feed.readers == 0

    async def test_they_come_as_they_are_written(self, manager: StreamManager) -> None:
        stream = await manager.create()
        seen: list[StreamChunk] = []

        async def watch() -> None:
            async for chunk in stream.subscribe():
                seen.append(chunk)  # noqa: PERF401

        watching = asyncio.ensure_future(watch())
        for number in range(1, 4):
            await stream.write("x")
            await turns()
            assert len(seen) == number
        await stream.finish()
        await watching
        assert seen[-1].data.outcome is Outcome.COMPLETE

    @pytest.mark.parametrize("after", [0, 1, 50, 99, 100])
    async def test_after_an_event_id_comes_the_rest(self, manager: StreamManager, after: int) -> None:
        stream = await stream_of(manager, 100)
        reader = manager.subscribe(stream.id, f"{stream.epoch}-{after}")
        assert reader.outcome == "resumed"
        assert [chunk.sequence async for chunk in reader] == list(range(after + 1, 102))

    async def test_after_the_end_comes_nothing(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 3)
        reader = stream.subscribe(stream.position)
        assert reader.outcome == "complete"
        assert [chunk async for chunk in reader] == []
        assert [chunk async for chunk in stream.subscribe("now")] == []

    async def test_an_id_of_another_stream_starts_anew(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 3)
        reader = stream.subscribe("elsewhere-2")
        assert reader.outcome == "reset"
        assert len([chunk async for chunk in reader]) == 4

    async def test_an_id_that_is_none_is_refused(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 3)
        with pytest.raises(InvalidEventId):
            stream.subscribe("nonsense")

    async def test_what_was_evicted_is_told_as_a_gap_and_the_rest_is_whole(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 30, retain="window")
        reader = stream.subscribe()
        chunks = [chunk async for chunk in reader]
        assert reader.outcome == "gap"
        assert chunks[0].data == Gap(1, 21)
        assert [chunk.sequence for chunk in chunks] == list(range(21, 32))

    async def test_what_is_evicted_while_reading_is_told_as_a_gap(self, manager: StreamManager) -> None:
        stream = await manager.create(retain="window")
        async with stream.subscribe() as reader:
            stream.write_nowait("1")
            assert (await anext(reader)).data == Text("1")
            for _ in range(20):
                stream.write_nowait("x")
            assert (await anext(reader)).data == Gap(2, 11)
            assert (await anext(reader)).sequence == 12

    async def test_a_deleted_stream_ends_with_a_gap_where_it_was_not_hot(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 30)
        async with stream.subscribe(f"{stream.epoch}-5") as reader:
            await manager.delete(stream.id)
            chunks = [chunk async for chunk in reader]
        assert chunks[0].data == Gap(6, 21)
        assert chunks[-1].is_final

    async def test_snapshot_is_as_start_for_chunks(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 3)
        assert len([chunk async for chunk in stream.subscribe("snapshot")]) == 4

    async def test_leaving_counts_out_once(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 3, ended=False)
        async with stream.subscribe() as reader:
            assert stream.feed.readers == 1
            await reader.aclose()
        assert stream.feed.readers == 0
        assert stream.id in repr(reader)

    async def test_a_reader_cancelled_while_it_waits_leaves_nothing_behind(self, manager: StreamManager) -> None:
        stream = await manager.create()
        async with stream.subscribe() as reader, stream.subscribe() as other:
            waiting = [asyncio.ensure_future(anext(reader)), asyncio.ensure_future(anext(other))]
            await turns()
            waiting[0].cancel()
            await turns()
            await stream.write("a")
            assert (await waiting[1]).data == Text("a")
            assert waiting[0].cancelled()
            assert stream.feed._waiters == []


class TestFrames:
    async def test_the_opening_tells_the_position(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 3)
        reader = subscription(stream, f"{stream.epoch}-2")
        opening = await reader.opening(fresh=False)
        assert opening.startswith(f"retry: 1000\n\nid: {stream.epoch}-2\nevent: position\n".encode())
        assert b'"outcome":"resumed"' in opening

    async def test_frames_come_whole_and_in_order_hot_and_cold(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 100)
        reader = subscription(stream)
        reader.open()
        data = await read(reader)
        reader.close()
        ids = [line.rpartition(b"-")[2] for line in data.split(b"\n") if line.startswith(b"id: ")]
        assert ids == [b"%d" % n for n in range(1, 102)]
        assert stream.feed.readers == 0

    async def test_it_waits_for_what_comes(self, manager: StreamManager) -> None:
        stream = await manager.create()
        reader = subscription(stream)
        reader.open()
        waiting = asyncio.ensure_future(reader.next())
        await turns()
        stream.write_nowait("a")
        assert b'"text":"a"' in (await waiting or b"")
        assert (reader.lag, reader.stats()["cursor"], reader.stats()["outcome"]) == (0, 1, "start")
        assert "lag 0" in repr(reader)
        reader.close()
        reader.close()

    async def test_a_snapshot_stands_for_all_before_it(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 30, ended=False)
        reader = subscription(stream, "snapshot")
        stream.write_nowait("late")
        opening = await reader.opening(fresh=True)
        assert f"id: {stream.epoch}-31\nevent: snapshot".encode() in opening
        assert b"t30late" in opening
        await stream.finish()
        reader.open()
        assert (await read(reader)).count(b"event: ") == 1
        reader.close()

    async def test_a_snapshot_of_an_ended_stream_leaves_its_end_to_come(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 3)
        reader = subscription(stream, "snapshot")
        assert f"id: {stream.epoch}-3\nevent: snapshot".encode() in await reader.opening(fresh=True)
        reader.open()
        assert b"event: end" in await read(reader)
        reader.close()

    async def test_a_gap_is_told_before_the_rest(self, manager: StreamManager) -> None:
        stream = await manager.create(retain="window")
        for number in range(30):
            stream.write_nowait(Json(number))
        await stream.finish()
        reader = subscription(stream, f"{stream.epoch}-2")
        opening = await reader.opening(fresh=False)
        assert b'"outcome":"gap"' in opening
        assert b'event: gap\ndata: {"from":3,"to":21}' in opening
        reader.open()
        assert (await read(reader)).count(b"event: json") == 9
        reader.close()

    async def test_evicted_with_assembled_text_is_told_as_gap_and_snapshot(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 30, retain="window", ended=False)
        reader = subscription(stream, f"{stream.epoch}-2")
        opening = await reader.opening(fresh=False)
        events = [line for line in opening.split(b"\n") if line.startswith(b"event: ")]
        assert events == [b"event: position", b"event: gap", b"event: snapshot"]
        assert b"t1t2t3" in opening
        assert reader.cursor == 30

    async def test_a_fresh_foreign_client_gets_openers_and_a_resuming_one_none(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 5)
        for fresh in (True, False):
            opening = await subscription(stream, f"{stream.epoch}-2", foreign=True).opening(fresh=fresh)
            assert (b"data: open" in opening) is fresh
        assert await subscription(stream, foreign=True).opening(fresh=True) == b""

    async def test_a_foreign_reader_has_no_snapshot_and_is_not_moved_to_the_head(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 5)
        reader = subscription(stream, "snapshot", foreign=True)
        assert (reader.attachment.outcome, reader.cursor) == ("start", 0)

    async def test_a_reader_that_the_window_overtakes_is_told_a_gap(self, manager: StreamManager) -> None:
        stream = await stream_of(manager, 5, retain="window", ended=False)
        reader = subscription(stream)
        reader.open()
        await reader.next()
        for _ in range(30):
            stream.write_nowait("x")
        await stream.finish()
        data = await read(reader)
        assert data.startswith(b'event: gap\ndata: {"from":6,"to":26}\n')
        assert data.count(b"event: text") == 9
        assert [(gap.first, gap.last) for gap in reader.gaps] == [(6, 26)]
        reader.close()

    @pytest.mark.parametrize("raw", [False, True])
    async def test_a_foreign_reader_that_the_window_overtakes_is_ended(self, manager: StreamManager, raw: bool) -> None:
        stream = await stream_of(manager, 5, retain="window", ended=False)
        reader = subscription(stream, foreign=True)
        if raw:
            view = stream.feed.view(TEXT, PlainWire(TEXT))
            reader = Subscription(stream.feed, view, stream.feed.attach("start", snapshots=False))
        reader.open()
        await reader.next()
        for _ in range(30):
            stream.write_nowait("x")
        data = await read(reader)
        assert reader.must_abort is raw
        assert data.count(b"data: 6/") == (0 if raw else 1)
        reader.close()
