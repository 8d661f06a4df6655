"""Pacing: the producer of one stream waits for its readers as the back-pressure settings say, and no longer.

Looking at every reader for every chunk would cost what the fan-out saves, so each look says how much may be appended
until the next one is worth it (`Slack`); in between, a write compares two numbers. A reader that comes or leaves can
shorten that. Whether one makes progress is seen in looks only: for one that has just stalled the producer may wait
`stall_s` once, and one that wakes up again is taken into account at the next look.

Producers of one stream that have to wait do so in a queue, in the order they came. The first of them is woken by
readers whose progress can matter, not by each one's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from patinox.config.choices import OverflowStrategy, PaceTo
from patinox.config.streaming import BackpressureConfig
from patinox.core.backpressure import BackpressureHandler, Lag
from patinox.delivery.feed import Feed


class Pacing:
    """Back-pressure of one stream. `overflow` is what its window does when it is full."""

    def __init__(
        self, feed: Feed, config: BackpressureConfig, overflow: OverflowStrategy = OverflowStrategy.DROP_OLDEST
    ) -> None:
        self.handler = BackpressureHandler(config)
        self._feed = feed
        self._config = config
        self._overflow = overflow
        self._queue: asyncio.Lock | None = None
        self._queued = 0
        self._look_at = config.threshold
        self._look_at_bytes = config.threshold_bytes
        self._room_for_fastest = overflow is OverflowStrategy.BLOCK and config.pace_to is PaceTo.FASTEST
        self._witness: Any = None  # the reader that a pause, or that there is none, hangs on
        self._holds_room: Any = None  # the one that has yet to read what a full window can't let go
        self._police_at = 0
        self._police_at_bytes = 0
        self._stuck: dict[Any, tuple[int, float]] = {}
        self._is_stale = True  # what the window may evict is to be asked again

    def __repr__(self) -> str:
        return f"<Pacing {self.handler!r}>"

    # ── the producer ──

    def may_wait(self, size_bytes: int) -> bool:
        """Whether a producer with `size_bytes` to append has to look at the readers, or to stand in the queue."""
        log = self._feed.log
        if log.head >= self._look_at or log.size_bytes >= self._look_at_bytes or self.handler.paused or self._queued:
            return True
        return self._overflow is OverflowStrategy.BLOCK and not log.window.fits(size_bytes)

    async def wait(self, size_bytes: int) -> None:
        """Waits until a chunk of `size_bytes` may be appended, or the stream has ended: event-driven, in turn.

        The caller appends before it waits for anything else. Cancelling leaves no trace.
        """
        if self._queue is None:
            self._queue = asyncio.Lock()
        self._queued += 1
        try:
            async with self._queue:
                while not self._feed.ended and self._must_wait(size_bytes):
                    await self._feed.progress(self._config.stall_s / 4, self._matters)
        finally:
            self._queued -= 1

    def _must_wait(self, size_bytes: int) -> bool:
        return self._look() or (self._overflow is OverflowStrategy.BLOCK and not self.has_room(size_bytes))

    def _look(self) -> bool:
        if self._config.pacing is PaceTo.NONE:
            self._look_at = self._look_at_bytes = 2**63
            return False
        log, handler = self._feed.log, self.handler
        lags = list(self._lags())
        paused = handler.observe([lag for _, lag in lags])
        self._look_at = log.head + handler.slack.chunks
        self._look_at_bytes = log.size_bytes + handler.slack.size_bytes
        counting = [(lag, member) for member, lag in lags if lag.counts]
        choose = max if self._config.pacing is PaceTo.FASTEST else min
        self._witness = choose(counting, key=lambda known: handler.ease(known[0]), default=(None, None))[1]
        return paused

    def _matters(self, member: Any) -> bool:
        """Whether a producer that waits has to look again since this reader came, or came further."""
        if not self.handler.paused:  # it waits for room
            return self._room_for_fastest or member is self._holds_room
        is_one = self._config.pacing is PaceTo.FASTEST or member is self._witness
        return is_one and self.handler.relieves(self._lag(member.cursor))

    def joined(self, member: Any) -> None:
        """A reader has come: with the lag it brings, the next look may be nearer."""
        self._is_stale = True
        if self._config.pacing is PaceTo.SLOWEST or len(self._feed.members) == 1:
            log, lag = self._feed.log, self._lag(member.cursor)
            self._look_at = min(self._look_at, log.head + max(0, self._config.threshold - lag.chunks))
            room_bytes = self._config.threshold_bytes - lag.size_bytes
            self._look_at_bytes = min(self._look_at_bytes, log.size_bytes + max(0, room_bytes))

    def left(self, member: Any) -> None:
        """A reader has left: where it was the one with room, the others are looked at again."""
        self._is_stale = True
        self._stuck.pop(member, None)
        if member is self._holds_room:
            self._holds_room = None
        if member is self._witness:
            self._witness = None
            self._look_at = 0

    def _lags(self) -> Iterator[tuple[Any, Lag]]:
        now_s = asyncio.get_running_loop().time()
        known: dict[int, Lag] = {}  # readers crowd at few cursors
        stuck = {}
        for member in self._feed.members:
            if member.is_lost:
                continue
            cursor = member.cursor
            lag = known.get(cursor)
            if lag is None:
                lag = known[cursor] = self._lag(cursor)
            if lag.chunks:
                seen = self._stuck.get(member)
                since_s = seen[1] if seen is not None and seen[0] == cursor else now_s
                stuck[member] = (cursor, since_s)
                if now_s - since_s >= self._config.stall_s:
                    lag = lag._replace(counts=False)
            yield member, lag
        self._stuck = stuck

    def _lag(self, cursor: int) -> Lag:
        log = self._feed.log
        return Lag(log.head - cursor, log.bytes_after(cursor))

    # ── a full window (retain = "window") ──

    def has_room(self, size_bytes: int) -> bool:
        """Whether the window takes a chunk of `size_bytes` now; tells it what the readers have read, where it asks.

        `block` keeps what a reader that `pace_to` counts has yet to read; `drop_newest`, what any has that makes
        progress.
        """
        window = self._feed.log.window
        if self._overflow is OverflowStrategy.DROP_OLDEST or window.fits(size_bytes):
            return True
        if self._is_stale or window.released is None or not window.has_room(size_bytes):
            self._is_stale = False
            window.release(self._released())
        return window.has_room(size_bytes)

    def _released(self) -> int | None:
        """Up to which sequence the readers that count have read; None: there are none."""
        counting = [(member.cursor, member) for member, lag in self._lags() if lag.counts]
        choose = max if self._room_for_fastest else min
        cursor, self._holds_room = choose(counting, key=lambda known: known[0], default=(None, None))
        return cursor

    # ── readers that lag too far ──

    def overdue(self) -> Iterator[tuple[Any, bool]]:
        """The readers to be moved to the head (False) or let go (True). Cheap where none can be due yet.

        What was in the log when a reader came is history that it catches up on, and no lag to be blamed for.
        """
        log, handler = self._feed.log, self.handler
        if not handler.polices or (log.head < self._police_at and log.size_bytes < self._police_at_bytes):
            return
        chunks, size_bytes = handler.patience(Lag(0, 0))
        for member in tuple(self._feed.members):
            if member.is_lost:
                continue
            lag = self._lag(max(member.cursor, member.since))
            is_busy = not member.is_waiting  # else it is just about to be given what it lags, as much as it takes
            if is_busy and handler.exceeds(lag):
                yield member, True
            elif is_busy and handler.drops(lag):
                yield member, False
            else:
                patience = handler.patience(lag)
                chunks, size_bytes = min(chunks, patience.chunks), min(size_bytes, patience.size_bytes)
        self._police_at, self._police_at_bytes = log.head + chunks, log.size_bytes + size_bytes
