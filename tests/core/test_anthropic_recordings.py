"""Every recorded Messages stream: read whole, cut anywhere, and written again as it came."""

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.dialects import HEAD, framed, logged, payloads, read, write
from tests.recordings import recorded

from patinox.core.chunks import End, Outcome, StreamChunk
from patinox.core.events import BlockEnd, BlockStart, MessageEnd, MessageStart, Native, RunEnd, RunStart, ToolReady
from patinox.formats.anthropic import ANTHROPIC
from patinox.formats.anthropic.state import AnthropicState
from patinox.formats.base import Frame
from patinox.formats.framing import EventStreamParser
from patinox.incremental.assembler import Assembly

EVERY_CUT_BYTES = 6_000
ALL = recorded("anthropic")
SMALL = recorded("anthropic", max_bytes=EVERY_CUT_BYTES)
LARGE = recorded("anthropic", min_bytes=EVERY_CUT_BYTES + 1)

PROBLEMS = {
    "anthropic-duplicate-message-start": ["a message began twice"],
    "anthropic-spliced-message-start": ["a message began before the one before it had ended"],
}


def wire(path: Path) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in EventStreamParser().feed(path.read_bytes())]


@pytest.mark.parametrize("path", ALL)
def test_the_same_dialect_gives_back_the_same_frames(path: Path) -> None:
    original = path.read_bytes()
    events, ending, _ = read(ANTHROPIC, original)

    assert payloads(framed(write(ANTHROPIC, logged([*events, ending])))) == payloads(original)


@pytest.mark.parametrize("path", ALL)
def test_the_run_is_complete_and_only_malformed_streams_have_problems(path: Path) -> None:
    events, ending, problems = read(ANTHROPIC, path.read_bytes())

    assert ending == End(Outcome.COMPLETE)
    assert isinstance(events[-1], RunEnd)
    assert sum(isinstance(event, RunStart) for event in events) == 1
    assert problems == PROBLEMS.get(path.stem, [])


@pytest.mark.parametrize("path", ALL)
def test_nothing_but_pings_and_a_doubled_beginning_is_kept_as_native(path: Path) -> None:
    events, _, _ = read(ANTHROPIC, path.read_bytes())
    kept = [event.event for event in events if isinstance(event, Native)]

    assert set(kept) <= {"ping"} | ({"message_start"} if path.stem == "anthropic-duplicate-message-start" else set())


@pytest.mark.parametrize("path", ALL)
def test_blocks_begin_and_end_once_and_messages_too(path: Path) -> None:
    events, _, _ = read(ANTHROPIC, path.read_bytes())
    begun = [(event.message, event.block) for event in events if isinstance(event, BlockStart)]
    ended = [(event.message, event.block) for event in events if isinstance(event, BlockEnd)]
    starts = [event.message for event in events if isinstance(event, MessageStart)]

    assert len(set(begun)) == len(begun)
    assert sorted(begun, key=str) == sorted(ended, key=str)
    assert starts == [event.message for event in events if isinstance(event, MessageEnd)] == list(range(len(starts)))


@pytest.mark.parametrize("path", ALL)
def test_every_call_that_ended_is_ready_with_its_arguments(path: Path) -> None:
    events, _, _ = read(ANTHROPIC, path.read_bytes())
    expected = expected_calls(wire(path))

    assert [
        (event.call_id, event.name, event.arguments) for event in events if isinstance(event, ToolReady)
    ] == expected


def expected_calls(frames: list[dict[str, Any]]) -> list[tuple[str, str, Any]]:
    calls: list[tuple[str, str, Any]] = []
    contents: dict[int, tuple[dict[str, Any], list[str]]] = {}
    for frame in frames:
        match frame["type"]:
            case "message_start":
                calls += [(item["id"], item["name"], item["input"]) for item in frame["message"]["content"]]
            case "content_block_start":
                contents[frame["index"]] = (frame["content_block"], [])
            case "content_block_delta" if frame["delta"]["type"] == "input_json_delta":
                contents[frame["index"]][1].append(frame["delta"]["partial_json"])
            case "content_block_stop":
                content, parts = contents.pop(frame["index"])
                if content["type"].endswith("tool_use"):
                    text = "".join(parts)
                    calls.append((content["id"], content["name"], json.loads(text) if text else content["input"]))
    return calls


@pytest.mark.parametrize("path", SMALL)
def test_every_cut_in_two_gives_the_same_events(path: Path) -> None:
    data = path.read_bytes()
    whole = read(ANTHROPIC, data)

    for cut in range(len(data) + 1):
        assert read(ANTHROPIC, data[:cut], data[cut:]) == whole, f"cut at byte {cut}"


@pytest.mark.parametrize("path", SMALL)
def test_single_bytes_give_the_same_events(path: Path) -> None:
    data = path.read_bytes()

    assert read(ANTHROPIC, *(data[at : at + 1] for at in range(len(data)))) == read(ANTHROPIC, data)


@pytest.mark.parametrize("times", [50, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", LARGE)
def test_random_cuts_give_the_same_events(path: Path, times: int) -> None:
    data = path.read_bytes()
    whole = read(ANTHROPIC, data)
    chance = random.Random(f"{path.stem}/{times}")

    for _ in range(times):
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 12)))
        pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert read(ANTHROPIC, *pieces) == whole, f"cut at {cuts}"


@pytest.mark.parametrize("path", ALL)
def test_frames_that_are_parsed_already_give_the_same_events(path: Path) -> None:
    reader = ANTHROPIC.reader()
    events = [event for frame in wire(path) for event in reader.feed_frame(frame)]

    assert [*events, *reader.close()] == read(ANTHROPIC, path.read_bytes())[0]


@pytest.mark.parametrize("path", ALL)
def test_most_deltas_are_one_event_and_nothing_else(path: Path) -> None:
    data = path.read_bytes()
    events, ending, _ = read(ANTHROPIC, data)

    assert sum(len(record.payload) for record in logged([*events, ending])) < len(data) + 1_000


@pytest.mark.parametrize("path", ALL)
def test_the_writer_goes_on_from_a_checkpoint_with_the_same_frames(path: Path) -> None:
    events, ending, _ = read(ANTHROPIC, path.read_bytes())
    records = logged([*events, ending])
    writer, state, assembly = ANTHROPIC.writer, ANTHROPIC.writer.initial(HEAD), Assembly()
    stored: list[tuple[StreamChunk, bytes, list[Frame]]] = []
    for record in records:
        assembly.apply(record)
        before = state
        state, made = writer.write(state, record, assembly)
        if len(stored) < 60 or record.sequence % 16 == 0:
            stored.append((record, msgspec.json.encode(before), list(made)))

    for record, checkpoint, made in stored:
        restored = msgspec.json.decode(checkpoint, type=AnthropicState)
        assert list(writer.write(restored, record, assembly)[1]) == made
