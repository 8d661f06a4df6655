"""One request to an upstream, read as it comes: what the exchange above it relies on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from patinox.config import Config
from patinox.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from patinox.gateway.client import UpstreamClient
from patinox.gateway.upstreams import Upstream, configured
from patinox.testing.upstream import Answer, Gate, ScriptedUpstream, said, words

IDLE_S = 0.02


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream(words("Hi")) as upstream:
        yield upstream


@pytest.fixture
def config(scripted: ScriptedUpstream) -> Config:
    return Config.load(overrides={"gateway.upstreams.fake.url": scripted.url, "gateway.idle_timeout": "20ms"})


@pytest.fixture
async def client(config: Config) -> AsyncIterator[UpstreamClient]:
    async with UpstreamClient(config.gateway) as made:
        yield made


@pytest.fixture
def upstream(config: Config) -> Upstream:
    (only,) = configured(config, {}, None)
    return only


async def test_nothing_is_sent_before_somebody_listens(
    scripted: ScriptedUpstream, client: UpstreamClient, upstream: Upstream
) -> None:
    answer = client.ask(upstream, "/chat/completions", {})
    await answer.aclose()
    assert scripted.connections == 0


async def test_a_reader_that_takes_its_time_is_no_silence_of_the_upstream(
    scripted: ScriptedUpstream, client: UpstreamClient, upstream: Upstream
) -> None:
    gate, open_end = Gate(), Gate()
    scripted.script(Answer(said("a"), gate, said("b"), open_end))
    answer = client.ask(upstream, "/chat/completions", {})
    assert await anext(answer) == said("a")
    await asyncio.sleep(3 * IDLE_S)  # it is time itself that must not matter
    gate.open()
    await open_end.reached()
    assert await anext(answer) == said("b")
    with pytest.raises(UpstreamTimeout, match="silent for too long"):
        await anext(answer)
    await answer.aclose()
    await scripted.asked[0].hung_up.wait()


async def test_closing_hangs_up_while_somebody_waits_for_the_head(
    scripted: ScriptedUpstream, client: UpstreamClient, upstream: Upstream
) -> None:
    gate = Gate()
    scripted.script(Answer(gate))
    answer = client.ask(upstream, "/chat/completions", {})
    waiting = asyncio.ensure_future(anext(answer))
    await gate.reached()
    waiting.cancel()
    await scripted.asked[0].hung_up.wait()
    await answer.aclose()


@pytest.mark.parametrize("listing", [b"{nonsense", b"[]", b'{"data": 7}', b'{"data": [7, {"id": 7}]}'])
async def test_a_listing_that_is_none_lists_nothing_or_is_an_error(
    client: UpstreamClient, upstream: Upstream, listing: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answered(content: Any, max_bytes: int) -> bytes:
        return listing

    monkeypatch.setattr("patinox.gateway.client._up_to", answered)
    if listing == b"{nonsense":
        with pytest.raises(UpstreamError):
            await client.list_models(upstream)
    else:
        assert await client.list_models(upstream) == []


async def test_an_upstream_that_does_not_list_its_models_in_time_is_not_waited_for(client: UpstreamClient) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        config = Config.load(overrides={"gateway.upstreams.deaf.url": f"http://127.0.0.1:{port}"})
        (upstream,) = configured(config, {}, None)
        with pytest.raises(UpstreamTimeout):
            await client.list_models(upstream, timeout_s=0.02)


async def test_it_is_used_within_its_context(config: Config, upstream: Upstream) -> None:
    client = UpstreamClient(config.gateway)
    with pytest.raises(RuntimeError, match="async with"):
        client.ask(upstream, "/chat/completions", {})


async def test_a_host_nobody_knows_is_unavailable_and_says_why(client: UpstreamClient) -> None:
    config = Config.load(overrides={"gateway.upstreams.lost.url": "http://nosuch.invalid/v1"})
    (upstream,) = configured(config, {}, None)
    with pytest.raises(UpstreamUnavailable, match=r"lost cannot be reached: \w"):
        await anext(client.ask(upstream, "/chat/completions", {}))
