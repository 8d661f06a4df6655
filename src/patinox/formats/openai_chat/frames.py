"""What the reader and the writer of OpenAI Chat Completions share: how a frame comes apart and together.

A frame is an *envelope* (id, model, …, the same in nearly every frame) around *choices*. The reader moves
what has a neutral meaning into events; what is left, with a hole `{"$": k}` where the k-th payload of the
frame stood (a payload is what a `block.delta` or a `usage` carries; `{"$": ["nested", k]}` for a citation as the
dialect nests it), is the frame's *shape*. Both sides
remember the envelope and the last shape of each block, so an ordinary delta is one event and nothing else.
Where a frame differs, the first of its events says how, under `ext["openai-chat"]`:

    set, unset   keys of the envelope that changed, for good
    choices      the shape of the choices; absent: the block's last shape
    once         keys of this frame alone
    event        the SSE event name of this frame

An `ext` with none of them marks events that had no frame of their own (what `[DONE]` ends).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from patinox.core.events import FinishReason, Usage
from patinox.formats.citations import nested

DIALECT = "openai-chat"

_SHAPES = 16  # how many blocks' shapes are remembered; reader and writer must forget alike

_NESTED = frozenset({dict, list})

REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
    "insufficient_system_resource": "error",
}
"""The providers' words for why a choice ended, and what they mean; any other word is `other`."""

WORDS: dict[str, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "error": "error",
}
"""The dialect's word for a neutral reason; those it has no word for are `stop`."""


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
        if len(shape) == 1 and type(hole := shape.get("$")) is int:
            return payloads[hole] if hole < len(payloads) else None
        if len(shape) == 1 and type(hole) is list and len(hole) == 2 and hole[0] == "nested":
            return nested(fill({"$": hole[1]}, payloads))
        return {key: fill(value, payloads) if type(value) in _NESTED else value for key, value in shape.items()}
    if type(shape) is list:
        return [fill(value, payloads) if type(value) in _NESTED else value for value in shape]
    return shape


def read_usage(raw: dict[str, Any], *, final: bool) -> Usage:
    """A `usage` object as an event; OpenAI API reference, "CompletionUsage"."""
    prompt = _object(raw.get("prompt_tokens_details"))
    completion = _object(raw.get("completion_tokens_details"))
    output, total = _count(raw.get("completion_tokens")), _count(raw.get("total_tokens"))
    thought = _count(completion.get("reasoning_tokens"))
    if thought and output is not None and total == (_count(raw.get("prompt_tokens")) or 0) + output + thought:
        output += thought  # xAI counts reasoning apart
    return Usage(
        mode="final" if final else "cumulative",
        input_tokens=_count(raw.get("prompt_tokens")),
        output_tokens=output,
        total_tokens=total,
        reasoning_tokens=thought,
        cached_tokens=_count(prompt.get("cached_tokens", raw.get("prompt_cache_hit_tokens"))),
        cache_write_tokens=_count(prompt.get("cache_write_tokens")),
        raw=raw,
    )


def write_usage(counts: dict[str, Any]) -> dict[str, Any]:
    """A `usage` object from neutral counts; what is unknown is left out, never zero."""
    raw = counts.get("raw")
    if isinstance(raw, dict) and "prompt_tokens" in raw:
        return raw
    known = {key: value for key, value in counts.items() if value is not None}
    if "total_tokens" not in known and "input_tokens" in known and "output_tokens" in known:
        known["total_tokens"] = known["input_tokens"] + known["output_tokens"]
    usage = _renamed(
        known, input_tokens="prompt_tokens", output_tokens="completion_tokens", total_tokens="total_tokens"
    )
    prompt = _renamed(known, cached_tokens="cached_tokens", cache_write_tokens="cache_write_tokens")
    completion = _renamed(known, reasoning_tokens="reasoning_tokens")
    if prompt:
        usage["prompt_tokens_details"] = prompt
    if completion:
        usage["completion_tokens_details"] = completion
    return usage


def _renamed(counts: dict[str, Any], **names: str) -> dict[str, Any]:
    return {theirs: counts[ours] for ours, theirs in names.items() if ours in counts}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
