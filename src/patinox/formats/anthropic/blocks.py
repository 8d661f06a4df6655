"""Reads the content blocks of Anthropic messages into neutral events, one frame after the other.

Each method leaves, in the place of what it has read, the hole that the writer fills (see `anthropic.frames`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockKind,
    BlockStart,
    DeltaOp,
    Event,
    ToolError,
    ToolReady,
    ToolResult,
)
from patinox.formats.anthropic.frames import CALLS, DELTAS, DIALECT, KINDS, RESULT, citation, head, neutral_citation

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

_OPS: dict[tuple[str, str], DeltaOp] = {
    ("text_delta", "text"): "text.append",
    ("thinking_delta", "thinking"): "text.append",
    ("input_json_delta", "partial_json"): "json.append",
    ("citations_delta", "citation"): "annotation.add",
    ("signature_delta", "signature"): "opaque.set",
    ("compaction_delta", "content"): "text.append",
}


class Block:
    """A block that is open. `index` is the wire's number of it, `number` ours; `parts` a call's argument text."""

    __slots__ = ("call_id", "index", "name", "number", "of", "parts")

    def __init__(self, index: int, number: int, of: BlockKind, name: str | None, call_id: str | None) -> None:
        self.index = index
        self.number = number
        self.of = of
        self.name = name
        self.call_id = call_id
        self.parts: list[str] = []


class BlocksReader:
    """The blocks of one stream; what the frame being read gave is in `events`."""

    def __init__(self, problems: list[str]) -> None:
        self.events: list[Event] = []
        self.payloads = 0
        self.message = 0
        self.begun = 0
        self.next = 0  # the number on the wire that a block has if nothing else is said
        self.open: dict[int, Block] = {}
        self._unsure: list[Block] = []
        self._problems = problems

    def begin_frame(self) -> None:
        """Forgets the events of the frame before."""
        self.events, self.payloads = [], 0

    def begin_message(self, number: int) -> None:
        """Forgets the blocks of the message before."""
        self.message, self.begun, self.next = number, 0, 0
        self.open, self._unsure = {}, []

    def hole(self) -> dict[str, Any]:
        """The place of the next payload."""
        self.payloads += 1
        return {"$": self.payloads - 1}

    def start(self, index: int, content: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """A block begins with `content`. Returns its shape, and whether the writer would make the same."""
        if index in self.open:
            self._problems.append(f"block {index} began again before it had ended")
            self.abandon(self.open.pop(index))
        kind = content.get("type")
        of: BlockKind = KINDS.get(kind, "custom") if isinstance(kind, str) else "custom"
        name, call_id = content.get("name"), content.get("id")
        if isinstance(kind, str) and kind.endswith(RESULT):
            of, name, call_id = "tool_result", kind.removesuffix(RESULT), content.get("tool_use_id")
        plain = index == self.next and not self.open and (of not in CALLS or bool(_word(name) and _word(call_id)))
        block = self._begin(index, of, _word(name), _word(call_id))
        shape = self._contents(block, content)
        return shape, plain and content == head(of, block.name, block.call_id)

    def stray(self, index: int, of: BlockKind) -> Block:
        """The block that a delta without a beginning belongs to."""
        self._problems.append(f"block {index} never began")
        block = self._begin(index, of, None, None)
        msgspec.structs.force_setattr(self.events[-1], "ext", {DIALECT: {"index": index}})
        return block

    def delta(self, block: Block, delta: dict[str, Any]) -> tuple[dict[str, Any], bool] | None:
        """A block grows by `delta`. Returns its shape, and whether the writer would make the same; None if unknown."""
        kind = delta.get("type")
        key, op = next(((key, op) for (name, key), op in _OPS.items() if name == kind), ("", None))
        value = delta.get(key)
        if op is None or key not in delta or (op != "annotation.add" and not isinstance(value, str)):
            return None
        if op == "annotation.add":
            value = neutral_citation(value)
        shape = {**delta, key: self._grow(block, op, value)}
        plain = DELTAS.get((block.of, op)) == (kind, key) and len(delta) == 2
        return shape, plain and (op != "annotation.add" or (value is not None and citation(value) == delta[key]))

    def stop(self, block: Block) -> None:
        """A block ends. A call whose arguments are all there is ready; otherwise it shows in what follows."""
        self.open.pop(block.index, None)
        self.events.append(BlockEnd(message=self.message, block=block.number))
        if block.of not in CALLS:
            return
        try:
            arguments = _decode("".join(block.parts))
        except (msgspec.DecodeError, RecursionError):
            self._unsure.append(block)
            return
        self._ready(block, arguments)

    def abandon(self, block: Block) -> None:
        """A block is over that no frame ended."""
        self.events.append(BlockEnd(message=self.message, block=block.number, ext={DIALECT: {}}))

    def settle(self, *, cut: bool = False) -> None:
        """The calls that were unsure: the message went on, or ended, so they are whole unless it was `cut`."""
        for block in self._unsure:
            text = "".join(block.parts)
            if not cut:
                self._ready(block, None if text.strip() else {}, text if text.strip() else None)
        self._unsure = []

    def _begin(self, index: int, of: BlockKind, name: str | None, call_id: str | None) -> Block:
        block = self.open[index] = Block(index, self.begun, of, name, call_id)
        self.begun += 1
        self.next = max(self.next, index + 1)
        self.events.append(BlockStart(message=self.message, block=block.number, of=of, name=name, call_id=call_id))
        return block

    def _contents(self, block: Block, content: dict[str, Any]) -> dict[str, Any]:
        """What the block has already at its beginning; ordinary ones are empty."""
        shape = dict(content)
        match block.of:
            case "text":
                self._take(block, shape, "text", "text.append")
                if isinstance(citations := content.get("citations"), list):
                    shape["citations"] = [
                        self._grow(block, "annotation.add", neutral_citation(value)) for value in citations
                    ]
            case "reasoning":
                self._take(block, shape, "thinking", "text.append")
                self._take(block, shape, "signature", "opaque.set")
            case "reasoning_opaque":
                self._take(block, shape, "data", "opaque.set")
            case "compaction":
                self._take(block, shape, "content", "text.append")
            case "tool_call" | "server_tool_call":
                if arguments := content.get("input"):
                    shape["input"] = {**self._grow(block, "json.append", _encode(arguments).decode()), "json": True}
            case "tool_result":
                hole = self._result(block, content)
                if "content" in content:
                    shape["content"] = hole
            case _:
                return self._grow(block, "opaque.set", content)
        return shape

    def _take(self, block: Block, shape: dict[str, Any], key: str, op: DeltaOp) -> None:
        if (value := shape.get(key)) and isinstance(value, str):
            shape[key] = self._grow(block, op, value)

    def _result(self, block: Block, content: dict[str, Any]) -> dict[str, Any]:
        value = content.get("content")
        inner = value.get("type") if isinstance(value, dict) else None
        of_block: dict[str, Any] = {
            "message": self.message,
            "block": block.number,
            "call_id": block.call_id,
            "name": block.name,
        }
        if content.get("is_error") or (isinstance(inner, str) and inner.endswith("_error")):
            code = value.get("error_code") if isinstance(value, dict) else None
            self.events.append(ToolError(**of_block, error=_word(code) or "the tool failed", details=value))
        else:
            self.events.append(ToolResult(**of_block, result=value))
        return self.hole()

    def _grow(self, block: Block, op: DeltaOp, value: Any) -> dict[str, Any]:
        appends = op in ("text.append", "json.append")
        if op == "json.append":
            block.parts.append(value)
        self.events.append(
            BlockDelta(
                message=self.message,
                block=block.number,
                op=op,
                text=value if appends else "",
                value=None if appends else value,
            )
        )
        return self.hole()

    def _ready(self, block: Block, arguments: Any, invalid: str | None = None) -> None:
        self.events.append(
            ToolReady(
                message=self.message,
                block=block.number,
                call_id=block.call_id,
                name=block.name,
                arguments=arguments,
                invalid_raw=invalid,
            )
        )


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
