"""Recognises a Gemini frame that looks like one before it, its text and its usage aside, without parsing all of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from patinox.core.events import BlockDelta
from patinox.formats.gemini.frames import USAGE, USED

_decode = msgspec.json.Decoder().decode
_decode_string = msgspec.json.Decoder(str).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Pattern(NamedTuple):
    """What stands before a delta's text, between it and the usage, and after that; and whose text it is.

    With `used` false there is no usage, and nothing after `between`.
    """

    before: str
    between: str
    after: str
    used: bool
    message: int
    choice: int
    block: int

    def match(self, text: str, usage: str) -> tuple[BlockDelta, str, dict[str, Any] | None] | None:
        """The delta, the usage as it is written, and the usage if that is not `usage`; None for another frame."""
        if not (text.startswith(self.before) and text.endswith(self.after)):
            return None
        start, stop = len(self.before), len(text) - len(self.after)
        # Wherever it is found: if both sides of it are JSON, the frame is what the pattern says.
        middle = text.rfind(self.between, start, stop)
        if middle < 0 or (not self.used and middle + len(self.between) != stop):
            return None
        told = text[middle + len(self.between) : stop]
        raw: dict[str, Any] | None = None
        try:
            said = _decode_string(text[start:middle])
            if self.used and told != usage:
                raw = _decode_object(told)
        except (msgspec.DecodeError, RecursionError):
            return None
        if not said:
            return None
        return BlockDelta(message=self.message, choice=self.choice, block=self.block, text=said), told, raw


def learn(text: str, delta: BlockDelta, frame: dict[str, Any], shape: Any) -> Pattern | None:
    """The pattern of a plain frame; None if it is not certain where its text and its usage stand.

    `frame` is the envelope that the frame has, `shape` its candidates.
    """
    if delta.block is None or delta.op != "text.append":
        return None
    start, stop = _only_place(text, delta.text)
    used = frame.get(USAGE) == USED
    first = last = len(text)
    if used:
        first, last = _object_place(text, stop)
    if start < 0 or first < stop:
        return None
    before, between, after = text[:start], text[stop:first], text[last:]
    probe = before + '{"$":0}' + between + ('{"$":"usage"}' if used else "") + after
    try:
        same = _decode(probe) == {**frame, "candidates": shape}
    except msgspec.DecodeError:
        return None
    return Pattern(before, between, after, used, delta.message, delta.choice, delta.block) if same else None


def _only_place(text: str, value: str) -> tuple[int, int]:
    """From where to where the string stands as the value of a key; (-1, -1) if that is nowhere, or not certain."""
    literal = _encode(value).decode()
    for colon in (": ", ":"):
        at = text.find(colon + literal)
        if at >= 0 and text.find(colon + literal, at + 1) < 0:
            return at + len(colon), at + len(colon) + len(literal)
    return -1, -1


def _object_place(text: str, start: int) -> tuple[int, int]:
    """From where to where the usage stands after `start`: an object of objects of lists, by counting its braces."""
    at = text.find(f'"{USAGE}"', start)
    first = text.find("{", at)
    if at < 0 or first < 0:
        return -1, -1
    depth = 0
    for place in range(first, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return first, place + 1
    return -1, -1
