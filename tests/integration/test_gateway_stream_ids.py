"""`Patinox-Stream-Id`, `Patinox-On-Abandon`, `?detached=true` and cancelling: one answer, whoever comes and goes."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import openai
import pytest
from tests.serving import ASK, Serving, idle, serving

from patinox.core.chunks import Error
from patinox.testing.upstream import CUT, DONE, Answer, Gate, ScriptedUpstream, refusal, role, said, stopped, words

STREAMED = {**ASK, "stream": True}
ID = "my-answer"
NAMED = {"Patinox-Stream-Id": ID}
BOTH = pytest.mark.parametrize("call", [ASK, STREAMED], ids=["whole", "streamed"])


async def text(server: Serving, http: aiohttp.ClientSession, stream: str = ID) -> str:
    """The live text of a stream, to its end."""
    async with http.get(f"{server.url}/v1/streams/{stream}", headers={"Accept": "text/plain"}) as answer:
        return await answer.text()


async def cancel(server: Serving, http: aiohttp.ClientSession, stream: str = ID) -> Any:
    async with http.post(f"{server.url}/v1/streams/{stream}/cancel", json={"reason": "enough"}) as answer:
        assert answer.status == 200
        return await answer.json()


async def said_by(client: openai.AsyncOpenAI, *, stream: bool, stream_id: str = ID) -> str:
    """The text that OpenAI's client gets under an id."""
    named = {"Patinox-Stream-Id": stream_id}
    if not stream:
        completion = await client.chat.completions.create(**ASK, extra_headers=named)
        return completion.choices[0].message.content or ""
    async with await client.chat.completions.create(**ASK, stream=True, extra_headers=named) as chunks:
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])


# ── attaching ──


@pytest.mark.parametrize("first", [True, False], ids=["streamed first", "whole first"])
@pytest.mark.parametrize("second", [True, False], ids=["then streamed", "then whole"])
async def test_a_retry_attaches_and_the_upstream_is_asked_once(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI, first: bool, second: bool
) -> None:
    assert await said_by(client, stream=first) == "Hello"
    assert await said_by(client, stream=second) == "Hello"
    assert len(upstream.asked) == 1


async def test_two_calls_at_the_same_time_ask_once(upstream: ScriptedUpstream, client: openai.AsyncOpenAI) -> None:
    gate = Gate()
    upstream.script(Answer(gate, role(), said("Hello"), stopped(), DONE))
    calls = asyncio.gather(*(said_by(client, stream=stream) for stream in (True, False, True)))
    await gate.reached()
    gate.open()
    assert await calls == ["Hello"] * 3
    assert len(upstream.asked) == 1


async def test_a_retry_in_the_middle_gets_what_was_said_and_what_is_still_to_come(
    upstream: ScriptedUpstream, server: Serving, client: openai.AsyncOpenAI, http: aiohttp.ClientSession
) -> None:
    gate = Gate()
    upstream.script(Answer(role(), said("Hel"), gate, said("lo"), stopped(), DONE))
    async with http.post(server.calls, json=STREAMED, headers=NAMED) as first:
        await first.content.readuntil(b"Hel")
    retry = asyncio.ensure_future(said_by(client, stream=True))
    gate.open()
    assert await retry == "Hello"
    assert len(upstream.asked) == 1


@BOTH
async def test_the_answer_names_its_stream(server: Serving, http: aiohttp.ClientSession, call: Any) -> None:
    async with http.post(server.calls, json=call) as answer:
        stream_id = answer.headers["Patinox-Stream-Id"]
        await answer.read()
    assert len(stream_id) >= 22
    assert await text(server, http, stream_id) == "Hello"


async def test_an_id_that_was_refused_is_free_again(
    upstream: ScriptedUpstream, server: Serving, client: openai.AsyncOpenAI, http: aiohttp.ClientSession
) -> None:
    upstream.script(refusal(500, {"message": "No."}), words("fine"))
    with pytest.raises(openai.InternalServerError):
        await said_by(client, stream=True)
    async with http.get(f"{server.url}/v1/streams/{ID}") as answer:
        assert answer.status == 404
    assert await said_by(client, stream=True) == "fine"


async def test_everybody_who_waits_for_a_refused_call_is_told_and_the_id_is_free(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    gate = Gate()
    upstream.script(Answer(gate, CUT), words("fine"))
    calls = asyncio.gather(*(said_by(client, stream=True) for _ in range(3)), return_exceptions=True)
    await gate.reached()
    gate.open()
    statuses = [error.status_code for error in await calls if isinstance(error, openai.APIStatusError)]
    assert statuses == [502, 502, 502]
    assert await said_by(client, stream=True) == "fine"


async def test_a_retry_asks_again_where_nobody_was_there_to_be_told_of_the_refusal(
    upstream: ScriptedUpstream, server: Serving, client: openai.AsyncOpenAI, http: aiohttp.ClientSession
) -> None:
    gate = Gate()
    upstream.script(Answer(gate, CUT), words("fine"))
    call = asyncio.ensure_future(http.post(server.calls, json=STREAMED, headers=NAMED))
    await gate.reached()
    call.cancel()
    gate.open()
    await idle()
    assert await said_by(client, stream=True) == "fine"


@BOTH
async def test_a_retry_of_a_broken_answer_gets_the_broken_answer(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI, call: Any
) -> None:
    upstream.script(Answer(role(), said("Hel"), CUT), words("never asked for"))
    for _ in range(2):
        with pytest.raises(openai.APIError):
            await said_by(client, stream="stream" in call)
    assert len(upstream.asked) == 1


# ── detached ──


async def test_a_detached_call_is_answered_at_once_and_runs_on(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    gate = Gate()
    upstream.script(Answer(gate, role(), said("Hello"), stopped(), DONE))
    async with http.post(f"{server.calls}?detached=true", json=ASK, headers=NAMED) as answer:
        assert answer.status == 202
        assert answer.headers["Location"] == f"/v1/streams/{ID}"
        told = await answer.json()
    assert (told["id"], told["state"], told["metadata"]) == (ID, "open", {"model": "scripted", "upstream": "fake"})
    gate.open()
    assert await text(server, http) == "Hello"


async def test_a_detached_call_has_its_usage_in_the_log(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    async with http.post(f"{server.calls}?detached=true", json=ASK, headers=NAMED):
        assert (await upstream.request()).body["stream_options"] == {"include_usage": True}
    await text(server, http)
    assert server.only_stream().snapshot()["usage"]["total_tokens"] == 9


async def test_what_goes_wrong_with_a_detached_call_ends_its_log(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    upstream.script(refusal(429, {"message": "Slow down.", "code": "rate_limit"}))
    async with http.post(f"{server.calls}?detached=true", json=ASK, headers=NAMED) as answer:
        assert answer.status == 202
    (last,) = [chunk async for chunk in server.manager.subscribe(ID)]
    assert isinstance(last.data, Error)
    assert (last.data.status, last.data.provider) == (429, {"message": "Slow down.", "code": "rate_limit"})
    assert server.only_stream().state == "failed"


async def test_a_detached_call_for_a_model_that_is_not_there_is_refused_at_once(http: aiohttp.ClientSession) -> None:
    async with serving({}) as server, http.post(f"{server.calls}?detached=true", json=ASK) as answer:
        assert answer.status == 503


# ── leaving ──


async def test_who_leaves_before_the_first_token_leaves_the_answer_running(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    gate = Gate()
    upstream.script(Answer(gate, role(), said("Hello"), stopped(), DONE))
    call = asyncio.ensure_future(http.post(server.calls, json=STREAMED, headers=NAMED))
    await gate.reached()
    call.cancel()
    await readers(server, 0)
    gate.open()
    assert await text(server, http) == "Hello"
    assert not upstream.asked[0].hung_up.is_set()


async def test_who_leaves_in_the_middle_leaves_the_answer_running(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    gate = Gate()
    upstream.script(Answer(role(), said("Hel"), gate, said("lo"), stopped(), DONE))
    async with http.post(server.calls, json=STREAMED, headers=NAMED) as answer:
        await answer.content.readuntil(b"Hel")
    await readers(server, 0)
    gate.open()
    assert await text(server, http) == "Hello"


@pytest.mark.parametrize("steps", [(), (role(), said("Hel"))], ids=["before the first token", "after it"])
async def test_an_abandoned_answer_is_stopped_where_the_call_asked_for_that(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, steps: tuple[bytes, ...]
) -> None:
    gate = Gate()
    upstream.script(Answer(*steps, gate))
    headers = {**NAMED, "Patinox-On-Abandon": "cancel_after=10ms"}
    call = asyncio.ensure_future(http.post(server.calls, json=STREAMED, headers=headers))
    await gate.reached()
    if steps:
        (await call).close()
    call.cancel()
    await upstream.asked[0].hung_up.wait()
    assert server.only_stream().state == "cancelled"


async def test_an_answer_that_is_watched_is_not_abandoned(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    gate = Gate()
    upstream.script(Answer(role(), said("Hel"), gate, said("lo"), stopped(), DONE))
    headers = {**NAMED, "Patinox-On-Abandon": "cancel_after=10ms"}
    async with http.post(server.calls, json=STREAMED, headers=headers) as answer:
        await answer.content.readuntil(b"Hel")
        watching = server.manager.subscribe(ID)  # a reader of another kind counts as well
    async with watching:
        await readers(server, 1)
        gate.open()
        async for _ in watching:
            pass
    assert server.only_stream().state == "complete"


async def readers(server: Serving, count: int) -> None:
    """Waits until the only stream has so many readers."""
    while server.only_stream().feed.readers != count:  # noqa: ASYNC110
        await asyncio.sleep(0)  # nothing tells who has left: the event loop is given its turns until it is seen


# ── stopping ──


@BOTH
async def test_a_call_that_is_stopped_before_its_first_token_hangs_up_and_stays_stopped(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, call: Any
) -> None:
    gate = Gate()
    upstream.script(Answer(gate), words("never asked for"))
    asking = asyncio.ensure_future(http.post(server.calls, json=call, headers=NAMED))
    await gate.reached()
    assert (await cancel(server, http))["state"] == "cancelled"
    await upstream.asked[0].hung_up.wait()
    async with await asking as answer:
        assert answer.status == 409
        assert answer.headers["x-should-retry"] == "false"
        assert (await answer.json())["error"]["code"] == "cancelled"
    async with http.post(server.calls, json=call, headers=NAMED) as retry:
        assert retry.status == 409
    assert len(upstream.asked) == 1


async def test_a_call_that_is_stopped_after_its_first_token_hangs_up_and_tells_its_reader(
    upstream: ScriptedUpstream, server: Serving, client: openai.AsyncOpenAI, http: aiohttp.ClientSession
) -> None:
    gate = Gate()
    upstream.script(Answer(role(), said("Hel"), gate))
    told = ""
    async with await client.chat.completions.create(**ASK, stream=True, extra_headers=NAMED) as stream:
        while told != "Hel":
            told += (await anext(stream)).choices[0].delta.content or ""
        await cancel(server, http)
        with pytest.raises(openai.APIError) as raised:
            await anext(stream)
    await upstream.asked[0].hung_up.wait()
    assert raised.value.code == "cancelled"
    assert server.only_stream().state == "cancelled"
    assert server.only_stream().snapshot().get("usage") is None


async def test_a_whole_call_that_is_stopped_in_the_middle_is_409_and_not_tried_again(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    gate = Gate()
    upstream.script(Answer(role(), said("Hel"), gate))
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=2) as retrying:
        asking = asyncio.ensure_future(retrying.chat.completions.create(**ASK, extra_headers=NAMED))
        await gate.reached()
        await cancel(server, http)
        with pytest.raises(openai.ConflictError):
            await asking
    assert len(upstream.asked) == 1


async def test_stopping_twice_is_stopping_once(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    upstream.script(Answer(role(), Gate()))
    async with http.post(f"{server.calls}?detached=true", json=ASK, headers=NAMED):
        await upstream.request()
    first, second = await cancel(server, http), await cancel(server, http)
    assert first["position"] == second["position"]


async def test_deleting_hangs_up_as_well(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    upstream.script(Answer(role(), Gate()))
    async with http.post(f"{server.calls}?detached=true", json=ASK, headers=NAMED):
        asked = await upstream.request()
    async with http.delete(f"{server.url}/v1/streams/{ID}") as answer:
        assert answer.status == 204
    await asked.hung_up.wait()
