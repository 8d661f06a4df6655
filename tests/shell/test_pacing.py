"""Back-pressure through the manager: who is waited for and for how long, who is moved on, and who is let go."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.readers import NATIVE, PushedReader, covered, position
from tests.tally import tally

from patinox import BackpressureConfig, Gap, StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.delivery.subscription import Subscription
from patinox.delivery.wire import SseWire
from patinox.errors import BufferFull, ReaderTooSlow, StreamClosed
from patinox.formats.patinox import PATINOX
from patinox.manager import ActiveStream
from patinox.testing.fakes import AsgiClient, ManualClock, turns

HIGH, LOW = 10, 5

Opened = Callable[..., Coroutine[Any, Any, ActiveStream]]


@pytest.fixture
async def clock() -> ManualClock:
    clock = ManualClock()
    clock.install(asyncio.get_running_loop())
    return clock


@pytest.fixture
async def opened(clock: ManualClock) -> AsyncIterator[Opened]:
    """Makes a stream on a manager with these settings."""
    async with AsyncExitStack() as stack:

        async def open_(*, retain: str = "full", **settings: Any) -> ActiveStream:
            top = {key: settings.pop(key) for key in ("buffer_size", "overflow_strategy") if key in settings}
            pressure = BackpressureConfig(**{"threshold": HIGH, **settings})
            config = StreamingConfig(backpressure=pressure, drain_timeout_s=0, write_deadline_s=3600, **top)
            manager = await stack.enter_async_context(StreamManager(config, clock=clock))
            return await manager.create(retain=retain)

        yield open_


class Producer:
    """Writes as fast as it may. `written` says how far it got."""

    def __init__(self, stream: ActiveStream, count: int = 10_000, *, text: str = "x") -> None:
        self.stream = stream
        self.written = 0
        self.task = asyncio.get_running_loop().create_task(self._run(count, text))

    async def _run(self, count: int, text: str) -> None:
        for _ in range(count):
            await self.stream.write(text)
            self.written += 1

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait((self.task,))


async def given(stream: ActiveStream, *suspended: bool) -> list[PushedReader]:
    """Readers at the head, those marked so suspended from the next message on."""
    readers = [PushedReader(stream) for _ in suspended]
    await turns()
    for reader, is_suspended in zip(readers, suspended, strict=True):
        if is_suspended:
            reader.sink.suspend()
    return readers


async def leave(*readers: PushedReader) -> None:
    for reader in readers:
        reader.sink.resume()
        await reader.leave()


class TestPausing:
    async def test_a_tight_producer_is_paced_by_its_only_reader(self, opened: Opened) -> None:
        stream = await opened()
        (reader,) = await given(stream, True)
        producer = Producer(stream)
        await turns(100)
        lag = reader.subscription.lag
        assert HIGH <= lag <= HIGH + 1
        held = producer.written
        await turns(100)
        assert producer.written == held
        reader.sink.resume()
        await turns()
        assert producer.written > held
        await producer.stop()
        await leave(reader)

    async def test_the_fastest_is_enough(self, opened: Opened) -> None:
        stream = await opened(pace_to="fastest")
        stalled, quick = await given(stream, True, False)
        producer = Producer(stream, 500)
        await turns(300)
        assert producer.written == 500
        assert quick.told == list(range(1, 501))
        assert stalled.subscription.lag > 400
        await leave(stalled, quick)

    async def test_the_slowest_is_waited_for(self, opened: Opened) -> None:
        stream = await opened(pace_to="slowest")
        slow, quick = await given(stream, True, False)
        producer = Producer(stream, 500)
        await turns(300)
        assert producer.written <= 2 * HIGH
        assert quick.told == list(range(1, producer.written + 1))
        slow.sink.resume()
        await turns(2000)
        assert producer.written == 500
        assert slow.told == quick.told
        await leave(slow, quick)

    @pytest.mark.parametrize("strategy", ["buffer", "drop"])
    async def test_with_none_nobody_is(self, opened: Opened, strategy: str) -> None:
        stream = await opened(pace_to="none", strategy=strategy)
        readers = await given(stream, True, True)
        producer = Producer(stream, 500)
        await turns(100)
        assert producer.written == 500
        await leave(*readers)

    async def test_without_readers_nothing_is_waited_for(self, opened: Opened) -> None:
        producer = Producer(await opened(pace_to="slowest"), 500)
        await turns(30)
        assert producer.written == 500

    async def test_bytes_count_as_well_as_chunks(self, opened: Opened) -> None:
        stream = await opened(threshold_bytes=1000)
        (reader,) = await given(stream, True)
        producer = Producer(stream, text="x" * 289)  # 300 bytes as JSON
        await turns(100)
        assert reader.subscription.stats()["lag_bytes"] <= 1300
        assert 3 <= reader.subscription.lag <= 5
        await producer.stop()
        await leave(reader)

    async def test_a_pause_lasts_until_the_low_mark(self, opened: Opened) -> None:
        stream = await opened()
        reader = stream.subscribe()
        producer = Producer(stream)
        await turns()
        assert reader.lag == HIGH
        for lag in range(HIGH - 1, LOW, -1):
            await anext(reader)
            await turns()
            assert reader.lag == lag
        await anext(reader)
        await turns()
        assert reader.lag == HIGH
        await producer.stop()
        await reader.aclose()

    async def test_a_reader_in_the_process_lags_by_what_it_has_not_taken(self, opened: Opened) -> None:
        stream = await opened()
        reader = stream.subscribe()
        producer = Producer(stream, 100)
        seen = [(await anext(reader)).sequence]
        await turns()
        assert producer.written <= 1 + HIGH
        async for chunk in reader:
            seen.append(chunk.sequence)
            assert stream.log.head - chunk.sequence <= HIGH
            if chunk.sequence == 100:
                break
        assert seen == list(range(1, 101))
        await reader.aclose()

    async def test_a_reader_that_comes_with_a_lag_is_waited_for_at_once(self, opened: Opened) -> None:
        stream = await opened(pace_to="slowest")
        quick = PushedReader(stream)
        Producer(stream, 100)
        await turns(300)
        late = stream.subscribe()
        producer = Producer(stream, 100)
        await turns()
        assert producer.written == 0
        await late.aclose()
        await turns(300)
        assert producer.written == 100
        await leave(quick)

    async def test_a_reader_that_comes_to_the_head_ends_a_pause_for_the_fastest(self, opened: Opened) -> None:
        stream = await opened()
        (reader,) = await given(stream, True)
        producer = Producer(stream)
        await turns()
        held = producer.written
        fresh = PushedReader(stream, "now")
        await turns()
        assert producer.written > held
        await producer.stop()
        await leave(reader, fresh)

    async def test_when_the_fast_one_leaves_the_others_are_waited_for(self, opened: Opened) -> None:
        stream = await opened()
        slow, quick = await given(stream, True, False)
        first = Producer(stream, 50)
        await turns(200)
        assert first.written == 50
        await leave(quick)
        second = Producer(stream, 50)
        await turns()
        assert second.written == 0
        await leave(slow)
        await turns()
        assert second.written == 50

    async def test_the_end_of_the_stream_is_the_end_of_a_pause(self, opened: Opened) -> None:
        stream = await opened()
        (reader,) = await given(stream, True)
        producer = Producer(stream)
        await turns()
        await stream.cancel()
        await turns()
        with pytest.raises(StreamClosed):
            producer.task.result()
        await leave(reader)

    async def test_an_end_waits_for_nobody(self, opened: Opened) -> None:
        stream = await opened()
        (reader,) = await given(stream, True)
        for _ in range(3 * HIGH):
            stream.write_nowait("x")
        await stream.finish()
        await leave(reader)
        assert not stream.is_open


class TestStalling:
    async def test_who_made_no_progress_for_stall_s_is_not_waited_for(self, opened: Opened, clock: ManualClock) -> None:
        stream = await opened(stall_s=5.0, pace_to="slowest")
        stalled, quick = await given(stream, True, False)
        producer = Producer(stream, 1000)
        await turns(100)
        held = producer.written
        assert held < 1000
        await clock.advance(4.9)
        assert producer.written == held
        await clock.advance(1.3)
        await turns(2000)
        assert producer.written == 1000
        assert quick.told == list(range(1, 1001))
        await leave(stalled, quick)

    async def test_progress_starts_the_time_anew(self, opened: Opened, clock: ManualClock) -> None:
        stream = await opened(stall_s=4.0)
        reader = stream.subscribe()
        producer = Producer(stream)
        for _ in range(4):
            await turns()
            held = producer.written
            await anext(reader)
            await clock.advance(3.0)
            assert producer.written == held, "one step is not enough for the low mark, but it is progress"
        await producer.stop()
        await reader.aclose()

    async def test_with_nobody_left_that_counts_the_producer_is_free(self, opened: Opened, clock: ManualClock) -> None:
        stream = await opened(stall_s=5.0)
        readers = await given(stream, True, True)
        producer = Producer(stream, 500)
        await turns()
        await clock.advance(6.3)
        await turns(100)
        assert producer.written == 500
        await leave(*readers)

    async def test_who_wakes_up_again_is_waited_for_again(self, opened: Opened, clock: ManualClock) -> None:
        stream = await opened(stall_s=5.0)
        reader = stream.subscribe()
        Producer(stream, 100)
        await turns()
        await clock.advance(6.3)
        await turns(50)
        assert reader.lag == 100
        for _ in range(20):
            await anext(reader)
        producer = Producer(stream, 1000)
        await turns(100)
        assert producer.written <= HIGH, "it is seen at the next look, a high mark later at most"
        await producer.stop()
        await reader.aclose()


class TestWaiting:
    async def test_cancelled_while_waiting_nothing_is_appended(self, opened: Opened) -> None:
        stream = await opened()
        reader = stream.subscribe()
        for _ in range(HIGH):
            stream.write_nowait("x")
        waiting = asyncio.ensure_future(stream.write("never"))
        await turns()
        assert not waiting.done()
        waiting.cancel()
        await turns()
        assert waiting.cancelled()
        assert stream.log.head == HIGH
        async for chunk in reader:
            if chunk.sequence == HIGH:
                break
        await stream.write("then")
        assert (await anext(reader)).data.text == "then"
        await reader.aclose()

    async def test_a_wait_that_was_given_up_does_not_end_the_pause(self, opened: Opened) -> None:
        stream = await opened()
        reader = stream.subscribe()
        for _ in range(HIGH):
            stream.write_nowait("x")
        for _ in range(LOW):
            waiting = asyncio.ensure_future(stream.write("never"))
            await turns()
            waiting.cancel()
            await anext(reader)
            await turns()
        assert stream.log.head == HIGH, "between the marks a pause is for everybody"
        await reader.aclose()

    @pytest.mark.parametrize(
        "settings",
        [
            {"pace_to": "slowest", "low_mark": 0.99},
            {"overflow_strategy": "block", "buffer_size": HIGH, "threshold": 10 * HIGH},
        ],
        ids=["pause", "block"],
    )
    async def test_producers_take_turns(self, opened: Opened, settings: dict[str, Any]) -> None:
        stream = await opened(retain="window", **settings)
        reader = stream.subscribe()
        for _ in range(HIGH):
            stream.write_nowait("x")
        producers = [Producer(stream, text=name) for name in "abc"]
        names = []
        async for chunk in reader:
            await turns(5)
            names.append(chunk.data.text)
            if len(names) == HIGH + 30:
                break
        assert names[: HIGH + 1] == ["x"] * HIGH + ["a"], "for which there was room"
        assert "".join(names[HIGH + 1 :]) in "abc" * 12
        for producer in producers:
            await producer.stop()
        await reader.aclose()

    async def test_nobody_overtakes_the_queue(self, opened: Opened) -> None:
        stream = await opened(low_mark=0.99)
        reader = stream.subscribe()
        for _ in range(HIGH):
            stream.write_nowait("x")
        first = asyncio.ensure_future(stream.write("first"))
        await turns()
        await anext(reader)
        second = asyncio.ensure_future(stream.write("second"))  # there is room already, but it is the first's
        await turns()
        texts = [(await anext(reader)).data.text for _ in range(HIGH)]
        await turns()
        assert (texts[-1], (await anext(reader)).data.text) == ("first", "second")
        await asyncio.gather(first, second)
        await reader.aclose()

    async def test_one_who_gives_up_holds_up_nobody_behind(self, opened: Opened) -> None:
        stream = await opened()
        reader = stream.subscribe()
        for _ in range(HIGH):
            stream.write_nowait("x")
        waiting = [asyncio.ensure_future(stream.write(str(number))) for number in range(3)]
        await turns()
        waiting[0].cancel()
        waiting[1].cancel()
        await turns()
        for _ in range(LOW):
            await anext(reader)
        await turns()
        assert [write.done() for write in waiting] == [True] * 3
        assert waiting[2].result().data.text == "2"
        await reader.aclose()

    async def test_waiting_leaves_nothing_behind(self, opened: Opened) -> None:
        stream = await opened()
        before = asyncio.all_tasks()
        (reader,) = await given(stream, True)
        producers = [Producer(stream) for _ in range(5)]
        await turns()
        for producer in producers:
            await producer.stop()
        await leave(reader)
        await turns()
        assert asyncio.all_tasks() == before
        assert stream.feed._paced == {}

    async def test_readers_whose_progress_cannot_matter_wake_no_producer(self, opened: Opened) -> None:
        stream = await opened(pace_to="slowest")
        (stalled,) = await given(stream, True)
        others = [stream.subscribe() for _ in range(20)]
        producer = Producer(stream)
        await turns()
        looks = 0
        observe = stream.pacing.handler.observe

        class Counting(type(stream.pacing.handler)):  # type: ignore[misc]
            __slots__ = ()

            def observe(self, lags: Any) -> bool:
                nonlocal looks
                looks += 1
                return bool(observe(lags))

        stream.pacing.handler.__class__ = Counting
        for reader in others:
            for _ in range(HIGH):
                await anext(reader)
        await turns()
        assert looks <= len(others), "none but the one that the pause hangs on; that may change with each that comes"
        await producer.stop()
        await leave(stalled)
        for reader in others:
            await reader.aclose()


class TestDropping:
    async def test_a_busy_laggard_jumps_to_the_head_and_is_told(self, opened: Opened) -> None:
        stream = await opened(strategy="drop", pace_to="none")
        stalled, quick = await given(stream, True, False)
        for _ in range(6):
            for _ in range(4):
                stream.write_nowait("x")
            await turns(3)
        stalled.sink.resume()
        await turns()
        assert quick.told == list(range(1, 25))
        assert covered(stalled.told) == 24
        gaps = [item for item in stalled.told if isinstance(item, tuple)]
        assert len(gaps) == 1
        assert stream.stats()["gaps"] == {"dropped": 1}
        assert stream.stats()["dropped"]["skipped"] >= 1
        await leave(stalled, quick)

    async def test_who_takes_all_that_comes_is_never_moved(self, opened: Opened) -> None:
        stream = await opened(strategy="drop", pace_to="none")
        pushed = await given(stream, False, False)
        chunks = stream.subscribe()
        pulled = Subscription(stream.feed, stream.feed.view(PATINOX, NATIVE), stream.feed.attach("start"))
        pulled.open()
        reading = asyncio.ensure_future(anext(chunks))
        pulling = asyncio.ensure_future(pulled.next())
        await turns()
        for _ in range(5 * HIGH):  # far over the mark within one turn of the loop
            stream.write_nowait("x")
        await turns()
        assert (await reading).sequence == 1
        assert (await pulling or b"").count(b"event: text") == 5 * HIGH
        assert [(await anext(chunks)).sequence for _ in range(5 * HIGH - 1)] == list(range(2, 5 * HIGH + 1))
        for reader in pushed:
            assert reader.told == list(range(1, 5 * HIGH + 1))
        assert stream.stats()["dropped"] == {}
        pulled.close()
        await chunks.aclose()
        await leave(*pushed)

    async def test_history_is_no_lag(self, opened: Opened) -> None:
        stream = await opened(strategy="drop", pace_to="none")
        for _ in range(20 * HIGH):
            stream.write_nowait("x" * 10_000)  # takes several writes to catch up on
        late = PushedReader(stream)
        back = PushedReader(stream, position(stream, 7))
        for _ in range(HIGH // 2):
            stream.write_nowait("x")
            await turns(1)
        await turns(300)
        head = stream.log.head
        assert (late.told, back.told) == (list(range(1, head + 1)), list(range(8, head + 1)))
        await leave(late, back)

    async def test_a_reader_in_the_process_is_told_in_its_place(self, opened: Opened) -> None:
        stream = await opened(strategy="drop", pace_to="none")
        reader = stream.subscribe()
        for _ in range(3):
            stream.write_nowait("x")
        seen: list[Any] = [await anext(reader)]
        for _ in range(4 * HIGH):
            stream.write_nowait("x")
            await turns(2)
        await stream.finish()
        seen += [chunk async for chunk in reader]
        told = [(c.data.first, c.data.last) if isinstance(c.data, Gap) else c.sequence for c in seen]
        assert covered(told) == stream.log.head
        assert any(isinstance(item, tuple) for item in told)
        assert seen[-1].is_final

    async def test_the_end_is_never_dropped(self, opened: Opened) -> None:
        stream = await opened(strategy="drop", pace_to="none")
        (stalled,) = await given(stream, True)
        for _ in range(3 * HIGH):
            stream.write_nowait("x")
            await turns(2)
        await stream.finish()
        await turns()
        stalled.sink.resume()
        await turns()
        assert covered(stalled.told) == stream.log.head
        assert stalled.told[-1] == stream.log.head
        await leave(stalled)

    async def test_a_foreign_dialect_ends_with_its_error(self, opened: Opened) -> None:
        stream = await opened(strategy="drop", pace_to="none")
        format_ = tally()
        reader = PushedReader(stream, format_=format_, wire=SseWire(format_, ids=True, controls=False))
        await turns()
        reader.sink.suspend()
        for _ in range(3 * HIGH):
            stream.write_nowait("x")
            await turns(2)
        reader.sink.resume()
        await turns()
        assert reader.done.done()
        assert reader.sink.finals == 1
        assert stream.is_open
        await leave(reader)


class TestHardBound:
    @pytest.mark.parametrize("settings", [{"max_lag": 30}, {"max_lag_bytes": 400}])
    async def test_a_laggard_is_let_go_and_can_resume(self, opened: Opened, settings: dict[str, int]) -> None:
        stream = await opened(strategy="buffer", pace_to="none", **settings)
        stalled, quick = await given(stream, True, False)
        for _ in range(100):
            stream.write_nowait("x")
            await turns(2)
            assert stalled.done.done() or stalled.subscription.lag <= 40
        assert isinstance(stalled.error, ReaderTooSlow)
        assert quick.told == list(range(1, 101))
        assert stream.stats()["dropped"] == {"too_slow": 1}
        stalled.subscription.close()
        again = PushedReader(stream, position(stream, covered(stalled.told)))
        await turns()
        assert covered(stalled.told + again.told) == 100
        await leave(quick, again)

    async def test_resuming_from_far_back_is_no_reason_to_be_let_go_again(self, opened: Opened) -> None:
        stream = await opened(strategy="buffer", pace_to="none", max_lag=15)
        for _ in range(300):
            stream.write_nowait("x" * 1000)
        reader = PushedReader(stream, position(stream, 5))
        for _ in range(10):
            stream.write_nowait("x")
            await turns(1)
        await turns(100)
        assert reader.error is None
        assert reader.told == list(range(6, 311))
        await leave(reader)

    async def test_without_readers_at_first_the_bound_holds_for_the_first_one(self, opened: Opened) -> None:
        stream = await opened(strategy="buffer", pace_to="none", threshold=1000, max_lag=5)
        stream.write_nowait("x")
        await turns()
        (stalled,) = await given(stream, True)
        for _ in range(6):
            stream.write_nowait("x")
            await turns(2)
        assert isinstance(stalled.error, ReaderTooSlow)
        await leave(stalled)

    async def test_a_reader_in_the_process_gets_an_error_once(self, opened: Opened) -> None:
        stream = await opened(strategy="buffer", pace_to="none", max_lag=20)
        reader = stream.subscribe()
        for _ in range(100):
            stream.write_nowait("x")
            await turns(2)
        assert stream.stats()["dropped"] == {"too_slow": 1}
        with pytest.raises(ReaderTooSlow):
            await anext(reader)
        with pytest.raises(StopAsyncIteration):
            await anext(reader)
        assert stream.feed.readers == 0
        again = stream.subscribe(position(stream, reader.cursor))
        assert (again.outcome, (await anext(again)).sequence) == ("resumed", reader.cursor + 1)
        await again.aclose()

    async def test_who_pulls_frames_gets_an_error_too(self, opened: Opened) -> None:
        stream = await opened(strategy="buffer", pace_to="none", max_lag=20)
        reader = Subscription(stream.feed, stream.feed.view(PATINOX, NATIVE), stream.feed.attach("start"))
        reader.open()
        stream.write_nowait("x")
        assert await reader.next()
        for _ in range(30):
            stream.write_nowait("x")
            await turns(2)
        with pytest.raises(ReaderTooSlow):
            await reader.next()
        reader.close()

    async def test_who_is_let_go_is_not_waited_for(self, opened: Opened) -> None:
        stream = await opened(pace_to="slowest", max_lag=HIGH, threshold=HIGH)
        reader = stream.subscribe()
        producer = Producer(stream, 100)
        await turns(100)
        assert producer.written == 100
        await reader.aclose()


def window(overflow: str, **settings: Any) -> dict[str, Any]:
    """Settings of a stream that keeps ten chunks and is not paced before that."""
    return {"retain": "window", "overflow_strategy": overflow, "buffer_size": 10, "threshold": 1000, **settings}


class TestFullWindow:
    async def test_drop_oldest_evicts_and_tells(self, opened: Opened) -> None:
        stream = await opened(**window("drop_oldest"))
        stalled, quick = await given(stream, True, False)
        for _ in range(40):
            stream.write_nowait("x")
            await turns(2)
        stalled.sink.resume()
        await turns()
        assert stalled.told == [1, (2, 30), *range(31, 41)]
        assert quick.told == list(range(1, 41))
        assert stream.stats()["gaps"] == {"evicted": 1}
        await leave(stalled, quick)

    @pytest.mark.parametrize(("pace_to", "held"), [("fastest", False), ("slowest", True)])
    async def test_block_waits_for_whom_pace_to_counts(
        self, opened: Opened, pace_to: str, held: bool, clock: ManualClock
    ) -> None:
        stream = await opened(**window("block", pace_to=pace_to, stall_s=5.0))
        stalled, quick = await given(stream, True, False)
        producer = Producer(stream, 100)
        await turns(400)
        assert producer.written == (20 if held else 100), "a window is under way to the stalled one, and one full"
        await clock.advance(6.3)
        await turns(400)
        assert producer.written == 100, "nobody waits for one that makes no progress"
        stalled.sink.resume()
        await turns()
        assert covered(stalled.told) == 100
        assert quick.told == list(range(1, 101))
        await leave(stalled, quick)

    async def test_block_loses_nothing_for_the_slowest(self, opened: Opened) -> None:
        stream = await opened(**window("block", pace_to="slowest"))
        slow, quick = stream.subscribe(), PushedReader(stream)
        producer = Producer(stream, 100)
        for sequence in range(1, 101):
            await turns(3)
            assert (await anext(slow)).sequence == sequence
        assert producer.written == 100
        await turns()
        assert quick.told == list(range(1, 101))
        await slow.aclose()
        await leave(quick)

    async def test_block_is_cancellable_and_leaves_nothing(self, opened: Opened) -> None:
        stream = await opened(**window("block"))
        reader = stream.subscribe()
        for _ in range(10):
            await stream.write("x")
        waiting = asyncio.ensure_future(stream.write("never"))
        await turns()
        assert not waiting.done()
        waiting.cancel()
        await turns()
        assert (stream.log.head, stream.stats()["refused"]) == (10, 0)
        await anext(reader)
        await stream.write("then")
        assert stream.log.head == 11
        await reader.aclose()

    async def test_block_counts_bytes(self, opened: Opened) -> None:
        stream = await opened(**window("block"))
        stream.log.window.max_bytes = 100
        reader = stream.subscribe()
        await stream.write("x" * 50)
        waiting = asyncio.ensure_future(stream.write("y" * 50))
        await turns()
        assert not waiting.done()
        await anext(reader)
        assert (await waiting).sequence == 2
        await reader.aclose()

    async def test_block_ends_with_the_stream(self, opened: Opened) -> None:
        stream = await opened(**window("block"))
        reader = stream.subscribe()
        producer = Producer(stream)
        await turns()
        await stream.finish()
        await turns()
        with pytest.raises(StreamClosed):
            producer.task.result()
        assert isinstance((await anext(reader)).data, Gap), "the end takes the place of the oldest"
        assert [chunk.sequence async for chunk in reader] == list(range(2, 12))

    @pytest.mark.parametrize("pace_to", ["fastest", "none"])
    async def test_drop_newest_refuses_while_anybody_has_yet_to_read(self, opened: Opened, pace_to: str) -> None:
        stream = await opened(**window("drop_newest", strategy="buffer", pace_to=pace_to))
        slow, quick = stream.subscribe(), PushedReader(stream)
        for _ in range(10):
            await stream.write("x")
        await turns()
        for _ in range(3):
            with pytest.raises(BufferFull):
                await stream.write("refused")
        with pytest.raises(BufferFull):
            stream.write_nowait("refused")
        assert (stream.log.head, stream.stats()["dropped"]) == (10, {"buffer_full": 4})
        await anext(slow)
        assert (await stream.write("taken")).sequence == 11
        await turns()
        assert quick.told == list(range(1, 12))
        await slow.aclose()
        await leave(quick)

    async def test_drop_newest_takes_no_account_of_who_makes_no_progress(
        self, opened: Opened, clock: ManualClock
    ) -> None:
        stream = await opened(**window("drop_newest", strategy="buffer", pace_to="none", stall_s=5.0))
        slow = stream.subscribe()
        for _ in range(10):
            await stream.write("x")
        with pytest.raises(BufferFull):
            await stream.write("refused")
        await clock.advance(5)
        assert (await stream.write("taken")).sequence == 11
        gap = await anext(slow)
        assert isinstance(gap.data, Gap)
        await slow.aclose()

    async def test_a_reader_that_comes_later_is_taken_into_account(self, opened: Opened) -> None:
        stream = await opened(**window("drop_newest", strategy="buffer", pace_to="none"))
        quick = PushedReader(stream)
        for _ in range(20):
            await stream.write("x")
            await turns(2)
        late = stream.subscribe(position(stream, 10))
        with pytest.raises(BufferFull):
            await stream.write("refused")
        await late.aclose()
        await stream.write("taken")
        await leave(quick)

    async def test_a_push_that_is_refused_is_503(self, opened: Opened) -> None:
        stream = await opened(**window("drop_newest", strategy="buffer", pace_to="none"))
        client, target = AsgiClient(PatinoxApp(stream.manager)), f"/v1/streams/{stream.id}/chunks"
        reader = stream.subscribe()
        lines = b'"x"\n' * 12
        answer = await client.request("POST", target, headers={"content-type": "application/x-ndjson"}, body=lines)
        assert answer.status == 503
        assert answer.json()["error"]["code"] == "buffer_full"
        assert (answer.json()["error"]["accepted"], stream.log.head) == (10, 10)
        await reader.aclose()

    async def test_a_relay_counts_what_is_refused_and_goes_on(self, opened: Opened) -> None:
        stream = await opened(**window("drop_newest", strategy="buffer", pace_to="none"))
        manager = stream.manager
        may_go_on = asyncio.Event()

        async def source() -> AsyncIterator[str]:
            for number in range(15):
                yield str(number)
            await may_go_on.wait()
            yield "after"

        relayed = await manager.relay(source())
        relayed_window = await manager.create(retain="window")
        assert relayed.options.retain == "full", "one that is kept whole has room"
        manager.run(_source_of(source(), manager), relayed_window)
        reader = relayed_window.subscribe()
        await turns(30)
        assert relayed_window.stats()["dropped"] == {"buffer_full": 5}
        assert relayed_window.is_open
        texts = [(await anext(reader)).data.text for _ in range(10)]
        may_go_on.set()
        texts += [chunk.data.text async for chunk in reader if not chunk.is_final]
        assert texts == [*map(str, range(10)), "after"]
        assert relayed_window.state == "complete"
        assert manager.stats()["dropped"] == {"buffer_full": 5}

    async def test_an_end_is_never_refused(self, opened: Opened) -> None:
        stream = await opened(**window("drop_newest", strategy="buffer", pace_to="none"))
        reader = stream.subscribe()
        for _ in range(10):
            await stream.write("x")
        await stream.finish()
        seen = [chunk async for chunk in reader]
        assert seen[-1].is_final
        assert isinstance(seen[0].data, Gap), "the end took the place of one that was not read, which is told"

    async def test_a_window_with_room_looks_at_nobody(self, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = await opened(**window("block"))
        reader = stream.subscribe()
        monkeypatch.setattr(stream.pacing, "_lags", lambda: pytest.fail("looked"))
        for _ in range(10):
            await stream.write("x")
        await reader.aclose()


def _source_of(iterator: AsyncIterator[str], manager: StreamManager) -> Any:
    from patinox.manager.sources import Source

    return Source(iterator, formats=manager.formats, format_=None)


class TestForgotten:
    async def test_a_reader_that_is_broken_off_is_counted_out(self, opened: Opened) -> None:
        stream = await opened()
        stream.write_nowait("x")
        async for _ in stream.subscribe():
            break
        await turns()
        assert stream.feed.readers == 0

    async def test_and_nobody_waits_for_it(self, opened: Opened) -> None:
        stream = await opened()
        stream.write_nowait("x")
        async for _ in stream.subscribe():
            break
        producer = Producer(stream, 100)
        await turns()
        assert producer.written == 100

    async def test_one_that_was_never_read_from_too(self, opened: Opened) -> None:
        stream = await opened()
        stream.subscribe()
        await turns()
        assert stream.feed.readers == 0

    async def test_one_that_is_kept_is_not(self, opened: Opened) -> None:
        stream = await opened()
        stream.write_nowait("x")
        reader = stream.subscribe()
        async for _ in reader:
            break
        await turns()
        assert stream.feed.readers == 1
        await reader.aclose()
        await reader.aclose()
        assert stream.feed.readers == 0


class TestNobodyStarves:
    async def test_a_broadcast_to_ten_thousand_gives_every_other_callback_its_turn(
        self, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import patinox.delivery.fanout as fanout_module

        stream = await opened()
        served = 0

        class Counted:
            kind = "counted"

            def pack(self, data: bytes, *, final: bool) -> bytes:
                return data

            def push(self, message: bytes) -> None:
                nonlocal served
                served += 1

        sink = Counted()
        readers = [PushedReader(stream, sink=sink) for _ in range(10_000)]
        await turns(3)
        assert stream.manager.fanout.stats()["at_head"] == 10_000
        monkeypatch.setattr(fanout_module, "_SLICE_S", -1.0)  # every look at the clock finds that it is time
        stream.write_nowait("x")
        between, before = [], 0
        while served < 10_000:
            await asyncio.sleep(0)
            between.append(served - before)
            before = served
        assert max(between) <= 32
        assert len(between) >= 10_000 // 32
        for reader in readers:
            reader.subscription.close()
            reader.fanout.drop_nowait(reader.subscription)
