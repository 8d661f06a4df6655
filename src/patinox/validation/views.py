"""What a text says, and which of its characters say it: the text as it is sent, and the text that validators see.

Argument text is JSON, and its reader unescapes it, so validators see `AKIA` where `\\u0041KIA` was sent; prose may
carry the same escapes, since an answer may itself be JSON. A view is fed pieces cut anywhere and gives for each the
characters that became visible, and for each sent character the number of the visible one that it belongs to.
"""

from __future__ import annotations

import re
from bisect import bisect_left

import msgspec

STRING, SCALAR, STRUCTURE = "s", "n", "x"
"""What a character of JSON text belongs to: the inside of a string, a number or literal, anything else."""


class Piece(msgspec.Struct):
    """One piece of sent text. `owners` has the visible character of each sent one, None where they are the same from
    `base` on; `classes` says for JSON what each belongs to."""

    text: str
    base: int
    owners: list[int] | None = None
    classes: str = ""


JSON_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PROSE = {"/": "/"}
_HEX_ESCAPE = 6
_HEX = re.compile(r"\\u[0-9A-Fa-f]{0,4}")
_HIGH = re.compile(r"\\u[Dd][89ABab][0-9A-Fa-f]{2}")
_PAIR = re.compile(_HIGH.pattern + r"\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}")
_HALF_PAIR = re.compile(_HIGH.pattern + r"\\(?:u(?:[Dd](?:[C-Fc-f][0-9A-Fa-f]?)?)?)?")


class View:
    """Unescapes. In prose only `\\uXXXX` and `\\/` are escapes: a `\\n` there may as well be a part of a path."""

    def __init__(self, short: dict[str, str] = _PROSE) -> None:
        self._short = short
        self._seen = 0
        self._pending: list[tuple[list[int], int]] = []  # the owners of an escape that is cut, to be told later
        self._escape = ""

    def feed(self, text: str) -> tuple[Piece, str]:
        """The piece, and what became visible with it."""
        if not self._escape and "\\" not in text:
            piece = Piece(text, self._seen)
            self._seen += len(text)
            return piece, text
        owners: list[int] = []
        piece = Piece(text, self._seen, owners)
        visible: list[str] = []
        at = 0
        while at < len(text):
            if self._escape or text[at] == "\\":
                visible.append(self._character(text[at], owners))
                at += 1
                continue
            stop = text.find("\\", at)
            stop = len(text) if stop < 0 else stop
            owners.extend(range(self._seen, self._seen + stop - at))
            self._seen += stop - at
            visible.append(text[at:stop])
            at = stop
        return piece, "".join(visible)

    def close(self) -> str:
        """What is visible of an escape that was never finished: what was sent."""
        return self._literally() if self._escape else ""

    def _character(self, character: str, owners: list[int]) -> str:
        owners.append(self._seen)
        self._pending.append((owners, len(owners) - 1))
        self._escape += character
        return self._judge()

    def _judge(self) -> str:
        """What the escape so far says; nothing while it is not whole."""
        escape = self._escape
        if len(escape) == 1:
            return ""
        if _HIGH.fullmatch(escape):  # half of a character beyond U+FFFF (RFC 8259 §7): the other half may follow
            return ""
        if len(escape) > _HEX_ESCAPE:
            if _PAIR.fullmatch(escape):
                high, low = int(escape[2:6], 16), int(escape[8:], 16)
                return self._take(len(escape), chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00))
            return "" if _HALF_PAIR.fullmatch(escape) else self._take(_HEX_ESCAPE, _unit(escape[2:6]))
        if _HEX.fullmatch(escape):
            return self._take(len(escape), _unit(escape[2:])) if len(escape) == _HEX_ESCAPE else ""
        if short := self._short.get(escape[1]):
            return self._take(2, short)
        return self._take(1, "\\")

    def _take(self, count: int, visible: str) -> str:
        """The first `count` sent characters are one visible one; what follows them is looked at anew."""
        for owners, at in self._pending[:count]:
            owners[at] = self._seen
        self._seen += 1
        rest, places = self._escape[count:], self._pending[count:]
        self._escape, self._pending = "", []
        for character, place in zip(rest, places, strict=True):
            if not self._escape and character != "\\":
                place[0][place[1]] = self._seen
                self._seen += 1
                visible += character
            else:
                self._pending.append(place)
                self._escape += character
                visible += self._judge()
        return visible

    def _literally(self) -> str:
        out = self._escape
        for owners, at in self._pending:
            owners[at] = self._seen
            self._seen += 1
        self._escape, self._pending = "", []
        return out


def _unit(digits: str) -> str:
    """The character of four hexadecimal digits; half of a pair without its other half is none (U+FFFD)."""
    code = int(digits, 16)
    return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


_RUNS = re.compile(r'"|[^"\s{}\[\]:,]+|[\s{}\[\]:,]+')
_INSIDE = re.compile(r'[^"\\]+|"|\\')


class JsonView:
    """Unescapes the strings of JSON text, and tells strings, scalars and structure apart."""

    def __init__(self) -> None:
        self._view = View(JSON_ESCAPES)
        self._inside = False
        self._escaped = False

    def feed(self, text: str) -> tuple[Piece, str]:
        """As `View.feed`, with the piece's `classes`."""
        classes = self._classes(text)
        piece, visible = self._view.feed(text)
        piece.classes = classes
        return piece, visible

    def close(self) -> str:
        """As `View.close`."""
        return self._view.close()

    def _classes(self, text: str) -> str:
        out: list[str] = []
        at = 0
        while at < len(text):
            run = self._in_string(text, at) if self._inside else self._outside(text, at)
            out.append(run)
            at += len(run)
        return "".join(out)

    def _in_string(self, text: str, at: int) -> str:
        if self._escaped:
            self._escaped = False
            return STRING
        run = _INSIDE.match(text, at)
        what = run[0] if run else text[at]
        if what == '"':
            self._inside = False
            return STRUCTURE
        self._escaped = what == "\\"
        return STRING * len(what)

    def _outside(self, text: str, at: int) -> str:
        run = _RUNS.match(text, at)
        what = run[0] if run else text[at]
        if what == '"':
            self._inside = True
            return STRUCTURE
        return (STRUCTURE if what[0] in " \t\r\n{}[]:," else SCALAR) * len(what)


def owner(piece: Piece, at: int) -> int:
    """The visible character that the piece's sent character `at` belongs to."""
    return piece.base + at if piece.owners is None else piece.owners[at]


def first_at(piece: Piece, visible: int, start: int) -> int:
    """The first sent character from `start` on that belongs to the visible one or a later one."""
    if piece.owners is None:
        return max(start, min(len(piece.text), visible - piece.base))
    return bisect_left(piece.owners, visible, start)


def quoted(text: str) -> str:
    """`text` as it stands within a JSON string."""
    return msgspec.json.encode(text).decode()[1:-1]
