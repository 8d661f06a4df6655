"""OpenAI Responses: the dialect, what it cannot carry, and how a sequence number is found again."""

from __future__ import annotations

from typing import Any

from patinox.formats.base import Format
from patinox.formats.losses import ONE_CALL, TELLS, Loss, Losses, block_is_not, reason_is_not_told
from patinox.formats.media import file_url
from patinox.formats.openai_responses.positions import Position, next_number, position_of
from patinox.formats.openai_responses.reader import OpenAIResponsesReader
from patinox.formats.openai_responses.shapes import write_annotations
from patinox.formats.openai_responses.state import ResponsesState
from patinox.formats.openai_responses.whole import assemble_response
from patinox.formats.openai_responses.writer import OpenAIResponsesWriter
from patinox.incremental.assembler import Assembly

__all__ = [
    "LOSSES",
    "OPENAI_RESPONSES",
    "OpenAIResponsesReader",
    "OpenAIResponsesWriter",
    "Position",
    "assemble_response",
    "next_number",
    "position_of",
]

_OWN_KINDS = ("server_tool_call", "image", "tool_result", "custom")


def _is_no_call(data: Any, _assembly: Assembly) -> bool:
    return not (data.name and data.call_id)


def _has_no_bytes(data: Any, assembly: Assembly) -> bool:
    block = assembly.block(data.message, data.block)
    return block is None or not (file_url(block)[0] or "").startswith("data:")


def _has_no_address(data: Any, _assembly: Assembly) -> bool:
    return not write_annotations(data.value)


_TELLS = TELLS | {
    "block.delta:annotation.add", "block.delta:logprobs.add", "block.delta:opaque.set", "block.start:code",
    "block.start:compaction", "block.start:custom", "block.start:image", "block.start:reasoning_opaque",
    "block.start:reasoning_summary", "block.start:refusal", "block.start:server_tool_call", "block.start:tool_result",
    "provider_id", "run.start:created_s", "tool.approval", "tool.result", "usage:cached_tokens",
    "usage:cache_write_tokens", "usage:reasoning_tokens", "usage:total_tokens",
}  # fmt: skip

LOSSES: Losses = {
    **ONE_CALL,
    "block.start:audio": Loss("audio is no output of this dialect"),
    "block.start:file": Loss("files are no output of this dialect"),
    "block.start:source": Loss("sources are told as annotations of a text only"),
    "block.start:compaction": Loss("compaction is opaque, and each provider's own"),
    "block.start:custom": Loss("carried if it is a tool call, with a name and a call id", _is_no_call),
    "block.start:tool_result": Loss("carried as the output of the server tool it belongs to, else not at all"),
    "block.start:image": Loss("carried if its bytes are known; an address alone is not", _has_no_bytes, is_late=True),
    "block.delta:opaque.append": Loss("a signature is told at the end of its reasoning, as encrypted_content"),
    "block.delta:opaque.set": Loss(
        "carried for reasoning only, as encrypted_content; read back as a block of its own",
        block_is_not("reasoning_opaque", *_OWN_KINDS),
    ),
    "block.delta:annotation.add": Loss("citations need an address or a file of this dialect", _has_no_address),
    "choice": Loss("a response has one choice: the first is told"),
    "message.end:finish_reason": Loss(
        "refusal is told as content_filter; pause, error and other as completed; tool_calls by the calls",
        reason_is_not_told("refusal", "pause", "error", "other"),
    ),
    "message.end:stop_sequence": Loss("the dialect has no stop sequences"),
    "message.end:provider_reason": ONE_CALL["message.end:provider_reason"],
    "run.start:provider": Loss("the dialect has one provider"),
}
"""What is lost, or told in other words, on the way into this dialect from another."""

OPENAI_RESPONSES: Format[ResponsesState] = Format(
    name="openai-responses",
    title="OpenAI Responses",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=OpenAIResponsesReader,
    writer=OpenAIResponsesWriter(),
    tells=_TELLS,
    losses=LOSSES,
)
