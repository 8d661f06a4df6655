"""Reads the choices of one OpenAI chat frame after the other into neutral events.

Each method leaves the choice's shape (see `openai_chat.frames`) in the place of what it has read.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from patinox.core.events import (
    TEXT_APPEND,
    BlockDelta,
    BlockEnd,
    BlockKind,
    BlockStart,
    DeltaOp,
    Event,
    MessageEnd,
    MessageStart,
    ToolReady,
)
from patinox.formats.citations import flat
from patinox.formats.openai_chat.frames import REASONS, shape_key

_decode = msgspec.json.Decoder().decode

_CUT_SHORT = frozenset({"length", "content_filter", "error"})


class _Block:
    __slots__ = ("call_id", "name", "number", "parts")

    def __init__(self, number: int, name: str | None, call_id: str | None) -> None:
        self.number = number
        self.name = name
        self.call_id = call_id
        self.parts: list[str] | None = None  # a tool call's argument text


class _Choice:
    """One alternative: its message, and its open blocks by the field they come in."""

    __slots__ = ("begun", "blocks", "index", "message", "open", "reason")

    def __init__(self, index: int, message: int) -> None:
        self.index = index
        self.message = message
        self.begun = 0
        self.blocks: dict[str, _Block] = {}
        self.open: list[_Block] = []
        self.reason: str | None = None


class ChoicesReader:
    """The choices of one stream; what the last frame gave is in `events` until the next is begun."""

    def __init__(self, problems: list[str]) -> None:
        self.choices: dict[int, _Choice] = {}
        self.events: list[Event] = []
        self.payloads = 0
        self.key = ""
        self._problems = problems

    def read(self, choices: list[Any]) -> list[Event]:
        """The events of one frame's choices; `choices` is left as their shape."""
        self.begin_frame()
        for choice in choices:
            if isinstance(choice, dict):
                self._choice(choice)
        return self.events

    def ended_in(self, reason: str) -> bool:
        """Whether any choice ended for this (neutral) reason."""
        return any(choice.reason == reason for choice in self.choices.values())

    def all_ended(self) -> bool:
        """Whether there are choices and each has had its finish reason."""
        return bool(self.choices) and all(choice.reason is not None for choice in self.choices.values())

    def arguments(self, delta: BlockDelta) -> list[str] | None:
        """Where the argument text of the delta's tool call is gathered; None for any other block."""
        blocks = self.choices[delta.choice].open
        return next((block.parts for block in blocks if block.number == delta.block), None)

    def finish(self) -> list[Event]:
        """The end of the stream: the events that close what is still open."""
        self.begin_frame()
        for choice in self.choices.values():
            if choice.reason is None:
                self._problems.append(f"choice {choice.index} ended without a finish reason")
            if choice.reason is None or choice.open:
                self._end_choice(choice, None)
        return self.events

    def begin_frame(self) -> None:
        """Forgets the events of the frame before."""
        self.events, self.payloads, self.key = [], 0, ""

    def _choice(self, value: dict[str, Any]) -> None:
        index = value.get("index", 0)
        choice = self.choices.get(index if type(index) is int else 0)
        delta = value.get("delta")
        if choice is None:
            role = delta.get("role") if isinstance(delta, dict) else None
            choice = self._begin(index if type(index) is int else 0, role)
        if isinstance(delta, dict):
            self._delta_fields(choice, delta)
        logprobs = value.get("logprobs")
        if isinstance(logprobs, dict) and any(logprobs.values()):
            value["logprobs"] = self._attach(choice, "logprobs.add", logprobs)
        reason = value.get("finish_reason")
        if isinstance(reason, str) and reason and choice.reason is None:
            self._end_choice(choice, reason)

    def _begin(self, index: int, role: Any) -> _Choice:
        choice = self.choices[index] = _Choice(index, len(self.choices))
        role = role if isinstance(role, str) and role else "assistant"
        self.events.append(MessageStart(message=choice.message, choice=index, role=role))
        return choice

    def _delta_fields(self, choice: _Choice, delta: dict[str, Any]) -> None:
        said: dict[str, Any] = {}  # reasoning that was read in this frame: some servers send it in two fields
        for key, value in delta.items():
            if not value:
                continue
            if key == "content":
                delta[key] = self._content(choice, value)
            elif key in ("reasoning_content", "reasoning"):
                if isinstance(value, str):
                    delta[key] = self._reasoning(choice, value, said)
            elif key == "tool_calls":
                delta[key] = self._each(choice, value, self._tool_call)
            elif key == "refusal" and isinstance(value, str):
                delta[key] = self._text(choice, "refusal", "refusal", value)
            elif key == "annotations":
                delta[key] = self._each(choice, value, self._annotation)
            elif key == "function_call" and isinstance(value, dict):
                delta[key] = self._function(choice, "function_call", value, None)
            elif key == "audio" and isinstance(value, dict):
                delta[key] = self._audio(choice, value)
            elif key == "images":
                delta[key] = self._each(choice, value, self._image)
        details = delta.get("reasoning_details")
        if details and isinstance(details, list):
            delta["reasoning_details"] = [self._reasoning_detail(choice, item, said) for item in details]

    def _each(self, choice: _Choice, value: Any, read: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [read(choice, item, place) if isinstance(item, dict) else item for place, item in enumerate(value)]

    def _content(self, choice: _Choice, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(choice, "content", "text", value)
        return self._each(choice, value, self._content_part)

    def _content_part(self, choice: _Choice, part: dict[str, Any], _place: int) -> Any:
        text, thinking = part.get("text"), part.get("thinking")
        if part.get("type") == "text" and isinstance(text, str) and text:
            return {**part, "text": self._text(choice, "content", "text", text)}
        if part.get("type") == "thinking" and isinstance(thinking, list):
            return {**part, "thinking": self._each(choice, thinking, self._thought)}
        return part

    def _thought(self, choice: _Choice, part: dict[str, Any], _place: int) -> Any:
        text = part.get("text")
        if isinstance(text, str) and text:
            return {**part, "text": self._reasoning(choice, text, {})}
        return part

    def _reasoning(self, choice: _Choice, text: str, said: dict[str, Any]) -> Any:
        if text not in said:
            said[text] = self._text(choice, "reasoning", "reasoning", text)
        return said[text]

    def _reasoning_detail(self, choice: _Choice, item: Any, said: dict[str, Any]) -> Any:
        if not isinstance(item, dict):
            return item
        shape = dict(item)
        for key in ("text", "summary"):
            if isinstance(text := item.get(key), str) and text:
                shape[key] = self._reasoning(choice, text, said)
        for key, field, kind in (
            ("signature", "reasoning", "reasoning"),
            ("data", "opaque", "reasoning_opaque"),
        ):
            if isinstance(value := item.get(key), str) and value:
                block = self._block(choice, field, kind)  # type: ignore[arg-type]
                shape[key] = self._grow(choice, block, "opaque.set", value=value)
        return shape

    def _tool_call(self, choice: _Choice, item: dict[str, Any], place: int) -> Any:
        function, index, call_id = item.get("function"), item.get("index"), item.get("id")
        if not isinstance(function, dict):
            return item
        field = f"tool.{index if type(index) is int else place}"
        block = choice.blocks.get(field)
        if block is not None and call_id:
            name = function.get("name")
            if block.call_id is None and (not name or (name == block.name and not block.parts)):
                block.call_id = call_id if isinstance(call_id, str) else None  # it comes after the name
            elif name and call_id != block.call_id:
                # Some servers number every call 0: a call with another id and a name of its own is another call.
                del choice.blocks[field]
        return {**item, "function": self._function(choice, field, function, call_id)}

    def _function(self, choice: _Choice, field: str, function: dict[str, Any], call_id: Any) -> Any:
        name, text = function.get("name"), function.get("arguments")
        block = self._block(
            choice,
            field,
            "tool_call",
            name if isinstance(name, str) and name else None,
            call_id if isinstance(call_id, str) and call_id else None,
        )
        if block.parts is None:
            block.parts = []
        if not isinstance(text, str) or not text:
            return function
        block.parts.append(text)
        return {**function, "arguments": self._grow(choice, block, "json.append", text)}

    def _annotation(self, choice: _Choice, item: dict[str, Any], _place: int) -> Any:
        value = flat(item)
        hole = self._attach(choice, "annotation.add", value)
        return hole if value is item else {"$": ["nested", hole["$"]]}

    def _audio(self, choice: _Choice, audio: dict[str, Any]) -> Any:
        block, shape = self._block(choice, "audio", "audio"), dict(audio)
        if isinstance(text := audio.get("transcript"), str) and text:
            shape["transcript"] = self._grow(choice, block, TEXT_APPEND, text)
        data = _bytes(audio.get("data"))
        if data:
            shape["data"] = self._grow(choice, block, "bytes.append", data=data)
        return shape

    def _image(self, choice: _Choice, item: dict[str, Any], _place: int) -> Any:
        choice.blocks.pop("image", None)  # each is a block of its own
        return self._grow(choice, self._block(choice, "image", "image"), "opaque.set", value=item)

    def _text(self, choice: _Choice, field: str, kind: BlockKind, text: str) -> Any:
        return self._grow(choice, choice.blocks.get(field) or self._block(choice, field, kind), TEXT_APPEND, text)

    def _attach(self, choice: _Choice, op: DeltaOp, value: Any) -> Any:
        """What belongs to the text being said; where none is, to the text that will be."""
        block = choice.blocks.get("content") or choice.blocks.get("refusal")
        return self._grow(choice, block or self._block(choice, "content", "text"), op, value=value)

    def _block(
        self,
        choice: _Choice,
        field: str,
        kind: BlockKind,
        name: str | None = None,
        call_id: str | None = None,
    ) -> _Block:
        block = choice.blocks.get(field)
        if block is None:
            block = choice.blocks[field] = _Block(choice.begun, name, call_id)
            choice.begun += 1
            choice.open.append(block)
            if choice.reason is not None:
                self._problems.append(f"choice {choice.index} went on after its finish reason")
            self.events.append(
                BlockStart(
                    message=choice.message,
                    choice=choice.index,
                    block=block.number,
                    of=kind,
                    name=name,
                    call_id=call_id,
                )
            )
        return block

    def _grow(
        self,
        choice: _Choice,
        block: _Block,
        op: DeltaOp,
        text: str = "",
        *,
        value: Any = None,
        data: bytes = b"",
    ) -> dict[str, int]:
        """Adds the delta, and gives the hole that it leaves in the frame."""
        hole = self.payloads
        self.payloads += 1
        self.key = shape_key(choice.message, block.number, op)
        self.events.append(
            BlockDelta(message=choice.message, choice=choice.index, block=block.number, op=op, text=text,
                       value=value, data=data)
        )  # fmt: skip
        return {"$": hole}

    def _end_choice(self, choice: _Choice, reason: str | None) -> None:
        neutral = None if reason is None else REASONS.get(reason, "other")
        place: dict[str, Any] = {"message": choice.message, "choice": choice.index}
        for block in choice.open:
            self.events.append(BlockEnd(**place, block=block.number))
            if block.parts is not None and neutral not in _CUT_SHORT:
                self.events.append(_ready(block, place))
        choice.open, choice.blocks = [], {}
        if choice.reason is None:
            choice.reason = neutral or ""
            self.events.append(MessageEnd(**place, finish_reason=neutral, provider_reason=reason))


def _bytes(value: Any) -> bytes:
    """Base64 that would be written the same again; nothing for any other value."""
    if not isinstance(value, str):
        return b""
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if base64.b64encode(data).decode() == value else b""


def _ready(block: _Block, place: dict[str, Any]) -> ToolReady:
    text = "".join(block.parts or ())
    arguments: Any = {}
    invalid = None
    if text.strip():
        try:
            arguments = _decode(text)
        except (msgspec.DecodeError, RecursionError):
            arguments, invalid = None, text
    return ToolReady(
        **place,
        block=block.number,
        call_id=block.call_id,
        name=block.name,
        arguments=arguments,
        invalid_raw=invalid,
    )
