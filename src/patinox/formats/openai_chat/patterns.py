"""Recognises the events of ordinary Chat deltas by the bytes around what differs: text, padding, perhaps the id.

A frame that was read as a whole, and said nothing unusual, gives the pattern of those that follow; they are not parsed
as a whole. Both ways give the same events.
"""

from __future__ import annotations

from typing import Any

import msgspec

from patinox.core.events import BlockDelta, DeltaOp
from patinox.formats.literals import only_place
from patinox.formats.openai_chat.frames import DIALECT

_decode_string = msgspec.json.Decoder(str).decode

Around = tuple[str, str, str]
"""A frame without its two strings, or without its one: then what would stand between them is empty."""


class Pattern(msgspec.Struct, frozen=True):
    """An event that was parsed before: the bytes around what its delta's text says, and whose text it is.

    `head` and `tail` are all of the event but what stands between the quotes, so that whatever is read as a string
    there is the text of one whole event. With a `gap`, what stands after that is another string, OpenAI's
    `obfuscation`; where `is_id`, what stands before it is one, the id, which some servers give each frame anew.
    """

    head: bytes
    gap: bytes
    tail: bytes
    message: int
    choice: int
    block: int
    op: DeltaOp
    arguments: list[str] | None  # where a tool call's argument text is gathered
    is_id: bool = False


def event_of(text: str) -> bytes:
    """The event as providers write it."""
    return b"data: " + text.encode() + b"\n\n"


def matched(pattern: Pattern, data: bytes) -> BlockDelta | None:
    """The delta of a whole event that begins and ends as the pattern says; None if it is another."""
    start, stop, gap = len(pattern.head) - 1, 1 - len(pattern.tail), pattern.gap
    ext = None
    try:
        if gap:
            # Wherever it is found: if both sides of it are JSON strings, the frame is what the pattern says.
            middle = data.find(gap, start)
            ext = {DIALECT: {"once": {"obfuscation": _decode_string(data[middle + len(gap) - 1 : stop])}}}
            stop = middle + 1
        said = _decode_string(data[start:stop])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return delta_of(pattern, said, ext)


def delta_of(pattern: Pattern, said: str, ext: dict[str, Any] | None) -> BlockDelta | None:
    """The delta that says this; none says nothing."""
    if not said:
        return None
    if pattern.arguments is not None:
        pattern.arguments.append(said)
    return BlockDelta(
        message=pattern.message, choice=pattern.choice, block=pattern.block, op=pattern.op, text=said, ext=ext
    )


def around_padded(text: str, said: str, obfuscation: Any) -> tuple[str, str, str] | None:
    """The frame without its text and its obfuscation; None if it is not certain where they stand."""
    start, stop = only_place(text, said)
    if obfuscation is None or start < 0:
        return None if start < 0 else (text[:start], "", text[stop:])
    first, last = only_place(text, obfuscation) if isinstance(obfuscation, str) else (-1, -1)
    return None if first < stop else (text[:start], text[stop:first], text[last:])


def with_id(pattern: Pattern, data: bytes) -> tuple[str, str] | None:
    """The id and the text of such an event, where the pattern has both."""
    start, gap = len(pattern.head) - 1, pattern.gap
    middle = data.find(gap, start)
    try:
        frame_id = _decode_string(data[start : middle + 1])
        return frame_id, _decode_string(data[middle + len(gap) - 1 : 1 - len(pattern.tail)])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def around_id(text: str, frame_id: str, said: str) -> Around | None:
    """The frame without its id and its text; None if it is not certain where they stand."""
    start, stop = only_place(text, frame_id, "id")
    first, last = only_place(text, said)
    return (text[:start], text[stop:first], text[last:]) if 0 <= start < stop < first else None


def pattern_of(around: Around, delta: BlockDelta, arguments: list[str] | None, *, is_id: bool = False) -> Pattern:
    """The pattern of a delta's frame."""
    assert delta.block is not None
    before, gap, after = around
    return Pattern(
        f'data: {before}"'.encode(),
        f'"{gap}"'.encode() if gap else b"",
        f'"{after}\n\n'.encode(),
        delta.message,
        delta.choice,
        delta.block,
        delta.op,
        arguments,
        is_id,
    )
