"""The half of the writer of Gemini that makes frames again which were read from this dialect.

The events of one frame come one after the other; the first says what was special about the frame (see
`gemini.frames`), and when the last is there it is written.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from patinox.core.events import BlockDelta, Event, MessageEnd, Native, RunStart, ToolError, ToolResult, Usage
from patinox.formats.base import Frame
from patinox.formats.gemini.frames import DIALECT, USAGE, USED, fill, remember, shape_key
from patinox.formats.gemini.state import Alternative, GeminiState, Joint, Plain, Written, replace, track, with_choice

_encode = msgspec.json.Encoder().encode


_HOLE = b'"\\u0000$hole$"'  # how JSON writes the string below
HOLE_TEXT = "\0$hole$"
_KEYS: dict[str, type | tuple[type, ...]] = {
    "set": dict,
    "unset": list,
    "candidates": (list, type(None)),
    "event": str,
}


def plainly(plain: Plain, text: str, used: Any) -> Frame:
    """The frame of an ordinary delta."""
    if plain.used:
        return Frame(plain.before + _encode(text) + plain.between + _encode(used) + plain.after)
    return Frame(plain.before + _encode(text) + plain.between)


def first(state: GeminiState, data: BlockDelta, shape: Any) -> Written:
    """A delta like the last one, whose frame goes on: most often with its usage, and nothing else."""
    if data.op == "text.append":
        learnt, _ = like_the_last(state, data, shape)
        if learnt.plain is not None and learnt.plain is not state.plain and learnt.plain.used:
            return replace(learnt, pending=data.text), ()
    return join(state, data)


def unpend(state: GeminiState) -> GeminiState:
    """A delta whose frame goes on with something else than its usage."""
    plain = state.plain
    if plain is None:
        return replace(state, pending=None)
    key = shape_key(plain.message, plain.block, plain.op)
    return replace(state, pending=None, joint=Joint({}, (state.pending,), key))


def last_shape(state: GeminiState, data: BlockDelta) -> Any:
    """The shape of the block's last delta, if that came from this dialect."""
    return None if state.envelope is None else state.shapes.get(shape_key(data.message, data.block, data.op))


def join(state: GeminiState, data: Event) -> Written:
    """Adds an event to the frame it came in, and writes the frame when it is whole."""
    state = track(state, data)
    if isinstance(data, RunStart):
        state = replace(state, model=data.model or state.model)
    elif isinstance(data, MessageEnd):
        state = with_choice(state, data.choice, Alternative(ended=True, word=data.provider_reason))
    joint = state.joint or Joint(_ext(data))
    if isinstance(data, BlockDelta):
        key = shape_key(data.message, data.block, data.op)
        joint = replace(joint, payloads=(*joint.payloads, payload_of(data)), key=key)
    elif isinstance(data, ToolResult | ToolError):
        said = data.details if isinstance(data, ToolError) else data.result
        joint = replace(joint, payloads=(*joint.payloads, said))
    elif isinstance(data, Usage) and isinstance(data.raw, dict):
        state = replace(state, used=data.raw)
    elif isinstance(data, Native) and data.dialect == DIALECT and data.value is not None:
        joint = replace(joint, value=data.value, event=line_name(data.event))
    if data.more:
        return replace(state, joint=joint), ()
    return _whole(replace(state, joint=None), joint)


def _ext(data: Event) -> dict[str, Any]:
    """What the event says of its frame; nothing if it is not what our reader makes (anybody may write events)."""
    ext = (data.ext or {}).get(DIALECT)
    if not isinstance(ext, dict) or any(key in ext and not isinstance(ext[key], kind) for key, kind in _KEYS.items()):
        return {}
    return ext


def line_name(event: str) -> str:
    """An event name that can stand on a line."""
    return event if event.isprintable() else ""


def payload_of(data: BlockDelta) -> Any:
    """What a delta carries, as JSON has it."""
    if data.op == "bytes.append":
        return base64.b64encode(data.data).decode()
    return data.text if data.op in ("text.append", "json.append") else data.value


def _whole(state: GeminiState, joint: Joint) -> Written:
    ext = joint.ext
    if joint.value is not None:
        data = joint.value.encode() if ext.get("raw") and isinstance(joint.value, str) else _encode(joint.value)
        return state, (Frame(data, joint.event),)
    if "set" in ext or "unset" in ext:
        state = replace(state, envelope=_changed(state.envelope or {}, ext), plain=None)
    if "candidates" in ext:
        shape = ext["candidates"]
        if len(joint.payloads) == 1 and joint.key and state.shapes.get(joint.key) != shape:
            shapes = dict(state.shapes)
            remember(shapes, joint.key, shape)
            state = replace(state, shapes=shapes, plain=None)
    else:
        shape = state.shapes.get(joint.key)
        if shape is None:
            return state, ()
    return state, (Frame(_encode(_framed(state, shape, joint.payloads)), line_name(ext.get("event", ""))),)


def _framed(state: GeminiState, shape: Any, payloads: Sequence[Any]) -> dict[str, Any]:
    filled = {} if shape is None else {"candidates": fill(shape, payloads)}
    return {**filled, **_used(state, state.used)}


def _used(state: GeminiState, used: Any) -> dict[str, Any]:
    """The envelope, with the usage in its place."""
    envelope = state.envelope or {}
    return {**envelope, USAGE: used} if envelope.get(USAGE) == USED else envelope


def _changed(before: dict[str, Any], ext: dict[str, Any]) -> dict[str, Any]:
    gone, changed = ext.get("unset", ()), ext.get("set", {})
    return {**{key: value for key, value in before.items() if key not in gone}, **changed}


def like_the_last(state: GeminiState, data: BlockDelta, shape: Any) -> Written:
    """A delta in the shape of the block's last one."""
    if data.op != "text.append":
        return state, (Frame(_encode(_framed(state, shape, (payload_of(data),)))),)
    filled = {"candidates": fill(shape, (HOLE_TEXT,)), **_used(state, HOLE_TEXT)}
    return templated(state, data, filled)


def templated(state: GeminiState, data: BlockDelta, whole: dict[str, Any]) -> Written:
    """The frame `whole` with the delta in its hole; the bytes around that are remembered."""
    pieces = _encode(whole).split(_HOLE)
    used = whole.get(USAGE) == HOLE_TEXT
    if len(pieces) != 2 + used:  # the text stands in more places than one
        text, usage = _encode(data.text), _encode(state.used)
        joined = text.join(pieces[:-1]) + usage + pieces[-1] if used else text.join(pieces)
        return state, (Frame(joined),)
    before, between, after = (*pieces, b"")[:3]
    plain = Plain(data.message, data.block, data.op, before, between, after, used)
    return replace(state, plain=plain), (plainly(plain, data.text, state.used),)
