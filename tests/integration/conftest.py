"""A scripted upstream, a server in front of it, and OpenAI's own client in front of that."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest
from tests.serving import Serving, official, serving

from patinox.testing.upstream import ScriptedUpstream, words


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
    async with official(server.url) as made:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain client, a connection a request: what it leaves, it has left."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session
