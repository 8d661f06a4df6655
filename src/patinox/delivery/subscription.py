"""A subscription: one reader's cursor on a feed. There is no queue: what it has not read is in the log.

Subscription       frames of a view, for a transport: pulled here, or pushed by the fan-out
ChunkSubscription  the chunks themselves, for code in the same process
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from patinox.core.attach import After, Attachment, Gap
from patinox.core.chunks import Error, StreamChunk
from patinox.delivery.feed import Feed
from patinox.delivery.view import Batch, View
from patinox.delivery.wire import gap_event, goaway_event, position_event
from patinox.errors import ReaderTooSlow

MAX_WRITE_BYTES = 64 * 1024
_PAGE = 64  # chunks that a reader in the same process holds at a time


class Subscription:
    """A reader of frames. `open` before anything else, `close` at the end, whatever happened between.

    `cursor` is the last sequence that was handed out; `lag` how many records it is behind the head. `audience` is who
    reads, where records may be addressed to some readers only.
    """

    __slots__ = (
        "__weakref__",
        "_jump_to",
        "_jumped",
        "_on_close",
        "_part",
        "_pulls",
        "attachment",
        "audience",
        "cursor",
        "feed",
        "gaps",
        "is_lost",
        "is_open",
        "leaves_after_s",
        "quiet_ticks",
        "said_end",
        "since",
        "sink",
        "task",
        "view",
        "when_done",
    )  # fmt: skip

    def __init__(self, feed: Feed, view: View, attachment: Attachment, audience: str | None = None) -> None:
        self.feed = feed
        self.audience = audience
        self.view = view
        self.attachment = attachment
        self.cursor = attachment.cursor
        self.since = feed.log.head
        self.gaps: list[Gap] = []
        self.is_lost = False
        self.is_open = False
        self.leaves_after_s: float | None = None
        self.quiet_ticks = 0
        self.said_end = False
        self.sink: Any = None
        self.task: Any = None
        self.when_done: Any = None
        self._part = attachment.part
        self._jumped = False
        self._jump_to = 0
        self._pulls = False

    def __repr__(self) -> str:
        return f"<Subscription {self.feed.head.id} {self.view.format.name} at {self.cursor}, lag {self.lag}>"

    @property
    def lag(self) -> int:
        """Records between the cursor and the head."""
        return self.feed.log.head - self.cursor

    @property
    def is_waiting(self) -> bool:
        """Whether it takes whatever comes: nothing is on its way to it that it has not taken."""
        return self._pulls or (self.task is None and self.sink is not None)

    @property
    def at_end(self) -> bool:
        """Whether the end record was handed out (or the reader had it, or was let go)."""
        return self._jumped or (self.feed.ended and self.cursor >= self.feed.log.head)

    def stats(self) -> dict[str, Any]:
        """Figures of this reader."""
        told = {"outcome": self.attachment.outcome, "format": self.view.format.name, "type": self.view.wire.type}
        lag_bytes = self.feed.log.bytes_after(self.cursor)
        return {**told, "cursor": self.cursor, "lag": self.lag, "lag_bytes": lag_bytes, "gaps": len(self.gaps)}

    def open(self, on_close: Callable[[], None] | None = None) -> None:
        """Counts in as a reader; from here on the view is kept current. `on_close` is called once, by `close`."""
        if not self.is_open:
            self.is_open = True
            self._on_close = on_close
            self.view.readers += 1
            self.feed.join(self)

    def close(self) -> None:
        """Counts out. Idempotent."""
        if self.is_open:
            self.is_open = False
            self.view.readers -= 1
            if not self.view.readers:
                self.view.rest()
            self.feed.leave(self)
            if self._on_close is not None:
                self._on_close()

    async def opening(self, *, fresh: bool) -> bytes:
        """What stands before the first record: position, gap and snapshot, or a foreign dialect's openers."""
        wire, attachment = self.view.wire, self.attachment
        parts = [wire.opening(), position_event(wire, attachment.outcome, str(attachment.position))]
        if attachment.gap is not None:
            parts.append(gap_event(wire, attachment.gap))
        if attachment.snapshot:
            parts.append(self._snapshot())
        if fresh and self.cursor and not wire.controls:
            parts.append(await self.view.openers(self.cursor))
        return b"".join(parts)

    def _snapshot(self) -> bytes:
        # The assembly stands at the head, which may have moved since the decision: so does the cursor, with it.
        assembled = self.feed.assembly.snapshot()
        log, ended = self.feed.log, self.feed.ended
        self.cursor = log.head - 1 if ended else log.head
        event_id = f"{log.epoch}-{self.cursor}"
        state = {"id": self.feed.head.id, "position": event_id, **assembled}
        return self.view.wire.control("snapshot", state, event_id)

    def take(self) -> Batch | None:
        """What is hot after the cursor, without waiting: empty at the head, None when the store must be asked."""
        view = self.view
        if not view.primed or self._part or self._jump_to:
            return None
        if view.upto < view.log.head:
            view.advance()
        batch = view.take(self.cursor, MAX_WRITE_BYTES, self.audience)
        if batch is not None:
            self.cursor = batch.upto
        return batch

    async def next(self) -> bytes | None:
        """The next joined frames, waiting for them; None after the end. May be empty: a record without a frame.

        Raises `ReaderTooSlow` where it was let go.
        """
        while not self.at_end:
            if self.is_lost:
                raise too_slow(self.lag)
            before = self.cursor
            batch = self.take()
            if batch is None:
                batch = await self.page()
            if self.cursor > before or batch.data:
                self.feed.progressed(self)
                return batch.data
            self._pulls = True
            try:
                await self.feed.beyond(self.cursor)
            finally:
                self._pulls = False
        return None

    async def page(self) -> Batch:
        """What follows the cursor, from wherever it is kept; moves the cursor. May be empty."""
        if not self.view.primed and self.cursor + 1 >= self.feed.log.first:  # else it is not near yet
            await self.view.prime()
        jump_to, self._jump_to = self._jump_to, 0
        if jump_to > self.cursor:
            return await self._jump(jump_to, "dropped")
        if self.cursor + 1 < self.feed.oldest:
            return await self._jump(self.feed.oldest - 1)
        batch = await self.view.cold(self.cursor, MAX_WRITE_BYTES, self._part, self.audience)
        self._part = 0
        if batch.upto == self.cursor and self.cursor + 1 < self.feed.log.first:  # the store has forgotten the stream
            return await self._jump(self.feed.log.first - 1)
        self.cursor = batch.upto
        return batch

    def skip(self) -> None:
        """Has the cursor jump to the head at the next reading, with a `gap`; an end record is never skipped."""
        self.since = self._jump_to = self.feed.log.head - 1 if self.feed.ended else self.feed.log.head

    def let_go(self) -> None:
        """Gives it up: who pulls gets `ReaderTooSlow` the next time; what is pushed is for the fan-out to end."""
        self.is_lost = True

    def goodbye(self, after_s: float) -> bytes:
        """What tells the reader where it stands, and to come back in `after_s` seconds; empty in a foreign dialect."""
        return goaway_event(self.view.wire, after_s, f"{self.feed.log.epoch}-{self.cursor}")

    async def farewell(self) -> bytes:
        """What ends the reading of one that leaves (`leaves_after_s`): in a foreign dialect, that dialect's error."""
        if self.view.wire.controls:
            return self.goodbye(self.leaves_after_s or 0.0)
        return await self._close(Error("restarting", "this server is restarting; ask again", retryable=True))

    async def _close(self, error: Error) -> bytes:
        self._jumped = True
        chunk = StreamChunk(self.cursor + 1, error, 0.0, True, self.feed.log.epoch)
        return await self.view.closing(self.cursor, chunk)

    async def _jump(self, last: int, reason: str = "evicted") -> Batch:
        gap = Gap(self.cursor + 1, last)
        self.gaps.append(gap)
        self.feed.counters.gap(reason)
        if self.view.wire.controls:
            self.cursor = gap.last
            return Batch(gap_event(self.view.wire, gap), self.cursor)
        # A foreign dialect cannot say a gap: it ends with that dialect's error.
        error = Error("gap", f"records {gap.first} to {gap.last} are no longer kept", retryable=True)
        return Batch(await self._close(error), self.cursor)

    @property
    def must_abort(self) -> bool:
        """Whether the body must be cut: the end was no success, and this wire has no other way to say so."""
        return self.view.wire.aborts and (self._jumped or (self.at_end and self.feed.went_wrong))


class ChunkReader:
    """The cursor of a reader of chunks, and the page it has fetched but not handed out."""

    __slots__ = ("_jump_to", "_ready", "attachment", "cursor", "feed", "gaps", "is_lost", "is_waiting", "since")

    def __init__(self, feed: Feed, attachment: Attachment) -> None:
        self.feed = feed
        self.attachment = attachment
        self.cursor = attachment.cursor
        self.since = feed.log.head
        self.gaps = 0
        self.is_lost = False
        self.is_waiting = False
        self._ready: deque[StreamChunk] = deque()
        self._jump_to = 0
        if attachment.gap is not None:
            self._tell(attachment.gap)

    @property
    def lag(self) -> int:
        """Records between the cursor and the head."""
        return self.feed.log.head - self.cursor

    async def next(self) -> StreamChunk | None:
        """The next chunk, waiting for it; None after the end. Raises `ReaderTooSlow` where it was let go."""
        while not self._ready:
            if self.feed.ended and self.cursor >= self.feed.log.head:
                return None
            if self.is_lost:
                raise too_slow(self.lag)
            await self._fetch()
        chunk = self._ready.popleft()
        self.cursor = max(self.cursor, chunk.sequence)
        self.feed.progressed(self)
        return chunk

    async def _fetch(self) -> None:
        feed, cursor = self.feed, self.cursor
        if self._jump_to > cursor:
            self._jump(self._jump_to, "dropped")
        elif cursor + 1 < feed.oldest:
            self._jump(feed.oldest - 1)
        elif page := await feed.read(cursor, _PAGE):
            self._ready.extend(page)
        elif cursor + 1 < feed.log.first:  # the store has forgotten the stream
            self._jump(feed.log.first - 1)
        else:
            self.is_waiting = True
            try:
                await feed.beyond(cursor)
            finally:
                self.is_waiting = False

    def skip(self) -> None:
        """Has the cursor jump to the head at the next reading, with a `gap`; an end record is never skipped."""
        self.since = self._jump_to = self.feed.log.head - 1 if self.feed.ended else self.feed.log.head

    def let_go(self) -> None:
        """Has the next reading raise `ReaderTooSlow`."""
        self.is_lost = True
        self._ready.clear()

    def _jump(self, last: int, reason: str = "evicted") -> None:
        self.feed.counters.gap(reason)
        self._tell(Gap(self.cursor + 1, last))

    def _tell(self, gap: Gap) -> None:
        self.gaps += 1
        self._ready.append(StreamChunk(gap.last, gap, 0.0, epoch=self.feed.log.epoch))


class ChunkSubscription:
    """The chunks of a stream, as an async iterator, up to and including the one with `is_final`.

    Usable as an async context manager. Iterating to the end, or `aclose`, counts the reader out; so does forgetting it,
    as `async for … break` does, in the loop's next turn. A range that was evicted or dropped before it could be read is
    told by a chunk whose data is a `Gap` and whose sequence is the gap's last. Raises `ReaderTooSlow` for a reader that
    lagged to the hard bound (`max_lag`): it can subscribe again after the last chunk it has.
    """

    def __init__(self, feed: Feed, after: After) -> None:
        self.feed = feed
        self.attachment = feed.attach(after, snapshots=False)
        self._reader = ChunkReader(feed, self.attachment)
        self._is_open = True
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        feed.join(self._reader)

    def __repr__(self) -> str:
        return f"<ChunkSubscription {self.feed.head.id} at {self.cursor}>"

    @property
    def outcome(self) -> str:
        """What the attach was answered: `start`, `resumed`, `gap`, `reset` or `complete`. Chunks have no snapshot."""
        return self.attachment.outcome

    @property
    def cursor(self) -> int:
        """The sequence of the last chunk that was handed out."""
        return self._reader.cursor

    @property
    def lag(self) -> int:
        """Records between the cursor and the head."""
        return self._reader.lag

    def stats(self) -> dict[str, Any]:
        """Figures of this reader."""
        lag_bytes = self.feed.log.bytes_after(self.cursor)
        told = {"outcome": self.outcome, "cursor": self.cursor, "lag": self.lag, "lag_bytes": lag_bytes}
        return {**told, "gaps": self._reader.gaps}

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamChunk:
        try:
            chunk = await self._reader.next() if self._is_open else None
        except ReaderTooSlow:
            await self.aclose()
            raise
        if chunk is None:
            await self.aclose()
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Counts the reader out. Idempotent."""
        if self._is_open:
            self._is_open = False
            self.feed.leave(self._reader)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        await self.aclose()

    def __del__(self) -> None:
        # From wherever the garbage collector runs, and whatever it interrupts: the loop is only told to do it.
        if getattr(self, "_is_open", False) and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and everything with it
                self._loop.call_soon_threadsafe(self.feed.leave, self._reader)


def too_slow(lag: int) -> ReaderTooSlow:
    """What a reader is told that lagged to the hard bound."""
    return ReaderTooSlow(f"the reader lags {lag} chunks; it can resume from its last event id")
