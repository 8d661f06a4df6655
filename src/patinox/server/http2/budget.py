"""How many streams a client may cancel, or break so that we have to reset them.

Opening a stream and resetting it at once costs a client nothing and a server a request (CVE-2023-44487, "rapid reset");
so does sending on it what makes the server reset it (CVE-2025-8671, "made you reset"). Both are paid from one bucket.
"""

from __future__ import annotations


class ResetBudget:
    """A bucket of `burst` resets, filled up by `per_second`. Time is an argument, in seconds."""

    __slots__ = ("_burst", "_filled_at_s", "_left", "_per_second")

    def __init__(self, burst: int, per_second: int, now_s: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._filled_at_s = now_s

    def __repr__(self) -> str:
        return f"<ResetBudget {self._left:.0f} of {self._burst}>"

    def spend(self, count: int, now_s: float) -> bool:
        """Takes `count` out of the bucket; False when there are not that many."""
        elapsed_s = now_s - self._filled_at_s
        self._left = min(self._burst, self._left + elapsed_s * self._per_second) - count
        self._filled_at_s = now_s
        return self._left >= 0
