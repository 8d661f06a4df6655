"""How frames become bytes on one kind of connection: server-sent events, lines, or raw.

A wire is chosen once a view. Native wires carry event ids and the control events (`position`, `gap`, `snapshot`);
foreign ones carry neither by default, since official clients break on them (docs/reference/dialects).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from patinox.core.attach import AttachOutcome, Gap
from patinox.formats.base import Format, Frame
from patinox.formats.framing import encode_event, retry

_json = msgspec.json.Encoder().encode


class StreamType(StrEnum):
    """What a reader is connected by."""

    SSE = "sse"
    NDJSON = "ndjson"
    RAW = "raw"
    WEBSOCKET = "websocket"
    GRPC = "grpc"


class Wire(Protocol):
    """Turns frames of one record into bytes, and says the control events where the dialect has them."""

    type: StreamType
    name: str
    content_type: str
    heartbeat: bytes
    controls: bool
    aborts: bool

    def record(self, event_id: str, frames: Sequence[Frame]) -> bytes:
        """The bytes of one record: `event_id` on its last frame, `event_id.k` on earlier ones, where ids are said."""
        ...

    def control(self, event: str, data: Any, event_id: str = "") -> bytes:
        """A control event, or nothing where the dialect has none."""
        ...

    def opening(self) -> bytes:
        """What stands before everything else."""
        ...


class SseWire:
    """Server-sent events (WHATWG HTML §9.2). `ids` says event ids, `controls` the native control events."""

    type = StreamType.SSE
    aborts = False

    def __init__(self, format_: Format[Any], *, ids: bool, controls: bool, retry_ms: int = 0) -> None:
        self.name = f"sse{'+ids' if ids else ''}"
        self.content_type = "text/event-stream; charset=utf-8" if controls else format_.content_type
        self.heartbeat = b": \n\n" if controls else format_.heartbeat
        self.controls = controls
        self._ids = ids
        self._retry_ms = retry_ms

    def record(self, event_id: str, frames: Sequence[Frame]) -> bytes:
        """One event a frame."""
        if len(frames) == 1:
            return self._event(frames[0], event_id)
        if not event_id:  # frames that belong to no record, such as openers
            return b"".join([self._event(frame, "") for frame in frames])
        last = len(frames)
        ids = [event_id if k == last else f"{event_id}.{k}" for k in range(1, last + 1)]
        return b"".join(map(self._event, frames, ids))

    def _event(self, frame: Frame, event_id: str) -> bytes:
        if frame.bare:
            return frame.data
        return encode_event(frame.data, event=frame.event, id=event_id if self._ids else "")

    def control(self, event: str, data: Any, event_id: str = "") -> bytes:
        """`event: position` and its like; nothing in a foreign dialect."""
        return encode_event(_json(data), event=event, id=event_id) if self.controls else b""

    def opening(self) -> bytes:
        """`retry:`, so that a browser waits as long as the server wants."""
        return retry(self._retry_ms) if self.controls and self._retry_ms else b""


class NativeLinesWire:
    """NDJSON: `{"id", "event", "data"}` a line."""

    type = StreamType.NDJSON
    name = "ndjson"
    content_type = "application/x-ndjson; charset=utf-8"
    heartbeat = b" "
    controls = True
    aborts = False

    def record(self, event_id: str, frames: Sequence[Frame]) -> bytes:
        """One line a frame; the native writer makes one a record."""
        return b"".join(
            b'{"id":"%b","event":"%b","data":%b}\n' % (event_id.encode(), frame.event.encode(), frame.data)
            for frame in frames
        )

    def control(self, event: str, data: Any, event_id: str = "") -> bytes:
        """The same object; without `id` where the control event has none."""
        prefix = b'"id":"%b",' % event_id.encode() if event_id else b""
        return b'{%b"event":"%b","data":%b}\n' % (prefix, event.encode(), _json(data))

    def opening(self) -> bytes:
        """Nothing."""
        return b""


class PlainWire:
    """A foreign dialect of lines (`lines`), or bytes as they are (`raw`: plain text).

    `raw` has no way to say a failure inside the body, so it `aborts`: the body is cut without its last chunk.
    """

    controls = False

    def __init__(self, format_: Format[Any]) -> None:
        self.type = StreamType.NDJSON if format_.framing == "lines" else StreamType.RAW
        self.name: str = format_.framing
        self.content_type = format_.content_type
        self.aborts = format_.framing == "raw"
        self.heartbeat = b"" if self.aborts else format_.heartbeat
        self._end = b"" if self.aborts else b"\n"

    def record(self, event_id: str, frames: Sequence[Frame]) -> bytes:
        """The payloads, a line each or joined."""
        return b"".join(frame.data + self._end for frame in frames)

    def control(self, event: str, data: Any, event_id: str = "") -> bytes:
        """Nothing: this wire has no place for it."""
        return b""

    def opening(self) -> bytes:
        """Nothing."""
        return b""


def gap_event(wire: Wire, gap: Gap) -> bytes:
    """`gap {from, to}`, without an id: it is no record."""
    return wire.control("gap", gap)


def goaway_event(wire: Wire, after_s: float, event_id: str) -> bytes:
    """`goaway {after_s, position}`, with the id the reader stands at; over SSE `retry:` before it, for EventSource."""
    if not wire.controls:
        return b""
    wait = retry(round(after_s * 1000)) if wire.type is StreamType.SSE else b""
    return wait + wire.control("goaway", {"after_s": round(after_s, 3), "position": event_id}, event_id)


def position_event(wire: Wire, outcome: AttachOutcome, event_id: str) -> bytes:
    """`position {outcome}`, with the id the reader stands at."""
    return wire.control("position", {"outcome": outcome, "id": event_id}, event_id)
