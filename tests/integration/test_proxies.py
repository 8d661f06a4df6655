"""Streams through the real nginx, HAProxy and Caddy, each configured as its how-to says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.proxies import NAME, PROXIES, Before, Proxy, before
from tests.readers import when_left
from tests.serving import Serving, serving

pytestmark = pytest.mark.server

NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture(params=PROXIES, ids=lambda proxy: proxy.program)
def proxy(request: pytest.FixtureRequest) -> Proxy:
    made: Proxy = request.param
    if made.where is None:
        pytest.skip(f"{made.program} is not installed")
    return made


@pytest.fixture
async def server() -> AsyncIterator[Serving]:
    async with serving({}, server__allowed_hosts=[NAME], streaming__sse__heartbeat_interval="200ms") as server:
        yield server


@pytest.fixture
async def public(proxy: Proxy, server: Serving, tmp_path: Path) -> AsyncIterator[Before]:
    async with before(server.port, proxy, tmp_path / "proxy") as public:
        yield public


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that calls whatever it asks by the name in the pages."""
    async with aiohttp.ClientSession(headers={"host": NAME}) as http:
        yield http


async def block_with(answer: aiohttp.ClientResponse, wanted: bytes) -> bytes:
    """Reads on to the first block that has these bytes."""
    while wanted not in (block := await answer.content.readuntil(b"\n\n")):
        pass
    return block


def id_of(block: bytes) -> str:
    (found,) = (line[4:] for line in block.decode().splitlines() if line.startswith("id: "))
    return found


async def test_each_chunk_arrives_before_the_next_is_sent(public: Before, http: aiohttp.ClientSession) -> None:
    async with http.post(f"{public.url}/v1/streams", json={"id": "s"}) as made:
        assert made.status == 201
    async with http.get(f"{public.url}/v1/streams/s", headers={"accept": "text/event-stream"}) as reader:
        for k in range(5):
            text = {"content-type": "text/plain"}
            async with http.post(f"{public.url}/v1/streams/s/chunks", data=f"token {k}", headers=text) as pushed:
                assert pushed.status == 200
            assert f'"token {k}"'.encode() in await block_with(reader, b"event: text")


async def test_each_line_of_a_producer_arrives_before_it_sends_the_next(
    public: Before, http: aiohttp.ClientSession
) -> None:
    async with http.post(f"{public.url}/v1/streams", json={"id": "s"}) as made:
        assert made.status == 201
    arrived = asyncio.Semaphore(0)
    sent = 0

    async def lines() -> AsyncIterator[bytes]:
        nonlocal sent
        for sent in range(1, 4):
            yield json.dumps(f"line {sent}").encode() + b"\n"
            await arrived.acquire()

    push = asyncio.ensure_future(
        http.post(f"{public.url}/v1/streams/s/chunks?final=true", data=lines(), headers=NDJSON)
    )
    async with http.get(f"{public.url}/v1/streams/s", headers={"accept": "text/event-stream"}) as reader:
        for k in range(1, 4):
            assert f'"line {k}"'.encode() in await block_with(reader, b"event: text")
            assert sent == k
            arrived.release()
        await block_with(reader, b"event: end")
    async with await push as pushed:
        assert (await pushed.json())["accepted"] == 3


async def test_heartbeats_of_a_silent_stream_arrive(
    public: Before, server: Serving, http: aiohttp.ClientSession
) -> None:
    await server.manager.create(id="s")
    async with http.get(f"{public.url}/v1/streams/s", headers={"accept": "text/event-stream"}) as reader:
        await block_with(reader, b"event: position")
        assert [await reader.content.readuntil(b"\n\n") for _ in range(2)] == [b": \n\n"] * 2


async def test_a_reader_cut_by_the_proxys_end_resumes_through_the_next(
    proxy: Proxy, server: Serving, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    stream = await server.manager.create(id="s")
    async with before(server.port, proxy, tmp_path / "first") as first:
        async with http.get(f"{first.url}/v1/streams/s", headers={"accept": "text/event-stream"}) as reader:
            await stream.write("one")
            last = id_of(await block_with(reader, b'"one"'))
            reader.close()
        first.end()
    await stream.write("two")
    async with before(server.port, proxy, tmp_path / "second") as second:
        again = {"accept": "text/event-stream", "last-event-id": last}
        async with http.get(f"{second.url}/v1/streams/s", headers=again) as reader:
            assert b'"resumed"' in await block_with(reader, b"event: position")
            assert b'"two"' in await block_with(reader, b"event: text")
            await stream.write("three")
            assert b'"three"' in await block_with(reader, b"event: text")


async def test_a_plain_text_that_failed_does_not_look_whole(
    proxy: Proxy, public: Before, server: Serving, http: aiohttp.ClientSession
) -> None:
    if proxy.program == "caddy":
        pytest.skip("Caddy 2.6 ends a body that was cut like a whole one, as its page says")
    stream = await server.manager.create(id="s")
    async with http.get(f"{public.url}/v1/streams/s", headers={"accept": "text/plain"}) as reader:
        await stream.write("half of it")
        assert await reader.content.readexactly(10) == b"half of it"
        await stream.finish("failed")
        with pytest.raises(aiohttp.ClientPayloadError):
            await reader.read()


async def test_the_server_learns_that_nobody_watches_any_more(
    public: Before, server: Serving, http: aiohttp.ClientSession
) -> None:
    stream = await server.manager.create(id="s")
    left = when_left(stream)
    async with http.get(f"{public.url}/v1/streams/s", headers={"accept": "text/event-stream"}) as reader:
        await block_with(reader, b"event: position")
        reader.close()
    await left.wait()


async def test_a_websocket_of_the_pages_own_origin_works(
    public: Before, server: Serving, http: aiohttp.ClientSession
) -> None:
    """The origin has the proxy's port, which the proxy must pass on within the Host."""
    stream = await server.manager.create(id="s")
    port = public.url.rpartition(":")[2]
    headers = {"host": f"{NAME}:{port}", "origin": f"http://{NAME}:{port}"}
    async with http.ws_connect(f"{public.url}/v1/ws", protocols=("patinox.v1",), headers=headers) as socket:
        await socket.send_json({"op": "subscribe", "stream": "s"})
        assert (await socket.receive_json())["op"] == "subscribed"
        for k in range(3):
            await stream.write(f"token {k}")
            assert (await socket.receive_json())["data"] == {"text": f"token {k}"}


async def test_the_server_hears_the_name_it_is_called_by_and_answers_only_if_it_is_listed(
    proxy: Proxy, server: Serving, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    statuses = []
    async with serving({}) as unlisted:
        for asked in (server, unlisted):
            folder = tmp_path / str(asked.port)
            async with before(asked.port, proxy, folder) as public, http.get(f"{public.url}/v1/streams") as answer:
                statuses.append(answer.status)
    assert statuses == [200, 421]


async def test_what_is_measured_stays_inside(public: Before, server: Serving, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{server.url}/metrics") as inside, http.get(f"{public.url}/metrics") as outside:
        assert (inside.status, outside.status) == (200, 404)
