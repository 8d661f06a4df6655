"""Gemini under streams nobody wrote: any text, any cut, any frame."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.dialects import HEAD, framed, logged, payloads, read, write

from patinox.core.chunks import End, Error, Outcome, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    Native,
    ToolReady,
    Usage,
)
from patinox.formats.gemini import GEMINI
from patinox.formats.gemini.arguments import PartialArguments
from patinox.formats.gemini.state import GeminiState
from patinox.formats.text import TEXT
from patinox.incremental.assembler import Assembly

COMPLETE = End(Outcome.COMPLETE)
ENDINGS = st.sampled_from([COMPLETE, End(Outcome.INCOMPLETE), End(Outcome.CANCELLED), Error("x", "broke")])

# JSON carries no lone surrogates, and values that are equal in Python but not in JSON (0, False, 0.0) are left out.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | TEXTS | st.integers(2, 2**31),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(TEXTS.filter(lambda key: key != "$"), inner, max_size=2)
    ),
    max_leaves=4,
)
FEW = st.sampled_from(["", "a", '"', "\\", "😀", "\u2028", '"}],"role"'])
ENDED = {"candidates": [{"finishReason": "STOP"}, {"finishReason": "STOP", "index": 2}]}


def fields(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


PIECES = st.lists(
    fields(
        jsonPath=st.sampled_from(["$.a", "$.b", "$.c[0]", "$.c[1].d", "$.c[1].e", "$['x y']", "$", "odd"]),
        stringValue=FEW,
        numberValue=st.integers(2, 9) | st.just(0.5),
        nullValue=st.just("NULL_VALUE"),
        willContinue=st.just(True),
    ),
    max_size=2,
)
CALLS = fields(name=FEW, id=FEW, args=VALUES, partialArgs=PIECES | VALUES, willContinue=st.just(True))
PARTS = fields(
    text=FEW | VALUES,
    thought=st.just(True),
    thoughtSignature=FEW | VALUES,
    functionCall=CALLS | VALUES,
    executableCode=fields(language=FEW, code=FEW),
    codeExecutionResult=fields(outcome=st.sampled_from(["OUTCOME_OK", "OUTCOME_FAILED"]), output=FEW),
    toolResponse=fields(toolType=FEW, response=VALUES, id=FEW),
    inlineData=fields(mimeType=st.sampled_from(["image/png", "audio/mp3"]), data=st.sampled_from(["AAEC", "!"])),
    odd=VALUES,
)
CANDIDATES = fields(
    index=st.sampled_from([0, 2]),
    content=fields(role=st.just("model"), parts=st.lists(PARTS, max_size=2) | VALUES) | VALUES,
    finishReason=st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", "ODD"]),
    groundingMetadata=VALUES,
    logprobsResult=VALUES,
    safetyRatings=VALUES,
)
USAGE = fields(promptTokenCount=st.integers(2, 4), candidatesTokenCount=VALUES, odd=VALUES)
FRAMES = fields(
    candidates=st.lists(CANDIDATES, max_size=2) | VALUES,
    usageMetadata=USAGE | VALUES,
    modelVersion=FEW,
    responseId=st.sampled_from(["r1", "r2"]),
    promptFeedback=fields(blockReason=st.just("SAFETY")) | VALUES,
    odd=VALUES,
)
PLAIN = st.builds(
    lambda text, index, count: {
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": index}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": count, "details": [{"n": 2}]},
        "responseId": "r1",
    },
    FEW,
    st.sampled_from([0, 0, 0, 2]),
    st.integers(2, 4),
)
STREAMS = st.lists(PLAIN | PLAIN | FRAMES, max_size=12).map(lambda frames: [*frames, ENDED])


def sse(frames: list[Any], separators: tuple[str, str] = (",", ":")) -> bytes:
    bodies = [json.dumps(frame, separators=separators, ensure_ascii=False) for frame in frames]
    return "".join(f"data: {body}\r\n\r\n" for body in bodies).encode()


@given(STREAMS)
def test_any_stream_comes_back_as_it_was(frames: list[Any]) -> None:
    data = sse(frames)
    events, ending, _ = read(GEMINI, data)

    assert payloads(framed(write(GEMINI, logged([*events, ending])))) == payloads(data)


@given(STREAMS)
def test_how_the_json_is_spaced_changes_nothing(frames: list[Any]) -> None:
    assert read(GEMINI, sse(frames)) == read(GEMINI, sse(frames, (", ", ": ")))


@given(STREAMS, st.data())
def test_recognised_frames_give_what_parsed_ones_do(frames: list[Any], data: st.DataObject) -> None:
    padded = [
        "data: " + " " * data.draw(st.integers(0, 3)) + json.dumps(frame, ensure_ascii=False) + "\n\n"
        for frame in frames
    ]

    assert read(GEMINI, "".join(padded).encode()) == read(GEMINI, sse(frames))


@given(STREAMS, st.booleans(), st.lists(st.integers(0, 5_000), max_size=6))
def test_any_cut_gives_the_same_events(frames: list[Any], fails: bool, places: list[int]) -> None:
    error = json.dumps({"error": {"code": 503, "message": "no"}}, indent=2).encode()
    data = sse(frames) + (error if fails else b"")
    cuts = sorted(place % (len(data) + 1) for place in places)
    pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    assert read(GEMINI, *pieces) == read(GEMINI, data)


BLOCKS = st.sampled_from([None, 0, 1, 2])
NATIVE = [{"candidates": [{"content": {"parts": [{"text": {"$": 0}}]}}]}, {}, 7, {"set": {"modelVersion": "m"}}]
FOREIGN = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(
        MessageStart,
        message=st.sampled_from([0, 1]),
        choice=st.sampled_from([0, 1]),
        role=st.sampled_from(["assistant", "tool"]),
    ),
    st.builds(
        BlockStart,
        message=st.sampled_from([0, 1]),
        block=BLOCKS,
        of=st.sampled_from(["text", "reasoning", "tool_call", "refusal", "reasoning_opaque", "image", "code"]),
        name=st.sampled_from([None, "image/png"]),
        call_id=st.sampled_from([None, "c"]),
    ),
    st.builds(
        BlockDelta,
        message=st.sampled_from([0, 1]),
        block=BLOCKS,
        text=TEXTS,
        more=st.booleans(),
        ext=st.none() | st.sampled_from([{"gemini": ext} for ext in NATIVE]),
    ),
    st.builds(BlockDelta, block=BLOCKS, op=st.just("bytes.append"), data=st.binary(max_size=4)),
    st.builds(BlockDelta, block=BLOCKS, op=st.sampled_from(["opaque.set", "annotation.add"]), value=VALUES),
    st.builds(BlockEnd, block=BLOCKS),
    st.builds(ToolReady, block=BLOCKS, arguments=VALUES),
    st.builds(MessageEnd, finish_reason=st.sampled_from([None, "stop", "length", "tool_calls", "other"])),
    st.builds(Usage, mode=st.sampled_from(["delta", "cumulative"]), input_tokens=st.integers(0, 9)),
    st.builds(Native, dialect=st.sampled_from(["gemini", "other"]), value=VALUES),
)


@given(st.lists(FOREIGN, max_size=14), ENDINGS)
def test_the_state_can_be_stored_at_any_point(data: list[Any], ending: End | Error) -> None:
    writer, assembly = GEMINI.writer, Assembly()
    state = stored = writer.initial(HEAD)
    for record in logged([*data, ending]):
        assembly.apply(record)
        state, made = writer.write(state, record, assembly)
        stored, again = writer.write(
            msgspec.json.decode(msgspec.json.encode(stored), type=GeminiState), record, assembly
        )
        assert list(made) == list(again)
        for frame in made:
            json.loads(frame.data)


@given(st.lists(TEXTS, max_size=8))
def test_text_survives_into_the_dialect_and_back(texts: list[str]) -> None:
    stream = framed(write(GEMINI, logged([*map(Text, texts), COMPLETE])))
    events, ending, problems = read(GEMINI, stream)

    assert (ending, problems) == (COMPLETE, [])
    plain = b"".join(frame.data for frame in write(TEXT, logged([*events, ending])))
    assert plain.decode() == "".join(texts)


LEAVES = TEXTS | st.integers(-9, 9) | st.booleans() | st.none() | st.sampled_from([0.5, 1e30])
NAMES = TEXTS.filter(bool)
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3) | st.dictionaries(TEXTS.filter(bool), inner, min_size=1, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=3,
)


def pieces(value: Any, path: str, cut: int) -> list[dict[str, Any]]:
    """A value as the dialect tells it: a piece for each leaf, a string in two."""
    if isinstance(value, dict):
        return [
            piece
            for key, item in value.items()
            for piece in pieces(item, f"{path}[{json.dumps(key, ensure_ascii=False)}]", cut)
        ]
    if isinstance(value, list):
        return [piece for place, item in enumerate(value) for piece in pieces(item, f"{path}[{place}]", cut)]
    if isinstance(value, str):
        first = {"jsonPath": path, "stringValue": value[:cut], "willContinue": True}
        return [first, {"jsonPath": path, "stringValue": value[cut:]}]
    if value is None:
        return [{"jsonPath": path, "nullValue": "NULL_VALUE"}]
    return [{"jsonPath": path, "boolValue" if isinstance(value, bool) else "numberValue": value}]


@given(TREES, st.integers(0, 4))
def test_arguments_in_pieces_are_the_text_of_the_whole(tree: dict[str, Any], cut: int) -> None:
    arguments = PartialArguments()
    texts = []
    for piece in pieces(tree, "$", cut):
        told = arguments.add(piece)
        assert told is not None
        texts.append(told.text)
    texts.append(arguments.finish())

    assert json.loads("".join(texts) or "{}") == tree
    assert arguments.value == tree
