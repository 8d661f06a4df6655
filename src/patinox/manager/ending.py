"""The ends of a stream: how it is revealed to its readers, and the one of five outcomes that it ends in.

    finish, fail, cancel, interrupt ─▶ one end record ─▶ acknowledged by the store ─▶ revealed: `feed.outcome` is set

Between the second and the third the stream takes no more appends, and its readers do not know yet. Where the store is
away, the end waits for its return as the stream's `doom`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from patinox.config.choices import OnAbandon, OverflowStrategy, Retain
from patinox.core.chunks import End, Error, Outcome, StreamChunk
from patinox.core.codec import encode_data
from patinox.core.keys import StreamKey
from patinox.core.lifecycle import SIGNAL_OF, Signal, State, step
from patinox.core.lifecycle import outcome_of as meant
from patinox.core.log import ResponseBuffer, StreamLog
from patinox.core.producers import ProducerLedger
from patinox.delivery.feed import Feed
from patinox.delivery.pacing import Pacing
from patinox.errors import PatinoxError, StreamClosed, StreamGone
from patinox.formats.base import StreamHead
from patinox.incremental.assembler import Assembly
from patinox.manager.intake import Intake
from patinox.manager.tail import Tail
from patinox.stores.base import StreamRecord, outcome_of

if TYPE_CHECKING:
    from patinox.manager.streams import StreamManager


class StreamOptions(msgspec.Struct, frozen=True):
    """What a stream may decide for itself."""

    retain: Retain
    on_abandon: OnAbandon
    ttl_s: float


class EndingSide:
    """What every stream has, and how it ends.

    It `is_mine`, this node's to write, under `fence`. There is a `tail` where the store acknowledges later, or where
    another node writes it. `doom` is how it will end when the store is back.
    """

    def __init__(
        self,
        head: StreamHead,
        options: StreamOptions,
        manager: StreamManager,
        *,
        clock: Callable[[], float],
        record: StreamRecord | None = None,
    ) -> None:
        self.options = options
        self.manager = manager
        self.ended_s: float | None = None
        self.producers = ProducerLedger()
        self.intake: Intake | None = None
        self.on_end: Callable[[], None] = _nothing
        self._head = head
        self._config = config = manager.config
        self._clock = clock
        self._state = State.OPEN
        self._cancel_producer: Callable[[], None] | None = None
        self._writes = 0
        # What leaves the window of a stream that is kept whole is in the store: only a bare window can be full.
        self._overflow = config.overflow_strategy if options.retain is Retain.WINDOW else OverflowStrategy.DROP_OLDEST
        window = ResponseBuffer(config.buffer_size, max_bytes=config.buffer_bytes, overflow_strategy=self._overflow)
        stood = (0, 0) if record is None else (record.head, record.size_bytes)
        self.log = StreamLog(head.epoch, window, head=stood[0], size_bytes=stood[1])
        self.assembly = Assembly(max_bytes=config.max_stream_bytes)
        self._keep_nowait: Any = getattr(manager.store, "append_nowait", None)  # of a store that `is_immediate`
        self.tail: Tail | None = None
        self.fence = 0
        self.is_mine = record is None
        self.doom: tuple[Outcome, Error] | None = None
        self.first_chunk_s: float | None = None
        self.feed: Feed
        self.pacing: Pacing

    @property
    def id(self) -> str:
        """The stream's id."""
        return self._head.id

    @property
    def key(self) -> StreamKey:
        """Whose it is, and its id there."""
        return StreamKey(self._head.tenant, self._head.id)

    @property
    def epoch(self) -> str:
        """The stream's incarnation: the first part of its event ids."""
        return self._head.epoch

    @property
    def state(self) -> State:
        """`open`, or the outcome that its readers are told."""
        outcome = self.feed.outcome
        return State.OPEN if outcome is None else State(outcome)

    @property
    def is_open(self) -> bool:
        """Whether it takes appends."""
        return self._state is State.OPEN

    def check_open(self) -> None:
        """Raises `StreamClosed` where it takes no appends."""
        step(self._state, Signal.APPEND)

    def reveal(self, chunk: StreamChunk) -> None:
        """The next chunk is in the log for good: readers may have it, once the feed says that it has `grown`."""
        self.feed.counters.append(len(chunk.payload))
        self.feed.fold(chunk)
        if chunk.is_final:
            self.feed.outcome = outcome_of(chunk)
            self._state = State(self.feed.outcome)
            self.ended_s = chunk.timestamp
            self._has_ended(chunk.data)

    def _has_ended(self, record: End | Error) -> None:
        self.manager.leases.drop(self)
        self._let_producer_go()

    def _let_producer_go(self) -> None:
        on_end, self.on_end = self.on_end, _nothing
        on_end()
        if self.intake is not None:
            self.intake.discard()
        self._stop_producing()

    def fenced(self) -> None:
        """Another node writes it now: whoever wrote it here is told to stop."""
        self._let_producer_go()
        self.intake = None

    def vanish(self) -> None:
        """It was deleted: readers are told an end that is kept nowhere."""
        self.is_mine = False
        if self.tail is not None:
            self.tail.lost(StreamGone(f"stream {self.id!r} was deleted"))
        if self.feed.outcome is None:
            said = Error("cancelled", "the stream was deleted")
            chunk = StreamChunk(self.log.head + 1, End(Outcome.CANCELLED, said), self._clock(), True, self.epoch)
            self.log.window.release(None)
            self.log.adopt(msgspec.structs.replace(chunk, payload=encode_data(chunk.data)))
            self.reveal(self.log.slice(self.log.head - 1, 1)[0])
            self.feed.grown()

    def is_not_ended(self) -> None:
        """Its end, if that was pending, was lost."""
        if self.feed.outcome is None:
            self._state = State.OPEN

    def dooms(self, outcome: Outcome, error: Error) -> None:
        """The store is away: as soon as it is known again what it has, the stream ends so."""
        self._stop_producing()
        if self.doom is None or outcome is Outcome.CANCELLED:
            self.doom = (outcome, error)

    def meet_doom(self) -> None:
        """The store is back."""
        doom, self.doom = self.doom, None
        if doom is not None and self.is_mine:
            self._stop(*doom)

    @property
    def is_fed(self) -> bool:
        """Whether what is lost of it cannot be written again: it comes from a source, or through a pipeline."""
        return self._cancel_producer is not None or self.intake is not None

    # ── ending ──

    async def finish(self, outcome: Outcome | str | None = None, error: Error | None = None) -> StreamChunk:
        """Ends the stream; the record that says so is the last one. Returns it once the store has it.

        Without an outcome it is complete, or failed where there is an `error`. Raises `InputError` for an outcome that
        is none, and for a complete stream with an error.
        """
        ending = meant(outcome, error)
        if ending is Outcome.FAILED:
            return await self._end(error or Error("failed", "the producer reported a failure"), ending)
        return await self._end(End(ending, error), ending)

    async def fail(self, error: Error | BaseException) -> StreamChunk:
        """Ends the stream as `failed`."""
        return await self._end(error if isinstance(error, Error) else error_of(error), Outcome.FAILED)

    async def _end(self, record: End | Error, outcome: Outcome) -> StreamChunk:
        if not await self._decided():
            return await self._last()
        if self.tail is not None and self.is_open and not self.tail.is_ready:
            await self.tail.ready()
        chunk = self._finish(record, outcome)
        if self.tail is not None:
            await self.tail.acknowledged(chunk.sequence)
        return chunk

    async def _decided(self) -> bool:
        """Has the pipeline decide what it holds. False where that was the end: the end of the text was objected to."""
        if self.intake is None or not self.is_open:
            return True
        with contextlib.suppress(PatinoxError):  # then it has failed the stream
            await self.intake.close()
        return self.is_open

    async def _last(self) -> StreamChunk:
        await self.flush()
        return (await self.feed.read(self.log.head - 1, 1))[0]

    def fail_nowait(self, error: Error | BaseException) -> bool:
        """The same without waiting: what a pipeline still holds never leaves. False when it had ended already."""
        if not self.is_open or (self.tail is not None and not self.tail.can_end):
            return False
        self._finish(error if isinstance(error, Error) else error_of(error), Outcome.FAILED)
        return True

    async def cancel(self, reason: str | None = None) -> bool:
        """Stops the producer, wherever it is, and ends the stream as `cancelled`. False when it had ended already.

        Raises `StoreError` where the store is away; the producer has stopped then, and the stream ends with its return.
        """
        tail = self.tail
        if tail is None:
            return self.cancel_nowait(reason)
        if not self.is_open:
            await tail.settled(tail.failures)
            return False
        if not self.is_mine and not await self.cancel_elsewhere(reason):
            return self.feed.outcome is Outcome.CANCELLED
        if not tail.can_end:
            self.dooms(Outcome.CANCELLED, Error("cancelled", reason or "the stream was cancelled"))
            await tail.ready()
        done = self.cancel_nowait(reason)
        await self.flush()
        return done

    def cancel_nowait(self, reason: str | None = None) -> bool:
        """The same without waiting: the producer is told to stop, the end is on its way to the store."""
        return self._stop(Outcome.CANCELLED, Error("cancelled", reason or "the stream was cancelled"))

    def interrupt_nowait(self, reason: str) -> bool:
        """Ends the stream as `interrupted`: its producer is gone. False when it had ended already."""
        return self._stop(Outcome.INTERRUPTED, Error("interrupted", reason, retryable=True))

    def _stop(self, outcome: Outcome, error: Error) -> bool:
        if step(self._state, SIGNAL_OF[outcome]) is self._state or (self.tail is not None and not self.tail.can_end):
            return False
        self._finish(End(outcome, error), outcome)
        return True

    def _finish(self, record: End | Error, outcome: Outcome) -> StreamChunk:
        if not self.is_open:  # the table takes a second cancel in silence; a second end record is another matter
            raise StreamClosed(f"the stream has ended ({self._state})")
        payload = encode_data(record)
        self.log.window.release(None)  # the end is not refused for want of room
        before, self._state = self._state, step(self._state, SIGNAL_OF[outcome])
        try:
            chunk = self._append(record, payload, final=True)
        except PatinoxError:
            self._state = before
            raise
        self._let_producer_go()
        return chunk

    def _stop_producing(self) -> None:
        if self._cancel_producer is not None:
            self._cancel_producer()

    def on_stop(self, cancel: Callable[[], None]) -> None:
        """Has `cancel` called when the stream ends by anybody's hand: the producer's work is over."""
        self._cancel_producer = cancel
        if not self.is_open:
            cancel()

    def _append(self, value: Any, payload: bytes, *, final: bool = False) -> StreamChunk:
        """Puts a record into the log, or on its way there."""
        raise NotImplementedError

    # ── what the store is asked, by `ActiveStream` ──

    async def resync(self) -> None:
        """Learns what the store has of it."""
        raise NotImplementedError

    async def take_over(self) -> None:
        """Makes this node the one that writes it."""
        raise NotImplementedError

    async def cancel_elsewhere(self, reason: str | None) -> bool:
        """Has the node that writes it cancel it; True where it is to be ended here instead."""
        raise NotImplementedError

    async def flush(self) -> None:
        """Waits until the store has everything that was written."""
        raise NotImplementedError


def _nothing() -> None:
    """Nobody wants to know."""


def error_of(error: BaseException) -> Error:
    """An `Error` for an exception: our own with their code and sentence; of foreign ones only the name gets out."""
    if isinstance(error, PatinoxError):
        body = error.as_dict()
        provider = body.get("upstream_body")
        return Error(error.code, error.message, status=error.http_status, provider=provider)
    return Error("producer_failed", f"the producer failed: {type(error).__name__}")
