"""The hub on the real server, spoken to by other people's clients."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any, Self

import aiohttp
import msgspec
import pytest
from tests.serving import Serving, serving
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from patinox.core.chunks import Json
from patinox.testing.fakes import turns

PATINOX = Subprotocol("patinox.v1")


class Client:
    """`websockets`' client, speaking ops. `deflate` says whether it offers compression."""

    def __init__(self, server: Serving, *, deflate: bool = False, origin: str | None = None) -> None:
        self._url = server.url.replace("http", "ws", 1) + "/v1/ws"
        self._deflate = "deflate" if deflate else None
        self._origin = None if origin is None else Origin(origin)
        self.socket: ClientConnection

    async def __aenter__(self) -> Self:
        self.socket = await connect(
            self._url, subprotocols=[PATINOX], compression=self._deflate, origin=self._origin, ping_interval=None
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

    async def ask(self, op: str, **facts: Any) -> dict[str, Any]:
        await self.socket.send(msgspec.json.encode({"op": op, **facts}).decode())
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        said: dict[str, Any] = msgspec.json.decode(await self.socket.recv())
        return said


async def sse_ids(http: aiohttp.ClientSession, url: str, count: int, after: str | None = None) -> list[tuple[str, Any]]:
    """The first `count` records over SSE: (id, data)."""
    found: list[tuple[str, Any]] = []
    headers = {"accept": "text/event-stream", **({"last-event-id": after} if after else {})}
    async with http.get(url, headers=headers) as answer:
        block: dict[str, str] = {}
        async for line in answer.content:
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key:
                block[key] = value
            elif block:
                if block.get("event", "position") != "position":
                    found.append((block["id"], msgspec.json.decode(block["data"])))
                block = {}
            if len(found) == count:
                break
    return found


@pytest.mark.parametrize("deflate", [False, True])
async def test_every_record_comes_over_shared_frames(server: Serving, deflate: bool) -> None:
    stream = await server.manager.create(id="s")
    async with Client(server, deflate=deflate) as one, Client(server) as two:
        for client in (one, two):
            assert (await client.ask("subscribe", stream="s"))["outcome"] == "start"
        assert bool(one.socket.protocol.extensions) is deflate
        words = ["word " * 40, "é", "x" * 70_000]
        for word in words:
            await stream.write(word)
        await stream.finish()
        for client in (one, two):
            heard = [await client.hear() for _ in range(4)]
            assert [said["data"]["text"] for said in heard[:3]] == words
            assert heard[3]["outcome"] == "complete"


async def test_begun_on_sse_a_stream_is_resumed_on_websocket_and_back(
    server: Serving, http: aiohttp.ClientSession
) -> None:
    stream = await server.manager.create(id="s")
    for number in range(6):
        await stream.write(Json(number))
    await stream.finish()
    url = f"{server.url}/v1/streams/s"
    first = await sse_ids(http, url, 2)
    async with Client(server) as client:
        assert (await client.ask("subscribe", stream="s", after=first[-1][0]))["outcome"] == "resumed"
        second = [await client.hear() for _ in range(2)]
    third = await sse_ids(http, url, 3, after=second[-1]["id"])
    heard = [data for _, data in first] + [said["data"] for said in second] + [data for _, data in third]
    assert heard == [0, 1, 2, 3, 4, 5, {"outcome": "complete"}]


async def test_a_channel_is_resumed_across_transports_too(server: Serving, http: aiohttp.ClientSession) -> None:
    stream = await server.manager.create(id="s", channel="c")
    for number in range(6):
        stream.write_nowait(Json(number))
    url = f"{server.url}/v1/channels/c"
    first = await sse_ids(http, url, 3)
    async with Client(server, deflate=True) as client:
        await client.ask("subscribe", channel="c", after=first[-1][0])
        second = [await client.hear() for _ in range(2)]
    third = await sse_ids(http, url, 2, after=second[-1]["position"])
    heard = [data["data"] for _, data in first[1:]] + [said["data"] for said in second] + [d["data"] for _, d in third]
    assert heard == [0, 1, 2, 3, 4, 5]


async def test_members_that_are_cut_off_at_random_end_with_everything(server: Serving) -> None:
    async def member(seed: int) -> dict[str, list[int]]:
        chance, position, heard = random.Random(seed), None, {f"s{number}": list[int]() for number in range(8)}
        while any(len(numbers) < 40 for numbers in heard.values()):
            async with Client(server, deflate=seed % 2 == 0) as client:
                await client.ask("subscribe", channel="c", **({"after": position} if position else {}))
                for _ in range(chance.randrange(150)):
                    if all(len(numbers) == 40 for numbers in heard.values()):
                        break
                    said = await client.hear()
                    position = said["position"]
                    if said["op"] == "chunk" and said["event"] == "json":
                        heard[said["stream"]].append(said["data"])
                client.socket.transport.abort()
        return heard

    async def agent(number: int) -> None:
        stream = await server.manager.create(id=f"s{number}", channel="c")
        for count in range(40):
            await stream.write(Json(count))
            await turns(number % 3)
        await stream.finish()

    async with asyncio.TaskGroup() as group:
        members = [group.create_task(member(seed)) for seed in range(6)]
        for number in range(8):
            group.create_task(agent(number))
    for task in members:
        assert task.result() == {f"s{number}": list(range(40)) for number in range(8)}


async def test_a_foreign_page_is_refused_and_our_own_is_not(server: Serving) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await Client(server, origin="https://evil.example").__aenter__()
    assert refused.value.response.status_code == 403
    async with Client(server, origin=server.url) as client:
        assert await client.ask("ping", ref=1) == {"op": "ok", "ref": 1}


async def test_a_message_that_is_too_large_closes_with_1009(server: Serving) -> None:
    async with Client(server) as client:
        with pytest.raises(ConnectionClosed) as closed:
            await client.ask("ping", ref="x" * 70_000)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_a_server_that_leaves_says_goaway_the_end_and_1012(server: Serving) -> None:
    await server.manager.create(id="s")
    async with Client(server) as client:
        await client.ask("subscribe", stream="s")
        closing = asyncio.create_task(server.manager.aclose())
        heard = [await client.hear() for _ in range(2)]
        with pytest.raises(ConnectionClosed) as closed:
            await client.hear()
        await closing
    assert [said["op"] for said in heard] == ["goaway", "end"]
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


async def test_a_socket_that_does_not_read_is_let_go_with_4408_and_can_resume() -> None:
    bounds: dict[str, Any] = {"streaming__backpressure__strategy": "buffer", "streaming__backpressure__max_lag": 30}
    async with serving({}, **bounds) as server, Client(server) as fast:
        stream = await server.manager.create(id="s")
        await fast.ask("subscribe", stream="s")
        slow = await Client(server).__aenter__()
        await slow.ask("subscribe", stream="s")
        slow.socket.transport.pause_reading()
        big = "x" * 60_000
        while stream.feed.readers == 2:
            await stream.write(big)
            assert len((await fast.hear())["data"]["text"]) == len(big)
        slow.socket.transport.resume_reading()
        heard = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                heard.append(await slow.hear())
        assert slow.socket.close_code == 4408
        async with Client(server) as again:
            await again.ask("subscribe", stream="s", after=heard[-1]["id"])
            rest = [await again.hear() for _ in range(stream.log.head - len(heard))]
        assert [said["id"] for said in heard + rest] == [f"{stream.epoch}-{k + 1}" for k in range(stream.log.head)]


async def test_fuzzed_messages_leave_the_server_serving_and_no_task_behind(server: Serving) -> None:
    await server.manager.create(id="s")
    chance = random.Random(7)
    async with Client(server) as steady:
        await steady.ask("subscribe", stream="s")
        for _ in range(20):
            async with Client(server) as client:
                for _ in range(20):
                    await client.socket.send(chance.randbytes(chance.randrange(40)))
                    await client.socket.send("".join(chance.choices('{}[]",:opsubscribe', k=chance.randrange(60))))
                assert (await client.ask("ping", ref="end"))["op"] == "error"
                while (await client.hear()).get("ref") != "end":
                    pass
        assert await steady.ask("ping", ref=2) == {"op": "ok", "ref": 2}
    assert len(server.manager.fanout) == 0
