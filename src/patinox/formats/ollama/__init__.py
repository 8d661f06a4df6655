"""Ollama's `/api/chat`: one object a line, the last with `done: true`."""

from __future__ import annotations

from typing import Any

from patinox.formats.base import Format
from patinox.formats.losses import (
    ONE_CALL,
    TELLS,
    Loss,
    Losses,
    block_is_not,
    either,
    has_broken_calls,
    has_no_object,
    reason_is_not_told,
    was_withheld,
    word_differs,
)
from patinox.formats.media import file_url
from patinox.formats.ollama.reader import OllamaReader
from patinox.formats.ollama.writer import OllamaState, OllamaWriter
from patinox.incremental.assembler import Assembly

__all__ = ["LOSSES", "OLLAMA", "OllamaReader", "OllamaWriter"]


def _has_no_bytes(data: Any, assembly: Assembly) -> bool:
    block = assembly.block(data.message, data.block)
    return block is None or not (file_url(block)[0] or "").startswith("data:")


_TELLS = TELLS | {
    "block.delta:logprobs.add", "block.start:image",
}  # fmt: skip

LOSSES: Losses = {
    **ONE_CALL,
    "binary": Loss("a line has no place for bytes that are no image"),
    "block.delta:annotation.add": Loss("a message has no citations"),
    "block.delta:json.append": Loss("a call is told whole: its arguments are the same, their spaces are not"),
    "block.delta:opaque.append": Loss("thinking has no signature"),
    "block.delta:opaque.set": Loss("thinking has no signature", block_is_not("image", "reasoning_opaque")),
    "block.start:audio": Loss("a message has no sound"),
    "block.start:code": Loss("a message has no code apart from its text"),
    "block.start:compaction": Loss("there is no such thing in the protocol"),
    "block.start:custom": Loss("a custom tool's call becomes an ordinary one, its text under `input`"),
    "block.start:file": Loss("a message has no files"),
    "block.start:image": Loss("carried if its bytes are known; an address alone is not", _has_no_bytes, is_late=True),
    "block.start:reasoning_opaque": Loss("thinking is text"),
    "block.start:reasoning_summary": Loss("becomes thinking"),
    "block.start:refusal": Loss("becomes the text that it is"),
    "block.start:server_tool_call": Loss("a client would carry the call out"),
    "block.start:source": Loss("a message has no sources"),
    "block.start:tool_call": Loss("a call is told whole, with an object of arguments", has_no_object, is_late=True),
    "block.start:tool_result": Loss("results go the other way"),
    "choice": Loss("there is one answer: only the first alternative is written"),
    "end:complete": Loss(
        "arguments that are no object, and an answer that was withheld, make the stream end with an error",
        either(has_broken_calls, was_withheld),
    ),
    "message.end:finish_reason": Loss(
        "`stop` and `length` are the only reasons; tool_calls are told by the calls, what was withheld by an error",
        reason_is_not_told("content_filter", "refusal", "pause", "error", "other"),
    ),
    "message.end:provider_reason": ONE_CALL["message.end:provider_reason"]._replace(
        when=word_differs({"stop": "stop", "length": "length", "tool_calls": "stop"})
    ),
    "message.end:stop_sequence": Loss("the protocol does not say which stop sequence it was"),
    "run.start:created_s": Loss("a line has a time of its own, which is not read as the run's"),
    "run.start:provider": Loss("there is one provider"),
    "tool.ready:invalid_raw": Loss("arguments are an object: others make the stream end with an error"),
    "usage:cached_tokens": Loss("only tokens in and out are counted"),
    "usage:cache_write_tokens": Loss("only tokens in and out are counted"),
    "usage:reasoning_tokens": Loss("only tokens in and out are counted"),
    "usage:total_tokens": Loss("only tokens in and out are counted"),
}
"""What is lost, or told in other words, on the way into this dialect from another."""

OLLAMA: Format[OllamaState] = Format(
    name="ollama",
    title="Ollama chat",
    content_type="application/x-ndjson; charset=utf-8",
    framing="lines",
    reader=OllamaReader,
    writer=OllamaWriter(),
    tells=_TELLS,
    losses=LOSSES,
    heartbeat=b" ",
)
