"""What is counted of deliveries: every drop and every gap has a name and a number, for a stream and its manager."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_NOTHING: Mapping[str, int] = {}


class Histogram:
    """How many values were at or below each of `bounds` (ascending), how many were above all, and their sum.

    Observing one costs a bisection; what reads it wants it rarely.
    """

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.total = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def __repr__(self) -> str:
        return f"<Histogram {self.count} values, {self.total:g} together>"

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    def observe(self, value: float) -> None:
        """Counts a value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound, infinity at last, with how many values were at or below it."""
        upto = 0
        for bound, count in zip((*self.bounds, float("inf")), self._counts, strict=True):
            upto += count
            yield bound, upto


class DeliveryCounters:
    """Counts since it was made; what is counted here is counted in `whole` too.

    `attaches` by outcome; `dropped` (readers, appends) and `gaps` by reason.
    """

    __slots__ = ("_attaches", "_dropped", "_gaps", "_whole", "chunk_bytes", "chunks")

    def __init__(self, whole: DeliveryCounters | None = None) -> None:
        self.chunks = 0
        self.chunk_bytes = 0
        self._whole = whole
        self._attaches: dict[str, int] | None = None  # none until there is something: most streams drop nothing
        self._dropped: dict[str, int] | None = None
        self._gaps: dict[str, int] | None = None

    def __repr__(self) -> str:
        return f"<DeliveryCounters {self.as_dict()}>"

    @property
    def attaches(self) -> Mapping[str, int]:
        """Readers that came, by the outcome they were told."""
        return self._attaches or _NOTHING

    @property
    def dropped(self) -> Mapping[str, int]:
        """Readers let go or moved on, and appends refused, by reason."""
        return self._dropped or _NOTHING

    @property
    def gaps(self) -> Mapping[str, int]:
        """Gaps told, by reason."""
        return self._gaps or _NOTHING

    def append(self, size_bytes: int) -> None:
        """A chunk was appended."""
        self.chunks += 1
        self.chunk_bytes += size_bytes
        if self._whole is not None:
            self._whole.append(size_bytes)

    def attach(self, outcome: str) -> None:
        """A reader came."""
        self._attaches = _counted(self._attaches, outcome)
        if self._whole is not None:
            self._whole.attach(outcome)

    def drop(self, reason: str) -> None:
        """A reader was let go or moved on, or an append refused."""
        self._dropped = _counted(self._dropped, reason)
        if self._whole is not None:
            self._whole.drop(reason)

    def gap(self, reason: str) -> None:
        """A gap was told."""
        self._gaps = _counted(self._gaps, reason)
        if self._whole is not None:
            self._whole.gap(reason)

    def as_dict(self) -> dict[str, Any]:
        """All of them."""
        told = {"attaches": dict(self.attaches), "dropped": dict(self.dropped), "gaps": dict(self.gaps)}
        return {"chunks": self.chunks, "chunk_bytes": self.chunk_bytes, **told}


def _counted(counts: dict[str, int] | None, name: str) -> dict[str, int]:
    counts = {} if counts is None else counts
    counts[name] = counts.get(name, 0) + 1
    return counts
