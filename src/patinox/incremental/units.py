"""Where a unit of text ends: a word, a sentence, a line, a block of Markdown, a number of bytes.

`end(text, start, seen)` says where the first unit after `start` ends, or None where that cannot be said yet; up to
`seen` the text was searched before, in vain. The answer never depends on how the text came, only on the text. Units
carry the white space that ends them.
"""

from __future__ import annotations

import re
from typing import Protocol

_BREAK = r"\r\n|\n|\r(?=[^\n])"
_WORD = re.compile(r"(?<=\S)(?:\r\n|\r(?=[^\n])|[^\S\r])")
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
    """After a blank line outside a fenced code block, or after the fence that closes one (CommonMark 0.31, 4.5)."""

    def __init__(self) -> None:
        self._fence = ""

    def end(self, text: str, start: int, seen: int) -> int | None:
        """As in `Unit`."""
        if seen > start and _LINE.search(text, max(start, seen - 1)) is None:
            return None
        end, fence = self._scan(text, start)
        if end is not None:
            self._fence = fence
        return end

    def forced(self, piece: str) -> None:
        """A fence that was opened in it is still open."""
        _, self._fence = self._scan(piece, 0)

    def _scan(self, text: str, start: int) -> tuple[int | None, str]:
        fence, spoken = self._fence, bool(self._fence)
        while (found := _LINE.search(text, start)) is not None:
            line, start = text[start : found.end()], found.end()
            mark = _FENCE.match(line)
            if fence:
                if mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
                    return start, ""
            elif mark:
                fence = mark[1]
            elif spoken and not line.strip():
                return start, ""
            spoken = spoken or bool(line.strip())
        return None, fence


def bytes_end(text: str, start: int, size_bytes: int) -> int | None:
    """After as many characters as `size_bytes` bytes of UTF-8 have room for, one at least; None for less text."""
    if len(text) - start < size_bytes // 4:  # a character has four bytes at most
        return None
    encoded = text[start : start + size_bytes].encode("utf-8", "surrogatepass")
    if len(encoded) < size_bytes:
        return None
    return start + max(1, len(encoded[:size_bytes].decode("utf-8", "ignore")))
