"""AG-UI, one behaviour at a time."""

from typing import Any

import pytest
from tests.dialects import assembled, logged, read
from tests.flat import AG_UI_STREAMS, AGENT, COMPLETE, resumed, round_trip, sse, values, written

from patinox.core.chunks import End, Error, Outcome, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    Native,
    RunEnd,
    ToolApproval,
    ToolReady,
    ToolResult,
    Usage,
)
from patinox.formats.ag_ui import AG_UI


def types(frames: list[Any]) -> list[str]:
    return [frame["type"] for frame in frames]


def test_text_chunks_become_one_message_of_one_run() -> None:
    run = {"threadId": "thread-s1", "runId": "run-s1"}
    assert written(AG_UI, Text("Hel"), Text("lo"), COMPLETE) == [
        {"type": "RUN_STARTED", **run},
        {"type": "TEXT_MESSAGE_START", "messageId": "msg-s1-0", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "msg-s1-0", "delta": "Hel"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "msg-s1-0", "delta": "lo"},
        {"type": "TEXT_MESSAGE_END", "messageId": "msg-s1-0"},
        {"type": "RUN_FINISHED", **run},
    ]


def test_text_that_goes_on_in_the_next_block_stays_one_message() -> None:
    blocks = [
        event
        for number, text in enumerate(["one ", "two"])
        for event in (BlockStart(block=number), BlockDelta(block=number, text=text), BlockEnd(block=number))
    ]

    assert types(written(AG_UI, MessageStart(), *blocks, MessageEnd(), COMPLETE)) == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]


def test_reasoning_that_its_source_leaves_open_ends_where_text_begins() -> None:
    told = types(
        written(
            AG_UI,
            BlockStart(block=0, of="reasoning"),
            BlockDelta(block=0, text="hm"),
            BlockStart(block=1),
            BlockDelta(block=1, text="so"),
            BlockEnd(block=0),
            BlockEnd(block=1),
            COMPLETE,
        )
    )

    assert told.index("REASONING_END") < told.index("TEXT_MESSAGE_START")


def test_a_call_ends_when_it_is_ready_and_belongs_to_its_message() -> None:
    told = written(AG_UI, *AGENT, COMPLETE)
    start = next(frame for frame in told if frame["type"] == "TOOL_CALL_START")
    text = next(frame for frame in told if frame["type"] == "TEXT_MESSAGE_START")

    assert start["parentMessageId"] == text["messageId"]
    assert types(told).count("TOOL_CALL_END") == 2


def test_arguments_that_came_in_one_piece_are_written() -> None:
    call = [BlockStart(block=0, of="tool_call", name="f", call_id="c"), BlockEnd(block=0)]

    told = written(AG_UI, *call, ToolReady(block=0, name="f", call_id="c", arguments={"a": 1}), COMPLETE)

    assert {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": '{"a":1}'} in told


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Error("overloaded", "why"), "overloaded"),
        (End(Outcome.CANCELLED, Error("cancelled", "why")), "cancelled"),
        (End(Outcome.INTERRUPTED, Error("interrupted", "why")), "interrupted"),
    ],
)
def test_a_failure_is_a_run_error(ending: Any, code: str) -> None:
    assert written(AG_UI, Text("a"), ending)[-1] == {"type": "RUN_ERROR", "message": "why", "code": code}


def test_nothing_is_read_after_a_run_error() -> None:
    events, ending, problems = read(AG_UI, sse(*AG_UI_STREAMS["error"], {"type": "STEP_STARTED", "stepName": "x"}))

    assert isinstance(ending, Error)
    assert ending.code == "529"
    assert problems == ["STEP_STARTED after RUN_ERROR was passed over"]
    assert any(isinstance(event, Usage) for event in events)


def test_reasoning_text_and_calls_of_a_turn_are_one_message() -> None:
    events, _, _ = read(AG_UI, sse(*AG_UI_STREAMS["agent"]))
    starts = [(e.message, e.of) for e in events if isinstance(e, BlockStart)]

    assert starts == [(0, "reasoning"), (0, "text"), (0, "tool_call"), (0, "tool_call"), (1, "text")]
    assert [e.finish_reason for e in events if isinstance(e, MessageEnd)] == ["tool_calls", "stop"]


def test_usage_is_the_sum_over_the_models() -> None:
    events, _, _ = read(AG_UI, sse(*AG_UI_STREAMS["agent"]))
    usage = next(e for e in events if isinstance(e, Usage))

    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.total_tokens) == (8, 4, 1, None)


def test_chunks_begin_and_end_messages_by_themselves() -> None:
    events, _, _ = read(AG_UI, sse(*AG_UI_STREAMS["chunks"]))
    assembly = assembled(logged(events))

    assert [(b.kind, b.text) for b in assembly.blocks.values()] == [
        ("reasoning", "think"),
        ("text", "Hello!"),
        ("text", "Again"),
        ("tool_call", '{"a":1}'),
    ]
    assert [e.arguments for e in events if isinstance(e, ToolReady)] == [{"a": 1}]


def test_messages_may_overlap() -> None:
    events, _, _ = read(AG_UI, sse(*AG_UI_STREAMS["two-at-once"]))
    blocks = assembled(logged(events)).blocks

    assert [(place[0], block.text) for place, block in blocks.items()] == [(0, "A"), (1, "B")]


def test_a_run_that_waits_for_somebody_pauses() -> None:
    events, ending, _ = read(AG_UI, sse(*AG_UI_STREAMS["interrupt"]))

    assert [(e.call_id, e.approved) for e in events if isinstance(e, ToolApproval)] == [("c1", None)]
    assert ending == COMPLETE


def test_a_cancelled_run_is_not_complete_and_comes_back() -> None:
    run = {"threadId": "t", "runId": "r"}
    frames = [{"type": "RUN_STARTED", **run}, {"type": "RUN_FINISHED", **run, "outcome": {"type": "cancelled"}}]

    events, ending, _ = read(AG_UI, sse(*frames))

    assert ending == End(Outcome.CANCELLED)
    assert [e.outcome for e in events if isinstance(e, RunEnd)] == [Outcome.CANCELLED]
    assert round_trip(AG_UI, sse(*frames)) == frames


def test_frames_of_other_dialects_are_raw_events() -> None:
    native = Native(dialect="gemini", event="x", value={"a": 1})

    events, _, _ = read(AG_UI, sse(*written(AG_UI, native, COMPLETE)))
    back = next(e for e in events if isinstance(e, Native))

    assert (back.dialect, back.event, back.value) == ("gemini", "x", {"a": 1})


def test_results_that_are_no_text_come_back_as_they_were() -> None:
    results = [ToolResult(call_id="a", result={"x": [1]}), ToolResult(call_id="b", result="plain")]

    events, _, _ = read(AG_UI, sse(*written(AG_UI, *results, COMPLETE)))

    assert [e.result for e in events if isinstance(e, ToolResult)] == [{"x": [1]}, "plain"]


def test_a_fresh_client_sees_the_run_and_what_is_being_said() -> None:
    told = values(AG_UI, resumed(AG_UI, logged([*AGENT, COMPLETE]), 8))

    assert types(told)[:3] == ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"]


def test_a_fresh_client_that_comes_within_reasoning_sees_what_stands_around_it() -> None:
    events, ending, _ = read(AG_UI, sse(*AG_UI_STREAMS["agent"]))
    at = next(n for n, e in enumerate(events) if isinstance(e, BlockDelta)) + 1

    told = values(AG_UI, resumed(AG_UI, logged([*events, ending]), at))

    assert types(told)[:4] == ["RUN_STARTED", "STEP_STARTED", "REASONING_START", "REASONING_MESSAGE_START"]


def test_a_stream_that_does_not_begin_with_its_run_is_read_and_noted() -> None:
    frames = [{"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "x"}]

    events, ending, problems = read(AG_UI, sse(*frames))

    assert assembled(logged(events)).content == "x"
    assert isinstance(ending, End)
    assert len(problems) == 2
