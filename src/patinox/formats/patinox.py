"""The native dialect: every record as it is, `event` its kind and `data` its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, StreamChunk
from patinox.core.codec import chunk_from_wire, decode_data, encode_data
from patinox.errors import InvalidChunk
from patinox.formats.base import Format, Frame, StreamHead, interrupted
from patinox.formats.framing import EventStreamParser, LineParser, ServerSentEvent
from patinox.incremental.assembler import Assembly

_CONTROL = frozenset({"position", "gap", "snapshot", "goaway"})


class NativeWriter:
    """One frame a record; there is nothing to remember."""

    def initial(self, head: StreamHead) -> None:
        """No state."""

    def write(self, state: None, chunk: StreamChunk, assembly: Assembly) -> tuple[None, Sequence[Frame]]:
        """The record's kind and payload."""
        return None, (Frame(chunk.payload or encode_data(chunk.data), chunk.data.kind),)

    def openers(self, state: None, assembly: Assembly) -> Sequence[Frame]:
        """A native reader needs none: it is told its position."""
        return ()


class NativeReader:
    """Reads native SSE. Control events (`position`, `gap`, `snapshot`) are the transport's and are passed over."""

    def __init__(self) -> None:
        self._parser = EventStreamParser()
        self.ending: End | Error = interrupted("the stream broke off before its end record")
        self.problems: list[str] = []

    def feed(self, data: bytes) -> list[Any]:
        """The data of the records that `data` completes."""
        out: list[Any] = []
        for event in self._parser.feed(data):
            if isinstance(event, ServerSentEvent):
                out += self._event(event.event, event.data.encode())
        return out

    def feed_frame(self, value: Any, event: str = "") -> list[Any]:
        """One record as an NDJSON object (`event` empty), or its data with its kind."""
        if not event and isinstance(value, dict):
            event, value = str(value.get("event", "")), value.get("data")
        return self._event(event, msgspec.json.encode(value))

    def close(self) -> list[Any]:
        """Nothing is held back: a record is whole or was never sent."""
        if self._parser.close().strip():
            self.problems.append("the last event was cut off")
        if self._parser.replaced:
            self.problems.append(f"bytes that are not UTF-8, first after byte {self._parser.replaced_offset}")
        return []

    def _event(self, kind: str, payload: bytes) -> list[Any]:
        if kind in _CONTROL:
            if kind == "gap":
                self.problems.append(f"records are missing: {payload.decode(errors='replace')}")
            elif kind == "snapshot":
                self.problems.append("a snapshot stands for the records before it, and was passed over")
            return []
        try:
            if kind == "end":
                self.ending = msgspec.json.decode(payload, type=End)
                return []
            data = decode_data(kind, payload)
        except (InvalidChunk, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.problems.append(str(error))
            return []
        if isinstance(data, Error):
            self.ending = data
            return []
        return [data]


class NativeLinesReader(NativeReader):
    """Reads native NDJSON, one record a line."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = LineParser()

    def feed(self, data: bytes) -> list[Any]:
        """The data of the records whose lines `data` completes. Raises FramingError for a line over the limit."""
        return [item for line in self._lines.feed(data) for item in self._line(line)]

    def close(self) -> list[Any]:
        """A last line may lack its line end."""
        rest = self._lines.close()
        if not rest:
            return []
        before = len(self.problems)
        items = self._line(rest)
        if len(self.problems) > before:
            self.problems[before:] = ["the last line was cut off"]
        return items

    def _line(self, line: bytes) -> list[Any]:
        try:
            value = msgspec.json.decode(line)
            return self.feed_frame(value) if isinstance(value, dict) else [chunk_from_wire(value)]
        except (InvalidChunk, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.problems.append(f"a line that is no record: {error}")
            return []


PATINOX = Format(
    name="patinox",
    title="Patinox, native",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=NativeReader,
    writer=NativeWriter(),
    stateless=True,
    repeats=False,
    heartbeat=b": \n\n",
)

NDJSON = Format(
    name="ndjson",
    title="Patinox, one object a line",
    content_type="application/x-ndjson; charset=utf-8",
    framing="lines",
    reader=NativeLinesReader,
    writer=NativeWriter(),
    stateless=True,
    repeats=False,
    heartbeat=b" ",
)


class TextEventsWriter:
    """Text over SSE without JSON: each text event has the bare text as its data; the end is told as ever."""

    def initial(self, head: StreamHead) -> None:
        """No state."""

    def write(self, state: None, chunk: StreamChunk, assembly: Assembly) -> tuple[None, Sequence[Frame]]:
        """`text` events for what a reader of plain text sees, and the record that ends the log."""
        if chunk.is_final:
            return None, (Frame(chunk.payload or encode_data(chunk.data), chunk.data.kind),)
        text = assembly.visible_text(chunk.data)
        return None, (Frame(text.encode(), "text"),) if text else ()

    def openers(self, state: None, assembly: Assembly) -> Sequence[Frame]:
        """None: there is nothing open."""
        return ()


TEXT_EVENTS = Format(
    name="text-events",
    title="Text as server-sent events",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=NativeReader,
    writer=TextEventsWriter(),
    stateless=True,
    heartbeat=b": \n\n",
)
