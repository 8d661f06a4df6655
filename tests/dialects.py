"""Reads and writes whole streams in a dialect, as a log would carry them, for the tests of every dialect."""

import json
from collections.abc import Iterable
from typing import Any

from patinox.core.chunks import End, Error, StreamChunk
from patinox.core.codec import decode_data, encode_data
from patinox.formats.base import Format, Frame, StreamHead
from patinox.formats.framing import EventStreamParser, encode_event
from patinox.incremental.assembler import Assembly

HEAD = StreamHead(id="s1", epoch="e", created_s=1_700_000_000.5)

Payload = tuple[str, Any]


def read(dialect: Format[Any], *pieces: bytes) -> tuple[list[Any], End | Error, list[str]]:
    """The events of a stream that came in these pieces, its ending, and what was malformed."""
    reader = dialect.reader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    events += reader.close()
    return events, reader.ending, list(reader.problems)


def logged(data: Iterable[Any]) -> list[StreamChunk]:
    """The records a log makes of chunk data, through JSON as every store keeps it."""
    records = []
    for sequence, item in enumerate(data, 1):
        payload = encode_data(item)
        records.append(
            StreamChunk(
                sequence,
                decode_data(item.kind, payload),
                HEAD.created_s,
                is_final=isinstance(item, End | Error),
                epoch=HEAD.epoch,
                payload=payload,
            )
        )
    return records


def write(dialect: Format[Any], records: Iterable[StreamChunk], head: StreamHead = HEAD) -> list[Frame]:
    """The frames of a whole log."""
    state, assembly, frames = dialect.writer.initial(head), Assembly(), list[Frame]()
    for record in records:
        assembly.apply(record)
        state, made = dialect.writer.write(state, record, assembly)
        frames += made
    return frames


def assembled(records: Iterable[StreamChunk]) -> Assembly:
    """The whole answer of a log."""
    assembly = Assembly()
    for record in records:
        assembly.apply(record)
    return assembly


def framed(frames: Iterable[Frame]) -> bytes:
    """The frames as server-sent events."""
    return b"".join(encode_event(frame.data, event=frame.event) for frame in frames)


def payloads(stream: bytes) -> list[Payload]:
    """Event name and parsed JSON of each server-sent event; `[DONE]` stays a string."""
    return [
        (event.event, event.data if event.data == "[DONE]" else json.loads(event.data))
        for event in EventStreamParser().feed(stream)
    ]
