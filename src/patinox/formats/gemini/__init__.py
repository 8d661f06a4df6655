"""Gemini: the dialect, what it cannot carry, and the response that a call without streaming gets."""

from __future__ import annotations

from typing import Any

from patinox.formats.base import Format
from patinox.formats.citations import citations
from patinox.formats.gemini.extras import TEXTS, THOUGHTS, is_base64
from patinox.formats.gemini.frames import WORDS, read_usage, write_usage
from patinox.formats.gemini.reader import GeminiReader
from patinox.formats.gemini.state import GeminiState
from patinox.formats.gemini.writer import GeminiWriter
from patinox.formats.losses import (
    ONE_CALL,
    TELLS,
    Loss,
    Losses,
    block_is,
    either,
    has_broken_calls,
    has_no_object,
    output_differs,
    reason_is_not_told,
    refuses_in_words,
    word_differs,
)
from patinox.incremental.assembler import Assembly

__all__ = ["GEMINI", "LOSSES", "GeminiReader", "GeminiWriter"]


def _is_lost(data: Any, _assembly: Assembly) -> bool:
    return not citations(data.value)


def _is_unsigned(data: Any, assembly: Assembly) -> bool:
    signed = block_is(*TEXTS, *THOUGHTS, "tool_call", "image", "file")
    return not signed(data, assembly) or not (isinstance(data.value, dict) or is_base64(data.value))


_TELLS = TELLS | {
    "block.delta:annotation.add", "block.delta:logprobs.add", "block.delta:opaque.set", "block.start:audio",
    "block.start:code", "block.start:custom", "block.start:file", "block.start:image", "block.start:server_tool_call",
    "block.start:tool_result", "choice", "message.end:details", "provider_id", "run.start:created_s", "tool.error",
    "tool.error:details", "tool.result", "usage:cached_tokens", "usage:reasoning_tokens", "usage:total_tokens",
}  # fmt: skip

LOSSES: Losses = {
    **ONE_CALL,
    "binary": Loss("bytes have a media type in this dialect"),
    "block.start:tool_call": Loss("a call is told whole, with an object of arguments", has_no_object, is_late=True),
    "block.start:server_tool_call": Loss("the provider's own tools are a closed list"),
    "block.start:tool_result": Loss("the provider's own tools are a closed list"),
    "block.start:source": Loss("sources are grounding metadata of a text"),
    "block.start:compaction": Loss("the dialect has no word for it"),
    "block.start:custom": Loss("a custom tool's call becomes an ordinary one, its text under `input`"),
    "block.start:refusal": Loss("a refusal is a text, and told by the finish reason"),
    "block.start:reasoning_summary": Loss("a summary is told as a thought"),
    "block.start:reasoning_opaque": Loss("what is opaque is told as the signature of an empty thought"),
    "block.start:image": Loss("bytes need a media type; an address is told as a file's"),
    "block.start:audio": Loss("bytes need a media type"),
    "block.start:file": Loss("bytes need a media type"),
    "block.delta:json.append": Loss("a call is told whole: its arguments are the same, their spaces are not"),
    "block.delta:opaque.append": Loss("a signature comes in one piece"),
    "block.delta:opaque.set": Loss("signatures that are not base64, and what is opaque in other blocks", _is_unsigned),
    "block.delta:annotation.add": Loss("citations without an address; of others the address and title", _is_lost),
    "block.delta:logprobs.add": Loss("the dialect's log probabilities have another structure"),
    "end:complete": Loss("arguments that are no object end it as MALFORMED_FUNCTION_CALL", has_broken_calls),
    "run.start:provider": Loss("the dialect has one provider"),
    "run.start:created_s": Loss("only Vertex AI says when a response was made"),
    "usage:output_tokens": Loss(
        "output that leaves the thoughts out is read as the sum of both",
        output_differs(lambda counts: read_usage(write_usage(counts), final=True)),
        is_late=True,
    ),
    "usage:cache_write_tokens": Loss("the dialect does not count what was written to a cache"),
    "message.end:stop_sequence": Loss("the dialect does not say which stop sequence it was"),
    "message.end:finish_reason": Loss(
        "pause is told as STOP, refusal (in words too) as SAFETY, error as OTHER; tool_calls by the calls",
        either(reason_is_not_told("pause", "refusal", "error"), refuses_in_words),
    ),
    "message.end:provider_reason": ONE_CALL["message.end:provider_reason"]._replace(when=word_differs(WORDS)),
}
"""What is lost, or told in other words, on the way into this dialect from another."""

GEMINI: Format[GeminiState] = Format(
    name="gemini",
    title="Gemini (streamGenerateContent?alt=sse)",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=GeminiReader,
    writer=GeminiWriter(),
    tells=_TELLS,
    losses=LOSSES,
    heartbeat=b"\n",
)
