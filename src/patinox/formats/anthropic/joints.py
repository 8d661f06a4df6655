"""The half of the writer of Anthropic Messages that makes frames again which were read from this dialect.

The events of one frame come one after the other; the first says what the frame looked like (see `anthropic.frames`),
and when the last is there it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Event,
    MessageEnd,
    MessageStart,
    Native,
    RunStart,
    ToolError,
    ToolResult,
    Usage,
)
from patinox.formats.anthropic.frames import DIALECT, citation, fill
from patinox.formats.anthropic.state import (
    Joint,
    MessageState,
    Plain,
    Written,
    close,
    drop,
    find,
    frame,
    put,
    replace,
    slot_of,
)
from patinox.formats.base import Frame, new_frame

_encode = msgspec.json.Encoder().encode


_STOP = {"type": "message_stop"}
_COUNTS = ("input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens", "cache_write_tokens")
CALL_OPS = frozenset({"json.append"})


def join(state: MessageState, data: Event) -> Written:
    """Adds an event to the frame it came in, and writes the frame when it is whole."""
    ext = _ext(data)
    joint = state.joint
    if joint is None:
        shape = ext.get("frame")
        name = ext.get("event", shape.get("type") if shape else "")
        joint = Joint(shape, name if isinstance(name, str) and name.isprintable() else "", before=_outside(state))
    flushed: Sequence[Frame] = ()
    if isinstance(data, MessageStart):
        state, flushed = stopped(state)
        joint = replace(joint, before=_outside(state)) if flushed else joint
    state = _track(state, data, joint.frame or ext)
    if isinstance(data, Native) and data.dialect == DIALECT and joint.frame is None:
        return native(state, data)
    if isinstance(data, BlockDelta):
        said = data.text if data.op in ("text.append", "json.append") else data.value
        if data.op == "annotation.add":
            said = citation(said) or said
        joint = replace(joint, payloads=(*joint.payloads, said))
    elif isinstance(data, ToolResult | ToolError | Usage):
        joint = replace(joint, payloads=(*joint.payloads, _payload(data)))
    if joint.frame is None:
        return state, flushed
    if data.more:
        return replace(state, joint=joint), flushed
    state = replace(state, joint=None)
    body = fill(joint.frame, joint.payloads)
    if isinstance(data, MessageEnd):
        return replace(state, stop=body, stop_event=joint.event), flushed
    return state, (*flushed, new_frame((_encode(body), joint.event, False)))


def _outside(state: MessageState) -> MessageState:
    return replace(state, joint=None, plain=None)


def _ext(data: Event) -> dict[str, Any]:
    """What the event says of its frame; nothing if it is not what our reader makes (anybody may write events)."""
    ext = (data.ext or {}).get(DIALECT)
    if not isinstance(ext, dict) or not isinstance(ext.get("frame", {}), dict):
        return {}
    return ext


def _payload(data: ToolResult | ToolError | Usage) -> Any:
    if isinstance(data, Usage):
        return data.raw
    return data.details if isinstance(data, ToolError) else data.result


def _track(state: MessageState, data: Event, shape: dict[str, Any]) -> MessageState:
    """Notes what the frame begins and ends."""
    if isinstance(data, RunStart):
        return replace(state, model=data.model or state.model)
    if isinstance(data, MessageStart):
        message = _object(shape.get("message"))
        return replace(
            state,
            begun=True,
            id=data.provider_id or state.id,
            model=_word(message.get("model")) or state.model,
            reason=_word(message.get("stop_reason")),
            stop_sequence=_word(message.get("stop_sequence")),
        )
    if isinstance(data, BlockStart):
        index = shape.get("index")
        index = index if type(index) is int else state.blocks
        return put(replace(state, blocks=max(state.blocks, index + 1)), slot_of(data, index))
    if isinstance(data, BlockDelta) and data.op in CALL_OPS:
        return grown(state, data, len(data.text))
    if isinstance(data, BlockEnd) and (slot := find(state, data)) is not None:
        return drop(state, slot)
    if isinstance(data, Usage):
        state = counted(state, data)
        if shape.get("type") == "message_delta":
            state = _told(state, _object(shape.get("delta")))
    return state


def _told(state: MessageState, delta: dict[str, Any]) -> MessageState:
    reason, sequence = _word(delta.get("stop_reason")), _word(delta.get("stop_sequence"))
    return replace(state, told=True, reason=reason or state.reason, stop_sequence=sequence or state.stop_sequence)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def grown(state: MessageState, data: Event | Plain, count: int) -> MessageState:
    """Counts the argument text that a call has had."""
    slot = find(state, data)
    if slot is None or not count:
        return state
    more = replace(slot, said=slot.said + count)
    if len(state.slots) == 1:
        return replace(state, slots=(more,))
    return replace(state, slots=tuple([more if each is slot else each for each in state.slots]))


def stopped(state: MessageState) -> Written:
    """The message before this one is over: its `message_stop`, and a clean slate."""
    state, frames = close(state)
    if state.stop is not None:
        frames = (*frames, message_stop(state))
    state = MessageState(
        stream=state.stream,
        id=state.id,
        model=state.model,
        muted=state.muted,
        usage=state.usage,
        owed=state.owed,
        joint=state.joint,
    )
    return state, frames


def message_stop(state: MessageState) -> Frame:
    """The end of a message: the source's, or our own."""
    return frame(state.stop or _STOP, state.stop_event)


def counted(state: MessageState, data: Usage) -> MessageState:
    """Adds the counts to those that were, or puts them in their place."""
    counts = {field: value for field in _COUNTS if (value := getattr(data, field)) is not None}
    before = state.usage
    if data.mode == "delta":
        counts = {field: before.get(field, 0) + count for field, count in counts.items()}
    return replace(state, usage={**before, **counts})


def native(state: MessageState, data: Native) -> Written:
    """A frame that was kept as it was."""
    name = data.event if data.event.isprintable() else ""
    raw = (data.ext or {}).get(DIALECT, {})
    if isinstance(raw, dict) and raw.get("raw") and isinstance(data.value, str):
        return state, (Frame(data.value.encode(), name),)
    if isinstance(data.value, dict) and data.value.get("type") == "message_delta":
        state = _told(state, _object(data.value.get("delta")))
    return state, (Frame(_encode(data.value), name),)
