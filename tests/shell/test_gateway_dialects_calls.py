"""The calls beside the answer itself: what goes to the upstream, coming back to an answer, stopping it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from tests.dialects import logged, write
from tests.serving import Serving, idle, serving

from patinox.core.chunks import End, Outcome, Text
from patinox.core.events import MessageStart, RunStart
from patinox.delivery.wire import SseWire
from patinox.formats.openai_responses import OPENAI_RESPONSES
from patinox.gateway.speech import SPEECHES
from patinox.testing.upstream import CUT, Answer, Gate, ScriptedUpstream, refusal, role, said, stopped, words

KEY = {"PATINOX_FAKE_KEY": "secret"}


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream(words("Hel", "lo")) as scripted:
        yield scripted


@pytest.fixture
async def server(upstream: ScriptedUpstream) -> AsyncIterator[Serving]:
    async with serving({"fake": upstream.url}) as running:
        yield running


@pytest.fixture
async def client(server: Serving) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


def own_frames(*texts: str, response_id: str = "resp_theirs") -> bytes:
    """An answer of an upstream that speaks Responses, under an id of its own."""
    events = [RunStart(model="m", provider_id=response_id), MessageStart(), *map(Text, texts), End(Outcome.COMPLETE)]
    wire = SseWire(OPENAI_RESPONSES, ids=False, controls=False)
    body = b"".join(wire.record("", [frame]) for frame in write(OPENAI_RESPONSES, logged(events)))
    return body.replace(b"resp_s1", response_id.encode())


# ── what goes to the upstream ──

SPOKEN = {
    "openai-chat": ("/chat/completions", {"authorization": "Bearer secret"}),
    "openai-responses": ("/responses", {"authorization": "Bearer secret"}),
    "anthropic": ("/messages", {"x-api-key": "secret", "anthropic-version": "2023-06-01"}),
    "gemini": ("/models/m:streamGenerateContent?alt=sse", {"x-goog-api-key": "secret"}),
    "ollama": ("/api/chat", {"authorization": "Bearer secret", "accept": "application/x-ndjson"}),
}


@pytest.mark.parametrize("dialect", SPOKEN)
async def test_each_upstream_is_asked_on_its_own_path_with_its_own_key(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, dialect: str
) -> None:
    upstream.script(refusal(500, "no"))
    async with serving({"fake": upstream.url}, KEY, gateway__upstreams__fake__dialect=dialect) as server:
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        async with http.post(f"{server.url}/v1/messages", json=body) as answer:
            await answer.read()

    path, headers = SPOKEN[dialect]
    (asked,) = upstream.asked
    assert asked.path == f"/v1{path}"
    assert headers.items() <= asked.headers.items()
    assert ("authorization" in asked.headers) is ("authorization" in headers)


async def test_a_body_of_the_upstreams_own_dialect_goes_on_as_it_came(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    upstream.script(refusal(500, "no"))
    body = {"model": "fake/m", "max_tokens": 9, "messages": [], "never_heard_of": {"a": [1]}, "stream": False}
    headers = {"anthropic-beta": "new-thing", "anthropic-version": "2030-01-01", "x-api-key": "the client's"}
    async with (
        serving({"fake": upstream.url}, KEY, gateway__upstreams__fake__dialect="anthropic") as server,
        http.post(f"{server.url}/v1/messages?beta=true", json=body, headers=headers) as answer,
    ):
        await answer.read()

    (asked,) = upstream.asked
    assert asked.body == {**body, "model": "m", "stream": True}
    assert asked.headers["anthropic-beta"] == "new-thing"
    assert asked.headers["anthropic-version"] == "2030-01-01"
    assert asked.headers["x-api-key"] == "secret"


async def test_what_cannot_be_translated_is_400_before_anything_is_asked(
    upstream: ScriptedUpstream, server: Serving
) -> None:
    asked: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="none", max_retries=0) as client:
        with pytest.raises(anthropic.BadRequestError) as raised:
            await client.messages.create(**asked, extra_body={"top_k": 3, "container": "c"})

    assert raised.value.body == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "code": "untranslatable",
            "message": "this cannot be said in openai-chat, which the upstream speaks: container, top_k",
            "fields": ["container", "top_k"],
        },
    }
    assert upstream.asked == []
    assert not list(server.manager)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"messages": []}),
        ("/v1/messages", {"max_tokens": 0, "messages": []}),
        ("/v1/messages", {"max_tokens": 9}),
        ("/v1/responses", {}),
        ("/v1/responses", {"input": "Hi", "model": 3}),
        ("/v1/chat/completions", {"messages": [], "stream": "yes"}),
        ("/v1/messages", {"max_tokens": 9, "messages": [], "stream": 1}),
        ("/v1/responses", {"input": "Hi", "stream": "true"}),
        ("/v1/responses", {"input": "Hi", "background": "no"}),
    ],
)
async def test_a_call_that_is_none_is_400(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, path: str, body: Any
) -> None:
    async with http.post(server.url + path, json=body) as answer:
        assert answer.status == 400
        assert "error" in await answer.json()
    assert upstream.asked == []


async def test_bytes_that_are_no_utf8_in_a_refusal_are_told_as_what_they_are(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    upstream.script(Answer(b'{"error": "\xff\xfe"}', status=500, content_type="application/json"))
    async with http.post(server.calls, json={"messages": []}) as answer:
        assert answer.status == 500
        assert (await answer.json())["error"]["code"] == "upstream_refused"


LISTED = {
    "openai-chat": {"data": [{"id": "a"}, {"name": "no id"}, 3]},
    "openai-responses": {"data": [{"id": "a"}]},
    "anthropic": {"data": [{"id": "a", "type": "model"}], "has_more": False},
    "gemini": {"models": [{"name": "models/a", "version": "1"}]},
    "ollama": {"models": [{"name": "a", "model": "a"}]},
}


@pytest.mark.parametrize("dialect", LISTED)
def test_the_models_of_each_upstream_are_found_in_its_own_list(dialect: str) -> None:
    assert [model["id"] for model in SPEECHES[dialect].listed(LISTED[dialect])] == ["a"]
    assert SPEECHES[dialect].listed(["nonsense"]) == []


# ── coming back to an answer ──


async def test_an_answer_is_resumed_after_the_event_that_was_read_last(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    gate = Gate()
    upstream.script(Answer(role(), said("Hel"), gate, said("lo"), stopped(), b"data: [DONE]\n\n"))
    seen = []
    async with await client.responses.create(model="m", input="Hi", stream=True) as stream:
        async for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
    response_id = seen[0].response.id  # type: ignore[union-attr]
    gate.open()

    last = seen[-1].sequence_number
    resumed = await client.responses.retrieve(response_id, stream=True, starting_after=last)
    rest = [event async for event in resumed]

    assert [event.sequence_number for event in rest] == list(range(last + 1, last + 1 + len(rest)))
    assert [event.delta for event in rest if event.type == "response.output_text.delta"] == ["lo"]
    assert rest[-1].type == "response.completed"
    assert len(upstream.asked) == 1


async def test_an_answer_is_found_by_the_upstreams_own_id(upstream: ScriptedUpstream) -> None:
    upstream.script(Answer(own_frames("Hel", "lo")))
    async with (
        serving({"fake": upstream.url}, gateway__upstreams__fake__dialect="openai-responses") as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        events = [event async for event in await client.responses.create(model="m", input="Hi", stream=True)]
        assert events[0].response.id == "resp_theirs"  # type: ignore[union-attr]

        resumed = await client.responses.retrieve("resp_theirs", stream=True, starting_after=events[2].sequence_number)
        assert [event async for event in resumed] == events[3:]
        ours = f"resp_{server.only_stream().id}"
        await client.responses.create(model="m", input="And?", previous_response_id=ours)

    assert upstream.asked[1].body["previous_response_id"] == "resp_theirs"


@pytest.mark.parametrize("number", ["99", "-1", "x", "9" * 30])
async def test_a_number_that_no_event_has_is_400(
    server: Serving, http: aiohttp.ClientSession, client: openai.AsyncOpenAI, number: str
) -> None:
    response = await client.responses.create(model="m", input="Hi")
    async with http.get(f"{server.url}/v1/responses/{response.id}?stream=true&starting_after={number}") as answer:
        assert answer.status == 400


async def test_an_answer_is_told_as_it_stands(upstream: ScriptedUpstream, client: openai.AsyncOpenAI) -> None:
    gate = Gate()
    upstream.script(Answer(role(), said("Hel"), gate, said("lo"), stopped(), b"data: [DONE]\n\n"))
    begun = await client.responses.create(model="m", input="Hi", background=True)
    assert begun.status == "in_progress"
    await gate.reached()

    running = await client.responses.retrieve(begun.id)
    assert running.status == "in_progress"
    gate.open()
    await idle()

    done = await client.responses.retrieve(begun.id)
    assert (done.status, done.output_text) == ("completed", "Hello")


async def test_an_answer_that_was_cut_off_is_told_as_failed(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    upstream.script(Answer(role(), said("Hel"), CUT))
    begun = await client.responses.create(model="m", input="Hi", background=True)
    await idle()

    failed = await client.responses.retrieve(begun.id)

    assert failed.status == "failed"
    assert failed.error is not None


async def test_an_answer_is_stopped_and_so_is_the_upstream(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    gate = Gate()
    upstream.script(Answer(role(), said("Hel"), gate))
    begun = await client.responses.create(model="m", input="Hi", background=True)
    await gate.reached()

    stopped_ = await client.responses.cancel(begun.id)

    assert stopped_.status == "cancelled"
    await upstream.asked[0].hung_up.wait()
    assert (await client.responses.cancel(begun.id)).status == "cancelled"


async def test_an_answer_that_nobody_knows_is_404(client: openai.AsyncOpenAI) -> None:
    for unknown in ("resp_none", "none"):
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(unknown)
    with pytest.raises(openai.NotFoundError):
        await client.responses.cancel("resp_none")


# ── what all three calls have in common ──

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
}


@pytest.mark.parametrize("path", BODIES)
async def test_a_retry_under_the_same_stream_id_is_not_asked_again(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, path: str
) -> None:
    headers = {"Patinox-Stream-Id": "mine"}
    for _ in range(2):
        async with http.post(server.url + path, json={**BODIES[path], "stream": True}, headers=headers) as answer:
            assert answer.headers["Patinox-Stream-Id"] == "mine"
            assert b"lo" in await answer.read()
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("path", BODIES)
async def test_a_detached_call_answers_at_once_and_goes_on(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, path: str
) -> None:
    gate = Gate()
    upstream.script(Answer(role(), gate, said("Hello"), stopped(), b"data: [DONE]\n\n"))
    async with http.post(f"{server.url}{path}?detached=true", json=BODIES[path]) as answer:
        assert answer.status == 202
        assert answer.headers["Location"] == f"/v1/streams/{(await answer.json())['id']}"
    gate.open()
    await idle()
    assert server.only_stream().assembly.content == "Hello"


@pytest.mark.parametrize("path", BODIES)
async def test_an_abandoned_call_is_cancelled_where_that_was_asked_for(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, path: str
) -> None:
    gate = Gate()
    upstream.script(Answer(role(), said("Hel"), gate))
    headers = {"Patinox-On-Abandon": "cancel_after=1ms"}
    async with http.post(server.url + path, json={**BODIES[path], "stream": True}, headers=headers) as answer:
        await answer.content.readany()
        await gate.reached()
    await upstream.asked[0].hung_up.wait()
    await idle()
    assert server.only_stream().feed.outcome is Outcome.CANCELLED


@pytest.mark.parametrize("path", BODIES)
async def test_an_answer_may_be_read_on_in_another_dialect(
    server: Serving, http: aiohttp.ClientSession, path: str
) -> None:
    async with http.post(server.url + path, json={**BODIES[path], "stream": True}) as answer:
        stream_id = answer.headers["Patinox-Stream-Id"]
    async with http.get(f"{server.url}/v1/responses/resp_{stream_id}") as answer:
        told = await answer.json()
    assert told["status"] == "completed"
    assert told["output"][0]["content"][0]["text"] == "Hello"
