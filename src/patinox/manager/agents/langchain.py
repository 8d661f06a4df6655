"""LangChain and LangGraph: chunks of messages, alone or with metadata, in events (`astream_events`, version 2), or
under the name of a stream's mode (`stream_mode=[…]`).

Chunks of different runs and nodes may be mixed: each has a message of its own. What chains tell of each other (chunks
of chains, prompts, parsers) repeats what models and tools said, and is passed over.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import msgspec

from patinox.core.events import BlockKind, FinishReason, Metadata, Native, Usage
from patinox.manager.agents.telling import AgentReader, Telling, count, plain

DIALECT = "langchain"
MODES = frozenset({"messages", "updates", "values", "custom", "debug", "tasks", "checkpoints"})

_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "STOP": "stop",
    "length": "length",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "SAFETY": "content_filter",
    "refusal": "refusal",
    "pause_turn": "pause",
}
_WORDS = ("finish_reason", "stop_reason", "done_reason")
_TEXTS: Mapping[str, tuple[str, BlockKind]] = {
    "text": ("text", "text"),
    "thinking": ("thinking", "reasoning"),
    "reasoning": ("reasoning", "reasoning"),
    "reasoning_content": ("reasoning_content", "reasoning"),
}
_CALLS = ("tool_use", "tool_call", "tool_call_chunk", "input_json_delta", "function_call")  # told by tool_call_chunks


class _Open:
    """A message that is open, and the word for why it will end."""

    def __init__(self, telling: Telling) -> None:
        self.telling = telling
        self.word: str | None = None


class LangChainReader(AgentReader):
    """One run."""

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[Hashable, _Open] = {}
        self._told: set[str] = set()
        self._streamed: set[Hashable] = set()

    def read(self, value: Any) -> None:
        """A chunk, a tuple of a chunk and its metadata, an event, or a tuple that begins with a mode."""
        if isinstance(value, dict):
            self._event(value)
        elif not isinstance(value, tuple):
            self._message(value, None)
        elif isinstance(value[-2], str):
            self._mode(value[-2], value[-1])
        else:
            self._message(value[0], _node(value[1]))

    def finish(self) -> None:
        """Ends the messages that are open."""
        for key in tuple(self._open):
            self._end(key)

    def _mode(self, mode: str, value: Any) -> None:
        if mode == "messages":
            self._message(value[0], _node(value[1]))
        else:
            self.out.append(Metadata(name=mode, value=plain(value)))

    def _event(self, event: Mapping[str, Any]) -> None:
        data, key = event.get("data") or {}, event.get("run_id")
        match event.get("event"):
            case "on_chat_model_stream":
                self._streamed.add(key)
                self._message(data.get("chunk"), key)
            case "on_chat_model_end" if key in self._streamed:
                self._end(key)
                self._streamed.discard(key)
            case "on_chat_model_end":
                self._message(data.get("output"), key)
            case "on_tool_end":
                self._message(data.get("output"), key)
            case "on_tool_error":
                call_id = data.get("tool_call_id")
                self.result(call_id, event.get("name"), str(data.get("error")), failed=True)
            case "on_custom_event":
                self.out.append(Metadata(name=event.get("name"), value=plain(data)))

    def _message(self, message: Any, key: Hashable) -> None:
        match getattr(message, "type", None):
            case "AIMessageChunk":
                self._chunk(message, key)
            case "ai" if message.id is None or message.id not in self._told:
                self._chunk(message, key)
                self._end(key)
            case "tool":
                self.finish()
                failed = getattr(message, "status", None) == "error"
                self.result(message.tool_call_id, message.name, plain(message.content), failed=failed)
            case "ai":
                pass  # it was streamed
            case kind:
                self.out.append(Native(dialect=DIALECT, event=str(kind), value=plain(message)))

    def _chunk(self, chunk: Any, key: Hashable) -> None:
        if key not in self._open:
            if _is_empty(chunk):
                return  # the last of a message, after its end was seen
            self._open[key] = _Open(self.tell())
        message = self._open[key]
        if chunk.id is not None:
            self._told.add(chunk.id)
        self._content(message, chunk.content)
        self._reasoning(message, getattr(chunk, "additional_kwargs", None) or {})
        for call in _calls(chunk):
            self._call(message.telling, call)
        facts = getattr(chunk, "response_metadata", None) or {}
        message.word = next((facts[name] for name in _WORDS if isinstance(facts.get(name), str)), message.word)
        if getattr(chunk, "usage_metadata", None):
            self.out.append(_usage(chunk.usage_metadata))
        if getattr(chunk, "chunk_position", None) == "last":
            self._end(key)

    def _content(self, message: _Open, content: Any) -> None:
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts or ():
            part = {"type": "text", "text": part} if isinstance(part, str) else part
            field, kind = _TEXTS.get(str(part.get("type")), ("", "text"))
            if field:
                self._text(message, kind, part.get("index"), part.get(field) or "", part.get("signature"))
            elif part.get("type") not in _CALLS:
                self.out.append(Native(dialect=DIALECT, event=str(part.get("type")), value=plain(part)))

    def _reasoning(self, message: _Open, kwargs: Mapping[str, Any]) -> None:
        said = kwargs.get("reasoning_content")
        if isinstance(said, str):
            self._text(message, "reasoning", None, said, None)

    def _text(self, message: _Open, kind: BlockKind, index: Any, text: str, signature: Any) -> None:
        key = (kind, index)
        if not text and signature is None:
            return
        if not message.telling.is_open(key):
            message.telling.open(key, kind)
        message.telling.grow(key, text)
        message.telling.value(key, signature)

    def _call(self, message: Telling, call: Mapping[str, Any]) -> None:
        key = ("call", call.get("index") if call.get("index") is not None else call.get("id"))
        if call.get("name") and not message.is_open(key):
            message.open(key, "tool_call", call["name"], call.get("id"))
        message.grow(key, call.get("args") or "")

    def _end(self, key: Hashable) -> None:
        message = self._open.pop(key, None)
        if message is not None:
            message.telling.end(_REASONS.get(message.word or ""), message.word)


def is_event(value: Any) -> bool:
    """Whether an object is LangChain's: a message, a tuple of one and its metadata, an event, or a mode's tuple."""
    if isinstance(value, dict):
        return isinstance(value.get("event"), str) and value["event"].startswith("on_") and "run_id" in value
    if isinstance(value, tuple) and len(value) in (2, 3):
        if isinstance(value[-2], str):
            return value[-2] in MODES and isinstance(value[-1], dict | tuple)
        return len(value) == 2 and _is_message(value[0]) and isinstance(value[1], dict)
    return _is_message(value)


def _is_message(value: Any) -> bool:
    named = getattr(value, "type", None) in ("AIMessageChunk", "ai", "tool", "human", "system")
    return named and hasattr(value, "additional_kwargs") and hasattr(value, "content")


def _node(metadata: Any) -> Hashable:
    """Which run of which node of a graph a chunk is of."""
    return metadata.get("langgraph_checkpoint_ns") or (metadata.get("langgraph_node"), metadata.get("langgraph_step"))


def _is_empty(chunk: Any) -> bool:
    return not chunk.content and not _calls(chunk) and not getattr(chunk, "usage_metadata", None)


def _calls(message: Any) -> list[dict[str, Any]]:
    """Pieces of calls; of a message that came whole the calls themselves."""
    pieces = getattr(message, "tool_call_chunks", None)
    if pieces is not None:
        return list(pieces)
    whole = getattr(message, "tool_calls", None) or ()
    return [{**call, "args": msgspec.json.encode(plain(call.get("args") or {})).decode()} for call in whole]


def _usage(counts: Mapping[str, Any]) -> Usage:
    """A chunk's usage: those of a message are added up."""
    inputs, outputs = counts.get("input_token_details") or {}, counts.get("output_token_details") or {}
    return Usage(
        mode="delta",
        input_tokens=count(counts, "input_tokens"),
        output_tokens=count(counts, "output_tokens"),
        total_tokens=count(counts, "total_tokens"),
        cached_tokens=count(inputs, "cache_read"),
        cache_write_tokens=count(inputs, "cache_creation"),
        reasoning_tokens=count(outputs, "reasoning"),
    )
