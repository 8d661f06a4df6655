"""Every pair of dialects: A → neutral → B → neutral keeps all that is not declared lost."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.dialects import read
from tests.facts import Losses, facts, lost
from tests.pairs import RECORDED, STREAMS, Stream

from patinox.core.chunks import End, Error, Outcome
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    RunEnd,
    RunStart,
    ToolReady,
    Usage,
)
from patinox.formats.losses import keys
from patinox.formats.registry import builtin
from patinox.formats.transformer import StreamTransformer

FORMATS = builtin()


def _params() -> Iterator[Any]:
    """All invented streams and every third recording; the others are slow."""
    for number, (name, stream) in enumerate(STREAMS.items()):
        is_quick = stream.source not in RECORDED or number % 3 == 0
        yield pytest.param(name, marks=() if is_quick else pytest.mark.slow)


PARAMS = list(_params())


def through(stream: Stream, target: str) -> tuple[Losses, set[str]]:
    """What is gone of a stream after it was told in `target`, and what was reported as lost."""
    source = FORMATS[stream.source]
    events, ending, _ = read(source, stream.data)
    transformer = StreamTransformer(source, target)
    written = transformer.feed(stream.data) + transformer.close()
    events_back, ending_back, _ = read(FORMATS[target], written)
    gone = lost(facts([*events, ending]), facts([*events_back, ending_back]))
    return gone, {loss.what for loss in transformer.report.lost}


@cache
def through_all(name: str) -> dict[str, tuple[Losses, set[str]]]:
    return {target: through(STREAMS[name], target) for target in FORMATS}


@pytest.mark.parametrize("name", PARAMS)
def test_what_is_not_reported_as_lost_survives_in_every_dialect(name: str) -> None:
    undeclared = {
        target: {key: values for key, values in losses.first.items() if key not in reported}
        for target, (losses, reported) in through_all(name).items()
    }

    assert {target: losses for target, losses in undeclared.items() if losses} == {}


@pytest.mark.parametrize("name", PARAMS)
def test_the_same_dialect_and_the_native_ones_lose_nothing(name: str) -> None:
    source = STREAMS[name].source
    for target in {source, "patinox", "ndjson"}:
        losses, reported = through_all(name)[target]
        assert (losses.gone if target != source else {}, reported) == ({}, set())


@pytest.mark.slow
def test_every_declared_loss_happens_somewhere() -> None:
    happened = {
        (target, key) for name in STREAMS for target, (losses, _) in through_all(name).items() for key in losses.gone
    }
    declared = {(target, key) for target, format_ in FORMATS.items() for key in format_.losses}

    assert sorted(declared - happened) == []


@pytest.mark.parametrize("name", PARAMS)
def test_a_dialect_tells_nothing_that_it_does_not_declare_to_tell(name: str) -> None:
    stream = STREAMS[name]
    tells = FORMATS[stream.source].tells
    events, ending, _ = read(FORMATS[stream.source], stream.data)
    declarable = {key for format_ in FORMATS.values() for key in format_.losses} | {"ext"}

    said = {key for record in (*events, ending) for key in keys(record)} & declarable

    assert not tells or said - tells == set()


@pytest.mark.parametrize("target", sorted(FORMATS))
@pytest.mark.parametrize("source", sorted(FORMATS))
def test_what_a_pair_cannot_carry_is_a_part_of_what_its_target_cannot(source: str, target: str) -> None:
    pair = FORMATS[target].losses_from(FORMATS[source])

    assert pair.keys() <= FORMATS[target].losses.keys() | {"ext"}
    assert bool(pair) is (source not in (target, "text") and target not in ("patinox", "ndjson"))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
ARGUMENTS = st.sampled_from(['{"a": 1}', "{}", '{"b":["é",null]}'])
PROSE = st.sampled_from(["text", "reasoning", "refusal", "reasoning_summary"])


@st.composite
def blocks(draw: st.DrawFn, message: int, number: int) -> list[Any]:
    place: dict[str, Any] = {"message": message, "block": number}
    if draw(st.booleans()):
        kind: Any = draw(PROSE)
        deltas = [BlockDelta(**place, text=text) for text in draw(st.lists(TEXTS, min_size=1, max_size=3))]
        return [BlockStart(**place, of=kind), *deltas, BlockEnd(**place)]
    text = draw(ARGUMENTS)
    cut = draw(st.integers(0, len(text)))
    call: dict[str, Any] = {"name": "tool", "call_id": f"call_{message}_{number}"}
    deltas = [BlockDelta(**place, op="json.append", text=part) for part in (text[:cut], text[cut:]) if part]
    ready = ToolReady(**place, **call, arguments=json.loads(text))
    return [BlockStart(**place, of="tool_call", **call), *deltas, BlockEnd(**place), ready]


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    taken, made = draw(st.integers(1, 50)), draw(st.integers(0, 50))
    cached = draw(st.none() | st.integers(0, taken))
    return Usage(
        mode=draw(st.sampled_from(["delta", "cumulative", "final"])),
        input_tokens=taken,
        output_tokens=made,
        total_tokens=draw(st.sampled_from([None, taken + made])),
        reasoning_tokens=draw(st.none() | st.integers(0, made)),
        cached_tokens=cached,
        cache_write_tokens=draw(st.none() | st.integers(0, taken - (cached or 0))),
        raw=draw(st.sampled_from([None, {"n": 1}])),
    )


@st.composite
def streams(draw: st.DrawFn) -> list[Any]:
    records: list[Any] = [RunStart(model="m")]
    for message in range(draw(st.integers(1, 2))):
        made = [draw(blocks(message, number)) for number in range(draw(st.integers(1, 3)))]
        calls = any(isinstance(record, ToolReady) for block in made for record in block)
        end = MessageEnd(message=message, finish_reason="tool_calls" if calls else "stop")
        records += [MessageStart(message=message), *(record for block in made for record in block), end]
    if draw(st.booleans()):
        records.insert(draw(st.integers(0, len(records))), draw(usages()))
    failures = [Error("odd", "it failed"), End(Outcome.CANCELLED), End(Outcome.INTERRUPTED)]
    ending = draw(st.sampled_from([None, *failures]))
    return [*records, *([RunEnd()] if ending is None else [ending])]


@given(streams(), st.sampled_from(sorted(FORMATS)))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_stream_keeps_what_is_not_reported_as_lost(records: list[Any], target: str) -> None:
    stream = Stream("patinox", "any", b"".join(StreamTransformer("patinox", "patinox").events(records)))

    losses, reported = through(stream, target)

    assert {key: values for key, values in losses.first.items() if key not in reported} == {}
