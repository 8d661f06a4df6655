"""What a JSON text means so far, for screens that show a tool's arguments while they come.

    partial_json('{"city": "Par')          {"city": "Par"}
    partial_json('{"city": "Paris", "da')  {"city": "Paris"}

Strings are shown as far as they have come; numbers and literals when they are whole; keys with their values. It is a
view, to look at: arguments to act on are those of `tool.ready`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

_TOKEN = re.compile(r'[ \t\r\n]*(?:("(?:[^"\\]++|\\.)*+)("?)|([{}\[\],:])|([^ \t\r\n"{}\[\],:]+))', re.DOTALL)
_HEX = "[0-9a-fA-F]"
# A string as far as its escapes are whole, both halves of a surrogate pair too.
_WHOLE_ESCAPES = re.compile(
    rf'"(?:[^\\]++|\\[^u]|\\u(?![dD][89abAB]){_HEX}{{4}}|\\u{_HEX}{{4}}\\u{_HEX}{{4}})*+', re.DOTALL
)
_CLOSER = {"{": "}", "[": "]"}


def partial_json(text: str) -> Any:
    """The value of a JSON text (RFC 8259) that may be cut off anywhere; None where there is none, or it is not JSON.

    Linear in the length of the text.
    """
    scan = _Scan()
    for token in _TOKEN.finditer(text):
        if not scan.take(token, text):
            break
    try:
        return msgspec.json.decode(text[: scan.whole] + scan.rest + scan.closers)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


class _Scan:
    """How much of a text is whole, and what is to be put behind that to make it JSON."""

    def __init__(self) -> None:
        self.whole = 0
        self.rest = ""
        self._open: list[str] = []
        self._at_key = False

    @property
    def closers(self) -> str:
        return "".join([_CLOSER[bracket] for bracket in reversed(self._open)])

    def take(self, token: re.Match[str], text: str) -> bool:
        """Takes the next token; False where nothing behind it can be said."""
        string, quote, mark, literal = token.groups()
        if string is not None:
            return self._string(token, string, text, is_whole=bool(quote))
        if literal is not None:
            if token.end() < len(text):
                self.whole = token.end()
        elif mark in "{[":
            self._open.append(mark)
            self.whole = token.end()
        elif mark in "}]" and self._open:
            self._open.pop()
            self.whole = token.end()
        self._at_key = self._is_key(mark)
        return mark not in ("}", "]") or bool(self._open)

    def _string(self, token: re.Match[str], string: str, text: str, *, is_whole: bool) -> bool:
        if self._at_key:
            return is_whole
        if is_whole:
            self.whole = token.end()
            return True
        self.whole = token.start(1)
        shown = _WHOLE_ESCAPES.match(string)
        self.rest = (shown[0] if shown else '"') + '"'
        return False

    def _is_key(self, mark: str | None) -> bool:
        in_object = bool(self._open) and self._open[-1] == "{"
        return in_object and mark in ("{", ",")
