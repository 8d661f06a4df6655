"""A model that has fallen into a loop: the same stretch of text again and again.

Looked at every 16 characters of the lane, wherever the pieces were cut: if the last 16 occurred shortly before, and
all that lies between repeats often enough, this is a loop. What it has said until then has left; what follows is
withheld.
"""

from __future__ import annotations

from collections.abc import Sequence

from patinox.errors import ConfigError
from patinox.validation.base import Action, Finding, LaneInfo, Policy

_STEP_CHARS = 16
_DEFAULT = Policy(action=Action.BLOCK, channels=frozenset({"text", "reasoning", "refusal", "arguments"}))


class Repetition:
    """The same text of at most `max_unit_chars`, `times` in a row, over at least `min_chars` characters.

    `min_chars` lets rules of dashes and tables pass.
    """

    is_quick = True

    def __init__(
        self,
        *,
        times: int = 8,
        max_unit_chars: int = 400,
        min_chars: int = 200,
        name: str = "repetition",
        policy: Policy | None = None,
    ) -> None:
        if times < 2 or max_unit_chars < 1 or min_chars < 1:
            raise ConfigError("repetition needs times >= 2, max_unit_chars >= 1 and min_chars >= 1")
        self.name = name
        self.policy = policy or _DEFAULT
        self._times, self._max_unit_chars, self._min_chars = times, max_unit_chars, min_chars

    def scanner(self, lane: LaneInfo) -> RepetitionScanner | None:
        """A scanner where the policy names the lane's channel."""
        if lane.channel not in self.policy.channels:
            return None
        return RepetitionScanner(self._times, self._max_unit_chars, self._min_chars)


class RepetitionScanner:
    """Keeps as much of the lane as the longest loop needs."""

    __slots__ = ("_base", "_keep_chars", "_max_unit_chars", "_min_chars", "_next", "_text", "_times", "_told",
                 "frontier")  # fmt: skip

    def __init__(self, times: int, max_unit_chars: int, min_chars: int) -> None:
        self._times, self._max_unit_chars, self._min_chars = times, max_unit_chars, min_chars
        self._keep_chars = max(times * max_unit_chars, min_chars + max_unit_chars) + _STEP_CHARS
        self._text, self._base, self._next = "", 0, _STEP_CHARS
        self._told = False
        self.frontier = 0

    def feed(self, text: str) -> Sequence[Finding]:
        """See `Scanner`."""
        self.frontier += len(text)
        if self._told:
            return ()
        self._text += text
        while self._next <= self.frontier:
            at = self._next
            self._next += _STEP_CHARS
            if self._loops(at - self._base):
                self._told, self._text = True, ""
                return (Finding(at, None, "loop"),)
        # Twice as much as is needed, so that it is not cut anew for every piece.
        if len(self._text) > 2 * self._keep_chars:
            cut = len(self._text) - self._keep_chars
            self._text, self._base = self._text[cut:], self._base + cut
        return ()

    def close(self) -> Sequence[Finding]:
        """See `Scanner`."""
        return ()

    def _loops(self, end: int) -> bool:
        text = self._text
        probe = text[end - _STEP_CHARS : end]
        before = text.rfind(probe, max(0, end - _STEP_CHARS - self._max_unit_chars), end - 1)
        if before < 0:
            return False
        unit = end - _STEP_CHARS - before
        length = max(unit * self._times, self._min_chars)
        start = end - length
        return start >= 0 and text[start : end - unit] == text[start + unit : end]
