"""OpenAI Responses: the dialect, what it cannot carry, and how a sequence number is found again."""

from __future__ import annotations

from collections.abc import Mapping

from patinox.formats.base import Format
from patinox.formats.openai_responses.positions import Position, next_number, position_of
from patinox.formats.openai_responses.reader import OpenAIResponsesReader
from patinox.formats.openai_responses.state import ResponsesState
from patinox.formats.openai_responses.whole import assemble_response
from patinox.formats.openai_responses.writer import OpenAIResponsesWriter

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

OPENAI_RESPONSES: Format[ResponsesState] = Format(
    name="openai-responses",
    title="OpenAI Responses",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=OpenAIResponsesReader,
    writer=OpenAIResponsesWriter(),
)

LOSSES: Mapping[str, str] = {
    "json": "the dialect has no place for the application's own data",
    "binary": "the dialect has no place for the application's own data",
    "step.start": "one response tells one run, without its steps",
    "step.end": "one response tells one run, without its steps",
    "state.snapshot": "the dialect has no application state",
    "state.patch": "the dialect has no application state",
    "metadata": "the dialect's metadata is the request's",
    "verdict": "the dialect has no word for what a validator found",
    "retract": "what was sent cannot be taken back; the whole text at the end has the replacement",
    "tool.result": "results of the application's own tools are input of the next response, not output of this one",
    "tool.error": "as tool.result",
    "tool.approval": "an approval is an item of its own, read from this dialect only",
    "block.start:audio": "audio is no output of this dialect",
    "block.start:file": "files are no output of this dialect",
    "block.start:source": "sources are told as annotations of a text only",
    "block.start:compaction": "compaction is opaque, and each provider's own",
    "block.start:custom": "a custom block is carried if it is a tool call, with a name and a call id",
    "block.start:server_tool_call": "a server tool of another provider is told as an MCP call, when it has its result",
    "block.start:tool_result": "carried as the output of the server tool it belongs to, else not at all",
    "block.start:code": "code is told at its end, as a call of the code interpreter",
    "block.start:image": "carried if its bytes are known; an address alone is not",
    "block.delta:json.patch": "a delta can only append",
    "block.delta:replace": "a delta can only append; the whole text at the end has the replacement",
    "block.delta:opaque.append": "a signature is told at the end of its reasoning, as encrypted_content",
    "block.delta:opaque.set": "carried for reasoning only, as encrypted_content; read back as a block of its own",
    "block.delta:annotation.add": "citations need an address or a file of this dialect; unknown positions are 0",
    "choice": "a response has one choice: the first is told",
    "role": "messages that are not the assistant's are input, not output",
    "run": "one response is one run",
    "message": "several messages of a run are items of one response",
    "finish_reason": "refusal is told as content_filter; pause, error and other as completed",
    "stop_sequence": "the dialect has no stop sequences",
    "cached_tokens": "the dialect requires it: 0 where it is unknown",
    "cache_write_tokens": "the dialect requires it: 0 where it is unknown",
    "reasoning_tokens": "the dialect requires it: 0 where it is unknown",
}
"""What is lost, or told in other words, on the way into this dialect from another: event kind,
`block.start:<kind>`, `block.delta:<op>` or field → why."""
