"""Stages that rewrite text, lane by lane, and let everything else keep its place.

A *lane* is text that belongs together: the `Text` chunks of a stream, or the deltas of one op in one block. Each lane
has a worker of its own, which may hold its last characters back. Whatever else comes while text is held waits for that
text, in order; it ends the lanes that `ends` says, and then nothing is held in them any more.

    text ─▶ worker ─▶ what it lets go of, before whatever waits for it
    else ─▶ waits until every lane has let go of what came before

A delta whose text changes loses its `ext`, which speaks of the source's frame and may repeat its text, and no record
says `more`: frames are not kept whole across a stage that cuts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from patinox.core.chunks import Text
from patinox.core.events import BlockDelta, BlockEnd, BlockStart, Event, MessageEnd, MessageStart, RunEnd, ToolReady

MAX_WAITING = 1024
"""Records that wait for held text; with one more, the lane that the first waits for is ended."""

SCOPED = (BlockStart, BlockDelta, BlockEnd, MessageStart, MessageEnd, ToolReady)
"""Records that concern their message alone, and do not wait for another's text."""

LaneKey = tuple[int, int | None, str]
_BARE: LaneKey = (-1, None, "text")
_replace = msgspec.structs.replace


class Worker(Protocol):
    """What is done to the text of one lane. The pieces it gives are never empty."""

    def feed(self, text: str) -> list[str]:
        """The pieces that `text` lets go of."""
        ...

    def flush(self) -> list[str]:
        """What may leave before its time; nothing for a worker whose holds are not a matter of time."""
        ...

    def close(self) -> list[str]:
        """The lane is over: the rest."""
        ...

    @property
    def held(self) -> int:
        """How many characters of the input are held back."""
        ...


class _Lane:
    """A worker, how many characters it got, and a record to make its pieces of."""

    __slots__ = ("fed", "template", "worker")

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.fed = 0
        self.template: Any = None

    def passed(self, position: int) -> bool:
        return self.fed - self.worker.held >= position


class _Waiting:
    """A record, and how far each lane must have come before it may leave."""

    __slots__ = ("data", "marks")

    def __init__(self, data: Any, marks: dict[LaneKey, int]) -> None:
        self.data = data
        self.marks = marks


class LaneStage:
    """A `Stage` whose subclasses say what is done to a lane's text, and which records end lanes."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, _Lane] = {}
        self._queue: list[_Waiting] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._lanes)} lanes, {len(self._queue)} waiting>"

    # ── for subclasses ──

    def worker(self, key: LaneKey) -> Worker | None:
        """A new worker for a lane; None leaves its text alone."""
        raise NotImplementedError

    def ends(self, data: Any) -> bool | tuple[int, int | None]:
        """Which lanes a record ends: all, none, or those of a `(message, block)`, of any block where it is None."""
        match data:
            case BlockEnd():
                return (data.message, data.block)
            case MessageEnd():
                return (data.message, None)
            case RunEnd():
                return True
        return False

    def rewrite(self, data: Any) -> Any:
        """A record that is no delta of text, as it is to leave."""
        return _replace(data, more=False) if isinstance(data, Event) and data.more else data

    # ── Stage ──

    @property
    def held(self) -> bool:
        """Whether something is held back now."""
        return bool(self._queue) or any(lane.worker.held for lane in self._lanes.values())

    def feed(self, batch: Sequence[Any]) -> list[Any]:
        """What `batch`, together with what was held, lets go of."""
        out: list[Any] = []
        for data in batch:
            key, text = lane_of(data)
            if key is None:
                self._pass(data, out)
            else:
                self._feed(key, text, data, out)
        return out

    def flush(self) -> list[Any]:
        """What may leave before its time."""
        out: list[Any] = []
        for key, lane in self._lanes.items():
            self._said(key, lane, lane.worker.flush(), out)
        self._settle(out)
        return out

    def close(self) -> list[Any]:
        """The source is over: the rest of every lane, and whatever waited for it."""
        out: list[Any] = []
        self._end(list(self._lanes), out)
        self._settle(out)
        return out

    # ── within ──

    def _feed(self, key: LaneKey, text: str, data: Any, out: list[Any]) -> None:
        lane = self._lanes.get(key)
        if lane is None:
            worker = self.worker(key)
            if worker is None:
                self._pass(data, out)
                return
            lane = self._lanes[key] = _Lane(worker)
        had = lane.worker.held
        pieces = lane.worker.feed(text)
        lane.fed += len(text)
        lane.template = data
        if not had and len(pieces) == 1 and pieces[0] == text and not lane.worker.held:
            self._put(key, self.rewrite(data), out)
        else:
            self._said(key, lane, pieces, out)
        if self._queue:
            self._settle(out)

    def _said(self, key: LaneKey, lane: _Lane, pieces: list[str], out: list[Any]) -> None:
        for piece in pieces:
            self._put(key, with_text(lane.template, piece), out)

    def _put(self, key: LaneKey, data: Any, out: list[Any]) -> None:
        """Text leaves before the first record that waits for its lane, and else behind all that wait."""
        if not self._queue:
            out.append(data)
            return
        place = next((k for k, waiting in enumerate(self._queue) if key in waiting.marks), len(self._queue))
        self._queue.insert(place, _Waiting(data, {}))

    def _pass(self, data: Any, out: list[Any]) -> None:
        ended = self.ends(data)
        if ended is not False:
            self._end([key for key in self._lanes if ended is True or _within(key, ended)], out)
        scope = (data.message, None) if isinstance(data, SCOPED) else None
        marks = {
            key: lane.fed
            for key, lane in self._lanes.items()
            if lane.worker.held and (scope is None or _within(key, scope))
        }
        if marks or self._queue:
            self._queue.append(_Waiting(self.rewrite(data), marks))
            self._settle(out)
        else:
            out.append(self.rewrite(data))

    def _end(self, keys: list[LaneKey], out: list[Any]) -> None:
        for key in keys:
            lane = self._lanes[key]
            self._said(key, lane, lane.worker.close(), out)
            del self._lanes[key]
            for waiting in self._queue:  # nobody waits for it any more, nor for a lane that takes its place
                waiting.marks.pop(key, None)

    def _settle(self, out: list[Any]) -> None:
        while self._queue:
            first = self._queue[0]
            blocked = [key for key, mark in first.marks.items() if not self._lanes[key].passed(mark)]
            if blocked and len(self._queue) <= MAX_WAITING:
                return
            if blocked:
                self._end(blocked, out)
            else:
                out.append(self._queue.pop(0).data)


def lane_of(data: Any) -> tuple[LaneKey | None, str]:
    """The lane of a piece of text, and the text; None for any other record."""
    kind = type(data)
    if kind is Text:
        return _BARE, data.text
    if kind is BlockDelta and (data.op == "text.append" or data.op == "json.append"):
        return (data.message, data.block, data.op), data.text
    return None, ""


def with_text(template: Any, text: str) -> Any:
    """A record like `template` with another text."""
    if type(template) is Text:
        return Text(text)
    return _replace(template, text=text, ext=None, more=False)


def _within(key: LaneKey, place: tuple[int, int | None] | bool) -> bool:
    assert isinstance(place, tuple)
    message, block = place
    return key[0] == message and (block is None or key[1] == block)
