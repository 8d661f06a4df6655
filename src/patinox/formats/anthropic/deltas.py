"""Anthropic's ordinary deltas: a text, thinking or argument delta that says nothing unusual.

It is decoded straight into a struct; of one that is written as Anthropic does, and of the block that the last one was
of, only the string is read.
"""

from __future__ import annotations

import msgspec

from patinox.core.events import DeltaOp
from patinox.formats.anthropic.blocks import Block

DELTA = "content_block_delta"
_decode_string = msgspec.json.Decoder(str).decode


class _TextDelta(msgspec.Struct, tag_field="type", tag="text_delta", forbid_unknown_fields=True, gc=False):
    said: str = msgspec.field(name="text")


class _ThinkingDelta(msgspec.Struct, tag_field="type", tag="thinking_delta", forbid_unknown_fields=True, gc=False):
    said: str = msgspec.field(name="thinking")


class _InputDelta(msgspec.Struct, tag_field="type", tag="input_json_delta", forbid_unknown_fields=True, gc=False):
    said: str = msgspec.field(name="partial_json")


class Delta(msgspec.Struct, tag_field="type", tag="content_block_delta", forbid_unknown_fields=True):
    """The frame of an ordinary delta."""

    index: int
    delta: _TextDelta | _ThinkingDelta | _InputDelta


decode_delta = msgspec.json.Decoder(Delta).decode

PLAIN: dict[tuple[type, str], DeltaOp] = {
    (_TextDelta, "text"): "text.append",
    (_ThinkingDelta, "reasoning"): "text.append",
    (_InputDelta, "tool_call"): "json.append",
    (_InputDelta, "server_tool_call"): "json.append",
}
"""How a block of a kind grows by such a delta; no other goes with it."""

_KEYS: dict[type, tuple[str, str]] = {
    _TextDelta: ("text_delta", "text"),
    _ThinkingDelta: ("thinking_delta", "thinking"),
    _InputDelta: ("input_json_delta", "partial_json"),
}


class Last(msgspec.Struct, frozen=True):
    """The last ordinary delta: how the event of another one of its block begins, up to the quote before its text."""

    head: bytes
    block: Block
    op: DeltaOp


def last_of(frame: Delta, block: Block, op: DeltaOp) -> Last:
    """What the next delta of the block is recognised by."""
    kind, key = _KEYS[type(frame.delta)]
    body = f'{{"type":"{DELTA}","index":{frame.index},"delta":{{"type":"{kind}","{key}":"'
    return Last(f"event: {DELTA}\ndata: {body}".encode(), block, op)


def said_like(last: Last, data: bytes) -> str | None:
    """What a whole event says that begins like the last one; None where more than a string stands in it."""
    end = data.rfind(b'"') + 1
    if data[end:].translate(None, b" ") != b"}}\n\n":  # some are padded with spaces
        return None
    try:
        return _decode_string(data[len(last.head) - 1 : end])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
