"""A made-up dialect that shows every mistake: stateful, with no, one, two or three frames a record.

Each frame carries the sequence, its own number and a checksum over all records before it, so a record that is left
out, said twice or written from a wrong state changes every later frame. The end makes one frame, an opener two.
"""

import zlib
from collections.abc import Sequence
from typing import Any

from patinox.core.chunks import StreamChunk
from patinox.core.codec import encode_data
from patinox.formats.base import Format, Frame, FramingName, StreamHead
from patinox.formats.patinox import NativeReader
from patinox.incremental.assembler import Assembly


class TallyWriter:
    def __init__(self) -> None:
        self.written: list[int] = []

    def initial(self, head: StreamHead) -> int:
        return zlib.crc32(head.id.encode())

    def write(self, state: int, chunk: StreamChunk, assembly: Assembly) -> tuple[int, Sequence[Frame]]:
        self.written.append(chunk.sequence)
        count = 1 if chunk.is_final else frames_of(chunk.sequence)
        state = zlib.crc32(chunk.payload or encode_data(chunk.data), state)
        return state, [Frame(b"%d/%d %08x" % (chunk.sequence, k, state), f"f{k}") for k in range(1, count + 1)]

    def openers(self, state: int, assembly: Assembly) -> Sequence[Frame]:
        return [Frame(b"open %08x" % state), Frame(b"opened %08x" % state)]


def frames_of(sequence: int) -> int:
    """How many frames a record makes."""
    return sequence * 7 % 4


def tally(framing: FramingName = "sse") -> Format[Any]:
    """A new instance of the dialect, with a writer that remembers what it wrote."""
    return Format("tally", "Made up", "text/event-stream", framing, NativeReader, TallyWriter())
