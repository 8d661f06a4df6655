"""The embedded model itself: llama.cpp over SmolLM2, skipped where its packages are missing."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from patinox.gateway.local_model import LocalModel
from patinox.gateway.supervisor import SupervisorState

pytestmark = [
    pytest.mark.model,
    pytest.mark.xdist_group("model"),  # two at a time would fight for the cores
    pytest.mark.skipif(LocalModel.available() is not None, reason=str(LocalModel.available())),
]

MORE_THAN_A_TEST_WAITS_FOR = 3500  # tokens


States = asyncio.Queue[SupervisorState]


@pytest.fixture
def states() -> States:
    return asyncio.Queue()


@pytest.fixture
async def model(states: States) -> AsyncIterator[LocalModel]:
    async with LocalModel(on_state=states.put_nowait) as model:
        await model.wait_ready()
        yield model


@pytest.fixture
async def client(model: LocalModel) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(headers=model.headers, connector=connector) as client:
        yield client


def request(max_tokens: int, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Tell me about the sea."}]
    return {"messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": True, **more}


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    """The JSON of each `data:` line up to `[DONE]`, which has to come."""
    async for line in answer.content:
        if line == b"data: [DONE]\n":
            return
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))
    pytest.fail("the stream ended without [DONE]")


async def ask(model: LocalModel, client: aiohttp.ClientSession, **more: Any) -> list[Any]:
    async with client.post(f"{model.base_url}/chat/completions", json=request(16, **more)) as answer:
        assert answer.status == 200
        return [event async for event in events(answer)]


async def longest_sequence_tokens(model: LocalModel, client: aiohttp.ClientSession) -> int:
    async with client.get(model.base_url.removesuffix("/v1") + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("llamacpp:n_tokens_max "))


async def test_it_streams_an_answer_and_its_usage(model: LocalModel, client: aiohttp.ClientSession) -> None:
    heard = await ask(model, client, stream_options={"include_usage": True})
    choices = [event["choices"][0] for event in heard if event["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices).strip()
    assert choices[-1]["finish_reason"] == "length"
    assert heard[-1]["usage"]["completion_tokens"] == 16


async def test_it_serves_its_one_model_under_its_name(model: LocalModel, client: aiohttp.ClientSession) -> None:
    async with client.get(f"{model.base_url}/models") as answer:
        assert [entry["id"] for entry in (await answer.json())["data"]] == [model.model_id]


async def test_it_answers_nobody_without_the_key(model: LocalModel) -> None:
    async with (
        aiohttp.ClientSession() as stranger,
        stranger.post(f"{model.base_url}/chat/completions", json=request(1)) as answer,
    ):
        assert answer.status == 401


async def test_it_stops_when_the_stream_is_closed(model: LocalModel, client: aiohttp.ClientSession) -> None:
    endless = request(MORE_THAN_A_TEST_WAITS_FOR, ignore_eos=True)
    async with client.post(f"{model.base_url}/chat/completions", json=endless) as answer:
        await anext(events(answer))
        assert (await model.activity()).processing == 1
    while (await model.activity()).processing:
        pass
    assert await longest_sequence_tokens(model, client) < MORE_THAN_A_TEST_WAITS_FOR


async def test_it_answers_again_after_a_crash(model: LocalModel, client: aiohttp.ClientSession, states: States) -> None:
    endless = request(MORE_THAN_A_TEST_WAITS_FOR, ignore_eos=True)
    pid = model.stats().pid
    assert pid is not None
    async with client.post(f"{model.base_url}/chat/completions", json=endless) as answer:
        await anext(events(answer))
        os.kill(pid, signal.SIGSEGV)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    while await states.get() is not SupervisorState.RESTARTING:
        pass
    await model.wait_ready()
    assert await ask(model, client)
