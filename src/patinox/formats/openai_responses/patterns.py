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

_PATTERNS = 4
_PATIENCE = 32
_PROBE = 987_654_321  # a sequence number that no frame has


class Pattern(msgspec.Struct, frozen=True):
    """The bytes of a delta's event but for what its number, its text and its padding say. `part` is whose delta it is.

    `opening` or `closing` is in two pieces where the sequence number stands between them. All that is not between the
    quotes of the text and of `obfuscation` (no `gap`: there is none) is in the pieces, so that whatever is read as a
    string there is the text of one whole event.
    """

    opening: tuple[bytes, ...]
    gap: bytes
    closing: tuple[bytes, ...]
    message: int
    part: Part


def event_of(text: str, event: str) -> bytes:
    """An event as providers write it."""
    head = f"event: {event}\ndata: " if event else "data: "
    return f"{head}{text}\n\n".encode()


class Patterns:
    """Those of one stream's last deltas. Any frame that may change what they stand on clears them."""

    def __init__(self) -> None:
        self.known: list[Pattern] = []
        self._patience = _PATIENCE

    def clear(self) -> None:
        """Forgets all."""
        if self.known:
            self.known = []

    def match(self, data: bytes, number: int) -> BlockDelta | None:
        """The delta of a whole event that is like one before it and has this number; None for any other."""
        for pattern in self.known:
            opening, closing = pattern.opening, pattern.closing
            before = opening[0] if len(opening) == 1 else b"%b%d%b" % (opening[0], number, opening[1])
            if data.startswith(before):
                after = closing[0] if len(closing) == 1 else b"%b%d%b" % (closing[0], number, closing[1])
                if data.endswith(after):
                    start, stop, gap, ext = len(before) - 1, 1 - len(after), pattern.gap, None
                    try:
                        if gap:
                            # Wherever it is found: if both sides are JSON strings, the frame is what the pattern says.
                            middle = data.find(gap, start)
                            padding = _decode_string(data[middle + len(gap) - 1 : stop])
                            ext = {DIALECT: {"once": {"obfuscation": padding}}}
                            stop = middle + 1
                            if padding.endswith(HOLE):
                                continue
                        said = _decode_string(data[start:stop])
                    except (msgspec.DecodeError, UnicodeDecodeError):
                        continue
                    if not said or said.endswith(HOLE):  # what might look like a hole is left to the parser
                        continue
                    part = pattern.part
                    part.parts.append(said)
                    return BlockDelta(message=pattern.message, block=part.block, op=part.op, text=said, ext=ext)
        return None

    def learn(self, text: str, event: str, number: int | None, part: Part, delta: BlockDelta) -> None:
        """Makes a pattern of a plain delta's frame, if it is certain where its number, text and padding stand."""
        once = delta.ext[DIALECT]["once"] if delta.ext else {}
        if self._patience <= 0 or not once.keys() <= {"obfuscation"}:
            return
        if "\n" in text or "\r" in text:  # an event of several lines, or that would be one of several
            return
        cut = _cut(text, number, delta.text, once.get("obfuscation"))
        if cut is None or _decode(_sample(*cut)) != _probe(part, number, once):
            self._patience -= 1
            return
        opening, gap, closing = _quoted(event, *cut)
        pattern = Pattern(opening, gap, closing, delta.message, part)
        self.known = [*self.known[1 - _PATTERNS :], pattern]


_Pieces = tuple[str, ...]
_Bytes = tuple[bytes, ...]
_Cut = tuple[_Pieces, str, _Pieces]


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


def _quoted(event: str, opening: _Pieces, gap: str, closing: _Pieces) -> tuple[_Bytes, bytes, _Bytes]:
    """The pieces as a pattern has them: with the quotes of the strings between them, and the rest of the event."""
    opened, closed = [piece.encode() for piece in opening], [piece.encode() for piece in closing]
    opened[0] = event_of("", event)[:-2] + opened[0]
    opened[-1] += b'"'
    closed[0] = b'"' + closed[0]
    closed[-1] += b"\n\n"
    return tuple(opened), f'"{gap}"'.encode() if gap else b"", tuple(closed)


def _sample(opening: tuple[str, ...], gap: str, closing: tuple[str, ...]) -> str:
    """A frame like those that the pattern fits, and unlike any that there is."""
    number = str(_PROBE)
    return number.join(opening) + '{"$":0}' + (f'{gap}""' if gap else "") + number.join(closing)


def _probe(part: Part, number: int | None, once: dict[str, Any]) -> dict[str, Any]:
    """What the sample has to say."""
    numbered = {} if number is None else {"sequence_number": _PROBE}
    return {**(part.shape or {}), **dict.fromkeys(once, ""), **numbered, "delta": {"$": 0}}
