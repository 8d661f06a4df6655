"""What the writer of OpenAI Chat Completions remembers, and the few steps that its two ways share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from patinox.core.events import BlockStart, Event, MessageStart
from patinox.formats.base import Frame

_encode = msgspec.json.Encoder().encode
replace = msgspec.structs.replace


class Plain(msgspec.Struct, frozen=True):
    """The bytes around the text of a block's ordinary delta."""

    message: int
    block: int | None
    op: str
    before: bytes
    after: bytes


class OpenBlock(msgspec.Struct, frozen=True):
    """A block that has begun. `tool` numbers the tool calls of a choice; `begun`: it had a delta."""

    of: str
    choice: int
    message: int
    tool: int = 0
    name: str | None = None
    call_id: str | None = None
    begun: bool = False


class Alternative(msgspec.Struct, frozen=True):
    """A choice that has begun. `tools` counts its tool calls; `held` is a reason not yet written."""

    tools: int = 0
    held: str | None = None
    ended: bool = False


class Joint(msgspec.Struct, frozen=True):
    """A frame of which some events have come: what was special about it, and its payloads so far.

    `before` is the state that its readers are in.
    """

    ext: dict[str, Any]
    before: ChatState | None = None
    payloads: tuple[Any, ...] = ()
    deltas: int = 0
    key: str = ""
    rest: Any = None
    event: str = ""


class ChatState(msgspec.Struct, frozen=True):
    """All that the writer remembers. `envelope` is None until a frame of this dialect came by."""

    stream: str
    id: str
    created: int
    model: str
    envelope: dict[str, Any] | None = None
    shapes: dict[str, Any] = {}
    plains: tuple[Plain, ...] = ()
    joint: Joint | None = None
    choices: dict[int, Alternative] = {}
    blocks: dict[str, OpenBlock] = {}
    muted: tuple[int, ...] = ()
    usage: dict[str, Any] = {}


Written = tuple[ChatState, Sequence[Frame]]


def track(state: ChatState, data: Event) -> ChatState:
    """Notes what has begun."""
    if isinstance(data, MessageStart):
        if data.role != "assistant":
            return replace(state, muted=(*state.muted, data.message))
        if data.choice not in state.choices:
            return replace(state, choices={**state.choices, data.choice: Alternative()})
    elif isinstance(data, BlockStart):
        return _track_block(state, data)
    return state


def _track_block(state: ChatState, data: BlockStart) -> ChatState:
    choice = state.choices.get(data.choice, Alternative())
    of = "tool_call" if data.of == "custom" and data.call_id else data.of  # its input is text, and all the arguments
    block = OpenBlock(
        of="muted" if data.message in state.muted else of,
        choice=data.choice,
        message=data.message,
        tool=choice.tools,
        name=data.name,
        call_id=data.call_id or call_id(state.stream, data.message, choice.tools),
    )
    choices = state.choices
    if block.of == "tool_call":
        choices = {**choices, data.choice: replace(choice, tools=choice.tools + 1)}
    return replace(state, blocks={**state.blocks, place(data): block}, choices=choices)


def begin(state: ChatState, index: int) -> Written:
    """A choice begins with its role."""
    if index in state.choices:
        return state, ()
    state = replace(state, choices={**state.choices, index: Alternative()})
    return state, (frame(state, index, {"role": "assistant", "content": ""}),)


def ended(state: ChatState, index: int) -> ChatState:
    """A choice has its finish reason; its blocks are over."""
    choice = state.choices.get(index, Alternative())
    blocks = {key: block for key, block in state.blocks.items() if block.choice != index}
    choices = {**state.choices, index: replace(choice, ended=True)}
    return replace(state, choices=choices, blocks=blocks, plains=())


def place(data: Event) -> str:
    """Under which a block is remembered."""
    return f"{data.message}.{data.block}"


def call_id(stream: str, message: int, tool: int) -> str:
    """The id of a call whose source gave it none. It names the run, for a conversation holds the calls of several."""
    return f"call_{stream}_{message}_{tool}"


def call_head(block: OpenBlock) -> dict[str, Any]:
    """How a tool call begins."""
    call = {
        "index": block.tool,
        "id": block.call_id,
        "type": "function",
        "function": {"name": block.name or "", "arguments": ""},
    }
    return {"tool_calls": [call]}


def envelope(state: ChatState) -> dict[str, Any]:
    """The envelope of a frame of our own."""
    theirs = state.envelope or {}
    return {
        "id": theirs.get("id") or state.id,
        "object": "chat.completion.chunk",
        "created": theirs.get("created") or state.created,
        "model": theirs.get("model") or state.model,
    }


def frame(
    state: ChatState, index: int, delta: dict[str, Any], *, reason: str | None = None, logprobs: Any = None
) -> Frame:
    """A frame of our own, with one choice."""
    choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
    return Frame(_encode({**envelope(state), "choices": [choice]}))
