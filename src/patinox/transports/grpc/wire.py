"""The records of a log as messages of `Subscribe`: made once, the same bytes for every call that reads them.

A `SubscribeResponse` holds nothing but its events, and protobuf joins messages by joining their bytes (encoding guide,
"Last One Wins": repeated fields are concatenated). So one record is a whole response of one event, and what has piled
up for a reader is a whole response as well, without anything being encoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from patinox.core.attach import Gap
from patinox.core.chunks import StreamChunk
from patinox.delivery.wire import StreamType
from patinox.formats.base import Format, Frame, StreamHead
from patinox.formats.patinox import NativeReader
from patinox.incremental.assembler import Assembly
from patinox.transports.grpc.facts import position_event, snapshot_message
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.messages import to_event


class EventsWriter:
    """One frame a record: its event without the id, which is the wire's business."""

    def initial(self, head: StreamHead) -> None:
        """No state."""

    def write(self, state: None, chunk: StreamChunk, assembly: Assembly) -> tuple[None, Sequence[Frame]]:
        """The event, serialised."""
        return None, (Frame(to_event(chunk.data, chunk.payload).SerializeToString(), chunk.data.kind),)

    def openers(self, state: None, assembly: Assembly) -> Sequence[Frame]:
        """None: a reader is told its position."""
        return ()


EVENTS: Format[Any] = Format(
    name="grpc",
    title="patinox.v1.Event",
    content_type="application/grpc",
    framing="raw",
    reader=NativeReader,
    writer=EventsWriter(),
    stateless=True,
    repeats=False,
    heartbeat=b"",
)


class GrpcWire:
    """Responses of one event each, which can be joined."""

    type = StreamType.GRPC
    name = "grpc"
    content_type = "application/grpc"
    heartbeat = b""  # pings are the connection's business
    controls = True
    aborts = False

    def record(self, event_id: str, frames: Sequence[Frame]) -> bytes:
        """One response a frame; the writer makes one a record."""
        head = _field(event_id.encode())
        return b"".join([_field(head + frame.data) for frame in frames])

    def control(self, event: str, data: Any, event_id: str = "") -> bytes:
        """`position`, `gap`, `snapshot` and `goaway`."""
        return pb.SubscribeResponse(events=[_control(event, data, event_id)]).SerializeToString()

    def opening(self) -> bytes:
        """Nothing: the position is the first event."""
        return b""


def _control(event: str, data: Any, event_id: str) -> pb.Event:
    if event == "position":
        return position_event(data["outcome"], event_id)
    if isinstance(data, Gap):
        return pb.Event(gap=pb.Gap(**{"from": data.first}, to=data.last))
    if event == "goaway":
        goaway = pb.Event(id=event_id, goaway=pb.Goaway())
        goaway.goaway.after.FromMilliseconds(round(data["after_s"] * 1000))
        return goaway
    assert event == "snapshot"
    return pb.Event(id=event_id, snapshot=snapshot_message(data))


def _field(data: bytes) -> bytes:
    """Field 1 of a message, with these bytes (protobuf encoding: tag, length as a varint, bytes)."""
    length = len(data)
    if length < 0x80:
        return b"\x0a%c%b" % (length, data)
    varint = bytearray()
    while length >= 0x80:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    varint.append(length)
    return b"\x0a" + varint + data
