"""A manager on a store that acknowledges later than at once: what readers see, what writers are told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from patinox import StreamingConfig, StreamManager
from patinox.core.chunks import StreamChunk
from patinox.core.codec import parse_event_id
from patinox.core.producers import Producer
from patinox.errors import BufferFull, StoreError, StreamClosed, StreamGone, StreamNotFound
from patinox.manager import ActiveStream
from patinox.manager.tail import MAX_CHUNKS
from patinox.testing.fakes import ManualClock, turns
from patinox.testing.stores import FaultyStore

CONFIG = StreamingConfig(drain_timeout_s=0, store_timeout_s=5.0)


@pytest.fixture
async def clock() -> ManualClock:
    clock = ManualClock()
    clock.install(asyncio.get_running_loop())
    return clock


@pytest.fixture
async def store(clock: ManualClock) -> FaultyStore:
    return FaultyStore(clock=clock)


@pytest.fixture
async def manager(clock: ManualClock, store: FaultyStore) -> AsyncIterator[StreamManager]:
    async with StreamManager(CONFIG, store=store, clock=clock) as manager:
        yield manager
        store.come_back()
        store.release()


async def texts(stream: ActiveStream) -> list[str]:
    return [chunk.data.text async for chunk in stream.subscribe() if not chunk.is_final]


class TestAcknowledging:
    async def test_readers_see_what_the_store_has_and_nothing_else(
        self, manager: StreamManager, store: FaultyStore
    ) -> None:
        stream = await manager.create()
        store.hold()
        writing = asyncio.ensure_future(stream.write("a"))
        await turns()
        assert (stream.log.last, stream.log.head, writing.done()) == (1, 0, False)
        assert stream.snapshot()["content"] == ""
        store.release()
        assert (await writing).sequence == 1
        assert stream.snapshot()["content"] == "a"

    async def test_the_first_chunk_after_silence_goes_at_once_and_the_next_ones_together(
        self, manager: StreamManager, store: FaultyStore, clock: ManualClock
    ) -> None:
        one, other = await manager.create(), await manager.create()
        one.write_nowait("a")
        await turns()
        for stream in (one, other, one):
            stream.write_nowait("b")
        await turns()
        assert [len(appends) for appends in store.appends] == [1]
        await clock.advance(0.005)
        assert [len(appends) for appends in store.appends] == [1, 2]
        await one.flush()
        assert (one.log.head, other.log.head) == (3, 1)

    async def test_what_comes_while_the_store_is_busy_goes_with_the_next_write(
        self, manager: StreamManager, store: FaultyStore, clock: ManualClock
    ) -> None:
        stream = await manager.create()
        store.hold()
        stream.write_nowait("a")
        await turns()
        for _ in range(10):
            stream.write_nowait("b")
        store.release()
        await clock.advance(0.005)
        await stream.flush()
        assert [len(append.chunks) for appends in store.appends for append in appends] == [1, 10]

    async def test_an_end_is_told_when_the_store_has_it(self, manager: StreamManager, store: FaultyStore) -> None:
        stream = await manager.create()
        store.hold()
        finishing = asyncio.ensure_future(stream.finish())
        await turns()
        assert (stream.is_open, stream.state, stream.feed.ended) == (False, "open", False)
        with pytest.raises(StreamClosed):
            await stream.write("more")
        store.release()
        await finishing
        assert stream.state == "complete"

    async def test_what_is_pending_is_bounded(
        self, manager: StreamManager, store: FaultyStore, clock: ManualClock
    ) -> None:
        stream = await manager.create()
        store.hold()
        for _ in range(MAX_CHUNKS):
            stream.write_nowait("x")
        with pytest.raises(BufferFull):
            stream.write_nowait("x")
        burst = stream.burst()
        writing = asyncio.ensure_future(burst.write("x"))
        await turns()
        assert not writing.done()
        store.release()
        await clock.advance(0.005)
        await writing
        await clock.advance(0.005)
        await burst.flush()
        assert stream.log.head == MAX_CHUNKS + 1


class TestStoreAway:
    async def test_a_lost_answer_is_asked_for_again(
        self, manager: StreamManager, store: FaultyStore, clock: ManualClock
    ) -> None:
        stream = await manager.create()
        store.lose_answers()
        writing = asyncio.ensure_future(stream.write("a"))
        await turns()
        await clock.advance(0.1)
        await writing
        assert len(store.inner._streams[stream.key].chunks) == 1

    async def test_writes_wait_for_a_while_and_then_fail(
        self, manager: StreamManager, store: FaultyStore, clock: ManualClock
    ) -> None:
        stream = await manager.create()
        await stream.write("a")
        store.go_away()
        writing = asyncio.ensure_future(stream.write("b"))
        for _ in range(20):
            await clock.advance(0.2)
        assert not writing.done()
        for _ in range(10):
            await clock.advance(0.2)
        with pytest.raises(StoreError):
            await writing
        assert stream.snapshot()["content"] == "a", "what is hot can still be read"

    async def test_it_goes_on_when_the_store_is_back(
        self, manager: StreamManager, store: FaultyStore, clock: ManualClock
    ) -> None:
        stream = await manager.create()
        await self._lose(stream, store, clock)
        store.come_back()
        writing = asyncio.ensure_future(stream.write("b"))
        await clock.advance(2)
        assert (await writing).sequence == 1

    async def test_what_was_committed_without_an_answer_is_found_before_anything_is_numbered_again(
        self, manager: StreamManager, store: FaultyStore, clock: ManualClock
    ) -> None:
        stream = await manager.create()
        store.lose_answers(1000)
        producer = Producer("p", 0, 0)
        writing = asyncio.ensure_future(stream.produce("a", producer))
        for _ in range(30):
            await clock.advance(0.2)
        with pytest.raises(StoreError):
            await writing
        store.lose_answers(0)
        for _ in range(10):
            await clock.advance(0.5)
        assert await texts_so_far(stream) == ["a"]
        assert await stream.produce("a", producer) is False
        assert (await stream.write("b")).sequence == 2

    async def test_what_nobody_waited_for_is_told_by_the_next_write(
        self, manager: StreamManager, store: FaultyStore, clock: ManualClock
    ) -> None:
        stream = await manager.create()
        stream.write_nowait("a")
        store.go_away()
        for _ in range(30):
            await clock.advance(0.2)
        store.come_back()
        await clock.advance(2)
        with pytest.raises(StoreError):
            await stream.write("b")
        writing = asyncio.ensure_future(stream.write("c"))
        await clock.advance(1)
        assert (await writing).sequence == 1

    async def test_a_source_whose_words_were_lost_ends_interrupted_when_the_store_is_back(
        self, manager: StreamManager, store: FaultyStore, clock: ManualClock
    ) -> None:
        more = asyncio.Event()

        async def source() -> AsyncIterator[str]:
            yield "a"
            await more.wait()
            yield "b"

        stream = await manager.relay(source())
        await turns()
        store.go_away()
        more.set()
        for _ in range(30):
            await clock.advance(0.2)
        assert stream.state == "open"
        store.come_back()
        for _ in range(10):
            await clock.advance(0.5)
        assert stream.state == "interrupted"
        assert await texts(stream) == ["a"]

    async def _lose(self, stream: ActiveStream, store: FaultyStore, clock: ManualClock) -> None:
        store.go_away()
        writing = asyncio.ensure_future(stream.write("lost"))
        for _ in range(30):
            await clock.advance(0.2)
        with pytest.raises(StoreError):
            await writing


async def texts_so_far(stream: ActiveStream) -> list[str]:
    chunks: list[StreamChunk] = list(await stream.feed.read(0, 100))
    return [chunk.data.text for chunk in chunks]


class TestLoading:
    @pytest.fixture
    async def manager(self, clock: ManualClock, store: FaultyStore) -> AsyncIterator[StreamManager]:
        config = StreamingConfig(drain_timeout_s=0, flush_interval_s=0)
        async with StreamManager(config, store=store, clock=clock) as manager:
            yield manager

    async def test_what_has_ended_costs_nothing_after_a_while(self, manager: StreamManager, clock: ManualClock) -> None:
        for number in range(3):
            stream = await manager.create(id=f"s{number}")
            await stream.write("a")
            await stream.finish()
        for _ in range(10):
            await clock.advance(2)
        assert len(manager) == 0
        assert [s.id for s in await manager.list()] == ["s0", "s1", "s2"]

    async def test_it_is_loaded_when_somebody_asks(self, manager: StreamManager, clock: ManualClock) -> None:
        await self._ended(manager, clock, 300)
        stream = await manager.open("s")
        assert (stream.state, stream.log.head, stream.feed.folded) == ("complete", 301, 0)
        assert len(await texts(stream)) == 300
        await stream.assemble()
        assert stream.snapshot()["content"] == "".join(f"{n} " for n in range(300))

    async def test_a_subscription_looks_for_it_when_it_is_read(
        self, manager: StreamManager, clock: ManualClock
    ) -> None:
        await self._ended(manager, clock, 3)
        assert len([chunk async for chunk in manager.subscribe("s")]) == 4
        with pytest.raises(StreamNotFound):
            await anext(manager.subscribe("none"))

    async def test_the_first_words_come_without_the_last_having_been_read(
        self, manager: StreamManager, store: FaultyStore, clock: ManualClock
    ) -> None:
        await self._ended(manager, clock, 2000)
        store.reads = 0
        async with manager.subscribe("s") as reading:
            assert (await anext(reading)).data.text == "0 "
        assert store.reads == 1

    async def test_its_event_ids_find_it(self, manager: StreamManager, clock: ManualClock) -> None:
        stream = await self._ended(manager, clock, 1)
        found = await manager.find(parse_event_id(stream.position))
        assert found is not None
        assert found is not stream
        assert found.id == "s"

    async def test_a_deleted_one_is_gone(self, manager: StreamManager, clock: ManualClock) -> None:
        await self._ended(manager, clock, 1)
        await manager.delete("s")
        with pytest.raises(StreamGone):
            await manager.open("s")

    async def _ended(self, manager: StreamManager, clock: ManualClock, count: int) -> ActiveStream:
        stream = await manager.create(id="s")
        burst = stream.burst()
        for number in range(count):
            await burst.write(f"{number} ")
        await stream.finish()
        for _ in range(10):
            await clock.advance(2)
        assert len(manager) == 0
        return stream
