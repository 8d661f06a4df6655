"""Reads the output items of a response, part by part, into neutral events.

One response is one message; every part of an item, and every item that is no list of parts, is a block of it. Each
method returns the shape (see `shapes`) of what it has read, made of holes that the assembly can fill, so that the
shape of a finished item serves again in the response object at the end.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockKind,
    BlockStart,
    DeltaOp,
    Event,
    ToolApproval,
    ToolReady,
    ToolResult,
)
from patinox.formats.openai_responses.shapes import DIALECT, hole
from patinox.formats.openai_responses.tables import ITEM_TEXTS, PARTS, item_block, item_name

_decode = msgspec.json.Decoder().decode
_put = msgspec.structs.force_setattr  # only on events that were made here and nobody has seen yet

Place = tuple[int, str, int]
"""Output index, area, and number in the area."""


class Part:
    """A block that is being read. `shape` is that of its last delta's frame."""

    __slots__ = ("annotations", "block", "call_id", "ended", "logprobs", "name", "of", "op", "parts", "shape")

    def __init__(self, block: int, of: BlockKind, op: DeltaOp, name: str | None, call_id: str | None) -> None:
        self.block = block
        self.of = of
        self.op: DeltaOp = op
        self.name = name
        self.call_id = call_id
        self.parts: list[str] = []
        self.annotations: list[Any] = []
        self.logprobs: list[Any] = []
        self.ended = False
        self.shape: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """All text so far."""
        if len(self.parts) > 1:
            self.parts = ["".join(self.parts)]
        return self.parts[0] if self.parts else ""


class ItemsReader:
    """The items of one response; what the last frame gave is in `events` until the next is begun."""

    def __init__(self, message: int, problems: list[str]) -> None:
        self.message = message
        self.events: list[Event] = []
        self.parts: dict[Place, Part] = {}
        self.finished: dict[int, tuple[Any, Any]] = {}
        self.calls = False
        self._payloads = 0
        self._blocks = 0
        self._problems = problems

    def begin_frame(self) -> None:
        """Forgets the events of the frame before."""
        self.events, self._payloads = [], 0

    def take_payload(self) -> dict[str, int]:
        """The hole of a payload that the caller adds."""
        self._payloads += 1
        return {"$": self._payloads - 1}

    # blocks

    def open(
        self,
        place: Place,
        of: BlockKind,
        op: DeltaOp,
        item_id: Any,
        name: str | None = None,
        call_id: str | None = None,
    ) -> Part:
        """Begins a block."""
        part = self.parts[place] = Part(self._blocks, of, op, name, call_id)
        self._blocks += 1
        self.calls = self.calls or of == "tool_call" or (of == "custom" and call_id is not None)
        self.events.append(
            BlockStart(
                message=self.message,
                block=part.block,
                of=of,
                name=name,
                call_id=call_id,
                provider_id=item_id if isinstance(item_id, str) else None,
            )
        )
        return part

    def grow(self, part: Part, text: str) -> dict[str, int]:
        """Adds text to a block."""
        part.parts.append(text)
        return self._delta(part, part.op, text=text)

    def attach(self, part: Part, op: DeltaOp, value: Any) -> dict[str, int]:
        """Adds an annotation or the like to a block."""
        if op == "annotation.add":
            part.annotations.append(value)
        elif op == "logprobs.add":
            part.logprobs += value
            value = {"content": value}  # as Chat Completions has it, and so everybody
        return self._delta(part, op, value=value)

    def end(self, part: Part) -> None:
        """Ends a block, once."""
        if not part.ended:
            part.ended = True
            self.events.append(BlockEnd(message=self.message, block=part.block))

    def end_all(self) -> None:
        """Ends what is still open."""
        for part in self.parts.values():
            self.end(part)

    def _delta(
        self, part: Part, op: DeltaOp, *, text: str = "", value: Any = None, data: bytes = b""
    ) -> dict[str, int]:
        self.events.append(BlockDelta(message=self.message, block=part.block, op=op, text=text, value=value, data=data))
        return self.take_payload()

    # wholes: what a frame says again of something that came in pieces

    def settle(self, part: Part, whole: Any) -> Any:
        """The whole text: what of it never came is added; one that differs stays in the shape."""
        have = part.text
        if not isinstance(whole, str) or not whole.startswith(have) or (part.ended and whole != have):
            if whole is not None:
                self._problems.append(f"a text was {len(have)} characters in deltas and is another as a whole")
            return whole
        if whole != have:
            self.grow(part, whole[len(have) :])
        return hole("text", self.message, part.block) if whole else whole

    def settle_logprobs(self, part: Part, whole: Any) -> Any:
        """The log probabilities of the whole text."""
        if not isinstance(whole, list) or not whole:
            return whole
        if not part.logprobs and not part.ended:
            self.attach(part, "logprobs.add", whole)
        return hole("logprobs", self.message, part.block) if whole == part.logprobs else whole

    def part(self, place: Place, value: Any, item_id: Any, *, ended: bool = False) -> Any:
        """A part of an item; one that is not a text is left as it is."""
        known = PARTS.get(str(value.get("type"))) if isinstance(value, dict) else None
        if known is None:
            return value
        of, key = known
        part = self.parts.get(place)
        if part is None or part.of != of:
            part = self.open(place, of, "text.append", item_id)
        shape = {**value, key: self.settle(part, value.get(key))} if key in value else {**value}
        if isinstance(citations := value.get("annotations"), list) and citations:
            shape["annotations"] = self._settle_annotations(part, citations)
        if "logprobs" in value:
            shape["logprobs"] = self.settle_logprobs(part, value["logprobs"])
        if ended:
            self.end(part)
        return shape

    def _settle_annotations(self, part: Part, whole: list[Any]) -> Any:
        have = len(part.annotations)
        if part.annotations == whole[:have] and not part.ended:
            for value in whole[have:]:
                self.attach(part, "annotation.add", value)
        return hole("annotations", self.message, part.block) if whole == part.annotations else whole

    # items

    def begin_item(self, index: int, item: dict[str, Any]) -> Any:
        """An item begins: its shape in this frame."""
        type_ = item.get("type")
        if type_ in ("message", "reasoning"):
            return item
        part = self._item_part(index, item)
        key = ITEM_TEXTS.get(str(type_), ("", ""))[0]
        text = item.get(key)
        if not isinstance(text, str) or not text or part.of == "image":
            return item
        return {**item, key: self.grow(part, text)}

    def finish_item(self, index: int, item: dict[str, Any], *, whole: bool = True) -> Any:
        """An item is over: its shape, now and for the response object. `whole`: no call in it was cut off."""
        known = self.finished.get(index)
        if known is not None and known[0] == item:
            return known[1]
        type_ = item.get("type")
        if type_ == "message":
            shape = self._listed(index, item, "content")
        elif type_ == "reasoning":
            shape = self._encrypted(index, self._listed(index, self._listed(index, item, "summary"), "content"), item)
        else:
            shape = self._whole_item(index, item, str(type_), whole=whole)
        self.finished.setdefault(index, (item, shape))
        return shape

    def _listed(self, index: int, item: dict[str, Any], area: str) -> dict[str, Any]:
        parts = item.get(area)
        if not isinstance(parts, list):
            return item
        item_id = item.get("id")
        shapes = [self.part((index, area, at), value, item_id, ended=True) for at, value in enumerate(parts)]
        return {**item, area: shapes}

    def _encrypted(self, index: int, shape: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        value = item.get("encrypted_content")
        if not isinstance(value, str) or not value or (index, "opaque", 0) in self.parts:
            return shape
        part = self.open((index, "opaque", 0), "reasoning_opaque", "text.append", item.get("id"))
        self.attach(part, "opaque.set", value)
        self.end(part)
        return {**shape, "encrypted_content": hole("value", self.message, part.block)}

    def _item_part(self, index: int, item: dict[str, Any]) -> Part:
        place = (index, "item", 0)
        part = self.parts.get(place)
        if part is None:
            type_ = str(item.get("type"))
            of, item_id = item_block(type_), item.get("id")
            call_id = item.get("call_id", item_id if of == "server_tool_call" else None)
            part = self.open(
                place,
                of,
                ITEM_TEXTS.get(type_, ("", "text.append"))[1],
                item_id,
                item_name(item),
                call_id if isinstance(call_id, str) and call_id else None,
            )
        return part

    def _whole_item(self, index: int, item: dict[str, Any], type_: str, *, whole: bool) -> Any:
        part, message = self._item_part(index, item), self.message
        taken: dict[str, Any] = {}
        key = ITEM_TEXTS.get(type_, ("", ""))[0]
        if isinstance(item.get(key), str):
            taken[key] = self.settle(part, item[key])
        if part.ended:  # said again, and not the same: the response object has another id, say
            return {**item, **taken}
        if part.of == "image" and (data := _bytes(item.get("result"))):
            self._delta(part, "bytes.append", data=data)
            taken["result"] = hole("image", message, part.block)
        if type_ in ("function_call", "custom_tool_call"):
            self.end(part)
            if whole and item.get("status") != "incomplete":
                self._ready(part)
            return {**item, **taken}
        kept = {name: value for name, value in item.items() if name not in taken}
        if part.of == "tool_result":
            self._result(part, kept)
        else:
            self.attach(part, "opaque.set", kept)
        self.end(part)
        self._consequences(part, item, type_)
        value = hole("value", message, part.block)
        return hole("with", value, taken) if taken else value

    def _ready(self, part: Part) -> None:
        arguments, invalid = (part.text, None) if part.of == "custom" else _parsed(part.text)
        self.events.append(
            ToolReady(
                message=self.message,
                block=part.block,
                call_id=part.call_id,
                name=part.name,
                arguments=arguments,
                invalid_raw=invalid,
            )
        )

    def _consequences(self, part: Part, item: dict[str, Any], type_: str) -> None:
        if type_ == "mcp_call" and item.get("output") is not None:
            self._result(part, item["output"])
        elif type_ == "mcp_approval_request":
            self.events.append(
                ToolApproval(
                    message=self.message,
                    block=part.block,
                    call_id=part.call_id,
                    name=part.name,
                    arguments=_parsed(part.text)[0],
                )
            )

    def _result(self, part: Part, result: Any) -> None:
        self.events.append(
            ToolResult(message=self.message, block=part.block, call_id=part.call_id, name=part.name, result=result)
        )


def joined(events: list[Any], ext: dict[str, Any]) -> list[Any]:
    """The events of one frame: the first says what is special, all but the last say that it goes on."""
    _put(events[0], "ext", {DIALECT: ext})
    for event in events[:-1]:
        _put(event, "more", True)
    return events


def _parsed(text: str) -> tuple[Any, str | None]:
    if not text.strip():
        return {}, None
    try:
        return _decode(text), None
    except (msgspec.DecodeError, RecursionError):
        return None, text


def _bytes(value: Any) -> bytes:
    """Base64 that would be written the same again; nothing for any other value."""
    if not isinstance(value, str):
        return b""
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if base64.b64encode(data).decode() == value else b""
