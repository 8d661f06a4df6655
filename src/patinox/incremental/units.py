"""Where a unit of text ends: a word, a sentence, a line, a block of Markdown, a number of bytes.

`end(text, start, seen)` says where the first unit after `start` ends, or None where that cannot be said yet; up to
`seen` the text was searched before, in vain. The answer never depends on how the text came, only on the text. Units
carry the white space that ends them.
"""

from __future__ import annotations

import re
from typing import Protocol

_BREAK = r"\r\n|\n|\r(?=[^\n])"
_WORD = re.compile(r"\S(?:\r\n|\r(?=[^\n])|[^\S\r])")
_LINE = re.compile(_BREAK)
_SENTENCE = re.compile(
    rf"[.!?…][\"'’”»)\]]{{0,8}}(?:\r\n|\r(?=[^\n])|[^\S\r])"  # a full stop, what it closes, white space
    rf"|[。！？][」』”’）]{{0,8}}(?=[^。！？」』”’）])"  # where no white space follows
    rf"|{_BREAK}"
)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_LOOK_BACK = 12  # a match that was not whole before began no further back than this


class Unit(Protocol):
    """Finds the ends of one kind of unit, in one lane."""

    def end(self, text: str, start: int, seen: int) -> int | None:
        """Where the unit that begins at `start` ends."""
        ...

    def forced(self, piece: str) -> None:
        """A piece had to leave without being a whole unit."""
        ...


class Pattern:
    """A unit that ends where a pattern matches."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern

    def end(self, text: str, start: int, seen: int) -> int | None:
        """As in `Unit`."""
        found = self._pattern.search(text, max(start, seen - _LOOK_BACK))
        return found.end() if found else None

    def forced(self, piece: str) -> None:
        """As in `Unit`."""


def words() -> Unit:
    """After the first white space that follows a word. Text without white space is one word."""
    return Pattern(_WORD)


def lines() -> Unit:
    """After LF, CR LF or CR."""
    return Pattern(_LINE)


def sentences() -> Unit:
    """After `.`, `!`, `?` or `…`, closing quotes and one white space; after their CJK forms; after a line break."""
    return Pattern(_SENTENCE)


class Never:
    """No end: text leaves when a piece is as long as it may be, or when it is flushed."""

    def end(self, text: str, start: int, seen: int) -> int | None:
        """As in `Unit`."""

    def forced(self, piece: str) -> None:
        """As in `Unit`."""


class Blocks:
    """After a blank line outside a fenced code block, or after the fence that closes one (CommonMark 0.31, 4.5).

    Each line is looked at once: what is known of the unit's lines so far is kept.
    """

    def __init__(self) -> None:
        self._begin("")

    def _begin(self, fence: str) -> None:
        """A unit begins, inside code where `fence` opened some."""
        self._fence = fence
        self._first_fence = fence
        self._spoken = bool(fence)
        self._looked_at = 0  # characters of the unit

    def end(self, text: str, start: int, seen: int) -> int | None:
        """As in `Unit`."""
        line_start = start + self._looked_at
        while (found := _LINE.search(text, max(line_start, seen - 1))) is not None:
            line, line_start = text[line_start : found.end()], found.end()
            seen = line_start
            if self._is_last(line):
                self._begin("")
                return line_start
            self._looked_at = line_start - start
        return None

    def forced(self, piece: str) -> None:
        """A fence that was opened in it is still open."""
        self._begin(self._first_fence)
        place = 0
        while (found := _LINE.search(piece, place)) is not None:
            self._is_last(piece[place : found.end()])
            place = found.end()
        self._begin(self._fence)

    def _is_last(self, line: str) -> bool:
        mark = _FENCE.match(line)
        is_blank = not line.strip()
        if self._fence:
            if mark and mark[1].startswith(self._fence) and not line[mark.end() :].strip():
                self._fence = ""
                return True
        elif mark:
            self._fence = mark[1]
        elif is_blank and self._spoken:
            return True
        self._spoken = self._spoken or not is_blank
        return False


def bytes_end(text: str, start: int, size_bytes: int) -> int | None:
    """After as many characters as `size_bytes` bytes of UTF-8 have room for, one at least; None for less text."""
    if len(text) - start < size_bytes // 4:  # a character has four bytes at most
        return None
    encoded = text[start : start + size_bytes].encode("utf-8", "surrogatepass")
    if len(encoded) < size_bytes:
        return None
    return start + max(1, len(encoded[:size_bytes].decode("utf-8", "ignore")))
