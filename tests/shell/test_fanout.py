"""The fan-out over fake sinks: who gets what when, and who is waited for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from tests.tally import TallyWriter, tally

import patinox.delivery.fanout as fanout_module
from patinox import StreamingConfig, StreamManager
from patinox.config import SseConfig
from patinox.core.attach import After
from patinox.core.chunks import Error, Json, StreamChunk, Text
from patinox.delivery.subscription import MAX_WRITE_BYTES, Subscription
from patinox.delivery.wire import PlainWire, SseWire, Wire
from patinox.errors import StreamClosed
from patinox.formats.base import Format
from patinox.formats.patinox import PATINOX
from patinox.formats.text import TEXT
from patinox.manager import ActiveStream
from patinox.manager.stream import parse_after
from patinox.testing.fakes import FakeSink, ManualClock, turns

NATIVE = SseWire(PATINOX, ids=True, controls=True)


class Reader:
    """A subscription being delivered into a fake sink."""

    def __init__(
        self, stream: ActiveStream, format_: Format[Any] = PATINOX, wire: Wire = NATIVE, after: After | str = "start",
        *, suspended: bool = False,
    ) -> None:  # fmt: skip
        feed = stream.feed
        self.fanout = stream.manager.fanout
        self.sink = FakeSink(suspended=suspended)
        attachment = feed.attach(parse_after(after), snapshots=wire.controls)
        self.subscription = Subscription(feed, feed.view(format_, wire), attachment)
        self.subscription.open()
        self.done = self.fanout.deliver(self.subscription, self.sink)

    async def leave(self) -> None:
        await self.fanout.drop(self.subscription)
        self.subscription.close()

    @property
    def ids(self) -> list[int]:
        """The sequences of the records that arrived."""
        numbers = [line.rpartition(b"-")[2] for line in self.sink.data.split(b"\n") if line.startswith(b"id: ")]
        return [int(number) for number in numbers if b"." not in number]


@pytest.fixture
async def clock() -> ManualClock:
    clock = ManualClock()
    clock.install(asyncio.get_running_loop())
    return clock


@pytest.fixture
async def manager(clock: ManualClock) -> AsyncIterator[StreamManager]:
    config = StreamingConfig(
        buffer_size=50, write_deadline_s=10.0, drain_timeout_s=0, sse=SseConfig(heartbeat_interval_s=20.0)
    )
    async with StreamManager(config, clock=clock) as manager:
        yield manager


@pytest.fixture
async def stream(manager: StreamManager) -> ActiveStream:
    return await manager.create()


def write(stream: ActiveStream, count: int) -> None:
    for _ in range(count):
        stream.write_nowait(f"t{stream.log.head + 1}")


async def test_readers_at_the_head_get_one_joined_write(stream: ActiveStream) -> None:
    readers = [Reader(stream) for _ in range(3)]
    await turns()
    write(stream, 5)
    await turns()
    for reader in readers:
        assert len(reader.sink.messages) == 1
        assert reader.ids == [1, 2, 3, 4, 5]
        await reader.leave()


async def test_a_reader_is_brought_to_the_head_and_parked_there(stream: ActiveStream) -> None:
    write(stream, 20)
    reader = Reader(stream, after=f"{stream.epoch}-5")
    await turns()
    assert reader.ids == list(range(6, 21))
    assert stream.manager.fanout.stats()["at_head"] == 1
    assert len(stream.manager.fanout) == 1
    assert "1 subscriptions" in repr(stream.manager.fanout)
    await reader.leave()
    assert len(stream.manager.fanout) == 0


async def test_a_sink_that_suspends_gets_the_rest_later_while_others_go_on(stream: ActiveStream) -> None:
    slow, quick = Reader(stream), Reader(stream)
    await turns()
    slow.sink.suspend()
    for _ in range(5):
        write(stream, 3)
        await turns()
    assert len(quick.sink.messages) == 5
    assert slow.ids == []
    slow.sink.resume()
    await turns()
    assert slow.ids == quick.ids == list(range(1, 16))
    assert len(slow.sink.messages) == 2, "what was under way, and all the rest in one"
    for reader in (slow, quick):
        await reader.leave()


async def test_a_suspended_reader_that_fell_out_of_the_window_misses_nothing(stream: ActiveStream) -> None:
    reader = Reader(stream)
    await turns()
    reader.sink.suspend()
    for _ in range(30):
        write(stream, 10)
        await turns(2)
    assert stream.log.first > 200
    reader.sink.resume()
    await turns(100)
    assert reader.ids == list(range(1, 301))
    await reader.leave()


async def test_a_burst_larger_than_the_window_reaches_every_parked_reader(stream: ActiveStream) -> None:
    format_ = tally()
    wire = SseWire(format_, ids=True, controls=False)
    readers = [Reader(stream, format_, wire) for _ in range(3)]
    await turns()
    write(stream, 130)
    await turns(100)
    view = readers[0].subscription.view
    for reader in readers:
        assert reader.sink.data == (await view.cold(0, 10**9)).data + (view.take(130, 1) or (b"",))[0]
        assert reader.ids[-1] == 130
        await reader.leave()


async def test_catching_up_is_done_in_writes_of_bounded_size(stream: ActiveStream) -> None:
    for _ in range(40):
        stream.write_nowait("x" * 20_000)
    reader = Reader(stream)
    await turns(200)
    sizes = [len(data) for data, _ in reader.sink.messages]
    assert sum(sizes) > 800_000
    assert max(sizes) < MAX_WRITE_BYTES + 21_000
    await reader.leave()


async def test_large_joined_writes_are_left_to_a_task(stream: ActiveStream) -> None:
    class Asks(FakeSink):
        tasks: list[Any] = []  # noqa: RUF012

        def push(self, message: tuple[bytes, bool]) -> Any:
            self.tasks.append(asyncio.current_task())
            return super().push(message)

    reader = Reader(stream)
    await turns()
    reader.subscription.sink = reader.sink = Asks()
    write(stream, 1)
    await turns()
    stream.write_nowait("x" * 200_000)
    await turns()
    by_hand, by_task = Asks.tasks
    assert by_hand is None
    assert by_task is not None
    assert reader.ids == [1, 2]
    await reader.leave()


async def test_a_sink_that_raises_is_dropped_and_nobody_else(stream: ActiveStream) -> None:
    broken, healthy = Reader(stream), Reader(stream)
    await turns()
    broken.sink.broken = OSError("gone")
    write(stream, 1)
    await turns()
    assert isinstance(broken.done.exception(), OSError)
    assert healthy.ids == [1]
    assert len(stream.manager.fanout) == 1
    await healthy.leave()
    broken.subscription.close()


async def test_a_sink_that_raises_while_suspended_is_dropped(stream: ActiveStream) -> None:
    reader = Reader(stream, suspended=True)
    write(stream, 1)
    await turns()
    reader.sink.break_with(OSError("gone"))
    await turns()
    assert isinstance(reader.done.exception(), OSError)
    reader.subscription.close()


async def test_a_stalled_reader_is_dropped_at_the_write_deadline(stream: ActiveStream, clock: ManualClock) -> None:
    stalled, healthy = Reader(stream), Reader(stream)
    await turns()
    stalled.sink.suspend()
    write(stream, 1)
    await turns()
    await clock.advance(9.9)
    assert not stalled.done.done()
    await clock.advance(0.2)
    assert isinstance(stalled.done.exception(), TimeoutError)
    write(stream, 1)
    await turns()
    assert healthy.ids == [1, 2]
    await healthy.leave()
    stalled.subscription.close()


async def test_progress_starts_the_write_deadline_anew(stream: ActiveStream, clock: ManualClock) -> None:
    reader = Reader(stream, suspended=True)
    for _ in range(5):
        write(stream, 1)
        await clock.advance(6)
        reader.sink.resume()
        await turns()
        reader.sink.suspend()
    assert reader.ids == [1, 2, 3, 4, 5]
    assert not reader.done.done()
    await reader.leave()


async def test_heartbeats_go_to_the_silent_only(stream: ActiveStream, clock: ManualClock) -> None:
    reader = Reader(stream)
    await turns()
    for _ in range(12):
        await clock.advance(5)
        write(stream, 1)
        await turns()
    assert NATIVE.heartbeat not in [data for data, _ in reader.sink.messages]
    for _ in range(12):
        await clock.advance(5)
    beats = [data for data, _ in reader.sink.messages if data == NATIVE.heartbeat]
    assert len(beats) == 3, "one for each interval of 20 s"
    await reader.leave()


async def test_a_reader_to_whom_nothing_was_said_is_silent_however_fast_the_log_grows(
    stream: ActiveStream, clock: ManualClock
) -> None:
    silent = SseWire(TEXT, ids=False, controls=False)
    reader = Reader(stream, TEXT, silent)
    await turns()
    for _ in range(8):
        stream.write_nowait(Json("nothing that text could say"))
        await clock.advance(5)
    assert [data for data, _ in reader.sink.messages] == [] if not silent.heartbeat else [silent.heartbeat] * 2
    await reader.leave()


async def test_a_dialect_without_text_for_a_record_still_gets_heartbeats(
    stream: ActiveStream, clock: ManualClock
) -> None:
    format_ = tally()
    wire = SseWire(format_, ids=False, controls=False)
    stream.write_nowait("1")
    reader = Reader(stream, format_, wire, after="now")
    await turns()
    for _ in range(2, 10):
        if (stream.log.head + 1) * 7 % 4:  # a record with frames is skipped over by making it before the reader reads
            reader.subscription.cursor = stream.write_nowait("x").sequence
        else:
            stream.write_nowait("x")
        await clock.advance(5)
    assert [data for data, _ in reader.sink.messages] == [wire.heartbeat] * 2
    await reader.leave()


async def test_a_heartbeat_to_a_sink_that_is_gone_drops_it(stream: ActiveStream, clock: ManualClock) -> None:
    reader = Reader(stream)
    await turns()
    reader.sink.broken = OSError("gone")
    for _ in range(5):
        await clock.advance(5)
    assert isinstance(reader.done.exception(), OSError)
    reader.subscription.close()


async def test_a_heartbeat_that_suspends_delays_only_its_reader(stream: ActiveStream, clock: ManualClock) -> None:
    reader, other = Reader(stream), Reader(stream)
    await turns()
    reader.sink.suspend()
    for _ in range(4):
        await clock.advance(5)
    write(stream, 2)
    await turns()
    assert other.ids == [1, 2]
    reader.sink.resume()
    await turns()
    assert reader.ids == [1, 2]
    for each in (reader, other):
        await each.leave()


async def test_heartbeats_can_be_switched_off(clock: ManualClock) -> None:
    async with StreamManager(StreamingConfig(sse=SseConfig(heartbeat_interval_s=0), drain_timeout_s=0)) as manager:
        reader = Reader(await manager.create())
        for _ in range(10):
            await clock.advance(100)
        assert reader.sink.messages == []
        await reader.leave()


@pytest.mark.parametrize("suspended", [False, True])
async def test_the_last_message_is_final_exactly_once(stream: ActiveStream, suspended: bool) -> None:
    reader = Reader(stream)
    await turns()
    write(stream, 1)
    await turns()
    if suspended:
        reader.sink.suspend()
    await stream.finish()
    await turns()
    reader.sink.resume()
    await turns()
    assert reader.done.done()
    assert reader.done.exception() is None
    assert [final for _, final in reader.sink.messages] == [False, True]
    assert b"event: end" in reader.sink.messages[-1][0]
    reader.subscription.close()


async def test_an_end_that_comes_while_a_write_is_suspended_is_said_afterwards(stream: ActiveStream) -> None:
    reader = Reader(stream)
    await turns()
    reader.sink.suspend()
    write(stream, 1)
    await turns()
    write(stream, 1)
    await stream.finish()
    await turns()
    reader.sink.resume()
    await turns()
    assert reader.done.done()
    assert (reader.ids, reader.sink.finals) == ([1, 2, 3], 1)
    reader.subscription.close()


async def test_attaching_to_an_ended_stream_gives_everything_and_the_end(stream: ActiveStream) -> None:
    write(stream, 120)
    await stream.finish()
    reader = Reader(stream)
    await turns(100)
    assert reader.done.done()
    assert (reader.ids, reader.sink.finals) == (list(range(1, 122)), 1)
    reader.subscription.close()


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "interrupted"])
@pytest.mark.parametrize("is_late", [False, True])
async def test_plain_text_of_a_stream_that_went_wrong_is_left_unfinished(
    stream: ActiveStream, outcome: str, is_late: bool
) -> None:
    early = None if is_late else Reader(stream, TEXT, PlainWire(TEXT))
    await turns()
    write(stream, 2)
    await turns()
    await stream.finish(outcome)
    reader = early or Reader(stream, TEXT, PlainWire(TEXT))
    await turns()
    assert reader.done.done()
    assert (reader.sink.data, reader.sink.finals) == (b"t1t2", 0)
    reader.subscription.close()


@pytest.mark.parametrize("outcome", ["complete", "incomplete"])
async def test_plain_text_of_a_stream_that_ended_well_is_finished(stream: ActiveStream, outcome: str) -> None:
    reader = Reader(stream, TEXT, PlainWire(TEXT))
    await turns()
    write(stream, 2)
    await stream.finish(outcome)
    await turns()
    assert reader.done.done()
    assert (reader.sink.data, reader.sink.finals) == (b"t1t2", 1)
    reader.subscription.close()


async def test_a_pass_over_many_readers_gives_the_loop_back(
    stream: ActiveStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [Reader(stream) for _ in range(100)]
    await turns()
    monkeypatch.setattr(fanout_module, "_SLICE_S", -1.0)
    write(stream, 1)
    served: list[int] = []
    while not served or served[-1] < 100:
        await asyncio.sleep(0)
        served.append(sum(len(reader.sink.messages) for reader in readers))
    assert served[:4] == [32, 64, 96, 100]
    for reader in readers:
        await reader.leave()


async def test_heartbeats_to_many_readers_give_the_loop_back(
    stream: ActiveStream, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [Reader(stream) for _ in range(100)]
    for _ in range(3):
        await clock.advance(5)
    monkeypatch.setattr(fanout_module, "_SLICE_S", -1.0)
    clock.now_s += 5
    served: list[int] = []
    while not served or served[-1] < 100:
        await asyncio.sleep(0)
        served.append(sum(len(reader.sink.messages) for reader in readers))
    assert 31 in served
    for reader in readers:
        await reader.leave()


async def test_an_end_in_the_middle_of_a_pass_is_said_to_everybody(
    stream: ActiveStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [Reader(stream) for _ in range(40)]
    late = Reader(stream)
    await turns()
    monkeypatch.setattr(fanout_module, "_SLICE_S", -1.0)
    write(stream, 2)
    late.subscription.cursor = 1  # stands elsewhere, so that its message is packed after the break
    await asyncio.sleep(0)
    assert sum(len(reader.sink.messages) for reader in readers) == 32
    await stream.finish()
    await turns()
    assert [reader.sink.finals for reader in (*readers, late)] == [1] * 41
    assert all(reader.done.done() for reader in readers)
    assert readers[0].ids == readers[-1].ids == [1, 2, 3]
    assert late.ids == [2, 3]
    for reader in (*readers, late):
        reader.subscription.close()


async def test_a_log_that_grows_in_the_middle_of_a_pass_leaves_everybody_parked(
    stream: ActiveStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [Reader(stream) for _ in range(40)]
    await turns()
    monkeypatch.setattr(fanout_module, "_SLICE_S", -1.0)
    write(stream, 1)
    await asyncio.sleep(0)
    assert readers[-1].ids == []
    write(stream, 1)
    while readers[-1].ids != [1, 2]:
        await asyncio.sleep(0)
        assert all(reader.subscription.task is None for reader in readers)
    assert [reader.ids for reader in readers] == [[1, 2]] * 40
    for reader in readers:
        await reader.leave()


async def test_a_reader_that_is_dropped_by_what_another_ones_send_sets_going_is_left_alone(
    stream: ActiveStream,
) -> None:
    class Drops(FakeSink):
        def push(self, message: tuple[bytes, bool]) -> Any:
            victim.fanout.drop_nowait(victim.subscription)
            return super().push(message)

    culprit, victim = Reader(stream), Reader(stream)
    await turns()
    culprit.subscription.sink = culprit.sink = Drops()
    victim.sink.suspend()
    write(stream, 1)
    await turns()
    assert victim.subscription.task is None
    assert culprit.ids == [1]
    await culprit.leave()
    victim.subscription.close()


async def test_a_reader_that_leaves_in_the_middle_of_a_pass_is_not_written_to(
    stream: ActiveStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [Reader(stream) for _ in range(40)]
    await turns()
    monkeypatch.setattr(fanout_module, "_SLICE_S", -1.0)
    write(stream, 1)
    await asyncio.sleep(0)
    await readers[-1].leave()
    await turns()
    assert readers[-1].sink.messages == []
    assert readers[-2].ids == [1]
    for reader in readers:
        await reader.leave()


async def test_a_writer_that_fails_takes_only_its_own_readers_along(
    stream: ActiveStream, manager: StreamManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(TallyWriter):
        def write(self, state: int, chunk: StreamChunk, assembly: Any) -> Any:
            if chunk.sequence == 2:
                raise ZeroDivisionError
            return super().write(state, chunk, assembly)

    format_ = Format("fails", "Fails", "text/event-stream", "sse", tally().reader, Fails())
    victims = [Reader(stream, format_, SseWire(format_, ids=True, controls=False)) for _ in range(2)]
    healthy = Reader(stream)
    other = Reader(await manager.create())
    await turns()
    write(stream, 1)
    await turns()
    write(stream, 1)
    await turns()
    assert all(isinstance(victim.done.exception(), ZeroDivisionError) for victim in victims)
    write(stream, 1)
    other_stream = next(iter(reversed(list(manager))))
    write(other_stream, 1)
    await turns()
    assert (healthy.ids, other.ids) == ([1, 2, 3], [1])
    assert "cannot be written" in caplog.text
    for reader in (healthy, other, *victims):
        await reader.leave()


async def test_a_sink_that_cannot_pack_does_not_end_the_delivery_of_others(
    stream: ActiveStream, manager: StreamManager, caplog: pytest.LogCaptureFixture
) -> None:
    class CannotPack(FakeSink):
        def pack(self, data: bytes, *, final: bool) -> tuple[bytes, bool]:
            raise ZeroDivisionError

    other_stream = await manager.create()
    broken, other = Reader(stream), Reader(other_stream)
    await turns()
    broken.subscription.sink = CannotPack()
    write(stream, 1)
    write(other_stream, 1)
    await turns()
    write(other_stream, 1)
    await turns()
    assert other.ids == [1, 2]
    assert "broke off" in caplog.text
    for reader in (broken, other):
        await reader.leave()


async def test_a_reader_behind_the_window_of_a_deleted_stream_is_told_a_gap_and_the_end(
    stream: ActiveStream, manager: StreamManager
) -> None:
    reader = Reader(stream)
    await turns()
    reader.sink.suspend()
    for _ in range(20):
        write(stream, 10)
        await turns(2)
    await manager.delete(stream.id)
    reader.sink.resume()
    await turns(100)
    assert reader.done.done()
    assert reader.ids == [*range(1, 11), *range(152, 202)]
    assert b'event: gap\ndata: {"from":11,"to":151}\n' in reader.sink.data
    assert reader.sink.finals == 1
    reader.subscription.close()


async def test_a_foreign_reader_whose_records_are_gone_ends_with_its_dialects_error(
    stream: ActiveStream, manager: StreamManager
) -> None:
    format_ = tally()
    reader = Reader(stream, format_, SseWire(format_, ids=True, controls=False), suspended=True)
    for _ in range(20):
        write(stream, 10)
        await turns(2)
    await manager.delete(stream.id)
    reader.sink.resume()
    await turns(100)
    assert reader.done.done()
    assert reader.sink.finals == 1
    assert not reader.sink.data.rstrip().endswith(b"201")
    reader.subscription.close()


async def test_dropping_a_suspended_reader_stops_its_task(stream: ActiveStream) -> None:
    reader = Reader(stream, suspended=True)
    write(stream, 1)
    await turns()
    task = reader.subscription.task
    await reader.leave()
    assert task.cancelled()
    await reader.leave()


@pytest.mark.parametrize("lost_in", ["page", "farewell"])
async def test_a_reader_whose_cancellation_was_lost_while_it_waited_is_not_written_to(
    stream: ActiveStream, monkeypatch: pytest.MonkeyPatch, lost_in: str
) -> None:
    asked = getattr(Subscription, lost_in)

    async def deaf(subscription: Subscription) -> Any:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return await asked(subscription)

    write(stream, 3)
    reader = Reader(stream)
    await turns()
    seen = len(reader.sink.messages)
    monkeypatch.setattr(Subscription, lost_in, deaf)
    if lost_in == "page":
        monkeypatch.setattr(Subscription, "take", lambda _: None)
        write(stream, 60)
    else:
        stream.manager.fanout.send_off(reader.subscription, 1.0)
    await turns()
    await reader.leave()
    assert len(reader.sink.messages) == seen
    assert not reader.done.done() or reader.done.exception() is None


async def test_dropping_a_reader_before_its_task_ran_leaves_nothing_unawaited(stream: ActiveStream) -> None:
    reader = Reader(stream)
    await turns()
    reader.sink.suspend()
    write(stream, 1)
    stream.manager.fanout._run_pass()
    await reader.leave()
    assert reader.sink.messages == []


async def test_closing_leaves_no_task_and_no_timer(clock: ManualClock) -> None:
    before = asyncio.all_tasks()
    async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
        stream = await manager.create()
        readers = [Reader(stream, suspended=n % 2 == 0) for n in range(6)]
        write(stream, 3)
        await turns()
    await turns()
    assert asyncio.all_tasks() == before
    assert all(reader.done.done() for reader in readers)
    with pytest.raises(StreamClosed):
        write(stream, 1)
    await clock.advance(1000)
    assert len(manager.fanout) == 0


async def test_closing_waits_for_readers_that_still_take(clock: ManualClock) -> None:
    async with StreamManager(StreamingConfig(drain_timeout_s=5)) as manager:
        stream = await manager.create()
        reader = Reader(stream, suspended=True)
        write(stream, 3)
        await turns()
        asyncio.get_running_loop().call_later(1, reader.sink.resume)
        closing = asyncio.ensure_future(manager.aclose())
        await clock.advance(2)
        await closing
    assert b'"outcome":"interrupted"' in reader.sink.data
    assert reader.sink.finals == 1


async def test_a_failed_stream_says_so_natively(stream: ActiveStream) -> None:
    reader = Reader(stream)
    await turns()
    stream.write_nowait(Error("boom", "it broke"))
    await turns()
    assert reader.sink.messages[-1][1]
    assert b"event: error" in reader.sink.data
    with pytest.raises(StreamClosed):
        stream.write_nowait(Text("more"))
    reader.subscription.close()


async def test_a_shutdown_does_not_wait_for_a_reader_that_left(stream: ActiveStream) -> None:
    """The clock of these tests stands still: were its time waited for, the waiting would never end."""
    fanout = stream.manager.fanout
    reader = Reader(stream)
    await turns()
    reader.sink.suspend()
    settled = asyncio.create_task(fanout.settle(60.0))
    await turns()
    assert not settled.done()
    await reader.leave()
    await settled
