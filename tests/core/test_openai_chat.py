"""OpenAI Chat Completions, one behaviour at a time: what is read, what is written, and what the official client
makes of it."""

import json
from collections.abc import Iterable
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
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
    ToolReady,
    Usage,
)
from patinox.formats.base import StreamHead
from patinox.formats.openai_chat import OPENAI_CHAT, assemble_completion
from patinox.formats.text import TEXT
from patinox.incremental.assembler import Assembly

COMPLETE = End(Outcome.COMPLETE)


def chunk(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "m",
        "choices": list(choices),
        **fields,
    }


def choice(delta: dict[str, Any], reason: str | None = None, index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": reason, **fields}


def sse(*frames: Any) -> bytes:
    return b"".join(
        b"data: %b\n\n" % (frame.encode() if isinstance(frame, str) else json.dumps(frame).encode()) for frame in frames
    )


def call(index: int, arguments: str, **fields: Any) -> dict[str, Any]:
    name = fields.pop("name", None)
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"tool_calls": [{"index": index, "function": function, **fields}]}


def events_of(*frames: Any) -> list[Any]:
    return read(OPENAI_CHAT, sse(*frames))[0]


def of(kind: type, events: Iterable[Any]) -> list[Any]:
    return [event for event in events if type(event) is kind]


def round_trip(*frames: Any) -> list[Any]:
    events, ending, _ = read(OPENAI_CHAT, sse(*frames))
    return [data for _, data in payloads(framed(write(OPENAI_CHAT, logged([*events, ending]))))]


def written(*data: Any, head: StreamHead = HEAD) -> list[Any]:
    return [value for _, value in payloads(framed(write(OPENAI_CHAT, logged(data), head)))]


def client_for(body: bytes) -> openai.OpenAI:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    return openai.OpenAI(
        api_key="none",
        base_url="http://test/v1",
        max_retries=0,
        http_client=openai.DefaultHttpxClient(transport=httpx2.MockTransport(answer)),
    )


def as_client(*data: Any) -> list[ChatCompletionChunk]:
    body = framed(write(OPENAI_CHAT, logged(data)))
    with client_for(body) as client:
        return list(client.chat.completions.create(model="m", messages=[], stream=True))


# reading


def test_a_plain_delta_is_one_event_without_ext() -> None:
    start = chunk(choice({"role": "assistant", "content": ""}))
    events = events_of(start, *(chunk(choice({"content": text})) for text in "abc"))

    assert events[-2:] == [BlockDelta(block=0, text="b"), BlockDelta(block=0, text="c")]


def test_the_run_and_each_choice_begin_at_their_first_appearance() -> None:
    events = events_of(
        chunk(choice({"role": "assistant"}, index=1), choice({"role": "assistant"}, index=0), provider="P")
    )

    start = of(RunStart, events)[0]
    assert (start.model, start.provider, start.created_s, start.provider_id) == ("m", "P", 1_700_000_000, "c1")
    assert [(event.message, event.choice) for event in of(MessageStart, events)] == [(0, 1), (1, 0)]


def test_all_but_the_last_event_of_a_frame_say_that_it_goes_on() -> None:
    events = events_of(chunk(choice({"role": "assistant", "content": "hi"}, "stop")))

    assert [event.more for event in events] == [True] * (len(events) - 2) + [False, False]
    assert isinstance(events[-1], RunEnd)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_a_block_of_its_own(field: str) -> None:
    events = events_of(chunk(choice({field: "hm"})), chunk(choice({"content": "yes"})))

    assert [(event.of, event.block) for event in of(BlockStart, events)] == [("reasoning", 0), ("text", 1)]
    assert [(event.text, event.block) for event in of(BlockDelta, events)] == [("hm", 0), ("yes", 1)]


def test_reasoning_that_is_said_in_several_fields_is_read_once() -> None:
    frame = chunk(
        choice(
            {
                "reasoning": "hm",
                "reasoning_content": "hm",
                "reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0}],
            }
        )
    )

    assert [event.text for event in of(BlockDelta, events_of(frame))] == ["hm"]
    assert round_trip(frame)[0] == frame


def test_encrypted_reasoning_and_signatures_are_kept_as_opaque() -> None:
    details = [
        {"type": "reasoning.text", "text": "hm", "signature": "sig"},
        {"type": "reasoning.encrypted", "data": "xyz"},
    ]
    events = events_of(chunk(choice({"reasoning_details": details})))

    assert [event.of for event in of(BlockStart, events)] == ["reasoning", "reasoning_opaque"]
    assert [(event.op, event.value) for event in of(BlockDelta, events)][1:] == [
        ("opaque.set", "sig"),
        ("opaque.set", "xyz"),
    ]


def test_a_tool_call_is_gathered_and_parsed_once_at_the_finish() -> None:
    frames = [
        chunk(choice(call(0, "", id="call_a", type="function", name="weather"))),
        chunk(choice(call(0, '{"city":'))),
        chunk(choice(call(0, '"Oslo"}'))),
        chunk(choice({}, "tool_calls")),
    ]
    events = events_of(*frames, "[DONE]")

    (start,) = of(BlockStart, events)
    assert (start.of, start.name, start.call_id) == ("tool_call", "weather", "call_a")
    assert "".join(event.text for event in of(BlockDelta, events)) == '{"city":"Oslo"}'
    (ready,) = of(ToolReady, events)
    assert (ready.call_id, ready.name, ready.arguments) == ("call_a", "weather", {"city": "Oslo"})
    assert of(MessageEnd, events)[0].finish_reason == "tool_calls"


def test_many_plain_argument_deltas_are_all_gathered() -> None:
    letters = [chunk(choice(call(0, letter))) for letter in '{"a":"' + "xyz" * 5 + '"}']
    events = events_of(
        chunk(choice(call(0, "", id="a", name="f"))), *letters, chunk(choice({}, "tool_calls")), "[DONE]"
    )

    assert of(ToolReady, events)[0].arguments == {"a": "xyz" * 5}


def test_calls_with_the_same_index_but_other_ids_are_other_calls() -> None:
    frames = [chunk(choice(call(0, f'{{"n":{n}}}', id=f"id{n}", name="f"))) for n in (1, 2)]
    events = events_of(*frames, chunk(choice({}, "tool_calls")), "[DONE]")

    assert [(event.call_id, event.arguments) for event in of(ToolReady, events)] == [
        ("id1", {"n": 1}),
        ("id2", {"n": 2}),
    ]


@pytest.mark.parametrize("name", ["", "f"])
def test_an_id_that_comes_after_the_name_is_the_calls(name: str) -> None:
    frames = [chunk(choice(call(0, "", name="f"))), chunk(choice(call(0, "{}", id="late", name=name)))]
    events = events_of(*frames, chunk(choice({}, "tool_calls")), "[DONE]")

    (ready,) = of(ToolReady, events)
    (block,) = assembled(logged(events)).blocks.values()
    assert (ready.call_id, ready.name, block.call_id) == ("late", "f", "late")


def test_empty_arguments_are_an_empty_object() -> None:
    events = events_of(chunk(choice(call(0, "", id="a", name="f"))), chunk(choice({}, "tool_calls")))

    assert of(ToolReady, events)[0].arguments == {}


def test_arguments_that_are_not_json_are_given_as_they_are() -> None:
    events = events_of(chunk(choice(call(0, "{oops", id="a", name="f"))), chunk(choice({}, "tool_calls")))

    (ready,) = of(ToolReady, events)
    assert (ready.arguments, ready.invalid_raw) == (None, "{oops")


def test_a_call_that_was_cut_off_is_never_ready() -> None:
    events, ending, _ = read(
        OPENAI_CHAT, sse(chunk(choice(call(0, "{", id="a", name="f"))), chunk(choice({}, "length")), "[DONE]")
    )

    assert not of(ToolReady, events)
    assert len(of(BlockEnd, events)) == 1
    assert ending == End(Outcome.INCOMPLETE)


def test_a_legacy_function_call_is_a_tool_call() -> None:
    frames = [
        chunk(choice({"function_call": {"name": "f", "arguments": "{}"}})),
        chunk(choice({}, "function_call")),
        "[DONE]",
    ]
    events = events_of(*frames)

    assert of(ToolReady, events)[0].name == "f"
    end = of(MessageEnd, events)[0]
    assert (end.finish_reason, end.provider_reason) == ("tool_calls", "function_call")
    assert round_trip(*frames) == frames


def test_usage_may_come_after_the_finish_reason() -> None:
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 5,
        "total_tokens": 8,
        "completion_tokens_details": {"reasoning_tokens": 2},
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    events = events_of(chunk(choice({"content": "x"}, "stop")), chunk(usage=usage), "[DONE]")

    (told,) = of(Usage, events)
    assert (told.input_tokens, told.output_tokens, told.total_tokens) == (3, 5, 8)
    assert (told.reasoning_tokens, told.cached_tokens, told.mode) == (2, 1, "final")
    assert told.raw == usage


def test_usage_with_every_frame_is_cumulative() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    events = events_of(chunk(choice({"content": "x"}), usage=usage))

    assert of(Usage, events)[0].mode == "cumulative"


def test_refusals_annotations_logprobs_images_and_audio_are_read_and_written_again() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}], "refusal": None}
    frames = [
        chunk(choice({"role": "assistant", "content": "a"}, logprobs=logprobs)),
        chunk(choice({"refusal": "no"})),
        chunk(choice({"annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]})),
        chunk(choice({"images": [{"type": "image_url", "image_url": {"url": "data:,"}}]})),
        chunk(choice({"audio": {"id": "au", "data": "AAEC", "transcript": "hi"}})),
        chunk(choice({}, "stop")),
        "[DONE]",
    ]
    events = events_of(*frames)

    assert [event.of for event in of(BlockStart, events)] == ["text", "refusal", "image", "audio"]
    assert {event.op for event in of(BlockDelta, events)} == {
        "text.append",
        "logprobs.add",
        "annotation.add",
        "opaque.set",
        "bytes.append",
    }
    assert round_trip(*frames) == frames


def test_unknown_fields_and_frames_come_back() -> None:
    frames = [
        {"hello": 1},
        chunk(choice({"role": "assistant", "content": "", "new": {"x": [1]}}), extra="e"),
        chunk(choice({"content": "a"}), extra="e"),
        chunk(choice({"content": "b"}, odd=True)),
        chunk(),
        ["not", "an", "object"],
        chunk(choice({}, "stop")),
        "[DONE]",
    ]

    assert round_trip(*frames) == frames


def test_a_frame_that_is_not_json_is_kept_and_noted() -> None:
    events, _, problems = read(OPENAI_CHAT, sse("{oops", chunk(choice({"content": "a"}, "stop")), "[DONE]"))

    assert isinstance(events[0], Native)
    assert events[0].value == "{oops"
    assert "not JSON" in problems[0]


def test_comments_and_heartbeats_are_nothing() -> None:
    frames = sse(chunk(choice({"content": "a"}, "stop")), "[DONE]")

    assert read(OPENAI_CHAT, b": ping\n\n" + frames.replace(b"\n\n", b"\n\n: ping\n")) == read(OPENAI_CHAT, frames)


def test_feeding_parsed_frames_and_models_gives_the_same_events() -> None:
    frames = [chunk(choice({"role": "assistant", "content": "a"})), chunk(choice({"content": "b"}, "stop"))]
    expected = events_of(*frames)[:-1]

    by_dict, by_model = OPENAI_CHAT.reader(), OPENAI_CHAT.reader()

    assert [event for frame in frames for event in by_dict.feed_frame(frame)] == expected
    models = [ChatCompletionChunk.model_validate(frame) for frame in frames]
    assert [event for model in models for event in by_model.feed_frame(model)] == expected


# endings


def test_the_end_of_the_bytes_without_a_finish_reason_is_an_interruption() -> None:
    events, ending, _ = read(OPENAI_CHAT, sse(chunk(choice({"content": "a"}))))

    assert isinstance(ending, End)
    assert ending.outcome is Outcome.INTERRUPTED
    assert not of(RunEnd, events)


def test_nothing_at_all_is_an_interruption() -> None:
    ending = read(OPENAI_CHAT)[1]

    assert isinstance(ending, End)
    assert ending.outcome is Outcome.INTERRUPTED


def test_a_finish_reason_without_done_is_complete_and_noted() -> None:
    events, ending, problems = read(OPENAI_CHAT, sse(chunk(choice({"content": "a"}, "stop"))))

    assert ending == COMPLETE
    assert isinstance(events[-1], RunEnd)
    assert problems == ["the stream ended without [DONE]"]


def test_one_choice_without_a_finish_reason_is_an_interruption() -> None:
    frame = chunk(choice({"content": "a"}, "stop"), choice({"content": "b"}, index=1))
    ending = read(OPENAI_CHAT, sse(frame))[1]

    assert isinstance(ending, End)
    assert ending.outcome is Outcome.INTERRUPTED


def test_a_content_filter_is_complete_for_that_reason() -> None:
    events, ending, _ = read(OPENAI_CHAT, sse(chunk(choice({"content": "a"}, "content_filter")), "[DONE]"))

    assert ending == COMPLETE
    assert of(MessageEnd, events)[0].finish_reason == "content_filter"


@pytest.mark.parametrize("event", ["", "error"])
def test_an_error_in_the_stream_is_its_ending(event: str) -> None:
    body = {"message": "overloaded", "type": "server_error", "code": 503}
    head = f"event: {event}\n".encode() if event else b""
    stream = sse(chunk(choice({"content": "a"}))) + head + sse({"error": body})
    events, ending, _ = read(OPENAI_CHAT, stream)

    assert ending == Error("503", "overloaded", retryable=True, status=503, provider=body)
    frames = payloads(framed(write(OPENAI_CHAT, logged([*events, ending]))))
    assert frames == payloads(stream)


def test_a_finish_reason_of_error_is_a_failure() -> None:
    assert isinstance(read(OPENAI_CHAT, sse(chunk(choice({}, "error")), "[DONE]"))[1], Error)


def test_nothing_is_read_after_the_error() -> None:
    stream = sse({"error": {"message": "no"}}, chunk(choice({"content": "a"})), "[DONE]")
    events, ending, problems = read(OPENAI_CHAT, stream)

    assert events == []
    assert isinstance(ending, Error)
    assert len(problems) == 1


# writing what came from elsewhere


def test_text_chunks_become_a_stream_of_the_dialect() -> None:
    frames = written(Text("Hel"), Text("lo"), COMPLETE)

    assert frames[-1] == "[DONE]"
    assert {frame["id"] for frame in frames[:-1]} == {"chatcmpl-s1"}
    assert {frame["created"] for frame in frames[:-1]} == {1_700_000_000}
    assert {frame["model"] for frame in frames[:-1]} == {"patinox"}
    assert [frame["choices"][0]["delta"] for frame in frames[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"


def test_the_model_is_the_runs_or_the_metadatas() -> None:
    head = msgspec.structs.replace(HEAD, metadata={"model": "mine"})

    assert written(Text("a"), COMPLETE, head=head)[0]["model"] == "mine"
    assert written(RunStart(model="theirs"), Text("a"), COMPLETE, head=head)[0]["model"] == "theirs"


FOREIGN: list[Any] = [
    RunStart(model="m", provider="other", provider_id="msg_1", ext={"other": {"x": 1}}),
    MessageStart(),
    BlockStart(block=0, of="reasoning"),
    BlockDelta(block=0, text="hm"),
    BlockEnd(block=0),
    BlockStart(block=1, of="text"),
    BlockDelta(block=1, text="Let me "),
    BlockDelta(block=1, text="see."),
    BlockEnd(block=1),
    BlockStart(block=2, of="tool_call", name="weather", call_id="t1"),
    BlockDelta(block=2, op="json.append", text='{"city":'),
    BlockDelta(block=2, op="json.append", text='"Oslo"}'),
    BlockEnd(block=2),
    ToolReady(block=2, call_id="t1", name="weather", arguments={"city": "Oslo"}),
    BlockStart(block=3, of="tool_call", name="time", call_id="t2"),
    BlockEnd(block=3),
    ToolReady(block=3, call_id="t2", name="time", arguments={"zone": "CET"}),
    MessageEnd(finish_reason="tool_calls", provider_reason="tool_use"),
    Usage(input_tokens=3, output_tokens=5, reasoning_tokens=2),
    RunEnd(),
]


def test_another_dialects_run_survives_into_this_one() -> None:
    body = framed(write(OPENAI_CHAT, logged([*FOREIGN, COMPLETE])))
    answer = assemble_completion(assembled(logged(read(OPENAI_CHAT, body)[0])), HEAD)

    message = answer["choices"][0]["message"]
    assert message["reasoning_content"] == "hm"
    assert message["content"] == "Let me see."
    assert [(item["id"], item["function"]) for item in message["tool_calls"]] == [
        ("t1", {"name": "weather", "arguments": '{"city":"Oslo"}'}),
        ("t2", {"name": "time", "arguments": '{"zone":"CET"}'}),
    ]
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 5,
        "total_tokens": 8,
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


def test_an_agents_messages_are_one_choice_with_one_finish_reason() -> None:
    frames = written(
        MessageStart(message=0),
        Text("first"),
        MessageEnd(message=0, finish_reason="tool_calls"),
        MessageStart(message=1, role="tool"),
        BlockStart(message=1, block=0),
        BlockDelta(message=1, block=0, text="hidden"),
        MessageEnd(message=1),
        MessageStart(message=2),
        BlockStart(message=2, block=0),
        BlockDelta(message=2, block=0, text="last"),
        MessageEnd(message=2, finish_reason="stop"),
        COMPLETE,
    )

    choices = [frame["choices"][0] for frame in frames[:-1]]
    assert [item["delta"].get("content") for item in choices] == ["", "first", "last", None]
    assert [item["finish_reason"] for item in choices] == [None, None, None, "stop"]


def test_what_the_dialect_cannot_carry_makes_no_frame() -> None:
    data = [Json({"a": 1}), Binary(b"x"), Metadata(name="n", value=1), Native(dialect="other", value={})]

    assert [len(write(OPENAI_CHAT, logged([item]))) for item in data] == [0, 0, 0, 0]


def test_an_incomplete_stream_finishes_for_length() -> None:
    frames = written(Text("a"), End(Outcome.INCOMPLETE))

    assert frames[-2]["choices"][0]["finish_reason"] == "length"
    assert frames[-1] == "[DONE]"


def test_an_empty_complete_stream_has_a_choice() -> None:
    assert [frame["choices"][0]["finish_reason"] for frame in written(COMPLETE)[:-1]] == [None, "stop"]


@pytest.mark.parametrize(
    "ending",
    [
        Error("upstream", "it broke"),
        Error("overloaded_error", "it broke", provider={"type": "overloaded_error", "message": "it broke"}),
        End(Outcome.INTERRUPTED, Error("interrupted", "it broke")),
        End(Outcome.CANCELLED, Error("cancelled", "it broke")),
        End(Outcome.FAILED, Error("x", "it broke")),
        End(Outcome.CANCELLED),
    ],
)
def test_a_failed_stream_makes_the_official_client_raise(ending: Any) -> None:
    frames = written(Text("a"), ending)

    assert "error" in frames[-1]
    assert all("error" not in frame for frame in frames[:-1])
    with pytest.raises(openai.APIError) as caught:
        as_client(Text("a"), ending)
    assert caught.value.message in ("it broke", "the answer was cancelled")


def test_text_added_to_a_relayed_stream_joins_it() -> None:
    events = events_of(chunk(choice({"role": "assistant", "content": "a"})))
    frames = written(*events, Text("b"), COMPLETE)

    assert [(frame["id"], frame["choices"][0]["delta"].get("content")) for frame in frames[:-1]] == [
        ("c1", "a"),
        ("c1", "b"),
        ("c1", None),
    ]


def test_events_with_an_ext_of_somebody_elses_making_are_harmless() -> None:
    forged: list[Any] = [5, {"choices": 1}, {"set": 1}, {"unset": 1}, {"once": []}, {"event": "a\nb"}, {"raw": 1}]
    data = [BlockDelta(block=0, text="a", ext={"openai-chat": value}) for value in forged]

    assert written(*data, COMPLETE)[-1] == "[DONE]"


# readers that come in the middle


def test_a_fresh_reader_gets_the_role_and_the_open_tool_call() -> None:
    records = logged(FOREIGN[:11])
    writer, assembly = OPENAI_CHAT.writer, Assembly()
    state = writer.initial(HEAD)
    for record in records:
        state, _ = writer.write(state, record, assembly)

    openers = [json.loads(frame.data)["choices"][0]["delta"] for frame in writer.openers(state, assembly)]

    assert openers[0] == {"role": "assistant", "content": ""}
    assert openers[1]["tool_calls"][0]["id"] == "t1"
    assert len(openers) == 2


def test_a_fresh_reader_of_a_stream_that_has_not_begun_gets_nothing() -> None:
    assert OPENAI_CHAT.writer.openers(OPENAI_CHAT.writer.initial(HEAD), Assembly()) == []


# the official client


def test_usage_that_was_known_is_told_before_an_error() -> None:
    *_, usage, error = written(Text("x"), Usage(input_tokens=3, output_tokens=2), Error("x", "broke"))

    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert error["error"]["message"] == "broke"


def test_the_official_client_reads_text_finish_and_usage() -> None:
    chunks = as_client(Text("Hel"), Text("lo"), Usage(input_tokens=1, output_tokens=2), COMPLETE)

    assert "".join(item.choices[0].delta.content or "" for item in chunks if item.choices) == "Hello"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 3
    for item in chunks:
        ChatCompletionChunk.model_validate_json(item.model_dump_json())


def test_the_official_client_reads_tool_calls() -> None:
    calls = [
        item for got in as_client(*FOREIGN, COMPLETE) if got.choices for item in got.choices[0].delta.tool_calls or []
    ]
    arguments = {item.index: "" for item in calls}
    for item in calls:
        assert item.function is not None
        arguments[item.index] += item.function.arguments or ""

    assert [item.id for item in calls if item.id] == ["t1", "t2"]
    assert arguments == {0: '{"city":"Oslo"}', 1: '{"zone":"CET"}'}


def test_the_official_client_reads_a_completion() -> None:
    answer = assemble_completion(assembled(logged(FOREIGN)), HEAD)
    parsed = ChatCompletion.model_validate(answer)

    assert parsed.id == "chatcmpl-s1"
    assert parsed.choices[0].message.content == "Let me see."


def test_a_completion_joins_logprobs_of_all_deltas_and_keeps_choices_apart() -> None:
    def tokens(*names: str) -> dict[str, Any]:
        return {"content": [{"token": name, "logprob": 0.0, "bytes": None, "top_logprobs": []} for name in names]}

    events = events_of(
        chunk(choice({"content": "a"}, logprobs=tokens("a")), choice({"content": "x"}, index=1)),
        chunk(choice({"content": "b"}, "stop", logprobs=tokens("b")), choice({}, "length", index=1)),
        "[DONE]",
    )
    answer = assemble_completion(assembled(logged(events)), HEAD)

    assert [item["message"]["content"] for item in answer["choices"]] == ["ab", "x"]
    assert [item["finish_reason"] for item in answer["choices"]] == ["stop", "length"]
    assert answer["choices"][0]["logprobs"] == tokens("a", "b")


# plain text


def test_plain_text_is_the_first_choices_text_alone() -> None:
    events = events_of(
        chunk(choice({"reasoning_content": "hm"})),
        chunk(choice({"content": "Hé"}), choice({"content": "other"}, index=1)),
        chunk(choice({"content": "llo"})),
    )

    assert b"".join(frame.data for frame in write(TEXT, logged([*events, Text("!"), COMPLETE]))) == "Héllo!".encode()


def test_plain_text_is_read_whole_whatever_the_cut() -> None:
    data = "Hé😀".encode()

    for cut in range(len(data) + 1):
        events, ending, problems = read(TEXT, data[:cut], data[cut:])
        assert ("".join(event.text for event in events), ending, problems) == ("Hé😀", COMPLETE, [])


def test_text_that_is_not_utf8_is_an_error_after_what_was_good() -> None:
    reader = TEXT.reader()

    assert reader.feed(b"good\xff") == [Text("good")]
    with pytest.raises(ValueError, match="at byte 4"):
        reader.feed(b"more")
