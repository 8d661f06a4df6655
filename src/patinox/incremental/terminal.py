"""Takes out what a terminal would obey: escape sequences (ECMA-48), OSC and control characters."""

from __future__ import annotations

import re
from enum import Enum, auto

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_CSI, _OSC = "\x9b", "\x9d"
_STRINGS = "\x90\x98\x9d\x9e\x9f"  # DCS, SOS, OSC, PM, APC
_LONGEST = 4096


class _State(Enum):
    TEXT = auto()
    ESCAPE = auto()  # after ESC
    CSI = auto()  # ESC [, up to its final byte
    STRING = auto()  # OSC, DCS, SOS, PM, APC, up to BEL or ST
    STRING_ESCAPE = auto()  # ESC inside one: the beginning of ST


class Terminal:
    """Strips ANSI sequences, OSC strings and the control characters but tab, line feed and carriage return.

    Holds nothing. A string that is never terminated ends with its line, or after 4096 characters, so that it costs no
    more of the text than that.
    """

    __slots__ = ("_length", "_state")
    held = 0
    is_quick = True

    def __init__(self) -> None:
        self._state = _State.TEXT
        self._length = 0

    def fresh(self) -> Terminal:
        """As in `Processor`."""
        return Terminal()

    def feed(self, text: str) -> str:
        """As in `Processor`."""
        if self._state is _State.TEXT and _CONTROL.search(text) is None:
            return text
        out: list[str] = []
        place = 0
        while place < len(text):
            if self._state is _State.TEXT:
                found = _CONTROL.search(text, place)
                end = found.start() if found else len(text)
                out.append(text[place:end])
                place = end
                if found:
                    self._begin(text[end])
                    place += 1
            elif self._swallow(text[place]):
                place += 1
        return "".join(out)

    def close(self) -> str:
        """As in `Processor`."""
        return ""

    def _begin(self, control: str) -> None:
        self._length = 0
        if control == "\x1b":
            self._state = _State.ESCAPE
        elif control == _CSI:
            self._state = _State.CSI
        elif control in _STRINGS:
            self._state = _State.STRING

    def _swallow(self, character: str) -> bool:
        """Takes the next character of a sequence; False where it is none of it."""
        self._length += 1
        match self._state:
            case _State.ESCAPE:
                return self._escape(character)
            case _State.CSI:
                return self._csi(character)
            case _State.STRING_ESCAPE:
                self._state = _State.TEXT if character == "\\" else _State.ESCAPE
                return character == "\\"
        return self._string(character)

    def _escape(self, character: str) -> bool:
        if character == "[":
            self._state = _State.CSI
        elif character in "]PX^_":
            self._state = _State.STRING
        elif " " <= character <= "/" and self._length < _LONGEST:
            pass  # an intermediate byte: the final one follows
        else:
            self._state = _State.TEXT
            return "0" <= character <= "~"
        return True

    def _csi(self, character: str) -> bool:
        if " " <= character <= "?" and self._length < _LONGEST:
            return True
        self._state = _State.TEXT
        return "@" <= character <= "~"

    def _string(self, character: str) -> bool:
        if character == "\x1b":
            self._state = _State.STRING_ESCAPE
        elif character in "\x07\x9c\x18\x1a":
            self._state = _State.TEXT
        elif character in "\r\n" or self._length > _LONGEST:
            self._state = _State.TEXT
            return False
        return True
