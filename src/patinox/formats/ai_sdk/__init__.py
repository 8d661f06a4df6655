"""The Vercel AI SDK's UI message stream, protocol v1: server-sent events without names, ended by `[DONE]`."""

from __future__ import annotations

from typing import Any

from patinox.formats.ai_sdk.frames import SPOKEN, WORDS, AISDKState
from patinox.formats.ai_sdk.reader import AISDKReader
from patinox.formats.ai_sdk.writer import AISDKWriter
from patinox.formats.base import Format
from patinox.formats.citations import citations
from patinox.formats.losses import ONE_CALL, TELLS, Loss, Losses, block_is_not, comes_late, reason_is, word_differs
from patinox.incremental.assembler import Assembly

__all__ = ["AI_SDK", "LOSSES", "AISDKReader", "AISDKWriter"]


def _is_lost(data: Any, _assembly: Assembly) -> bool:
    return not citations(data.value)


def _is_unsigned(data: Any, assembly: Assembly) -> bool:
    return block_is_not(*SPOKEN)(data, assembly) or comes_late(data, assembly)


_TELLS = TELLS | {
    "block.delta:annotation.add", "block.delta:opaque.append", "block.delta:opaque.set", "block.start:audio",
    "block.start:file", "block.start:image", "block.start:reasoning_opaque", "block.start:reasoning_summary",
    "block.start:refusal", "block.start:server_tool_call", "block.start:source", "end:cancelled", "metadata",
    "provider_id", "retract", "state.patch", "state.snapshot", "step.end", "step.start", "tool.approval",
    "tool.approval:approved", "tool.error", "tool.result", "usage:cached_tokens", "usage:cache_write_tokens",
    "usage:reasoning_tokens", "usage:total_tokens", "verdict",
}  # fmt: skip

LOSSES: Losses = {
    "json": Loss("told as a data part"),
    "binary": Loss("told as a file of unknown type"),
    "block.delta:json.patch": Loss("a call's input only grows"),
    "block.delta:logprobs.add": Loss("the protocol has no probabilities"),
    "block.delta:opaque.set": Loss("what is opaque in a call, or comes after its part, is told as data", _is_unsigned),
    "block.delta:annotation.add": Loss("citations without an address are told as data", _is_lost),
    "block.delta:replace": Loss("text that was sent cannot be replaced"),
    "block.start:custom": Loss("a custom tool's call becomes an ordinary one, its text the whole input"),
    "block.start:code": Loss("told as data"),
    "block.start:compaction": Loss("told as data"),
    "block.start:tool_result": Loss("told as the output of its call"),
    "choice": Loss("one message is all there is: only the first alternative is written"),
    "run.start:created_s": Loss("the protocol has no times"),
    "run.start:provider": Loss("the protocol names the model alone"),
    "message.start": ONE_CALL["message.start"],
    "message.start:role": Loss(
        "the one message is the assistant's; text of other roles is left out", lambda data, _: data.role != "assistant"
    ),
    "message.end:details": Loss("only the finish reason of the last message is written"),
    "message.end:finish_reason": Loss(
        "refusal is told as content-filter, pause as other", reason_is("refusal", "pause")
    ),
    "message.end:provider_reason": ONE_CALL["message.end:provider_reason"]._replace(when=word_differs(WORDS)),
    "message.end:stop_sequence": Loss("the protocol does not say which stop sequence it was"),
    "native": Loss("frames of other dialects have no place"),
    "provider_id": Loss("parts are numbered anew; a tool call keeps its id"),
    "step.start": Loss("a step has no name", lambda data, _: data.name is not None),
    "step.end": Loss("a step has no name", lambda data, _: data.name is not None),
    "tool.approval": Loss("an approval is of a call that was made ready"),
    "tool.approval:approved": Loss("that a call was allowed is not said; that it was asked or denied is"),
    "tool.error:details": Loss("the text of the error is all there is"),
    "usage:raw": Loss("the counts are written, under the SDK's names"),
}
"""What is lost, or told in other words, on the way into this dialect from another."""

AI_SDK: Format[AISDKState] = Format(
    name="ai-sdk",
    title="Vercel AI SDK, UI message stream v1",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=AISDKReader,
    writer=AISDKWriter(),
    tells=_TELLS,
    losses=LOSSES,
    headers=(("x-vercel-ai-ui-message-stream", "v1"),),
)
