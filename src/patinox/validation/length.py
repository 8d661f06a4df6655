"""How long a text may get."""

from __future__ import annotations

from collections.abc import Sequence

from patinox.errors import ConfigError
from patinox.validation.base import Action, Finding, LaneInfo, Policy

_DEFAULT = Policy(action=Action.BLOCK, channels=frozenset({"text", "reasoning", "refusal", "arguments"}))


class Length:
    """At most `max_chars` characters in a lane. To cut a text short instead, redact with an empty replacement."""

    is_quick = True

    def __init__(self, max_chars: int, *, name: str = "length", policy: Policy | None = None) -> None:
        if max_chars < 0:
            raise ConfigError(f"max_chars must not be negative, and is {max_chars}")
        self.name = name
        self.policy = policy or _DEFAULT
        self._max_chars = max_chars

    def scanner(self, lane: LaneInfo) -> LengthScanner | None:
        """A scanner where the policy names the lane's channel."""
        return LengthScanner(self._max_chars) if lane.channel in self.policy.channels else None


class LengthScanner:
    """Counts."""

    __slots__ = ("_max_chars", "_told", "frontier")

    def __init__(self, max_chars: int) -> None:
        self._max_chars, self._told = max_chars, False
        self.frontier = 0

    def feed(self, text: str) -> Sequence[Finding]:
        """See `Scanner`."""
        self.frontier += len(text)
        if self._told or self.frontier <= self._max_chars:
            return ()
        self._told = True
        return (Finding(self._max_chars, None, f"more than {self._max_chars} characters"),)

    def close(self) -> Sequence[Finding]:
        """See `Scanner`."""
        return ()
