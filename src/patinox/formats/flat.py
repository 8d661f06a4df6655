"""What the dialects of small flat JSON objects share: ollama, ai-sdk and ag-ui.

A frame is one object. The reader moves what has a neutral meaning into events; what is left, with a hole `{"$": k}`
where the k-th payload of the frame stood, is the frame's *shape*. It travels under `ext[dialect]["frame"]` on the
frame's first event, unless the writer makes the same frame without it; an ordinary delta has none. `event` beside it
is an SSE event name, `raw` marks text that is no JSON. An `ext` without a shape marks events that had no frame.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from patinox.core.chunks import End, Error, StreamChunk, Text
from patinox.core.events import (
    BlockDelta,
    BlockStart,
    Event,
    Metadata,
    Native,
    StatePatch,
    StateSnapshot,
    ToolError,
    ToolReady,
    ToolResult,
)
from patinox.formats.base import Frame
from patinox.incremental.assembler import Assembly

encode = msgspec.json.Encoder().encode
replace = msgspec.structs.replace

NOTHING = object()
"""What `payload` gives for an event that fills no hole."""

_HOLE = "\0$hole$"
_HOLE_JSON = encode(_HOLE)
_PLAINS = 4


CUT_SHORT = frozenset({"length", "content_filter", "error"})
"""Reasons after which a call that was not made ready may be half a call."""


class Plain(msgspec.Struct, frozen=True):
    """The bytes around the text of a block's ordinary delta."""

    message: int
    block: int | None
    op: str
    before: bytes
    after: bytes


class Joint(msgspec.Struct, frozen=True):
    """A frame of which some events have come; `before` is the state, as builtins, that its readers are in."""

    shape: Any = None
    payloads: tuple[Any, ...] = ()
    event: str = ""
    raw: bool = False
    before: Any = None


class OpenBlock(msgspec.Struct, frozen=True):
    """A block that has begun. `id` is what the dialect calls it ("": it has no name yet); `shape` its delta's.

    `begun`: argument text has come; `ended`: a call is over, and was not made ready so far.
    """

    of: str
    message: int
    block: int | None
    id: str = ""
    name: str | None = None
    call_id: str | None = None
    begun: bool = False
    ended: bool = False
    shape: dict[str, Any] | None = None


class FlatState(msgspec.Struct, frozen=True, kw_only=True):
    """What every writer of a flat dialect remembers. `stream` is the stream's id."""

    stream: str
    plains: tuple[Plain, ...] = ()
    joint: Joint | None = None
    blocks: dict[str, OpenBlock] = {}
    muted: tuple[int, ...] = ()
    usage: dict[str, Any] = {}


S = TypeVar("S", bound=FlatState)

Written = tuple[S, Sequence[Frame]]


def fill(shape: Any, payloads: Sequence[Any]) -> Any:
    """The shape with its holes filled; null where a payload was taken out on the way."""
    if type(shape) is dict:
        if len(shape) == 1 and type(hole := shape.get("$")) is int:
            return payloads[hole] if 0 <= hole < len(payloads) else None
        return {key: fill(value, payloads) if value else value for key, value in shape.items()}
    if type(shape) is list:
        return [fill(value, payloads) for value in shape]
    return shape


def payload(data: Event) -> Any:
    """What an event puts into its frame's hole; `NOTHING` for those that leave none."""
    match data:
        case BlockDelta(op="text.append" | "json.append"):
            return data.text
        case BlockDelta(op="bytes.append"):
            return base64.b64encode(data.data).decode()
        case BlockDelta() | Metadata():
            return data.value
        case Native():
            return NOTHING if data.value is None else data.value
        case ToolReady():
            return data.arguments if data.invalid_raw is None else data.invalid_raw
        case ToolResult():
            return data.result
        case ToolError():
            return data.error
        case StateSnapshot():
            return data.state
        case StatePatch():
            return data.patch
    return NOTHING


def place(message: int, block: int | None) -> str:
    """Under which a block is remembered."""
    return f"{message}.{block}"


def call_id(state: FlatState, data: Any) -> str:
    """A call's id, else one of run and place: a conversation holds the calls of several runs."""
    return data.call_id or f"call_{state.stream}_{data.message}_{data.block}"


def free_name(state: FlatState, start: BlockStart) -> str:
    """A call's id; another if a call under way has it already."""
    name = call_id(state, start)
    taken = {block.id for block in state.blocks.values()}
    while name in taken:
        name += f"_{start.block}"
    return name


def as_call(start: BlockStart) -> BlockStart:
    """A custom tool's call, whose input is text, is a call like any other."""
    return replace(start, of="tool_call") if start.of == "custom" and start.call_id else start


def merge_usage(before: dict[str, Any], data: Any) -> dict[str, Any]:
    """Counts so far with those of a `usage` event: deltas are added, all others replace. Unknown ones stay absent."""
    counts = {field: value for field in USAGE_COUNTS if (value := getattr(data, field)) is not None}
    if data.mode == "delta":
        counts = {field: before.get(field, 0) + count for field, count in counts.items()}
    return {**before, **counts}


USAGE_COUNTS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cache_write_tokens",
)


def count(value: Any) -> int | None:
    """A number of tokens; None for anything that is none."""
    return value if type(value) is int and value >= 0 else None


def word(value: Any) -> str | None:
    """A string that says something."""
    return value if isinstance(value, str) and value else None


class FlatWriter(Generic[S]):
    """The fold, but for what a dialect adds: `track`, `own`, `end` and `delta_shape`."""

    dialect: ClassVar[str]

    def write(self, state: S, chunk: StreamChunk, assembly: Assembly) -> Written[S]:
        """The frames of one record; none for what the dialect has no word for."""
        data = chunk.data
        kind = type(data)
        if kind is Text:
            data = BlockDelta(text=data.text)
            kind = BlockDelta
        if kind is BlockDelta and data.ext is None and data.text and state.joint is None:
            for plain in state.plains:
                if plain.block == data.block and plain.message == data.message and plain.op == data.op:
                    return state, (Frame(plain.before + encode(data.text) + plain.after),)
        elif kind is End or kind is Error:
            return self.end(replace(state, joint=None), data, assembly)
        if isinstance(data, Event) and (state.joint is not None or (data.ext is not None and self.dialect in data.ext)):
            return self._join(state, data, assembly)
        return self.own(state, data, assembly)

    def openers(self, state: S, assembly: Assembly) -> Sequence[Frame]:
        """What a fresh client must see first. Half a frame has opened nothing yet."""
        if state.joint is not None and state.joint.before is not None:
            state = msgspec.convert(state.joint.before, type(state))
        return self.opened(state, assembly)

    def opened(self, state: S, assembly: Assembly) -> Sequence[Frame]:
        """The frames that begin what is open."""
        raise NotImplementedError

    def track(self, state: S, data: Event, shape: dict[str, Any] | None) -> S:
        """Notes what a frame of this dialect begins and ends; `shape` is the frame's, where it has one."""
        raise NotImplementedError

    def own(self, state: S, data: Any, assembly: Assembly) -> Written[S]:
        """The frames of a record that was not read from this dialect."""
        raise NotImplementedError

    def end(self, state: S, data: End | Error, assembly: Assembly) -> Written[S]:
        """The frames of the record that ends the log."""
        raise NotImplementedError

    def delta_shape(self, state: S, block: OpenBlock, op: str) -> dict[str, Any] | None:
        """The shape of a block's ordinary delta; None where the dialect has none."""
        raise NotImplementedError

    def plain(self, state: S, block: OpenBlock, data: BlockDelta) -> Written[S]:
        """Writes an ordinary delta, and remembers the bytes around its text."""
        shape = block.shape if block.shape is not None else self.delta_shape(state, block, data.op)
        if shape is None:
            return state, ()
        body = encode(fill(shape, (_HOLE,)))
        before, hole, after = body.partition(_HOLE_JSON)
        if not hole or _HOLE_JSON in after:
            return state, (Frame(encode(fill(shape, (data.text,)))),)
        plain = Plain(data.message, data.block, data.op, before, after)
        state = replace(state, plains=(*state.plains[1 - _PLAINS :], plain))
        return state, (Frame(before + encode(data.text) + after),)

    def call_over(self, state: S, key: str) -> S:
        """A call is over. It ends for clients when it is ready; a server's own may never be."""
        return replace(state, blocks={**state.blocks, key: replace(state.blocks[key], ended=True)})

    def forget(self, state: S, key: str) -> S:
        """A block is over."""
        block = state.blocks.get(key)
        if block is None:
            return state
        blocks = {name: each for name, each in state.blocks.items() if name != key}
        kept = tuple(p for p in state.plains if p.message != block.message or p.block != block.block)
        return replace(state, blocks=blocks, plains=kept)

    # frames that were read from this dialect

    def _join(self, state: S, data: Event, assembly: Assembly) -> Written[S]:
        """Adds an event to the frame it came in, and writes the frame when it is whole."""
        joint = state.joint or _joint((data.ext or {}).get(self.dialect))
        shape = joint.shape if isinstance(joint.shape, dict) else None
        if joint.raw and type(data) is not Native:
            joint = replace(joint, raw=False)  # only what was never JSON is written as it is
        if shape is None and not joint.raw and type(data) is BlockDelta and not data.more:
            return self.own(state, data, assembly)  # an `ext` that says nothing of the frame
        if data.more and joint.before is None:
            joint = replace(joint, before=msgspec.to_builtins(replace(state, plains=())))
        state = self.track(state, data, shape)
        value = payload(data)
        if value is not NOTHING:
            joint = replace(joint, payloads=(*joint.payloads, value))
        if data.more:
            return replace(state, joint=joint), ()
        state = replace(state, joint=None)
        if joint.raw:
            text = joint.payloads[0] if joint.payloads else ""
            single = isinstance(text, str) and "\n" not in text and "\r" not in text
            return state, (Frame(text.encode() if single else encode(text), joint.event),)
        if shape is None and (joint.shape is None or not joint.payloads):
            return state, ()
        if type(data) is BlockDelta and len(joint.payloads) == 1 and shape is not None:
            state = self._learn(state, data, shape)
        return state, (Frame(encode(fill(joint.shape, joint.payloads)), joint.event),)

    def _learn(self, state: S, data: BlockDelta, shape: dict[str, Any]) -> S:
        """The block's next ordinary delta looks like this one."""
        key = place(data.message, data.block)
        block = state.blocks.get(key)
        if block is None or not _reads_on(data):
            return state
        state = self.forget(state, key)
        return replace(state, blocks={**state.blocks, key: replace(block, shape=shape, begun=True)})


def _reads_on(data: BlockDelta) -> bool:
    return data.op in ("text.append", "json.append")


def _joint(ext: Any) -> Joint:
    """What an `ext` says of its frame; nothing if it is not what our readers make (anybody may write events)."""
    if not isinstance(ext, dict):
        return Joint()
    event = ext.get("event", "")
    return Joint(
        shape=ext.get("frame"),
        event=event if isinstance(event, str) and event.isprintable() else "",
        raw=ext.get("raw") is True,
    )
