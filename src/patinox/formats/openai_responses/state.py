"""What the writer of OpenAI Responses remembers, and the few steps that its two ways share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from patinox.core.events import BlockKind
from patinox.formats.base import Frame, new_frame
from patinox.formats.openai_responses.shapes import Sources, fill
from patinox.incremental.assembler import Assembly

_encode = msgspec.json.Encoder().encode
replace = msgspec.structs.replace


class Plain(msgspec.Struct, frozen=True):
    """The bytes around the number and the text of a block's ordinary delta, and the keys that its frames all have.

    `going_on` is `after` where a frame has further keys.
    """

    message: int
    block: int | None
    op: str
    event: str
    before: bytes
    between: bytes
    after: bytes
    going_on: bytes
    keys: frozenset[str]


class Slot(msgspec.Struct, frozen=True):
    """A block that has begun: where it stands among the output items, and how its deltas look.

    `index` is -1 for what is written at its end only. `text` is where the assembly has its text, `begun` whether any
    of that was written. `part` numbers it in its item; `counted` counts its annotations.
    """

    of: BlockKind
    message: int
    block: int | None
    index: int = -1
    part: int = 0
    own: bool = False
    text: tuple[Any, ...] = ()
    name: str | None = None
    call_id: str | None = None
    shape: dict[str, Any] | None = None
    begun: bool = False
    ended: bool = False
    counted: int = 0


class Joint(msgspec.Struct, frozen=True):
    """A frame of which some events have come: what was special about it, and its payloads so far."""

    ext: dict[str, Any]
    payloads: tuple[Any, ...] = ()
    events: int = 0
    slot: str = ""
    name: str = ""
    value: Any = None


class Core(msgspec.Struct, frozen=True):
    """All that the writer remembers but the number of the next frame, which is all that an ordinary delta changes.

    `response` is the object that the run began with: theirs, or ours once `begun`. `opened` has the frames that a
    fresh client needs for each item that is under way, `finals` the shapes of those that are finished, both by output
    index. `joinable` is the message item that the next text may join, or -1.
    """

    id: str
    created: int
    model: str
    begun: bool = False
    named: bool = True
    numbered: bool = True
    response: dict[str, Any] = {}
    opened: dict[str, tuple[dict[str, Any], ...]] = {}
    finals: dict[str, Any] = {}
    slots: dict[str, Slot] = {}
    joinable: int = -1
    bare_runs: int = 0
    plains: tuple[Plain, ...] = ()
    joint: Joint | None = None
    held: tuple[Joint, ...] = ()
    muted: tuple[int, ...] = ()
    reason: str | None = None
    usage: dict[str, Any] = {}


class ResponsesState(msgspec.Struct, frozen=True):
    """The writer's state. `sequence` is the number that the next frame gets: that many were written."""

    sequence: int
    core: Core


Written = tuple[ResponsesState, Sequence[Frame]]
Bodies = tuple[Core, list[dict[str, Any]]]
"""The core afterwards, and frames that have no number yet; the type stands first in each."""


def numbered(sequence: int, core: Core, bodies: Sequence[Mapping[str, Any]]) -> Written:
    """The frames, and the state after them."""
    frames = []
    for body in bodies:
        name = body.get("type", "")
        if core.numbered:
            body = {"type": name or None, "sequence_number": sequence, **body}
        frames.append(new_frame((_encode(body), event_name(name, core), False)))
        sequence += core.numbered
    return ResponsesState(sequence, core), frames


def event_name(name: Any, core: Core) -> str:
    """The SSE event name of a frame of this type, where frames have one; never one that can't stand on a line."""
    return name if core.named and isinstance(name, str) and name.isprintable() else ""


def sources(core: Core, assembly: Assembly, payloads: Sequence[Any] = ()) -> Sources:
    """Where the holes of this run's frames are filled from."""
    return Sources(assembly, payloads, core.response, core.finals)


def output(core: Core, assembly: Assembly) -> list[Any]:
    """The finished items, in order."""
    known = sources(core, assembly)
    return [fill(core.finals[index], known) for index in sorted(core.finals, key=int)]


def slot_key(message: int, block: int | None) -> str:
    """Under which a block is remembered."""
    return f"{message}.{block}"


def item_index(core: Core) -> int:
    """The output index of the next item."""
    return 1 + max(map(int, (*core.opened, *core.finals)), default=-1)
