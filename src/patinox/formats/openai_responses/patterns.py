"""Recognises the frames of ordinary Responses deltas by the characters around what differs: number, text, padding.

A frame that was read as a whole, and said nothing unusual, gives the pattern of those that follow; they are not parsed
as a whole. Both ways give the same events.
"""

from __future__ import annotations

from typing import Any

import msgspec

from patinox.core.events import BlockDelta
from patinox.formats.literals import only_place
from patinox.formats.openai_responses.items import Part
from patinox.formats.openai_responses.shapes import DIALECT, HOLE

_decode = msgspec.json.Decoder().decode
_decode_string = msgspec.json.Decoder(str).decode

_HOLE_KEY = f'"{HOLE}"'
_PATTERNS = 4
_PATIENCE = 32
_PROBE = 987_654_321  # a sequence number that no frame has


class Pattern(msgspec.Struct, frozen=True):
    """What stands before a delta's text, between it and `obfuscation` (nothing where there is none), and after.

    `opening` or `closing` is in two pieces where the sequence number stands between them. `message` and `part` say
    whose delta it is.
    """

    event: str
    opening: tuple[str, ...]
    gap: str
    closing: tuple[str, ...]
    message: int
    part: Part


class Patterns:
    """Those of one stream's last deltas. Any frame that may change what they stand on clears them."""

    def __init__(self) -> None:
        self._known: list[Pattern] = []
        self._patience = _PATIENCE

    def clear(self) -> None:
        """Forgets all."""
        if self._known:
            self._known = []

    def match(self, text: str, event: str, number: int) -> BlockDelta | None:
        """The delta of a frame that is like one before it and has this number; None for any other."""
        for pattern in self._known:
            if event != pattern.event:
                continue
            opening, closing = pattern.opening, pattern.closing
            before = f"{opening[0]}{number}{opening[1]}" if len(opening) == 2 else opening[0]
            if text.startswith(before):
                after = f"{closing[0]}{number}{closing[1]}" if len(closing) == 2 else closing[0]
                if text.endswith(after):
                    delta = _matched(pattern, text[len(before) : len(text) - len(after)])
                    if delta is not None:
                        return delta
        return None

    def learn(self, text: str, event: str, number: int | None, part: Part, delta: BlockDelta) -> None:
        """Makes a pattern of a plain delta's frame, if it is certain where its number, text and padding stand."""
        once = delta.ext[DIALECT]["once"] if delta.ext else {}
        if self._patience <= 0 or not once.keys() <= {"obfuscation"}:
            return
        cut = _cut(text, number, delta.text, once.get("obfuscation"))
        if cut is None or _decode(_sample(*cut)) != _probe(part, number, once):
            self._patience -= 1
            return
        opening, gap, closing = cut
        pattern = Pattern(event, opening, gap, closing, delta.message, part)
        self._known = [*self._known[1 - _PATTERNS :], pattern]


def _matched(pattern: Pattern, middle: str) -> BlockDelta | None:
    if _HOLE_KEY in middle:
        return None
    ext = None
    try:
        if pattern.gap:
            # Wherever it is found: if both sides of it are JSON strings, the frame is what the pattern says.
            middle, _, padding = middle.partition(pattern.gap)
            ext = {DIALECT: {"once": {"obfuscation": _decode_string(padding)}}}
        said = _decode_string(middle)
    except msgspec.DecodeError:
        return None
    if not said:
        return None
    part = pattern.part
    part.parts.append(said)
    return BlockDelta(message=pattern.message, block=part.block, op=part.op, text=said, ext=ext)


_Cut = tuple[tuple[str, ...], str, tuple[str, ...]]


def _cut(text: str, number: int | None, said: str, padding: Any) -> _Cut | None:
    """The frame without its number, text and padding; None if it is not certain where they stand."""
    start, stop = only_place(text, said)
    gap, end = "", stop
    if padding is not None:
        first, end = only_place(text, padding) if isinstance(padding, str) else (-1, -1)
        if first < stop:
            return None
        gap = text[stop:first]
    if start < 0:
        return None
    opening, closing = text[:start], text[end:]
    if number is None:
        return (opening,), gap, (closing,)
    at, past = only_place(text, number, "sequence_number")
    if 0 <= at < start:
        return (opening[:at], opening[past:]), gap, (closing,)
    return ((opening,), gap, (closing[: at - end], closing[past - end :])) if at >= end else None


def _sample(opening: tuple[str, ...], gap: str, closing: tuple[str, ...]) -> str:
    """A frame like those that the pattern fits, and unlike any that there is."""
    number = str(_PROBE)
    return number.join(opening) + '{"$":0}' + (f'{gap}""' if gap else "") + number.join(closing)


def _probe(part: Part, number: int | None, once: dict[str, Any]) -> dict[str, Any]:
    """What the sample has to say."""
    numbered = {} if number is None else {"sequence_number": _PROBE}
    return {**(part.shape or {}), **dict.fromkeys(once, ""), **numbered, "delta": {"$": 0}}
