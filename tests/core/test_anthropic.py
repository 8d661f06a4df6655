"""Anthropic Messages, one behaviour at a time: what is read, what is written, what the official client makes of it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types import Message, ThinkingBlock, ToolUseBlock
from tests.dialects import HEAD, assembled, framed, logged, payloads, read, write
from tests.recordings import recorded

from patinox.core.chunks import Binary, End, Error, Json, Outcome, StreamChunk, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Event,
    MessageEnd,
    MessageStart,
    Metadata,
    Native,
    RunEnd,
    RunStart,
    ToolError,
    ToolReady,
    ToolResult,
    Usage,
)
from patinox.formats.anthropic import ANTHROPIC, assemble_message
from patinox.formats.base import Frame, StreamHead
from patinox.formats.openai_chat import OPENAI_CHAT
from patinox.incremental.assembler import Assembly

COMPLETE = End(Outcome.COMPLETE)
USAGE = {"input_tokens": 10, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 7}
# Streams of another dialect that end well, for the client to read in this one.
FOREIGN = [
    parameter
    for parameter in recorded("openai-chat")
    if not (str(parameter.id).startswith("tool_use_failed") or "error" in str(parameter.id))
]


def start(**message: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }
    return {"type": "message_start", "message": body | message}


def block(index: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def finish(reason: str = "end_turn", **fields: Any) -> list[dict[str, Any]]:
    return [
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None, **fields},
            "usage": {"output_tokens": 7},
        },
        {"type": "message_stop"},
    ]


TEXT_BLOCK = {"type": "text", "text": ""}
CALL_BLOCK = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}


def sse(*frames: Any) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (frame["type"].encode(), json.dumps(frame).encode()) for frame in frames
    )


def events_of(*frames: Any) -> list[Any]:
    return read(ANTHROPIC, sse(*frames))[0]


def of(kind: type, events: Iterable[Any]) -> list[Any]:
    return [event for event in events if type(event) is kind]


def written(*data: Any, head: StreamHead = HEAD) -> list[Any]:
    return [value for _, value in payloads(framed(write(ANTHROPIC, logged(data), head)))]


def contents(*data: Any) -> list[Any]:
    """The frames between the message's beginning and its end."""
    frames = written(*data)
    assert [frame["type"] for frame in frames[-2:]] == ["message_delta", "message_stop"]
    return frames[1:-2]


def client_for(body: bytes, content_type: str = "text/event-stream") -> anthropic.Anthropic:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": content_type}, content=body)

    return anthropic.Anthropic(
        api_key="none",
        base_url="http://test",
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(transport=httpx2.MockTransport(answer)),
    )


def as_client(body: bytes) -> Message:
    with (
        client_for(body) as client,
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}]) as stream,
    ):
        for _ in stream:
            pass
        return stream.get_final_message()


def said(message: Message) -> str:
    return "".join(item.text for item in message.content if item.type == "text")


# reading


def test_a_plain_delta_is_one_event_without_ext() -> None:
    events = events_of(start(), block(0, TEXT_BLOCK), delta(0, "text_delta", text="a"))

    assert events[-2:] == [BlockStart(block=0), BlockDelta(block=0, text="a")]


def test_the_beginning_tells_model_ids_and_usage() -> None:
    events = events_of(start(usage=USAGE))

    assert [type(event) for event in events] == [RunStart, MessageStart, Usage]
    assert (events[0].model, events[0].provider_id, events[1].provider_id) == ("claude", "msg_1", "msg_1")
    assert [event.more for event in events] == [True, True, False]


def test_input_tokens_include_those_that_were_cached() -> None:
    usage = of(Usage, events_of(start(usage=USAGE)))[0]

    assert (usage.mode, usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens) == ("cumulative", 15, 3, 2)
    assert usage.raw == USAGE


def test_the_last_usage_is_final_and_replaces_the_first() -> None:
    events = events_of(start(), *finish())

    assert [event.mode for event in of(Usage, events)] == ["cumulative", "final"]
    assert assembled(logged(events)).usage == {
        "input_tokens": 10,
        "output_tokens": 7,
        "raw": {"output_tokens": 7},
    }


def test_thinking_has_its_signature() -> None:
    events = events_of(
        start(),
        block(0, {"type": "thinking", "thinking": "", "signature": ""}),
        delta(0, "thinking_delta", thinking="hm"),
        delta(0, "signature_delta", signature="sig"),
    )

    assert of(BlockStart, events)[0].of == "reasoning"
    assert of(BlockDelta, events) == [
        BlockDelta(block=0, text="hm"),
        BlockDelta(block=0, op="opaque.set", value="sig"),
    ]


def test_thinking_that_cannot_be_read_is_kept() -> None:
    events = events_of(start(), block(0, {"type": "redacted_thinking", "data": "xyz"}))

    assert of(BlockStart, events)[0].of == "reasoning_opaque"
    assert [(event.op, event.value) for event in of(BlockDelta, events)] == [("opaque.set", "xyz")]


def test_a_citation_belongs_to_its_text() -> None:
    cited = {"type": "char_location", "cited_text": "x", "document_index": 0}
    events = events_of(start(), block(0, TEXT_BLOCK), delta(0, "citations_delta", citation=cited))

    assert events[-1] == BlockDelta(block=0, op="annotation.add", value=cited)


def test_a_call_is_ready_when_its_block_ends() -> None:
    events = events_of(start(), block(0, CALL_BLOCK), delta(0, "input_json_delta", partial_json='{"a":1}'), stop(0))

    assert events[-1] == ToolReady(block=0, call_id="toolu_1", name="f", arguments={"a": 1})


def test_a_call_without_arguments_is_ready_when_the_message_goes_on() -> None:
    begun = [start(), block(0, CALL_BLOCK), stop(0)]

    assert of(ToolReady, events_of(*begun)) == []
    for more in ([block(1, TEXT_BLOCK)], finish("tool_use")):
        assert [event.arguments for event in of(ToolReady, events_of(*begun, *more))] == [{}]


@pytest.mark.parametrize("text", ['{"a":', ""])
def test_a_call_that_was_cut_off_is_never_ready(text: str) -> None:
    events, ending, _ = read(
        ANTHROPIC,
        sse(
            start(),
            block(0, CALL_BLOCK),
            delta(0, "input_json_delta", partial_json=text),
            stop(0),
            *finish("max_tokens"),
        ),
    )

    assert of(ToolReady, events) == []
    assert ending == End(Outcome.INCOMPLETE)


def test_a_whole_call_with_bad_arguments_is_ready_with_their_text() -> None:
    events = events_of(
        start(), block(0, CALL_BLOCK), delta(0, "input_json_delta", partial_json="{a"), stop(0), *finish("tool_use")
    )

    assert [(event.arguments, event.invalid_raw) for event in of(ToolReady, events)] == [(None, "{a")]


def test_a_call_that_comes_whole_with_its_message_is_read() -> None:
    call = {**CALL_BLOCK, "input": {"player": "p1"}}
    events = events_of(start(content=[call], stop_reason="tool_use"), {"type": "message_stop"})

    assert [event.arguments for event in of(ToolReady, events)] == [{"player": "p1"}]
    assert of(MessageEnd, events)[0].finish_reason == "tool_calls"


def test_a_server_tool_has_its_call_and_its_result() -> None:
    call = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{"url": "u"}]}
    events = events_of(start(), block(0, call), stop(0), block(1, result), stop(1))

    assert [(event.of, event.name, event.call_id) for event in of(BlockStart, events)] == [
        ("server_tool_call", "web_search", "srv_1"),
        ("tool_result", "web_search", "srv_1"),
    ]
    assert [(event.call_id, event.block, event.result) for event in of(ToolResult, events)] == [
        ("srv_1", 1, [{"url": "u"}])
    ]


def test_a_server_tool_that_failed_is_an_error_of_the_tool() -> None:
    details = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    result = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": details}
    events = events_of(start(), block(0, result))

    assert [(event.error, event.details) for event in of(ToolError, events)] == [("max_uses_exceeded", details)]


@pytest.mark.parametrize(
    ("word", "reason", "outcome"),
    [
        ("end_turn", "stop", Outcome.COMPLETE),
        ("stop_sequence", "stop", Outcome.COMPLETE),
        ("tool_use", "tool_calls", Outcome.COMPLETE),
        ("pause_turn", "pause", Outcome.COMPLETE),
        ("refusal", "refusal", Outcome.COMPLETE),
        ("max_tokens", "length", Outcome.INCOMPLETE),
        ("model_context_window_exceeded", "length", Outcome.INCOMPLETE),
        ("something_new", "other", Outcome.COMPLETE),
    ],
)
def test_stop_reasons_have_a_neutral_meaning(word: str, reason: str, outcome: Outcome) -> None:
    events, ending, _ = read(ANTHROPIC, sse(start(), *finish(word)))
    end = of(MessageEnd, events)[0]

    assert (end.finish_reason, end.provider_reason) == (reason, word)
    assert ending == End(outcome)
    assert events[-1].outcome == outcome


def test_the_stop_sequence_and_the_details_are_kept() -> None:
    details = {"type": "refusal", "category": "cyber"}
    end = of(MessageEnd, events_of(start(), *finish("stop_sequence", stop_sequence="X", stop_details=details)))[0]

    assert (end.stop_sequence, end.details) == ("X", details)


def test_pings_and_frames_without_a_neutral_name_are_kept() -> None:
    events = events_of(start(), {"type": "ping"}, {"type": "novel", "x": 1})

    assert [(event.event, event.value) for event in of(Native, events)] == [
        ("ping", {"type": "ping"}),
        ("novel", {"type": "novel", "x": 1}),
    ]


def test_an_error_of_the_stream_is_its_ending() -> None:
    frame = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}
    events, ending, _ = read(ANTHROPIC, sse(start(), frame))

    assert ending == Error("overloaded_error", "Overloaded", retryable=True, status=529, provider=frame)
    assert of(RunEnd, events) == []


def test_a_stream_without_its_end_is_interrupted() -> None:
    events, ending, _ = read(ANTHROPIC, sse(start(), block(0, TEXT_BLOCK), finish()[0]))

    assert isinstance(ending, End)
    assert ending.outcome is Outcome.INTERRUPTED
    assert of(MessageEnd, events) == of(RunEnd, events) == []


def test_a_frame_that_is_not_json_is_kept_and_noted() -> None:
    events, _, problems = read(ANTHROPIC, sse(start()) + b"event: content_block_delta\ndata: {oops\n\n")

    assert events[-1].value == "{oops"
    assert len(problems) == 1


def test_frames_without_an_event_name_are_known_by_their_type() -> None:
    frames = (start(), block(0, TEXT_BLOCK), delta(0, "text_delta", text="a"), stop(0), *finish())
    nameless = b"".join(b"data: %b\n\n" % json.dumps(frame).encode() for frame in frames)

    assert read(ANTHROPIC, nameless) == read(ANTHROPIC, sse(*frames))


def test_what_the_client_adds_to_a_stream_is_not_read_twice() -> None:
    frames = [start(), block(0, TEXT_BLOCK), delta(0, "text_delta", text="a"), stop(0), *finish()]
    reader = ANTHROPIC.reader()
    with (
        client_for(sse(*frames)) as client,
        client.messages.stream(model="m", max_tokens=9, messages=[]) as stream,
    ):
        events = [event for item in stream for event in reader.feed_frame(item)]
    events += reader.close()

    assert [type(event) for event in events] == [type(event) for event in events_of(*frames)]
    assert [event.text for event in of(BlockDelta, events)] == ["a"]
    assert reader.ending == COMPLETE


# writing


def test_text_chunks_become_one_message() -> None:
    assert written(Text("Hel"), Text("lo"), COMPLETE) == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_s1",
                "type": "message",
                "role": "assistant",
                "model": "patinox",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 0, "output_tokens": 0},
            },
        },
        block(0, TEXT_BLOCK),
        delta(0, "text_delta", text="Hel"),
        delta(0, "text_delta", text="lo"),
        stop(0),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 0},
        },
        {"type": "message_stop"},
    ]


def test_an_empty_log_is_an_empty_message() -> None:
    assert [frame["type"] for frame in written(COMPLETE)] == ["message_start", "message_delta", "message_stop"]


def test_the_model_is_the_runs_own_or_the_streams() -> None:
    head = StreamHead("s1", "e", 0.0, {"model": "theirs"})

    assert written(Text("x"), COMPLETE, head=head)[0]["message"]["model"] == "theirs"
    assert written(RunStart(model="m2"), Text("x"), COMPLETE, head=head)[0]["message"]["model"] == "m2"


def test_a_block_ends_before_the_next_begins() -> None:
    frames = contents(
        BlockStart(block=0, of="reasoning"),
        BlockDelta(block=0, text="hm"),
        BlockStart(block=1),
        BlockDelta(block=1, text="yes"),
        BlockEnd(block=0),
        BlockEnd(block=1),
        COMPLETE,
    )

    assert frames == [
        block(0, {"type": "thinking", "thinking": "", "signature": ""}),
        delta(0, "thinking_delta", thinking="hm"),
        stop(0),
        block(1, TEXT_BLOCK),
        delta(1, "text_delta", text="yes"),
        stop(1),
    ]


def test_text_that_goes_on_after_another_block_makes_another_block() -> None:
    frames = contents(
        BlockStart(block=0),
        BlockDelta(block=0, text="a"),
        BlockStart(block=1, of="reasoning"),
        BlockDelta(block=0, text="b"),
        COMPLETE,
    )

    assert [frame["index"] for frame in frames if frame["type"] == "content_block_start"] == [0, 1, 2]
    assert frames[-3:] == [block(2, TEXT_BLOCK), delta(2, "text_delta", text="b"), stop(2)]


def test_calls_that_are_open_together_keep_their_places() -> None:
    frames = contents(
        BlockStart(block=0, of="tool_call", name="f", call_id="a"),
        BlockStart(block=1, of="tool_call", name="g"),
        BlockDelta(block=0, op="json.append", text="{}"),
        BlockDelta(block=1, op="json.append", text="[]"),
        BlockEnd(block=0),
        BlockEnd(block=1),
        COMPLETE,
    )

    assert frames == [
        block(0, {"type": "tool_use", "id": "a", "name": "f", "input": {}}),
        block(1, {"type": "tool_use", "id": "toolu_s1_1", "name": "g", "input": {}}),
        delta(0, "input_json_delta", partial_json="{}"),
        delta(1, "input_json_delta", partial_json="[]"),
        stop(0),
        stop(1),
    ]


@pytest.mark.parametrize("ready_first", [True, False])
def test_arguments_that_come_in_one_piece_are_written_before_the_block_ends(ready_first: bool) -> None:
    ready, end = ToolReady(block=0, arguments={"a": 1}), BlockEnd(block=0)
    frames = contents(
        BlockStart(block=0, of="tool_call", name="f", call_id="a"),
        *((ready, end) if ready_first else (end, ready)),
        COMPLETE,
    )

    assert frames[1:] == [delta(0, "input_json_delta", partial_json='{"a":1}'), stop(0)]


def test_a_call_without_arguments_still_ends() -> None:
    call = BlockStart(block=0, of="tool_call", name="f", call_id="a")

    assert contents(call, BlockEnd(block=0), COMPLETE)[1:] == [stop(0)]
    assert contents(call, BlockEnd(block=0), Text("x"), COMPLETE)[1] == stop(0)


def test_several_messages_of_a_run_are_one_and_tool_messages_are_left_out() -> None:
    frames = written(
        MessageStart(message=0),
        BlockStart(message=0, block=0, of="tool_call", name="f", call_id="a"),
        BlockEnd(message=0, block=0),
        MessageEnd(message=0, finish_reason="tool_calls"),
        MessageStart(message=1, role="tool"),
        BlockStart(message=1, block=0),
        BlockDelta(message=1, block=0, text="secret"),
        BlockEnd(message=1, block=0),
        MessageEnd(message=1),
        MessageStart(message=2),
        BlockStart(message=2, block=0),
        BlockDelta(message=2, block=0, text="done"),
        BlockEnd(message=2, block=0),
        MessageEnd(message=2, finish_reason="stop"),
        COMPLETE,
    )

    assert [frame["type"] for frame in frames].count("message_start") == 1
    assert frames[-2]["delta"]["stop_reason"] == "end_turn"
    assert "secret" not in json.dumps(frames)


def test_other_choices_and_an_applications_own_data_are_left_out() -> None:
    frames = contents(
        MessageStart(message=1, choice=1),
        BlockStart(message=1, choice=1, block=0),
        BlockDelta(message=1, choice=1, block=0, text="b"),
        Json({"x": 1}),
        Binary(b"x"),
        Metadata(value=1),
        Native(dialect="other", value={"type": "x"}),
        COMPLETE,
    )

    assert frames == []


def test_usage_of_another_dialect_is_told_at_the_end() -> None:
    frames = written(
        Text("x"),
        Usage(mode="cumulative", input_tokens=20, output_tokens=5, cached_tokens=8, cache_write_tokens=2),
        COMPLETE,
    )

    assert frames[-2]["usage"] == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 8,
        "output_tokens": 5,
    }


def test_a_citation_of_a_web_page_is_told_with_its_address() -> None:
    value = {"type": "url_citation", "url_citation": {"url": "http://x", "title": "X", "start_index": 1}}
    frames = contents(BlockStart(block=0), BlockDelta(block=0, op="annotation.add", value=value), COMPLETE)

    assert frames[1]["delta"]["citation"]["url"] == "http://x"


@pytest.mark.parametrize(("ending", "reason"), [(COMPLETE, "end_turn"), (End(Outcome.INCOMPLETE), "max_tokens")])
def test_the_outcome_gives_the_stop_reason_where_nothing_else_did(ending: End, reason: str) -> None:
    assert written(Text("x"), ending)[-2]["delta"]["stop_reason"] == reason


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.INTERRUPTED, Outcome.FAILED])
def test_what_did_not_end_well_is_an_error_and_has_no_message_stop(outcome: Outcome) -> None:
    frames = written(Text("x"), MessageEnd(finish_reason="stop"), End(outcome))

    assert frames[-1]["type"] == "error"
    assert not any(frame["type"] in ("message_delta", "message_stop") for frame in frames)


@pytest.mark.parametrize("ending", [Error("x", "broke"), End(Outcome.CANCELLED), End(Outcome.INTERRUPTED)])
def test_usage_that_was_known_is_told_before_an_error_without_a_stop_reason(ending: End | Error) -> None:
    *_, counted, error = written(Text("x"), Usage(input_tokens=30, output_tokens=9), MessageEnd(), ending)

    assert counted == {
        "type": "message_delta",
        "delta": {"stop_reason": None, "stop_sequence": None},
        "usage": {"input_tokens": 30, "output_tokens": 9},
    }
    assert error["type"] == "error"


def test_usage_before_an_error_begins_a_message_that_had_not_begun() -> None:
    begun, error = written(Usage(input_tokens=30, output_tokens=9), Error("x", "broke"))

    assert (begun["type"], error["type"]) == ("message_start", "error")
    assert begun["message"]["usage"] == {"input_tokens": 30, "output_tokens": 9}


@pytest.mark.parametrize("told", [[], [block(0, TEXT_BLOCK), stop(0), finish()[0]]], ids=["at-first", "at-last"])
def test_usage_that_the_source_has_told_is_not_told_again(told: list[Any]) -> None:
    frames = [start(), *told, {"type": "error", "error": {"type": "api_error", "message": "m"}}]

    assert written_from(*frames) == frames


def test_usage_before_an_error_makes_no_call_ready_that_may_have_been_cut_off() -> None:
    counted = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 7}}
    half = [block(0, CALL_BLOCK), delta(0, "input_json_delta", partial_json='{"a":'), stop(0)]

    events = events_of(start(), *half, counted, {"type": "error", "error": {"type": "api_error", "message": "m"}})

    assert of(ToolReady, events) == []
    assert [usage.output_tokens for usage in of(Usage, events)] == [1, 7]


def test_a_stream_that_fails_after_its_source_had_ended_has_no_message_stop() -> None:
    events = events_of(start(), block(0, TEXT_BLOCK), stop(0), *finish())
    types = [frame["type"] for frame in written(*events, Error("x", "no"))]

    assert types[-2:] == ["message_delta", "error"]
    assert "message_stop" not in types


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Error("rate_limit_error", "m"), "rate_limit_error"),
        (Error("x", "m", status=429), "rate_limit_error"),
        (Error("x", "m", status=418), "invalid_request_error"),
        (Error("x", "m", status=503), "api_error"),
        (Error("x", "m"), "api_error"),
    ],
)
def test_errors_have_the_dialects_type(error: Error, kind: str) -> None:
    assert written(error) == [{"type": "error", "error": {"type": kind, "message": "m"}}]


def test_an_error_of_this_dialect_comes_back_as_it_was() -> None:
    frame = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}

    assert written(read(ANTHROPIC, sse(frame))[1]) == [frame]


def test_text_that_was_changed_on_the_way_is_written_changed() -> None:
    events = events_of(start(), block(0, {"type": "text", "text": "secret"}), stop(0), *finish())
    changed = [
        BlockDelta(block=0, text="***", ext=event.ext, more=event.more) if isinstance(event, BlockDelta) else event
        for event in events
    ]
    frames = written(*changed, COMPLETE)

    assert frames[1]["content_block"]["text"] == "***"
    assert "secret" not in json.dumps(frames)


# the official client


def calls(events: Iterable[Event]) -> list[tuple[str | None, str | None, Any]]:
    return [(event.call_id, event.name, event.arguments) for event in of(ToolReady, events)]


@pytest.mark.parametrize("path", FOREIGN)
def test_the_client_reads_streams_of_another_dialect(path: Path) -> None:
    events, ending, _ = read(OPENAI_CHAT, path.read_bytes())
    records = logged([*events, ending])
    message, whole = as_client(framed(write(ANTHROPIC, records))), assembled(records)
    reasoning = "".join(block.text for block in whole.blocks.values() if block.kind == "reasoning")
    usage = whole.usage or {}

    assert said(message) == whole.content
    assert "".join(item.thinking for item in message.content if isinstance(item, ThinkingBlock)) == reasoning
    assert [(item.id, item.name, item.input) for item in message.content if isinstance(item, ToolUseBlock)] == calls(
        events
    )
    assert message.stop_reason == (
        "tool_use" if of(MessageEnd, events)[0].finish_reason == "tool_calls" else "end_turn"
    )
    assert message.usage.output_tokens == usage.get("output_tokens")
    cached = message.usage.cache_read_input_tokens or 0
    assert message.usage.input_tokens + cached == usage.get("input_tokens")


@pytest.mark.parametrize("ending", [Error("x", "broke", status=529), End(Outcome.CANCELLED), End(Outcome.INTERRUPTED)])
def test_the_client_raises_what_did_not_end_well(ending: End | Error) -> None:
    body = framed(write(ANTHROPIC, logged([Text("x"), ending])))

    with pytest.raises(anthropic.APIStatusError):
        as_client(body)


@pytest.mark.parametrize("ending", [Error("x", "broke", status=529), End(Outcome.CANCELLED), End(Outcome.INTERRUPTED)])
@pytest.mark.parametrize("before", [[Text("x")], []], ids=["text", "nothing"])
def test_the_client_reads_the_usage_before_it_raises(before: list[Any], ending: End | Error) -> None:
    usage = Usage(mode="cumulative", input_tokens=30, output_tokens=9, cached_tokens=10)
    body = framed(write(ANTHROPIC, logged([*before, usage, ending])))

    with (
        client_for(body) as client,
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}]) as stream,
    ):
        with pytest.raises(anthropic.APIStatusError):
            stream.until_done()
        message = stream.current_message_snapshot

    assert message.usage.output_tokens == 9
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (20, 10)
    assert message.stop_reason is None


def test_the_client_reads_a_pause_a_refusal_and_a_length_as_such() -> None:
    for reason in ("pause_turn", "refusal", "max_tokens"):
        assert as_client(sse(*written_from(start(), *finish(reason)))).stop_reason == reason


def written_from(*frames: Any) -> list[Any]:
    events, ending, _ = read(ANTHROPIC, sse(*frames))
    return written(*events, ending)


def tail(records: list[StreamChunk], after: int) -> bytes:
    """What a fresh client gets that attaches after record `after`."""
    writer, state, assembly = ANTHROPIC.writer, ANTHROPIC.writer.initial(HEAD), Assembly()
    for record in records:
        assembly.apply(record)
    for record in records[:after]:
        state, _ = writer.write(state, record, assembly)
    frames: list[Frame] = list(writer.openers(state, assembly))
    for record in records[after:]:
        state, made = writer.write(state, record, assembly)
        frames += made
    return framed(frames)


@pytest.mark.parametrize("path", recorded("anthropic", max_bytes=20_000) + recorded("openai-chat", max_bytes=9_000))
def test_a_fresh_client_may_attach_anywhere(path: Path) -> None:
    dialect = ANTHROPIC if path.parent.name == "anthropic" else OPENAI_CHAT
    events, ending, _ = read(dialect, path.read_bytes())
    if isinstance(ending, Error) or len(of(MessageStart, events)) > 1:
        return
    records = logged([*events, ending])
    whole = as_client(tail(records, 0))

    for after in range(len(records)):
        if after and events[after - 1].more:
            continue  # nobody attaches inside a frame
        message = as_client(tail(records, after))
        assert len(message.content) == len(whole.content)
        assert said(whole).endswith(said(message))
        assert (message.stop_reason, message.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
        for ours, theirs in zip(message.content, whole.content, strict=True):
            if isinstance(ours, ToolUseBlock):
                assert ours == theirs


# without streaming


@pytest.mark.parametrize("path", recorded("anthropic"))
def test_a_whole_message_is_what_the_client_makes_of_the_stream(path: Path) -> None:
    data = path.read_bytes()
    events, ending, _ = read(ANTHROPIC, data)
    if len(of(MessageStart, events)) > 1:
        return
    expected = as_client(data)
    answer = json.dumps(assemble_message(assembled(logged([*events, ending])), HEAD)).encode()
    with client_for(answer, "application/json") as client:
        found = client.messages.create(model="m", max_tokens=9, messages=[])

    assert (found.stop_reason, said(found)) == (expected.stop_reason, said(expected))
    assert found.usage.output_tokens == expected.usage.output_tokens
    assert [item.type for item in found.content] == [
        str(item.type).replace("mcp_tool_use", "server_tool_use") for item in expected.content
    ]
    for ours, theirs in zip(found.content, expected.content, strict=True):
        if isinstance(theirs, ToolUseBlock):
            assert isinstance(ours, ToolUseBlock)
            assert (ours.id, ours.name, ours.input) == (theirs.id, theirs.name, theirs.input)
