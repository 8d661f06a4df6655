"""The fake upstream itself: it says what it was told, and sees who hangs up."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from patinox.testing.upstream import CUT, DONE, Answer, Cut, Gate, ScriptedUpstream, refusal, said, words


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream(words("Hi")) as scripted:
        yield scripted


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def calls(upstream: ScriptedUpstream) -> str:
    return f"{upstream.url}/chat/completions"


async def test_answers_are_taken_in_turn_and_the_last_one_stays(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    upstream.script(refusal(429, {"message": "No."}, Retry_After="3"), Answer(said("x"), DONE))
    async with http.post(calls(upstream), json={"n": 1}) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
        assert await answer.json() == {"error": {"message": "No."}}
    for _ in range(2):
        async with http.post(calls(upstream), json={"n": 2}) as answer:
            assert await answer.read() == said("x") + DONE
    assert [asked.body["n"] for asked in upstream.asked] == [1, 2, 2]
    assert upstream.connections == 1


async def test_a_gate_holds_the_answer_and_the_one_who_hangs_up_is_seen(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    gate = Gate()
    upstream.script(Answer(said("x"), gate, said("never")))
    answer = await http.post(calls(upstream), json={})
    await gate.reached()
    assert await answer.content.readuntil(b"\n\n") == said("x")
    asked = await upstream.request()
    assert not asked.hung_up.is_set()
    answer.close()
    await asked.hung_up.wait()
    assert not asked.answered.is_set()


async def test_an_open_gate_lets_everything_through(upstream: ScriptedUpstream, http: aiohttp.ClientSession) -> None:
    gate = Gate()
    gate.open()
    upstream.script(Answer(gate, said("x"), gate, DONE))
    async with http.post(calls(upstream), json={}) as answer:
        assert await answer.read() == said("x") + DONE
    await upstream.asked[0].answered.wait()


@pytest.mark.parametrize("cut", [CUT, Cut(gently=True)], ids=["RST", "FIN"])
async def test_a_cut_in_the_body_is_seen_by_the_client(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, cut: Cut
) -> None:
    upstream.script(Answer(said("x"), cut))
    answer = await http.post(calls(upstream), json={})
    with pytest.raises(aiohttp.ClientError):
        await answer.read()


@pytest.mark.parametrize("cut", [CUT, Cut(gently=True)], ids=["RST", "FIN"])
async def test_a_cut_before_the_head_is_no_answer_at_all(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, cut: Cut
) -> None:
    upstream.script(Answer(cut))
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.post(calls(upstream), json={})


async def test_its_models_are_listed_and_listing_is_not_asking(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    upstream.models = ("a", "b")
    async with http.get(f"{upstream.url}/models") as answer:
        assert [model["id"] for model in (await answer.json())["data"]] == ["a", "b"]
    assert upstream.asked == []
