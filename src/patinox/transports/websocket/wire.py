"""The frames of a view as messages of `patinox.v1`: made once a record, the same for every socket that reads it.

    {"op":"chunk","stream":"a1","id":"<event id>","event":"text","data":{"text":"Hel"}}
    {"op":"chunk","stream":"a1","id":"<event id>","event":"message","data":"{\\"choices\\":[…"}     a foreign dialect
    {"op":"gap","stream":"a1","from":3,"to":9}        {"op":"snapshot","stream":"a1","id":"<event id>","data":{…}}
    {"op":"end","stream":"a1","id":"<event id>","outcome":"complete"}

In a channel each of them has `channel` and `position` too: where the reader of the channel stands after it; `id` stays
the stream's own. A `Packaging` says what a message becomes: a line, to be cut again into messages for an ASGI `send`,
or whole WebSocket frames for our own server. A message never holds the `ref` of one reader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from patinox.core.attach import Gap
from patinox.core.chunks import Error, EventId
from patinox.delivery.wire import StreamType
from patinox.formats.base import Format, Frame
from patinox.transports.websocket.frames import frame

_json = msgspec.json.Encoder().encode


class Packaging(NamedTuple):
    """What a message becomes on one kind of socket."""

    name: str
    wrap: Callable[[bytes], bytes]


def _line(message: bytes) -> bytes:
    return message + b"\n"  # JSON by msgspec has no line breaks of its own


LINES = Packaging("lines", _line)
FRAMES = Packaging("frames", partial(frame, deflate=False))
DEFLATED = Packaging("deflated", partial(frame, deflate=True))


class StreamWire:
    """The messages of one stream, native or in a foreign dialect."""

    content_type = ""
    heartbeat = b""  # pings are the socket's business
    type = StreamType.WEBSOCKET
    aborts = False

    def __init__(self, stream_id: str, format_: Format[Any], packaging: Packaging, *, native: bool) -> None:
        self.name = f"websocket+{packaging.name}"
        self.controls = native
        self._wrap = packaging.wrap
        self._subject = _subject("stream", stream_id)

    def record(self, event_id: str, frames: Sequence[Frame]) -> bytes:
        """One message a frame."""
        last = len(frames)
        if not event_id or last == 1:
            return b"".join([self._message(frame, event_id) for frame in frames])
        ids = [event_id if k == last else f"{event_id}.{k}" for k in range(1, last + 1)]
        return b"".join(map(self._message, frames, ids))

    def _message(self, frame: Frame, event_id: str) -> bytes:
        if not self.controls:
            id_ = b',"id":"%b"' % event_id.encode() if event_id else b""
            event = (frame.event or "message").encode()
            payload = frame.data.strip() if frame.bare else frame.data  # a bare one brings its framing along
            said = _json(payload.decode("utf-8", "replace"))
            return self._wrap(b'{"op":"chunk",%b%b,"event":"%b","data":%b}' % (self._subject, id_, event, said))
        head = b'%b,"id":"%b"' % (self._subject, event_id.encode())
        if frame.event in ("end", "error"):
            return self._wrap(_end(head, frame.event, frame.data))
        return self._wrap(b'{"op":"chunk",%b,"event":"%b","data":%b}' % (head, frame.event.encode(), frame.data))

    def control(self, event: str, data: Any, event_id: str = "") -> bytes:
        """`gap` and `snapshot`; the position is in the answer to `subscribe`, which is one reader's own."""
        if event == "gap" and self.controls:
            return self._wrap(_gap(self._subject, data))
        if event == "snapshot" and self.controls:
            said = b'{"op":"snapshot",%b,"id":"%b","data":%b}' % (self._subject, event_id.encode(), _json(data))
            return self._wrap(said)
        return b""

    def opening(self) -> bytes:
        """Nothing."""
        return b""


class ChannelWire:
    """The messages of a channel: each says whose it is, and where in the channel its reader stands after it."""

    content_type = ""
    heartbeat = b""
    type = StreamType.WEBSOCKET
    aborts = False
    controls = True

    def __init__(self, channel: str, packaging: Packaging) -> None:
        self.name = f"websocket+{packaging.name}"
        self._wrap = packaging.wrap
        self._subject = _subject("channel", channel)

    def record(self, event_id: str, frames: Sequence[Frame]) -> bytes:
        """One message a frame."""
        last = len(frames)
        ids = [event_id if k == last else f"{event_id}.{k}" for k in range(1, last + 1)]
        return b"".join(map(self._message, frames, ids))

    def _message(self, frame: Frame, position: str) -> bytes:
        head = b'%b,"position":"%b",' % (self._subject, position.encode())
        if frame.event == "gap":
            return self._wrap(b'{"op":"gap",%b%b' % (head, frame.data[1:]))
        if frame.event in ("end", "error"):
            whose = msgspec.json.decode(frame.data, type=_Whose)
            head += b'%b,"id":"%b"' % (_subject("stream", whose.stream), whose.id.encode())
            return self._wrap(_end(head, frame.event, bytes(whose.data)))
        return self._wrap(b'{"op":"chunk",%b"event":"%b",%b' % (head, frame.event.encode(), frame.data[1:]))

    def control(self, event: str, data: Any, event_id: str = "") -> bytes:
        """`gap`; and `snapshot`, a message a stream after one that names them all. Its last one has the position."""
        if event == "gap":
            return self._wrap(_gap(self._subject, data))
        if event != "snapshot":
            return b""
        streams = data["streams"]
        said = [{"data": {"streams": [stream["id"] for stream in streams]}}]
        said += [{"stream": stream["id"], "id": stream["position"], "data": stream} for stream in streams]
        last = len(said)
        return b"".join(
            self._wrap(
                b'{"op":"snapshot",%b,%b%b'
                % (self._subject, b'"position":"%b",' % event_id.encode() if k == last else b"", _json(facts)[1:])
            )
            for k, facts in enumerate(said, 1)
        )

    def opening(self) -> bytes:
        """Nothing."""
        return b""


class _Whose(msgspec.Struct):
    stream: str
    id: str
    data: msgspec.Raw


def _subject(kind: str, name: str) -> bytes:
    return b'"%b":%b' % (kind.encode(), _json(name))


def _gap(subject: bytes, gap: Gap) -> bytes:
    return b'{"op":"gap",%b,"from":%d,"to":%d}' % (subject, gap.first, gap.last)


def _end(head: bytes, event: str, payload: bytes) -> bytes:
    """The last message of a stream: how it ended, and why where it did not end well."""
    if event == "error":
        return b'{"op":"end",%b,"outcome":"failed","error":%b}' % (head, payload)
    return b'{"op":"end",%b,%b' % (head, payload[1:])


def end_of_reading(stream_id: str, position: EventId, outcome: str | None, error: Error | None = None) -> bytes:
    """The `end` of a reader in a foreign dialect: the dialect's own end is a payload, which a socket does not read.

    Without an outcome the stream goes on, but this reader cannot: records that it needed are gone.
    """
    if outcome is not None:
        why = {} if error is None else {"error": error}
        return _json({"op": "end", "stream": stream_id, "id": str(position), "outcome": outcome, **why})
    gone = {"code": "gap", "message": "records that come next are no longer kept", "retryable": True}
    return _json({"op": "end", "stream": stream_id, "outcome": "interrupted", "error": gone})
