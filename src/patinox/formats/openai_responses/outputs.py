"""How an output item of our own begins, what its parts are, and how it is finished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patinox.formats.openai_responses.shapes import hole
from patinox.formats.openai_responses.state import Bodies, Core, Slot, replace, slot_key
from patinox.formats.openai_responses.tables import BY_BLOCK

THINKING = ("reasoning", "reasoning_summary", "reasoning_opaque")
_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "mcp_call": "mcp",
    "image_generation_call": "ig",
    "code_interpreter_call": "ci",
}


def item_id(core: Core, type_: str, index: int) -> str:
    """The id of an item of our own."""
    return f"{_PREFIXES.get(type_, 'item')}_{core.id}_{index}"


def added(core: Core, index: int, item: dict[str, Any]) -> Bodies:
    """An item is under way."""
    body = {"type": "response.output_item.added", "output_index": index, "item": item}
    return replace(core, opened={**core.opened, str(index): (body,)}), [body]


def add_opener(core: Core, index: int, body: dict[str, Any]) -> Bodies:
    """A frame that a fresh client needs too, while its item is under way."""
    frames = (*core.opened.get(str(index), ()), body)
    return replace(core, opened={**core.opened, str(index): frames}), [body]


def leave_message(core: Core) -> Bodies:
    """No part joins the last message item any more; it is finished if all its parts are."""
    index = core.joinable
    core = replace(core, joinable=-1)
    if index < 0 or has_open(core, index):
        return core, []
    return finish(core, index, "completed")


def ended(core: Core, key: str) -> Core:
    """Notes that a block is over."""
    slot = core.slots.get(key)
    if slot is None:
        return core
    plains = tuple(plain for plain in core.plains if slot_key(plain.message, plain.block) != key)
    return replace(core, slots={**core.slots, key: replace(slot, ended=True)}, plains=plains)


def mark_begun(core: Core, message: int, block: int | None) -> Core:
    """Notes that text of a block was written."""
    key = slot_key(message, block)
    slot = core.slots.get(key)
    if slot is None or slot.begun:
        return core
    return replace(core, slots={**core.slots, key: replace(slot, begun=True)})


def has_open(core: Core, index: int) -> bool:
    """Whether a part of this item is not over."""
    return any(slot.index == index and not slot.ended for slot in core.slots.values())


def part_done(slot: Slot) -> list[dict[str, Any]]:
    """The frames that repeat the whole of a part."""
    growing = BY_BLOCK.get(slot.of)
    if growing is None or slot.shape is None:
        return []
    place = {key: value for key, value in slot.shape.items() if key not in ("type", "logprobs")}
    text = hole(*slot.text)
    whole: dict[str, Any] = {"type": growing.done, **place, growing.key: text}
    if slot.of == "text":
        whole["logprobs"] = _logprobs(slot)
    bodies = [whole]
    if growing.area == "content":
        bodies.append({"type": "response.content_part.done", **place, "part": _part(slot)})
    elif growing.area == "summary":
        bodies.append({"type": "response.reasoning_summary_part.done", **place, "part": _part(slot)})
    return bodies


def _part(slot: Slot) -> dict[str, Any]:
    """The shape of a whole part."""
    text = hole(*slot.text)
    if slot.of == "refusal":
        return {"type": "refusal", "refusal": text}
    if slot.of == "text":
        citations = [] if slot.text[0] == "bare" else hole("citations", *slot.text[1:])
        return {"type": "output_text", "text": text, "annotations": citations, "logprobs": _logprobs(slot)}
    return {"type": "summary_text" if slot.of == "reasoning_summary" else "reasoning_text", "text": text}


def _logprobs(slot: Slot) -> Any:
    return [] if slot.text[0] == "bare" else hole("logprobs", *slot.text[1:])


def finish(
    core: Core, index: int, status: str, changes: Mapping[str, Any] | None = None, *, final: Any = None
) -> Bodies:
    """An item is over: its last frame, and its shape for the response object (`final`, where it is known)."""
    if final is None:
        final = final_shape(core, index, status) | dict(changes or {})
    opened = {key: frames for key, frames in core.opened.items() if key != str(index)}
    slots = {key: slot for key, slot in core.slots.items() if slot.index != index}
    core = replace(core, opened=opened, slots=slots, finals={**core.finals, str(index): final})
    return core, [{"type": "response.output_item.done", "output_index": index, "item": hole("item", index)}]


def final_shape(core: Core, index: int, status: str) -> dict[str, Any]:
    """An item with what was said in it: what it began as, and its parts."""
    item: dict[str, Any] = {**core.opened[str(index)][0]["item"]}
    slots = sorted((slot for slot in core.slots.values() if slot.index == index), key=lambda slot: slot.part)
    if "status" in item or item.get("type") == "message":
        item["status"] = status
    if item.get("type") == "message":
        item["content"] = [_part(slot) for slot in slots if slot.of in ("text", "refusal")]
        return item
    for slot in slots:
        growing = BY_BLOCK.get(slot.of)
        if slot.of in THINKING:
            item["encrypted_content"] = hole("opaque", slot.message, slot.block)
        if slot.of == "reasoning":
            item["content"] = [*(item.get("content") or ()), _part(slot)]
        elif slot.of == "reasoning_summary":
            item["summary"] = [*(item.get("summary") or ()), _part(slot)]
        elif growing is not None and growing.key in item:
            item[growing.key] = hole(*slot.text)
    return item
