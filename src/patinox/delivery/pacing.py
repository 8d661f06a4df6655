"""Pacing: the producer of one stream waits for its readers as the back-pressure settings say, and no longer.

Looking at every reader for every chunk would cost what the fan-out saves, so each look says how much may be appended
until the next one is worth it (`Slack`); in between, a write compares two numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from patinox.config.choices import PaceTo
from patinox.config.streaming import BackpressureConfig
from patinox.core.backpressure import BackpressureHandler, Lag
from patinox.delivery.feed import Feed


class Pacing:
    """Back-pressure of one stream."""

    def __init__(self, feed: Feed, config: BackpressureConfig) -> None:
        self.handler = BackpressureHandler(config)
        self._feed = feed
        self._config = config
        self._look_at = config.threshold
        self._look_at_bytes = config.threshold_bytes
        self._police_at = 0
        self._police_at_bytes = 0
        self._stuck: dict[Any, tuple[int, float]] = {}

    def __repr__(self) -> str:
        return f"<Pacing {self.handler!r}>"

    @property
    def is_due(self) -> bool:
        """Whether enough was appended to look at the readers again."""
        log = self._feed.log
        return log.head >= self._look_at or log.size_bytes >= self._look_at_bytes

    async def wait(self) -> None:
        """Waits while the producer must; fair, event-driven and cancellable."""
        while self._look():
            await self._feed.progress(self._config.stall_s / 4 if self._config.stall_s else None)

    def _look(self) -> bool:
        log = self._feed.log
        paused = self.handler.observe([lag for _, lag in self._lags()])
        self._look_at = log.head + self.handler.slack.chunks
        self._look_at_bytes = log.size_bytes + self.handler.slack.size_bytes
        return paused and not self._feed.ended

    def _lags(self) -> Iterator[tuple[Any, Lag]]:
        now_s = asyncio.get_running_loop().time()
        log, stuck = self._feed.log, {}
        for member in self._feed.members:
            cursor = member.cursor
            lag = Lag(log.head - cursor, log.bytes_after(cursor))
            if lag.chunks:
                seen = self._stuck.get(member)
                since_s = seen[1] if seen is not None and seen[0] == cursor else now_s
                stuck[member] = (cursor, since_s)
                lag = lag._replace(counts=now_s - since_s < self._config.stall_s)
            yield member, lag
        self._stuck = stuck

    # ── a full window (retain = "window") ──

    def released(self) -> int | None:
        """Up to which sequence the readers that the producer waits for have read; None: it waits for nobody."""
        if self._config.pace_to is PaceTo.NONE:
            return None
        cursors = [member.cursor for member, lag in self._lags() if lag.counts]
        if not cursors:
            return None
        furthest: int = max(cursors) if self._config.pace_to is PaceTo.FASTEST else min(cursors)
        return furthest

    async def wait_for_room(self, size_bytes: int) -> None:
        """Waits until a chunk of `size_bytes` fits into the window, or the stream has ended."""
        window = self._feed.log.window
        while not self._feed.ended:
            window.release(self.released())
            if window.has_room(size_bytes):
                return
            await self._feed.progress(self._config.stall_s / 4 if self._config.stall_s else None)

    # ── readers that lag too far ──

    def overdue(self) -> Iterator[tuple[Any, bool]]:
        """The readers to be moved to the head (False) or let go (True). Cheap where none can be due yet."""
        log = self._feed.log
        if log.head < self._police_at and log.size_bytes < self._police_at_bytes:
            return
        chunks, size_bytes = self._config.threshold, self._config.threshold_bytes
        for member, lag in list(self._lags()):
            if member.is_waiting:  # at the head, but for what it is just about to be given
                continue
            if self.handler.exceeds(lag):
                yield member, True
            elif self.handler.drops(lag):
                yield member, False
            else:
                patience = self.handler.patience(lag)
                chunks, size_bytes = min(chunks, patience.chunks), min(size_bytes, patience.size_bytes)
        self._police_at, self._police_at_bytes = log.head + chunks, log.size_bytes + size_bytes
