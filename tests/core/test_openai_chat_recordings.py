"""Every recorded chat stream: read whole, cut anywhere, and written again as it came."""

import random
from pathlib import Path

import msgspec
import pytest
from tests.dialects import HEAD, framed, logged, payloads, read, write
from tests.recordings import SMALL_BYTES, recorded

from patinox.core.chunks import End, Error, Outcome, StreamChunk
from patinox.core.events import MessageEnd, MessageStart, Native, RunEnd, RunStart, Usage
from patinox.formats.base import Frame
from patinox.formats.framing import EventStreamParser
from patinox.formats.openai_chat import OPENAI_CHAT
from patinox.formats.openai_chat.state import ChatState
from patinox.incremental.assembler import Assembly

ALL = recorded("openai-chat")
SMALL = recorded("openai-chat", max_bytes=SMALL_BYTES)
LARGE = recorded("openai-chat", min_bytes=SMALL_BYTES + 1)

# An error is final here, and a failed stream never says [DONE]; this provider does.
DONE_AFTER_ERROR = {"openrouter_stream_error.1"}
# These end with an in-band error.
FAILED = {
    "openrouter_stream_error.1",
    "tool_use_failed_error_streaming.1",
    "tool_use_failed_error_streaming_with_text.1",
}


@pytest.mark.parametrize("path", ALL)
def test_the_same_dialect_gives_back_the_same_frames(path: Path) -> None:
    original = path.read_bytes()
    events, ending, _ = read(OPENAI_CHAT, original)

    again = payloads(framed(write(OPENAI_CHAT, logged([*events, ending]))))

    expected = payloads(original)
    if path.stem in DONE_AFTER_ERROR:
        assert expected.pop() == ("", "[DONE]")
    assert again == expected


@pytest.mark.parametrize("path", ALL)
def test_the_run_ends_as_the_recording_does(path: Path) -> None:
    events, ending, _ = read(OPENAI_CHAT, path.read_bytes())

    if path.stem in FAILED:
        assert isinstance(ending, Error)
        assert ending.message
        assert not any(isinstance(event, RunEnd) for event in events)
    else:
        assert ending == End(Outcome.COMPLETE)
        assert isinstance(events[-1], RunEnd)
        assert sum(isinstance(event, MessageEnd) for event in events) == 1


@pytest.mark.parametrize("path", ALL)
def test_a_run_begins_once_and_has_its_model_and_usage(path: Path) -> None:
    events, _, _ = read(OPENAI_CHAT, path.read_bytes())
    told = [event for event in events if not isinstance(event, Native)]

    assert [type(event) for event in told[:2]] == [RunStart, MessageStart]
    assert sum(isinstance(event, RunStart) for event in events) == 1
    assert told[0].model
    if "tool_use_failed_error_streaming" not in path.stem:
        assert any(isinstance(event, Usage) and event.output_tokens for event in events)


@pytest.mark.parametrize("path", SMALL)
def test_every_cut_in_two_gives_the_same_events(path: Path) -> None:
    data = path.read_bytes()
    whole = read(OPENAI_CHAT, data)

    for cut in range(len(data) + 1):
        assert read(OPENAI_CHAT, data[:cut], data[cut:]) == whole, f"cut at byte {cut}"


@pytest.mark.parametrize("path", SMALL)
def test_single_bytes_give_the_same_events(path: Path) -> None:
    data = path.read_bytes()

    assert read(OPENAI_CHAT, *(data[at : at + 1] for at in range(len(data)))) == read(OPENAI_CHAT, data)


@pytest.mark.parametrize("path", LARGE)
def test_random_cuts_give_the_same_events(path: Path) -> None:
    data = path.read_bytes()
    whole = read(OPENAI_CHAT, data)
    chance = random.Random(path.stem)

    for _ in range(200):
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 12)))
        pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert read(OPENAI_CHAT, *pieces) == whole, f"cut at {cuts}"


@pytest.mark.parametrize("path", ALL)
def test_a_frame_that_is_parsed_whole_gives_the_same_events_as_one_that_is_recognised(path: Path) -> None:
    data = path.read_bytes()
    padded = b"".join(
        b"event: %b\ndata: %b%b\n\n" % (event.event.encode(), b" " * (at % 7), event.data.encode())
        for at, event in enumerate(EventStreamParser().feed(data))
    ).replace(b"event: \n", b"")

    assert read(OPENAI_CHAT, padded) == read(OPENAI_CHAT, data)


@pytest.mark.parametrize("path", ALL)
def test_most_text_deltas_are_one_event_and_nothing_else(path: Path) -> None:
    data = path.read_bytes()
    events, ending, _ = read(OPENAI_CHAT, data)
    log_bytes = sum(len(record.payload) for record in logged([*events, ending]))

    assert log_bytes < 0.8 * len(data) + 1_500


@pytest.mark.parametrize("path", ALL)
def test_the_writer_goes_on_from_a_checkpoint_with_the_same_frames(path: Path) -> None:
    events, ending, _ = read(OPENAI_CHAT, path.read_bytes())
    records = logged([*events, ending])
    writer, state, assembly = OPENAI_CHAT.writer, OPENAI_CHAT.writer.initial(HEAD), Assembly()
    straight: list[Frame] = []
    stored: list[tuple[StreamChunk, bytes, list[Frame]]] = []
    for record in records:
        assembly.apply(record)
        before = state
        state, made = writer.write(state, record, assembly)
        straight += made
        if len(stored) < 60 or record.sequence % 16 == 0:
            stored.append((record, msgspec.json.encode(before), list(made)))

    for record, checkpoint, made in stored:
        restored = msgspec.json.decode(checkpoint, type=ChatState)
        assert list(writer.write(restored, record, assembly)[1]) == made
    assert max(len(checkpoint) for _, checkpoint, _ in stored) < 16_384
    assert straight == write(OPENAI_CHAT, records)
