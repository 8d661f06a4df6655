"""Slow headers, endless headers, compressed bodies: what is not waited for and not taken in."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from tests.serving import Serving, serving

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def raw(running: Serving) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_slow_headers_end_the_connection() -> None:
    async with serving({}, server__header_timeout="200ms") as running, raw(running) as (reader, writer):
        writer.write(HEAD)  # and never the last line
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"request_timeout" in answer


async def test_a_connection_that_says_nothing_is_ended() -> None:
    async with serving({}, server__header_timeout="200ms") as running, raw(running) as (reader, _):
        assert await reader.read() == b""


async def test_slow_headers_of_a_second_request_end_the_connection_too() -> None:
    async with serving({}, server__header_timeout="200ms") as running, raw(running) as (reader, writer):
        writer.write(HEAD + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.write(HEAD)
        assert b"HTTP/1.1 408 " in await reader.read()


async def test_a_reader_stays_whatever_the_head_may_take() -> None:
    async with serving({}, server__header_timeout="100ms") as running, aiohttp.ClientSession() as session:
        stream = await running.manager.create(id="s")
        async with session.get(f"{running.url}/v1/streams/s", headers={"accept": "text/event-stream"}) as answer:
            await answer.content.readline()
            await asyncio.get_running_loop().create_task(_later(stream.finish, 0.3))
            assert b"event: end" in await answer.content.read()


async def _later(call: object, after_s: float) -> None:
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(after_s, passed.set_result, None)
    await passed
    await call()  # type: ignore[operator]


@pytest.mark.parametrize("piece", [b"X-Filler: " + b"a" * 1000 + b"\r\n", b"a" * 1000])
async def test_endless_headers_are_refused(piece: bytes) -> None:
    async with serving({}, server__max_header_bytes=4096) as running, raw(running) as (reader, writer):
        writer.write(HEAD + (b"" if piece.startswith(b"X") else b"X: ") + piece * 3)
        await writer.drain()
        writer.write(piece * 3)
        assert b"HTTP/1.1 431 " in await reader.read()


async def test_a_large_head_in_one_piece_is_refused_and_nobody_is_asked() -> None:
    async with serving({}, server__max_header_bytes=4096) as running, raw(running) as (reader, writer):
        writer.write(b"POST /v1/streams HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 5000 + b"\r\n\r\n")
        assert b"headers_too_large" in await reader.read()
        assert len(running.manager) == 0


async def test_a_compressed_body_is_not_taken_apart() -> None:
    bomb = gzip.compress(b'"' + b"a" * 1_000_000 + b'"')
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    async with serving({}) as running, aiohttp.ClientSession() as session:
        stream = await running.manager.create(id="s")
        for path in ("/v1/streams/s/chunks", "/v1/chat/completions", "/v1/streams"):
            async with session.post(running.url + path, data=bomb, headers=headers) as answer:
                assert answer.status == 415, path
                assert "Content-Encoding" in (await answer.json())["error"]["message"]
        assert stream.log.head == 0
