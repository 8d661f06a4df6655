"""Writes OpenAI Responses streams (API reference, "Streaming events").

Events that were read from this dialect carry what their frame looked like (see `shapes`), and become that frame
again. All others make frames of our own (`own`). Both may come in one stream. The frame that ends a run is held
until the log's end is known; the whole texts and items that the dialect repeats are read from the assembly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, StreamChunk, Text
from patinox.core.events import BlockDelta, BlockEnd, BlockStart, Event, MessageStart, Native, RunStart, Usage
from patinox.formats.base import Frame, StreamHead, new_frame
from patinox.formats.openai_responses import endings, outputs, own
from patinox.formats.openai_responses.shapes import DIALECT, fill
from patinox.formats.openai_responses.state import (
    Core,
    Joint,
    Plain,
    ResponsesState,
    Slot,
    Written,
    event_name,
    numbered,
    replace,
    slot_key,
    sources,
)
from patinox.formats.openai_responses.tables import BY_BLOCK, DELTAS
from patinox.incremental.assembler import Assembly

_encode = msgspec.json.Encoder().encode

_NUMBER = b'"\\u0000$number$"'  # how JSON writes the strings below
_NUMBER_TEXT = "\0$number$"
_TEXT = b'"\\u0000$text$"'
_TEXT_TEXT = "\0$text$"
_PLAINS = 4
_NOTHING: dict[str, Any] = {}
_KEYS: dict[str, type | tuple[type, ...]] = {
    "frame": dict, "once": dict, "set": dict, "item": int, "seq": int, "named": bool, "event": str, "hold": bool,
    "raw": bool,
}  # fmt: skip


class OpenAIResponsesWriter:
    """The fold. It has no state of its own."""

    def initial(self, head: StreamHead) -> ResponsesState:
        """The response is `resp_<stream id>`; the model is told by the run, else by the stream's metadata."""
        model = head.metadata.get("model")
        return ResponsesState(
            0,
            Core(
                id=head.id,
                created=int(head.created_s),
                model=model if isinstance(model, str) and model else "patinox",
            ),
        )

    def write(self, state: ResponsesState, chunk: StreamChunk, assembly: Assembly) -> Written:
        """The frames of one record; none for what the dialect has no word for."""
        data = chunk.data
        kind = type(data)
        if kind is BlockDelta and not data.more:
            core = state.core
            for plain in core.plains:
                if plain.block == data.block and plain.message == data.message and plain.op == data.op:
                    once = _NOTHING if data.ext is None else _only_once(data.ext, plain)
                    if once is None or core.joint is not None:
                        break
                    return _plain(state, plain, data.text, once)
        if kind is End or kind is Error:
            return endings.end(state, data, assembly, _flush)
        if kind is Text:
            return _text(state, data, assembly)
        if not isinstance(data, Event):
            return state, ()
        if state.core.joint is not None or (data.ext is not None and DIALECT in data.ext):
            return _join(state, data, assembly)
        if type(data) is BlockDelta:
            return _delta(state, data, assembly)
        return _own(state, data, assembly)

    def openers(self, state: ResponsesState, assembly: Assembly) -> Sequence[Frame]:
        """The response without its output, every item under way, and its parts, without what was said before.

        All carry the number of the last frame before them, so that `starting_after` is right at any of them.
        """
        core = state.core
        if not core.begun:
            return ()
        response = {**(core.response or own.fresh_response(core)), "output": [], "status": "in_progress"}
        bodies = [{"type": "response.created", "response": response}]
        bodies += [frame for frames in core.opened.values() for frame in frames]
        number = max(state.sequence - 1, 0)
        return [frame for body in bodies for frame in numbered(number, core, (body,))[1]]


def _own(state: ResponsesState, data: Event, assembly: Assembly) -> Written:
    if type(data) is Native:
        if data.dialect != DIALECT or not isinstance(data.value, dict):
            return state, ()
        return numbered(state.sequence, state.core, (data.value,))
    write = own.WRITES.get(type(data))
    if write is None:
        return state, ()
    return _written(state, *write(state.core, data, assembly), assembly)


def _written(state: ResponsesState, core: Core, bodies: Sequence[dict[str, Any]], assembly: Assembly) -> Written:
    known = sources(core, assembly)
    return numbered(state.sequence, core, [fill(body, known) for body in bodies])


# ordinary deltas


def _text(state: ResponsesState, data: Text, assembly: Assembly) -> Written:
    """A chunk of bare text; it is a block of its own that only another text ends."""
    core, frames = state.core, list[Frame]()
    key = own.bare_key(core)
    if key not in core.slots:
        state, opened = _written(state, *own.open_bare(core), assembly)
        frames += opened
    if not data.text:
        return state, frames
    slot = state.core.slots[key]
    state, made = _delta(state, BlockDelta(message=slot.message, block=slot.block, text=data.text), assembly)
    return state, (*frames, *made)


def _delta(state: ResponsesState, data: BlockDelta, assembly: Assembly, once: dict[str, Any] | None = None) -> Written:
    for plain in state.core.plains:
        if plain.block == data.block and plain.message == data.message and plain.op == data.op:
            return _plain(state, plain, data.text, once)
    return _first_delta(state, data, assembly, once)


def _only_once(ext: dict[str, Any], plain: Plain) -> dict[str, Any] | None:
    """What the frame of an ordinary delta says once; None if it differs from the block's last one in more than that."""
    own = ext.get(DIALECT) if len(ext) == 1 else None
    once = own.get("once") if type(own) is dict and len(own) == 1 else None
    return once if type(once) is dict and plain.keys.isdisjoint(once) else None


def _plain(state: ResponsesState, plain: Plain, text: str, once: dict[str, Any] | None) -> Written:
    sequence, core = state.sequence, state.core
    after = plain.going_on + _encode(once)[1:] if once else plain.after
    number = b"%d" % sequence if core.numbered else b""
    body = plain.before + number + plain.between + _encode(text) + after
    return ResponsesState(sequence + core.numbered, core), (new_frame((body, plain.event, False)),)


def _first_delta(state: ResponsesState, data: BlockDelta, assembly: Assembly, once: dict[str, Any] | None) -> Written:
    """Remembers the bytes around number and text, so that the block's next delta need not be built."""
    key = slot_key(data.message, data.block)
    is_text = data.op == "text.append" or data.op == "json.append"
    slot = state.core.slots.get(key)
    frames: Sequence[Frame] = ()
    if slot is None or slot.shape is None or not is_text:
        state, frames = _written(state, *own.delta(state.core, data), assembly)
        slot = state.core.slots.get(key)
    core = state.core
    if slot is None or slot.shape is None or slot.ended or not data.text or BY_BLOCK[slot.of].op != data.op:
        return state, frames
    core = outputs.mark_begun(core, data.message, data.block)
    plain = _template(core, slot.shape, data)
    if plain is None:
        state, made = numbered(state.sequence, core, ({**slot.shape, "delta": data.text, **(once or {})},))
    else:
        core = replace(core, plains=(*core.plains[1 - _PLAINS :], plain))
        state, made = _plain(ResponsesState(state.sequence, core), plain, data.text, once)
    return state, (*frames, *made)


def _template(core: Core, shape: dict[str, Any], data: BlockDelta) -> Plain | None:
    name = shape.get("type")
    body = _encode({"type": name, "sequence_number": _NUMBER_TEXT, **shape, "delta": _TEXT_TEXT})
    before, number, rest = body.partition(_NUMBER)
    between, text, after = rest.partition(_TEXT)
    if not number or not text or _NUMBER in rest or _TEXT in after or "sequence_number" in shape:
        return None
    if not core.numbered:
        before = before[: before.rindex(b',"sequence_number":')]
    keys = frozenset((*shape, "delta"))
    return Plain(
        data.message, data.block, data.op, event_name(name, core), before, between, after, after[:-1] + b",", keys
    )


# frames that were read from this dialect


def _join(state: ResponsesState, data: Event, assembly: Assembly) -> Written:
    """Adds an event to the frame it came in, and writes the frame when it is whole."""
    core, ext = state.core, _ext(data)
    if len(ext) == 1 and "once" in ext and core.joint is None and type(data) is BlockDelta and not data.more:
        known = core.slots.get(slot_key(data.message, data.block))
        if known is not None and known.shape is not None:
            return _once(state, data, known.shape, ext["once"], assembly)
    joint, core = _gather(core.joint or Joint(ext), core, data)
    if data.more:
        return ResponsesState(state.sequence, replace(core, joint=joint)), ()
    if core.joint is not None:
        core = replace(core, joint=None)
    return _whole(ResponsesState(state.sequence, core), joint, assembly)


def _once(
    state: ResponsesState, data: BlockDelta, shape: dict[str, Any], once: dict[str, Any], assembly: Assembly
) -> Written:
    if once.keys().isdisjoint(shape) and "delta" not in once:
        return _delta(state, data, assembly, once)
    return numbered(state.sequence, state.core, ({**shape, "delta": data.text, **once},))


def _ext(data: Event) -> dict[str, Any]:
    """What the event says of its frame; nothing if it is not what our reader makes (anybody may write events)."""
    ext = (data.ext or {}).get(DIALECT)
    if type(ext) is not dict:
        return {}
    for key, value in ext.items():
        if key not in _KEYS or not isinstance(value, _KEYS[key]):
            return {}
    return ext


def _gather(joint: Joint, core: Core, data: Event) -> tuple[Joint, Core]:
    """The frame with the event in it, and what else the event changes."""
    payloads, slot, name, value = joint.payloads, "", joint.name, joint.value
    if isinstance(data, BlockDelta):
        payloads, slot = (*payloads, _payload(data)), slot_key(data.message, data.block)
    elif isinstance(data, BlockStart):
        begun = Slot(of=data.of, message=data.message, block=data.block, name=data.name, call_id=data.call_id)
        runs = core.bare_runs + (data.of == "text" and own.bare_key(core) in core.slots)
        core = replace(core, slots={**core.slots, slot_key(data.message, data.block): begun}, bare_runs=runs)
    elif isinstance(data, BlockEnd):
        core = outputs.ended(core, slot_key(data.message, data.block))
    elif isinstance(data, Native):
        name, value = data.event, data.value
    elif isinstance(data, Usage):
        core = replace(core, usage=own.counted(core.usage, data))
        payloads = (*payloads, data.raw)
    elif isinstance(data, RunStart):
        core = replace(core, model=data.model or core.model)
    elif not isinstance(data, MessageStart):
        core = own.noted(core, data)
    return Joint(joint.ext, payloads, joint.events + 1, slot, name, value), core


def _payload(data: BlockDelta) -> Any:
    """What a frame's holes ask for by number; whole values are asked of the assembly."""
    if data.op in ("text.append", "json.append"):
        return data.text
    if data.op == "logprobs.add" and isinstance(data.value, dict):
        return data.value.get("content")
    return data.value if data.op == "annotation.add" else None


def _whole(state: ResponsesState, joint: Joint, assembly: Assembly) -> Written:
    """Writes a frame that is whole, or holds it."""
    if not state.core.held and "hold" not in joint.ext:
        return _frame(state, joint, assembly)
    frames: Sequence[Frame] = ()
    if state.core.held and "set" in joint.ext:  # another response begins: the one before it is over
        state, frames = _flush(state, state.core.held, assembly)
    if state.core.held or joint.ext.get("hold"):
        core = state.core
        return ResponsesState(state.sequence, replace(core, held=(*core.held, joint))), frames
    state, made = _frame(state, joint, assembly)
    return state, (*frames, *made)


def _flush(state: ResponsesState, joints: Sequence[Joint], assembly: Assembly) -> Written:
    frames: list[Frame] = []
    state = ResponsesState(state.sequence, replace(state.core, held=()))
    for joint in joints:
        state, made = _frame(state, joint, assembly)
        frames += made
    return state, frames


def _frame(state: ResponsesState, joint: Joint, assembly: Assembly) -> Written:
    ext = joint.ext
    if ext.get("raw"):
        text = joint.value if isinstance(joint.value, str) else ""
        event = ext.get("event", "")
        return state, ((Frame(text.encode(), event if event.isprintable() else ""),) if text else ())
    sequence, core = _changed(state, ext)
    core = core if core.begun else replace(core, begun=True)
    shape = ext.get("frame")
    if shape is None:
        shape = joint.value
        body = shape
    else:
        body = fill(shape, sources(core, assembly, joint.payloads))
    if not isinstance(body, dict):
        return ResponsesState(sequence, core), ()
    core = _tracked(core, joint, shape, body)
    state, frames = numbered(sequence, core, (body,))
    if "event" in ext and ext["event"].isprintable():
        frames = [Frame(frame.data, ext["event"]) for frame in frames]
    return state, frames


def _changed(state: ResponsesState, ext: dict[str, Any]) -> tuple[int, Core]:
    sequence, core = state.sequence, state.core
    if "set" in ext:
        core = replace(core, response=ext["set"], begun=True, opened={}, finals={}, slots={}, plains=(), joinable=-1)
    if "seq" in ext:
        is_numbered = ext["seq"] is not False
        sequence = ext["seq"] if is_numbered else sequence
        core = replace(core, numbered=is_numbered, plains=())
    if "named" in ext:
        core = replace(core, named=ext["named"], plains=())
    return sequence, core


# what of their frames a fresh client, and an end of our own, will need


def _tracked(core: Core, joint: Joint, shape: dict[str, Any], body: dict[str, Any]) -> Core:
    kind, index = body.get("type"), body.get("output_index")
    if joint.events == 1 and joint.slot and kind in DELTAS and shape.get("delta") == {"$": 0}:
        remembered = {key: value for key, value in shape.items() if key not in ("delta", "obfuscation")}
        core = _remember(core, joint.slot, remembered)
    if type(index) is not int:
        return core
    if kind == "response.output_item.added":
        core = replace(core, opened={**core.opened, str(index): (body,)})
    elif kind in ("response.content_part.added", "response.reasoning_summary_part.added"):
        core = replace(core, opened={**core.opened, str(index): (*core.opened.get(str(index), ()), body)})
    elif kind == "response.output_item.done" and "item" in joint.ext:
        core = _finished(core, index, shape.get("item"))
    return core if kind in DELTAS else _placed(core, index)


def _remember(core: Core, key: str, shape: dict[str, Any]) -> Core:
    slot = core.slots.get(key)
    if slot is None:
        return core
    plains = tuple(plain for plain in core.plains if slot_key(plain.message, plain.block) != key)
    return replace(core, slots={**core.slots, key: replace(slot, shape=shape, begun=True)}, plains=plains)


def _placed(core: Core, index: int) -> Core:
    """Blocks that began in this frame belong to its item."""
    fresh = [(key, slot) for key, slot in core.slots.items() if slot.index < 0 and not slot.own]
    if not fresh:
        return core
    part = sum(slot.index == index for slot in core.slots.values())
    placed = {}
    for key, slot in fresh:
        text = ("text", slot.message, slot.block)
        placed[key] = replace(slot, index=index, part=part, text=text)
        part += slot.of in BY_BLOCK
    return replace(core, slots={**core.slots, **placed})


def _finished(core: Core, index: int, shape: Any) -> Core:
    core = _placed(core, index)
    opened = {key: frames for key, frames in core.opened.items() if key != str(index)}
    slots = {key: slot for key, slot in core.slots.items() if slot.index != index}
    return replace(core, opened=opened, finals={**core.finals, str(index): shape}, slots=slots)
