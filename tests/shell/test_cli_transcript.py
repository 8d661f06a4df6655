"""What a person reads of a stream's events."""

from typing import Any

import msgspec
import pytest

from patinox.cli.meter import Meter
from patinox.cli.pieces import WireEvent
from patinox.cli.transcript import Piece, Transcript
from patinox.core.chunks import Binary, End, Json, Outcome, Text
from patinox.core.codec import encode_data
from patinox.core.events import BlockDelta, BlockStart, Retract, RunStart, Usage


def event(data: Any) -> WireEvent:
    return WireEvent(data.kind, encode_data(data))


def control(kind: str, **data: Any) -> WireEvent:
    return WireEvent(kind, msgspec.json.encode(data))


def pieces(transcript: Transcript, *events: WireEvent) -> list[Piece]:
    return [piece for one in events for piece in transcript.take(one)]


def text_of(found: list[Piece]) -> str:
    return "".join(piece.text for piece in found if piece.kind == "text")


def notes_of(found: list[Piece]) -> list[str]:
    return [piece.text for piece in found if piece.kind == "note"]


def test_text_is_text_and_reasoning_is_reasoning() -> None:
    found = pieces(
        Transcript(),
        control("position", outcome="start"),
        event(BlockStart(block=0, of="reasoning")),
        event(BlockDelta(block=0, text="hm")),
        event(BlockStart(block=1)),
        event(BlockDelta(block=1, text="yes")),
        event(Text("!")),
        event(End(Outcome.COMPLETE)),
    )
    shown = [piece for piece in found if piece.kind != "event"]
    assert shown == [Piece("reasoning", "hm"), Piece("text", "yes"), Piece("text", "!")]


def test_a_second_choice_and_tool_arguments_are_not_shown() -> None:
    found = pieces(
        Transcript(),
        event(BlockStart(block=0, of="tool_call", name="f")),
        event(BlockDelta(block=0, op="json.append", text="{}")),
        event(BlockStart(message=1, choice=1, block=0)),
        event(BlockDelta(message=1, choice=1, block=0, text="other")),
    )
    assert {piece.kind for piece in found} == {"event"}


def test_blocks_that_began_before_are_known_from_a_snapshot() -> None:
    transcript = Transcript()
    transcript.seed({"blocks": [{"kind": "reasoning", "message": 0, "block": 0}]})
    assert pieces(transcript, event(BlockDelta(block=0, text="hm"))) == [Piece("reasoning", "hm")]


def test_a_gap_is_said_before_what_follows_it() -> None:
    found = pieces(Transcript(), control("gap", **{"from": 3, "to": 5}), event(Text("on")))
    assert [piece.kind for piece in found] == ["note", "text"]
    assert "3 to 5" in found[0].text


def test_a_snapshot_adds_what_was_not_shown_yet_and_fills_the_gap() -> None:
    transcript = Transcript()
    pieces(transcript, event(Text("Hel")))
    found = pieces(transcript, control("gap", **{"from": 2, "to": 3}), control("snapshot", content="Hello", blocks=[]))
    assert found == [Piece("text", "lo")]
    assert pieces(transcript, control("snapshot", content="Hello", blocks=[])) == []


def test_a_snapshot_of_another_text_is_shown_whole_and_said_to_be() -> None:
    transcript = Transcript()
    pieces(transcript, event(Text("Hel")))
    found = pieces(transcript, control("snapshot", content="Bye", blocks=[]))
    assert (text_of(found), len(notes_of(found))) == ("Bye", 1)


def test_a_reset_starts_over_and_says_so() -> None:
    transcript = Transcript()
    pieces(transcript, event(BlockStart(block=0, of="reasoning")), event(Text("Hel")))
    found = pieces(transcript, control("position", outcome="reset"), event(BlockDelta(block=0, text="Hel")))
    assert text_of(found) == "Hel"
    assert "forget what stands above" in notes_of(found)[0]


def test_a_retraction_is_said() -> None:
    [note] = notes_of(pieces(Transcript(), event(Retract(start=0, count=3, replacement="***"))))
    assert "3 characters" in note


def test_records_of_the_applications_own_are_counted() -> None:
    transcript = Transcript()
    found = pieces(transcript, event(Json({"a": 1})), event(Binary(b"x")), event(Text("t")))
    assert transcript.hidden == 2
    assert found[0] == Piece("event", 'json {"a":1}')


def test_an_event_of_a_newer_server_is_no_error() -> None:
    assert pieces(Transcript(), control("dance", step=1)) == [Piece("event", 'dance {"step":1}')]


def test_usage_is_kept() -> None:
    transcript = Transcript()
    pieces(transcript, event(RunStart(model="m")), event(Usage(output_tokens=5)), event(Usage(output_tokens=7)))
    assert transcript.usage["output_tokens"] == 7


class Clock:
    def __init__(self, *times_s: float) -> None:
        self._times_s = iter(times_s)

    def __call__(self) -> float:
        return next(self._times_s)


@pytest.mark.parametrize(
    ("usage", "line"),
    [
        ({"output_tokens": 21}, "21 tokens · 10.0 tokens/s · first after 0.50 s"),
        ({}, "about 2 tokens · 0.5 tokens/s · first after 0.50 s"),
        ({"output_tokens": 1}, "1 token · first after 0.50 s"),
    ],
)
def test_the_meter_says_how_fast_it_was(usage: dict[str, int], line: str) -> None:
    meter = Meter(Clock(10.0, 10.5, 12.5))
    meter.piece()
    meter.piece()
    assert meter.line(usage) == line


def test_the_meter_of_an_answer_without_text_divides_by_nothing() -> None:
    assert Meter(Clock(1.0)).line({}) == "no text"
