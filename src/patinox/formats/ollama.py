"""Ollama's `/api/chat`: one object a line, the last with `done: true`."""

from __future__ import annotations

from collections.abc import Mapping

from patinox.formats.base import Format
from patinox.formats.ollama_reader import OllamaReader
from patinox.formats.ollama_writer import OllamaState, OllamaWriter

__all__ = ["LOSSES", "OLLAMA", "OllamaReader", "OllamaWriter"]

OLLAMA: Format[OllamaState] = Format(
    name="ollama",
    title="Ollama chat",
    content_type="application/x-ndjson; charset=utf-8",
    framing="lines",
    reader=OllamaReader,
    writer=OllamaWriter(),
    heartbeat=b" ",
)

LOSSES: Mapping[str, str] = {
    "binary": "a line has no place for bytes that are no image",
    "block.delta:annotation.add": "a message has no citations",
    "block.delta:json.patch": "a call goes out whole",
    "block.delta:opaque.append": "thinking has no signature",
    "block.delta:opaque.set": "thinking has no signature",
    "block.delta:replace": "text that was sent cannot be replaced",
    "block.start:audio": "a message has no sound",
    "block.start:code": "a message has no code apart from its text",
    "block.start:compaction": "there is no such thing in the protocol",
    "block.start:custom": "there is no such thing in the protocol",
    "block.start:file": "a message has no files",
    "block.start:reasoning_opaque": "thinking is text",
    "block.start:reasoning_summary": "becomes thinking",
    "block.start:refusal": "becomes the text that it is",
    "block.start:server_tool_call": "a client would carry the call out",
    "block.start:source": "a message has no sources",
    "block.start:tool_result": "results go the other way",
    "choice": "there is one answer: only the first alternative is written",
    "json": "there is no place for data of the application's own",
    "message.end:details": "`stop` and `length` are the only reasons",
    "message.start:role": "text of other roles than the assistant's is left out",
    "metadata": "there is no place for data of the application's own",
    "native": "frames of other dialects have no place",
    "provider_id": "nothing but a tool call has an id",
    "retract": "text that was sent cannot be taken back",
    "run.end": "told by the end itself",
    "state.patch": "there is no application state in the protocol",
    "state.snapshot": "there is no application state in the protocol",
    "step.end": "there are no steps",
    "step.start": "there are no steps",
    "tool.approval": "there is nothing to ask",
    "tool.error": "results go the other way",
    "tool.ready:invalid_raw": "arguments are an object: others make the stream end with an error",
    "tool.result": "results go the other way",
    "usage:cached_tokens": "only tokens in and out are counted",
    "usage:cache_write_tokens": "only tokens in and out are counted",
    "usage:reasoning_tokens": "only tokens in and out are counted",
    "usage:total_tokens": "only tokens in and out are counted",
    "usage:raw": "the counts are written, under the protocol's names",
    "verdict": "there is no place for it",
}
