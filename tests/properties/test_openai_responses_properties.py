"""OpenAI Responses under streams nobody wrote: any frame, any event, any cut."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.dialects import HEAD, assembled, framed, logged, payloads, read, write

from patinox.core.chunks import End, Error, Outcome, StreamChunk, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    Native,
    RunStart,
    ToolReady,
    Usage,
)
from patinox.formats.base import Frame
from patinox.formats.openai_responses import OPENAI_RESPONSES, position_of
from patinox.formats.openai_responses.state import ResponsesState

COMPLETE = End(Outcome.COMPLETE)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
FEW = st.sampled_from(["", "a", "ab", '"', "\\", "😀", "\u2028", '","delta":"', "$"])
# Values that are equal in Python but not in JSON (0, False, 0.0) are left out.
VALUES = st.recursive(
    st.none() | FEW | st.integers(2, 9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["$", "a", "type"]), inner, max_size=2),
    max_leaves=3,
)


def fields(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


def typed(type_: str, **values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(type_)}, optional=values)


INDEX = st.sampled_from([0, 0, 0, 2, 3]) | VALUES
TOKENS = st.lists(fields(token=FEW), max_size=1) | VALUES
PARTS = (
    typed("output_text", text=FEW, annotations=st.lists(VALUES, max_size=2) | VALUES, logprobs=TOKENS)
    | typed("refusal", refusal=FEW)
    | typed("reasoning_text", text=FEW | VALUES)
    | typed("summary_text", text=FEW)
    | VALUES
)
LISTS = st.lists(PARTS, max_size=2) | VALUES
ITEMS = st.one_of(
    typed("message", id=FEW, role=st.just("assistant"), content=LISTS, status=FEW),
    typed("reasoning", id=FEW, summary=LISTS, content=LISTS, encrypted_content=FEW | VALUES),
    typed(
        "function_call", id=FEW, call_id=FEW, name=FEW, arguments=FEW | VALUES, status=st.sampled_from(["incomplete"])
    ),
    typed("custom_tool_call", id=FEW, call_id=FEW, name=FEW, input=FEW),
    typed("mcp_call", id=FEW, name=FEW, arguments=FEW, output=FEW | VALUES),
    typed("mcp_approval_request", id=FEW, name=FEW, arguments=FEW),
    typed("code_interpreter_call", id=FEW, code=FEW, outputs=VALUES),
    typed("image_generation_call", id=FEW, result=st.sampled_from(["AAEC", "AA", "!"]) | VALUES),
    typed("web_search_call", id=FEW, action=VALUES),
    typed("tool_search_output", id=FEW, tools=VALUES),
    typed("unheard_of", x=VALUES),
    VALUES,
)
PLACE: dict[str, st.SearchStrategy[Any]] = {
    "output_index": INDEX,
    "content_index": INDEX,
    "summary_index": INDEX,
    "item_id": FEW,
    "obfuscation": FEW | VALUES,
    "sequence_number": st.integers(2, 5) | VALUES,
}
RESPONSES = (
    fields(
        id=FEW,
        model=FEW,
        output=st.lists(ITEMS, max_size=3) | VALUES,
        usage=fields(input_tokens=VALUES) | VALUES,
        x=VALUES,
    )
    | VALUES
)
DELTA_TYPES = [
    "response.output_text.delta", "response.refusal.delta", "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta", "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta", "response.code_interpreter_call_code.delta",
]  # fmt: skip
WHOLES = {"text": FEW, "arguments": FEW, "refusal": FEW, "input": FEW, "logprobs": TOKENS}
FRAMES = st.one_of(
    *(typed(type_, **PLACE, delta=FEW | VALUES, logprobs=TOKENS) for type_ in DELTA_TYPES),
    *(typed(type_.removesuffix("delta") + "done", **PLACE, **WHOLES) for type_ in DELTA_TYPES),
    *(typed(f"response.{kind}_part.{step}", **PLACE, part=PARTS)
      for kind in ("content", "reasoning_summary") for step in ("added", "done")),
    *(typed(f"response.output_item.{step}", **PLACE, item=ITEMS) for step in ("added", "done")),
    typed("response.output_text.annotation.added", **PLACE, annotation=VALUES),
    *(typed(f"response.{step}", response=RESPONSES) for step in ("created", "in_progress", "completed")),
    typed("response.unheard_of", x=VALUES, **PLACE),
)  # fmt: skip


def sse(frames: list[dict[str, Any]], named: bool) -> bytes:
    return b"".join(
        (b"event: %b\n" % frame["type"].encode() if named else b"") + b"data: %b\n\n" % json.dumps(frame).encode()
        for frame in frames
    )


@given(st.lists(FRAMES, max_size=8), st.booleans())
def test_any_frames_come_back(frames: list[dict[str, Any]], named: bool) -> None:
    stream = sse(frames, named)
    events, ending, _ = read(OPENAI_RESPONSES, stream)

    again = payloads(framed(write(OPENAI_RESPONSES, logged([*events, ending]))))

    failure = 0 if ending == COMPLETE else 2 if frames else 4  # with the beginning of a response
    assert again[: len(again) - failure] == payloads(stream)


@given(st.lists(FRAMES, max_size=5), st.integers(0, 10_000), st.integers(0, 10_000))
def test_any_cut_gives_the_same_events(frames: list[dict[str, Any]], first: int, second: int) -> None:
    data = sse(frames, named=True)
    first, second = sorted((first % (len(data) + 1), second % (len(data) + 1)))

    assert read(OPENAI_RESPONSES, data[:first], data[first:second], data[second:]) == read(OPENAI_RESPONSES, data)


EXTS = st.none() | st.fixed_dictionaries(
    {
        "openai-responses": VALUES
        | fields(
            frame=typed("response.output_text.delta", delta=VALUES, output_index=INDEX, x=VALUES) | VALUES,
            once=fields(obfuscation=FEW, x=VALUES) | VALUES,
            set=RESPONSES,
            item=INDEX,
            seq=INDEX | st.just(False),
            named=st.booleans(),
            event=FEW,
            hold=st.booleans(),
            raw=st.booleans(),
        )
    }
)
BLOCK = st.sampled_from([None, 0, 1, 2])
MESSAGE = st.sampled_from([0, 0, 1])
KINDS = st.sampled_from(
    ["text", "text", "reasoning", "reasoning_summary", "reasoning_opaque", "refusal", "tool_call", "server_tool_call",
     "tool_result", "code", "image", "custom", "audio", "compaction"]
)  # fmt: skip


def events(ext: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    place: dict[str, Any] = {
        "message": MESSAGE,
        "block": BLOCK,
        "ext": ext,
        "more": st.sampled_from([False, False, True]),
    }
    return st.one_of(
        st.builds(Text, FEW),
        st.builds(RunStart, model=st.sampled_from([None, "m"]), ext=ext),
        st.builds(MessageStart, message=MESSAGE, choice=st.sampled_from([0, 0, 1]), ext=ext),
        st.builds(BlockStart, of=KINDS, name=st.none() | FEW, call_id=st.none() | FEW, **place),
        st.builds(BlockDelta, text=FEW, **place),
        st.builds(BlockDelta, text=FEW, op=st.just("json.append"), **place),
        st.builds(
            BlockDelta, op=st.sampled_from(["opaque.set", "annotation.add", "logprobs.add"]), value=VALUES, **place
        ),
        st.builds(BlockEnd, **place),
        st.builds(ToolReady, arguments=VALUES, invalid_raw=st.none() | FEW, **place),
        st.builds(MessageEnd, message=MESSAGE, finish_reason=st.sampled_from([None, "stop", "length"]), ext=ext),
        st.builds(Usage, mode=st.sampled_from(["delta", "cumulative"]), output_tokens=st.integers(1, 9), ext=ext),
        st.builds(Native, dialect=st.just("openai-responses"), value=VALUES, ext=ext),
    )


ENDINGS = st.sampled_from([COMPLETE, End(Outcome.INCOMPLETE), End(Outcome.INTERRUPTED), Error("x", "y")])


@given(st.lists(events(EXTS), max_size=12), ENDINGS)
def test_the_writer_takes_any_events_and_goes_on_from_any_state(data: list[Any], ending: Any) -> None:
    records = logged([*data, ending])
    straight = write(OPENAI_RESPONSES, records)
    writer, state, whole = OPENAI_RESPONSES.writer, OPENAI_RESPONSES.writer.initial(HEAD), assembled(records)
    stepped: list[Frame] = []

    for record in records:
        state = msgspec.json.decode(msgspec.json.encode(state), type=ResponsesState)
        assert all(json.loads(frame.data) for frame in writer.openers(state, whole))
        state, frames = writer.write(state, record, assembled(records[: record.sequence]))
        stepped += frames

    assert stepped == straight


@given(st.lists(events(st.none()), max_size=12), ENDINGS)
def test_numbers_are_dense_and_lead_back(data: list[Any], ending: Any) -> None:
    told = [item for item in data if not isinstance(item, Native)]
    records = logged([*told, ending])
    writer, assembly = OPENAI_RESPONSES.writer, assembled(records)
    made: list[tuple[StreamChunk, list[Frame]]] = []
    state = writer.initial(HEAD)
    for record in records:
        state, frames = writer.write(state, record, assembly)
        made.append((record, list(frames)))

    numbers = [json.loads(frame.data)["sequence_number"] for _, frames in made for frame in frames]
    assert numbers == list(range(len(numbers)))
    for record, frames in made:
        for part, frame in enumerate(frames, 1):
            found = position_of(json.loads(frame.data)["sequence_number"], writer.initial(HEAD), records, assembly)
            assert found == (record.sequence, part if part < len(frames) else 0)


@given(st.lists(TEXTS, max_size=6), st.lists(st.tuples(st.booleans(), TEXTS), max_size=6))
def test_text_survives(bare: list[str], blocks: list[tuple[bool, str]]) -> None:
    data: list[Any] = [Text(text) for text in bare]
    for number, (ended, text) in enumerate(blocks):
        data += [BlockStart(block=number), BlockDelta(block=number, text=text)]
        data += [BlockEnd(block=number)] if ended else []

    stream = framed(write(OPENAI_RESPONSES, logged([*data, COMPLETE])))

    again, ending, problems = read(OPENAI_RESPONSES, stream)
    assert (ending, problems) == (COMPLETE, [])
    expected = "".join([*bare, *(text for _, text in blocks)])
    assert assembled(logged([*again, ending])).content == expected
    last = payloads(stream)[-1][1]["response"]
    assert "".join(part["text"] for item in last["output"] for part in item["content"]) == expected
