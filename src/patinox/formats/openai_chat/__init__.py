"""OpenAI Chat Completions: the dialect, and the `chat.completion` object that a call without streaming gets."""

from __future__ import annotations

from typing import Any

import msgspec

from patinox.formats.base import Format, StreamHead
from patinox.formats.citations import citations, nested
from patinox.formats.losses import ONE_CALL, TELLS, Loss, Losses, output_differs, reason_is, word_differs
from patinox.formats.openai_chat.frames import REASONS, WORDS, read_usage, write_usage
from patinox.formats.openai_chat.reader import OpenAIChatReader
from patinox.formats.openai_chat.state import ChatState, call_id
from patinox.formats.openai_chat.writer import OpenAIChatWriter
from patinox.incremental.assembler import AssembledBlock, AssembledMessage, Assembly

__all__ = ["LOSSES", "OPENAI_CHAT", "OpenAIChatReader", "OpenAIChatWriter", "assemble_completion"]

_KNOWN_WORDS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


def _is_lost(data: Any, _assembly: Assembly) -> bool:
    return not citations(data.value)


_TELLS = TELLS | {
    "block.delta:annotation.add", "block.delta:logprobs.add", "block.delta:opaque.set", "block.start:audio",
    "block.start:image", "block.start:reasoning_opaque", "block.start:refusal", "choice", "provider_id",
    "run.start:created_s", "run.start:provider", "usage:cached_tokens", "usage:cache_write_tokens",
    "usage:reasoning_tokens", "usage:total_tokens",
}  # fmt: skip

LOSSES: Losses = {
    **ONE_CALL,
    "block.start:server_tool_call": Loss("a client would carry the call out"),
    "block.start:tool_result": Loss("results go the other way"),
    "block.start:reasoning_summary": Loss("a summary is told as reasoning"),
    "block.start:reasoning_opaque": Loss("reasoning is text"),
    "block.start:image": Loss("the dialect has no image output"),
    "block.start:audio": Loss("the dialect's audio has an id and an expiry that nobody else tells"),
    "block.start:file": Loss("the dialect has no file output"),
    "block.start:source": Loss("sources are annotations of a text"),
    "block.start:code": Loss("the dialect has no code apart from its text"),
    "block.start:compaction": Loss("the dialect has no word for it"),
    "block.start:custom": Loss("a custom tool's call becomes a function's, its text all the arguments"),
    "block.delta:opaque.append": Loss("reasoning has no signature"),
    "block.delta:opaque.set": Loss("reasoning has no signature"),
    "block.delta:annotation.add": Loss("citations without an address", _is_lost),
    "message.end:finish_reason": Loss(
        "refusal is told as content_filter, pause and other as stop", reason_is("refusal", "pause", "other")
    ),
    "message.end:provider_reason": ONE_CALL["message.end:provider_reason"]._replace(when=word_differs(WORDS)),
    "message.end:stop_sequence": Loss("the dialect does not say which stop sequence it was"),
    "run.start:provider": Loss("the dialect has one provider"),
    "usage:output_tokens": Loss(
        "output that leaves the reasoning out, as the total says, is read as the sum of both",
        output_differs(lambda counts: read_usage(write_usage(counts), final=True)),
        is_late=True,
    ),
}
"""What is lost, or told in other words, on the way into this dialect from another."""

OPENAI_CHAT: Format[ChatState] = Format(
    name="openai-chat",
    title="OpenAI Chat Completions",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=OpenAIChatReader,
    writer=OpenAIChatWriter(),
    tells=_TELLS,
    losses=LOSSES,
    repeats=False,
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
        "choices": [_choice(assembly, index, choices[index], head) for index in sorted(choices)]
        or [_choice(assembly, 0, [], head)],
    }
    if assembly.usage is not None:
        completion["usage"] = write_usage(assembly.usage)
    return completion


def _choice(
    assembly: Assembly, index: int, messages: list[tuple[int, AssembledMessage]], head: StreamHead
) -> dict[str, Any]:
    numbers = {number for number, _ in messages}
    blocks = [block for block in assembly.blocks.values() if block.message in numbers]
    last = messages[-1][1] if messages else None
    text = assembly.content if index == 0 else _text(blocks, "text")
    return {
        "index": index,
        "message": _message(blocks, text, head),
        "logprobs": _logprobs(blocks),
        "finish_reason": _reason(last),
    }


def _message(blocks: list[AssembledBlock], text: str, head: StreamHead) -> dict[str, Any]:
    calls = [_call(block, place, head) for place, block in enumerate(b for b in blocks if b.kind == "tool_call")]
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


def _call(block: AssembledBlock, place: int, head: StreamHead) -> dict[str, Any]:
    arguments = block.text
    if not arguments:
        arguments = msgspec.json.encode({} if block.arguments is None else block.arguments).decode()
    return {
        "id": block.call_id or call_id(head.id, block.message, place),
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
    word = message.provider_reason
    if word in _KNOWN_WORDS and REASONS[word] == message.finish_reason:  # else it is another dialect's word
        return word
    return WORDS.get(message.finish_reason, "stop")
