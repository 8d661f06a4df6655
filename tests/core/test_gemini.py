"""Gemini, one behaviour at a time: what is read, what is written, and what the official client makes of it."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types
from tests.dialects import HEAD, assembled, logged, read, write
from tests.recordings import recorded

from patinox.core.chunks import Binary, End, Error, Json, Outcome, StreamChunk, Text
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
    ToolError,
    ToolReady,
    ToolResult,
    Usage,
)
from patinox.delivery.wire import SseWire
from patinox.formats.base import Frame
from patinox.formats.gemini import GEMINI
from patinox.formats.openai_chat import OPENAI_CHAT
from patinox.incremental.assembler import Assembly

COMPLETE = End(Outcome.COMPLETE)
# Streams of another dialect that end well, for the client to read in this one.
FOREIGN = [
    parameter
    for parameter in recorded("openai-chat")
    if not (str(parameter.id).startswith("tool_use_failed") or "error" in str(parameter.id))
]


def frame(*parts: dict[str, Any], index: int = 0, usage: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    told = {} if usage is None else {"usageMetadata": usage}
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": index, **fields}
    return {"candidates": [candidate], **told, "modelVersion": "g", "responseId": "r"}


def call(**fields: Any) -> dict[str, Any]:
    return {"functionCall": fields}


def sse(*frames: Any) -> bytes:
    return b"".join(b"data: %b\r\n\r\n" % json.dumps(item).encode() for item in frames)


def events_of(*frames: Any) -> list[Any]:
    return read(GEMINI, sse(*frames))[0]


def of(kind: type, events: Iterable[Any]) -> list[Any]:
    return [event for event in events if type(event) is kind]


def written(*data: Any) -> list[Any]:
    return [json.loads(item.data) for item in write(GEMINI, logged(data))]


def parts(*data: Any) -> list[Any]:
    """The parts of all frames before the last."""
    return [part for item in written(*data)[:-1] for part in item["candidates"][0]["content"]["parts"]]


def wired(frames: list[Frame]) -> bytes:
    """The frames as a server sends them."""
    return SseWire(GEMINI, ids=False, controls=False).record("", frames)


def as_client(body: bytes) -> list[types.GenerateContentResponse]:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    options = types.HttpOptions(client_args={"transport": httpx2.MockTransport(answer)})
    with genai.Client(api_key="none", http_options=options) as client:
        return list(client.models.generate_content_stream(model="m", contents="?"))


def client_parts(answer: list[types.GenerateContentResponse]) -> list[types.Part]:
    return [
        part
        for item in answer
        for candidate in item.candidates or ()
        if candidate.content is not None and not candidate.index
        for part in candidate.content.parts or ()
    ]


def said(answer: list[types.GenerateContentResponse], *, thought: bool = False) -> str:
    return "".join(part.text or "" for part in client_parts(answer) if bool(part.thought) is thought)


def calls(answer: list[types.GenerateContentResponse]) -> list[tuple[str | None, str | None, Any]]:
    return [
        (part.function_call.id, part.function_call.name, part.function_call.args)
        for part in client_parts(answer)
        if part.function_call is not None
    ]


def finish(answer: list[types.GenerateContentResponse]) -> list[str]:
    reasons = [candidate.finish_reason for item in answer for candidate in item.candidates or ()]
    return [reason.value for reason in reasons if reason is not None]


# reading


def test_a_plain_delta_is_one_event_without_ext() -> None:
    events = events_of(*(frame({"text": text}) for text in "abc"))

    assert events[-2:] == [BlockDelta(block=0, text="b"), BlockDelta(block=0, text="c")]


def test_a_delta_with_another_usage_is_two_events_without_ext() -> None:
    events = events_of(*(frame({"text": "a"}, usage={"candidatesTokenCount": count}) for count in (2, 3, 4)))

    assert events[-2:] == [
        BlockDelta(block=0, text="a", more=True),
        Usage(mode="cumulative", output_tokens=4, raw={"candidatesTokenCount": 4}),
    ]


def test_the_run_tells_model_id_and_time() -> None:
    start = events_of({**frame({"text": "a"}), "createTime": "2026-01-01T00:00:00Z"})[0]

    assert (start.model, start.provider_id, start.created_s) == ("g", "r", 1_767_225_600)


def test_thoughts_and_text_are_blocks_one_after_the_other() -> None:
    events = events_of(frame({"text": "hm", "thought": True}), frame({"text": "yes"}))

    assert [(event.of, event.block) for event in of(BlockStart, events)] == [("reasoning", 0), ("text", 1)]
    assert [event.block for event in of(BlockEnd, events)] == [0]


def test_a_signature_belongs_to_the_block_it_comes_with() -> None:
    events = events_of(frame({"text": "a"}), frame({"text": "", "thoughtSignature": "c2ln"}))

    assert events[-1].op == "opaque.set"
    assert (events[-1].block, events[-1].value) == (0, "c2ln")


def test_a_whole_call_is_ready_at_once() -> None:
    events = events_of(frame({**call(name="f", args={"a": 1}, id="c"), "thoughtSignature": "c2ln"}))

    assert [type(event) for event in events[2:]] == [BlockStart, BlockDelta, BlockDelta, BlockEnd, ToolReady]
    assert (events[3].op, events[3].text) == ("json.append", '{"a":1}')
    assert (events[-1].call_id, events[-1].name, events[-1].arguments) == ("c", "f", {"a": 1})


def test_a_call_without_arguments_has_none() -> None:
    assert [event.arguments for event in of(ToolReady, events_of(frame(call(name="f"))))] == [{}]


def test_parallel_calls_are_calls_each() -> None:
    events = events_of(frame(call(name="f", args={"a": 1}), call(name="f", args={"a": 2})))

    assert [(event.block, event.arguments) for event in of(ToolReady, events)] == [(0, {"a": 1}), (1, {"a": 2})]


def test_arguments_in_pieces_grow_as_text() -> None:
    events = events_of(
        frame(call(name="f", willContinue=True)),
        frame(
            call(
                partialArgs=[
                    {"jsonPath": "$.a[0].b", "stringValue": 'x"', "willContinue": True},
                    {"jsonPath": "$.a[0].b", "stringValue": "y"},
                    {"jsonPath": "$.a[1]", "numberValue": 2},
                ],
                willContinue=True,
            )
        ),
        frame(call(partialArgs=[{"jsonPath": "$.c", "boolValue": True}], willContinue=True)),
        frame(call()),
    )

    assert [event.text for event in of(BlockDelta, events)] == ['{"a":[{"b":"x\\"y"},2', '],"c":true', "}"]
    assert [event.arguments for event in of(ToolReady, events)] == [{"a": [{"b": 'x"y'}, 2], "c": True}]


def test_a_call_in_pieces_that_was_cut_off_is_never_ready() -> None:
    events, ending, _ = read(
        GEMINI,
        sse(frame(call(name="f", willContinue=True)), frame({"text": ""}, finishReason="MAX_TOKENS")),
    )

    assert of(ToolReady, events) == []
    assert ending == End(Outcome.INCOMPLETE)


def test_pieces_out_of_order_still_make_the_whole() -> None:
    events, _, problems = read(
        GEMINI,
        sse(
            frame(
                call(
                    name="f",
                    partialArgs=[
                        {"jsonPath": "$.a.b", "numberValue": 1},
                        {"jsonPath": "$.c", "numberValue": 2},
                        {"jsonPath": "$.a.d", "numberValue": 3},
                    ],
                )
            )
        ),
    )

    assert [event.arguments for event in of(ToolReady, events)] == [{"a": {"b": 1, "d": 3}, "c": 2}]
    assert len(problems) == 1


def test_the_providers_own_tools_have_call_and_result() -> None:
    events = events_of(
        frame({"toolCall": {"toolType": "SEARCH", "args": {"q": 1}, "id": "t"}}),
        frame({"toolResponse": {"toolType": "SEARCH", "response": {"x": 1}, "id": "t"}}),
    )

    assert [(event.of, event.name, event.call_id) for event in of(BlockStart, events)] == [
        ("server_tool_call", "SEARCH", "t"),
        ("tool_result", "SEARCH", "t"),
    ]
    assert [(event.block, event.result) for event in of(ToolResult, events)] == [(1, {"x": 1})]


def test_code_and_what_it_gave_are_blocks() -> None:
    events = events_of(
        frame({"executableCode": {"language": "PYTHON", "code": "1/0"}}),
        frame({"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "no"}}),
    )

    assert [(event.of, event.name) for event in of(BlockStart, events)] == [
        ("code", "PYTHON"),
        ("tool_result", "code_execution"),
    ]
    assert [event.error for event in of(ToolError, events)] == ["OUTCOME_FAILED"]


def test_a_picture_is_bytes_with_a_media_type() -> None:
    events = events_of(frame({"inlineData": {"mimeType": "image/png", "data": "AAEC"}}))

    assert [(event.of, event.name) for event in of(BlockStart, events)] == [("image", "image/png")]
    assert [event.data for event in of(BlockDelta, events)] == [b"\0\1\2"]


def test_sources_belong_to_the_text() -> None:
    sources = {"groundingChunks": [{"web": {"uri": "http://x"}}]}
    events = events_of(frame({"text": "a"}), frame({"text": "b"}, groundingMetadata=sources))

    assert [(event.block, event.value) for event in of(BlockDelta, events) if event.op == "annotation.add"] == [
        (0, sources)
    ]


def test_usage_counts_thoughts_as_output_and_tools_prompts_as_input() -> None:
    raw = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 5,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 4,
        "totalTokenCount": 22,
        "cachedContentTokenCount": 2,
    }
    usage = of(Usage, events_of(frame({"text": "a"}, usage=raw, finishReason="STOP")))[0]

    assert (usage.mode, usage.input_tokens, usage.output_tokens) == ("final", 15, 7)
    assert (usage.total_tokens, usage.reasoning_tokens, usage.cached_tokens) == (22, 4, 2)


@pytest.mark.parametrize(
    ("word", "reason", "outcome"),
    [
        ("STOP", "stop", Outcome.COMPLETE),
        ("MAX_TOKENS", "length", Outcome.INCOMPLETE),
        ("SAFETY", "content_filter", Outcome.COMPLETE),
        ("SOMETHING_NEW", "other", Outcome.COMPLETE),
    ],
)
def test_finish_reasons_have_a_neutral_meaning(word: str, reason: str, outcome: Outcome) -> None:
    events, ending, _ = read(GEMINI, sse(frame({"text": "a"}, finishReason=word)))
    end = of(MessageEnd, events)[0]

    assert (end.finish_reason, end.provider_reason) == (reason, word)
    assert ending == End(outcome)
    assert events[-1] == RunEnd(outcome=outcome, ext={"gemini": {}})


def test_a_stop_after_a_call_is_for_the_call() -> None:
    events = events_of(frame(call(name="f")), frame({"text": ""}, finishReason="STOP"))

    assert [event.finish_reason for event in of(MessageEnd, events)] == ["tool_calls"]


def test_a_malformed_call_is_a_failure_and_comes_back_as_it_was() -> None:
    frames = [frame({"text": "a"}), frame(finishReason="MALFORMED_FUNCTION_CALL")]
    events, ending, _ = read(GEMINI, sse(*frames))

    assert isinstance(ending, Error)
    assert ending.code == "MALFORMED_FUNCTION_CALL"
    assert written(*events, ending) == frames


def test_a_prompt_that_was_refused_is_an_answer_that_says_so() -> None:
    refused = {"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "g"}
    events, ending, _ = read(GEMINI, sse(refused))

    assert [event.finish_reason for event in of(MessageEnd, events)] == ["content_filter"]
    assert ending == COMPLETE
    assert written(*events, ending) == [refused]


def test_several_candidates_are_messages_of_their_own() -> None:
    events = events_of(frame({"text": "a"}), frame({"text": "b"}, index=1))

    assert [(event.message, event.choice) for event in of(MessageStart, events)] == [(0, 0), (1, 1)]
    assert [(event.message, event.choice) for event in of(BlockDelta, events)] == [(0, 0), (1, 1)]


@pytest.mark.parametrize(
    "error",
    [
        b'{"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}',
        b'{\n  "error": {\n    "code": 503,\n    "message": "no",\n    "status": "UNAVAILABLE"\n  }\n}\n',
        b'[{"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}]\n\n',
        b'data: {"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}\n\n',
    ],
)
def test_an_error_is_the_ending_however_it_is_laid_out(error: bytes) -> None:
    events, ending, problems = read(GEMINI, sse(frame({"text": "a"})) + error)

    assert isinstance(ending, Error)
    assert (ending.code, ending.message, ending.status, ending.retryable) == ("UNAVAILABLE", "no", 503, True)
    assert of(RunEnd, events) == problems == []


def test_the_end_of_the_bytes_alone_is_no_success() -> None:
    events, ending, _ = read(GEMINI, sse(frame({"text": "a"})))

    assert isinstance(ending, End)
    assert ending.outcome is Outcome.INTERRUPTED
    assert of(RunEnd, events) == of(MessageEnd, events) == []


def test_a_frame_that_is_not_json_is_kept_and_noted() -> None:
    events, _, problems = read(GEMINI, b"data: {oops\n\n")

    assert [event.value for event in events] == ["{oops"]
    assert len(problems) == 1
    assert [item.data for item in write(GEMINI, logged(events))] == [b"{oops"]


def test_a_part_of_an_unknown_kind_is_kept_whole() -> None:
    events = events_of(frame({"novel": {"x": 1}}))

    assert [event.of for event in of(BlockStart, events)] == ["custom"]
    assert [event.value for event in of(BlockDelta, events)] == [{"novel": {"x": 1}}]


def test_what_the_client_hands_out_is_read_like_the_wire() -> None:
    frames = [frame({"text": "a"}), frame(call(name="f", args={"a": 1}), finishReason="STOP")]
    reader = GEMINI.reader()
    events = [event for item in as_client(sse(*frames)) for event in reader.feed_frame(item)]

    assert [type(event) for event in [*events, *reader.close()]] == [type(event) for event in events_of(*frames)]
    assert reader.ending == COMPLETE


# writing


def test_text_chunks_become_parts_and_a_finish_reason() -> None:
    def told(text: str, **fields: Any) -> dict[str, Any]:
        candidate = {"content": {"parts": [{"text": text}], "role": "model"}, **fields, "index": 0}
        return {"candidates": [candidate], "modelVersion": "patinox", "responseId": "s1"}

    assert written(Text("Hel"), Text("lo"), COMPLETE) == [told("Hel"), told("lo"), told("", finishReason="STOP")]


def test_an_empty_log_still_says_that_it_ended() -> None:
    assert [item["candidates"][0]["finishReason"] for item in written(COMPLETE)] == ["STOP"]


def test_a_call_is_written_whole_when_it_is_ready() -> None:
    assert parts(
        BlockStart(block=0, of="tool_call", name="f", call_id="c"),
        BlockDelta(block=0, op="json.append", text='{"a"'),
        BlockDelta(block=0, op="json.append", text=":1}"),
        BlockDelta(block=0, op="opaque.set", value="c2ln"),
        BlockEnd(block=0),
        ToolReady(block=0, call_id="c", name="f", arguments={"a": 1}),
        COMPLETE,
    ) == [{"functionCall": {"name": "f", "args": {"a": 1}, "id": "c"}, "thoughtSignature": "c2ln"}]


def test_a_call_with_bad_arguments_is_the_dialects_malformed_call() -> None:
    last = written(
        BlockStart(block=0, of="tool_call", name="f"),
        BlockEnd(block=0),
        ToolReady(block=0, invalid_raw="{a"),
        MessageEnd(finish_reason="tool_calls"),
        COMPLETE,
    )[-1]["candidates"][0]

    assert last["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert "{a" in last["finishMessage"]


def test_thoughts_are_marked_and_signed() -> None:
    assert parts(
        BlockStart(block=0, of="reasoning"),
        BlockDelta(block=0, text="hm"),
        BlockDelta(block=0, op="opaque.set", value="c2ln"),
        BlockDelta(block=0, op="opaque.set", value="not base64!"),
        COMPLETE,
    ) == [{"text": "hm", "thought": True}, {"text": "", "thoughtSignature": "c2ln", "thought": True}]


def test_pictures_code_and_addresses_are_told_as_parts() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAEC"}}
    assert parts(
        BlockStart(block=0, of="image"),
        BlockDelta(block=0, op="opaque.set", value=image),
        BlockEnd(block=0),
        BlockStart(block=1, of="code", name="python"),
        BlockDelta(block=1, text="1+"),
        BlockDelta(block=1, text="1"),
        BlockEnd(block=1),
        COMPLETE,
    ) == [
        {"inlineData": {"mimeType": "image/png", "data": "AAEC"}},
        {"executableCode": {"language": "PYTHON", "code": "1+1"}},
    ]


def test_other_messages_and_an_applications_own_data_are_left_out() -> None:
    assert (
        parts(
            MessageStart(message=1, role="tool"),
            BlockStart(message=1, block=0),
            BlockDelta(message=1, block=0, text="secret"),
            MessageEnd(message=1),
            Json({"x": 1}),
            Binary(b"x"),
            Metadata(value=1),
            Native(dialect="other", value={"type": "x"}),
            COMPLETE,
        )
        == []
    )


def test_a_total_of_prompt_and_candidates_alone_says_that_the_thoughts_are_in_them() -> None:
    raw = {"promptTokenCount": 43, "candidatesTokenCount": 10, "thoughtsTokenCount": 11, "totalTokenCount": 53}
    usage = of(Usage, events_of(frame({"text": "a"}, usage=raw, finishReason="STOP")))[0]

    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (43, 10, 11)


def test_usage_that_was_known_is_told_before_an_error() -> None:
    *_, usage, error = write(GEMINI, logged([Text("x"), Usage(input_tokens=3, output_tokens=2), Error("x", "broke")]))

    counts = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
    assert json.loads(usage.data)["usageMetadata"] == counts
    assert (error.bare, json.loads(error.data)["error"]["message"]) == (True, "broke")


def test_usage_of_another_dialect_is_in_the_last_frame() -> None:
    frames = written(Text("x"), Usage(input_tokens=20, output_tokens=5, reasoning_tokens=2, cached_tokens=8), COMPLETE)

    assert frames[-1]["usageMetadata"] == {
        "promptTokenCount": 20,
        "candidatesTokenCount": 3,
        "totalTokenCount": 25,
        "thoughtsTokenCount": 2,
        "cachedContentTokenCount": 8,
    }
    assert "usageMetadata" not in frames[0]


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.INTERRUPTED, Outcome.FAILED])
def test_what_did_not_end_well_is_an_error_and_has_no_finish_reason(outcome: Outcome) -> None:
    frames = write(GEMINI, logged([Text("x"), MessageEnd(finish_reason="stop"), End(outcome)]))

    assert frames[-1].bare
    assert set(json.loads(frames[-1].data)["error"]) == {"code", "message", "status"}
    assert not any(b"finishReason" in item.data for item in frames)


def test_an_error_of_this_dialect_comes_back_as_it_was() -> None:
    error = {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED", "details": [1]}}

    assert written(read(GEMINI, sse(error))[1]) == [error]


def test_text_that_was_changed_on_the_way_is_written_changed() -> None:
    events = events_of(*(frame({"text": "secret"}, usage={"promptTokenCount": n}) for n in (2, 3)))
    changed = [
        BlockDelta(block=0, text="***", ext=event.ext, more=event.more) if isinstance(event, BlockDelta) else event
        for event in events
    ]

    assert "secret" not in json.dumps(written(*changed, COMPLETE))


def test_text_of_another_source_goes_on_in_the_frames_of_the_first() -> None:
    frames = written(*events_of(frame({"text": "a"}, usage={"promptTokenCount": 2})), BlockDelta(block=0, text="b"))

    assert frames[1] == frame({"text": "b"}, usage={"promptTokenCount": 2})


# the official client


@pytest.mark.parametrize("path", FOREIGN)
def test_the_client_reads_streams_of_another_dialect(path: Path) -> None:
    events, ending, _ = read(OPENAI_CHAT, path.read_bytes())
    records = logged([*events, ending])
    answer, whole = as_client(wired(write(GEMINI, records))), assembled(records)
    usage, told = whole.usage or {}, answer[-1].usage_metadata
    reasoning = "".join(block.text for block in whole.blocks.values() if block.kind == "reasoning")

    assert said(answer) == whole.content
    assert said(answer, thought=True) == reasoning
    assert calls(answer) == [(event.call_id, event.name, event.arguments) for event in of(ToolReady, events)]
    assert finish(answer) == ["STOP"]
    assert told is not None
    assert told.prompt_token_count == usage.get("input_tokens")
    thoughts = told.thoughts_token_count or 0
    assert (told.candidates_token_count or 0) + thoughts == usage.get("output_tokens")


@pytest.mark.parametrize("path", recorded("gemini"))
def test_the_client_reads_the_same_from_us_as_from_the_recording(path: Path) -> None:
    data = path.read_bytes()
    events, ending, _ = read(GEMINI, data)
    ours, theirs = as_client(wired(write(GEMINI, logged([*events, ending])))), as_client(data)

    assert [item.candidates for item in ours] == [item.candidates for item in theirs]
    assert [item.usage_metadata for item in ours] == [item.usage_metadata for item in theirs]


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Error("x", "broke", status=429), 429),
        (Error("x", "broke"), 500),
        (End(Outcome.CANCELLED), 499),
        (End(Outcome.INTERRUPTED), 503),
    ],
)
def test_the_client_raises_what_did_not_end_well(ending: End | Error, code: int) -> None:
    body = wired(write(GEMINI, logged([Text("x"), ending])))

    with pytest.raises(errors.APIError) as raised:
        as_client(body)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("reason", "word"),
    [("stop", "STOP"), ("length", "MAX_TOKENS"), ("refusal", "SAFETY"), ("content_filter", "SAFETY")],
)
def test_the_client_reads_the_meaning_of_the_end(reason: Any, word: str) -> None:
    body = wired(write(GEMINI, logged([Text("x"), MessageEnd(finish_reason=reason), COMPLETE])))

    assert finish(as_client(body)) == [word]


def test_the_client_reads_pictures_sources_and_signatures() -> None:
    citation = {"type": "url_citation", "url": "http://x", "title": "X"}
    data = [
        BlockStart(block=0, of="image", name="image/png"),
        BlockDelta(block=0, op="bytes.append", data=b"\0\1\2"),
        BlockEnd(block=0),
        BlockStart(block=1),
        BlockDelta(block=1, text="a"),
        BlockDelta(block=1, op="annotation.add", value=citation),
        BlockDelta(block=1, op="opaque.set", value=base64.b64encode(b"sig").decode()),
        BlockEnd(block=1),
        COMPLETE,
    ]
    answer = as_client(wired(write(GEMINI, logged(data))))
    found = client_parts(answer)

    assert [part.inline_data.data for part in found if part.inline_data] == [b"\0\1\2"]
    assert [part.thought_signature for part in found if part.thought_signature] == [b"sig"]
    grounded = [item.candidates[0].grounding_metadata for item in answer if item.candidates]
    assert [item.grounding_chunks[0].web.uri for item in grounded if item and item.grounding_chunks and
            item.grounding_chunks[0].web] == ["http://x"]  # fmt: skip


def test_heartbeats_between_the_frames_are_passed_over() -> None:
    frames = write(GEMINI, logged([Text("a"), Text("b"), COMPLETE]))

    assert said(as_client(GEMINI.heartbeat.join(wired([item]) for item in frames))) == "ab"


def tail(records: list[StreamChunk], after: int) -> bytes:
    """What a fresh client gets that attaches after record `after`."""
    writer, assembly = GEMINI.writer, assembled(records)
    state, frames = _folded(records[:after])
    frames = list(writer.openers(state, assembly))
    for record in records[after:]:
        state, made = writer.write(state, record, assembly)
        frames += made
    return wired(frames)


def _folded(records: list[StreamChunk]) -> tuple[Any, list[Frame]]:
    state, frames, assembly = GEMINI.writer.initial(HEAD), list[Frame](), Assembly()
    for record in records:
        assembly.apply(record)
        state, made = GEMINI.writer.write(state, record, assembly)
        frames += made
    return state, frames


@pytest.mark.parametrize("path", recorded("gemini", max_bytes=9_000) + recorded("openai-chat", max_bytes=6_000))
def test_a_fresh_client_may_attach_anywhere(path: Path) -> None:
    events, ending, _ = read(GEMINI if path.parent.name == "gemini" else OPENAI_CHAT, path.read_bytes())
    if isinstance(ending, Error):
        return
    records = logged([*events, ending])
    whole = as_client(tail(records, 0))

    for after in range(0, len(records), len(records) // 6 + 1):
        if after and events[after - 1].more:
            continue  # nobody attaches inside a frame
        answer = as_client(tail(records, after))
        assert said(whole).endswith(said(answer))
        assert finish(answer) in (finish(whole), [])


def test_the_run_begins_once() -> None:
    events = events_of(frame({"text": "a"}), frame({"text": "b"}))

    assert len(of(RunStart, events)) == 1
