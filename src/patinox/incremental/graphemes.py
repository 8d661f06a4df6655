"""Where a text may be cut without cutting what a reader takes for one character (UAX #29, extended clusters).

Needs the `regex` package (`pip install "patinox[validation]"`), whose `\\X` follows the Unicode version of its release.
"""

from __future__ import annotations

import regex

_CLUSTER = regex.compile(r"\X")
_LONGEST = 256


def graphemes(text: str, start: int, end: int) -> int:
    """A guard (`guards.py`) that keeps grapheme clusters whole; at most 256 characters, which no cluster in use has.

    At the end of `text` the next character decides, which is not there yet: the last cluster is then taken to go on.
    A line feed is the exception, since nothing joins it (GB4).
    """
    if end > start and text[end - 1] == "\n":
        return end
    if text[start : end + 1].isascii():  # one character each, but for CR LF
        return end - 1 if end == len(text) or text[end - 1 : end + 1] == "\r\n" else end
    last = start
    for found in _CLUSTER.finditer(text, start):
        if found.end() > end or (found.end() == len(text) and found.end() - found.start() < _LONGEST):
            break
        last = found.end()
        if last == end:
            break
    return last
