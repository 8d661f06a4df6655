"""Where in a TOML text each table and key stands, since `tomllib` doesn't say.

Only headers and keys at the beginning of a line are looked at, and `tomllib` itself reads their names. What
stands inside an inline table is found at the line of that table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence

_MULTILINE_QUOTES = ('"""', "'''")


class Lines:
    """The 1-based line of every table and key of a text that `tomllib` has accepted."""

    __slots__ = ("_found",)

    def __init__(self, text: str) -> None:
        self._found: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        open_quote = ""
        for number, line in enumerate(text.splitlines(), 1):
            if open_quote:
                open_quote = "" if open_quote in line else open_quote
                continue
            stripped = line.strip()
            if stripped.startswith("["):
                table = _names(stripped) or table
                self._note(table, number)
            elif keys := _names(stripped.partition("=")[0] + "= 0"):
                self._note((*table, *keys), number)
            open_quote = next((quote for quote in _MULTILINE_QUOTES if line.count(quote) % 2), "")

    def of(self, path: Sequence[str]) -> int | None:
        """The line of the path, or of the nearest table around it; None if neither is found."""
        parts = tuple(path)
        ends = range(len(parts), 0, -1)
        return next((self._found[parts[:end]] for end in ends if parts[:end] in self._found), None)

    def _note(self, path: tuple[str, ...], number: int) -> None:
        for end in range(1, len(path) + 1):
            self._found.setdefault(path[:end], number)


def _names(line: str) -> tuple[str, ...]:
    """The dotted name that a header or a key line spells, or nothing if it is neither."""
    try:
        inside: object = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    names = []
    while inside and isinstance(inside, dict | list):
        if isinstance(inside, list):
            inside = inside[0]
            continue
        name, inside = next(iter(inside.items()))
        names.append(name)
    return tuple(names)
