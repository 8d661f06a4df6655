"""What one HTTP/2 connection may not do to the server: each ends that connection, or that stream, alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PriorityFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from tests.http2_peer import Http2Peer, http2_peer
from tests.serving import Serving, serving

BURST = 20


def frames(data: bytes) -> Iterator[Any]:
    """The frames that the bytes are."""
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        yield frame
        data = data[9 + length :]


class Attack(NamedTuple):
    """A server with small limits, a client that goes too far, and one that does nothing wrong."""

    server: Serving
    attacker: Http2Peer
    bystander: Http2Peer


@asynccontextmanager
async def attack(**limits: Any) -> AsyncIterator[Attack]:
    settings = {f"streaming__http2__{name}": value for name, value in limits.items()}
    async with (
        serving({}, server__http2_port=0, **settings) as server,
        http2_peer(server.http2_url) as attacker,
        http2_peer(server.http2_url) as bystander,
    ):
        yield Attack(server, attacker, bystander)
        assert (await bystander.fetch("GET", "/healthz")).status == 200


async def ended(peer: Http2Peer) -> int:
    """Waits until the server has ended the connection; gives the reason it said."""
    await peer.until(lambda: peer.is_closed)
    return int(peer.goaways[-1].error_code or 0)


def few_resets() -> dict[str, Any]:
    return {"max_concurrent_streams": BURST, "reset_burst": BURST, "resets_per_second": 1}


async def test_streams_opened_to_be_cancelled_cost_the_connection() -> None:  # CVE-2023-44487
    async with attack(**few_resets()) as (server, attacker, _):
        stream = await server.manager.create(id="a")
        for _ in range(10 * BURST):
            attacker.cancel(attacker.ask("GET", "/v1/streams/a"))
        assert await ended(attacker) == ErrorCodes.ENHANCE_YOUR_CALM
        assert stream.feed.readers == 0


async def test_streams_that_the_server_is_made_to_reset_cost_the_connection() -> None:  # CVE-2025-8671
    async with attack(**few_resets()) as (server, attacker, _):
        await server.manager.create(id="a")
        for _ in range(10 * BURST):
            stream_id = attacker.ask("GET", "/v1/streams/a")
            attacker.raw(WindowUpdateFrame(stream_id, window_increment=2**31 - 1).serialize())
            if (await attacker.whole(stream_id)).reset is None or attacker.goaways:
                break
        assert await ended(attacker) == ErrorCodes.ENHANCE_YOUR_CALM


async def test_all_streams_may_be_cancelled_at_once() -> None:
    async with attack(**few_resets()) as (server, attacker, _):
        stream = await server.manager.create(id="a")
        readers = [attacker.ask("GET", "/v1/streams/a") for _ in range(BURST)]
        for reader in readers:
            await attacker.got(reader, b"position")
        for reader in readers:
            attacker.cancel(reader)
        assert (await attacker.fetch("GET", "/healthz")).status == 200
        assert stream.feed.readers == 0


async def test_a_stream_too_many_is_refused_and_the_others_go_on() -> None:
    async with attack(**few_resets()) as (server, attacker, _):
        stream = await server.manager.create(id="a")
        readers = [attacker.ask("GET", "/v1/streams/a") for _ in range(BURST)]
        for reader in readers:
            await attacker.got(reader, b"position")
        attacker.connection.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        attacker.connection.remote_settings.acknowledge()
        refused = await attacker.fetch("GET", "/healthz")
        assert refused.reset == ErrorCodes.REFUSED_STREAM
        await stream.write("Hello")
        for reader in readers:
            await attacker.got(reader, b"Hello")
        for _ in range(BURST):  # and doing so again and again costs what resets do
            attacker.ask("GET", "/healthz")
        assert await ended(attacker) == ErrorCodes.ENHANCE_YOUR_CALM


async def test_headers_beyond_their_limit_cost_the_connection() -> None:
    async with attack(max_header_list_size="8KiB") as (_, attacker, _):
        attacker.ask("GET", "/healthz", *((f"x-{number}", "y" * 1000) for number in range(20)))
        assert await ended(attacker) == ErrorCodes.ENHANCE_YOUR_CALM


async def test_headers_that_never_end_cost_the_connection() -> None:
    async with attack() as (_, attacker, _):
        first = HeadersFrame(1, b"\x82")
        attacker.raw(first.serialize())
        for _ in range(200):
            attacker.raw(ContinuationFrame(1, b"\x00").serialize())
        assert await ended(attacker) != ErrorCodes.NO_ERROR


async def test_bodies_of_nothing_are_not_kept() -> None:
    async with attack() as (server, attacker, _):
        await server.manager.create(id="a")
        writer = attacker.ask("POST", "/v1/streams/a/chunks", ("content-type", "text/plain"), ends=False)
        for _ in range(2000):
            attacker.raw(DataFrame(writer, b"").serialize())
        attacker.connection.send_data(writer, b"Hello", end_stream=True)
        attacker.flush()
        assert (await attacker.whole(writer)).status == 200


async def test_priorities_of_streams_that_are_not_there_are_passed_over() -> None:
    async with attack() as (_, attacker, _):
        for number in range(3000):
            attacker.raw(PriorityFrame(2 * number + 1001, depends_on=0, stream_weight=5).serialize())
        assert (await attacker.fetch("GET", "/healthz")).status == 200


async def test_a_frame_that_is_to_be_too_long_costs_the_connection_before_it_comes() -> None:
    async with attack() as (_, attacker, _):
        attacker.raw((16_385).to_bytes(3, "big"))
        assert await ended(attacker) == ErrorCodes.FRAME_SIZE_ERROR


async def test_a_connection_without_requests_is_ended() -> None:
    async with (
        serving({}, server__http2_port=0, streaming__http2__keep_alive="1s") as server,
        http2_peer(server.http2_url) as peer,
    ):
        assert await ended(peer) == ErrorCodes.NO_ERROR


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01"])
async def test_what_is_no_http2_is_closed(sent: bytes) -> None:
    async with attack() as (server, _, _):
        host, _, port = server.http2_url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        said = {type(frame) for frame in frames(await reader.read())}
        writer.close()
        await writer.wait_closed()
    assert said <= {SettingsFrame, WindowUpdateFrame, GoAwayFrame}
