"""The native dialect of a channel: the events of its streams, interleaved, each with whose it is.

    event: stream   {"stream": "a1", "id": "<a1's epoch>-0", "data": {"created": 17…, "metadata": {…}}}
    event: text     {"stream": "a1", "id": "<a1's epoch>-1", "data": {"text": "Hel"}}
    event: end      {"stream": "a1", "id": "<a1's epoch>-9", "data": {"outcome": "complete"}}
    event: gap      {"stream": "b7", "from": 4, "to": 9}          records of b7 that are no longer kept

`id` inside is the stream's own event id, by which that one stream can be read on anywhere else; the event's own id is
the position in the channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from patinox.core.chunks import StreamChunk
from patinox.core.references import Reference
from patinox.formats.base import Format, Frame, StreamHead
from patinox.formats.patinox import NativeReader
from patinox.incremental.assembler import Assembly

_json = msgspec.json.Encoder().encode


class ChannelWriter:
    """The frames of a reference: one for each chunk of its range."""

    def initial(self, head: StreamHead) -> None:
        """No state."""

    def write(self, state: None, chunk: StreamChunk, assembly: Assembly) -> tuple[None, Sequence[Frame]]:
        """The frames of one record of the channel's log."""
        reference = chunk.data
        if not isinstance(reference, Reference):
            return None, ()
        member = reference.member
        if not reference.is_readable and not (reference.is_opener and not member.is_gone):
            gap = {"stream": member.stream, "from": max(1, reference.first), "to": reference.last}
            return None, (Frame(_json(gap), "gap"),) if reference.last else ()
        whose = b'{"stream":"%b","id":"%b-%%d","data":%%b}' % (member.stream.encode(), member.epoch.encode())
        if reference.is_opener:
            facts = b'{"created":%b,"metadata":%b}' % (_json(member.created_s), member.metadata)
            return None, (Frame(whose % (0, facts), "stream"),)
        return None, [Frame(whose % (c.sequence, c.payload), c.data.kind) for c in reference.told]

    def openers(self, state: None, assembly: Assembly) -> Sequence[Frame]:
        """None: a native reader is told its position."""
        return ()


CHANNEL = Format(
    name="channel",
    title="A channel's streams, native",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=NativeReader,
    writer=ChannelWriter(),
    stateless=True,
    heartbeat=b": \n\n",
)
