"""From a sequence number back to a position in the log, as `starting_after` needs it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from patinox.core.chunks import StreamChunk
from patinox.formats.openai_responses.state import ResponsesState
from patinox.formats.openai_responses.writer import OpenAIResponsesWriter
from patinox.incremental.assembler import Assembly


class Position(NamedTuple):
    """After which record a reader stands; with a `part`, only so many of that record's frames are read."""

    sequence: int
    part: int = 0


class _Numbered(msgspec.Struct):
    sequence_number: int = -1


_number = msgspec.json.Decoder(_Numbered).decode
_writer = OpenAIResponsesWriter()


def next_number(state: ResponsesState) -> int:
    """The sequence number of the next frame: a search over checkpoints takes the last that is not beyond it."""
    return state.sequence


def position_of(
    number: int, state: ResponsesState, chunks: Iterable[StreamChunk], assembly: Assembly
) -> Position | None:
    """Where the frame with this number was written: by which of the `chunks` that follow `state`.

    None if none of them wrote it. Where numbers come twice (several responses in one log), the first.
    """
    for chunk in chunks:
        state, frames = _writer.write(state, chunk, assembly)
        for count, frame in enumerate(frames, 1):
            if _of(frame.data) == number:
                return Position(chunk.sequence, count if count < len(frames) else 0)
    return None


def _of(data: bytes) -> int:
    try:
        return _number(data).sequence_number
    except msgspec.DecodeError:  # `[DONE]`, which some servers say
        return -1
