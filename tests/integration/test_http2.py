"""HTTP/2 on the real server: calls, streams, cancels, windows, ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import RstStreamFrame
from tests.http2_peer import Http2Peer, http2_peer
from tests.serving import Serving, serving

from patinox.errors import PatinoxError

JSON = ("content-type", "application/json")
TEXT = ("content-type", "text/plain")


@pytest.fixture
async def server() -> AsyncIterator[Serving]:
    async with serving({}, server__http2_port=0) as server:
        yield server


@pytest.fixture
async def peer(server: Serving) -> AsyncIterator[Http2Peer]:
    async with http2_peer(server.http2_url) as peer:
        yield peer


# --- calls


async def test_a_stream_is_made_written_read_and_deleted(peer: Http2Peer) -> None:
    made = await peer.fetch("POST", "/v1/streams", JSON, body=b'{"id": "a"}')
    assert (made.status, made.headers["location"]) == (201, "/v1/streams/a")
    written = await peer.fetch("POST", "/v1/streams/a/chunks?final=true", TEXT, body=b"Hello")
    assert json.loads(written.body)["accepted"] == 1
    read = await peer.fetch("GET", "/v1/streams/a", ("accept", "text/plain"))
    assert (read.status, read.body, read.ended, read.reset) == (200, b"Hello", True, None)
    deleted = await peer.fetch("DELETE", "/v1/streams/a")
    assert (deleted.status, (await peer.fetch("GET", "/v1/streams/a")).status) == (204, 410)


async def test_a_stream_written_over_one_version_is_resumed_over_the_other(server: Serving, peer: Http2Peer) -> None:
    stream = await server.manager.create(id="a")
    for word in ("one", "two", "three"):
        await stream.write(word)
    await stream.finish()
    whole = await peer.fetch("GET", "/v1/streams/a", ("accept", "application/x-ndjson"))
    lines = whole.body.splitlines(keepends=True)
    after = json.loads(lines[1])["id"]
    rest = await peer.fetch("GET", "/v1/streams/a", ("accept", "application/x-ndjson"), ("last-event-id", after))
    assert rest.headers["patinox-outcome"] == "resumed"
    assert rest.body.splitlines(keepends=True)[1:] == lines[2:]


async def test_a_body_is_appended_while_it_comes(server: Serving, peer: Http2Peer) -> None:
    stream = await server.manager.create(id="a")
    reader = peer.ask("GET", "/v1/streams/a")
    writer = peer.ask("POST", "/v1/streams/a/chunks", ("content-type", "application/x-ndjson"), ends=False)
    for word in (b"one", b"two"):
        peer.connection.send_data(writer, b'{"event":"text","data":{"text":"%b"}}\n' % word)
        peer.flush()
        await peer.got(reader, word)
    peer.connection.end_stream(writer)
    peer.flush()
    assert json.loads((await peer.whole(writer)).body)["accepted"] == 2
    assert stream.is_open


async def test_what_has_no_answer_is_refused_by_itself(peer: Http2Peer) -> None:
    path = await peer.fetch("GET", "/\N{SNOWMAN}")
    assert path.reset == ErrorCodes.PROTOCOL_ERROR
    assert (await peer.fetch("GET", "/healthz")).status == 200


# --- many, and those that leave


async def test_a_thousand_streams_share_one_connection(server: Serving, peer: Http2Peer) -> None:
    stream = await server.manager.create(id="a")
    readers = [peer.ask("GET", "/v1/streams/a") for _ in range(1000)]
    await asyncio.gather(*(peer.got(reader, b"position") for reader in readers))
    assert stream.feed.readers == 1000
    await stream.write("Hello")
    await stream.finish()
    answers = [await peer.whole(reader) for reader in readers]
    assert all(answer.ended and answer.body == answers[0].body for answer in answers)
    assert b'"Hello"' in answers[0].body


async def test_a_cancelled_stream_ends_its_subscription_though_the_connection_lives(
    server: Serving, peer: Http2Peer
) -> None:
    stream = await server.manager.create(id="a")
    leaving, staying = peer.ask("GET", "/v1/streams/a"), peer.ask("GET", "/v1/streams/a")
    for reader in (leaving, staying):
        await peer.got(reader, b"position")
    peer.cancel(leaving)
    assert (await peer.fetch("GET", "/healthz")).status == 200  # so the reset has been taken
    assert stream.feed.readers == 1
    await stream.write("Hello")
    await peer.got(staying, b"Hello")


async def test_a_connection_that_goes_takes_its_subscriptions_along(server: Serving) -> None:
    stream = await server.manager.create(id="a")
    async with http2_peer(server.http2_url) as leaving:
        readers = [leaving.ask("GET", "/v1/streams/a") for _ in range(20)]
        for reader in readers:
            await leaving.got(reader, b"position")
    async with http2_peer(server.http2_url) as peer:
        assert (await peer.fetch("GET", "/healthz")).status == 200
    assert (stream.feed.readers, len(server.manager.fanout)) == (0, 0)


# --- windows


async def test_a_stalled_stream_stops_no_sibling_and_holds_little(server: Serving) -> None:
    stream = await server.manager.create(id="a")
    async with http2_peer(server.http2_url, window_bytes=1000) as peer:
        stalled = peer.ask("GET", "/v1/streams/a")
        await peer.got(stalled, b"position")
        peer.takes = lambda stream_id: stream_id != stalled
        reading = peer.ask("GET", "/v1/streams/a")
        await peer.got(reading, b"position")
        for number in range(200):
            await stream.write(f"{number}:" + "x" * 5000)
            await peer.got(reading, b'"%d:' % number)
        assert len(peer.answers[stalled].body) <= 1000
        assert stream.stats()["lag_bytes"] > 800_000  # behind in the log, which is shared, and not in a buffer
        peer.takes = lambda stream_id: True
        peer.connection.increment_flow_control_window(2_000_000, stalled)
        peer.flush()
        await peer.got(stalled, b'"199:')


async def test_a_stream_stalled_beyond_the_deadline_is_reset_and_its_siblings_go_on() -> None:
    async with (
        serving({}, server__http2_port=0, streaming__write_deadline="100ms") as server,
        http2_peer(server.http2_url, window_bytes=1000) as peer,
    ):
        stream = await server.manager.create(id="a")
        stalled = peer.ask("GET", "/v1/streams/a")
        await peer.got(stalled, b"position")
        peer.takes = lambda stream_id: stream_id != stalled
        await stream.write("x" * 100_000)
        assert (await peer.whole(stalled)).reset == ErrorCodes.CANCEL
        assert (await peer.fetch("GET", "/healthz")).status == 200
        assert server.manager.stats()["dropped"] == {"write_deadline": 1}


async def test_an_upload_that_nobody_reads_stops_no_sibling(server: Serving, peer: Http2Peer) -> None:
    stream = await server.manager.create(id="a")
    reader = peer.ask("GET", "/v1/streams/a", ends=False)  # with a body, which no reader has a use for
    await peer.got(reader, b"position")
    for _ in range(10):  # more than a window: it is given back
        await peer.until(lambda: peer.connection.local_flow_control_window(reader) >= 16_000)
        peer.connection.send_data(reader, b"x" * 16_000)
        peer.flush()
    await stream.write("Hello")
    await peer.got(reader, b"Hello")
    assert (await peer.fetch("GET", "/healthz")).status == 200


# --- ends


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_a_failure_is_said_in_band_and_the_stream_ended(server: Serving, peer: Http2Peer, accept: str) -> None:
    stream = await server.manager.create(id="a")
    reader = peer.ask("GET", "/v1/streams/a", ("accept", accept))
    await peer.until(lambda: peer.answers[reader].status)
    await stream.write("Hel")
    await stream.fail(PatinoxError("it broke"))
    answer = await peer.whole(reader)
    assert (answer.ended, answer.reset) == (True, None)
    assert b"it broke" in answer.body


async def test_plain_text_that_broke_off_is_reset_after_all_there_was(server: Serving, peer: Http2Peer) -> None:
    stream = await server.manager.create(id="a")
    reader = peer.ask("GET", "/v1/streams/a", ("accept", "text/plain"))
    await peer.until(lambda: peer.answers[reader].status)
    await stream.write("Hel")
    await stream.fail(PatinoxError("it broke"))
    answer = await peer.whole(reader)
    assert (answer.body, answer.ended, answer.reset) == (b"Hel", False, ErrorCodes.INTERNAL_ERROR)


async def test_a_request_during_shutdown_is_refused_and_told_to_go_elsewhere() -> None:
    async with AsyncExitStack() as running, AsyncExitStack() as peers:
        server = await running.enter_async_context(serving({}, server__http2_port=0))
        stream = await server.manager.create(id="a")
        peer = await peers.enter_async_context(http2_peer(server.http2_url, window_bytes=1000))
        stalled = peer.ask("GET", "/v1/streams/a")
        await peer.got(stalled, b"position")
        peer.takes = lambda stream_id: False
        await stream.write("x" * 100_000)
        ending = asyncio.create_task(running.aclose())
        late = peer.ask("GET", "/healthz")
        while (await peer.whole(late)).status:  # it was quicker than the shutdown
            late = peer.ask("GET", "/healthz")
        assert peer.answers[late].reset == ErrorCodes.REFUSED_STREAM
        await peer.until(lambda: peer.goaways)
        peer.raw(RstStreamFrame(stalled).serialize())  # h2 would not, after GOAWAY
        await ending


async def test_shutdown_says_goaway_tells_every_reader_and_closes() -> None:
    async with AsyncExitStack() as running, AsyncExitStack() as peers:
        server = await running.enter_async_context(serving({}, server__http2_port=0))
        stream = await server.manager.create(id="a")
        await stream.write("Hel")
        peer = await peers.enter_async_context(http2_peer(server.http2_url))
        idle = await peers.enter_async_context(http2_peer(server.http2_url))
        reader = peer.ask("GET", "/v1/streams/a")
        await peer.got(reader, b"Hel")
        await running.aclose()
        await peer.until(lambda: peer.is_closed)
        await idle.until(lambda: idle.is_closed)
    assert peer.answers[reader].ended
    assert b'"outcome":"interrupted"' in peer.answers[reader].body
    for said in (peer.goaways, idle.goaways):
        assert {goaway.error_code for goaway in said} == {ErrorCodes.NO_ERROR}
