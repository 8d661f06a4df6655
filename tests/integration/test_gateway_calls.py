"""What OpenAI's own client gets from an upstream through the gateway: everything the upstream said."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from tests.serving import ASK, Serving, idle, official, serving

from patinox.testing.upstream import (
    DONE,
    Answer,
    Gate,
    ScriptedUpstream,
    delta,
    event,
    role,
    said,
    stopped,
    usage,
    words,
)


async def streamed(client: openai.AsyncOpenAI, **more: Any) -> list[ChatCompletionChunk]:
    async with await client.chat.completions.create(**ASK, stream=True, **more) as stream:
        return [chunk async for chunk in stream]


def text(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


async def test_a_streamed_answer_comes_with_its_finish_reason_and_usage(client: openai.AsyncOpenAI) -> None:
    chunks = await streamed(client, stream_options={"include_usage": True})
    assert text(chunks) == "Hello"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 9


async def test_the_frames_are_the_upstreams_own(upstream: ScriptedUpstream, server: Serving) -> None:
    steps = [role(), said("Hel"), said("lo"), stopped(), usage(7, 2), DONE]
    upstream.script(Answer(*steps))
    call = {**ASK, "stream": True}
    async with aiohttp.ClientSession() as http, http.post(f"{server.url}/v1/chat/completions", json=call) as answer:
        assert answer.content_type == "text/event-stream"
        got = await answer.read()
    assert [payload(frame) for frame in got.split(b"\n\n") if frame] == [payload(step.strip()) for step in steps]


def payload(frame: bytes) -> Any:
    data = frame.removeprefix(b"data: ")
    return data if data == b"[DONE]" else json.loads(data)


async def test_an_answer_that_is_not_streamed_is_whole(client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(**ASK)
    assert completion.choices[0].message.content == "Hello"
    assert completion.choices[0].message.role == "assistant"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (7, 2)
    assert completion.model == "scripted"


@pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls", "stop"])
@pytest.mark.parametrize("is_streamed", [True, False])
async def test_the_finish_reason_survives(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI, reason: str, is_streamed: bool
) -> None:
    upstream.script(Answer(role(), said("so"), stopped(reason), DONE))
    if is_streamed:
        told = [chunk.choices[0].finish_reason for chunk in await streamed(client)]
        assert [word for word in told if word] == [reason]
    else:
        assert (await client.chat.completions.create(**ASK)).choices[0].finish_reason == reason


def call(index: int, arguments: str, **first: Any) -> bytes:
    function = {"arguments": arguments, **({"name": first.pop("name")} if "name" in first else {})}
    return delta(tool_calls=[{"index": index, "function": function, **first}])


TOOL_CALLS = (
    role(), call(0, "", id="call_a", type="function", name="add"), call(0, '{"x": '), call(0, "1}"),
    call(1, "", id="call_b", type="function", name="now"), call(1, "{}"), stopped("tool_calls"), DONE,
)  # fmt: skip


async def test_tool_calls_survive_in_pieces(upstream: ScriptedUpstream, client: openai.AsyncOpenAI) -> None:
    upstream.script(Answer(*TOOL_CALLS))
    calls: dict[int, list[str]] = {}
    names: dict[int, str] = {}
    for chunk in await streamed(client):
        for piece in chunk.choices[0].delta.tool_calls or ():
            assert piece.function is not None
            calls.setdefault(piece.index, []).append(piece.function.arguments or "")
            if piece.function.name:
                names[piece.index] = f"{piece.id} {piece.function.name}"
    assert names == {0: "call_a add", 1: "call_b now"}
    assert calls == {0: ["", '{"x": ', "1}"], 1: ["", "{}"]}


async def test_tool_calls_survive_in_one_piece(upstream: ScriptedUpstream, client: openai.AsyncOpenAI) -> None:
    upstream.script(Answer(*TOOL_CALLS))
    completion = await client.chat.completions.create(**ASK)
    message = completion.choices[0].message
    called = [c.model_dump() for c in message.tool_calls or ()]
    assert [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in called] == [
        ("call_a", "add", '{"x": 1}'),
        ("call_b", "now", "{}"),
    ]
    assert message.content is None


async def test_reasoning_survives(upstream: ScriptedUpstream, client: openai.AsyncOpenAI) -> None:
    upstream.script(
        Answer(role(), delta(reasoning_content="Let me "), delta(reasoning_content="see."), said("4"), stopped(), DONE)
    )
    deltas = [chunk.choices[0].delta for chunk in await streamed(client)]
    assert "".join(getattr(d, "reasoning_content", None) or "" for d in deltas) == "Let me see."
    whole = (await client.chat.completions.create(**ASK)).choices[0].message
    assert whole.content == "4"
    assert whole.model_extra is not None
    assert whole.model_extra["reasoning_content"] == "Let me see."


async def test_several_choices_survive(upstream: ScriptedUpstream, client: openai.AsyncOpenAI) -> None:
    ends = (stopped("stop", 1), stopped("length", 0), DONE)
    upstream.script(Answer(role(0), role(1), said("one", 0), said("two", 1), said("!", 0), *ends))
    chunks = await streamed(client, n=2)
    assert (text(chunks, 0), text(chunks, 1)) == ("one!", "two")
    choices = (await client.chat.completions.create(**ASK, n=2)).choices
    assert [(c.index, c.message.content, c.finish_reason) for c in choices] == [
        (0, "one!", "length"),
        (1, "two", "stop"),
    ]


async def test_logprobs_survive(upstream: ScriptedUpstream, client: openai.AsyncOpenAI) -> None:
    def told(token: str, logprob: float) -> dict[str, Any]:
        return {"content": [{"token": token, "logprob": logprob, "bytes": [1], "top_logprobs": []}], "refusal": None}

    upstream.script(
        Answer(role(), delta(content="a", logprobs=told("a", -0.5)), delta(content="b", logprobs=told("b", -1.5)),
               stopped(), DONE)
    )  # fmt: skip
    pieces = [chunk.choices[0].logprobs for chunk in await streamed(client, logprobs=True)]
    assert [p.content[0].logprob for p in pieces if p and p.content] == [-0.5, -1.5]
    whole = (await client.chat.completions.create(**ASK, logprobs=True)).choices[0].logprobs
    assert whole is not None
    assert [entry.token for entry in whole.content or ()] == ["a", "b"]


async def test_what_the_gateway_does_not_know_passes_in_both_directions(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    steps = (role(), delta(content="x", mood="calm"), stopped(), event(choices=[], novelty={"a": 1}), DONE)
    upstream.script(Answer(*steps))
    chunks = await streamed(client, temperature=0.5, extra_body={"cache_prompt": True, "grammar": {"deep": [1, None]}})
    asked = upstream.asked[0].body
    assert asked["temperature"] == 0.5
    assert asked["cache_prompt"] is True
    assert asked["grammar"] == {"deep": [1, None]}
    assert asked["messages"] == ASK["messages"]
    extras = [chunk.choices[0].delta.model_extra for chunk in chunks if chunk.choices]
    assert {"mood": "calm"} in extras
    assert any((chunk.model_extra or {}).get("novelty") == {"a": 1} for chunk in chunks)


async def test_the_upstream_is_asked_for_a_stream_and_its_usage_where_the_client_wants_neither(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    await client.chat.completions.create(**ASK)
    await streamed(client)
    first, second = (asked.body for asked in upstream.asked)
    assert first["stream"] is True
    assert first["stream_options"] == {"include_usage": True}
    assert "stream_options" not in second


async def test_the_key_of_an_upstream_goes_there_and_the_clients_own_does_not(upstream: ScriptedUpstream) -> None:
    async with (
        serving({"fake": upstream.url}, {"PATINOX_FAKE_KEY": "secret"}) as server,
        official(server.url) as client,
    ):
        await streamed(client)
    assert upstream.asked[0].headers["authorization"] == "Bearer secret"


async def test_a_name_before_the_model_chooses_the_upstream(upstream: ScriptedUpstream) -> None:
    async with (
        ScriptedUpstream(words("other")) as second,
        serving({"fake": upstream.url, "second": second.url}) as server,
        official(server.url) as client,
    ):
        completion = await client.chat.completions.create(model="second/a/b", messages=ASK["messages"])
    assert completion.choices[0].message.content == "other"
    assert second.asked[0].body["model"] == "a/b"
    assert upstream.asked == []


@pytest.mark.parametrize("named", [{}, {"model": "default"}, {"model": "fake"}, {"model": "fake/"}])
async def test_a_call_that_names_no_model_leaves_the_choice_to_the_upstream(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, named: Any
) -> None:
    async with http.post(server.calls, json={"messages": ASK["messages"], **named}) as answer:
        assert answer.status == 200
    assert "model" not in upstream.asked[0].body


async def test_a_call_that_names_no_model_gets_the_first_that_is_configured(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    async with (
        serving({"fake": upstream.url}, gateway__upstreams__fake__models=["a", "b"]) as server,
        http.post(server.calls, json={"messages": ASK["messages"]}) as answer,
    ):
        assert answer.status == 200
    assert upstream.asked[0].body["model"] == "a"


async def test_an_answer_ends_at_done_though_the_connection_stays_open(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    upstream.script(Answer(role(), said("x"), stopped(), DONE, stays_open=True))
    assert text(await streamed(client)) == "x"


async def test_an_upstream_connection_serves_again(upstream: ScriptedUpstream, client: openai.AsyncOpenAI) -> None:
    for _ in range(3):
        await streamed(client)
        await idle()
    assert upstream.connections == 1


async def test_usage_after_the_finish_reason_is_waited_for(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    gate = Gate()
    upstream.script(Answer(role(), said("x"), stopped(), gate, usage(1, 1), DONE))
    async with await client.chat.completions.create(
        **ASK, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = []
        async for chunk in stream:
            chunks.append(chunk)
            if chunk.choices and chunk.choices[0].finish_reason:
                gate.open()
    assert chunks[-1].usage is not None


async def test_the_models_of_all_upstreams_are_listed_the_default_first(upstream: ScriptedUpstream) -> None:
    upstream.models = ("m1", "m2")
    async with (
        ScriptedUpstream(words(), models=("n1",)) as second,
        serving({"fake": upstream.url, "second": second.url}, gateway__default_upstream="second") as server,
        official(server.url) as client,
    ):
        assert [model.id async for model in client.models.list()] == ["second/n1", "fake/m1", "fake/m2"]


async def test_a_dead_upstream_hides_no_models_of_the_others(upstream: ScriptedUpstream) -> None:
    async with (
        serving({"dead": "http://127.0.0.1:1/v1", "fake": upstream.url}) as server,
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/v1/models") as answer,
    ):
        listing = await answer.json()
    assert [model["id"] for model in listing["data"]] == ["fake/scripted"]
    assert "cannot be reached" in listing["unavailable"]["dead"]
