"""What the reader and the writer of Anthropic Messages share: the words of the dialect, and how a frame is kept.

Most frames say nothing that their events don't: a text delta is one event and nothing else, and the writer makes
the same frame from it. Where a frame says more, the first of its events says how, under `ext["anthropic"]`:

    frame   the frame, with a hole `{"$": k}` where the k-th payload of its events stood (a payload is what a
            `block.delta`, a tool's result or a `usage` carries; with `"json": true` it is text to be parsed)
    event   the SSE event name, where it is not the frame's type
    raw     the event is a frame that was not JSON

An `ext` without `frame` marks an event that had no frame of its own; with `index`, the wire's number of its block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from patinox.core.events import BlockKind, FinishReason, Usage
from patinox.formats.citations import URL_CITATION, citations

DIALECT = "anthropic"

_decode = msgspec.json.Decoder().decode

_NESTED = frozenset({dict, list})

REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "refusal",
}
"""The dialect's words for why a message ended; any other is `other`."""

WORDS: dict[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
}
"""The dialect's word for a neutral reason; those it has no word for are `end_turn`."""

KINDS: dict[str, BlockKind] = {
    "text": "text",
    "thinking": "reasoning",
    "redacted_thinking": "reasoning_opaque",
    "tool_use": "tool_call",
    "server_tool_use": "server_tool_call",
    "mcp_tool_use": "server_tool_call",
    "compaction": "compaction",
}
"""Content block types and what they are; `…_tool_result` is a tool's result, any other is `custom`."""

RESULT = "_tool_result"

CALLS = frozenset({"tool_call", "server_tool_call"})

DELTAS: dict[tuple[str, str], tuple[str, str]] = {
    ("text", "text.append"): ("text_delta", "text"),
    ("refusal", "text.append"): ("text_delta", "text"),
    ("reasoning", "text.append"): ("thinking_delta", "thinking"),
    ("reasoning_summary", "text.append"): ("thinking_delta", "thinking"),
    ("tool_call", "json.append"): ("input_json_delta", "partial_json"),
    ("server_tool_call", "json.append"): ("input_json_delta", "partial_json"),
    ("text", "annotation.add"): ("citations_delta", "citation"),
    ("reasoning", "opaque.set"): ("signature_delta", "signature"),
    ("reasoning_summary", "opaque.set"): ("signature_delta", "signature"),
    ("compaction", "text.append"): ("compaction_delta", "content"),
}
"""How a block of a kind grows: the delta's type, and the key its payload stands under."""

STATUSES: dict[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The HTTP status that goes with each type of error (API reference, "Errors")."""

_WEB = "web_search_result_location"
_CITATIONS = frozenset({"char_location", "page_location", "content_block_location", "search_result_location", _WEB})


def head(of: str, name: str | None, call_id: str | None) -> dict[str, Any] | None:
    """The content block that begins a block of this kind, still empty; None for kinds that can't begin empty."""
    match of:
        case "text" | "refusal":
            return {"type": "text", "text": ""}
        case "reasoning" | "reasoning_summary":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "tool_call":
            return {"type": "tool_use", "id": call_id, "name": name, "input": {}}
        case "server_tool_call":
            return {"type": "server_tool_use", "id": call_id, "name": name, "input": {}}
        case "compaction":
            return {"type": "compaction", "content": None}
    return None


def fill(shape: Any, payloads: Sequence[Any]) -> Any:
    """The shape with its holes filled; null where a payload was taken out on the way."""
    if type(shape) is dict:
        if type(hole := shape.get("$")) is int and shape.keys() <= {"$", "json"}:
            payload = payloads[hole] if hole < len(payloads) else None
            return _parsed(payload) if shape.get("json") else payload
        return {key: fill(value, payloads) if type(value) in _NESTED else value for key, value in shape.items()}
    if type(shape) is list:
        return [fill(value, payloads) if type(value) in _NESTED else value for value in shape]
    return shape


def _parsed(payload: Any) -> Any:
    try:
        return _decode(payload) if isinstance(payload, str) else payload
    except (msgspec.DecodeError, RecursionError):
        return None


def citation(value: Any) -> dict[str, Any] | None:
    """A citation as the dialect has it: its own as they are, one of a web page from its address; else None."""
    if isinstance(value, dict) and value.get("type") in _CITATIONS:
        return value
    found = citations(value)
    if not found:
        return None
    page = found[0]
    own = {"title": page.get("title"), "cited_text": page.get("cited_text") or "", "encrypted_index": ""}
    known = {key: each for key, each in page.items() if key not in ("start_index", "end_index", "content")}
    return {**own, **known, "type": _WEB} if "encrypted_index" not in page else {**page, "type": _WEB}


def neutral_citation(value: Any) -> Any:
    """A citation in the neutral form, where `citation` makes the same of it again; others as they are."""
    if not isinstance(value, dict) or value.get("type") != _WEB:
        return value
    if "encrypted_index" not in value or not isinstance(value.get("url"), str):
        return value
    return {**value, "type": URL_CITATION}


def read_usage(raw: dict[str, Any], *, final: bool) -> Usage:
    """A `usage` object as an event. The dialect counts cached input apart; the neutral count includes it."""
    cached, written = _count(raw.get("cache_read_input_tokens")), _count(raw.get("cache_creation_input_tokens"))
    fresh = _count(raw.get("input_tokens"))
    details = raw.get("output_tokens_details")
    return Usage(
        mode="final" if final else "cumulative",
        input_tokens=None if fresh is None else fresh + (cached or 0) + (written or 0),
        output_tokens=_count(raw.get("output_tokens")),
        reasoning_tokens=_count(details.get("thinking_tokens")) if isinstance(details, dict) else None,
        cached_tokens=cached,
        cache_write_tokens=written,
        raw=raw,
    )


def write_usage(counts: Mapping[str, Any]) -> dict[str, Any]:
    """A `usage` object from neutral counts. `output_tokens` is required by the dialect: 0 where it is unknown."""
    usage: dict[str, Any] = {}
    cached, written = counts.get("cached_tokens"), counts.get("cache_write_tokens")
    if (total := counts.get("input_tokens")) is not None:
        usage["input_tokens"] = max(total - (cached or 0) - (written or 0), 0)
    if written is not None:
        usage["cache_creation_input_tokens"] = written
    if cached is not None:
        usage["cache_read_input_tokens"] = cached
    usage["output_tokens"] = counts.get("output_tokens") or 0
    if counts.get("reasoning_tokens") is not None:
        usage["output_tokens_details"] = {"thinking_tokens": counts["reasoning_tokens"]}
    return usage


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
