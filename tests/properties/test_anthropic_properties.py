"""Anthropic Messages under streams nobody wrote: any text, any cut, any frame."""

import json
from typing import Any

import msgspec
import pytest
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
from patinox.formats.anthropic import ANTHROPIC
from patinox.formats.anthropic.state import AnthropicState
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
FEW = st.sampled_from(["", "a", '"', "\\", "😀", "\u2028", '{"a"', ":2}"])


def fields(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


def typed(kind: str, **values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind)}, optional=values)


INDEXES = st.sampled_from([0, 1, 2, 5])
CONTENTS = st.one_of(
    typed("text", text=FEW | VALUES, citations=VALUES),
    typed("thinking", thinking=FEW, signature=FEW),
    typed("redacted_thinking", data=FEW | VALUES),
    typed("tool_use", id=FEW, name=FEW, input=VALUES),
    st.just({"type": "tool_use", "id": "t", "name": "f", "input": {}}),
    typed("web_search_tool_result", tool_use_id=FEW, content=VALUES, is_error=st.booleans()),
    typed("compaction", content=FEW | st.none()),
    typed("odd", odd=VALUES),
)
DELTAS = st.one_of(
    typed("text_delta", text=FEW | VALUES),
    typed("thinking_delta", thinking=FEW),
    typed("signature_delta", signature=FEW | VALUES),
    typed("input_json_delta", partial_json=FEW),
    typed("citations_delta", citation=VALUES),
    typed("compaction_delta", content=FEW | st.none()),
    typed("odd_delta", odd=VALUES),
)
USAGE = fields(input_tokens=st.integers(2, 9), output_tokens=VALUES, cache_read_input_tokens=st.integers(2, 9))
STOPS = fields(stop_reason=st.sampled_from(["end_turn", "max_tokens", "odd", None]), stop_sequence=FEW)
MESSAGES = fields(
    id=st.sampled_from(["m1", "m2"]),
    role=st.just("assistant"),
    model=FEW,
    content=st.lists(CONTENTS, max_size=2) | VALUES,
    usage=USAGE | VALUES,
    stop_reason=st.none(),
)
FRAMES = st.one_of(
    st.builds(lambda message: {"type": "message_start", "message": message}, MESSAGES),
    st.builds(
        lambda index, content: {"type": "content_block_start", "index": index, "content_block": content},
        INDEXES,
        CONTENTS,
    ),
    st.builds(lambda index, delta: {"type": "content_block_delta", "index": index, "delta": delta}, INDEXES, DELTAS),
    typed("content_block_delta", index=INDEXES, delta=DELTAS | VALUES, odd=VALUES),
    st.builds(lambda index: {"type": "content_block_stop", "index": index}, INDEXES),
    typed("message_delta", delta=STOPS | VALUES, usage=USAGE | VALUES, odd=VALUES),
    st.just({"type": "message_stop"}),
    typed("message_start", message=VALUES),
    typed("ping"),
    typed("novel", value=VALUES),
    VALUES.filter(lambda value: not isinstance(value, dict) or "type" not in value),
)
BEGIN = {"type": "message_start", "message": {"id": "m0", "usage": {"input_tokens": 3}}}
END = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
]
STOPPED = [("message_stop", {"type": "message_stop"})]
STREAMS = st.lists(FRAMES, max_size=12).map(lambda frames: [BEGIN, *frames, *END])


def sse(frames: list[Any], separators: tuple[str, str] = (",", ":"), *, names: bool = True) -> bytes:
    out = []
    for frame in frames:
        name = frame.get("type", "") if isinstance(frame, dict) and names else ""
        body = json.dumps(frame, separators=separators, ensure_ascii=False)
        out.append((f"event: {name}\n" if isinstance(name, str) and name else "") + f"data: {body}\n\n")
    return "".join(out).encode()


@given(STREAMS, st.booleans())
def test_any_stream_comes_back_as_it_was(frames: list[Any], names: bool) -> None:
    data = sse(frames, names=names)
    events, ending, _ = read(ANTHROPIC, data)
    again, expected = payloads(framed(write(ANTHROPIC, logged([*events, ending])))), payloads(sse(frames))

    # A message_stop waits for the end of the log or the next message, and what comes between is written first.
    assert [frame for frame in again if frame in STOPPED] == [frame for frame in expected if frame in STOPPED]
    assert [frame for frame in again if frame not in STOPPED] == [f for f in expected if f not in STOPPED]


@given(STREAMS, st.data())
def test_how_the_json_is_spaced_changes_nothing(frames: list[Any], data: st.DataObject) -> None:
    assert read(ANTHROPIC, sse(frames)) == read(ANTHROPIC, sse(frames, (", ", ":  ")))


@given(STREAMS, st.lists(st.integers(0, 5_000), max_size=6))
def test_any_cut_gives_the_same_events(frames: list[Any], places: list[int]) -> None:
    data = sse(frames)
    cuts = sorted(place % (len(data) + 1) for place in places)
    pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    assert read(ANTHROPIC, *pieces) == read(ANTHROPIC, data)


OPENED = [
    BEGIN,
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    },
]
HEAD_OF_A_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":'
)
ORDINARY = st.one_of(
    st.builds(lambda text: (0, {"type": "text_delta", "text": text}), FEW | st.just('"}}')),
    st.builds(lambda text: (1, {"type": "input_json_delta", "partial_json": text}), FEW | st.just('"}}')),
    st.builds(lambda text: (0, {"type": "text_delta", "text": text, "odd": text}), FEW),
    st.just((0, {"type": "thinking_delta", "thinking": "a"})),
)


@given(st.lists(st.tuples(ORDINARY, st.integers(0, 2), st.integers(0, 2)), max_size=12))
def test_deltas_of_which_the_string_alone_is_read_give_what_parsed_ones_do(steps: list[Any]) -> None:
    frames: list[Any] = list(OPENED)
    pieces = [sse([frame]) for frame in frames]
    for (index, delta), inner, outer in steps:
        frames.append({"type": "content_block_delta", "index": index, "delta": delta})
        event = sse(frames[-1:])
        pieces.append(event[:-4] + b" " * inner + b"}" + b" " * outer + b"}\n\n")

    assert read(ANTHROPIC, *pieces) == read(ANTHROPIC, sse(frames, (", ", ": ")))


def test_only_the_string_of_a_delta_like_the_last_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ANTHROPIC.reader()
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in "ab"
    ]
    for frame in [*OPENED[:2], deltas[0]]:
        reader.feed(sse([frame]))
    monkeypatch.delattr(type(reader), "_payload")

    assert reader.feed(sse(deltas[1:])) == [BlockDelta(message=0, block=0, text="b")]


@pytest.mark.parametrize(
    "event",
    [
        HEAD_OF_A_DELTA + b'"a"\n}}\n\n',
        HEAD_OF_A_DELTA + b'"a"\r}}\n\n',
        HEAD_OF_A_DELTA + b'"\xff"}}\n\n',
        HEAD_OF_A_DELTA + b'"a\nb"}}\n\n',
        HEAD_OF_A_DELTA + b'"a"}}\n',
    ],
)
def test_what_is_no_single_line_is_left_to_the_parser(event: bytes) -> None:
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
    begun = [sse([frame]) for frame in [*OPENED[:2], delta]]

    assert read(ANTHROPIC, *begun, event) == read(ANTHROPIC, b"".join([*begun, event]))


BLOCKS = st.sampled_from([None, 0, 1, 2])
FOREIGN = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(MessageStart, message=st.sampled_from([0, 1]), role=st.sampled_from(["assistant", "tool"])),
    st.builds(
        BlockStart,
        message=st.sampled_from([0, 1]),
        block=BLOCKS,
        of=st.sampled_from(["text", "reasoning", "tool_call", "refusal", "reasoning_opaque", "image", "tool_result"]),
        name=st.sampled_from([None, "f"]),
        call_id=st.sampled_from([None, "c"]),
    ),
    st.builds(BlockDelta, message=st.sampled_from([0, 1]), block=BLOCKS, text=TEXTS),
    st.builds(BlockDelta, block=BLOCKS, op=st.just("json.append"), text=FEW),
    st.builds(BlockDelta, block=BLOCKS, op=st.sampled_from(["opaque.set", "annotation.add"]), value=VALUES),
    st.builds(BlockEnd, block=BLOCKS),
    st.builds(ToolReady, block=BLOCKS, arguments=VALUES),
    st.builds(MessageEnd, finish_reason=st.sampled_from([None, "stop", "length", "tool_calls", "other"])),
    st.builds(Usage, mode=st.sampled_from(["delta", "cumulative"]), input_tokens=st.integers(0, 9)),
    st.builds(
        Native,
        dialect=st.sampled_from(["anthropic", "other"]),
        value=VALUES,
        more=st.booleans(),
        ext=st.none() | st.just({"anthropic": {}}) | st.just({"anthropic": 7}),
    ),
)


@given(st.lists(FOREIGN, max_size=14), ENDINGS)
def test_the_state_can_be_stored_at_any_point(data: list[Any], ending: End | Error) -> None:
    writer, assembly = ANTHROPIC.writer, Assembly()
    state = stored = writer.initial(HEAD)
    for record in logged([*data, ending]):
        assembly.apply(record)
        state, made = writer.write(state, record, assembly)
        stored, again = writer.write(
            msgspec.json.decode(msgspec.json.encode(stored), type=AnthropicState), record, assembly
        )
        assert list(made) == list(again)


@given(st.lists(FOREIGN, max_size=14), ENDINGS)
def test_blocks_are_numbered_in_order_and_each_ends_once(data: list[Any], ending: End | Error) -> None:
    frames = [body for _, body in payloads(framed(write(ANTHROPIC, logged([*data, ending])))) if isinstance(body, dict)]
    begun = [frame["index"] for frame in frames if frame.get("type") == "content_block_start"]
    ended = [frame["index"] for frame in frames if frame.get("type") == "content_block_stop"]

    assert begun == list(range(len(begun)))
    assert len(set(ended)) == len(ended)
    assert frames[-1]["type"] == ("message_stop" if ending in (COMPLETE, End(Outcome.INCOMPLETE)) else "error")
    if frames[-1]["type"] == "message_stop":
        assert sorted(ended) == begun


@given(st.lists(TEXTS, max_size=8))
def test_text_survives_into_the_dialect_and_back(texts: list[str]) -> None:
    stream = framed(write(ANTHROPIC, logged([*map(Text, texts), COMPLETE])))
    events, ending, problems = read(ANTHROPIC, stream)

    assert (ending, problems) == (COMPLETE, [])
    plain = b"".join(frame.data for frame in write(TEXT, logged([*events, ending])))
    assert plain.decode() == "".join(texts)
