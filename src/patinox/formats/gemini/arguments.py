"""Gemini's arguments in pieces (`partialArgs`: a JSON path and a value each) as argument text that only grows.

    $.city = "Bos"…   →  {"city":"Bos
    $.city = "ton"    →  ton"
    the call ends     →  }

Pieces come in the order of the text. One that doesn't (it goes back into what is closed) can't be told as text; from
there on `whole` is false, and only `value` has all the arguments.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

_decode_string = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode

_STEP = re.compile(r"""\.([^.\[\]]+)|\[([0-9]{1,9})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
_SHORT = 256  # characters; longer paths are not remembered
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")

Step = str | int
Path = tuple[Step, ...]


class Piece(NamedTuple):
    """Text to append; the value stands from `start` to `stop`, under `key` of the piece."""

    text: str
    key: str
    start: int
    stop: int


class _Open:
    """An object or array that is open: what it holds so far. `step` is where it stands in its parent."""

    __slots__ = ("count", "is_array", "keys", "step")

    def __init__(self, step: Step, is_array: bool) -> None:
        self.step = step
        self.is_array = is_array
        self.count = 0
        self.keys: set[str] = set()


class PartialArguments:
    """The arguments of one call."""

    def __init__(self) -> None:
        self.whole = True
        self._open: list[_Open] = []
        self._string: Path | None = None
        self._pieces: list[tuple[Path, Any, bool]] = []

    def add(self, piece: dict[str, Any]) -> Piece | None:
        """The text that a piece adds; None if it cannot be told as text, or is not understood."""
        path = parse_path(piece.get("jsonPath"))
        key = next((key for key in _VALUES if key in piece), None)
        if path is None or key is None:
            return None
        value = None if key == "nullValue" else piece[key]
        if key == "stringValue" and not isinstance(value, str):
            return None
        self._pieces.append((path, value, key == "stringValue"))
        text = self._reach(path) if self.whole else None
        if text is None:
            self.whole = False
            return None
        said = _encode(value).decode()
        if key == "stringValue":
            said = said[1:-1]
            more = piece.get("willContinue") is True
            self._string = path if more else None
            return Piece(f"{text}{said}" + ("" if more else '"'), key, len(text), len(text) + len(said))
        return Piece(f"{text}{said}", key, len(text), len(text) + len(said))

    def finish(self) -> str:
        """The text that ends the arguments."""
        if not self.whole:
            return ""
        text = '"' if self._string is not None else ""
        text += self._close(0)
        self._string = None
        return text

    @property
    def value(self) -> Any:
        """All arguments, from their pieces."""
        strings: dict[Path, list[str]] = {}
        leaves: dict[Path, Any] = {}
        for path, value, is_string in self._pieces:
            leaves[path] = value
            if is_string:
                strings.setdefault(path, []).append(value)
        root: dict[str, Any] = {}
        for path, value in leaves.items():
            _put(root, path, "".join(strings[path]) if path in strings else value)
        return root

    def _reach(self, path: Path) -> str | None:
        """The text up to where the value at `path` begins or goes on; None if that place is behind."""
        if self._string == path:
            return ""
        text = '"' if self._string is not None else ""
        self._string = None
        if not self._open:
            self._open.append(_Open("", is_array=False))
            text += "{"
        shared = 0
        while shared < min(len(path) - 1, len(self._open) - 1) and self._open[shared + 1].step == path[shared]:
            shared += 1
        text += self._close(shared + 1)
        for depth in range(shared, len(path)):
            entry = self._enter(path[depth])
            if entry is None:
                return None
            text += entry
            if depth + 1 < len(path):
                is_array = isinstance(path[depth + 1], int)
                self._open.append(_Open(path[depth], is_array))
                text += "[" if is_array else "{"
        return text + ('"' if self._is_string() else "")

    def _is_string(self) -> bool:
        return self._pieces[-1][2]

    def _enter(self, step: Step) -> str | None:
        """The text before the next member of the innermost container; None if it is not next."""
        container = self._open[-1]
        comma = "," if container.count else ""
        if container.is_array:
            if step != container.count:
                return None
            container.count += 1
            return comma
        if not isinstance(step, str) or step in container.keys:
            return None
        container.keys.add(step)
        container.count += 1
        return f"{comma}{_encode(step).decode()}:"

    def _close(self, depth: int) -> str:
        closed = "".join("]" if container.is_array else "}" for container in reversed(self._open[depth:]))
        del self._open[depth:]
        return closed


@lru_cache(256)
def _parsed(text: str) -> Path | None:
    steps: list[Step] = []
    at = 1
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            return None
        steps.append(_step(*match.groups()))
        at = match.end()
    return tuple(steps) if steps and isinstance(steps[0], str) else None


def parse_path(text: Any) -> Path | None:
    """The steps of a JSON path of names and indices (RFC 9535 §2.3.1 and §2.3.3); None for any other."""
    if not isinstance(text, str) or not text.startswith("$"):
        return None
    return _parsed(text) if len(text) <= _SHORT else _parsed.__wrapped__(text)


def _step(name: str | None, index: str | None, single: str | None, double: str | None) -> Step:
    if index is not None:
        return int(index)
    if name is not None:
        return name
    quoted = double if double is not None else re.sub(r"\\\'", "'", single or "").replace('"', '\\"')
    try:
        return _decode_string(f'"{quoted}"')
    except msgspec.DecodeError:
        return quoted


def _put(root: Any, path: Path, value: Any) -> None:
    """Sets the value at `path`, making what is missing on the way; what doesn't fit together is left out."""
    here = root
    for step, following in zip(path, (*path[1:], None), strict=True):
        empty: Any = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(here, list) and isinstance(step, int):
            if step >= len(here):
                here.extend([None] * (min(step, 10_000) + 1 - len(here)))
            if step >= len(here):
                return
            if following is None or here[step] is None:
                here[step] = empty
        elif isinstance(here, dict) and isinstance(step, str):
            if following is None or step not in here:
                here[step] = empty
        else:
            return
        here = here[step]
