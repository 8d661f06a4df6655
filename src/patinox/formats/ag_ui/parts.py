"""Reads the messages of an AG-UI run: text, reasoning and tool calls (see `ag_ui.reader`).

The protocol names messages and calls, and lets them overlap. Here a message is what one turn of the model said:
reasoning and calls belong to the assistant's message that is open, which takes its name from the text in it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockKind,
    BlockStart,
    FinishReason,
    MessageEnd,
    MessageStart,
    ToolError,
    ToolResult,
)
from patinox.formats.flat import word
from patinox.formats.flat_reader import Block, FlatSseReader, Unfit, decode, need, parsed

DIALECT = "ag-ui"
THINKING = "thinking"
"""What the reasoning of the older events, which have no ids, is called."""

_REMEMBERED = 64


class PartsReader(FlatSseReader):
    """The messages of one stream. `open` holds open text and reasoning by message id, `calls` open tool calls."""

    dialect: ClassVar[str] = DIALECT

    def __init__(self) -> None:
        super().__init__()
        self.open: dict[str, Block] = {}
        self.calls: dict[str, Block] = {}
        self.chunk: Block | None = None
        self._known: dict[str, Block] = {}
        self._late: dict[int, FinishReason | None] = {}
        self._messages = 0
        self._message = -1
        self._name: str | None = None
        self._role = ""
        self._blocks = 0
        self._called = False
        self._answered = False

    # messages

    def _enter(self, name: str | None, role: str = "assistant") -> int:
        """The number of the message that what comes next belongs to; begins it where it has to."""
        if self._message >= 0 and self._role == role:
            if name is not None and name == self._name:
                return self._message
            if not self._answered and (name is None or self._name is None):
                self._name = self._name or name
                return self._message
        self.end_message(None)
        self._message, self._messages = self._messages, self._messages + 1
        self._name, self._role, self._blocks, self._called = name, role, 0, False
        self._answered = False
        self.add(MessageStart(message=self._message, role=role, provider_id=name))
        return self._message

    def end_message(self, reason: FinishReason | None, said: str | None = None) -> None:
        """Ends the message that is open, for `reason` or because it called tools; later, if it is still being said."""
        number, self._message = self._message, -1
        reason = reason or ("tool_calls" if self._called else None)
        if number >= 0 and self._is_open(number):
            self._late[number] = reason
        elif number >= 0:
            self.add(MessageEnd(message=number, finish_reason=reason, provider_reason=said))

    def _is_open(self, message: int) -> bool:
        return any(block.message == message for block in (*self.open.values(), *self.calls.values()))

    @property
    def waits(self) -> bool:
        """Whether the open message has called tools that nobody has answered."""
        return self._called and not self._answered

    def cut(self) -> None:
        """The run is over: ends what is still open. A call that was not ended is not ready."""
        for block in [*self.open.values(), *self.calls.values()]:
            self.problems.append(f"{block.key!r} was still open when the run ended")
            self.end(block)

    def _begin(self, message: int, of: BlockKind, key: str, shape: dict[str, Any] | None) -> Block:
        block = Block(message, self._blocks, of, key, shape)
        self._blocks += 1
        (self.calls if of in ("tool_call", "server_tool_call") else self.open)[key] = block
        self._known.pop(key, None)
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[key] = block
        return block

    def end(self, block: Block, *, is_ready: bool = False) -> None:
        """Ends a block; with it a message that had nothing else to say."""
        self.open.pop(block.key, None)
        self.calls.pop(block.key, None)
        self.chunk = None if self.chunk is block else self.chunk
        self.add(BlockEnd(message=block.message, block=block.number))
        if is_ready:
            self.add(parsed(block))
        if block.message in self._late and not self._is_open(block.message):
            self.add(MessageEnd(message=block.message, finish_reason=self._late.pop(block.message)))

    def whole_block(self) -> dict[str, Any]:
        """The place of a block that comes in one piece."""
        message = self._enter(None)
        self._blocks += 1
        return {"message": message, "block": self._blocks - 1}

    def named(self, key: Any) -> Block | None:
        """A block by the protocol's id, whether or not it is still open."""
        return self._known.get(key) if isinstance(key, str) else None

    # text and reasoning

    def text_start(self, frame: dict[str, Any]) -> Any:
        """`TEXT_MESSAGE_START`."""
        self._text_start(frame, need(frame, "messageId"), "TEXT_MESSAGE_CONTENT")
        return frame

    def _text_start(self, frame: dict[str, Any], key: str, delta: str) -> Block:
        if key in self.open:
            raise Unfit(f"the message {key!r} began twice")
        message = self._enter(key, word(frame.get("role")) or "assistant")
        of: BlockKind = "refusal" if ours(frame).get("kind") == "refusal" else "text"
        block = self._begin(message, of, key, {"type": delta, "messageId": key, "delta": {"$": 0}})
        self.add(BlockStart(message=message, block=block.number, of=of))
        return block

    def reasoning_start(self, frame: dict[str, Any]) -> Any:
        """`REASONING_MESSAGE_START`, and its older name without ids."""
        if frame["type"] == "THINKING_TEXT_MESSAGE_START":
            shape = {"type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": {"$": 0}}
            self._reasoning_start(frame, THINKING, shape)
        else:
            key = need(frame, "messageId")
            shape = {"type": "REASONING_MESSAGE_CONTENT", "messageId": key, "delta": {"$": 0}}
            self._reasoning_start(frame, key, shape)
        return frame

    def _reasoning_start(self, frame: dict[str, Any], key: str, shape: dict[str, Any]) -> Block:
        if key in self.open:
            raise Unfit(f"the reasoning {key!r} began twice")
        message = self._enter(None)
        kind = ours(frame).get("kind")
        of: BlockKind = kind if kind in ("reasoning_summary", "reasoning_opaque") else "reasoning"
        block = self._begin(message, of, key, shape)
        self.add(BlockStart(message=message, block=block.number, of=of))
        return block

    def content(self, frame: dict[str, Any]) -> Any:
        """`TEXT_MESSAGE_CONTENT`, `REASONING_MESSAGE_CONTENT`."""
        key = need(frame, "messageId")
        block = self.open.get(key)
        if block is None:
            need(frame, "delta")
            self.problems.append(f"{frame['type']} of {key!r}, which never began")
            block = self._stray(frame, key)
        shape = self.grow(block, frame, "delta")
        return shape if self.events[-1].text else frame  # type: ignore[attr-defined]

    def _stray(self, frame: dict[str, Any], key: str) -> Block:
        """Text or reasoning that begins with its content."""
        if frame["type"].startswith("TEXT"):
            return self._text_start(frame, key, frame["type"])
        return self._reasoning_start(frame, key, {"type": frame["type"], "messageId": key, "delta": {"$": 0}})

    def thought(self, frame: dict[str, Any]) -> Any:
        """`THINKING_TEXT_MESSAGE_CONTENT`."""
        block = self.open.get(THINKING)
        if block is None:
            raise Unfit(f"{frame['type']}, but no reasoning is open")
        return self.grow(block, frame, "delta")

    def content_end(self, frame: dict[str, Any]) -> Any:
        """`TEXT_MESSAGE_END`, `REASONING_MESSAGE_END`, `THINKING_TEXT_MESSAGE_END`."""
        key = THINKING if frame["type"].startswith("THINKING") else need(frame, "messageId")
        block = self.open.get(key)
        if block is None:
            raise Unfit(f"{frame['type']} of {key!r}, which is not open")
        self.end(block)
        return frame

    def encrypted(self, frame: dict[str, Any]) -> Any:
        """`REASONING_ENCRYPTED_VALUE`."""
        block = self.named(frame.get("entityId"))
        if block is None:
            raise Unfit
        value = need(frame, "encryptedValue")
        place: dict[str, Any] = {"message": block.message, "block": block.number}
        frame["encryptedValue"] = self.add(BlockDelta(**place, op="opaque.set", value=value))
        return frame

    # tools

    def call_start(self, frame: dict[str, Any]) -> Any:
        """`TOOL_CALL_START`."""
        self._call_start(frame, "TOOL_CALL_ARGS")
        return frame

    def _call_start(self, frame: dict[str, Any], delta: str) -> Block:
        call_id, name = need(frame, "toolCallId"), need(frame, "toolCallName")
        if call_id in self.calls:
            raise Unfit(f"the call {call_id!r} began twice")
        message = self._enter(word(frame.get("parentMessageId")))
        of: BlockKind = "server_tool_call" if ours(frame).get("kind") == "server_tool_call" else "tool_call"
        block = self._begin(message, of, call_id, {"type": delta, "toolCallId": call_id, "delta": {"$": 0}})
        block.name, block.call_id = name, call_id
        self._called = self._called or of == "tool_call"
        self.add(BlockStart(message=message, block=block.number, of=of, name=name, call_id=call_id))
        return block

    def call_args(self, frame: dict[str, Any]) -> Any:
        """`TOOL_CALL_ARGS`."""
        block = self.calls.get(need(frame, "toolCallId"))
        if block is None:
            raise Unfit(f"arguments of the call {frame['toolCallId']!r}, which is not open")
        shape = self.grow(block, frame, "delta", "json.append")
        return shape if self.events[-1].text else frame  # type: ignore[attr-defined]

    def call_end(self, frame: dict[str, Any]) -> Any:
        """`TOOL_CALL_END`."""
        block = self.calls.get(need(frame, "toolCallId"))
        if block is None:
            raise Unfit(f"the call {frame['toolCallId']!r} ended, which is not open")
        self.end(block, is_ready=True)
        return None if len(frame) == 2 and any(block.parts) and len(self.events) == 2 else frame

    def result(self, frame: dict[str, Any]) -> Any:
        """`TOOL_CALL_RESULT`."""
        call_id, content, note = need(frame, "toolCallId"), frame.get("content"), ours(frame)
        if content is None:
            raise Unfit("a TOOL_CALL_RESULT has no content")
        block = self.named(call_id)
        place: dict[str, Any] = (
            {} if block is None else {"message": block.message, "block": block.number, "name": block.name}
        )
        self._answered = True
        if note.get("error") is True and isinstance(content, str):
            frame["content"] = self.add(ToolError(**place, call_id=call_id, error=content))
        elif note.get("json") is True and isinstance(content, str):
            self.add(ToolResult(**place, call_id=call_id, result=_unpacked(content)))
        else:
            frame["content"] = self.add(ToolResult(**place, call_id=call_id, result=content))
        return frame

    # what begins and ends by itself

    def any_chunk(self, frame: dict[str, Any]) -> Any:
        """`TEXT_MESSAGE_CHUNK`, `REASONING_MESSAGE_CHUNK`, `TOOL_CALL_CHUNK`."""
        kind = frame["type"]
        field = "toolCallId" if kind.startswith("TOOL") else "messageId"
        key, chunk = frame.get(field), self.chunk
        if chunk is not None and chunk.shape and chunk.shape["type"] == kind and key in (None, chunk.key):
            block = chunk
        else:
            need(frame, field)
            if kind.startswith("TOOL"):
                need(frame, "toolCallName")
            self.end_chunk()
            block = self._chunk_start(frame, kind, str(key))
        self.chunk = block
        if isinstance(frame.get("delta"), str) and frame["delta"]:
            return self.grow(block, frame, "delta", "json.append" if kind.startswith("TOOL") else "text.append")
        return frame

    def _chunk_start(self, frame: dict[str, Any], kind: str, key: str) -> Block:
        return self._call_start(frame, kind) if kind.startswith("TOOL") else self._stray(frame, key)

    def end_chunk(self) -> None:
        """Anything else ends what came in chunks."""
        block = self.chunk
        if block is None:
            return
        self.end(block, is_ready=block.call_id is not None)


def ours(frame: dict[str, Any]) -> dict[str, Any]:
    """What Patinox itself said beyond the protocol."""
    metadata = frame.get("metadata")
    note = metadata.get("patinox") if isinstance(metadata, dict) else None
    return note if isinstance(note, dict) else {}


def _unpacked(text: str) -> Any:
    try:
        return decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
