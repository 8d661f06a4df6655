"""Who is let in: each limit by name, with its status and when to try again; and everybody who leaves is counted out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest
from tests.live_server import live

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.config import SseConfig
from patinox.errors import LimitExceeded
from patinox.manager.admission import Account
from patinox.server.connection import StreamingHttpProtocol
from patinox.testing.fakes import App, AsgiClient, turns

LIMITS: dict[str, tuple[dict[str, Any], int]] = {
    "max_connections": ({"sse": SseConfig(max_connections=2)}, 503),
    "max_connections_per_stream": ({"max_connections_per_stream": 2}, 429),
    "max_connections_per_address": ({"max_connections_per_address": 2}, 429),
}


def at(address: str, app: App) -> App:
    """The same application, reached from this address."""

    async def from_there(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "client": (address, 1)}, receive, send)

    return from_there


@asynccontextmanager
async def managed(**settings: Any) -> AsyncIterator[StreamManager]:
    async with StreamManager(StreamingConfig(drain_timeout_s=0, **settings)) as manager:
        yield manager


@asynccontextmanager
async def readers(client: AsgiClient, count: int, target: str = "/v1/streams/s") -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for _ in range(count):
            exchange = await stack.enter_async_context(client.open("GET", target))
            await exchange.until(partial(getattr, exchange, "body"))
        yield


class TestReaders:
    @pytest.mark.parametrize("limit", LIMITS)
    async def test_one_too_many_is_refused_with_the_reason(self, limit: str) -> None:
        settings, status = LIMITS[limit]
        async with managed(**settings) as manager:
            client = AsgiClient(PatinoxApp(manager))
            await manager.create(id="s")
            async with readers(client, 2):
                refused = await client.request("GET", "/v1/streams/s")
                assert refused.status == status
                assert refused.json()["error"]["code"] == "limit"
                assert f"{limit} = 2" in refused.json()["error"]["message"]
                assert int(refused.headers["retry-after"]) >= 1
                assert manager.stats()["refused"] == {limit: 1}
                assert manager.stats()["connections"] == 2

    @pytest.mark.parametrize("limit", LIMITS)
    async def test_who_leaves_makes_room(self, limit: str) -> None:
        async with managed(**LIMITS[limit][0]) as manager:
            client = AsgiClient(PatinoxApp(manager))
            stream = await manager.create(id="s")
            for _ in range(5):
                async with readers(client, 2):
                    assert (await client.request("GET", "/v1/streams/s")).status != 200
                assert (manager.admission.connections, stream.feed.readers) == (0, 0)
            assert not manager.admission._readers
            await stream.finish()
            assert (await client.request("GET", "/v1/streams/s")).is_whole
            assert manager.admission.connections == 0

    async def test_other_streams_are_not_concerned_by_a_limit_of_one(self) -> None:
        async with managed(max_connections_per_stream=1) as manager:
            client = AsgiClient(PatinoxApp(manager))
            await manager.create(id="s")
            await manager.create(id="other")
            async with readers(client, 1), readers(client, 1, "/v1/streams/other"):
                assert (await client.request("GET", "/v1/streams/s")).status == 429

    async def test_other_addresses_are_not_concerned_by_a_limit_of_one(self) -> None:
        async with managed(max_connections_per_address=1) as manager:
            app = PatinoxApp(manager)
            one, two = AsgiClient(at("192.0.2.1", app)), AsgiClient(at("192.0.2.2", app))
            await manager.create(id="s")
            async with readers(one, 1), readers(two, 1):
                for client in (one, two):
                    assert (await client.request("GET", "/v1/streams/s")).status == 429

    async def test_what_needs_no_place_is_let_in(self) -> None:
        async with managed(sse=SseConfig(max_connections=1)) as manager:
            client = AsgiClient(PatinoxApp(manager))
            stream = await manager.create(id="s")
            ended = await manager.create(id="ended")
            await ended.finish()
            async with readers(client, 1):
                assert (await client.request("HEAD", "/v1/streams/s")).status == 200
                snapshot = await client.request("GET", "/v1/streams/s", headers={"accept": "application/json"})
                assert snapshot.status == 200
                done = await client.request("GET", "/v1/streams/ended", headers={"last-event-id": ended.position})
                assert done.status == 204
            assert stream.feed.readers == 0

    async def test_a_refused_reader_leaves_the_stream_alone(self) -> None:
        async with managed(sse=SseConfig(max_connections=1)) as manager:
            client = AsgiClient(PatinoxApp(manager))
            stream = await manager.create(id="s", on_abandon="cancel_after=1h")
            async with readers(client, 1):
                await client.request("GET", "/v1/streams/s")
                assert stream.feed.readers == 1
                assert stream._abandon_timer is None

    @pytest.mark.parametrize("limit", LIMITS)
    @pytest.mark.parametrize("http", ["httptools", "h11", StreamingHttpProtocol], ids=["httptools", "h11", "own"])
    async def test_counts_are_exact_over_real_connections(self, limit: str, http: Any) -> None:
        settings, status = LIMITS[limit]
        async with managed(**settings) as manager, live(PatinoxApp(manager), http=http) as port:
            stream = await manager.create(id="s")
            url = f"http://127.0.0.1:{port}/v1/streams/s"
            async with aiohttp.ClientSession() as session:
                for _ in range(3):
                    gone = nobody_left(manager)
                    answers = [await session.get(url, headers={"accept": "text/event-stream"}) for _ in range(2)]
                    for answer in answers:
                        assert answer.status == 200
                        await answer.content.readuntil(b"\n\n")
                    async with session.get(url) as refused:
                        assert (refused.status, "retry-after" in refused.headers) == (status, True)
                    assert manager.admission.connections == 2
                    for answer in answers:
                        answer.close()
                    await gone
                    assert stream.feed.readers == 0
                assert not manager.admission._readers


def nobody_left(manager: StreamManager) -> asyncio.Future[None]:
    """Done when the last reader was counted out."""
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    leave = manager.admission.leave

    def leave_and_tell(account: Account) -> None:
        leave(account)
        if not manager.admission.connections and not gone.done():
            gone.set_result(None)

    manager.admission.leave = leave_and_tell  # type: ignore[method-assign]
    return gone


class TestStreams:
    async def test_streams_in_all(self) -> None:
        async with managed(max_streams=2) as manager:
            client = AsgiClient(PatinoxApp(manager))
            for _ in range(2):
                assert (await client.request("POST", "/v1/streams", json={})).status == 201
            refused = await client.request("POST", "/v1/streams", json={})
            assert (refused.status, refused.json()["error"]["code"]) == (503, "limit")
            assert "max_streams = 2" in refused.json()["error"]["message"]
            assert int(refused.headers["retry-after"]) >= 1
            await manager.delete(next(iter(manager)).id)
            assert (await client.request("POST", "/v1/streams", json={})).status == 201

    @pytest.mark.parametrize("ending", ["finish", "cancel", "delete"])
    async def test_open_streams_of_one_producer(self, ending: str) -> None:
        async with managed(max_streams_per_producer=2) as manager:
            app = PatinoxApp(manager)
            one, two = AsgiClient(at("192.0.2.1", app)), AsgiClient(at("192.0.2.2", app))
            ids = [(await one.request("POST", "/v1/streams", json={})).json()["id"] for _ in range(2)]
            refused = await one.request("POST", "/v1/streams", json={})
            assert (refused.status, refused.json()["error"]["code"]) == (429, "limit")
            assert "max_streams_per_producer = 2" in refused.json()["error"]["message"]
            assert (await two.request("POST", "/v1/streams", json={})).status == 201
            method, path = ("DELETE", "") if ending == "delete" else ("POST", f"/{ending}")
            await one.request(method, f"/v1/streams/{ids[0]}{path}")
            assert (await one.request("POST", "/v1/streams", json={})).status == 201
            assert (await one.request("POST", "/v1/streams", json={})).status == 429

    async def test_a_stream_that_ends_in_several_ways_is_counted_out_once(self) -> None:
        async with managed(max_streams_per_producer=1) as manager:
            for _ in range(3):
                stream = await manager.create(producer="p")
                await stream.finish()
                await stream.cancel()
                await manager.delete(stream.id)
            held = await manager.create(producer="p")
            with pytest.raises(LimitExceeded):
                await manager.create(producer="p")
            await held.finish()
            assert not manager.admission._writers

    async def test_without_a_name_a_producer_is_not_limited(self) -> None:
        async with managed(max_streams_per_producer=1) as manager:
            for _ in range(3):
                await manager.create()

    async def test_a_stream_that_could_not_be_made_is_not_counted(self) -> None:
        async with managed(max_streams_per_producer=1) as manager:
            await manager.create(id="taken")
            client = AsgiClient(PatinoxApp(manager))
            for body in ({"id": "taken"}, {"id": "not an id"}, {"retain": "nonsense"}, {"ttl": -1}):
                assert (await client.request("POST", "/v1/streams", json=body)).status in (400, 409)
            assert (await client.request("POST", "/v1/streams", json={})).status == 201


class TestSizes:
    @pytest.fixture
    async def manager(self) -> AsyncIterator[StreamManager]:
        async with managed(max_chunk_bytes=100, max_stream_bytes=300, max_body_bytes=2000) as manager:
            yield manager

    @pytest.mark.parametrize(
        ("body", "limit"), [("x" * 101, "max_chunk_bytes is 100"), ("x" * 2001, "max_body_bytes = 2000")]
    )
    async def test_too_large_a_chunk_or_body_is_413(self, manager: StreamManager, body: str, limit: str) -> None:
        await manager.create(id="s")
        client = AsgiClient(PatinoxApp(manager))
        headers = {"content-type": "text/plain"}
        refused = await client.request("POST", "/v1/streams/s/chunks", headers=headers, body=body.encode())
        assert (refused.status, refused.json()["error"]["code"]) == (413, "too_large")
        assert limit in refused.json()["error"]["message"]
        assert manager.get("s").log.head == 0

    async def test_too_large_a_stream_is_413_and_ends_incomplete(self, manager: StreamManager) -> None:
        stream = await manager.create(id="s")
        client = AsgiClient(PatinoxApp(manager))
        lines = b'"%b"\n' % (b"x" * 79) * 5
        headers = {"content-type": "application/x-ndjson"}
        refused = await client.request("POST", "/v1/streams/s/chunks", headers=headers, body=lines)
        error = refused.json()["error"]
        assert (refused.status, error["code"], error["accepted"]) == (413, "too_large", 3)
        assert "max_stream_bytes = 300" in error["message"]
        assert (stream.state, stream.log.head) == ("incomplete", 4)
        after = await client.request("POST", "/v1/streams/s/chunks", headers=headers, body=b'"y"')
        assert after.status == 409


async def test_an_admission_says_how_many_it_let_in() -> None:
    async with managed() as manager:
        await manager.create(id="s")
        async with readers(AsgiClient(PatinoxApp(manager)), 2):
            assert repr(manager.admission) == "<Admission 2 connections>"
            await turns()
