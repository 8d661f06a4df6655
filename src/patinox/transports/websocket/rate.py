"""How many messages one socket may send: a bucket that holds a second's worth, refilled as time goes by."""

from __future__ import annotations


class MessageRate:
    """Allows `per_s` messages a second on average, and twice a second's worth at once; 0 is no limit."""

    __slots__ = ("_at_s", "_left", "_per_s")

    def __init__(self, per_s: int, now_s: float) -> None:
        self._per_s = per_s
        self._left = 2.0 * per_s
        self._at_s = now_s

    def __repr__(self) -> str:
        return f"<MessageRate {self._left:.1f} of {self._per_s} a second>"

    def take(self, now_s: float) -> bool:
        """Whether one more message is within the rate."""
        if not self._per_s:
            return True
        self._left = min(2.0 * self._per_s, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
