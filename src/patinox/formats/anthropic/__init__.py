"""Anthropic Messages: the dialect, what it cannot carry, and the `message` that a call without streaming gets."""

from __future__ import annotations

from typing import Any

import msgspec

from patinox.formats.anthropic.frames import CALLS, RESULT, WORDS, citation, write_usage
from patinox.formats.anthropic.reader import AnthropicReader
from patinox.formats.anthropic.state import AnthropicState
from patinox.formats.anthropic.writer import AnthropicWriter
from patinox.formats.base import Format, StreamHead
from patinox.formats.citations import citations
from patinox.formats.losses import (
    ONE_CALL,
    TELLS,
    Loss,
    Losses,
    block_is_not,
    comes_late,
    either,
    reason_is,
    refuses_in_words,
    word_differs,
)
from patinox.incremental.assembler import AssembledBlock, AssembledMessage, Assembly

__all__ = ["ANTHROPIC", "LOSSES", "AnthropicReader", "AnthropicWriter", "assemble_message"]


def _is_lost(data: Any, _assembly: Assembly) -> bool:
    return citation(data.value) is None or len(citations(data.value)) > 1


_THINKING = block_is_not("reasoning", "reasoning_summary", "reasoning_opaque")


def _is_unsigned(data: Any, assembly: Assembly) -> bool:
    return _THINKING(data, assembly) or comes_late(data, assembly)


_TELLS = TELLS | {
    "block.delta:annotation.add", "block.delta:opaque.set", "block.start:compaction", "block.start:custom",
    "block.start:reasoning_opaque", "block.start:server_tool_call", "block.start:tool_result", "message.end:details",
    "message.end:stop_sequence", "provider_id", "tool.error", "tool.error:details", "tool.result",
    "usage:cached_tokens", "usage:cache_write_tokens", "usage:reasoning_tokens",
}  # fmt: skip

LOSSES: Losses = {
    **ONE_CALL,
    "block.start:audio": Loss("the dialect has no audio output"),
    "block.start:image": Loss("the dialect has no image output"),
    "block.start:file": Loss("the dialect has no file output outside tool results"),
    "block.start:source": Loss("sources are citations of a text"),
    "block.start:code": Loss("code is in the arguments of a server tool"),
    "block.start:custom": Loss("a custom tool's call becomes an ordinary one, its text under `input`"),
    "block.start:tool_result": Loss("results have a type of their own for each of the provider's tools"),
    "block.start:refusal": Loss("a refusal is a text, and told by the stop reason"),
    "block.start:reasoning_summary": Loss("a summary is told as thinking"),
    "block.delta:opaque.append": Loss("a signature comes in one piece"),
    "block.delta:opaque.set": Loss("only thinking has a signature, and before it ends", _is_unsigned),
    "block.delta:annotation.add": Loss("citations without an address; of several in one, the first stands", _is_lost),
    "block.delta:logprobs.add": Loss("the dialect has no log probabilities"),
    "choice": Loss("the dialect has one answer; of several it is the first"),
    "message.end:finish_reason": Loss(
        "content_filter is told as refusal, and so is a stop after a refusal in words; error and other as end_turn",
        either(reason_is("content_filter", "error", "other"), refuses_in_words),
    ),
    "message.end:provider_reason": ONE_CALL["message.end:provider_reason"]._replace(when=word_differs(WORDS)),
    "run.start:provider": Loss("the dialect has one provider"),
    "run.start:created_s": Loss("the dialect does not say when a message was made"),
    "usage:total_tokens": Loss("the dialect counts input and output apart"),
}
"""What is lost, or told in other words, on the way into this dialect from another."""

ANTHROPIC: Format[AnthropicState] = Format(
    name="anthropic",
    title="Anthropic Messages",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=AnthropicReader,
    writer=AnthropicWriter(),
    tells=_TELLS,
    losses=LOSSES,
    heartbeat=b'event: ping\ndata: {"type":"ping"}\n\n',
)


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
    ends = [number for number, message in assembly.messages.items() if number not in numbers and not message.choice]
    return {
        "id": f"msg_{head.id}",
        "type": "message",
        "role": "assistant",
        "model": model if isinstance(model, str) and model else "patinox",
        "content": content,
        **_stop(ends[-1] if ends else None, assembly),
        "usage": _usage(assembly),
    }


def _usage(assembly: Assembly) -> dict[str, Any]:
    counts = assembly.usage or {}
    raw = counts.get("raw")
    ours = {"input_tokens": 0, **write_usage(counts)}
    return {**raw, **ours} if isinstance(raw, dict) and "input_tokens" in raw else ours


def _stop(number: int | None, assembly: Assembly) -> dict[str, Any]:
    message = None if number is None else assembly.messages[number]
    sequence = None if message is None else message.stop_sequence
    return {"stop_reason": _reason(number, message, assembly), "stop_sequence": sequence}


def _reason(number: int | None, message: AssembledMessage | None, assembly: Assembly) -> str:
    if number is None or message is None or message.finish_reason is None:
        return "end_turn"
    if message.stop_sequence is not None:
        return "stop_sequence"
    if message.finish_reason == "stop" and assembly.is_refused(number):
        return "refusal"
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
        except (msgspec.DecodeError, RecursionError):
            arguments = {}
    return {
        "type": "tool_use" if block.kind == "tool_call" else "server_tool_use",
        "id": block.call_id or f"toolu_{head.id}_{place}",
        "name": block.name or "",
        "input": arguments,
    }
