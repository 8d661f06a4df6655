"""What the writer of Gemini remembers, and the frames that it makes itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from patinox.core.events import BlockEnd, BlockStart, Event, MessageEnd, MessageStart
from patinox.formats.base import Frame

_encode = msgspec.json.Encoder().encode
replace = msgspec.structs.replace


class Plain(msgspec.Struct, frozen=True):
    """The bytes around the text of a block's ordinary delta, and around the usage where its frames have one."""

    message: int
    block: int | None
    op: str
    before: bytes
    between: bytes
    after: bytes = b""
    used: bool = False


class OpenBlock(msgspec.Struct, frozen=True):
    """A block that has begun. `signature` waits for the call it belongs to."""

    of: str
    choice: int
    message: int
    name: str | None = None
    call_id: str | None = None
    signature: str | None = None


class Alternative(msgspec.Struct, frozen=True):
    """A candidate that has begun. `held` is a finish reason that is not yet written."""

    held: str | None = None
    details: Any = None
    ended: bool = False
    word: str | None = None


class Joint(msgspec.Struct, frozen=True):
    """A frame of which some events have come: what was special about it, and its payloads so far."""

    ext: dict[str, Any]
    payloads: tuple[Any, ...] = ()
    key: str = ""
    value: Any = None
    event: str = ""


class GeminiState(msgspec.Struct, frozen=True):
    """All that the writer remembers.

    `envelope` is None until a frame of this dialect came by; `used` is the `usageMetadata` that came last in one,
    `usage` the neutral counts of any other source.
    """

    id: str
    model: str
    envelope: dict[str, Any] | None = None
    used: dict[str, Any] | None = None
    shapes: dict[str, Any] = {}
    plain: Plain | None = None
    joint: Joint | None = None
    pending: str | None = None
    choices: dict[int, Alternative] = {}
    blocks: dict[str, OpenBlock] = {}
    muted: tuple[int, ...] = ()
    usage: dict[str, Any] = {}


Written = tuple[GeminiState, Sequence[Frame]]


def place(data: Event) -> str:
    """Under which a block is remembered."""
    return f"{data.message}.{data.block}"


def track(state: GeminiState, data: Event) -> GeminiState:
    """Notes what begins and ends."""
    if isinstance(data, MessageStart):
        if data.role != "assistant":
            return replace(state, muted=(*state.muted, data.message))
        return with_choice(state, data.choice, state.choices.get(data.choice, Alternative()))
    if isinstance(data, BlockStart):
        of = "muted" if data.message in state.muted else data.of
        block = OpenBlock(of, data.choice, data.message, data.name, data.call_id)
        return replace(state, blocks={**state.blocks, place(data): block})
    if isinstance(data, BlockEnd):
        block_ = state.blocks.get(place(data))
        if block_ is not None and block_.of not in ("tool_call",):  # what a call is ready with comes after its end
            return forget(state, data)
    if isinstance(data, MessageEnd):
        blocks = {key: block for key, block in state.blocks.items() if block.message != data.message}
        muted = tuple(message for message in state.muted if message != data.message)
        return replace(state, blocks=blocks, muted=muted, plain=None)
    return state


def with_choice(state: GeminiState, index: int, choice: Alternative) -> GeminiState:
    """Remembers the candidate."""
    return replace(state, choices={**state.choices, index: choice})


def forget(state: GeminiState, data: Event) -> GeminiState:
    """Forgets the block."""
    gone = place(data)
    return replace(state, blocks={key: block for key, block in state.blocks.items() if key != gone}, plain=None)


def body(state: GeminiState, candidates: list[Any]) -> dict[str, Any]:
    """A frame of our own."""
    theirs = state.envelope or {}
    return {
        "candidates": candidates,
        "modelVersion": theirs.get("modelVersion") or state.model,
        "responseId": theirs.get("responseId") or state.id,
    }


def candidate(index: int, *parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A candidate with these parts. Its content always has a part, as clients look for one."""
    return {"content": {"parts": list(parts) or [{"text": ""}], "role": "model"}, **fields, "index": index}


def frame(state: GeminiState, index: int, *parts: dict[str, Any], **fields: Any) -> Frame:
    """A frame of our own, with one candidate."""
    return Frame(_encode(body(state, [candidate(index, *parts, **fields)])))
