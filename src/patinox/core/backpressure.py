"""Back-pressure: whether a producer must wait, and which readers have lagged too far. Decisions only; no waiting here.

A reader's *pressure* is its lag in chunks and in bytes behind the head. It is *over* the high mark (`threshold`,
`threshold_bytes`) in either, and *under* the low mark (`low_mark` of the high one) in both.

    pace_to    the producer pauses when           and goes on when
    fastest    every reader that counts is over   one that counts is under, or none counts
    slowest    any reader that counts is over     every one that counts is under
    none       never

A reader that lags and made no progress for `stall_s` does not count. The hard bound (`max_lag`, `max_lag_bytes`) is for
each reader alone: at it it is let go, whatever the strategy; `drop` moves it to the head at the high mark.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from patinox.config.choices import BackpressureStrategy, PaceTo
from patinox.config.streaming import BackpressureConfig

_NEVER = 2**63


class Lag(NamedTuple):
    """How far one reader is behind the head, and whether the producer takes it into account."""

    chunks: int
    size_bytes: int
    counts: bool = True


class Slack(NamedTuple):
    """How much may be appended before the decision can change: no need to look again before either is reached."""

    chunks: int
    size_bytes: int


class BackpressureHandler:
    """Decides for one stream; `observe` is told the lags, `should_pause` says what follows."""

    __slots__ = ("_config", "_high", "_low", "paused", "pauses", "slack")

    def __init__(self, config: BackpressureConfig | None = None) -> None:
        self._config = config if config is not None else BackpressureConfig()
        self._high = (self._config.threshold, self._config.threshold_bytes)
        low = self._config.low_mark
        self._low = (int(self._config.threshold * low), int(self._config.threshold_bytes * low))
        self.paused = False
        self.pauses = 0
        self.slack = Slack(*self._high)

    def __repr__(self) -> str:
        return f"<BackpressureHandler {'paused' if self.paused else 'open'}, paused {self.pauses} times>"

    def should_pause(self) -> bool:
        """Whether the producer must wait, by the last observation."""
        return self.paused

    def observe(self, lags: Collection[Lag]) -> bool:
        """Takes the lags of all readers, and returns `should_pause`."""
        counting = [lag for lag in lags if lag.counts]
        pace_to = self._config.pacing
        if pace_to is PaceTo.NONE or not counting:
            self.paused, self.slack = False, Slack(*self._high)
            return False
        decide = all if pace_to is PaceTo.FASTEST else any
        if not self.paused:
            self.paused = decide(self._over(lag) for lag in counting)
            self.pauses += self.paused
        else:
            self.paused = decide(not self._under(lag) for lag in counting)
        if pace_to is PaceTo.FASTEST:  # as long as one of them has room there is no pause: the one that has most
            chunks, size_bytes = self._room(max(counting, key=self.ease))
        else:
            rooms = [self._room(lag) for lag in counting]
            chunks, size_bytes = min(room.chunks for room in rooms), min(room.size_bytes for room in rooms)
        self.slack = Slack(max(1, chunks), max(1, size_bytes))
        return self.paused

    def relieves(self, lag: Lag) -> bool:
        """Whether a reader with this lag could end a pause."""
        return self._under(lag)

    def ease(self, lag: Lag) -> float:
        """How far a reader is from the high mark: 1 at the head, 0 at the mark, less beyond it."""
        room = self._room(lag)
        return min(room.chunks / self._high[0], room.size_bytes / self._high[1])

    @property
    def polices(self) -> bool:
        """Whether `drops` or `exceeds` can ever hold."""
        config = self._config
        return config.strategy is BackpressureStrategy.DROP or bool(config.max_lag or config.max_lag_bytes)

    def drops(self, lag: Lag) -> bool:
        """Whether `strategy = "drop"` moves this reader to the head."""
        return self._config.strategy is BackpressureStrategy.DROP and self._over(lag)

    def exceeds(self, lag: Lag) -> bool:
        """Whether this reader is beyond the hard bound."""
        bound, bound_bytes = self._config.max_lag, self._config.max_lag_bytes
        return 0 < bound <= lag.chunks or 0 < bound_bytes <= lag.size_bytes

    def patience(self, lag: Lag) -> Slack:
        """How much may be appended before this reader can come over a mark that `drops` or `exceeds` look at."""
        config = self._config
        marks = [(config.max_lag or _NEVER, config.max_lag_bytes or _NEVER)]
        if config.strategy is BackpressureStrategy.DROP:
            marks.append(self._high)
        chunks = min(mark[0] for mark in marks) - lag.chunks
        size_bytes = min(mark[1] for mark in marks) - lag.size_bytes
        return Slack(max(1, chunks), max(1, size_bytes))

    def _room(self, lag: Lag) -> Slack:
        return Slack(self._high[0] - lag.chunks, self._high[1] - lag.size_bytes)

    def _over(self, lag: Lag) -> bool:
        return lag.chunks >= self._high[0] or lag.size_bytes >= self._high[1]

    def _under(self, lag: Lag) -> bool:
        return lag.chunks <= self._low[0] and lag.size_bytes <= self._low[1]
