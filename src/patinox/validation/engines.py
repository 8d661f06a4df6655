"""What matches a rule: `re`, where no text can make it slow, and else `regex` with a deadline.

`re` is quicker on what is quick, but it keeps the interpreter's lock while it searches and knows no deadline: a search
that backtracks for an hour holds the process for an hour, whatever thread it is in. `regex` lets go of the lock, and
ends in time. Both take the same expressions; in `regex`, `\\w` also has combining marks.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import regex

from patinox.validation.effort import effort
from patinox.validation.expressions import Expression, parse

MOST_STEPS: Final = 500
"""Of a search at one place, for it to be quick: some seconds for a million places, whatever they are."""


class Found(Protocol):
    """A match of either."""

    def start(self) -> int:
        """Its first character."""
        ...

    def end(self) -> int:
        """The character after its last."""
        ...


class Engine(Protocol):
    """A compiled expression: what `re.Pattern` and `TimedPattern` have in common."""

    def search(self, text: str, at: int, end: int = ..., /) -> Found | None:
        """The first match between two places."""
        ...

    def match(self, text: str, at: int, end: int = ..., /) -> Found | None:
        """The match at a place."""
        ...


class TimedPattern:
    """An expression whose searches raise `TimeoutError` after `deadline_s`."""

    __slots__ = ("_deadline_s", "_pattern")

    def __init__(self, pattern: str, deadline_s: float) -> None:
        self._pattern, self._deadline_s = regex.compile(pattern), deadline_s

    def search(self, text: str, at: int, end: int | None = None) -> Any:
        """As `re.Pattern.search`."""
        return self._pattern.search(text, at, end, timeout=self._deadline_s)

    def match(self, text: str, at: int, end: int | None = None) -> Any:
        """As `re.Pattern.match`."""
        return self._pattern.match(text, at, end, timeout=self._deadline_s)


def always_quick(parts: Expression, span: int) -> bool:
    """Whether no text can make a search of the rule take long at one place; it sees `span` characters of it."""
    return all(effort(parse(source), span) <= MOST_STEPS for source in (parts.match, parts.undecided))
