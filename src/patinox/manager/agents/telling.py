"""Tells a run in neutral events: what begins is numbered, what is open is closed before something else begins."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, Outcome
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockKind,
    BlockStart,
    DeltaOp,
    Event,
    FinishReason,
    MessageEnd,
    MessageStart,
    RunEnd,
    RunStart,
    ToolError,
    ToolReady,
    ToolResult,
)

TOOLS: tuple[BlockKind, ...] = ("tool_call", "server_tool_call")


class _Block:
    """A block that is open."""

    def __init__(self, number: int, kind: BlockKind, name: str | None, call_id: str | None) -> None:
        self.number = number
        self.kind = kind
        self.name = name
        self.call_id = call_id
        self.arguments: list[str] = []


class Telling:
    """One message of a run, as it grows: blocks by the source's own keys. Its methods add events to `out`."""

    def __init__(self, number: int, out: list[Any]) -> None:
        self.number = number
        self.calls = 0
        self._out = out
        self._blocks: dict[Hashable, _Block] = {}
        self._count = 0
        out.append(MessageStart(message=number))

    def __repr__(self) -> str:
        return f"<Telling message {self.number}, {len(self._blocks)} blocks open>"

    def is_open(self, key: Hashable) -> bool:
        """Whether a block of this key is open."""
        return key in self._blocks

    def open(self, key: Hashable, kind: BlockKind, name: str | None = None, call_id: str | None = None) -> None:
        """Begins a block; others that are no calls of tools end."""
        for other in [other for other, block in self._blocks.items() if block.kind not in TOOLS]:
            self.close(other)
        block = self._blocks[key] = _Block(self._count, kind, name, call_id)
        self._count += 1
        self.calls += kind == "tool_call"
        self._add(BlockStart(message=self.number, block=block.number, of=kind, name=name, call_id=call_id))

    def grow(self, key: Hashable, text: str) -> None:
        """Adds text, or argument text."""
        block = self._blocks.get(key)
        if block is None or not text:
            return
        op: DeltaOp = "json.append" if block.kind in TOOLS else "text.append"
        if block.kind in TOOLS:
            block.arguments.append(text)
        self._add(BlockDelta(message=self.number, block=block.number, op=op, text=text))

    def value(self, key: Hashable, value: Any, op: DeltaOp = "opaque.set") -> None:
        """Sets what is no text: a signature, an address."""
        block = self._blocks.get(key)
        if block is not None and value is not None:
            self._add(BlockDelta(message=self.number, block=block.number, op=op, value=value))

    def close(self, key: Hashable, *, is_cut: bool = False) -> None:
        """Ends a block. A call is ready then, unless the answer was cut there."""
        block = self._blocks.pop(key, None)
        if block is None:
            return
        self._add(BlockEnd(message=self.number, block=block.number))
        if block.kind in TOOLS and not is_cut:
            self._add(self._ready(block))

    def _ready(self, block: _Block) -> ToolReady:
        text = "".join(block.arguments)
        arguments, invalid = None, None
        try:
            arguments = msgspec.json.decode(text or "{}")
        except (msgspec.DecodeError, RecursionError):
            invalid = text
        return ToolReady(
            message=self.number, block=block.number, call_id=block.call_id, name=block.name,
            arguments=arguments, invalid_raw=invalid,
        )  # fmt: skip

    def end(self, reason: FinishReason | None = None, word: str | None = None) -> None:
        """Ends the message; without a reason it is what there is: calls, or an ordinary end."""
        for key in tuple(self._blocks):
            self.close(key, is_cut=reason == "length")
        told: FinishReason = reason or ("tool_calls" if self.calls else "stop")
        self._add(MessageEnd(message=self.number, finish_reason=told, provider_reason=word))

    def _add(self, event: Event) -> None:
        self._out.append(event)


class AgentReader:
    """What the readers of agents' events share: a run that begins with the first event and ends with the source."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.out: list[Any] = []
        self.messages = 0
        self._begun = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.messages} messages>"

    def feed(self, data: bytes) -> list[Any]:
        """Text between the events is text."""
        raise NotImplementedError  # a source of objects has no bytes

    def feed_frame(self, value: Any, event: str = "") -> list[Any]:
        """The events of one object."""
        if not self._begun:
            self._begun = True
            self.out.append(RunStart())
        self.read(value)
        return self._taken()

    def read(self, value: Any) -> None:
        """Adds the events of one object to `out`."""
        raise NotImplementedError

    def finish(self) -> None:
        """Ends what is open."""
        raise NotImplementedError

    def close(self) -> list[Any]:
        """The source has ended, and so has the run."""
        self.finish()
        return [*self._taken(), RunEnd()]

    def _taken(self) -> list[Any]:
        taken = self.out.copy()
        self.out.clear()  # the list stays: messages that are open add to it
        return taken

    @property
    def ending(self) -> End | Error:
        """Complete: an agent that fails raises."""
        return End(Outcome.COMPLETE)

    def tell(self) -> Telling:
        """A new message."""
        self.messages += 1
        return Telling(self.messages - 1, self.out)

    def result(self, call_id: str | None, name: str | None, value: Any, *, failed: bool = False) -> None:
        """What a tool gave, or how it failed."""
        number = max(0, self.messages - 1)
        if failed:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            self.out.append(ToolError(message=number, call_id=call_id, name=name, error=text))
        else:
            self.out.append(ToolResult(message=number, call_id=call_id, name=name, result=value))


def plain(value: Any) -> Any:
    """A value of an application's as JSON has it; what JSON cannot say as its text."""
    return msgspec.to_builtins(_dumped(value), enc_hook=_hook, str_keys=True)


def _hook(value: Any) -> Any:
    dumped = _dumped(value)
    return str(value) if dumped is value else dumped


def _dumped(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else value


def count(value: Any, key: str) -> int | None:
    """A number of tokens, where it is known."""
    found = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
    return found if type(found) is int and found >= 0 else None
