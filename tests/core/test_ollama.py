"""Ollama's chat stream, one behaviour at a time."""

from typing import Any

import pytest
from tests.dialects import assembled, logged, read
from tests.flat import COMPLETE, OLLAMA_STREAMS, lines, round_trip, written

from patinox.core.chunks import End, Error, Outcome, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    RunStart,
    ToolReady,
    Usage,
)
from patinox.formats.ollama import OLLAMA


def test_text_chunks_become_lines_with_the_streams_own_time() -> None:
    at = "2023-11-14T22:13:20.500000Z"
    named = {"model": "patinox", "created_at": at}
    assert written(OLLAMA, Text("Hel"), Text("lo"), COMPLETE) == [
        {**named, "message": {"role": "assistant", "content": "Hel"}, "done": False},
        {**named, "message": {"role": "assistant", "content": "lo"}, "done": False},
        {**named, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    ]


def test_a_line_like_the_one_before_keeps_nothing_but_its_time() -> None:
    events, _, _ = read(OLLAMA, lines(*OLLAMA_STREAMS["text"]))
    deltas = [event for event in events if isinstance(event, BlockDelta)]

    assert deltas[-1].ext == {"ollama": {"at": "2025-07-07T20:22:03.184789Z"}}


def test_events_without_their_times_are_written_with_the_streams_own() -> None:
    events, ending, _ = read(OLLAMA, lines(*OLLAMA_STREAMS["text"]))
    bare = [type(e)(**{f: getattr(e, f) for f in e.__struct_fields__ if f != "ext"}) for e in events]

    told = written(OLLAMA, *bare, ending)

    assert "".join(frame["message"]["content"] for frame in told) == "Hello 🌍\u2028!"
    assert {frame["created_at"] for frame in told} == {"2023-11-14T22:13:20.500000Z"}


def test_thinking_then_text_then_calls_are_blocks_one_after_the_other() -> None:
    events, _, _ = read(OLLAMA, lines(*OLLAMA_STREAMS["thinking-and-tools"]))
    blocks = assembled(logged(events)).blocks.values()

    assert [(b.kind, b.text or b.arguments or bytes(b.data)) for b in blocks] == [
        ("reasoning", "hmm"),
        ("text", "Looking…"),
        ("tool_call", {"city": "Rome"}),
        ("tool_call", b""),
        ("image", b"\0\0\0"),
    ]
    assert all(block.ended for block in blocks)


def test_a_call_makes_the_message_end_for_tools_whatever_the_word() -> None:
    events, _, _ = read(OLLAMA, lines(*OLLAMA_STREAMS["thinking-and-tools"]))
    end = next(event for event in events if isinstance(event, MessageEnd))

    assert (end.finish_reason, end.provider_reason) == ("tool_calls", "stop")


def test_the_counters_are_usage() -> None:
    events, _, _ = read(OLLAMA, lines(*OLLAMA_STREAMS["text"]))
    usage = next(event for event in events if isinstance(event, Usage))

    assert (usage.input_tokens, usage.output_tokens) == (169, 15)
    assert usage.raw["total_duration"] == 182242375


def test_counters_of_a_line_that_is_not_the_last_are_usage_so_far() -> None:
    frames = [
        {"model": "m", "message": {"content": "a"}, "done": False, "eval_count": 0},
        {"model": "m", "message": {"content": ""}, "done": False, "prompt_eval_count": 30, "eval_count": 9},
        {"error": "broke"},
    ]
    events, _, problems = read(OLLAMA, lines(*frames))
    usages = [(u.mode, u.input_tokens, u.output_tokens) for u in events if isinstance(u, Usage)]

    assert (usages, problems) == ([("cumulative", 30, 9)], [])
    assert round_trip(OLLAMA, lines(*frames)) == frames


@pytest.mark.parametrize(
    "ending",
    [
        [Error("x", "broke")],
        [End(Outcome.CANCELLED, Error("cancelled", "broke"))],
        [End(Outcome.INTERRUPTED, Error("gone", "broke"))],
    ],
)
def test_usage_that_was_known_is_a_line_before_the_error_which_is_not_done(ending: list[Any]) -> None:
    *_, counted, error = written(OLLAMA, Text("a"), Usage(input_tokens=30, output_tokens=9), *ending)

    assert (counted["done"], counted["message"]["content"]) == (False, "")
    assert (counted["prompt_eval_count"], counted["eval_count"]) == (30, 9)
    assert error == {"error": "broke"}


def test_usage_is_told_where_an_answer_that_ended_well_cannot_be_told() -> None:
    *_, counted, error = written(
        OLLAMA, Text("a"), MessageEnd(finish_reason="content_filter"), Usage(input_tokens=30), COMPLETE
    )

    assert (counted["done"], counted["prompt_eval_count"]) == (False, 30)
    assert "withheld" in error["error"]


def test_an_error_line_is_the_ending() -> None:
    _, ending, problems = read(OLLAMA, lines(*OLLAMA_STREAMS["error"]))

    assert isinstance(ending, Error)
    assert ending.message == "model runner has unexpectedly stopped"
    assert problems == []


def test_a_last_line_without_its_line_end_counts() -> None:
    stream = lines(*OLLAMA_STREAMS["text"])

    assert read(OLLAMA, stream.rstrip(b"\n")) == read(OLLAMA, stream)


def test_a_last_line_that_was_cut_off_is_noted() -> None:
    _, _, problems = read(OLLAMA, lines(*OLLAMA_STREAMS["text"])[:-9])

    assert problems == ["the last line was cut off"]


def test_a_line_after_the_last_is_kept_and_noted() -> None:
    frames = [*OLLAMA_STREAMS["text"], OLLAMA_STREAMS["text"][0]]

    _, ending, problems = read(OLLAMA, lines(*frames))

    assert ending == COMPLETE
    assert problems == ["a line after the last one"]
    assert round_trip(OLLAMA, lines(*frames)) == frames


def test_a_servers_own_call_is_not_sent_for_a_client_to_carry_out() -> None:
    call = [
        BlockStart(block=0, of="server_tool_call", name="search", call_id="c"),
        BlockEnd(block=0),
        ToolReady(block=0, name="search", call_id="c", arguments={}),
    ]

    assert "search" not in str(written(OLLAMA, *call, COMPLETE))


def test_messages_of_other_roles_are_left_out() -> None:
    told = written(
        OLLAMA,
        RunStart(model="m"),
        MessageStart(role="tool"),
        BlockStart(block=0),
        BlockDelta(block=0, text="secret"),
        MessageEnd(),
        MessageStart(message=1),
        BlockStart(message=1, block=0),
        BlockDelta(message=1, block=0, text="said"),
        COMPLETE,
    )

    assert "".join(frame["message"]["content"] for frame in told) == "said"
    assert {frame["model"] for frame in told} == {"m"}
