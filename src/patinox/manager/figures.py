"""What is counted of streams over a manager's life: those that began, how they ended, how soon they said something."""

from __future__ import annotations

from collections import Counter
from typing import Any

from patinox.core.chunks import Outcome
from patinox.delivery.counters import Histogram

FIRST_CHUNK_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class StreamFigures:
    """Counts since the manager was made.

    `pulled_s` and `pushed_s` are the times from a stream's creation to its first chunk: of streams that the manager
    fills from a source, where that is a model's time to first token, and of those that others write.
    """

    __slots__ = ("created", "ended", "pulled_s", "pushed_s")

    def __init__(self) -> None:
        self.created = 0
        self.ended: Counter[Outcome] = Counter()
        self.pulled_s = Histogram(FIRST_CHUNK_BOUNDS_S)
        self.pushed_s = Histogram(FIRST_CHUNK_BOUNDS_S)

    def __repr__(self) -> str:
        return f"<StreamFigures {self.created} created, {self.ended.total()} ended>"

    def as_dict(self) -> dict[str, Any]:
        """The counts, without the times."""
        return {"created": self.created, "ended": {outcome.value: count for outcome, count in self.ended.items()}}
