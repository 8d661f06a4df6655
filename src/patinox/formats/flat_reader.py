"""What the readers of the flat dialects share (see `flat`): frames to events, and what is kept of a frame.

A dialect's own part takes one parsed frame, adds events and leaves the frame as its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from patinox.core.chunks import End, Error
from patinox.core.events import BlockDelta, BlockKind, DeltaOp, Event, Native, ToolReady
from patinox.formats.flat import NOTHING, payload
from patinox.formats.framing import EventStreamParser, LineParser

decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_put = msgspec.structs.force_setattr  # only on events that were made here and nobody has seen yet


SILENT = object()
"""The shape of a frame that makes no event."""


class Unfit(Exception):
    """A frame of a known type that is not what its type must be."""


class Block:
    """A block that is open. `shape` is its last delta's; `parts` gathers a tool call's argument text."""

    __slots__ = ("call_id", "key", "message", "name", "number", "of", "parts", "shape")

    def __init__(self, message: int, number: int, of: BlockKind, key: str, shape: dict[str, Any] | None) -> None:
        self.message = message
        self.number = number
        self.of = of
        self.key = key
        self.shape = shape
        self.name: str | None = None
        self.call_id: str | None = None
        self.parts: list[str] = []


class FlatReader:
    """One stream. Errors of the stream are told by `ending`, never among the events."""

    dialect: ClassVar[str]

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.error: Error | None = None
        self.events: list[Event] = []
        self.holes = 0
        self._standing = (0, 0)

    # the surface of a reader

    def feed(self, data: bytes) -> list[Any]:
        """The events that `data` completes. Raises FramingError for a frame over the parser's limit."""
        raise NotImplementedError

    def close(self) -> list[Any]:
        """What the end of the bytes completes."""
        raise NotImplementedError

    @property
    def ending(self) -> End | Error:
        """How the stream ended."""
        raise NotImplementedError

    def feed_frame(self, value: Any, event: str = "") -> list[Any]:
        """The events of one frame: an object, or an SDK's model of it."""
        dump = getattr(value, "model_dump", None)
        body = value if dump is None else dump(mode="json", by_alias=True, exclude_unset=True)
        return list(self.text(_encode(body), event))

    # one frame

    def frame(self, frame: dict[str, Any]) -> Any:
        """Adds the frame's events. Returns its shape, None where the writer makes the same frame without it.

        `SILENT` for a frame that the end of the log stands for. Raises `Unfit`, before it has changed anything,
        for what the dialect does not allow; without a message for what it allows and we have no name for.
        """
        raise NotImplementedError

    def text(self, text: str | bytes, event: str = "") -> Sequence[Any]:
        """The events of one frame as it came over the wire."""
        self.begin_frame()
        try:
            frame = decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self.malformed(text, event, f"a frame is not JSON ({error})")
        if not isinstance(frame, dict):
            self.problems.append("a frame is not an object")
            return (Native(dialect=self.dialect, event=event, value=frame, ext={self.dialect: {"frame": {"$": 0}}}),)
        try:
            shape = self.frame(frame)
        except Unfit as unfit:
            if str(unfit):
                self.problems.append(str(unfit))
            standing, self.holes = self._standing
            del self.events[standing:]
            shape = self.add(Native(dialect=self.dialect, event=event, value=frame))
        if shape is SILENT:
            return ()
        if shape is None:
            if not event:
                return self.events
            shape = frame
        return self.joined(shape, event)

    def malformed(self, text: str | bytes, event: str, problem: str) -> Sequence[Any]:
        """Text that is no JSON: kept, and told."""
        self.problems.append(problem)
        value = text.decode(errors="replace") if isinstance(text, bytes) else text
        return (Native(dialect=self.dialect, event=event, value=value, ext={self.dialect: {"raw": True}}),)

    def joined(self, shape: Any, event: str) -> Sequence[Any]:
        """The events of the frame, the first with its shape; a frame without meaning becomes an empty `Native`."""
        events = self.events or [Native(dialect=self.dialect)]
        _put(events[0], "ext", {self.dialect: self.note(shape) | ({"event": event} if event else {})})
        for item in events[:-1]:
            _put(item, "more", True)
        return events

    def note(self, shape: Any) -> dict[str, Any]:
        """What the first event says of its frame."""
        return {"frame": shape}

    def unframed(self) -> list[Any]:
        """The events that had no frame of their own."""
        for item in self.events:
            _put(item, "ext", {self.dialect: {}})
        for item in self.events[:-1]:
            _put(item, "more", True)
        return self.events

    def begin_frame(self) -> None:
        """Forgets the events of the frame before."""
        self.events, self.holes = [], 0
        self._standing = (0, 0)

    def settle(self) -> None:
        """What was added so far stands, whatever becomes of the frame."""
        self._standing = (len(self.events), self.holes)

    def add(self, event: Event) -> dict[str, Any]:
        """Adds an event. Returns the hole that its payload leaves; an event without payload leaves none."""
        self.events.append(event)
        if payload(event) is NOTHING:
            return {}
        self.holes += 1
        return {"$": self.holes - 1}

    def grow(self, block: Block, frame: dict[str, Any], field: str, op: DeltaOp = "text.append") -> Any:
        """A block's delta, whose text is `field` of the frame. Returns None if it looks like the one before it."""
        text = need(frame, field)
        frame[field] = self.add(BlockDelta(message=block.message, block=block.number, op=op, text=text))
        if op == "json.append":
            block.parts.append(text)
        if self.holes == 1:
            if frame == block.shape and len(self.events) == 1:
                return None
            block.shape = frame
        return frame


class FlatSseReader(FlatReader):
    """A flat dialect over server-sent events."""

    def __init__(self) -> None:
        super().__init__()
        self._parser = EventStreamParser()

    def feed(self, data: bytes) -> list[Any]:
        """The events that `data` completes. Raises FramingError for an event over the parser's limit."""
        out: list[Any] = []
        for event in self._parser.feed(data):
            out += self.text(event.data, event.event)
        return out

    def close(self) -> list[Any]:
        """What the end of the bytes completes."""
        if self._parser.close().strip():
            self.problems.append("the last event was cut off")
        if self._parser.replaced:
            self.problems.append(f"bytes that are not UTF-8, first after byte {self._parser.replaced_offset}")
        return self.closed()

    def closed(self) -> list[Any]:
        """The dialect's part of `close`."""
        raise NotImplementedError


class FlatLinesReader(FlatReader):
    """A flat dialect over lines."""

    def __init__(self) -> None:
        super().__init__()
        self._parser = LineParser()

    def feed(self, data: bytes) -> list[Any]:
        """The events that `data` completes. Raises FramingError for a line over the parser's limit."""
        out: list[Any] = []
        for line in self._parser.feed(data):
            out += self.text(line)
        return out

    def close(self) -> list[Any]:
        """What the end of the bytes completes: a last line may lack its line end."""
        rest = self._parser.close()
        if not rest:
            return self.closed()
        try:
            decode(rest)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.problems.append("the last line was cut off")
            return self.closed()
        return [*self.text(rest), *self.closed()]

    def closed(self) -> list[Any]:
        """The dialect's part of `close`."""
        raise NotImplementedError


def need(frame: dict[str, Any], field: str) -> str:
    """The string that the frame must have there."""
    value = frame.get(field)
    if not isinstance(value, str):
        raise Unfit(f"a frame of type {frame.get('type')!r} has no {field}")
    return value


def ready(block: Block, arguments: Any, invalid_raw: str | None = None) -> ToolReady:
    """The call can be carried out."""
    return ToolReady(
        message=block.message,
        block=block.number,
        call_id=block.call_id,
        name=block.name,
        arguments=arguments,
        invalid_raw=invalid_raw,
    )


def parsed(block: Block) -> ToolReady:
    """The call whose argument text is all there: parsed, `{}` for an empty one."""
    text = "".join(block.parts)
    if not text.strip():
        return ready(block, {})
    try:
        return ready(block, decode(text))
    except (msgspec.DecodeError, RecursionError):
        return ready(block, None, text)


Handler = Callable[[Any, dict[str, Any]], Any]
"""Reads one type of frame, as `FlatReader.frame` does."""
