"""Resuming over real connections, and at every event of recorded answers: the joined bytes are those of one reading."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.live_server import live
from tests.readers import when_left
from tests.recordings import recorded

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.manager import ActiveStream
from patinox.server.connection import StreamingHttpProtocol
from patinox.testing.fakes import AsgiClient, turns

RECORDINGS = recorded("openai-chat", max_bytes=30_000)
WIRES = {
    "sse": ({"accept": "text/event-stream"}, b"\n\n"),
    "ndjson": ({"accept": "application/x-ndjson"}, b"\n"),
}


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    async with StreamManager(StreamingConfig(buffer_size=16, drain_timeout_s=0)) as manager:
        yield manager


@pytest.fixture(params=["auto", "h11", StreamingHttpProtocol], ids=["httptools", "h11", "own"])
async def url(request: pytest.FixtureRequest, manager: StreamManager) -> AsyncIterator[str]:
    async with live(PatinoxApp(manager), http=request.param) as port:
        yield f"http://127.0.0.1:{port}/v1/streams"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


def lines_of(recording: Path) -> list[bytes]:
    return recording.read_bytes().splitlines(keepends=True)


async def answer_of(manager: StreamManager, recording: Path) -> ActiveStream:
    """A recorded answer as a stream that has ended."""
    stream = await manager.relay(lines_of(recording), format="openai-chat")
    async for _ in stream.subscribe():
        pass
    return stream


def records(body: bytes, separator: bytes) -> list[tuple[str, bytes]]:
    """The event id and the bytes of each record of a native body, without what is not a record."""
    found = []
    for block in body.split(separator):
        if block.startswith(b"id: "):
            event_id, _, rest = block[4:].partition(b"\n")
        elif block.startswith(b'{"id":"'):
            event_id, _, rest = block[7:].partition(b'"')
        else:
            continue
        if b'"position"' not in rest and b"event: position" not in rest:
            found.append((event_id.decode(), block))
    return found


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("recording", RECORDINGS)
async def test_cut_at_every_event_the_joined_events_are_those_of_one_reading(
    manager: StreamManager, recording: Path, wire: str
) -> None:
    accept, separator = WIRES[wire]
    stream = await answer_of(manager, recording)
    client, target = AsgiClient(PatinoxApp(manager)), f"/v1/streams/{stream.id}"
    whole = records((await client.request("GET", target, headers=accept)).body, separator)
    assert len(whole) == stream.log.head
    for cut, (event_id, _) in enumerate(whole[:-1], 1):
        rest = await client.request("GET", target, headers={**accept, "last-event-id": event_id})
        assert whole[:cut] + records(rest.body, separator) == whole
    last = await client.request("GET", target, headers={**accept, "last-event-id": whole[-1][0]})
    assert last.status == 204


@pytest.mark.parametrize("format_", ["openai-chat", "text"])
@pytest.mark.parametrize("recording", RECORDINGS[:6])
async def test_a_foreign_dialect_cut_at_every_event_goes_on_byte_for_byte(
    manager: StreamManager, recording: Path, format_: str
) -> None:
    stream = await answer_of(manager, recording)
    client, target = AsgiClient(PatinoxApp(manager)), f"/v1/streams/{stream.id}?format={format_}"
    whole = (await client.request("GET", target)).body
    lengths = set()
    for sequence in range(stream.log.head):
        rest = await client.request("GET", target, headers={"last-event-id": f"{stream.epoch}-{sequence}"})
        assert whole.endswith(rest.body)
        lengths.add(len(rest.body))
    assert max(lengths) == len(whole)
    if format_ == "openai-chat":
        with_ids = (await client.request("GET", f"{target}&ids=1")).body.split(b"\n\n")
        for cut, block in enumerate(with_ids[:-2], 1):
            event_id = block.partition(b"\n")[0].removeprefix(b"id: ").decode()
            rest = await client.request("GET", f"{target}&ids=1", headers={"last-event-id": event_id})
            assert rest.body.split(b"\n\n") == with_ids[cut:]


async def read_until(response: aiohttp.ClientResponse, separator: bytes, count: int) -> bytes:
    """Reads until `count` records are whole, or the end."""
    body = b""
    async for piece in response.content.iter_any():
        body += piece
        if len(records(body.rpartition(separator)[0], separator)) >= count:
            break
    return body.rpartition(separator)[0]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("recording", RECORDINGS[:1])
async def test_over_real_connections_that_are_cut_again_and_again(
    manager: StreamManager, url: str, http: aiohttp.ClientSession, recording: Path, wire: str
) -> None:
    accept, separator = WIRES[wire]
    stream = await answer_of(manager, recording)
    async with http.get(f"{url}/{stream.id}", headers=accept) as response:
        whole = records(await response.read(), separator)
    seen: list[tuple[str, bytes]] = []
    while True:
        headers = {**accept, "last-event-id": seen[-1][0]} if seen else accept
        async with http.get(f"{url}/{stream.id}", headers=headers) as response:
            if response.status == 204:
                break
            seen += records(await read_until(response, separator, 1), separator)[:1]
    assert seen == whole


@pytest.mark.parametrize("wire", WIRES)
async def test_a_live_answer_that_is_cut_at_every_event(
    manager: StreamManager, url: str, http: aiohttp.ClientSession, wire: str
) -> None:
    accept, separator = WIRES[wire]
    stream = await manager.create()
    seen: list[tuple[str, bytes]] = []
    for number in range(30):
        stream.write_nowait(f"word {number}\n")
        headers = {**accept, "last-event-id": seen[-1][0]} if seen else accept
        async with http.get(f"{url}/{stream.id}", headers=headers) as response:
            if number % 2:
                stream.write_nowait("and another\r\n")  # comes to a reader that is attached already
            seen += records(await read_until(response, separator, 1 + number % 2), separator)
    await stream.finish()
    async with http.get(f"{url}/{stream.id}", headers={**accept, "last-event-id": seen[-1][0]}) as response:
        seen += records(await response.read(), separator)
    async with http.get(f"{url}/{stream.id}", headers=accept) as response:
        assert seen == records(await response.read(), separator)


async def test_a_reader_may_change_its_wire_when_it_resumes(
    manager: StreamManager, url: str, http: aiohttp.ClientSession
) -> None:
    stream = await manager.create()
    for number in range(40):
        stream.write_nowait(f"{number}")
    await stream.finish()
    ids: list[str] = []
    for turn in range(41):
        accept, separator = list(WIRES.values())[turn % 2]
        headers = {**accept, "last-event-id": ids[-1]} if ids else accept
        async with http.get(f"{url}/{stream.id}", headers=headers) as response:
            ids += [event_id for event_id, _ in records(await read_until(response, separator, 1), separator)[:1]]
    assert ids == [f"{stream.epoch}-{n}" for n in range(1, 42)]


async def test_leaving_over_a_real_connection_frees_the_reader_before_the_first_token(
    manager: StreamManager, url: str, http: aiohttp.ClientSession
) -> None:
    stream = await manager.create()
    left = when_left(stream)
    async with http.get(f"{url}/{stream.id}") as response:
        await response.content.readany()
        assert stream.feed.readers == 1
    await left.wait()
    assert stream.is_open
    await turns()
    assert len(manager.fanout) == 0


@pytest.mark.parametrize("outcome", ["failed", "interrupted", "cancelled"])
async def test_plain_text_that_went_wrong_is_no_whole_body(
    manager: StreamManager, url: str, http: aiohttp.ClientSession, outcome: str
) -> None:
    stream = await manager.create()
    stream.write_nowait("so far")
    async with http.get(f"{url}/{stream.id}", headers={"accept": "text/plain"}) as response:
        assert await response.content.readany() == b"so far"
        await stream.finish(outcome)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_plain_text_that_ended_well_is_a_whole_body(
    manager: StreamManager, url: str, http: aiohttp.ClientSession
) -> None:
    stream = await manager.create()
    async with http.get(f"{url}/{stream.id}", headers={"accept": "text/plain"}) as response:
        for number in range(50):
            await stream.write(f"{number} ")
        await stream.finish()
        assert await response.text() == "".join(f"{number} " for number in range(50))


async def test_a_slow_connection_loses_nothing_and_holds_nobody_up(
    manager: StreamManager, url: str, http: aiohttp.ClientSession
) -> None:
    stream = await manager.create()
    pieces = [f"{number:05}" + "x" * 50_000 for number in range(100)]
    target = f"{url}/{stream.id}"
    async with http.get(target, headers=WIRES["ndjson"][0]) as slow, http.get(target, headers=WIRES["sse"][0]) as quick:
        await slow.content.readany()
        reading: asyncio.Task[Any] = asyncio.ensure_future(quick.read())
        for piece in pieces:
            stream.write_nowait(piece)
            await turns(3)
        await stream.finish()
        fast = records(await reading, b"\n\n")  # is through before the slow one has read a thing
        late = records(await slow.read(), b"\n")
    assert [event_id for event_id, _ in fast] == [event_id for event_id, _ in late]
    assert len(late) == 101


async def test_a_reset_connection_is_a_reader_that_left(manager: StreamManager, url: str) -> None:
    stream = await manager.create()
    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    left = when_left(stream)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /v1/streams/{stream.id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await reader.readuntil(b"event: position")
    writer.transport.abort()
    for _ in range(200):
        stream.write_nowait("x" * 10_000)
    await left.wait()
    assert stream.is_open
