"""Anthropic Messages: the dialect, what it cannot carry, and the `message` that a call without streaming gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from patinox.formats.anthropic_frames import CALLS, RESULT, WORDS, citation, write_usage
from patinox.formats.anthropic_reader import AnthropicReader
from patinox.formats.anthropic_state import MessageState
from patinox.formats.anthropic_writer import AnthropicWriter
from patinox.formats.base import Format, StreamHead
from patinox.incremental.assembler import AssembledBlock, AssembledMessage, Assembly

__all__ = ["ANTHROPIC", "LOSSES", "AnthropicReader", "AnthropicWriter", "assemble_message"]

ANTHROPIC: Format[MessageState] = Format(
    name="anthropic",
    title="Anthropic Messages",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=AnthropicReader,
    writer=AnthropicWriter(),
    heartbeat=b'event: ping\ndata: {"type":"ping"}\n\n',
)

LOSSES: Mapping[str, str] = {
    "json": "the dialect has no frames for an application's own data",
    "binary": "the dialect has no frames for bytes",
    "step.start": "the dialect tells one model call",
    "step.end": "the dialect tells one model call",
    "state.snapshot": "the dialect has no application state",
    "state.patch": "the dialect has no application state",
    "metadata": "the dialect has no place for an application's metadata",
    "verdict": "the dialect has no word for what a validator found",
    "retract": "the dialect cannot take text back",
    "tool.result": "a message of the assistant holds no results of a client's tools",
    "tool.error": "a message of the assistant holds no results of a client's tools",
    "tool.approval": "the dialect does not ask for approval",
    "native": "a frame of another dialect",
    "block.start:audio": "the dialect has no audio output",
    "block.start:image": "the dialect has no image output",
    "block.start:file": "the dialect has no file output outside tool results",
    "block.start:source": "sources are citations of a text",
    "block.start:code": "code is in the arguments of a server tool",
    "block.start:custom": "a block of a kind the dialect does not know",
    "block.start:tool_result": "results have a type of their own for each of the provider's tools",
    "block.start:refusal": "a refusal is a text, and told by the stop reason",
    "block.start:reasoning_summary": "a summary is told as thinking",
    "block.delta:json.patch": "arguments that come as patches are told when they are whole",
    "block.delta:bytes.append": "the dialect has no frames for bytes",
    "block.delta:opaque.append": "a signature comes in one piece",
    "block.delta:annotation.add": "citations of another provider without an address",
    "block.delta:logprobs.add": "the dialect has no log probabilities",
    "block.delta:replace": "the dialect cannot take text back",
    "choice": "the dialect has one answer; of several it is the first",
    "run": "one message is one run",
    "step": "the dialect tells one model call",
    "created_s": "the dialect does not say when a message was made",
    "total_tokens": "the dialect counts input and output apart",
    "finish_reason": "content_filter is told as refusal; error and other as end_turn",
}
"""What is lost, or told in other words, on the way into this dialect from another: event kind,
`block.start:<kind>`, `block.delta:<op>` or field → why."""


def assemble_message(assembly: Assembly, head: StreamHead) -> dict[str, Any]:
    """The whole answer as a `message` object (API reference, "Create a Message", response).

    JSON-ready through msgspec. For an answer that ended `complete` or `incomplete`; the caller answers a failed one
    with its error. Several messages, as an agent's run has them, are said in one.
    """
    numbers = {number for number, message in assembly.messages.items() if message.role != "assistant"}
    blocks = [block for block in assembly.blocks.values() if block.message not in numbers and not block.choice]
    content = [item for place, block in enumerate(blocks) if (item := _content(block, place, head)) is not None]
    if not any(block.kind == "text" for block in blocks) and (text := assembly.content):
        content.append({"type": "text", "text": text})
    model = assembly.model or head.metadata.get("model")
    ends = [message for number, message in assembly.messages.items() if number not in numbers and not message.choice]
    return {
        "id": f"msg_{head.id}",
        "type": "message",
        "role": "assistant",
        "model": model if isinstance(model, str) and model else "patinox",
        "content": content,
        "stop_reason": _reason(ends[-1] if ends else None),
        "stop_sequence": None,
        "usage": _usage(assembly),
    }


def _usage(assembly: Assembly) -> dict[str, Any]:
    counts = assembly.usage or {}
    raw = counts.get("raw")
    ours = {"input_tokens": 0, **write_usage(counts)}
    return {**raw, **ours} if isinstance(raw, dict) and "input_tokens" in raw else ours


def _reason(message: AssembledMessage | None) -> str:
    if message is None or message.finish_reason is None:
        return "end_turn"
    if message.provider_reason in ("stop_sequence", *WORDS.values()):
        return message.provider_reason
    return WORDS.get(message.finish_reason, "end_turn")


def _content(block: AssembledBlock, place: int, head: StreamHead) -> dict[str, Any] | None:
    match block.kind:
        case "text" | "refusal":
            citations = [item for value in block.annotations if (item := citation(value)) is not None]
            return {"type": "text", "text": block.text} | ({"citations": citations} if citations else {})
        case "reasoning" | "reasoning_summary":
            signature = block.value if isinstance(block.value, str) else ""
            return {"type": "thinking", "thinking": block.text, "signature": signature}
        case "reasoning_opaque":
            return {"type": "redacted_thinking", "data": block.value}
        case "compaction":
            return {"type": "compaction", "content": block.text or None}
        case "tool_result" if block.value is not None:
            return {"type": f"{block.name}{RESULT}", "tool_use_id": block.call_id, "content": block.value}
    return _call(block, place, head) if block.kind in CALLS else None


def _call(block: AssembledBlock, place: int, head: StreamHead) -> dict[str, Any]:
    arguments = block.arguments
    if arguments is None:
        try:
            arguments = msgspec.json.decode(block.text or "{}")
        except msgspec.DecodeError:
            arguments = {}
    return {
        "type": "tool_use" if block.kind == "tool_call" else "server_tool_use",
        "id": block.call_id or f"toolu_{head.id}_{place}",
        "name": block.name or "",
        "input": arguments,
    }
