"""Gemini: the dialect, what it cannot carry, and the response that a call without streaming gets."""

from __future__ import annotations

from collections.abc import Mapping

from patinox.formats.base import Format
from patinox.formats.gemini_reader import GeminiReader
from patinox.formats.gemini_state import GeminiState
from patinox.formats.gemini_writer import GeminiWriter

__all__ = ["GEMINI", "LOSSES", "GeminiReader", "GeminiWriter"]

GEMINI: Format[GeminiState] = Format(
    name="gemini",
    title="Gemini (streamGenerateContent?alt=sse)",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=GeminiReader,
    writer=GeminiWriter(),
    heartbeat=b"\n",
)

LOSSES: Mapping[str, str] = {
    "json": "the dialect has no frames for an application's own data",
    "binary": "bytes have a media type in this dialect",
    "step.start": "the dialect tells one model call",
    "step.end": "the dialect tells one model call",
    "state.snapshot": "the dialect has no application state",
    "state.patch": "the dialect has no application state",
    "metadata": "the dialect has no place for an application's metadata",
    "verdict": "the dialect has no word for what a validator found",
    "retract": "the dialect cannot take text back",
    "tool.result": "an answer of the model holds no results of a client's tools",
    "tool.error": "an answer of the model holds no results of a client's tools",
    "tool.approval": "the dialect does not ask for approval",
    "native": "a frame of another dialect",
    "block.start:server_tool_call": "the provider's own tools are a closed list",
    "block.start:tool_result": "the provider's own tools are a closed list",
    "block.start:source": "sources are grounding metadata of a text",
    "block.start:compaction": "the dialect has no word for it",
    "block.start:custom": "a part of a kind the dialect does not know",
    "block.start:refusal": "a refusal is a text, and told by the finish reason",
    "block.start:reasoning_summary": "a summary is told as a thought",
    "block.delta:json.append": "a call is told whole, when it is ready",
    "block.delta:json.patch": "a call is told whole, when it is ready",
    "block.delta:opaque.append": "a signature comes in one piece",
    "block.delta:opaque.set": "signatures that are not base64, and what is opaque in other kinds of blocks",
    "block.delta:bytes.append": "bytes without a media type",
    "block.delta:annotation.add": "citations of another provider without an address",
    "block.delta:logprobs.add": "the dialect's log probabilities have another structure",
    "block.delta:replace": "the dialect cannot take text back",
    "run": "one response is one run",
    "step": "the dialect tells one model call",
    "created_s": "only Vertex AI says when a response was made",
    "cache_write_tokens": "the dialect does not count what was written to a cache",
    "stop_sequence": "the dialect does not say which stop sequence it was",
    "finish_reason": "tool_calls and pause are told as STOP, refusal as SAFETY, error as OTHER",
}
"""What is lost, or told in other words, on the way into this dialect from another: event kind,
`block.start:<kind>`, `block.delta:<op>` or field → why."""
