"""Every recorded Gemini stream: read whole, cut anywhere, and written again as it came."""

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.dialects import HEAD, assembled, framed, logged, payloads, read, write
from tests.recordings import recorded

from patinox.core.chunks import End, Outcome, StreamChunk
from patinox.core.events import BlockEnd, BlockStart, Native, RunEnd, RunStart, ToolReady, Usage
from patinox.formats.base import Frame
from patinox.formats.framing import EventStreamParser
from patinox.formats.gemini import GEMINI
from patinox.formats.gemini.state import GeminiState
from patinox.incremental.assembler import Assembly

EVERY_CUT_BYTES = 6_000
ALL = recorded("gemini")
SMALL = recorded("gemini", max_bytes=EVERY_CUT_BYTES)
LARGE = recorded("gemini", min_bytes=EVERY_CUT_BYTES + 1)


def wire(path: Path) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in EventStreamParser().feed(path.read_bytes())]


@pytest.mark.parametrize("path", ALL)
def test_the_same_dialect_gives_back_the_same_frames(path: Path) -> None:
    original = path.read_bytes()
    events, ending, _ = read(GEMINI, original)

    assert payloads(framed(write(GEMINI, logged([*events, ending])))) == payloads(original)


@pytest.mark.parametrize("path", ALL)
def test_the_run_is_complete_and_nothing_is_kept_as_native(path: Path) -> None:
    events, ending, problems = read(GEMINI, path.read_bytes())

    assert ending == End(Outcome.COMPLETE)
    assert (type(events[0]), type(events[-1])) == (RunStart, RunEnd)
    assert problems == []
    assert not any(isinstance(event, Native) and event.value is not None for event in events)


@pytest.mark.parametrize("path", ALL)
def test_texts_and_thoughts_are_all_there(path: Path) -> None:
    events, _, _ = read(GEMINI, path.read_bytes())
    blocks = assembled(logged(events)).blocks.values()
    parts = [part for frame in wire(path) for part in frame["candidates"][0]["content"].get("parts", [])]

    for kind, thought in (("text", False), ("reasoning", True)):
        expected = "".join(part.get("text", "") for part in parts if part.get("thought", False) is thought)
        assert "".join(block.text for block in blocks if block.kind == kind) == expected


@pytest.mark.parametrize("path", ALL)
def test_blocks_begin_and_end_once_and_one_after_the_other(path: Path) -> None:
    events, _, _ = read(GEMINI, path.read_bytes())
    places = [(type(event), event.block) for event in events if isinstance(event, BlockStart | BlockEnd)]

    assert places == [(kind, place // 2) for place, kind in enumerate([BlockStart, BlockEnd] * (len(places) // 2))]


@pytest.mark.parametrize("path", ALL)
def test_the_text_of_every_call_is_what_it_is_ready_with(path: Path) -> None:
    events, _, _ = read(GEMINI, path.read_bytes())
    ready = [event for event in events if isinstance(event, ToolReady)]
    whole = assembled(logged(events))

    assert len(ready) == sum(block.kind in ("tool_call", "server_tool_call") for block in whole.blocks.values())
    for event in ready:
        block = whole.block(0, event.block)
        assert block is not None
        assert json.loads(block.text or "{}") == event.arguments


@pytest.mark.parametrize("path", ALL)
def test_the_last_usage_is_final_and_its_sums_fit(path: Path) -> None:
    events, _, _ = read(GEMINI, path.read_bytes())
    usage = [event for event in events if isinstance(event, Usage)]
    last = usage[-1]

    assert [event.mode for event in usage] == ["cumulative"] * (len(usage) - 1) + ["final"]
    assert last.input_tokens is not None
    assert last.output_tokens is not None
    assert last.total_tokens == last.input_tokens + last.output_tokens


@pytest.mark.parametrize("path", SMALL)
def test_every_cut_in_two_gives_the_same_events(path: Path) -> None:
    data = path.read_bytes()
    whole = read(GEMINI, data)

    for cut in range(len(data) + 1):
        assert read(GEMINI, data[:cut], data[cut:]) == whole, f"cut at byte {cut}"


@pytest.mark.parametrize("path", SMALL)
def test_single_bytes_give_the_same_events(path: Path) -> None:
    data = path.read_bytes()

    assert read(GEMINI, *(data[at : at + 1] for at in range(len(data)))) == read(GEMINI, data)


@pytest.mark.parametrize("times", [50, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", LARGE)
def test_random_cuts_give_the_same_events(path: Path, times: int) -> None:
    data = path.read_bytes()
    whole = read(GEMINI, data)
    chance = random.Random(f"{path.stem}/{times}")

    for _ in range(times):
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 12)))
        pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert read(GEMINI, *pieces) == whole, f"cut at {cuts}"


@pytest.mark.parametrize("path", ALL)
def test_a_frame_that_is_parsed_whole_gives_the_same_events_as_one_that_is_recognised(path: Path) -> None:
    reader = GEMINI.reader()
    spaced = [event for frame in wire(path) for event in reader.feed_frame(frame)]
    padded = b"".join(b"data:%b%b\n\n" % (b" " * (at % 7), json.dumps(f).encode()) for at, f in enumerate(wire(path)))

    assert [*spaced, *reader.close()] == read(GEMINI, path.read_bytes())[0]
    assert read(GEMINI, padded) == read(GEMINI, path.read_bytes())


@pytest.mark.parametrize("path", ALL)
def test_the_log_is_hardly_longer_than_the_stream(path: Path) -> None:
    data = path.read_bytes()
    events, ending, _ = read(GEMINI, data)

    assert sum(len(record.payload) for record in logged([*events, ending])) < 1.1 * len(data) + 700


@pytest.mark.parametrize("path", ALL)
def test_the_writer_goes_on_from_a_checkpoint_with_the_same_frames(path: Path) -> None:
    events, ending, _ = read(GEMINI, path.read_bytes())
    records = logged([*events, ending])
    writer, state, assembly = GEMINI.writer, GEMINI.writer.initial(HEAD), Assembly()
    stored: list[tuple[StreamChunk, bytes, list[Frame]]] = []
    for record in records:
        assembly.apply(record)
        before = state
        state, made = writer.write(state, record, assembly)
        if len(stored) < 60 or record.sequence % 16 == 0:
            stored.append((record, msgspec.json.encode(before), list(made)))

    for record, checkpoint, made in stored:
        restored = msgspec.json.decode(checkpoint, type=GeminiState)
        assert list(writer.write(restored, record, assembly)[1]) == made
