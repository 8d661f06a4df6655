"""The dialect as data: its deltas and what finishes them, its items, its words (API reference, "Streaming events")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from patinox.core.chunks import Error
from patinox.core.events import BlockKind, DeltaOp, FinishReason, Usage


class Growing(NamedTuple):
    """A kind of text that grows by deltas: where in its item it stands, its block, and what its frames are called.

    `area` is the item's list of parts (`content`, `summary`), numbered by the frame's field `number`, or `item` for the
    item's own text; `key` is where the whole text stands in the frame that finishes it.
    """

    area: str
    number: str
    of: BlockKind
    op: DeltaOp
    key: str
    delta: str
    done: str


GROWING = (
    Growing("content", "content_index", "text", "text.append", "text",
            "response.output_text.delta", "response.output_text.done"),
    Growing("content", "content_index", "refusal", "text.append", "refusal",
            "response.refusal.delta", "response.refusal.done"),
    Growing("content", "content_index", "reasoning", "text.append", "text",
            "response.reasoning_text.delta", "response.reasoning_text.done"),
    Growing("summary", "summary_index", "reasoning_summary", "text.append", "text",
            "response.reasoning_summary_text.delta", "response.reasoning_summary_text.done"),
    Growing("item", "", "tool_call", "json.append", "arguments",
            "response.function_call_arguments.delta", "response.function_call_arguments.done"),
    Growing("item", "", "custom", "text.append", "input",
            "response.custom_tool_call_input.delta", "response.custom_tool_call_input.done"),
    Growing("item", "", "server_tool_call", "json.append", "arguments",
            "response.mcp_call_arguments.delta", "response.mcp_call_arguments.done"),
    Growing("item", "", "code", "text.append", "code",
            "response.code_interpreter_call_code.delta", "response.code_interpreter_call_code.done"),
)  # fmt: skip
DELTAS: Mapping[str, Growing] = {growing.delta: growing for growing in GROWING}
DONES: Mapping[str, Growing] = {growing.done: growing for growing in GROWING}
BY_BLOCK: Mapping[str, Growing] = {growing.of: growing for growing in GROWING}

PARTS: Mapping[str, tuple[BlockKind, str]] = {
    "output_text": ("text", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("reasoning", "text"),
    "summary_text": ("reasoning_summary", "text"),
}
"""The types of parts: their block, and the key of their text."""

ITEM_TEXTS: Mapping[str, tuple[str, DeltaOp]] = {
    "function_call": ("arguments", "json.append"),
    "custom_tool_call": ("input", "text.append"),
    "mcp_call": ("arguments", "json.append"),
    "mcp_approval_request": ("arguments", "json.append"),
    "code_interpreter_call": ("code", "text.append"),
}
"""The types of items that are one text: its key, and how it grows."""

_ITEM_BLOCKS: Mapping[str, BlockKind] = {
    "function_call": "tool_call",
    "custom_tool_call": "custom",
    "code_interpreter_call": "code",
    "image_generation_call": "image",
    "compaction": "compaction",
    "mcp_approval_request": "server_tool_call",
}

REASONS: Mapping[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
"""Why a response is incomplete, and what that means; any other word is `other`."""

ERROR_CODES = frozenset({
    "server_error", "rate_limit_exceeded", "invalid_prompt", "data_residency_mismatch", "bio_policy",
    "misalignment_policy_violation", "vector_store_timeout", "invalid_image", "invalid_image_format",
    "invalid_base64_image", "invalid_image_url", "image_too_large", "image_too_small", "image_parse_error",
    "image_content_policy_violation", "invalid_image_mode", "image_file_too_large",
    "unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "image_file_not_found",
})  # fmt: skip
"""The codes that the error of a response object may have; an `error` event may have any."""

RETRYABLE = frozenset({"server_error", "rate_limit_exceeded", "vector_store_timeout"})


def item_block(type_: str) -> BlockKind:
    """The block that an item is; an item we do not know is `custom`."""
    known = _ITEM_BLOCKS.get(type_)
    if known is not None:
        return known
    if type_.endswith("_call"):
        return "server_tool_call"
    return "tool_result" if type_.endswith("_output") else "custom"


def item_name(item: Mapping[str, Any]) -> str:
    """What a call is a call of: its own name, else its type's."""
    name = item.get("name")
    return name if isinstance(name, str) and name else str(item.get("type")).removesuffix("_call")


def read_error(body: Any) -> Error:
    """An error object, or whatever stands in its place; all of it is kept."""
    fields = body if isinstance(body, dict) else {}
    code, message = fields.get("code") or fields.get("type"), fields.get("message")
    if not isinstance(message, str) or not message:
        message = body if isinstance(body, str) and body else "the provider reported an error and did not say which"
    known = code if isinstance(code, str | int) and code != "error" else "upstream_error"
    return Error(code=str(known), message=message, retryable=known in RETRYABLE or None, provider=body)


def read_usage(raw: dict[str, Any]) -> Usage:
    """A `usage` object as an event; it covers the whole response."""
    inputs, outputs = _object(raw.get("input_tokens_details")), _object(raw.get("output_tokens_details"))
    return Usage(
        mode="final",
        input_tokens=_count(raw.get("input_tokens")),
        output_tokens=_count(raw.get("output_tokens")),
        total_tokens=_count(raw.get("total_tokens")),
        reasoning_tokens=_count(outputs.get("reasoning_tokens")),
        cached_tokens=_count(inputs.get("cached_tokens")),
        cache_write_tokens=_count(inputs.get("cache_write_tokens")),
        raw=raw,
    )


def write_usage(counts: Mapping[str, Any]) -> dict[str, Any] | None:
    """A `usage` object from neutral counts; None if neither side is known.

    The dialect requires the details: those that are unknown are written as 0 (see `LOSSES`).
    """
    raw = counts.get("raw")
    if isinstance(raw, dict) and "input_tokens" in raw and "input_tokens_details" in raw:
        return raw
    known = {key: counts[key] for key in ("input_tokens", "output_tokens") if counts.get(key) is not None}
    total = counts.get("total_tokens")
    if not known and total is None:
        return None
    return {
        **known,
        "input_tokens_details": {
            "cached_tokens": counts.get("cached_tokens") or 0,
            "cache_write_tokens": counts.get("cache_write_tokens") or 0,
        },
        "output_tokens_details": {"reasoning_tokens": counts.get("reasoning_tokens") or 0},
        "total_tokens": sum(known.values()) if total is None else total,
    }


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
