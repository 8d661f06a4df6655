"""Frames of our own, for what was not read from this dialect.

A text or a refusal is a part of a message item, and joins the one before it where nothing stands between; any other
block is an item. A function call is finished when it is ready, so that one that was cut off never looks whole. What
providers ran themselves is written at its end: as the item it was if it came from this dialect, else as an MCP call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Event,
    MessageEnd,
    MessageStart,
    RunStart,
    ToolReady,
    Usage,
)
from patinox.formats.openai_responses import late
from patinox.formats.openai_responses.outputs import (
    THINKING,
    add_opener,
    added,
    ended,
    finish,
    has_open,
    item_id,
    leave_message,
    part_done,
)
from patinox.formats.openai_responses.shapes import hole, write_annotations
from patinox.formats.openai_responses.state import Bodies, Core, Slot, item_index, replace, slot_key
from patinox.formats.openai_responses.tables import BY_BLOCK
from patinox.incremental.assembler import Assembly

_encode = msgspec.json.Encoder().encode

_COUNTS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cache_write_tokens",
)
_BARE = -1  # the message of bare text, which has none


# the run


def begin(core: Core) -> Bodies:
    """The response begins."""
    if core.begun:
        return core, []
    response = fresh_response(core)
    core = replace(core, begun=True, response=response)
    return core, [{"type": f"response.{word}", "response": response} for word in ("created", "in_progress")]


def fresh_response(core: Core) -> dict[str, Any]:
    """The response object of our own, before anything was said."""
    return {
        "id": f"resp_{core.id}",
        "object": "response",
        "created_at": core.created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": core.model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def _run_start(core: Core, data: RunStart, _assembly: Assembly) -> Bodies:
    return begin(replace(core, model=data.model or core.model))


def _message_start(core: Core, data: MessageStart, _assembly: Assembly) -> Bodies:
    if data.choice or data.role != "assistant":
        return replace(core, muted=(*core.muted, data.message)), []
    return begin(core)


def noted(core: Core, data: Event) -> Core:
    """What an event changes that is not written now."""
    if isinstance(data, MessageEnd):
        muted = tuple(message for message in core.muted if message != data.message)
        heard = data.message not in core.muted and not data.choice
        core = replace(core, muted=muted, reason=data.finish_reason if heard else core.reason)
    elif isinstance(data, Usage):
        core = replace(core, usage=counted(core.usage, data))
    return core


def counted(before: dict[str, Any], data: Usage) -> dict[str, Any]:
    """The usage so far: deltas are added, anything else replaces."""
    counts = {field: value for field in _COUNTS if (value := getattr(data, field)) is not None}
    if data.mode == "delta":
        return {**before, **{field: before.get(field, 0) + count for field, count in counts.items()}}
    return {**before, **counts} | ({"raw": data.raw} if data.raw is not None else {})


def _usage(core: Core, data: Usage, _assembly: Assembly) -> Bodies:
    return noted(core, data), []


def _message_end(core: Core, data: MessageEnd, assembly: Assembly) -> Bodies:
    whole = data.finish_reason in ("stop", "tool_calls")
    core, bodies = close(core, assembly, whole=whole, message=data.message)
    return noted(core, data), bodies


# blocks begin


def _block_start(core: Core, data: BlockStart, _assembly: Assembly) -> Bodies:
    return _open(core, data, ("text", data.message, data.block))


def bare_key(core: Core) -> str:
    """The slot of the bare text that is being said."""
    return slot_key(_BARE, core.bare_runs)


def open_bare(core: Core) -> Bodies:
    """A run of bare text begins."""
    return _open(core, BlockStart(message=_BARE, block=core.bare_runs), ("bare", core.bare_runs))


def close_bare(core: Core) -> Core:
    """The run of bare text is over."""
    return _end_bare(core)[0]


def _open(core: Core, data: BlockStart, text: tuple[Any, ...]) -> Bodies:
    if data.message in core.muted or data.choice:
        return core, []
    core, bodies = begin(core)
    if data.of == "text" and data.message != _BARE:
        core, more = _end_bare(core)
        bodies += more
    key = slot_key(data.message, data.block)
    slot = Slot(
        of=data.of, message=data.message, block=data.block, own=True, text=text, name=data.name, call_id=data.call_id
    )
    if data.of in ("text", "refusal"):
        core, more = _open_part(core, key, slot)
    elif data.of in THINKING or data.of == "tool_call" or _is_custom_call(slot):
        core, more = _open_item(core, key, slot)
    else:
        core, more = replace(core, slots={**core.slots, key: slot}), []
    return core, bodies + more


def _is_custom_call(slot: Slot) -> bool:
    return slot.of == "custom" and bool(slot.name and slot.call_id)


def _open_part(core: Core, key: str, slot: Slot) -> Bodies:
    bodies: list[dict[str, Any]] = []
    if not _joins(core, slot):
        core, bodies = leave_message(core)
        index = item_index(core)
        item = {"id": item_id(core, "message", index), "type": "message", "status": "in_progress",
                "role": "assistant", "content": []}  # fmt: skip
        core, more = added(core, index, item)
        bodies += more
        core = replace(core, joinable=index)
    index = core.joinable
    part = sum(known.index == index for known in core.slots.values())
    empty = {"type": "refusal", "refusal": ""} if slot.of == "refusal" else {
        "type": "output_text", "text": "", "annotations": [], "logprobs": []}  # fmt: skip
    place = {"item_id": item_id(core, "message", index), "output_index": index, "content_index": part}
    core, opened = add_opener(core, index, {"type": "response.content_part.added", **place, "part": empty})
    return _take_place(core, key, slot, index, part, place), bodies + opened


def _end_bare(core: Core) -> Bodies:
    """The assembly begins another run of bare text after a text block; so do we."""
    key = bare_key(core)
    if key not in core.slots:
        return core, []
    core, bodies = _end_slot(core, key)
    return replace(core, bare_runs=core.bare_runs + 1), bodies


def _joins(core: Core, slot: Slot) -> bool:
    """Whether a part may join the message item that was written last: if it is of the same message."""
    return core.joinable >= 0 and any(
        known.index == core.joinable and known.message == slot.message for known in core.slots.values()
    )


def _open_item(core: Core, key: str, slot: Slot) -> Bodies:
    core, bodies = leave_message(core)
    index = item_index(core)
    item = _fresh_item(core, slot, index)
    core, more = added(core, index, item)
    bodies += more
    place: dict[str, Any] = {"item_id": item["id"], "output_index": index}
    opened: list[dict[str, Any]] = []
    if slot.of == "reasoning":
        place["content_index"] = 0
        part = {"type": "reasoning_text", "text": ""}
        core, opened = add_opener(core, index, {"type": "response.content_part.added", **place, "part": part})
    elif slot.of == "reasoning_summary":
        place["summary_index"] = 0
        part = {"type": "summary_text", "text": ""}
        core, opened = add_opener(core, index, {"type": "response.reasoning_summary_part.added", **place, "part": part})
    return _take_place(core, key, slot, index, 0, place), bodies + opened


def _fresh_item(core: Core, slot: Slot, index: int) -> dict[str, Any]:
    if slot.of in THINKING:
        item = {"id": item_id(core, "reasoning", index), "type": "reasoning", "summary": []}
        return item | ({"content": []} if slot.of == "reasoning" else {})
    type_, key = ("custom_tool_call", "input") if slot.of == "custom" else ("function_call", "arguments")
    return {
        "id": item_id(core, type_, index),
        "type": type_,
        "status": "in_progress",
        "call_id": slot.call_id or f"call_{core.id}_{index}",
        "name": slot.name or "",
        key: "",
    }


def _take_place(core: Core, key: str, slot: Slot, index: int, part: int, place: dict[str, Any]) -> Core:
    growing = BY_BLOCK.get(slot.of)
    shape = None
    if growing is not None:
        shape = {"type": growing.delta, **place} | ({"logprobs": []} if slot.of == "text" else {})
    slot = replace(slot, index=index, part=part, shape=shape)
    return replace(core, slots={**core.slots, key: slot})


# blocks grow


def delta(core: Core, data: BlockDelta) -> Bodies:
    """What a delta needs before it can be written, and deltas that are not text. Text itself is the writer's."""
    key = slot_key(data.message, data.block)
    bodies: list[dict[str, Any]] = []
    if key not in core.slots:
        if data.op != "text.append" or not data.text:
            return core, []
        # A source that never opened it: plain text is the only thing a bare delta can be.
        core, bodies = _open(
            core,
            BlockStart(message=data.message, choice=data.choice, block=data.block),
            ("text", data.message, data.block),
        )
    slot = core.slots.get(key)
    if slot is None or slot.shape is None or slot.of != "text":
        return core, bodies
    if data.op == "annotation.add":
        place = {key: value for key, value in slot.shape.items() if key != "logprobs"}
        place["type"] = "response.output_text.annotation.added"
        found = write_annotations(data.value)
        for index, citation in enumerate(found, slot.counted):
            bodies.append({**place, "annotation_index": index, "annotation": hole("literal", citation)})
        return replace(core, slots={**core.slots, key: replace(slot, counted=slot.counted + len(found))}), bodies
    if data.op == "logprobs.add":
        tokens = data.value.get("content") if isinstance(data.value, dict) else data.value
        return core, [*bodies, {**slot.shape, "delta": "", "logprobs": hole("literal", tokens or [])}]
    return core, bodies


# blocks end


def _block_end(core: Core, data: BlockEnd, assembly: Assembly) -> Bodies:
    key = slot_key(data.message, data.block)
    slot = core.slots.get(key)
    if slot is None or slot.ended or not slot.own:
        return ended(core, key), []
    if slot.index < 0:
        return late.end(ended(core, key), key, assembly)
    if slot.of == "tool_call":  # until it is ready, or its message is over
        return ended(core, key), []
    return _end_slot(core, key)


def _end_slot(core: Core, key: str, status: str = "completed") -> Bodies:
    core, slot = ended(core, key), core.slots[key]
    bodies = part_done(slot)
    if slot.index == core.joinable or has_open(core, slot.index):
        return core, bodies
    core, more = finish(core, slot.index, status)
    return core, bodies + more


def _tool_ready(core: Core, data: ToolReady, _assembly: Assembly) -> Bodies:
    slot = core.slots.get(slot_key(data.message, data.block))
    if slot is None or not slot.own or slot.of != "tool_call":
        return core, []
    if slot.begun or slot.shape is None:
        return _finish_call(core, slot, "completed", hole(*slot.text))
    raw = data.invalid_raw  # the arguments came in one piece
    said = raw if raw is not None else _encode({} if data.arguments is None else data.arguments).decode()
    core, bodies = _finish_call(core, slot, "completed", said)
    return core, [{**slot.shape, "delta": said}, *bodies]


def _finish_call(core: Core, slot: Slot, status: str, arguments: Any) -> Bodies:
    bodies: list[dict[str, Any]] = []
    if status == "completed":
        growing = BY_BLOCK[slot.of]
        bodies = [{**(slot.shape or {}), "type": growing.done, "name": slot.name or "", growing.key: arguments}]
    core, more = finish(core, slot.index, status, {"arguments": arguments})
    return core, bodies + more


def close(core: Core, assembly: Assembly, *, whole: bool, message: int | None = None) -> Bodies:
    """Ends what is open, of one message or of all; `whole` says that nothing of it was cut off."""
    core, bodies = leave_message(core)
    status = "completed" if whole else "incomplete"
    for key, slot in list(core.slots.items()):
        if key not in core.slots or (message is not None and slot.message != message):
            continue
        core, more = _close_slot(core, key, slot, assembly, status, last=message is None)
        bodies += more
    for index in [] if message is not None else list(core.opened):
        core, more = finish(core, int(index), status)
        bodies += more
    return core, bodies


def _close_slot(core: Core, key: str, slot: Slot, assembly: Assembly, status: str, *, last: bool) -> Bodies:
    if slot.index < 0:
        return late.end(core, key, assembly, last=last)
    if str(slot.index) not in core.opened:  # theirs, and it never began
        return replace(core, slots={known: other for known, other in core.slots.items() if known != key}), []
    if slot.own and slot.of == "tool_call":
        return _finish_call(core, slot, status, hole(*slot.text))
    if slot.own and not slot.ended:
        return _end_slot(core, key, status)
    return (core, []) if has_open(core, slot.index) and slot.own else finish(core, slot.index, status)


WRITES: Mapping[type[Event], Callable[[Core, Any, Assembly], Bodies]] = {
    RunStart: _run_start,
    MessageStart: _message_start,
    BlockStart: _block_start,
    BlockEnd: _block_end,
    ToolReady: _tool_ready,
    MessageEnd: _message_end,
    Usage: _usage,
}
"""Who writes what. Deltas are the writer's own business."""
