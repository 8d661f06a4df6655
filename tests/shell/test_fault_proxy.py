"""The proxy breaks connections at the byte it was told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from patinox.testing.proxy import Fault, FaultProxy

ANSWER = bytes(range(256)) * 40


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that answers everybody with the same bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(3)
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def ask(proxy: FaultProxy) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(b"ask")
        return await reader.read()
    except ConnectionError:  # closing with the question unread makes a reset of it
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("place_bytes", [1, 300, len(ANSWER) - 1])
async def test_a_cut_comes_after_exactly_so_many_bytes(port: int, place_bytes: int) -> None:
    async with FaultProxy("127.0.0.1", port, [Fault(cut_after_bytes=place_bytes)]) as proxy:
        assert await ask(proxy) == ANSWER[:place_bytes]
        assert (proxy.connections, proxy.cuts, proxy.passed_bytes) == (1, 1, place_bytes)


async def test_when_the_faults_are_used_up_connections_are_whole(port: int) -> None:
    async with FaultProxy("127.0.0.1", port, [Fault(refuse=True)]) as proxy:
        assert [await ask(proxy), await ask(proxy)] == [b"", ANSWER]


async def test_then_is_what_all_later_connections_get(port: int) -> None:
    async with FaultProxy("127.0.0.1", port, then=Fault(cut_after_bytes=2)) as proxy:
        assert [await ask(proxy), await ask(proxy)] == [ANSWER[:2]] * 2


async def test_chopping_and_delaying_change_no_byte(port: int) -> None:
    waits_s: list[float] = []

    async def sleep(delay_s: float) -> None:
        waits_s.append(delay_s)

    async with FaultProxy("127.0.0.1", port, [Fault(chop_bytes=1000, delay_s=0.5)], sleep=sleep) as proxy:
        assert await ask(proxy) == ANSWER
    assert len(waits_s) >= len(ANSWER) // 1000
    assert set(waits_s) == {0.5}


async def test_a_server_that_is_not_there_ends_the_connection() -> None:
    async with FaultProxy("127.0.0.1", 1) as proxy:
        assert await ask(proxy) == b""
