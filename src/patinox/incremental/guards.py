"""Where text must not be cut: inside a token of Markdown, or of JSON.

A guard gives the last place at or before `end` where a cut parts no token; between `start`, itself such a place, and
`end`. What is not whole yet cannot be judged: it counts as one token, up to a bound.
"""

from __future__ import annotations

import re
from typing import Protocol

_RUN = "*_~`#"
_LINK = re.compile(r"!?\[[^\[\]\r\n]{0,400}\](?:\((?:[^()\r\n]|\([^()\r\n]*\)){0,1000}\)|\[[^\[\]\r\n]{0,400}\]|)")
_OPENING = re.compile(
    r"!?\[[^\[\]\r\n]{0,400}(?:\](?:\((?:[^()\r\n]|\([^()\r\n]*\)){0,1000}(?:\([^()\r\n]*)?|\[[^\[\]\r\n]{0,400})?)?\Z|!\Z"
)
_MARK = re.compile(r"!?\[|!\Z|([*_~`#])\1*")
_JSON = re.compile(r'"(?:[^"\\]++|\\.)*+"|[^\s"\[\]{},:]+|[\[\]{},:]|\s+', re.DOTALL)
_TAIL = 2048  # a token of Markdown is looked for this far back


class Guard(Protocol):
    """The last safe place to cut."""

    def __call__(self, text: str, start: int, end: int) -> int:
        """Between `start` and `end`; `start` where there is none."""
        ...


def markdown(text: str, start: int, end: int) -> int:
    """Keeps runs of `*`, `_`, `~`, `` ` `` and `#` whole, and links and images with their labels."""
    position = max(start, end - _TAIL)
    while (found := _MARK.search(text, position)) is not None and found.start() < end:
        token_end = _token_end(text, found)
        if token_end is None or token_end > end:
            return found.start()
        position = token_end
    return end


def _token_end(text: str, found: re.Match[str]) -> int | None:
    """Where the token that begins here ends; None where it may go on."""
    if found[1] is not None:
        return found.end() if found.end() < len(text) else None
    if _OPENING.match(text, found.start()):
        return None
    link = _LINK.match(text, found.start())
    if link is None:
        return found.end()  # a bracket, and no link
    return link.end() if link.end() < len(text) else None


def json(text: str, start: int, end: int) -> int:
    """Keeps strings, numbers and literals whole (RFC 8259)."""
    last = start
    for found in _JSON.finditer(text, start):
        if found.start() > last or found.start() >= end:  # a string that is not whole yet matches nothing
            break
        if found.end() > end or (found.end() == len(text) and found[0][0] not in '"[]{},: \t\r\n'):
            break
        last = found.end()
    return last
