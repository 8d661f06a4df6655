"""ActiveStream: the handle on one stream that its producers and its readers share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from patinox.config.choices import OnAbandon, OverflowStrategy, Retain
from patinox.core.attach import After
from patinox.core.chunks import ChunkData, End, Error, Outcome, StreamChunk, Text
from patinox.core.codec import encode_data, parse_event_id
from patinox.core.events import Event
from patinox.core.keys import StreamKey
from patinox.core.lifecycle import SIGNAL_OF, Signal, State, outcome_of, step
from patinox.core.log import ResponseBuffer, StreamLog
from patinox.core.producers import Producer, ProducerLedger
from patinox.delivery.feed import Feed
from patinox.delivery.pacing import Pacing
from patinox.delivery.subscription import ChunkSubscription
from patinox.errors import BufferFull, InputError, PatinoxError, StreamClosed, TooLarge
from patinox.formats.base import StreamHead
from patinox.incremental.assembler import Assembly
from patinox.manager.intake import Intake
from patinox.stores.base import StreamFacts

if TYPE_CHECKING:
    from patinox.manager.streams import StreamManager

_YIELD_EVERY = 64  # writes: a producer that never waits for anything must still let readers have their turn


class StreamOptions(msgspec.Struct, frozen=True):
    """What a stream may decide for itself."""

    retain: Retain
    on_abandon: OnAbandon
    ttl_s: float


class ActiveStream:
    """One stream: written once, read by anyone.

    Made by `StreamManager.create`. `write` takes text, bytes wrapped in `Binary`, `Json`, neutral events; `finish`,
    `fail` and `cancel` end it. Every method raises `StreamClosed` when the stream has ended, but for `cancel`.
    """

    def __init__(
        self,
        head: StreamHead,
        options: StreamOptions,
        manager: StreamManager,
        *,
        clock: Callable[[], float],
        on_growth: Callable[[Feed], None],
    ) -> None:
        self.options = options
        self.state = State.OPEN
        self.ended_s: float | None = None
        self.first_chunk_s: float | None = None
        self.producers = ProducerLedger()
        self._head = head
        self.manager = manager
        self._config = config = manager.config
        self._store = manager.store
        self._clock = clock
        self.on_end: Callable[[], None] = lambda: None
        self.channel: str | None = None
        self.intake: Intake | None = None
        self._cancel_producer: Callable[[], None] | None = None
        self._abandon_timer: asyncio.TimerHandle | None = None
        self._writes = 0
        # What leaves the window of a stream that is kept whole is in the store: only a bare window can be full.
        self._overflow = config.overflow_strategy if options.retain is Retain.WINDOW else OverflowStrategy.DROP_OLDEST
        window = ResponseBuffer(config.buffer_size, max_bytes=config.buffer_bytes, overflow_strategy=self._overflow)
        self.log = StreamLog(head.epoch, window)
        self.assembly = Assembly(max_bytes=config.max_stream_bytes)
        self.feed = Feed(
            self.log, self.assembly, head, self._read, whole=options.retain is Retain.FULL,
            on_growth=on_growth, on_readers=self._readers_changed, counters=manager.counters,
        )  # fmt: skip
        self.pacing = pacing = Pacing(self.feed, config.backpressure, self._overflow)
        self.feed.overdue, self.feed.on_join, self.feed.on_leave = pacing.overdue, pacing.joined, pacing.left

    def __repr__(self) -> str:
        return f"<ActiveStream {self.id} {self.state} at {self.position}, {self.feed.readers} readers>"

    @property
    def id(self) -> str:
        """The stream's id."""
        return self._head.id

    @property
    def key(self) -> StreamKey:
        """Whose it is, and its id there."""
        return StreamKey(self._head.tenant, self._head.id)

    @property
    def facts(self) -> StreamFacts:
        """What a store keeps of it beside its chunks."""
        head, options = self._head, self.options
        return StreamFacts(
            key=self.key, epoch=head.epoch, created_s=head.created_s, ttl_s=options.ttl_s,
            metadata=dict(head.metadata), owner=head.owner, channel=self.channel,
            retain=options.retain, on_abandon=str(options.on_abandon),
        )  # fmt: skip

    @property
    def owner(self) -> str:
        """Who created it; empty where nobody was asked."""
        return self._head.owner

    @property
    def epoch(self) -> str:
        """The stream's incarnation: the first part of its event ids."""
        return self._head.epoch

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the stream was created with."""
        return self._head.metadata

    @property
    def created_s(self) -> float:
        """When it was created, in seconds since 1970."""
        return self._head.created_s

    @property
    def position(self) -> str:
        """The event id of the last record."""
        return f"{self.epoch}-{self.log.head}"

    @property
    def is_open(self) -> bool:
        """Whether it takes appends."""
        return self.state is State.OPEN

    # ── writing ──

    async def write(self, data: str | ChunkData | Event | StreamChunk) -> StreamChunk:
        """Appends one chunk and returns it; waits first where back-pressure says so.

        With `overflow_strategy = "block"` and `retain = "window"` it waits for room. Cancelled while it waits, nothing
        was appended. Where a pipeline stands before the stream, the chunk is what was given, at the position that the
        log has reached: the pipeline decides what leaves, and when.
        """
        if self.intake is None:
            return await self.admit(data)
        value, _ = self._prepare(data)
        await self.intake.write(value)
        return self._taken(value)

    async def admit(self, data: Any) -> StreamChunk:
        """`write` behind the pipeline: for the pipeline."""
        value, payload = self._prepare(data)
        await self._give_way(payload)
        return self._put(value, payload)

    async def _give_way(self, payload: bytes) -> None:
        self._writes += 1
        if not self._writes % _YIELD_EVERY:
            await asyncio.sleep(0)
        if self.pacing.may_wait(len(payload)):
            await self.pacing.wait(len(payload))

    def write_nowait(self, data: str | ChunkData | Event | StreamChunk) -> StreamChunk:
        """Appends one chunk without waiting.

        An `Error` is final: it ends the stream as `failed`. Raises `StreamClosed`, `TooLarge`, `BufferFull`, or
        `InvalidChunk` for a value that JSON cannot say; in each case nothing was appended.
        """
        if self.intake is None:
            return self.admit_nowait(data)
        value, _ = self._prepare(data)
        self.intake.write_nowait(value)
        return self._taken(value)

    def admit_nowait(self, data: Any) -> StreamChunk:
        """`write_nowait` behind the pipeline: for the pipeline."""
        return self._put(*self._prepare(data))

    def _taken(self, value: Any) -> StreamChunk:
        return StreamChunk(self.log.head, value, self._clock(), epoch=self.epoch)

    def _prepare(self, data: Any) -> tuple[Any, bytes]:
        step(self.state, Signal.APPEND)
        if isinstance(data, StreamChunk):
            data = data.data
        value = Text(data) if isinstance(data, str) else data
        if isinstance(value, End) or not hasattr(value, "kind"):
            raise InputError(f"write takes str, Text, Json, Binary, Error or an event, not {type(value).__name__}")
        payload = encode_data(value)
        if len(payload) > self._config.max_chunk_bytes:
            limit = self._config.max_chunk_bytes
            raise TooLarge(f"a chunk of {len(payload)} bytes; max_chunk_bytes is {limit}")
        return value, payload

    def _put(self, value: Any, payload: bytes) -> StreamChunk:
        step(self.state, Signal.APPEND)  # it may have ended while the producer waited
        if isinstance(value, Error):
            return self._finish(value, Outcome.FAILED)
        self._check_size(len(payload))
        return self._append(value, payload)

    async def produce(self, data: Any, producer: Producer) -> bool:
        """Appends one chunk of an idempotent producer; False when it was appended before."""
        if self.producers.is_known(producer):
            return False
        value, payload = self._prepare(data)
        if self.intake is not None:
            return await self.intake.write(value, producer)
        await self._give_way(payload)
        if self.producers.is_known(producer):  # a retry was faster while this one waited
            return False
        self._put(value, payload)
        self.producers.appended(producer)
        return True

    async def finish(self, outcome: Outcome | str | None = None, error: Error | None = None) -> StreamChunk:
        """Ends the stream; the record that says so is the last one.

        Without an outcome it is complete, or failed where there is an `error`. Raises `InputError` for an outcome that
        is none, and for a complete stream with an error.
        """
        ending = outcome_of(outcome, error)
        if not await self._decided():
            return self._last
        if ending is Outcome.FAILED:
            return self._finish(error or Error("failed", "the producer reported a failure"), ending)
        return self._finish(End(ending, error), ending)

    async def fail(self, error: Error | BaseException) -> StreamChunk:
        """Ends the stream as `failed`."""
        if not await self._decided():
            return self._last
        return self._finish(error if isinstance(error, Error) else error_of(error), Outcome.FAILED)

    async def _decided(self) -> bool:
        """Has the pipeline decide what it holds. False where that was the end: the end of the text was objected to."""
        if self.intake is None or not self.is_open:
            return True
        with contextlib.suppress(PatinoxError):  # then it has failed the stream
            await self.intake.close()
        return self.state is State.OPEN

    @property
    def _last(self) -> StreamChunk:
        return self.log.slice(self.log.head - 1, 1)[0]

    def fail_nowait(self, error: Error | BaseException) -> bool:
        """The same without waiting: what a pipeline still holds never leaves. False when it had ended already."""
        if self.is_open:
            self._finish(error if isinstance(error, Error) else error_of(error), Outcome.FAILED)
            return True
        return False

    async def cancel(self, reason: str | None = None) -> bool:
        """Stops the producer, and ends the stream as `cancelled`. False when it had ended already."""
        return self.cancel_nowait(reason)

    def cancel_nowait(self, reason: str | None = None) -> bool:
        """The same without waiting: the end is in the log at once, the producer is told to stop."""
        return self._stop(Outcome.CANCELLED, Error("cancelled", reason or "the stream was cancelled"))

    def interrupt_nowait(self, reason: str) -> bool:
        """Ends the stream as `interrupted`: its producer is gone. False when it had ended already."""
        return self._stop(Outcome.INTERRUPTED, Error("interrupted", reason, retryable=True))

    def _stop(self, outcome: Outcome, error: Error) -> bool:
        if step(self.state, SIGNAL_OF[outcome]) is self.state:
            return False
        self._finish(End(outcome, error), outcome)
        return True

    def _check_size(self, size_bytes: int) -> None:
        limit = self._config.max_stream_bytes
        if self.options.retain is Retain.FULL and self.log.size_bytes + size_bytes > limit:
            error = Error("max_stream_bytes", f"the stream reached its limit of {limit} bytes")
            self._finish(End(Outcome.INCOMPLETE, error), Outcome.INCOMPLETE)
            raise TooLarge(f"max_stream_bytes = {limit} is reached; the stream ended as incomplete")

    def _append(self, value: Any, payload: bytes, *, final: bool = False) -> StreamChunk:
        if not final:
            self.pacing.has_room(len(payload))
        try:
            chunk = self.log.append(value, self._clock(), is_final=final, payload=payload)
        except BufferFull:
            self.feed.counters.drop("buffer_full")
            raise
        if self.first_chunk_s is None and not final:
            self._first_chunk(chunk.timestamp)
        self.feed.counters.append(len(payload))
        if self.options.retain is Retain.FULL:
            self._store.append_nowait(self.key, chunk)
        self.assembly.apply(chunk)
        self.feed.grown()
        return chunk

    def _first_chunk(self, at_s: float) -> None:
        self.first_chunk_s = at_s
        figures = self.manager.figures
        times = figures.pushed_s if self._cancel_producer is None else figures.pulled_s
        times.observe(max(0.0, at_s - self.created_s))

    def _finish(self, record: End | Error, outcome: Outcome) -> StreamChunk:
        if not self.is_open:  # the table takes a second cancel in silence; a second end record is another matter
            raise StreamClosed(f"the stream has ended ({self.state})")
        payload = encode_data(record)
        self.state = step(self.state, SIGNAL_OF[outcome])
        self.feed.outcome = outcome
        self.log.window.release(None)  # the end is not refused for want of room
        chunk = self._append(record, payload, final=True)
        self.ended_s = chunk.timestamp
        self.manager.figures.ended_as(outcome, self, record)
        self._stop_abandon_timer()
        if self.intake is not None:
            self.intake.discard()
        self.on_end()
        if self._cancel_producer is not None:
            self._cancel_producer()
        return chunk

    # ── reading ──

    def subscribe(self, after: After | str | None = None) -> ChunkSubscription:
        """The chunks after an event id (or `start`, `now`, `snapshot`), as an async iterator."""
        return ChunkSubscription(self.feed, parse_after(after))

    def snapshot(self) -> dict[str, Any]:
        """Everything so far: `{id, epoch, state, position, created, metadata, content, blocks, usage, error, …}`."""
        facts = {"id": self.id, "epoch": self.epoch, "state": self.state, "position": self.position}
        return {**facts, "created": self.created_s, "metadata": self.metadata, **self.assembly.snapshot()}

    def describe(self) -> dict[str, Any]:
        """The facts without the content."""
        facts = {"id": self.id, "epoch": self.epoch, "state": self.state, "position": self.position}
        more: dict[str, Any] = {"created": self.created_s, "metadata": self.metadata, "readers": self.feed.readers}
        if self.channel is not None:
            more["channel"] = self.channel
        if self.intake is not None:
            more |= {"pipeline": self.intake.name, "held": self.intake.held}
        return {**facts, **more, "retain": self.options.retain, "on_abandon": str(self.options.on_abandon)}

    def stats(self) -> dict[str, Any]:
        """Figures: records, bytes, readers, the largest lag among them, evictions, and what was told and dropped."""
        window, lag = self.log.window, self.feed.lag
        return {
            "state": self.state, "head": self.log.head, "bytes": self.log.size_bytes, "readers": self.feed.readers,
            "lag": lag, "lag_bytes": self.log.bytes_after(self.log.head - lag),
            "window_chunks": len(window), "window_bytes": window.size_bytes, "evicted": window.evicted,
            "refused": window.refused, "views": len(self.feed.views), "pauses": self.pacing.handler.pauses,
            **self.feed.counters.as_dict(),
        }  # fmt: skip

    async def _read(self, after: int, limit: int) -> Sequence[StreamChunk]:
        return await self._store.read(self.key, after, limit)

    # ── what the manager and a relay hang on it ──

    def on_stop(self, cancel: Callable[[], None]) -> None:
        """Has `cancel` called when the stream ends by anybody's hand: the producer's work is over."""
        self._cancel_producer = cancel
        if not self.is_open:
            cancel()

    def _readers_changed(self) -> None:
        delay_s = self.options.on_abandon.cancel_after_s
        if delay_s is None or not self.is_open:
            return
        self._stop_abandon_timer()
        if not self.feed.readers:
            loop = asyncio.get_running_loop()
            self._abandon_timer = loop.call_later(delay_s, self.cancel_nowait, "nobody watched it any more")

    def _stop_abandon_timer(self) -> None:
        if self._abandon_timer is not None:
            self._abandon_timer.cancel()
            self._abandon_timer = None


def parse_after(text: After | str | None) -> After:
    """`start`, `now`, `snapshot` or an event id; None is `start`. Raises `InvalidEventId`."""
    if text is None or text == "start":
        return "start"
    if text == "now" or text == "snapshot" or not isinstance(text, str):
        return text  # type: ignore[return-value]
    return parse_event_id(text)


def error_of(error: BaseException) -> Error:
    """An `Error` for an exception: our own with their code and sentence; of foreign ones only the name gets out."""
    if isinstance(error, PatinoxError):
        body = error.as_dict()
        provider = body.get("upstream_body")
        return Error(error.code, error.message, status=error.http_status, provider=provider)
    return Error("producer_failed", f"the producer failed: {type(error).__name__}")
