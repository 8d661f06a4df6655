"""OpenAI Chat Completions: the dialect, and the `chat.completion` object that a call without streaming gets."""

from __future__ import annotations

from typing import Any

import msgspec

from patinox.formats.base import Format, StreamHead
from patinox.formats.citations import citations, nested
from patinox.formats.openai_chat_frames import WORDS, write_usage
from patinox.formats.openai_chat_reader import OpenAIChatReader
from patinox.formats.openai_chat_state import ChatState
from patinox.formats.openai_chat_writer import OpenAIChatWriter
from patinox.incremental.assembler import AssembledBlock, AssembledMessage, Assembly

__all__ = ["OPENAI_CHAT", "OpenAIChatReader", "OpenAIChatWriter", "assemble_completion"]

_KNOWN_WORDS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})

OPENAI_CHAT: Format[ChatState] = Format(
    name="openai-chat",
    title="OpenAI Chat Completions",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=OpenAIChatReader,
    writer=OpenAIChatWriter(),
)


def assemble_completion(assembly: Assembly, head: StreamHead) -> dict[str, Any]:
    """The whole answer as a `chat.completion` object (API reference, "The chat completion object").

    JSON-ready through msgspec. For an answer that ended `complete` or `incomplete`; the caller answers a failed one
    with its error. Several messages of one choice, as an agent's run has them, are said in one.
    """
    choices: dict[int, list[tuple[int, AssembledMessage]]] = {}
    for number, message in assembly.messages.items():
        if message.role == "assistant":
            choices.setdefault(message.choice, []).append((number, message))
    model = assembly.model or head.metadata.get("model")
    completion: dict[str, Any] = {
        "id": f"chatcmpl-{head.id}",
        "object": "chat.completion",
        "created": int(head.created_s),
        "model": model if isinstance(model, str) and model else "patinox",
        "choices": [_choice(assembly, index, choices[index]) for index in sorted(choices)]
        or [_choice(assembly, 0, [])],
    }
    if assembly.usage is not None:
        completion["usage"] = write_usage(assembly.usage)
    return completion


def _choice(assembly: Assembly, index: int, messages: list[tuple[int, AssembledMessage]]) -> dict[str, Any]:
    numbers = {number for number, _ in messages}
    blocks = [block for block in assembly.blocks.values() if block.message in numbers]
    last = messages[-1][1] if messages else None
    text = assembly.content if index == 0 else _text(blocks, "text")
    return {
        "index": index,
        "message": _message(blocks, text),
        "logprobs": _logprobs(blocks),
        "finish_reason": _reason(last),
    }


def _message(blocks: list[AssembledBlock], text: str) -> dict[str, Any]:
    calls = [_call(block, place) for place, block in enumerate(b for b in blocks if b.kind == "tool_call")]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not calls else None,
        "refusal": _text(blocks, "refusal") or None,
    }
    reasoning = _text(blocks, "reasoning", "reasoning_summary")
    told = [value for block in blocks if block.kind == "text" for value in block.annotations]
    annotations = [nested(citation) for value in told for citation in citations(value)]
    images = [block.value for block in blocks if block.kind == "image" and block.value is not None]
    extras = {"reasoning_content": reasoning, "annotations": annotations, "images": images, "tool_calls": calls}
    return message | {key: value for key, value in extras.items() if value}


def _text(blocks: list[AssembledBlock], *kinds: str) -> str:
    return "".join(block.text for block in blocks if block.kind in kinds)


def _call(block: AssembledBlock, place: int) -> dict[str, Any]:
    arguments = block.text
    if not arguments:
        arguments = msgspec.json.encode({} if block.arguments is None else block.arguments).decode()
    return {
        "id": block.call_id or f"call_{block.message}_{place}",
        "type": "function",
        "function": {"name": block.name or "", "arguments": arguments},
    }


def _logprobs(blocks: list[AssembledBlock]) -> dict[str, Any] | None:
    """The lists of all deltas, one after the other: `content` and `refusal`."""
    joined: dict[str, Any] = {}
    for part in (part for block in blocks for part in block.logprobs):
        for key, values in part.items() if isinstance(part, dict) else ():
            if isinstance(values, list):
                joined[key] = [*(joined.get(key) or ()), *values]
            else:
                joined.setdefault(key, values)
    return joined or None


def _reason(message: AssembledMessage | None) -> str:
    if message is None or message.finish_reason is None:
        return "stop"
    if message.provider_reason in _KNOWN_WORDS:
        return message.provider_reason
    return WORDS.get(message.finish_reason, "stop")
