"""Reads the parts of a UI message: text, reasoning and tool calls (see `ai_sdk.reader`)."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockKind,
    BlockStart,
    DeltaOp,
    MessageStart,
    RunStart,
    ToolApproval,
    ToolError,
    ToolResult,
)
from patinox.formats.flat import word
from patinox.formats.flat_reader import Block, FlatSseReader, Unfit, need, ready

DIALECT = "ai-sdk"

_KINDS: dict[str, tuple[BlockKind, ...]] = {
    "text": ("text", "refusal"),
    "reasoning": ("reasoning", "reasoning_summary", "reasoning_opaque"),
}
# Where the SDK's own providers put a signature or encrypted reasoning.
_OPAQUE: tuple[tuple[str, str, DeltaOp], ...] = (
    ("patinox", "opaque.set", "opaque.set"),
    ("patinox", "opaque.append", "opaque.append"),
    ("anthropic", "signature", "opaque.set"),
    ("anthropic", "redactedData", "opaque.set"),
    ("openai", "reasoningEncryptedContent", "opaque.set"),
    ("google", "thoughtSignature", "opaque.set"),
)


class PartsReader(FlatSseReader):
    """The parts of one stream. `blocks` are the open ones of text and reasoning, `calls` those without an answer."""

    dialect: ClassVar[str] = DIALECT

    def __init__(self) -> None:
        super().__init__()
        self.begun = False
        self.blocks: dict[str, Block] = {}
        self.calls: dict[str, Block] = {}
        self.number = 0

    def begin(self, message_id: str | None = None, metadata: Any = None) -> bool:
        """The run, if it has yet to begin."""
        if self.begun:
            return False
        self.begun = True
        model = word(metadata.get("model")) if isinstance(metadata, dict) else None
        self.add(RunStart(provider_id=message_id, model=model))
        self.add(MessageStart(provider_id=message_id))
        return True

    def end_blocks(self) -> None:
        """Ends the text and reasoning that is open."""
        for block in self.blocks.values():
            self.add(BlockEnd(block=block.number))
        self.blocks = {}

    # text and reasoning

    def _open(self, frame: dict[str, Any], family: str) -> Block:
        key = f"{family}:{need(frame, 'id')}"
        if key in self.blocks:
            self.problems.append(f"{frame['type']} of {frame['id']!r}, which is open already")
            self.add(BlockEnd(block=self.blocks.pop(key).number))
        kind = ours(frame).get("kind")
        of = kind if kind in _KINDS[family] else _KINDS[family][0]
        shape = {"type": f"{family}-delta", "id": frame["id"], "delta": {"$": 0}}
        block = self.blocks[key] = Block(0, self.number, of, key, shape)
        self.number += 1
        self.add(BlockStart(block=block.number, of=of))
        return block

    def _block(self, frame: dict[str, Any], family: str) -> Block:
        block = self.blocks.get(f"{family}:{need(frame, 'id')}")
        if block is not None:
            return block
        self.problems.append(f"{frame['type']} of {frame['id']!r}, which never began")
        return self._open(frame, family)

    def part_start(self, frame: dict[str, Any]) -> Any:
        """`text-start` and `reasoning-start`."""
        need(frame, "id")
        self.begin()
        self._opaque(self._open(frame, family_of(frame)), frame)
        return frame

    def delta(self, frame: dict[str, Any]) -> Any:
        """`text-delta` and `reasoning-delta`."""
        need(frame, "id")
        said = need(frame, "delta")
        if not self.begun:
            self.begin()
        block = self._block(frame, family_of(frame))
        if "providerMetadata" in frame:
            signed = self._opaque(block, frame)
            if signed and not said:
                return frame
        return self.grow(block, frame, "delta")

    def part_end(self, frame: dict[str, Any]) -> Any:
        """`text-end` and `reasoning-end`."""
        key = f"{family_of(frame)}:{need(frame, 'id')}"
        block = self.blocks.pop(key, None)
        if block is None:
            raise Unfit(f"{frame['type']} of {frame['id']!r}, which never began")
        plain = len(frame) == 2
        self._opaque(block, frame)
        self.add(BlockEnd(block=block.number))
        return None if plain else frame

    def _opaque(self, block: Block, frame: dict[str, Any]) -> bool:
        """A signature or encrypted reasoning, where the SDK's providers put them."""
        metadata = frame.get("providerMetadata")
        for provider, key, op in _OPAQUE if isinstance(metadata, dict) else ():
            values = metadata.get(provider) if metadata else None
            if isinstance(values, dict) and values.get(key) is not None:
                values[key] = self.add(BlockDelta(block=block.number, op=op, value=values[key]))
                return True
        return False

    # tools

    def _call(self, frame: dict[str, Any]) -> Block:
        """A call begins."""
        call_id, name = need(frame, "toolCallId"), need(frame, "toolName")
        of: BlockKind = "server_tool_call" if frame.get("providerExecuted") is True else "tool_call"
        shape = {"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": {"$": 0}}
        block = self.calls[call_id] = Block(0, self.number, of, call_id, shape)
        block.name, block.call_id = name, call_id
        self.number += 1
        self.add(BlockStart(block=block.number, of=of, name=name, call_id=call_id))
        return block

    def input_start(self, frame: dict[str, Any]) -> Any:
        """`tool-input-start`."""
        known = self.calls.get(need(frame, "toolCallId"))
        if known is not None and known.shape is not None:
            raise Unfit(f"the call {frame['toolCallId']!r} began twice")
        need(frame, "toolName")
        fresh = self.begin()
        block = self._call(frame)
        plain = len(frame) == (4 if block.of == "server_tool_call" else 3)
        return None if plain and not fresh else frame

    def input_delta(self, frame: dict[str, Any]) -> Any:
        """`tool-input-delta`."""
        block = self.calls.get(need(frame, "toolCallId"))
        if block is None or block.shape is None:
            raise Unfit(f"input of the call {frame['toolCallId']!r}, which is not open")
        return self.grow(block, frame, "inputTextDelta", "json.append")

    def input_end(self, frame: dict[str, Any]) -> Any:
        """`tool-input-available` and `tool-input-error`."""
        need(frame, "toolName")
        if "input" not in frame and frame["type"] == "tool-input-available":
            raise Unfit("a tool-input-available has no input")
        block = self.calls.get(need(frame, "toolCallId"))
        plain = not self.begin() and block is not None and block.shape is not None
        block = block or self._call(frame)
        if block.shape is not None:
            block.shape = None
            self.add(BlockEnd(block=block.number))
        value, ours = frame.get("input"), 5 if block.of == "server_tool_call" else 4
        if frame["type"] == "tool-input-available":
            frame["input"] = self.add(ready(block, value))
            return None if plain and len(frame) == ours and frame["toolName"] == block.name else frame
        if isinstance(value, str):
            frame["input"] = self.add(ready(block, None, value))
        else:
            self.add(ready(block, None, msgspec.json.encode(value).decode()))
        return frame

    def output(self, frame: dict[str, Any]) -> Any:
        """`tool-output-available`."""
        if "output" not in frame:
            raise Unfit("a tool-output-available has no output")
        place, fresh = self._answered(frame)
        frame["output"] = self.add(ToolResult(**place, result=frame["output"]))
        return frame if fresh or len(frame) != 3 else None

    def output_error(self, frame: dict[str, Any]) -> Any:
        """`tool-output-error`."""
        text = need(frame, "errorText")
        place, fresh = self._answered(frame)
        frame["errorText"] = self.add(ToolError(**place, error=text))
        return frame if fresh or len(frame) != 3 else None

    def _answered(self, frame: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """Where the answer belongs, and whether the writer would not know its call."""
        call_id = need(frame, "toolCallId")
        self.begin()
        block = self.calls.get(call_id)
        if frame.get("preliminary") is not True:
            self.calls.pop(call_id, None)
        place = {"call_id": call_id, "name": block and block.name, "block": block and block.number}
        return place, block is None or block.shape is not None or block.of == "server_tool_call"

    def approval(self, frame: dict[str, Any]) -> Any:
        """`tool-approval-request`, `tool-approval-response`, `tool-output-denied`."""
        kind = frame["type"]
        call_id = word(frame.get("toolCallId"))
        approved = frame.get("approved") if kind == "tool-approval-response" else None
        self.begin()
        self.add(
            ToolApproval(
                provider_id=word(frame.get("approvalId")),
                call_id=call_id,
                approved=False if kind == "tool-output-denied" else approved if isinstance(approved, bool) else None,
                reason=word(frame.get("reason")),
            )
        )
        return frame


def family_of(frame: dict[str, Any]) -> str:
    """`text` or `reasoning`, by the frame's type."""
    family: str = frame["type"].partition("-")[0]
    return family


def ours(frame: dict[str, Any]) -> dict[str, Any]:
    """What Patinox itself said of a part."""
    metadata = frame.get("providerMetadata")
    ours = metadata.get("patinox") if isinstance(metadata, dict) else None
    return ours if isinstance(ours, dict) else {}
