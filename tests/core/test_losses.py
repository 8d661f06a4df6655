"""What dialects declare as lost: the words it is declared in, what counts, and the page that is made of it."""

from pathlib import Path
from typing import Any, get_args

import pytest

from patinox.core.chunks import Binary, End, Error, Json, Outcome, Text
from patinox.core.codec import KINDS
from patinox.core.events import (
    EVENTS,
    BlockDelta,
    BlockKind,
    BlockStart,
    DeltaOp,
    Event,
    MessageEnd,
    MessageStart,
    Native,
    RunStart,
    Usage,
)
from patinox.formats.losses import Loss, LossCounter, keys
from patinox.formats.reference import dialects_page
from patinox.formats.registry import builtin
from patinox.incremental.assembler import Assembly

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "dialects.md"
FORMATS = builtin()


def known_keys() -> set[str]:
    """Every key there can be."""
    shared = set(Event.__struct_fields__)
    fields = {f"{event.kind}:{field}" for event in EVENTS for field in set(event.__struct_fields__) - shared}
    blocks = {f"block.start:{kind}" for kind in get_args(BlockKind)} | {f"block.delta:{op}" for op in get_args(DeltaOp)}
    ends = {f"end:{outcome}" for outcome in Outcome}
    return {*KINDS, *fields, *blocks, *ends, "choice", "provider_id", "ext"}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_losses_are_declared_in_words_of_the_neutral_events(name: str) -> None:
    assert FORMATS[name].losses.keys() <= known_keys()
    assert FORMATS[name].tells <= known_keys()


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_loss_has_its_reason(name: str) -> None:
    assert all(loss.why and not loss.why.endswith(".") for loss in FORMATS[name].losses.values())


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (Text("x"), {"text"}),
        (Json({}), {"json"}),
        (Binary(b""), {"binary"}),
        (Error("c", "m"), {"error"}),
        (End(Outcome.CANCELLED), {"end:cancelled"}),
        (BlockDelta(text="x"), {"block.delta", "block.delta:text.append"}),
        (BlockDelta(op="annotation.add", value={}, choice=1), {"block.delta", "block.delta:annotation.add", "choice"}),
        (
            BlockStart(of="tool_call", name="f", provider_id="i"),
            {"block.start", "block.start:tool_call", "block.start:name", "provider_id"},
        ),
        (MessageEnd(finish_reason="stop"), {"message.end", "message.end:finish_reason"}),
        (Usage(input_tokens=0), {"usage", "usage:mode", "usage:input_tokens"}),
        (RunStart(ext={"x": {"frame": 1}}), {"run.start", "ext"}),
    ],
)
def test_a_record_has_the_keys_of_what_it_says(record: Any, expected: set[str]) -> None:
    assert set(keys(record)) == expected


def counted(losses: dict[str, Loss], *records: Any, target: str = "x") -> dict[str, int]:
    assembly = Assembly()
    counter = LossCounter(target, losses, assembly)
    for record in records:
        counter.count(record)
    counter.finish()
    return counter.counts


def test_what_is_declared_is_counted_and_nothing_else() -> None:
    assert counted({"json": Loss("no")}, Json(1), Text("a"), Json(2)) == {"json": 2}


def test_a_condition_decides_for_each_record() -> None:
    losses = {"message.start": Loss("one", lambda data, _: data.message > 0)}

    assert counted(losses, MessageStart(), MessageStart(message=1)) == {"message.start": 1}


def test_what_shows_late_is_asked_when_the_stream_is_over() -> None:
    asked: list[str] = []

    def when(data: Any, _assembly: Assembly) -> bool:
        asked.append(data.of)
        return bool(data.of == "image")

    losses = {"block.start": Loss("late", when, is_late=True)}
    assembly = Assembly()
    counter = LossCounter("x", losses, assembly)
    counter.count(BlockStart(of="image"))
    counter.count(BlockStart(of="text"))

    assert (asked, counter.counts) == ([], {})
    counter.finish()
    counter.finish()
    assert (asked, counter.counts) == (["image", "text"], {"block.start": 1})


def test_frames_and_extras_of_the_target_itself_are_not_lost() -> None:
    own, other = {"mine": {"frame": 1}}, {"theirs": {"frame": 1}}
    losses = {"native": Loss("no")}

    assert counted(losses, Native(dialect="mine", ext=own), target="mine") == {}
    assert counted(losses, Native(dialect="theirs", ext=other), target="mine") == {"native": 1, "ext": 1}


def test_an_ext_that_says_nothing_is_nothing_lost() -> None:
    assert counted({}, MessageStart(ext={"theirs": {}})) == {}


def test_plain_text_may_be_declared_as_lost_too() -> None:
    assert counted({"block.delta:text.append": Loss("mute")}, BlockDelta(text="a")) == {"block.delta:text.append": 1}


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == dialects_page(), (
        "run: python -m patinox.formats.reference > docs/reference/dialects.md"
    )
