"""Back-pressure and overflow in every accepted combination, against a simple model.

Writes that may have to wait, and may be given up; readers of three kinds that come, stall, take again, leave, and come
back; time. What each reader saw plus the gaps it was told is what was appended; lags, bytes and windows stay within
their bounds; and nobody waits for long when there is nobody to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.readers import NATIVE, PushedReader, Told, covered, position, told_in

from patinox import BackpressureConfig, Gap, OverflowStrategy, StreamChunk, StreamingConfig, StreamManager
from patinox.config import BackpressureStrategy, PaceTo
from patinox.config.combinations import combinations
from patinox.delivery.subscription import Subscription
from patinox.errors import BufferFull, ReaderTooSlow, StreamClosed
from patinox.formats.patinox import PATINOX
from patinox.manager import ActiveStream
from patinox.manager.stream import parse_after
from patinox.testing.fakes import FakeSink, ManualClock, turns

STALL_S = 4.0
ACCEPTED = [combination[:3] for combination in combinations() if combination[3] is None]
T = TypeVar("T")


class Reader:
    """One reader, over all its connections. `told` is what it has, `connection` what it reads by now."""

    def __init__(self, kind: str, after: int) -> None:
        self.kind = kind
        self.began = after
        self.told: Told = []
        self.connection: Connection | None = None

    @property
    def position(self) -> int:
        return covered(self.told, self.began)


class Connection:
    """How a reader reads. `take` gives what has come since it was last asked; `TooSlow` when it was let go."""

    member: Any

    def take(self, count: int) -> Coroutine[Any, Any, Told]:
        raise NotImplementedError

    def leave(self) -> Coroutine[Any, Any, None]:
        raise NotImplementedError


class Pushed(Connection):
    """Frames, delivered into a sink that may stall. All that the sink took is the reader's."""

    def __init__(self, stream: ActiveStream, after: str) -> None:
        self.reader = PushedReader(stream, after)
        self.member = self.reader.subscription
        self.sink: FakeSink = self.reader.sink
        gap = self.member.attachment.gap
        self._first: Told = [] if gap is None else [(gap.first, gap.last)]
        self._read = 0

    async def take(self, count: int) -> Told:
        arrived = self._first + self.reader.told
        new, self._read = arrived[self._read :], len(arrived)
        if not new and self.reader.done.done():
            self.reader.done.result()
        return new

    async def leave(self) -> None:
        await self.reader.leave()


class Pulled(Connection):
    """Frames, a joined write at a time."""

    def __init__(self, stream: ActiveStream, after: str) -> None:
        feed = stream.feed
        self.member = Subscription(feed, feed.view(PATINOX, NATIVE), feed.attach(parse_after(after), snapshots=False))
        self.member.open()
        gap = self.member.attachment.gap
        self._first: Told = [] if gap is None else [(gap.first, gap.last)]

    async def take(self, count: int) -> Told:
        told, self._first = self._first, []
        for _ in range(count):
            if self.member.lag <= 0 or self.member.at_end:
                break
            data = await self.member.next()
            told += told_in(data or b"")
        return told

    async def leave(self) -> None:
        self.member.close()


class Chunks(Connection):
    """Chunks, one at a time, in the process."""

    def __init__(self, stream: ActiveStream, after: str) -> None:
        self.subscription = stream.subscribe(after)
        self.member = self.subscription._reader

    async def take(self, count: int) -> Told:
        told: Told = []
        for _ in range(count):
            if self.subscription.lag <= 0 and not self.member._ready:
                break
            try:
                chunk = await anext(self.subscription)
            except ReaderTooSlow:
                if told:
                    break  # it is told again below, by the connection being gone
                raise
            told.append((chunk.data.first, chunk.data.last) if isinstance(chunk.data, Gap) else chunk.sequence)
        return told

    async def leave(self) -> None:
        await self.subscription.aclose()


KINDS = {"pushed": Pushed, "pulled": Pulled, "chunks": Chunks}


class Delivery(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.clock.install(self.loop)
        self.readers: list[Reader] = []
        self.writes: list[asyncio.Task[StreamChunk]] = []
        self.given_up: list[asyncio.Task[StreamChunk]] = []
        self.accepted: dict[int, StreamChunk] = {}
        self.written = 0
        self.began_s = self.still_since_s = self.clock.now_s
        self.standing: Any = None
        self.head = self.before = 0  # of the log: after the last step that appended, and before it

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize(
        combination=st.sampled_from(ACCEPTED),
        retain=st.sampled_from(["full", "window"]),
        buffer_size=st.integers(1, 9),
        buffer_bytes=st.sampled_from([60, 200, 10_000]),
        threshold=st.integers(1, 8),
        threshold_bytes=st.sampled_from([50, 150, 10_000]),
        low_mark=st.sampled_from([0.2, 0.5, 0.9]),
        bound=st.sampled_from([0, 8, 20]),
        bound_bytes=st.sampled_from([0, 10_000]),
    )
    def begin(
        self, combination: tuple[OverflowStrategy, BackpressureStrategy, PaceTo], retain: str, buffer_size: int,
        buffer_bytes: int, threshold: int, threshold_bytes: int, low_mark: float, bound: int, bound_bytes: int,
    ) -> None:  # fmt: skip
        overflow, strategy, pace_to = combination
        self.pressure = BackpressureConfig(
            strategy=strategy, pace_to=pace_to, threshold=threshold, threshold_bytes=threshold_bytes,
            low_mark=low_mark, stall_s=STALL_S, max_lag=bound, max_lag_bytes=bound_bytes,
        )  # fmt: skip
        self.config = StreamingConfig(
            overflow_strategy=overflow, backpressure=self.pressure, buffer_size=buffer_size, buffer_bytes=buffer_bytes,
            drain_timeout_s=0, write_deadline_s=3600,
        )  # fmt: skip
        self.manager = StreamManager(self.config, clock=self.clock)
        self.stream = self.run(self.manager.create(retain=retain))
        self.run(self.settle())

    # ── the producers ──

    @precondition(lambda self: self.stream.is_open and len(self.writes) < 4)
    @rule(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12))
    def write(self, sizes: list[int]) -> None:
        for size in sizes:
            self.written += 1
            text = f"{self.written}:".ljust(size, "x")
            self.writes.append(self.loop.create_task(self.stream.write(text)))
        self.run(self.settle())

    @precondition(lambda self: self.stream.is_open)
    @rule(count=st.integers(1, 12))
    def write_without_waiting(self, count: int) -> None:
        self.run(self._burst(count))

    async def _burst(self, count: int) -> None:
        """All in one turn of the loop: the window may move further than it is long."""
        for _ in range(count):
            self.written += 1
            try:
                chunk = self.stream.write_nowait(f"{self.written}:")
            except BufferFull:
                assert self.config.overflow_strategy is not OverflowStrategy.DROP_OLDEST
                continue
            self.accepted[chunk.sequence] = chunk
        await self.settle()

    @precondition(lambda self: self.writes)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        write = data.draw(st.sampled_from(self.writes))
        self.writes.remove(write)
        write.cancel()
        self.given_up.append(write)
        self.run(self.settle())

    @precondition(lambda self: self.stream.is_open and self.stream.log.head > 10)
    @rule()
    def end(self) -> None:
        chunk = self.run(self.stream.finish())
        self.accepted[chunk.sequence] = chunk
        self.run(self.settle())

    # ── the readers ──

    @precondition(lambda self: len(self.readers) < 5)
    @rule(kind=st.sampled_from(sorted(KINDS)), from_start=st.booleans())
    def come(self, kind: str, from_start: bool) -> None:
        reader = Reader(kind, 0 if from_start else self.stream.log.head)
        self.readers.append(reader)
        self.connect(reader)

    @precondition(lambda self: any(reader.connection is None for reader in self.readers))
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        self.connect(data.draw(st.sampled_from([reader for reader in self.readers if reader.connection is None])))

    def connect(self, reader: Reader) -> None:
        async def attach() -> Connection:
            connection: Connection = KINDS[reader.kind](self.stream, position(self.stream, reader.position))
            await self.settle()
            return connection

        reader.connection = self.run(attach())

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), count=st.integers(1, 15))
    def read(self, data: st.DataObject, count: int) -> None:
        self.run(self.take(data.draw(st.sampled_from(self.connected)), count))

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), first_reads=st.booleans())
    def leave(self, data: st.DataObject, first_reads: bool) -> None:
        reader = data.draw(st.sampled_from(self.connected))
        self.run(self.disconnect(reader, first_reads))

    async def disconnect(self, reader: Reader, first_reads: bool) -> None:
        if first_reads:
            await self.take(reader, 100)
        if reader.connection is not None:
            await reader.connection.leave()
            reader.connection = None
        await self.settle()

    @precondition(lambda self: self.sinks)
    @rule(data=st.data())
    def stall(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.sinks)).suspend()

    @precondition(lambda self: self.sinks)
    @rule(data=st.data())
    def take_again(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.sinks)).resume()
        self.run(self.settle())

    @rule(seconds=st.sampled_from([0.5, STALL_S / 2, STALL_S, 3 * STALL_S]))
    def time_passes(self, seconds: float) -> None:
        async def pass_() -> None:
            for _ in range(8):
                await self.clock.advance(seconds / 8)
            await self.settle()

        self.run(pass_())

    @property
    def connected(self) -> list[Reader]:
        return [reader for reader in self.readers if reader.connection is not None]

    def cursor_of(self, reader: Reader) -> int:
        assert reader.connection is not None
        cursor: int = reader.connection.member.cursor
        return cursor

    @property
    def sinks(self) -> list[FakeSink]:
        return [reader.connection.sink for reader in self.readers if isinstance(reader.connection, Pushed)]

    async def take(self, reader: Reader, count: int) -> None:
        assert reader.connection is not None
        try:
            reader.told += await reader.connection.take(count)
        except ReaderTooSlow:
            assert self.pressure.max_lag or self.pressure.max_lag_bytes
            await reader.connection.leave()
            reader.connection = None
        assert reader.position <= self.stream.log.head
        await self.settle()

    # ── what is always so ──

    async def settle(self) -> None:
        """Everything that can happen by itself does; then what was written is counted."""
        head = -1
        while head < self.stream.log.head:
            head = self.stream.log.head
            await turns(25)
        for write in [write for write in self.writes if write.done()]:
            self.writes.remove(write)
            self._count(write)
        for write in [write for write in self.given_up if write.done()]:
            self.given_up.remove(write)
            if not write.cancelled():
                self._count(write)
        if self.stream.log.head > self.head:
            self.before, self.head = self.head, self.stream.log.head
        standing = (self.head, [(reader, self.cursor_of(reader)) for reader in self.connected])
        if standing != self.standing or not self.writes:
            self.standing, self.still_since_s = standing, self.clock.now_s

    def _count(self, write: asyncio.Task[StreamChunk]) -> None:
        error = write.exception()
        if error is None:
            chunk = write.result()
            self.accepted[chunk.sequence] = chunk
        elif isinstance(error, BufferFull):
            assert self.config.overflow_strategy is OverflowStrategy.DROP_NEWEST
            assert self.stream.options.retain == "window"
        else:
            assert isinstance(error, StreamClosed), error

    @invariant()
    def all_is_well(self) -> None:
        if hasattr(self, "stream"):
            self.the_log_is_what_was_accepted()
            self.the_window_is_bounded()
            self.lags_are_bounded()
            self.nobody_waits_in_vain()
            self.nobody_misses_what_was_to_wait()
            self.what_is_told_is_counted()

    def the_log_is_what_was_accepted(self) -> None:
        log = self.stream.log
        assert sorted(self.accepted) == list(range(1, log.head + 1))
        for chunk in log.slice(log.first - 1, 100):
            assert chunk is self.accepted[chunk.sequence]

    def the_window_is_bounded(self) -> None:
        window = self.stream.log.window
        assert len(window) <= self.config.buffer_size
        assert window.size_bytes <= self.config.buffer_bytes or len(window) == 1

    def lags_are_bounded(self) -> None:
        """But for what was appended in the last step: a reader is looked at when there is something new for it."""
        pressure = self.pressure
        marks = [(pressure.max_lag, pressure.max_lag_bytes)]
        if pressure.strategy is BackpressureStrategy.DROP:
            marks.append((pressure.threshold, pressure.threshold_bytes))
        for member in self.stream.feed.members:
            since = max(member.cursor, member.since)
            lag_bytes = sum(len(self.accepted[sequence].payload) for sequence in range(since + 1, self.before + 1))
            for chunks, size_bytes in () if member.is_lost else marks:
                assert not chunks or self.before - since < chunks
                assert not size_bytes or lag_bytes < size_bytes

    def nobody_waits_in_vain(self) -> None:
        """A write waits only for a reader that lags, and not for long when none comes further."""
        if not self.writes:
            return
        assert any(member.cursor < self.stream.log.head for member in self.stream.feed.members if not member.is_lost)
        assert self.clock.now_s - self.still_since_s <= 1.5 * STALL_S

    def nobody_misses_what_was_to_wait(self) -> None:
        """As long as nobody can have stalled, a full window keeps what any of those has yet to read that it asks."""
        overflow, slowest = self.config.overflow_strategy, self.pressure.pace_to is PaceTo.SLOWEST
        asks_all = overflow is OverflowStrategy.DROP_NEWEST or (overflow is OverflowStrategy.BLOCK and slowest)
        in_time = self.clock.now_s - self.began_s < STALL_S
        if asks_all and in_time and self.stream.is_open and self.stream.options.retain == "window":
            for member in self.stream.feed.members:
                assert member.is_lost or member.cursor + 1 >= self.stream.log.first

    def what_is_told_is_counted(self) -> None:
        told = sum(isinstance(item, tuple) for reader in self.readers for item in reader.told)
        assert sum(self.stream.feed.counters.gaps.values()) >= told
        if self.stream.options.retain == "full" and self.pressure.strategy is not BackpressureStrategy.DROP:
            assert told == 0

    def teardown(self) -> None:
        try:
            if hasattr(self, "stream"):
                self.run(self.finish())
        finally:
            for task in (left := asyncio.all_tasks(self.loop)):
                task.cancel()
            self.run(_gather(left))
            self.loop.close()

    async def finish(self) -> None:
        for sink in self.sinks:
            sink.resume()
        for _ in range(100):
            for reader in self.connected:
                await self.take(reader, 100)
            await self.settle()
            if not self.writes:
                break
            await self.clock.advance(STALL_S)
        assert not self.writes, "everybody reads, and a write waits"
        if self.stream.is_open:
            chunk = await self.stream.finish()
            self.accepted[chunk.sequence] = chunk
        for reader in self.readers:
            for _ in range(100):
                if reader.position == self.stream.log.head:
                    break
                if reader.connection is not None and reader.connection.member.is_lost:
                    await self.take(reader, 100)
                if reader.connection is None:
                    reader.connection = KINDS[reader.kind](self.stream, position(self.stream, reader.position))
                    await self.settle()
                await self.take(reader, 100)
            assert reader.position == self.stream.log.head, f"{reader.kind} stands at {reader.position}"
        for reader in self.connected:
            await self.disconnect(reader, False)
        self.the_log_is_what_was_accepted()
        assert self.stream.feed.readers == 0
        await self.manager.aclose()
        await turns()
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def _gather(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
