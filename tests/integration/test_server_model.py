"""The whole way with a real model: llama.cpp → gateway → log → readers that are cut off at every event."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.serving import Serving, official, serving

from patinox.gateway.local_model import LocalModel

pytestmark = [
    pytest.mark.model,
    pytest.mark.xdist_group("model"),  # two at a time would fight for the cores
    pytest.mark.skipif(LocalModel.available() is not None, reason=str(LocalModel.available())),
]

PROMPT: Any = [{"role": "user", "content": "Tell me about the sea."}]
SHORT: Any = {"messages": PROMPT, "max_tokens": 24, "temperature": 0}
ENDLESS: Any = {"messages": PROMPT, "max_tokens": 3500, "ignore_eos": True}


@pytest.fixture
async def model() -> AsyncIterator[LocalModel]:
    async with LocalModel() as model:
        await model.wait_ready()
        yield model


@pytest.fixture
async def live(model: LocalModel) -> AsyncIterator[Serving]:
    async with serving({}, local=model) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        yield session


async def ask(server: Serving, http: aiohttp.ClientSession, body: Any) -> str:
    """The URL of a new answer that runs by itself."""
    async with http.post(f"{server.calls}?detached=true", json=body) as answer:
        assert answer.status == 202
        return f"{server.url}/v1/streams/{(await answer.json())['id']}"


class Wire:
    """Cuts the bytes of a native reader into events: their ids, and which are of the log."""

    def __init__(self, accept: str, separator: bytes) -> None:
        self.accept = accept
        self.separator = separator

    async def read(
        self, http: aiohttp.ClientSession, url: str, after: str = "", most: int = sys.maxsize
    ) -> list[bytes]:
        """The log's events after an id, up to the end, or so many and then the connection is dropped."""
        headers = {"Accept": self.accept, **({"Last-Event-ID": after} if after else {})}
        events: list[bytes] = []
        async with http.get(url, headers=headers) as answer:
            while answer.status != 204 and len(events) < most:
                event = await answer.content.readuntil(self.separator)
                if not event:
                    return events
                if self.is_record(event):
                    events.append(event)
        return events

    def is_record(self, event: bytes) -> bool:
        return b"position" not in event and not event.startswith((b"retry:", b":"))

    def id_of(self, event: bytes) -> str:
        raise NotImplementedError


class Sse(Wire):
    def id_of(self, event: bytes) -> str:
        return event.split(b"\n", 1)[0].removeprefix(b"id: ").decode()


class Lines(Wire):
    def id_of(self, event: bytes) -> str:
        return event.split(b'"', 4)[3].decode()


@pytest.mark.parametrize(
    "wire", [Sse("text/event-stream", b"\n\n"), Lines("application/x-ndjson", b"\n")], ids=["SSE", "NDJSON"]
)
async def test_cut_at_every_event_the_joined_events_are_the_uninterrupted_ones(
    live: Serving, http: aiohttp.ClientSession, wire: Wire
) -> None:
    url = await ask(live, http, SHORT)

    async def cut_after(count: int) -> list[bytes]:
        before = await wire.read(http, url, most=count)
        return before + await wire.read(http, url, after=wire.id_of(before[-1]))

    whole = asyncio.ensure_future(wire.read(http, url))
    early = await asyncio.gather(*(cut_after(count) for count in range(1, 20)))  # while the model speaks
    uninterrupted = await whole
    late = await asyncio.gather(*(cut_after(count) for count in range(1, len(uninterrupted) + 1)))
    assert len(uninterrupted) > 24
    for joined in (*early, *late):
        assert b"".join(joined) == b"".join(uninterrupted)


async def test_the_official_client_streams_an_answer_and_its_usage(live: Serving) -> None:
    text, usage, reasons = "", None, []
    async with (
        official(live.url) as client,
        await client.chat.completions.create(
            model="local", messages=PROMPT, max_tokens=24, stream=True, stream_options={"include_usage": True}
        ) as stream,
    ):
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
    assert text.strip()
    assert reasons == ["length"]
    assert usage is not None
    assert usage.completion_tokens == 24


async def test_stop_stops_the_model(live: Serving, model: LocalModel, http: aiohttp.ClientSession) -> None:
    url = await ask(live, http, ENDLESS)
    await Sse("text/event-stream", b"\n\n").read(http, url, most=5)
    assert (await model.activity()).processing == 1
    async with http.post(f"{url}/cancel", json={}) as answer:
        assert (await answer.json())["state"] == "cancelled"
    while (await model.activity()).processing:  # it sees that its client is gone when it next writes
        pass


async def test_nobody_left_stops_the_model_where_the_call_asked_for_that(
    live: Serving, model: LocalModel, http: aiohttp.ClientSession
) -> None:
    headers = {"Patinox-On-Abandon": "cancel_after=10ms"}
    async with http.post(live.calls, json={**ENDLESS, "stream": True}, headers=headers) as answer:
        await answer.content.readuntil(b"content")
        stream_id = answer.headers["Patinox-Stream-Id"]
    while (await model.activity()).processing:
        pass
    assert live.manager.get(stream_id).state == "cancelled"
