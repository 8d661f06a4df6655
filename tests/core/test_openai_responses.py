"""OpenAI Responses, one behaviour at a time: what is read, what is written, and how a stream ends."""

import json
from collections.abc import Iterable
from typing import Any

import httpx2
import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from tests.dialects import HEAD, assembled, framed, logged, payloads, read, write

from patinox.core.chunks import Binary, End, Error, Json, Outcome, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    Metadata,
    Native,
    RunEnd,
    RunStart,
    ToolApproval,
    ToolReady,
    ToolResult,
    Usage,
)
from patinox.formats.base import StreamHead
from patinox.formats.openai_responses import (
    LOSSES,
    OPENAI_RESPONSES,
    Position,
    assemble_response,
    next_number,
    position_of,
)
from patinox.incremental.assembler import Assembly

COMPLETE = End(Outcome.COMPLETE)
USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 1},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 8,
}


def response(status: str = "in_progress", output: Iterable[Any] = (), **fields: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "created_at": 5, "model": "m", "status": status,
            "error": None, "incomplete_details": None, "output": list(output), "usage": None, **fields}  # fmt: skip


def created() -> dict[str, Any]:
    return {"type": "response.created", "response": response()}


def ended(status: str = "completed", output: Iterable[Any] = (), **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{status}", "response": response(status, output, **fields)}


def added(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def text_delta(text: str, index: int = 0, part: int = 0, **fields: Any) -> dict[str, Any]:
    place = {"item_id": "msg_1", "output_index": index, "content_index": part}
    return {"type": "response.output_text.delta", **place, "delta": text, "logprobs": [], **fields}


def message(*parts: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": list(parts)}


def output_text(text: str, *annotations: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}


def call(arguments: str, status: str = "completed", **fields: Any) -> dict[str, Any]:
    return {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": arguments,
            "status": status, **fields}  # fmt: skip


def sse(*frames: dict[str, Any]) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (frame["type"].encode(), json.dumps({"sequence_number": number, **frame}).encode())
        for number, frame in enumerate(frames)
    )


def events_of(*frames: dict[str, Any]) -> list[Any]:
    return read(OPENAI_RESPONSES, sse(*frames))[0]


def of(kind: type, events: Iterable[Any]) -> list[Any]:
    return [event for event in events if type(event) is kind]


def again(stream: bytes) -> bytes:
    """A stream through the neutral events and back."""
    events, ending, _ = read(OPENAI_RESPONSES, stream)
    return framed(write(OPENAI_RESPONSES, logged([*events, ending])))


def written(*data: Any, head: StreamHead = HEAD) -> list[Any]:
    return [value for _, value in payloads(framed(write(OPENAI_RESPONSES, logged(data), head)))]


def kinds(frames: Iterable[dict[str, Any]]) -> list[str]:
    return [frame["type"].removeprefix("response.") for frame in frames]


def as_client(*data: Any) -> list[ResponseStreamEvent]:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        body = framed(write(OPENAI_RESPONSES, logged(data)))
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    client = openai.OpenAI(
        api_key="none",
        base_url="http://test/v1",
        max_retries=0,
        http_client=openai.DefaultHttpxClient(transport=httpx2.MockTransport(answer)),
    )
    with client:
        return list(client.responses.create(model="m", input="x", stream=True))


# reading


def test_a_delta_like_the_one_before_it_is_one_event_without_ext() -> None:
    part = {"type": "response.content_part.added", "item_id": "msg_1", "output_index": 0, "content_index": 0}
    opening = [created(), added(message(status="in_progress")), {**part, "part": output_text("")}]
    events = events_of(*opening, *map(text_delta, "abc"))

    assert events[-2:] == [BlockDelta(block=0, text="b"), BlockDelta(block=0, text="c")]


def test_padding_is_all_that_an_ordinary_delta_keeps_beside_its_text() -> None:
    events = events_of(created(), *(text_delta(text, obfuscation=text * 3) for text in "abc"))

    assert events[-1] == BlockDelta(block=0, text="c", ext={"openai-responses": {"once": {"obfuscation": "ccc"}}})


def test_a_response_is_a_run_with_one_message() -> None:
    events = events_of(created(), ended(usage=USAGE))

    assert [type(event) for event in events] == [RunStart, MessageStart, Usage, MessageEnd, RunEnd]
    assert (events[0].model, events[0].provider_id, events[0].created_s) == ("m", "resp_1", 5)
    assert [event.more for event in events] == [True, False, True, True, False]


def test_usage_is_final_and_keeps_the_providers_own_object() -> None:
    (usage,) = of(Usage, events_of(created(), ended(usage=USAGE)))

    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (3, 5, 8)
    assert (usage.cached_tokens, usage.reasoning_tokens, usage.cache_write_tokens) == (1, 2, None)
    assert (usage.mode, usage.raw) == ("final", USAGE)


def test_a_text_that_is_only_said_as_a_whole_is_read() -> None:
    item = message(output_text("hello", {"type": "url_citation", "url": "u"}))
    events = events_of(created(), ended(output=[item]))

    assert assembled(logged(events)).content == "hello"
    assert [event.value for event in of(BlockDelta, events) if event.op == "annotation.add"] == [
        {"type": "url_citation", "url": "u"}
    ]
    assert payloads(again(sse(created(), ended(output=[item])))) == payloads(sse(created(), ended(output=[item])))


def test_what_was_missed_of_a_text_is_added_from_the_whole() -> None:
    finish = {
        "type": "response.output_text.done",
        "item_id": "m",
        "output_index": 0,
        "content_index": 0,
        "text": "hello",
    }
    events, _, problems = read(OPENAI_RESPONSES, sse(created(), text_delta("hel"), finish))

    assert [event.text for event in of(BlockDelta, events)] == ["hel", "lo"]
    assert problems == []


def test_a_whole_that_is_another_text_is_noted_and_written_as_it_came() -> None:
    finish = {"type": "response.output_text.done", "item_id": "m", "output_index": 0, "content_index": 0, "text": "bye"}
    stream = sse(created(), text_delta("hello"), finish, ended())

    assert len(read(OPENAI_RESPONSES, stream)[2]) == 1
    assert payloads(again(stream)) == payloads(stream)


def test_a_function_call_is_ready_when_its_item_is_done() -> None:
    delta = {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 0}
    events = events_of(
        created(),
        added(call("", "in_progress")),
        {**delta, "delta": '{"a":'},
        {**delta, "delta": "1}"},
        done(call('{"a":1}')),
        ended(output=[call('{"a":1}')]),
    )

    (start,) = of(BlockStart, events)
    assert (start.of, start.name, start.call_id, start.provider_id) == ("tool_call", "f", "call_1", "fc_1")
    (ready,) = of(ToolReady, events)
    assert (ready.call_id, ready.name, ready.arguments, ready.block) == ("call_1", "f", {"a": 1}, 0)
    assert of(MessageEnd, events)[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(("arguments", "parsed", "raw"), [("", {}, None), ("{oops", None, "{oops")])
def test_arguments_that_are_empty_or_not_json(arguments: str, parsed: Any, raw: str | None) -> None:
    (ready,) = of(ToolReady, events_of(created(), done(call(arguments))))

    assert (ready.arguments, ready.invalid_raw) == (parsed, raw)


@pytest.mark.parametrize("finish", [done(call('{"a"', "incomplete")), added(call('{"a"', "in_progress"))])
def test_a_call_that_was_cut_off_is_never_ready(finish: dict[str, Any]) -> None:
    item = call('{"a"', "incomplete")
    details = {"reason": "max_output_tokens"}
    stream = sse(created(), finish, ended("incomplete", [item], incomplete_details=details))
    events, ending, _ = read(OPENAI_RESPONSES, stream)

    assert of(ToolReady, events) == []
    assert len(of(BlockEnd, events)) == 1
    assert of(MessageEnd, events)[0].finish_reason == "length"
    assert ending == End(Outcome.INCOMPLETE)
    assert payloads(again(stream)) == payloads(stream)


def test_a_custom_tool_call_is_ready_with_its_text() -> None:
    item = {"id": "c", "type": "custom_tool_call", "call_id": "call_1", "name": "sql", "input": "SELECT 1"}
    events = events_of(created(), done(item), ended(output=[item]))

    (ready,) = of(ToolReady, events)
    assert (ready.name, ready.arguments) == ("sql", "SELECT 1")
    assert of(MessageEnd, events)[0].finish_reason == "tool_calls"


def test_reasoning_summary_text_and_encrypted_content_are_blocks() -> None:
    item = {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "short"}],
        "content": [{"type": "reasoning_text", "text": "long"}],
        "encrypted_content": "xyz",
    }
    assembly = assembled(logged(events_of(created(), done(item))))

    assert [(block.kind, block.text, block.value) for block in assembly.blocks.values()] == [
        ("reasoning_summary", "short", None),
        ("reasoning", "long", None),
        ("reasoning_opaque", "", "xyz"),
    ]


def test_a_refusal_is_a_block_and_no_reason_of_its_own() -> None:
    delta = {"type": "response.refusal.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = events_of(
        created(), {**delta, "delta": "no"}, ended(output=[message({"type": "refusal", "refusal": "no"})])
    )

    assert [event.of for event in of(BlockStart, events)] == ["refusal"]
    assert of(MessageEnd, events)[0].finish_reason == "stop"


def test_logprobs_are_read_in_the_form_that_all_dialects_share() -> None:
    token = {"token": "a", "logprob": -0.5, "top_logprobs": []}
    stream = sse(created(), text_delta("a", logprobs=[token]), ended(output=[message(output_text("a"))]))
    events = read(OPENAI_RESPONSES, stream)[0]

    assert [event.value for event in of(BlockDelta, events) if event.op == "logprobs.add"] == [{"content": [token]}]
    assert payloads(again(stream)) == payloads(stream)


def test_what_a_server_tool_did_is_its_blocks_value_and_its_result() -> None:
    item = {"id": "mcp_1", "type": "mcp_call", "name": "f", "server_label": "s", "arguments": "{}", "output": "out"}
    events = events_of(created(), done(item))
    (block,) = assembled(logged(events)).blocks.values()

    assert (block.kind, block.name, block.call_id, block.text) == ("server_tool_call", "f", "mcp_1", "{}")
    assert block.value == {key: value for key, value in item.items() if key != "arguments"}
    assert of(ToolResult, events)[0].result == "out"


def test_an_mcp_approval_is_asked_for() -> None:
    item = {"id": "r", "type": "mcp_approval_request", "name": "f", "server_label": "s", "arguments": '{"a":1}'}
    (approval,) = of(ToolApproval, events_of(created(), done(item)))

    assert (approval.call_id, approval.name, approval.arguments, approval.approved) == ("r", "f", {"a": 1}, None)


def test_an_image_is_bytes_and_comes_back() -> None:
    item = {"id": "ig", "type": "image_generation_call", "status": "completed", "result": "AAEC"}
    stream = sse(created(), done(item), ended(output=[item]))
    (block,) = assembled(logged(read(OPENAI_RESPONSES, stream)[0])).blocks.values()

    assert (block.kind, bytes(block.data)) == ("image", b"\0\1\2")
    assert payloads(again(stream)) == payloads(stream)


def test_unknown_frames_fields_items_and_parts_come_back() -> None:
    odd = {"type": "new_thing", "id": "n", "x": [1, {"$": 0}]}
    stream = sse(
        {"type": "response.hello", "x": {"$": ["text", 0, 0]}},
        {**created(), "extra": 1},
        added(message(status="in_progress")),
        {"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": {"type": "hologram"}},
        text_delta("a", part=1, odd={"$": 3}),
        {"type": "response.output_text.delta", "output_index": None, "delta": "a"},
        done(message({"type": "hologram"}, output_text("a"))),
        done(odd, 1),
        ended(output=[message({"type": "hologram"}, output_text("a")), odd], tools=[{"$": 1}]),
    )

    assert payloads(again(stream)) == payloads(stream)


@pytest.mark.parametrize("text", ["{oops", '["no", "object"]', '{"no": "type"}'])
def test_a_frame_that_is_none_is_kept_and_noted(text: str) -> None:
    stream = sse(created()) + f"data: {text}\n\n".encode() + sse(created(), ended())
    events, _, problems = read(OPENAI_RESPONSES, stream)

    assert isinstance(events[2], Native)
    assert problems
    body = again(stream)
    assert text.replace(" ", "").encode() in body.replace(b" ", b"")


def test_frames_without_numbers_or_names_stay_so() -> None:
    frames = [created(), text_delta("a"), text_delta("b"), text_delta("c"), ended()]
    stream = b"".join(b"data: %b\n\n" % json.dumps(frame).encode() for frame in frames)

    assert payloads(again(stream)) == payloads(stream)
    assert read(OPENAI_RESPONSES, stream)[0][-4].ext is None


def test_gaps_in_the_numbers_stay_where_they_are() -> None:
    frames = [{**text_delta("a"), "sequence_number": number} for number in (7, 9, 10, 40)]
    stream = sse(created(), *frames, {**ended(), "sequence_number": 41})

    assert payloads(again(stream)) == payloads(stream)


def test_a_stream_that_was_resumed_begins_where_it_begins() -> None:
    events, ending, _ = read(OPENAI_RESPONSES, sse(text_delta("lo"), ended(output=[message(output_text("lo"))])))

    assert [type(event) for event in events[:2]] == [RunStart, MessageStart]
    assert ending == COMPLETE


def test_feeding_parsed_frames_and_models_gives_the_same_events() -> None:
    frames = [created(), text_delta("a"), text_delta("b"), ended()]
    frames = [{**frame, "sequence_number": number} for number, frame in enumerate(frames)]
    by_dict, by_model = OPENAI_RESPONSES.reader(), OPENAI_RESPONSES.reader()
    expected = events_of(*frames)

    assert [event for frame in frames for event in by_dict.feed_frame(frame)] == expected
    models = [openai._models.construct_type(type_=ResponseStreamEvent, value=frame) for frame in frames]
    assert [event for model in models for event in by_model.feed_frame(model)] == expected


# endings


def test_the_end_of_the_bytes_is_an_interruption() -> None:
    events, ending, _ = read(OPENAI_RESPONSES, sse(created(), text_delta("a")))

    assert isinstance(ending, End)
    assert ending.outcome is Outcome.INTERRUPTED
    assert of(RunEnd, events) == []


def test_a_content_filter_is_complete_for_that_reason() -> None:
    stream = sse(created(), ended("incomplete", incomplete_details={"reason": "content_filter"}))
    events, ending, _ = read(OPENAI_RESPONSES, stream)

    assert ending == COMPLETE
    assert (of(MessageEnd, events)[0].finish_reason, of(MessageEnd, events)[0].provider_reason) == (
        "content_filter",
        "content_filter",
    )
    assert payloads(again(stream)) == payloads(stream)


def test_an_error_and_the_failure_after_it_are_the_ending() -> None:
    failure = {"code": "server_error", "message": "oh no"}
    stream = sse(
        created(),
        text_delta("a"),
        {"type": "error", "code": "server_error", "message": "oh no", "param": None},
        ended("failed", [message(output_text("a"), status="incomplete")], error=failure),
    )
    events, ending, _ = read(OPENAI_RESPONSES, stream)

    assert isinstance(ending, Error)
    assert (ending.code, ending.message, ending.retryable) == ("server_error", "oh no", True)
    assert of(RunEnd, events) == of(MessageEnd, events) == []
    assert payloads(again(stream)) == payloads(stream)


@pytest.mark.parametrize(
    "frame",
    [
        ended("failed", error={"code": "rate_limit_exceeded", "message": "slow down"}),
        {"type": "error", "error": {"type": "rate_limit_exceeded", "message": "slow down"}},
        {"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None},
    ],
)
def test_each_form_of_error_is_read_and_written_again(frame: dict[str, Any]) -> None:
    stream = sse(created(), frame)
    ending = read(OPENAI_RESPONSES, stream)[1]

    assert isinstance(ending, Error)
    assert (ending.code, ending.message) == ("rate_limit_exceeded", "slow down")
    assert payloads(again(stream)) == payloads(stream)


def test_nothing_is_read_after_the_error() -> None:
    stream = sse(created(), {"type": "error", "code": "x", "message": "no"}, text_delta("a")) + b"data: [DONE]\n\n"
    events, _, problems = read(OPENAI_RESPONSES, stream)

    assert of(BlockDelta, events) == []
    assert len(problems) == 1


def test_the_runs_last_frame_waits_for_the_logs_end() -> None:
    events, _, _ = read(OPENAI_RESPONSES, sse(created(), ended()))

    assert kinds(written(*events)) == ["created"]
    assert kinds(written(*events, COMPLETE)) == ["created", "completed"]


@pytest.mark.parametrize("frame", [None, "x", {"$": [None, None]}, {"type": []}])
def test_what_a_producer_put_into_ext_cannot_break_the_end(frame: Any) -> None:
    told = RunEnd(ext={"openai-responses": {"hold": True, "frame": frame}})

    assert kinds(written(told, COMPLETE))[-1] == "completed"


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.INTERRUPTED, Outcome.FAILED])
def test_a_run_that_told_its_end_but_failed_after_all_is_no_success(outcome: Outcome) -> None:
    events, _, _ = read(OPENAI_RESPONSES, sse(created(), ended()))
    frames = written(*events, End(outcome))

    assert kinds(frames) == ["created", "error", "failed"]
    assert frames[-1]["response"]["id"] == "resp_1"


def test_a_stream_of_this_dialect_that_was_cut_off_ends_in_its_own_error_with_what_was_finished() -> None:
    item = message(output_text("a"))
    events, ending, _ = read(OPENAI_RESPONSES, sse(created(), text_delta("a"), done(item), text_delta("b", 1)))
    frames = written(*events, ending)

    assert kinds(frames)[-2:] == ["error", "failed"]
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    assert frames[-1]["response"]["output"] == [item]


def test_a_stream_of_this_dialect_that_was_limited_here_is_incomplete() -> None:
    part = {"type": "response.content_part.added", "item_id": "msg_1", "output_index": 0, "content_index": 0}
    frames = [created(), added(message(status="in_progress")), {**part, "part": output_text("")}, text_delta("ab")]
    last = written(*events_of(*frames), End(Outcome.INCOMPLETE))[-1]

    assert last["response"]["status"] == "incomplete"
    assert last["response"]["output"] == [message(output_text("ab"), status="incomplete")]


# writing what came from elsewhere


def test_text_chunks_become_a_stream_of_the_dialect() -> None:
    frames = written(Text("Hel"), Text("lo"), COMPLETE)

    assert kinds(frames) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [frame["sequence_number"] for frame in frames] == list(range(10))
    last = frames[-1]["response"]
    assert (last["id"], last["created_at"], last["model"]) == ("resp_s1", 1_700_000_000, "patinox")
    assert last["output"] == [message(output_text("Hello")) | {"id": "msg_s1_0"}]


def test_every_frame_is_named_by_its_type() -> None:
    stream = framed(write(OPENAI_RESPONSES, logged([Text("a"), COMPLETE])))

    assert all(event == frame["type"] for event, frame in payloads(stream))


def test_bare_text_goes_on_behind_a_tool_call_and_ends_at_a_text_block() -> None:
    frames = written(
        Text("a"),
        BlockStart(block=0, of="tool_call", name="f", call_id="c"),
        Text("b"),
        BlockStart(block=1),
        BlockDelta(block=1, text="X"),
        BlockEnd(block=1),
        Text("c"),
        COMPLETE,
    )
    output = frames[-1]["response"]["output"]

    assert [part["text"] for item in output if item["type"] == "message" for part in item["content"]] == [
        "ab",
        "X",
        "c",
    ]


def test_texts_that_follow_each_other_are_parts_of_one_item() -> None:
    blocks = [
        event for n in range(3) for event in (BlockStart(block=n), BlockDelta(block=n, text="x"), BlockEnd(block=n))
    ]
    frames = written(MessageStart(), *blocks, MessageEnd(finish_reason="stop"), COMPLETE)

    assert len(frames[-1]["response"]["output"]) == 1
    assert kinds(frames).count("output_item.done") == 1
    assert [frame["content_index"] for frame in frames if frame["type"].endswith("text.delta")] == [0, 1, 2]


def test_the_model_is_the_runs_else_the_metadatas() -> None:
    head = StreamHead("s1", "e", 0.0, {"model": "from-metadata"})

    assert written(Text("a"), COMPLETE, head=head)[0]["response"]["model"] == "from-metadata"
    assert written(RunStart(model="m"), COMPLETE, head=head)[0]["response"]["model"] == "m"


def test_a_tool_call_that_came_in_one_piece_is_written_whole() -> None:
    frames = written(
        BlockStart(block=0, of="tool_call", name="f"),
        BlockEnd(block=0),
        ToolReady(block=0, name="f", arguments={"a": [1]}),
        MessageEnd(finish_reason="tool_calls"),
        COMPLETE,
    )

    (item,) = frames[-1]["response"]["output"]
    assert (item["call_id"], item["name"], item["arguments"], item["status"]) == (
        "call_s1_0",
        "f",
        '{"a":[1]}',
        "completed",
    )
    assert [frame["delta"] for frame in frames if "delta" in frame] == ['{"a":[1]}']


def test_a_tool_call_that_was_cut_off_is_incomplete() -> None:
    frames = written(
        BlockStart(block=0, of="tool_call", name="f", call_id="c"),
        BlockDelta(block=0, op="json.append", text='{"a'),
        BlockEnd(block=0),
        MessageEnd(finish_reason="length"),
        End(Outcome.INCOMPLETE),
    )

    assert "function_call_arguments.done" not in kinds(frames)
    assert frames[-1]["type"] == "response.incomplete"
    assert frames[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert frames[-1]["response"]["output"][0]["status"] == "incomplete"


def test_a_signature_is_the_encrypted_content_of_its_reasoning() -> None:
    frames = written(
        BlockStart(block=0, of="reasoning"),
        BlockDelta(block=0, text="hm"),
        BlockDelta(block=0, op="opaque.append", value="si"),
        BlockDelta(block=0, op="opaque.append", value="g"),
        BlockEnd(block=0),
        COMPLETE,
    )

    (item,) = frames[-1]["response"]["output"]
    assert item["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert item["encrypted_content"] == "sig"


def test_citations_of_other_dialects_are_told_by_their_address() -> None:
    chat = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 1, "end_index": 2}}
    anthropic = {"type": "web_search_result_location", "url": "v", "cited_text": "…"}
    frames = written(
        BlockStart(block=0),
        BlockDelta(block=0, text="abc"),
        *(BlockDelta(block=0, op="annotation.add", value=value) for value in (chat, anthropic, {"type": "page"})),
        BlockEnd(block=0),
        COMPLETE,
    )
    expected = [
        {"type": "url_citation", "url": "u", "title": "t", "start_index": 1, "end_index": 2},
        {"type": "url_citation", "url": "v", "title": "", "start_index": 0, "end_index": 0},
    ]

    assert [frame["annotation"] for frame in frames if "annotation" in frame] == expected
    assert frames[-1]["response"]["output"][0]["content"][0]["annotations"] == expected


def test_a_server_tool_of_another_provider_is_an_mcp_call_with_its_result() -> None:
    frames = written(
        BlockStart(block=0, of="server_tool_call", name="web_search", call_id="c"),
        BlockDelta(block=0, op="json.append", text='{"q":"x"}'),
        BlockEnd(block=0),
        BlockStart(block=1, of="tool_result", call_id="c", name="web_search"),
        ToolResult(block=1, call_id="c", result=[{"url": "u"}]),
        BlockEnd(block=1),
        COMPLETE,
    )

    (item,) = frames[-1]["response"]["output"]
    assert (item["type"], item["name"], item["arguments"]) == ("mcp_call", "web_search", '{"q":"x"}')
    assert json.loads(item["output"]) == [{"url": "u"}]


def test_what_the_dialect_cannot_say_is_left_out() -> None:
    frames = written(
        Json({"a": 1}),
        Binary(b"x"),
        Metadata(name="m", value=1),
        MessageStart(message=0, role="tool"),
        BlockStart(message=0, block=0),
        BlockDelta(message=0, block=0, text="hidden"),
        MessageEnd(message=0),
        MessageStart(message=1, choice=1),
        BlockStart(message=1, choice=1, block=0),
        BlockDelta(message=1, choice=1, block=0, text="other choice"),
        BlockStart(message=2, block=0, of="audio"),
        BlockDelta(message=2, block=0, op="bytes.append", data=b"x"),
        Native(dialect="anthropic", value={"type": "x"}),
        Text("said"),
        COMPLETE,
    )

    assert [part["text"] for item in frames[-1]["response"]["output"] for part in item["content"]] == ["said"]
    assert {"choice", "metadata", "json", "binary", "message.start:role", "block.start:audio"} <= LOSSES.keys()


def test_usage_that_comes_late_or_in_parts_is_in_the_last_frame() -> None:
    frames = written(
        Text("a"),
        Usage(mode="cumulative", input_tokens=3, output_tokens=1),
        Usage(mode="cumulative", output_tokens=5),
        COMPLETE,
    )

    usage = frames[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (3, 5, 8)
    assert written(Text("a"), COMPLETE)[-1]["response"]["usage"] is None


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("refusal", "incomplete", "content_filter"),
    ],
)
def test_the_finish_reason_is_the_responses_status(reason: Any, status: str, details: str | None) -> None:
    last = written(MessageStart(), MessageEnd(finish_reason=reason), COMPLETE)[-1]["response"]

    assert last["status"] == status
    assert last["incomplete_details"] == (None if details is None else {"reason": details})


@pytest.mark.parametrize(
    ("ending", "code", "status"),
    [
        (Error("overloaded", "too much"), "overloaded", "failed"),
        (End(Outcome.CANCELLED), "cancelled", "cancelled"),
        (End(Outcome.INTERRUPTED, Error("interrupted", "gone")), "interrupted", "failed"),
    ],
)
def test_the_official_client_is_told_of_a_failure(ending: Any, code: str, status: str) -> None:
    events = as_client(Text("a"), ending)

    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    error, failed = events[-2:]
    assert error.type == "error"
    assert error.code == code
    assert failed.type == "response.failed"
    assert failed.response.status == status
    assert failed.response.error is not None
    assert failed.model_dump()["response"]["error"]["message"] == error.message
    assert not any(event.type == "response.completed" for event in events)


def test_an_empty_stream_is_an_empty_response() -> None:
    assert kinds(written(COMPLETE)) == ["created", "in_progress", "completed"]


# attaching and resuming


def test_openers_bring_a_fresh_client_to_the_open_part() -> None:
    records = logged([Text("a"), Text("b"), COMPLETE])
    state, assembly = OPENAI_RESPONSES.writer.initial(HEAD), assembled(records)
    assert list(OPENAI_RESPONSES.writer.openers(state, assembly)) == []
    state, _ = OPENAI_RESPONSES.writer.write(state, records[0], assembly)

    openers = [frame for _, frame in payloads(framed(OPENAI_RESPONSES.writer.openers(state, assembly)))]

    assert kinds(openers) == ["created", "output_item.added", "content_part.added"]
    assert {frame["sequence_number"] for frame in openers} == {next_number(state) - 1} == {4}


def test_a_number_inside_a_record_is_a_part_of_it() -> None:
    records = logged([Text("a"), Text("b"), COMPLETE])
    state, assembly = OPENAI_RESPONSES.writer.initial(HEAD), assembled(records)

    found = [position_of(number, state, records, assembly) for number in (0, 3, 4, 5, 6, 9, 10)]

    assert found == [
        Position(1, 1),
        Position(1, 4),
        Position(1),
        Position(2),
        Position(3, 1),
        Position(3),
        None,
    ]


def test_an_event_with_an_ext_of_another_shape_is_written_without_it() -> None:
    exts: list[Any] = [
        "x",
        {"frame": 1},
        {"seq": "x"},
        {"unknown": 1},
        {"frame": {"$": ["with", 1]}},
        {"frame": {"$": []}},
    ]
    for ext in exts:
        data = BlockDelta(block=0, text="a", ext={"openai-responses": ext})
        assert written(data, COMPLETE)[-1]["type"] == "response.completed"


def test_the_whole_response_is_made_of_the_assembly() -> None:
    records = logged([Text("Hello"), Usage(input_tokens=1, output_tokens=2), COMPLETE])
    assembly = Assembly()
    for record in records:
        assembly.apply(record)

    whole = assemble_response(assembly, HEAD)

    assert (whole["id"], whole["status"]) == ("resp_s1", "completed")
    assert whole["output"][0]["content"][0]["text"] == "Hello"
    assert whole["usage"]["total_tokens"] == 3
