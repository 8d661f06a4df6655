"""What the reader and the writer of Gemini share: how a frame comes apart and together.

A frame is a whole `GenerateContentResponse`: an *envelope* (model, id, …, the same in nearly every frame), the
`candidates`, and `usageMetadata`, which is told again in every frame. The reader moves what has a neutral meaning
into events; what is left of the candidates, with a hole `{"$": k}` where the k-th payload of the frame stood (a
payload is what a `block.delta` or a tool's result carries), is the frame's *shape*. Both sides remember the envelope,
the last usage and the last shape of each block, so an ordinary delta is one event for its text and one for its usage.
Where a frame differs, the first of its events says how, under `ext["gemini"]`:

    set, unset   keys of the envelope that changed, for good
    candidates   the shape of the candidates, null where the frame has none; absent: the block's last shape
    event        the SSE event name of this frame
    raw          the event is a frame that was not JSON

An `ext` with none of them marks an event that had no frame of its own. A hole with `json` is text to be parsed; with
`at: [start, stop]` a part of an argument text, JSON again, with `string` the inside of a JSON string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from patinox.core.events import FinishReason, Usage

DIALECT = "gemini"

_decode = msgspec.json.Decoder().decode

_SHAPES = 16  # how many blocks' shapes are remembered; reader and writer must forget alike

USAGE = "usageMetadata"
USED = {"$": "usage"}
"""Stands in the envelope where the frames have a usage."""

_NESTED = frozenset({dict, list})

REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "ESCALATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "MALFORMED_RESPONSE": "error",
}
"""The dialect's words for why a candidate ended (`FinishReason`); any other is `other`."""

WORDS: dict[str, str] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "pause": "STOP",
    "error": "OTHER",
    "other": "OTHER",
}
"""The dialect's word for a neutral reason."""

STATUSES: dict[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""The name that goes with an HTTP status (google.rpc.Code)."""


def shape_key(message: int, block: int | None, op: str) -> str:
    """Under which a block's last shape is remembered."""
    return f"{message}.{block}.{op}"


def remember(shapes: dict[str, Any], key: str, shape: Any) -> None:
    """Keeps the shape, and forgets the oldest beyond the bound."""
    if key not in shapes and len(shapes) >= _SHAPES:
        del shapes[next(iter(shapes))]
    shapes[key] = shape


def fill(shape: Any, payloads: Sequence[Any]) -> Any:
    """The shape with its holes filled; null where a payload was taken out on the way."""
    if type(shape) is dict:
        if type(hole := shape.get("$")) is int:
            return _part(shape, payloads[hole] if hole < len(payloads) else None)
        return {key: fill(value, payloads) if type(value) in _NESTED else value for key, value in shape.items()}
    if type(shape) is list:
        return [fill(value, payloads) if type(value) in _NESTED else value for value in shape]
    return shape


def _part(hole: dict[str, Any], payload: Any) -> Any:
    """The payload, or what the hole says of it; what no longer fits, since the text was changed, is null."""
    at = hole.get("at")
    if not isinstance(payload, str) or (at is None and not hole.get("json")):
        return payload
    text = payload[at[0] : at[1]] if isinstance(at, list) and len(at) == 2 else payload
    try:
        return _decode(f'"{text}"' if hole.get("string") else text)
    except (msgspec.DecodeError, RecursionError):
        return "" if hole.get("string") else None


def read_usage(raw: dict[str, Any], *, final: bool) -> Usage:
    """A `usageMetadata` as an event. The dialect counts thoughts and tools' prompts apart; the neutral counts don't.

    Where the total is the prompt's and the candidates' tokens alone, those have the thoughts in them.
    """
    get = raw.get
    thoughts, said = _count(get("thoughtsTokenCount")), _count(get("candidatesTokenCount"))
    prompt = _sum(_count(get("promptTokenCount")), _count(get("toolUsePromptTokenCount")))
    total = _count(get("totalTokenCount"))
    is_whole = said is not None and total == (prompt or 0) + said
    return Usage(
        mode="final" if final else "cumulative",
        input_tokens=prompt,
        output_tokens=said if is_whole else _sum(said, thoughts),
        total_tokens=total,
        reasoning_tokens=thoughts,
        cached_tokens=_count(get("cachedContentTokenCount")),
        raw=raw,
    )


def write_usage(counts: Mapping[str, Any]) -> dict[str, Any]:
    """A `usageMetadata` from neutral counts; what is unknown is left out, never zero."""
    prompt, output, thoughts = (counts.get(key) for key in ("input_tokens", "output_tokens", "reasoning_tokens"))
    total = counts.get("total_tokens")
    if total is None and prompt is not None and output is not None:
        total = prompt + output
    apart = output is not None and thoughts is not None and _counted_apart(prompt, output, thoughts, total)
    usage = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": output if output is None or apart else output - (thoughts or 0),
        "totalTokenCount": total,
        "thoughtsTokenCount": thoughts,
        "cachedContentTokenCount": counts.get("cached_tokens"),
    }
    return {key: value for key, value in usage.items() if value is not None}


def _counted_apart(prompt: int | None, output: int, thoughts: int, total: int | None) -> bool:
    """Some sources don't count thoughts as output: they are more than it, or the total says so."""
    return thoughts > output or (thoughts > 0 and total == (prompt or 0) + output + thoughts)


def _sum(first: int | None, second: int | None) -> int | None:
    if second is None:
        return first
    return second if first is None else first + second


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
