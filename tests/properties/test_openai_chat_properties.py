"""OpenAI Chat Completions under streams nobody wrote: any text, any cut, any frame."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dialects import framed, logged, payloads, read, write

from patinox.core.chunks import End, Outcome, Text
from patinox.core.events import BlockDelta
from patinox.formats.openai_chat import OPENAI_CHAT, OpenAIChatReader
from patinox.formats.text import TEXT

COMPLETE = End(Outcome.COMPLETE)

# JSON carries no lone surrogates, and values that are equal in Python but not in JSON (0, False, 0.0) are left out.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = st.none() | TEXTS | st.integers(2, 2**31)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(TEXTS.filter(lambda key: key != "$"), inner, max_size=2)
    ),
    max_leaves=4,
)
FEW = st.sampled_from(["", "a", "b", '"', "\\", "😀", "\u2028", 'a","b":"'])


def fields(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


CALLS = st.lists(
    fields(
        index=st.sampled_from([0, 1, None]),
        id=st.sampled_from(["", "call_a", "call_b", None]),
        type=st.just("function"),
        function=fields(name=st.sampled_from(["", "f", None]), arguments=FEW | st.none()) | st.none(),
    ),
    max_size=2,
)
DETAILS = st.lists(fields(type=st.just("reasoning.text"), text=FEW, signature=FEW, data=FEW), max_size=2)
PARTS = st.lists(
    fields(type=st.just("text"), text=FEW)
    | fields(type=st.just("thinking"), thinking=st.lists(fields(text=FEW), max_size=2)),
    max_size=2,
)
DELTAS = fields(
    role=st.just("assistant"),
    content=FEW | st.none() | PARTS | VALUES,
    reasoning_content=FEW | st.none(),
    reasoning=FEW | VALUES,
    reasoning_details=DETAILS | VALUES,
    refusal=FEW | st.none(),
    tool_calls=CALLS | VALUES,
    function_call=fields(name=FEW, arguments=FEW) | VALUES,
    audio=fields(data=st.sampled_from(["AAEC", "AA", "!"]), transcript=FEW, id=FEW) | VALUES,
    annotations=st.lists(VALUES, max_size=2) | VALUES,
    images=st.lists(VALUES, max_size=2),
    other=VALUES,
)
CHOICES = fields(
    index=st.sampled_from([0, 2]),
    delta=DELTAS | VALUES,
    finish_reason=st.sampled_from([None, None, None, "stop", "length", "tool_calls", "odd"]),
    logprobs=st.none() | fields(content=VALUES, refusal=VALUES) | VALUES,
    odd=VALUES,
)
USAGE = fields(prompt_tokens=st.integers(2, 9), completion_tokens=VALUES)
FRAMES = fields(
    id=st.sampled_from(["c1", "c2"]),
    created=st.sampled_from([5, 6]),
    model=st.sampled_from(["m", "n"]),
    choices=st.lists(CHOICES, max_size=2) | VALUES,
    usage=st.none() | USAGE,
    x_groq=fields(usage=USAGE),
    obfuscation=FEW,
    other=VALUES,
)
PLAIN = st.builds(
    lambda frame_id, text, pad, index: {
        "id": frame_id,
        "choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}],
        **({"obfuscation": pad} if pad is not None else {}),
    },
    st.sampled_from(["c1", "c1", "c2", 'c","id":"']),
    FEW,
    FEW | st.none(),
    st.sampled_from([0, 2]),
)
STREAMS = st.lists(PLAIN | PLAIN | FRAMES, max_size=12)


def sse(frames: list[Any], separators: tuple[str, str] = (",", ":")) -> bytes:
    bodies = [json.dumps(frame, separators=separators, ensure_ascii=False) for frame in frames]
    return "".join(f"data: {body}\n\n" for body in [*bodies, "[DONE]"]).encode()


DONE = b"data: [DONE]\n\n"


@given(STREAMS)
def test_any_stream_comes_back_as_it_was(frames: list[Any]) -> None:
    data = sse(frames)
    events, ending, _ = read(OPENAI_CHAT, data)

    assert payloads(framed(write(OPENAI_CHAT, logged([*events, ending])))) == payloads(data)


@given(STREAMS)
def test_how_the_json_is_spaced_changes_nothing(frames: list[Any]) -> None:
    assert read(OPENAI_CHAT, sse(frames)) == read(OPENAI_CHAT, sse(frames, (", ", ": ")))


@given(STREAMS, st.data())
def test_recognised_frames_give_what_parsed_ones_do(frames: list[Any], data: st.DataObject) -> None:
    padded = [
        "data: " + " " * data.draw(st.integers(0, 3)) + json.dumps(frame, ensure_ascii=False) + "\n\n"
        for frame in frames
    ]

    assert read(OPENAI_CHAT, "".join([*padded, "data: [DONE]\n\n"]).encode()) == read(OPENAI_CHAT, sse(frames))


@given(STREAMS, st.sampled_from([(",", ":"), (", ", ": "), (",\n", ":"), (",\r", ":")]))
def test_recognised_by_its_bytes_an_event_gives_what_a_parsed_one_does(
    frames: list[Any], separators: tuple[str, str]
) -> None:
    pieces = [sse([frame], separators).removesuffix(DONE) for frame in frames]
    simple = OpenAIChatReader()
    simple._patience = 0  # nothing is learnt

    events = [event for piece in pieces for event in simple.feed(piece)] + simple.close()
    assert read(OPENAI_CHAT, *pieces) == (events, simple.ending, simple.problems)


def test_a_delta_like_the_one_before_it_is_read_without_its_frame_being_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = OPENAI_CHAT.reader()
    pieces = [sse([{"id": "c1", "choices": [{"index": 0, "delta": {"content": text}}]}]) for text in "abc"]
    for piece in pieces[:2]:
        reader.feed(piece.removesuffix(DONE))
    monkeypatch.delattr(type(reader), "_payload")

    assert reader.feed(pieces[2].removesuffix(DONE)) == [BlockDelta(message=0, block=0, text="c")]


def test_a_delta_with_an_id_of_its_own_is_read_without_its_frame_being_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = OPENAI_CHAT.reader()
    pieces = [sse([{"id": f"c{text}", "choices": [{"index": 0, "delta": {"content": text}}]}]) for text in "abc"]
    for piece in pieces[:2]:
        reader.feed(piece.removesuffix(DONE))
    monkeypatch.delattr(type(reader), "_payload")

    (delta,) = reader.feed(pieces[2].removesuffix(DONE))
    assert delta == BlockDelta(message=0, block=0, text="c", ext={"openai-chat": {"set": {"id": "cc"}}})


@given(STREAMS, st.lists(st.integers(0, 5_000), max_size=6))
def test_any_cut_gives_the_same_events(frames: list[Any], places: list[int]) -> None:
    data = sse(frames)
    cuts = sorted(place % (len(data) + 1) for place in places)
    pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    assert read(OPENAI_CHAT, *pieces) == read(OPENAI_CHAT, data)


@given(st.lists(TEXTS, max_size=8))
def test_text_survives_into_the_dialect_and_back(texts: list[str]) -> None:
    stream = framed(write(OPENAI_CHAT, logged([*map(Text, texts), COMPLETE])))
    events, ending, problems = read(OPENAI_CHAT, stream)

    assert "".join(event.text for event in events if isinstance(event, BlockDelta)) == "".join(texts)
    assert (ending, problems) == (COMPLETE, [])
    plain = b"".join(frame.data for frame in write(TEXT, logged([*events, ending])))
    assert plain.decode() == "".join(texts)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_plain_text_reads_the_same_for_every_cut(data: bytes, places: list[int]) -> None:
    cuts = sorted(place % (len(data) + 1) for place in places)
    pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    assert text_or_error(pieces) == text_or_error([data])


def text_or_error(pieces: list[bytes]) -> tuple[str, str, list[str]]:
    reader, texts, failure = TEXT.reader(), [], ""
    try:
        for piece in pieces:
            texts += [event.text for event in reader.feed(piece)]
        reader.close()
    except ValueError as error:
        failure = str(error)
    return "".join(texts), failure, list(reader.problems)
