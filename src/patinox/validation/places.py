"""Which lane a delta belongs to.

The text blocks of a message are one lane, whatever comes between them; so are its refusals; and so are its reasoning
blocks up to where an answer's text begins, or the answer would wait for what reasoning may follow it.
A tool call, a piece of code or whatever else is an item by itself has a lane of its own, which ends with its block.
`Text` chunks are text of message 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from patinox.core.events import BlockStart
from patinox.validation.base import Channel, LaneInfo
from patinox.validation.lanes import Lane
from patinox.validation.views import JsonView, View

Place = tuple[int, int | None]
"""(message, block)"""

_CHANNELS: Final[dict[str, Channel]] = {
    "reasoning": "reasoning",
    "reasoning_summary": "reasoning",
    "refusal": "refusal",
    "tool_call": "arguments",
    "server_tool_call": "arguments",
}
_JOINED: Final = ("text", "reasoning", "reasoning_summary", "refusal")
CALLS: Final = ("tool_call", "server_tool_call")


class Places:
    """The open lanes of one stream. `make` makes a new one; with `apart` each block is a lane."""

    def __init__(self, make: Callable[[LaneInfo, Any, View | JsonView], Lane], *, apart: bool) -> None:
        self._make = make
        self._joined = () if apart else _JOINED
        self._lanes: dict[Any, Lane] = {}
        self._by_delta: dict[tuple[int, int | None, str], Lane] = {}
        self._blocks: dict[Place, BlockStart] = {}
        self._had_text: dict[Place, bool] = {}
        self._ended: set[Place] = set()

    def __len__(self) -> int:
        return len(self._lanes)

    def begin(self, start: BlockStart) -> None:
        """A block begins."""
        self._blocks[start.message, start.block] = start

    def kind(self, place: Place) -> str:
        """The kind of the block at a place."""
        start = self._blocks.get(place)
        return start.of if start else "text"

    def tool(self, place: Place) -> str | None:
        """The name of the tool whose call is at a place."""
        start = self._blocks.get(place)
        return start.name if start else None

    def had_deltas(self, place: Place) -> bool:
        """Whether the block came in pieces."""
        return place in self._had_text

    def had_text(self, place: Place) -> bool:
        """Whether there was text in the pieces of a block whose lane is closed."""
        return self._had_text.get(place, False)

    def lane(self, message: int, block: int | None, op: str) -> Lane:
        """The lane of a delta."""
        return self._by_delta.get((message, block, op)) or self._begin_at(message, block, op)

    def _begin_at(self, message: int, block: int | None, op: str) -> Lane:
        place = message, block
        kind = self.kind(place)
        is_json = op == "json.append"
        channel: Channel = "arguments" if is_json else _CHANNELS.get(kind, "text")
        joined = kind in self._joined and not is_json
        own = None if joined else block
        key = (message, kind, op, own, joined)
        lane = self._lanes.get(key)
        if lane is None:
            view = JsonView() if is_json else View()
            lane = self._lanes[key] = self._make(LaneInfo(channel, message, own, self.tool(place)), key, view)
        lane.starts.setdefault(block, lane.fed)
        self._by_delta[message, block, op] = lane
        self._had_text.setdefault(place, False)
        return lane

    def all(self) -> list[Lane]:
        """Every open lane."""
        return list(self._lanes.values())

    def of_message(self, message: int) -> list[Lane]:
        """The open lanes of a message."""
        return [lane for lane in self._lanes.values() if lane.info.message == message]

    def of_block(self, message: int, block: int | None) -> list[Lane]:
        """The open lanes that a block has for itself."""
        return [lane for key, lane in self._lanes.items() if key[0] == message and key[3] == block and not key[4]]

    def block_ends(self, place: Place) -> None:
        """A block is over; its lane may go on."""
        self._ended.add(place)

    def thought_out(self, start: BlockStart) -> list[Lane]:
        """The lanes of reasoning that a block of text puts an end to: those whose blocks are over."""
        if start.of != "text":
            return []
        return [
            lane
            for lane in self.of_message(start.message)
            if lane.info.channel == "reasoning" and all((start.message, at) in self._ended for at in lane.starts)
        ]

    def end(self, lane: Lane) -> None:
        """A lane is over."""
        del self._lanes[lane.key]
        self._by_delta = {at: other for at, other in self._by_delta.items() if other is not lane}
        if lane.fed:
            self._had_text.update(((lane.info.message, block), True) for block in lane.starts)
