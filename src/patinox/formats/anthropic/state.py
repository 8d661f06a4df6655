"""What the writer of Anthropic Messages remembers, and the frames that it makes itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from patinox.core.events import BlockStart, Event
from patinox.formats.anthropic.frames import CALLS, head, write_usage
from patinox.formats.base import Frame, new_frame

_encode = msgspec.json.Encoder().encode
replace = msgspec.structs.replace


class Plain(msgspec.Struct, frozen=True):
    """The bytes around the text of a block's ordinary delta."""

    message: int
    block: int | None
    op: str
    before: bytes
    after: bytes


class Slot(msgspec.Struct, frozen=True):
    """A block that has begun and not ended.

    `index` is its number on the wire, -1 while it has none. `said` counts the characters of a call's arguments.
    """

    message: int
    block: int | None
    of: str
    index: int = -1
    name: str | None = None
    call_id: str | None = None
    said: int = 0


class Joint(msgspec.Struct, frozen=True):
    """A frame of which some events have come: its shape and name, and its payloads so far.

    `before` is the state that its readers are in.
    """

    frame: dict[str, Any] | None
    event: str = ""
    payloads: tuple[Any, ...] = ()
    before: MessageState | None = None


class MessageState(msgspec.Struct, frozen=True):
    """All that the writer remembers.

    `begun`: a `message_start` was written; `told`: its `message_delta` too. `blocks` counts the message's blocks on
    the wire. `unstopped` is a call whose arguments may still come, by its number on the wire. `stop` is a
    `message_stop` that waits for the end of the log, `reason` what the `message_delta` said, or our own will
    say. `owed`: there is usage that no frame has told.
    """

    stream: str
    id: str
    model: str
    begun: bool = False
    told: bool = False
    blocks: int = 0
    slots: tuple[Slot, ...] = ()
    unstopped: int = -1
    plain: Plain | None = None
    joint: Joint | None = None
    stop: dict[str, Any] | None = None
    stop_event: str = ""
    reason: str | None = None
    stop_sequence: str | None = None
    muted: tuple[int, ...] = ()
    usage: dict[str, Any] = {}
    owed: bool = False


class AnthropicState(msgspec.Struct, frozen=True):
    """The writer's state: what it remembers, apart from the only thing that an ordinary argument delta changes.

    `grown` are the characters that the call which `message.plain` is of has had since `message` was made.
    """

    message: MessageState
    grown: int = 0


Written = tuple[MessageState, Sequence[Frame]]


def find(state: MessageState, data: Event | Plain) -> Slot | None:
    """The open block that an event belongs to."""
    for slot in state.slots:
        if slot.block == data.block and slot.message == data.message:
            return slot
    return None


def put(state: MessageState, slot: Slot, old: Slot | None = None) -> MessageState:
    """Remembers the block, in the place of what was remembered of it."""
    slots = tuple(item for item in state.slots if item is not old)
    return replace(state, slots=(*slots, slot), plain=None)


def drop(state: MessageState, slot: Slot) -> MessageState:
    """Forgets the block."""
    return replace(state, slots=tuple(item for item in state.slots if item is not slot), plain=None)


def slot_of(data: BlockStart, index: int = -1) -> Slot:
    """What is to be remembered of a block."""
    return Slot(data.message, data.block, data.of, index, data.name, data.call_id)


def frame(body: dict[str, Any], event: str = "") -> Frame:
    """A frame, named by its type."""
    return new_frame((_encode(body), event or str(body.get("type", "")), False))


def stop_frame(index: int) -> Frame:
    """The end of a block."""
    return new_frame((b'{"type":"content_block_stop","index":%d}' % index, "content_block_stop", False))


def message_start(state: MessageState) -> Frame:
    """The beginning of a message. Counts it does not know yet are 0, as the dialect has no way to leave them out."""
    usage = {"input_tokens": 0, **write_usage(state.usage)}
    message: dict[str, Any] = {
        "id": state.id,
        "type": "message",
        "role": "assistant",
        "model": state.model,
        "content": [],
        "stop_reason": state.reason if state.told else None,
        "stop_sequence": state.stop_sequence if state.told else None,
        "usage": usage,
    }
    return frame({"type": "message_start", "message": message})


def message_delta(state: MessageState, reason: str | None, stop_sequence: str | None = None) -> Frame:
    """Why the message ends, null where nobody knows, and its usage."""
    delta = {"stop_reason": reason, "stop_sequence": stop_sequence}
    return frame({"type": "message_delta", "delta": delta, "usage": write_usage(state.usage)})


def block_start(state: MessageState, slot: Slot, index: int) -> Frame:
    """The beginning of a block. A call without an id gets one made of where it stands."""
    call_id, name = slot.call_id, slot.name
    if slot.of in CALLS:
        call_id, name = call_id or f"toolu_{state.stream}_{index}", name or ""
    body = {"type": "content_block_start", "index": index, "content_block": head(slot.of, name, call_id)}
    return frame(body)


def begin(state: MessageState) -> Written:
    """A message begins, if none has."""
    if state.begun:
        return state, ()
    return replace(state, begun=True, owed=False), (message_start(state),)


def open_block(state: MessageState, slot: Slot, old: Slot | None = None) -> Written:
    """A block begins on the wire. What was open before it ends; calls don't, more of them may be to come."""
    state, frames = begin(state)
    state, closed = close(state, calls=False)
    index = state.blocks
    slots = (*[item for item in state.slots if item is not old], replace(slot, index=index))
    state = replace(state, blocks=index + 1, slots=slots, plain=None)
    return state, (*frames, *closed, block_start(state, slot, index))


def close(state: MessageState, *, calls: bool = True) -> Written:
    """The open blocks end on the wire. They stay remembered: more of a text makes another block."""
    frames, slots = [], []
    for slot in state.slots:
        if slot.index >= 0 and (calls or slot.of not in CALLS):
            frames.append(stop_frame(slot.index))
            slot = replace(slot, index=-1)
        slots.append(slot)
    return (replace(state, slots=tuple(slots), plain=None), frames) if frames else (state, ())


def release(state: MessageState) -> Written:
    """The call that waited for its arguments ends without any."""
    if state.unstopped < 0:
        return state, ()
    slots = tuple(slot for slot in state.slots if slot.index != state.unstopped)
    return replace(state, slots=slots, unstopped=-1, plain=None), (stop_frame(state.unstopped),)
