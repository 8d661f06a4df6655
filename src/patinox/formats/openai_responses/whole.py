"""The response object that a call without streaming gets."""

from __future__ import annotations

from typing import Any

from patinox.core.events import BlockEnd, BlockStart, Event, MessageEnd, MessageStart, ToolReady
from patinox.formats.base import StreamHead
from patinox.formats.openai_responses import endings, own
from patinox.formats.openai_responses.outputs import mark_begun
from patinox.formats.openai_responses.state import Core
from patinox.formats.openai_responses.writer import OpenAIResponsesWriter
from patinox.incremental.assembler import AssembledBlock, Assembly


def assemble_response(assembly: Assembly, head: StreamHead) -> dict[str, Any]:
    """The whole answer as a `response` object (API reference, "The response object").

    JSON-ready through msgspec. For an answer that ended `complete` or `incomplete`; the caller answers a failed one
    with its error. Several messages, as an agent's run has them, are items of one response.
    """
    core = OpenAIResponsesWriter().initial(head).core
    core, _ = own.begin(Core(id=core.id, created=core.created, model=assembly.model or core.model))
    for number, message in assembly.messages.items():
        core = _told(core, MessageStart(message=number, choice=message.choice, role=message.role), assembly)
    run = 0
    while assembly.bare_text(run):
        core, _ = own.open_bare(core)
        core, run = own.close_bare(core), run + 1
    for block in assembly.blocks.values():
        core = _block(core, block, assembly)
    for number, message in assembly.messages.items():
        reason: Any = message.finish_reason
        core = _told(core, MessageEnd(message=number, choice=message.choice, finish_reason=reason), assembly)
    core, _ = own.close(core, assembly, whole=core.reason != "length")
    response: dict[str, Any] = endings.finished(core, assembly, assembly.usage or {})["response"]
    return response


def _block(core: Core, block: AssembledBlock, assembly: Assembly) -> Core:
    place: dict[str, Any] = {"message": block.message, "choice": block.choice, "block": block.index}
    core = _told(core, BlockStart(**place, of=block.kind, name=block.name, call_id=block.call_id), assembly)
    if block.text:
        core = mark_begun(core, block.message, block.index)
    if block.ended:
        core = _told(core, BlockEnd(**place), assembly)
    if block.kind == "tool_call" and block.arguments is not None:
        core = _told(core, ToolReady(**place, arguments=block.arguments), assembly)
    return core


def _told(core: Core, data: Event, assembly: Assembly) -> Core:
    return own.WRITES[type(data)](core, data, assembly)[0]
