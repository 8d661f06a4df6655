"""Cuts the text of one lane into units, none of them in two where that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from patinox.incremental.guards import Guard
from patinox.incremental.units import Unit

Longest = Callable[[str, int], int | None]
"""Where the longest piece that begins at a place ends; None where there is less text than that."""


class Cutter:
    """A lane's `Worker`. Joined, what it gives is what it got.

    `unit` None takes text as it comes. `guards` say where no cut may be; `longest` is the longest piece, whatever the
    unit or a guard says.
    """

    __slots__ = ("_guards", "_longest", "_seen", "_text", "_unit")

    def __init__(self, unit: Unit | None, guards: Sequence[Guard], longest: Longest) -> None:
        self._unit = unit
        self._guards = tuple(guards)
        self._longest = longest
        self._text = ""
        self._seen = 0

    @property
    def held(self) -> int:
        """How many characters are held back."""
        return len(self._text)

    def feed(self, text: str) -> list[str]:
        """The units that are whole now."""
        self._text += text
        return self._cut() if self._text else []

    def flush(self) -> list[str]:
        """All that may be cut off, whole unit or not."""
        end = self._safe(0, len(self._text))
        if not end:
            return []
        piece, self._text, self._seen = self._text[:end], self._text[end:], 0
        self._forced(piece)
        return [piece]

    def close(self) -> list[str]:
        """The rest."""
        rest, self._text, self._seen = self._text, "", 0
        return [rest] if rest else []

    def _cut(self) -> list[str]:
        pieces, start = [], 0
        while start < len(self._text) and (end := self._end(start)) is not None:
            pieces.append(self._text[start:end])
            start = end
            self._seen = 0
        self._text = self._text[start:]
        self._seen = max(0, self._seen - start)
        return pieces

    def _end(self, start: int) -> int | None:
        """Where the piece that begins at `start` ends, if that can be said."""
        limit = self._longest(self._text, start)
        if limit is not None and self._guards and limit >= len(self._text):
            limit = None  # a guard looks at the character behind a cut
        if self._unit is None:
            safe = self._safe(start, len(self._text) if limit is None else limit)
            return safe if safe > start else limit
        end = self._unit_end(start, limit)
        if end is not None or limit is None:
            return end
        safe = self._safe(start, limit, limit)
        end = safe if safe > start else limit
        self._forced(self._text[start:end])
        return end

    def _unit_end(self, start: int, limit: int | None) -> int | None:
        assert self._unit is not None
        place, seen = start, max(self._seen, start)
        self._seen = len(self._text)
        while (end := self._unit.end(self._text, place, seen)) is not None and (limit is None or end <= limit):
            if self._safe(start, end, limit) == end:
                return end
            place = seen = end
            self._seen = start  # what a guard does not agree to yet has to be looked at again
        return None

    def _safe(self, start: int, end: int, limit: int | None = None) -> int:
        """The last place at or before `end` that every guard agrees to.

        They see no further than the character behind `limit`, so that it makes no difference how much has come.
        """
        if not self._guards:
            return end
        if limit is not None:
            return start + self._agreed(self._text[start : limit + 1], 0, end - start)
        return self._agreed(self._text, start, end)

    def _agreed(self, text: str, start: int, end: int) -> int:
        agreed = -1
        while agreed != end and end > start:
            agreed = end
            for guard in self._guards:
                end = guard(text, start, end)
        return end

    def _forced(self, piece: str) -> None:
        if self._unit is not None:
            self._unit.forced(piece)
