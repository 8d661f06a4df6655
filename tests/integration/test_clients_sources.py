"""The official clients' streams as sources: what a client hears of a recording is relayed into a log of our own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import ollama
import openai
import pytest
from google import genai
from google.genai import types as genai_types
from tests.live_server import live
from tests.recordings import recorded

from patinox import StreamingConfig, StreamManager
from patinox.manager import ActiveStream
from patinox.testing.replay import ReplayApp, replay_app

ASK: Any = {"model": "m", "messages": []}


@asynccontextmanager
async def chat(url: str) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        yield client.chat.completions.create(**ASK, stream=True)


@asynccontextmanager
async def responses(url: str) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        yield client.responses.create(model="m", input="?", stream=True)


@asynccontextmanager
async def messages(url: str) -> AsyncIterator[Any]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none") as client:
        yield client.messages.create(**ASK, max_tokens=9, stream=True)


@asynccontextmanager
async def messages_helper(url: str) -> AsyncIterator[Any]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none") as client:
        yield client.messages.stream(**ASK, max_tokens=9)


@asynccontextmanager
async def chat_helper(url: str) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        yield client.chat.completions.stream(**ASK)


@asynccontextmanager
async def responses_helper(url: str) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        yield client.responses.stream(model="m", input="?")


@asynccontextmanager
async def gemini(url: str) -> AsyncIterator[Any]:
    async with httpx2.AsyncClient() as http:
        options = genai_types.HttpOptions(base_url=url, api_version="v1beta", httpx_async_client=http)
        client = genai.Client(api_key="none", http_options=options)
        yield client.aio.models.generate_content_stream(model="m", contents="?")
        client.close()


@asynccontextmanager
async def lines(url: str) -> AsyncIterator[Any]:
    client = ollama.AsyncClient(host=url)
    yield client.chat(**ASK, stream=True)
    await client._client.aclose()


CASES: list[tuple[str, Callable[[str], Any]]] = [
    ("openai-chat", chat),
    ("openai-chat", chat_helper),
    ("openai-responses", responses),
    ("openai-responses", responses_helper),
    ("anthropic", messages),
    ("anthropic", messages_helper),
    ("gemini", gemini),
    ("openai-chat", lines),
]
PARAMS = [
    pytest.param(source, dialect, *param.values, id=f"{source.__name__}-{param.id}", marks=param.marks)
    for dialect, source in CASES
    for param in recorded(dialect, max_bytes=20_000)[:5]
]


def told(stream: ActiveStream) -> tuple[Any, ...]:
    """Text, calls, usage and outcome."""
    assembly = stream.assembly
    calls = [
        (block.name, block.call_id, block.arguments) for block in assembly.blocks.values() if block.kind == "tool_call"
    ]
    usage = assembly.usage or {}
    return assembly.content, calls, usage.get("output_tokens"), stream.feed.outcome


async def relayed(source: Any, manager: StreamManager) -> ActiveStream:
    stream = await manager.relay(source)
    async for _ in stream.subscribe():
        pass
    return stream


@pytest.mark.parametrize(("source", "dialect", "path"), PARAMS)
async def test_a_clients_stream_is_relayed_whole(source: Callable[[str], Any], dialect: str, path: Path) -> None:
    app: ReplayApp = replay_app(content(path), format=dialect)
    async with app, live(app) as port, StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
        async with source(f"http://127.0.0.1:{port}") as items:
            stream = await relayed(items, manager)

        if app.stream.feed.went_wrong:
            assert stream.feed.went_wrong
        elif source is lines:  # whose calls have no ids
            assert told(stream)[0] == told(app.stream)[0]
        else:
            assert told(stream) == told(app.stream)


def content(path: Path) -> bytes:
    """A recording's bytes."""
    return path.read_bytes()
