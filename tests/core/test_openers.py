"""A fresh client that attaches anywhere in a stream: the openers of every dialect, at every record."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.dialects import HEAD, logged, read
from tests.flat import body
from tests.pairs import RECORDED, STREAMS, Stream

from patinox.core.chunks import End, Outcome, StreamChunk, Text
from patinox.core.events import BlockDelta, BlockStart, Event, ToolReady
from patinox.formats.base import Format, Frame
from patinox.formats.registry import builtin
from patinox.incremental.assembler import Assembly

FORMATS = builtin()
TARGETS = sorted(FORMATS.keys() - {"patinox", "ndjson"})
_MOST = 12  # places of a stream that are tried
# What a dialect repeats as a whole, or tells in numbered pieces, is not what a client saw that came late.
_EXPECTED = re.compile(
    "in deltas and is another as a whole|a piece of a call's arguments is out of order|the stream was empty"
)


def _params() -> Iterator[Any]:
    """All invented streams, and every fourth recording; the others are slow."""
    for number, (name, stream) in enumerate(STREAMS.items()):
        is_quick = stream.source not in RECORDED or number % 4 == 0
        yield pytest.param(stream, id=name, marks=() if is_quick else pytest.mark.slow)


PARAMS = list(_params())


class Told:
    """A log told in a dialect: for each place the openers there, and the frames of each record."""

    def __init__(self, stream: Stream, target: str) -> None:
        events, ending, _ = read(FORMATS[stream.source], stream.data)
        self.format: Format[Any] = FORMATS[target]
        self.records: list[StreamChunk] = logged([*events, ending])
        self.openers: list[list[Frame]] = []
        self.frames: list[list[Frame]] = []
        writer, state, assembly = self.format.writer, self.format.writer.initial(HEAD), Assembly()
        for record in self.records:
            self.openers.append(list(writer.openers(state, assembly)))
            assembly.apply(record)
            state, made = writer.write(state, record, assembly)
            self.frames.append(list(made))

    def places(self) -> list[int]:
        """Places spread over the log, and those around records that make more than one frame."""
        every = max(len(self.records) // _MOST, 1)
        return [at for at in range(len(self.records)) if at % every == 0 or len(self.frames[at]) > 1]

    def bytes(self, frames: list[list[Frame]]) -> bytes:
        joined = [frame for made in frames for frame in made]
        return b"".join(frame.data for frame in joined) if self.format.framing == "raw" else body(self.format, joined)

    def read(self, *frames: list[Frame]) -> tuple[list[Any], Any, list[str]]:
        return read(self.format, self.bytes(list(frames)))


def spoken(events: list[Any]) -> dict[tuple[int, str], str]:
    """The text of each kind of block, by choice."""
    kinds: dict[tuple[int, int | None], str] = {}
    said: dict[tuple[int, str], str] = {}
    for event in events:
        if isinstance(event, BlockStart):
            kinds[event.message, event.block] = event.of
        elif isinstance(event, Text):
            said[0, "text"] = said.get((0, "text"), "") + event.text
        elif isinstance(event, BlockDelta) and event.op == "text.append":
            key = event.choice, kinds.get((event.message, event.block), "text")
            said[key] = said.get(key, "") + event.text
    return said


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("stream", PARAMS)
def test_a_fresh_client_reads_the_rest_wherever_it_attaches(stream: Stream, target: str) -> None:
    told = Told(stream, target)
    events, ending, problems = told.read(*told.frames)
    whole = spoken(events)
    for at in told.places():
        seen, ended_before, _ = told.read(*told.frames[:at])
        if not _is_open(ended_before):
            break  # its end has been told
        resumed, ended, strange = told.read(told.openers[at], *told.frames[at:])
        before, after = spoken(seen), spoken(resumed)

        assert ended == ending, f"attached after {at}"
        unexpected = [problem for problem in strange if problem not in problems and not _EXPECTED.search(problem)]
        assert unexpected == [], f"attached after {at}"
        if any("another as a whole" in problem for problem in strange):
            continue  # clients of this dialect take the whole text from its last frames
        for key, text in whole.items():
            rest = text[len(before.get(key, "")) :]
            assert rest in after.get(key, ""), f"attached after {at}: {key}"
        begun = {event.call_id for event in seen if isinstance(event, BlockStart)}
        expected = [event.arguments for event in _ready(events) if event.call_id not in begun]
        assert [event.arguments for event in _ready(resumed) if event.call_id not in begun] == expected


def _is_open(ending: Any) -> bool:
    return isinstance(ending, End) and ending.outcome is Outcome.INTERRUPTED


def _ready(events: list[Any]) -> list[ToolReady]:
    return [event for event in events if isinstance(event, ToolReady) and event.call_id]


@pytest.mark.parametrize("name", [param.id for param in PARAMS if param.values[0].source in TARGETS])
def test_half_a_frame_has_opened_nothing_yet(name: str) -> None:
    stream = STREAMS[name]
    told = Told(stream, stream.source)
    first = 0
    for at, record in enumerate(told.records):
        data = told.records[at - 1].data if at else None
        if isinstance(data, Event) and data.more and not told.frames[at - 1]:
            assert told.openers[at] == told.openers[first], f"attached after {at}"
        else:
            first = at
        assert record.sequence == at + 1
