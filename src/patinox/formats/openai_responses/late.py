"""What is written at its end only: what a provider ran itself, and whole things such as images.

A block whose value is an item of this dialect becomes that item again. Any other server tool becomes an MCP call,
written when its result has come, or without one at the end of the run.
"""

from __future__ import annotations

from typing import Any

from patinox.formats.openai_responses.outputs import added, finish, item_id, leave_message
from patinox.formats.openai_responses.shapes import hole
from patinox.formats.openai_responses.state import Bodies, Core, Slot, item_index, replace
from patinox.formats.openai_responses.tables import ITEM_TEXTS, item_block, item_name
from patinox.incremental.assembler import AssembledBlock, Assembly

Item = tuple[dict[str, Any], dict[str, Any]]
"""How an item begins, and the shape of it whole."""


def end(core: Core, key: str, assembly: Assembly, *, last: bool = False) -> Bodies:
    """The block is over; `last`: nothing more will come."""
    slot = core.slots[key]
    block = assembly.block(slot.message, slot.block)
    item = None if block is None else _item(slot, block)
    if item is None and slot.of == "server_tool_call":
        if slot.call_id and not last:
            return core, []  # its result may come
        item = _tool_call(slot, None)
    if slot.of == "tool_result" and item is None:
        return _result(core, key, slot)
    core = replace(core, slots={known: other for known, other in core.slots.items() if known != key})
    return (core, []) if item is None else _whole(core, item)


def _result(core: Core, key: str, slot: Slot) -> Bodies:
    """A result goes with its call, if that is one of the provider's own tools."""
    call = next(
        (
            known
            for known, other in core.slots.items()
            if other.of == "server_tool_call" and other.index < 0 and slot.call_id and other.call_id == slot.call_id
        ),
        None,
    )
    slots = {known: other for known, other in core.slots.items() if known not in (key, call)}
    item = None if call is None else _tool_call(core.slots[call], slot)
    core = replace(core, slots=slots)
    return (core, []) if item is None else _whole(core, item)


def _item(slot: Slot, block: AssembledBlock) -> Item | None:
    place = (slot.message, slot.block)
    value = block.value
    type_ = value.get("type") if isinstance(value, dict) else None
    if isinstance(type_, str) and item_block(type_) == slot.of and item_name(value) == slot.name:
        key = ITEM_TEXTS.get(type_, ("", ""))[0]
        texts = {key: hole("text", *place)} if key and key not in value else {}
        texts |= {"result": hole("image", *place)} if block.data else {}
        known = {key: value[key] for key in ("id", "type", "call_id") if key in value}
        shell = {"id": None, "status": "in_progress", **known}
        return shell, hole("with", hole("value", *place), texts)
    if slot.of == "code":
        return _made("code_interpreter_call", code=hole("text", *place), container_id="", outputs=None)
    if slot.of == "image" and (block.data or value is not None):
        return _made("image_generation_call", result=hole("image", *place))
    return None


def _tool_call(slot: Slot, result: Slot | None) -> Item:
    output = None if result is None else hole("result", result.message, result.block)
    arguments = hole("arguments", slot.message, slot.block)
    known = {"server_label": "provider", "name": slot.name or "", "arguments": arguments, "output": output}
    return _made("mcp_call", id=slot.call_id, **known, error=None, approval_request_id=None)


def _made(type_: str, **fields: Any) -> Item:
    final = {"id": None, "type": type_, "status": "completed", **fields}
    said = [key for key, value in fields.items() if type(value) is dict]
    unknown = {key: "" if key in ("arguments", "code") else None for key in said}
    return {**final, "status": "in_progress", **unknown}, final


def _whole(core: Core, item: Item) -> Bodies:
    """Both frames of an item that comes in one piece."""
    core, bodies = leave_message(core)
    index = item_index(core)
    shell, final = item
    if shell["id"] is None:
        name = {"id": item_id(core, shell["type"], index)}
        shell, final = shell | name, final | name
    core, begun = added(core, index, shell)
    core, done = finish(core, index, "completed", final=final)
    return core, bodies + begun + done
