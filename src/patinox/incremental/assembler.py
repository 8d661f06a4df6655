"""The assembler: a fold over a log's chunks that always holds the whole answer so far.

It is what a snapshot is made of, and where a dialect's writer reads the aggregates that it repeats at its end. All
text is accumulated in lists and joined when somebody asks, so a long answer costs linear time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from patinox.core.chunks import Binary, End, Error, Json, StreamChunk, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockKind,
    BlockStart,
    MessageEnd,
    MessageStart,
    Retract,
    RunStart,
    ToolError,
    ToolReady,
    ToolResult,
    Usage,
)
from patinox.incremental.partial_json import partial_json

_COUNTS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cache_write_tokens",
)

_CALLS = ("tool_call", "server_tool_call")
_APPENDS = ("text.append", "json.append")
_BARE = -1  # the block number of text that came without blocks, as `Text` chunks


class AssembledBlock:
    """One block of content: its kind, its text so far, and what came with it."""

    __slots__ = ("_parts", "annotations", "arguments", "call_id", "choice", "data", "ended", "index", "kind",
                 "logprobs", "message", "name", "ready", "value")  # fmt: skip

    def __init__(self, start: BlockStart) -> None:
        self.message = start.message
        self.choice = start.choice
        self.index = start.block
        self.kind: BlockKind = start.of
        self.name = start.name
        self.call_id = start.call_id
        self.annotations: list[Any] = []
        self.arguments: Any = None
        self.data = bytearray()
        self.logprobs: list[Any] = []
        self.value: Any = None
        self.ended = False
        self.ready = False
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """All text (or argument text) of the block so far."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    @property
    def partial_arguments(self) -> Any:
        """The arguments of a tool call that is still being told, as far as they can be shown; else None."""
        is_open = not self.ended and self.arguments is None
        return partial_json(self.text) if is_open and self.kind in _CALLS else None

    def append(self, text: str) -> None:
        """Adds text at the end."""
        self._parts.append(text)

    def replace(self, text: str) -> None:
        """Puts `text` in the place of all there was."""
        self._parts = [text]

    def as_dict(self) -> dict[str, Any]:
        """The block in a snapshot: only what is there."""
        body: dict[str, Any] = {"kind": self.kind, "message": self.message, "block": self.index}
        if self.choice:
            body["choice"] = self.choice
        for key in ("name", "call_id", "value", "arguments"):
            if getattr(self, key) is not None:
                body[key] = getattr(self, key)
        if self._parts:
            body["text"] = self.text
        if self.partial_arguments is not None:
            body["partial_arguments"] = self.partial_arguments
        if self.annotations:
            body["annotations"] = self.annotations
        if self.logprobs:
            body["logprobs"] = self.logprobs
        if self.data:
            body["base64"] = bytes(self.data)
        body["ended"] = self.ended
        return body


class AssembledMessage(msgspec.Struct):
    """One message: its role, its provider's id, and how it ended."""

    role: str
    choice: int = 0
    provider_id: str | None = None
    finish_reason: str | None = None
    provider_reason: str | None = None
    stop_sequence: str | None = None


class Assembly:
    """The whole answer so far. `max_bytes` bounds it: beyond, it stops growing and `available` turns false."""

    def __init__(self, *, max_bytes: int = 16 * 2**20) -> None:
        self.model: str | None = None
        self.provider: str | None = None
        self.provider_id: str | None = None
        self.messages: dict[int, AssembledMessage] = {}
        self.blocks: dict[tuple[int, int | None], AssembledBlock] = {}
        self.usage: dict[str, Any] | None = None
        self.error: Error | None = None
        self.own_data = False
        self.overflowed = False
        self.size_bytes = 0
        self._max_bytes = max_bytes
        self._segments: list[AssembledBlock] = []

    def __repr__(self) -> str:
        return f"<Assembly {len(self.blocks)} blocks, {self.size_bytes} bytes>"

    @property
    def available(self) -> bool:
        """Whether a snapshot can stand for the log: not with the application's own data, nor over the bound."""
        return not (self.own_data or self.overflowed)

    @property
    def content(self) -> str:
        """All text that a reader of plain text would have seen: `Text` chunks, and blocks of kind text."""
        return "".join(segment.text for segment in self._segments)

    def block(self, message: int, index: int | None) -> AssembledBlock | None:
        """The block with this number in this message, where it has begun."""
        return self.blocks.get((message, index))

    def is_refused(self, message: int) -> bool:
        """Whether the model declined in words of its own: the message has a refusal."""
        return any(block.kind == "refusal" and block.text for (of, _), block in self.blocks.items() if of == message)

    def bare_text(self, run: int) -> str:
        """The text of one run of `Text` chunks; a text block that begins between two of them ends a run."""
        runs = [segment for segment in self._segments if segment.index is _BARE]
        return runs[run].text if run < len(runs) else ""

    def visible_text(self, data: Any) -> str:
        """The part of one chunk's data that a reader of plain text sees: `content` is the sum of these."""
        if isinstance(data, Text):
            return data.text
        if not isinstance(data, BlockDelta) or data.op != "text.append" or data.choice:
            return ""
        block = self.blocks.get((data.message, data.block))
        return data.text if block is None or self._is_visible(block) else ""

    def apply(self, chunk: StreamChunk) -> None:
        """Takes the next chunk of the log."""
        self.size_bytes = size_bytes = self.size_bytes + len(chunk.payload)
        if size_bytes > self._max_bytes or self.overflowed:
            self.overflowed = True
            return
        data = chunk.data
        kind = type(data)
        if kind is BlockDelta and data.op in _APPENDS:
            block = self.blocks.get((data.message, data.block))
            if block is not None:  # what nearly every record is
                block._parts.append(data.text)
                return
        fold = _FOLDS.get(kind)
        if fold is not None:
            fold(self, data)

    def snapshot(self) -> dict[str, Any]:
        """`content`, `blocks`, `usage`, `error`, and the run's own facts; JSON-ready through msgspec."""
        return {
            "content": self.content,
            "blocks": [block.as_dict() for block in self.blocks.values()],
            "messages": [msgspec.to_builtins(message) for message in self.messages.values()],
            "model": self.model,
            "usage": self.usage,
            "error": self.error,
        }

    def _text(self, data: Text) -> None:
        if not self._segments or self._segments[-1].index is not _BARE:
            self._segments.append(AssembledBlock(BlockStart(block=_BARE)))
        self._segments[-1].append(data.text)

    def _own(self, _data: Json | Binary) -> None:
        self.own_data = True

    def _end(self, data: End) -> None:
        self.error = data.error

    def _error(self, data: Error) -> None:
        self.error = data

    def _run_start(self, data: RunStart) -> None:
        self.model, self.provider = data.model or self.model, data.provider or self.provider
        self.provider_id = data.provider_id or self.provider_id

    def _message_start(self, data: MessageStart) -> None:
        self.messages[data.message] = AssembledMessage(data.role, data.choice, data.provider_id)

    def _message_end(self, data: MessageEnd) -> None:
        message = self.messages.setdefault(data.message, AssembledMessage("assistant", data.choice))
        message.finish_reason, message.provider_reason = data.finish_reason, data.provider_reason
        message.stop_sequence = data.stop_sequence

    def _block_start(self, data: BlockStart) -> None:
        self._open(data)

    def _open(self, start: BlockStart) -> AssembledBlock:
        block = self.blocks[start.message, start.block] = AssembledBlock(start)
        if self._is_visible(block):
            self._segments.append(block)
        return block

    def _is_visible(self, block: AssembledBlock) -> bool:
        message = self.messages.get(block.message)
        spoken = message is None or message.role == "assistant"
        return block.kind == "text" and not block.choice and spoken

    def _block_delta(self, data: BlockDelta) -> None:
        block = self.blocks.get((data.message, data.block))
        if block is None:  # a source that never opened it: plain text is the only thing a bare delta can be
            block = self._open(BlockStart(message=data.message, choice=data.choice, block=data.block))
        match data.op:
            case "text.append" | "json.append":
                block.append(data.text)
            case "replace":
                block.replace(data.text or (data.value if isinstance(data.value, str) else ""))
            case "bytes.append":
                block.data += data.data
            case "annotation.add":
                block.annotations.append(data.value)
            case "logprobs.add":
                block.logprobs.append(data.value)
            case "opaque.append":
                block.value = f"{block.value or ''}{data.value}"
            case "opaque.set" if block.kind != "tool_result":  # whose value is the result, not its signature
                block.value = data.value

    def _block_end(self, data: BlockEnd) -> None:
        block = self.blocks.get((data.message, data.block))
        if block is not None:
            block.ended = True

    def _tool_ready(self, data: ToolReady) -> None:
        block = self.blocks.get((data.message, data.block))
        if block is not None:
            block.arguments = data.arguments
            block.call_id = block.call_id or data.call_id  # some sources tell it after the block's beginning
            block.ready = True

    def _tool_result(self, data: ToolResult | ToolError) -> None:
        block = self.blocks.get((data.message, data.block))
        if block is not None and block.kind == "tool_result":
            block.value = data.result if isinstance(data, ToolResult) else data.details

    def _retract(self, data: Retract) -> None:
        block = self.blocks.get((data.message, data.block))
        if block is not None:
            text = block.text
            block.replace(text[: data.start] + data.replacement + text[data.start + data.count :])

    def _usage(self, data: Usage) -> None:
        counts = {key: getattr(data, key) for key in _COUNTS if getattr(data, key) is not None}
        before = self.usage or {}
        if data.mode == "delta":
            counts = {key: before.get(key, 0) + count for key, count in counts.items()}
        self.usage = {**before, **counts}
        if data.raw is not None:
            self.usage["raw"] = data.raw


_FOLDS: dict[type, Any] = {
    Text: Assembly._text,
    Json: Assembly._own,
    Binary: Assembly._own,
    End: Assembly._end,
    Error: Assembly._error,
    RunStart: Assembly._run_start,
    MessageStart: Assembly._message_start,
    MessageEnd: Assembly._message_end,
    BlockStart: Assembly._block_start,
    BlockDelta: Assembly._block_delta,
    BlockEnd: Assembly._block_end,
    ToolReady: Assembly._tool_ready,
    ToolResult: Assembly._tool_result,
    ToolError: Assembly._tool_result,
    Retract: Assembly._retract,
    Usage: Assembly._usage,
}
