"""The AI SDK's UI message stream, one behaviour at a time."""

from typing import Any

import pytest
from tests.dialects import assembled, logged, read
from tests.flat import AGENT, AI_SDK_STREAMS, COMPLETE, STEPS, resumed, round_trip, sse, values, written

from patinox.core.chunks import Binary, End, Error, Outcome, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Event,
    MessageEnd,
    MessageStart,
    Metadata,
    StepStart,
    ToolError,
    ToolReady,
    ToolResult,
    Usage,
)
from patinox.formats.ai_sdk import AI_SDK


def types(frames: list[Any]) -> list[str]:
    return [frame if isinstance(frame, str) else frame["type"] for frame in frames]


def test_the_protocol_is_named_in_a_header() -> None:
    assert AI_SDK.headers == (("x-vercel-ai-ui-message-stream", "v1"),)


def test_text_chunks_become_one_part_of_one_message() -> None:
    assert written(AI_SDK, Text("Hel"), Text("lo"), COMPLETE) == [
        {"type": "start", "messageId": "msg-s1"},
        {"type": "text-start", "id": "text-0"},
        {"type": "text-delta", "id": "text-0", "delta": "Hel"},
        {"type": "text-delta", "id": "text-0", "delta": "lo"},
        {"type": "text-end", "id": "text-0"},
        {"type": "finish", "finishReason": "stop"},
        "[DONE]",
    ]


def test_the_messages_of_a_run_become_steps() -> None:
    told = types(written(AI_SDK, *AGENT, COMPLETE))

    assert told.count("start-step") == told.count("finish-step") == 2
    assert told.index("tool-output-available") < told.index("finish-step")


def test_the_steps_that_a_source_tells_are_its_own() -> None:
    told = types(written(AI_SDK, *STEPS, COMPLETE))

    assert told.count("start-step") == 2
    assert told[-4:] == ["text-end", "finish-step", "finish", "[DONE]"]


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Error("overloaded", "try again"), [{"type": "error", "errorText": "try again"}]),
        (End(Outcome.CANCELLED, Error("cancelled", "why")), [{"type": "abort", "reason": "why"}]),
        (End(Outcome.CANCELLED), [{"type": "abort"}]),
        (
            End(Outcome.INTERRUPTED, Error("interrupted", "gone")),
            [{"type": "error", "errorText": "gone"}, {"type": "abort", "reason": "gone"}],
        ),
    ],
)
def test_a_failure_is_said_and_nothing_after_it(ending: Any, expected: list[Any]) -> None:
    assert written(AI_SDK, Text("a"), ending)[3:] == expected


@pytest.mark.parametrize("ending", [Error("x", "broke"), End(Outcome.CANCELLED), End(Outcome.INTERRUPTED)])
def test_usage_that_was_known_is_metadata_before_the_failure(ending: Any) -> None:
    usage = Usage(mode="cumulative", input_tokens=30, output_tokens=9)

    told = written(AI_SDK, Text("a"), usage, ending)[3:]

    assert told[0] == {
        "type": "message-metadata",
        "messageMetadata": {"usage": {"inputTokens": 30, "outputTokens": 9}},
    }
    assert told[1:] == written(AI_SDK, Text("a"), ending)[3:]


def test_usage_of_a_message_that_has_not_begun_begins_it() -> None:
    told = types(written(AI_SDK, Usage(input_tokens=30), Error("x", "broke")))

    assert told == ["start", "message-metadata", "error"]


def test_usage_that_the_source_has_told_is_not_told_again() -> None:
    frames = [
        {"type": "start"},
        {"type": "message-metadata", "messageMetadata": {"usage": {"inputTokens": 30, "outputTokens": 9}}},
        {"type": "error", "errorText": "overloaded"},
    ]

    assert round_trip(AI_SDK, sse(*frames)) == frames


def test_a_finish_that_follows_an_error_does_not_make_it_a_success() -> None:
    frames = [*AI_SDK_STREAMS["error"], {"type": "finish-step"}, {"type": "finish"}, "[DONE]"]

    _, ending, _ = read(AI_SDK, sse(*frames))

    assert isinstance(ending, Error)
    assert ending.message == "overloaded"


def test_arguments_that_are_not_json_are_an_input_error() -> None:
    call = [BlockStart(block=0, of="tool_call", name="f", call_id="c"), BlockEnd(block=0)]

    told = written(AI_SDK, *call, ToolReady(block=0, name="f", call_id="c", invalid_raw="{"), COMPLETE)

    error = next(frame for frame in told if frame["type"] == "tool-input-error")
    assert (error["toolCallId"], error["input"]) == ("c", "{")


def test_an_answer_to_a_call_that_nobody_made_is_data() -> None:
    told = types(written(AI_SDK, ToolResult(call_id="x", result=1), ToolError(call_id="y", error="e"), COMPLETE))

    assert "data-tool-result" in told
    assert "tool-output-available" not in told


def test_a_refusal_is_text_that_says_what_it_is() -> None:
    refusal = [BlockStart(block=0, of="refusal"), BlockDelta(block=0, text="No."), BlockEnd(block=0)]
    told = written(AI_SDK, *refusal, MessageEnd(finish_reason="refusal"), COMPLETE)

    events, _, _ = read(AI_SDK, sse(*told))

    assert told[-2]["finishReason"] == "content-filter"
    assert [event.of for event in events if isinstance(event, BlockStart)] == ["refusal"]


def test_a_signature_survives_where_the_providers_put_it() -> None:
    events, _, _ = read(AI_SDK, sse(*AI_SDK_STREAMS["reasoning-and-tools"]))

    signed = next(event for event in events if isinstance(event, BlockDelta) and event.op == "opaque.set")
    assert signed.value == "sig"


def test_bytes_are_a_file() -> None:
    told = written(AI_SDK, Binary(b"\0\1"), COMPLETE)

    assert {
        "type": "file",
        "url": "data:application/octet-stream;base64,AAE=",
        "mediaType": "application/octet-stream",
    } in told


def test_a_fresh_client_sees_the_start_the_open_parts_and_the_calls_that_wait() -> None:
    records = logged([*AGENT, COMPLETE])
    within_text = values(AI_SDK, resumed(AI_SDK, records, 8))
    waiting = values(AI_SDK, resumed(AI_SDK, records, 20))

    assert types(within_text)[:4] == ["start", "start-step", "text-start", "text-delta"]
    assert [frame.get("input") for frame in waiting[2:4]] == [{"city": "Paris"}, {}]


def test_a_fresh_client_that_comes_within_a_frame_gets_the_frame_whole() -> None:
    frames = AI_SDK_STREAMS["text"]
    events, ending, _ = read(AI_SDK, sse(*frames))

    assert values(AI_SDK, resumed(AI_SDK, logged([*events, ending]), 1)) == frames


def test_events_without_their_shapes_are_still_a_stream() -> None:
    events, ending, _ = read(AI_SDK, sse(*AI_SDK_STREAMS["reasoning-and-tools"]))
    bare = [type(e)(**{f: getattr(e, f) for f in e.__struct_fields__ if f != "ext"}) for e in events]

    again, ending_again, problems = read(AI_SDK, sse(*written(AI_SDK, *bare, ending)))

    assert problems == []
    assert ending_again == ending
    assert assembled(logged(again)).content == assembled(logged(events)).content


def test_data_parts_are_metadata() -> None:
    events, _, _ = read(AI_SDK, sse({"type": "start"}, {"type": "data-x", "id": "1", "data": [1]}))

    assert [(e.name, e.value, e.provider_id) for e in events if isinstance(e, Metadata)] == [("x", [1], "1")]


def test_the_run_begins_before_anything_else() -> None:
    events, _, _ = read(AI_SDK, sse(*AI_SDK_STREAMS["without-start"]))

    assert [type(event).__name__ for event in events[:3]] == ["RunStart", "MessageStart", "StepStart"]
    assert all(isinstance(event, Event) for event in events)
    assert isinstance(events[1], MessageStart)
    assert isinstance(events[2], StepStart)


def test_parts_that_never_began_are_read_and_noted() -> None:
    frames = [{"type": "start"}, {"type": "text-delta", "id": "a", "delta": "x"}, {"type": "finish"}, "[DONE]"]

    events, ending, problems = read(AI_SDK, sse(*frames))

    assert assembled(logged(events)).content == "x"
    assert ending == COMPLETE
    assert problems == ["text-delta of 'a', which never began"]
    assert round_trip(AI_SDK, sse(*frames)) == frames
