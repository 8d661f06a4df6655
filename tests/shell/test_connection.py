"""The server's own HTTP connection: responses that outlive their request, and what may follow or end them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.live_server import live

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.config import SseConfig
from patinox.manager import ActiveStream
from patinox.server.connection import StreamingHttpProtocol
from patinox.server.listening import bind
from patinox.testing.fakes import turns

GET = b"GET /v1/streams/s HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n"
HEALTH = b"GET /v1/streams HTTP/1.1\r\nhost: x\r\n\r\n"


class Observed(StreamingHttpProtocol):
    """Remembers the connections that were made."""

    made: list[Observed] = []  # noqa: RUF012

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.made.append(self)


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    Observed.made.clear()
    config = StreamingConfig(buffer_size=100, drain_timeout_s=1, sse=SseConfig(heartbeat_interval_s=0))
    async with StreamManager(config) as manager:
        yield manager


@pytest.fixture
async def stream(manager: StreamManager) -> ActiveStream:
    return await manager.create(id="s")


@pytest.fixture
async def port(manager: StreamManager, stream: ActiveStream) -> AsyncIterator[int]:
    async with live(PatinoxApp(manager), http=Observed) as port:
        yield port


class Client:
    """A client that writes requests by hand and reads responses one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty for the last one."""
        size = int(await self.reader.readline(), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def until(self, text: bytes) -> bytes:
        """Chunks until one holds this text."""
        body = b""
        while text not in body:
            chunk = await self.chunk()
            assert chunk, f"the body ended: {body!r}"
            body += chunk
        return body

    async def body(self) -> bytes:
        body = b""
        while chunk := await self.chunk():
            body += chunk
        return body

    async def plain(self) -> tuple[int, bytes]:
        status, headers = await self.head()
        return status, await self.reader.readexactly(int(headers["content-length"]))

    def reset(self) -> None:
        """Goes away without a word of farewell."""
        linger = b"\1\0\0\0\0\0\0\0"
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


@asynccontextmanager
async def connected(port: int, *, receive_bytes: int = 0) -> AsyncIterator[Client]:
    plain = socket.socket()
    if receive_bytes:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=2**16 if not receive_bytes else 2**10)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


def happens(stream: ActiveStream, condition: Callable[[], bool]) -> asyncio.Future[None]:
    """Done when `condition()` holds after a reader has come or gone."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    changed = stream.feed._on_readers

    def also() -> None:
        changed()
        if condition() and not done.done():
            done.set_result(None)

    stream.feed._on_readers = also
    return done


class Ahead:
    """The running loop's clock, which goes on by itself (a server's own timers need that) and can be moved on."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._ahead_s = 0.0
        real = loop.time
        loop.time = lambda: real() + self._ahead_s  # type: ignore[method-assign]

    async def advance(self, seconds: float) -> None:
        self._ahead_s += seconds
        await turns()


def counts(manager: StreamManager) -> tuple[int, int, int]:
    """Connections, subscriptions, and readers of all streams."""
    return manager.admission.connections, len(manager.fanout), sum(stream.feed.readers for stream in manager)


async def in_turns(condition: Callable[[], bool]) -> None:
    """Waits, turn by turn of the loop, until something that needs the kernel's help has happened."""
    while not condition():
        await turns(1)


class TestHandedOver:
    async def test_no_task_is_left_of_the_request(self, port: int, stream: ActiveStream) -> None:
        before = asyncio.all_tasks()
        async with connected(port) as client:
            client.send(GET)
            assert (await client.head())[0] == 200
            await client.until(b"position")
            await turns()
            assert asyncio.all_tasks() == before
            (connection,) = Observed.made
            assert connection.is_handed_over
            assert len(connection.scope) <= 3, "what only the request needed is given back"
            stream.write_nowait("hello")
            assert b"hello" in await client.until(b"hello")

    async def test_the_body_is_whole_and_in_order(self, port: int, stream: ActiveStream) -> None:
        async with connected(port) as client:
            client.send(GET)
            status, headers = await client.head()
            assert (status, headers["transfer-encoding"]) == (200, "chunked")
            await client.until(b"position")
            for number in range(500):
                await stream.write(f"t{number} ")
            await stream.finish()
            body = await client.body()
            ids = [int(line.rpartition(b"-")[2]) for line in body.split(b"\n") if line.startswith(b"id: ")]
            assert ids == list(range(1, 502))

    async def test_the_connection_is_used_again(self, port: int, stream: ActiveStream, manager: StreamManager) -> None:
        async with connected(port) as client:
            client.send(GET)
            await client.head()
            await client.until(b"position")
            await stream.finish()
            assert b"event: end" in await client.body()
            assert counts(manager) == (0, 0, 0)
            for _ in range(3):
                client.send(HEALTH)
                assert (await client.plain())[0] == 200
                client.send(GET)
                await client.head()
                assert b"event: end" in await client.body()
            assert counts(manager) == (0, 0, 0)
            assert len(Observed.made) == 1

    async def test_requests_pipelined_behind_a_stream_wait_for_its_end(self, port: int, stream: ActiveStream) -> None:
        async with connected(port) as client:
            client.send(GET + HEALTH + GET)
            await client.head()
            await client.until(b"position")
            await stream.write("one")
            await client.until(b"one")
            await stream.finish()
            assert b"event: end" in await client.body()
            assert (await client.plain())[0] == 200
            await client.head()
            assert b"event: end" in await client.body()

    async def test_a_request_that_arrives_in_pieces_behind_a_stream_is_understood(
        self, port: int, stream: ActiveStream
    ) -> None:
        split = len(HEALTH) // 2
        async with connected(port) as client:
            client.send(GET + HEALTH[:split])
            await client.head()
            await client.until(b"position")
            client.send(HEALTH[split:])
            await stream.finish()
            await client.body()
            status, body = await client.plain()
            assert status == 200
            assert b'"streams"' in body

    @pytest.mark.parametrize("pipelined", [b"", HEALTH, HEALTH[:20]])
    async def test_leaving_frees_everything_and_stops_nobody(
        self, port: int, stream: ActiveStream, manager: StreamManager, pipelined: bytes
    ) -> None:
        before = asyncio.all_tasks()
        async with connected(port) as client:
            client.send(GET + pipelined)
            await client.head()
            await client.until(b"position")
            assert counts(manager) == (1, 1, 1)
            gone = happens(stream, lambda: not stream.feed.readers)
            if pipelined == HEALTH:  # nothing more is read until the first is answered: the write finds out
                client.reset()
                while not gone.done():
                    stream.write_nowait("x" * 1000)
                    await asyncio.sleep(0)
            client.writer.close()
            await gone
        await in_turns(lambda: asyncio.all_tasks() == before)
        assert counts(manager) == (0, 0, 0)
        assert stream.is_open

    async def test_a_client_that_is_gone_before_the_hand_over_is_counted_out(
        self, port: int, stream: ActiveStream, manager: StreamManager
    ) -> None:
        attach = stream.feed.attach

        def attach_when_gone(*arguments: Any, **options: Any) -> Any:
            (connection,) = Observed.made
            connection.transport.abort()
            connection.connection_lost(ConnectionResetError())
            return attach(*arguments, **options)

        stream.feed.attach = attach_when_gone  # type: ignore[method-assign]
        gone = happens(stream, lambda: not stream.feed.readers)
        async with connected(port) as client:
            client.send(GET)
            await gone
            assert await client.reader.read() == b""
        await turns()
        assert counts(manager) == (0, 0, 0)

    async def test_many_come_and_go_exactly(self, port: int, stream: ActiveStream, manager: StreamManager) -> None:
        for _ in range(5):
            gone = happens(stream, lambda: not stream.feed.readers)
            clients = [connected(port) for _ in range(10)]
            opened = [await client.__aenter__() for client in clients]
            for client in opened:
                client.send(GET)
                await client.head()
                await client.until(b"position")
            assert counts(manager) == (10, 10, 10)
            for context in clients:
                await context.__aexit__(None, None, None)
            await gone
            assert counts(manager) == (0, 0, 0)

    async def test_a_failed_plain_text_is_cut_without_its_last_chunk(self, port: int, stream: ActiveStream) -> None:
        async with connected(port) as client:
            client.send(GET.replace(b"text/event-stream", b"text/plain"))
            await client.head()
            await stream.write("half")
            assert await client.until(b"half") == b"half"
            await stream.cancel()
            assert await client.reader.read() == b"", "not 0\\r\\n\\r\\n"


class TestOtherRequests:
    async def test_head_has_no_body_and_keeps_the_connection(
        self, port: int, stream: ActiveStream, manager: StreamManager
    ) -> None:
        async with connected(port) as client:
            client.send(b"HEAD /v1/streams/s HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n")
            assert (await client.head())[0] == 200
            assert counts(manager) == (0, 0, 0)
            client.send(HEALTH)
            assert (await client.plain())[0] == 200

    @pytest.mark.parametrize("accept", ["text/event-stream", "text/plain"])
    async def test_http_1_0_gets_a_body_that_the_connection_ends(
        self, port: int, stream: ActiveStream, manager: StreamManager, accept: str
    ) -> None:
        async with connected(port) as client:
            client.send(f"GET /v1/streams/s HTTP/1.0\r\nhost: x\r\naccept: {accept}\r\n\r\n".encode())
            _, headers = await client.head()
            assert "transfer-encoding" not in headers
            assert headers["connection"] == "close"
            if accept == "text/event-stream":
                await client.reader.readuntil(b"position")
            await stream.write("one")
            assert b"one" in await client.reader.readuntil(b"one")
            await stream.finish()
            rest = await client.reader.read()
            assert (b"event: end" in rest) is (accept == "text/event-stream")
        assert counts(manager) == (0, 0, 0)

    async def test_a_body_that_nobody_asked_for_is_passed_over(
        self, port: int, stream: ActiveStream, manager: StreamManager
    ) -> None:
        async with connected(port) as client:
            client.send(GET.replace(b"\r\n\r\n", b"\r\ncontent-length: 1000000\r\n\r\n"))
            await client.head()
            await client.until(b"position")
            client.send(b"x" * 999_999)
            await client.writer.drain()
            (connection,) = Observed.made
            await stream.write("one")
            await client.until(b"one")
            assert len(connection.cycle.body) == 0
            gone = happens(stream, lambda: not stream.feed.readers)
            client.writer.close()
            await gone
        assert counts(manager) == (0, 0, 0)

    async def test_a_post_answers_and_another_follows(self, port: int, stream: ActiveStream) -> None:
        async with connected(port) as client:
            for text in (b"one", b"two"):
                head = b"POST /v1/streams/s/chunks HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n"
                client.send(head + b"content-length: 3\r\n\r\n" + text)
                assert (await client.plain())[0] == 200
        assert stream.log.head == 2

    async def test_a_body_that_was_never_asked_for_ends_the_connection_with_its_refusal(
        self, port: int, stream: ActiveStream
    ) -> None:
        head = b"POST /v1/streams/s/chunks HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\nexpect: 100-continue\r\n"
        async with connected(port) as client:
            client.send(head + b"content-length: 99999999\r\n\r\n")
            status, headers = await client.head()
            assert (status, headers["connection"]) == (413, "close")
            assert (await client.reader.read()).endswith(b"}")

    async def test_a_body_that_was_asked_for_leaves_the_connection(self, port: int, stream: ActiveStream) -> None:
        head = b"POST /v1/streams/s/chunks HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\nexpect: 100-continue\r\n"
        async with connected(port) as client:
            client.send(head + b"content-length: 1\r\n\r\n")
            assert (await client.head())[0] == 100
            client.send(b"a" + HEALTH)
            assert [(await client.plain())[0] for _ in range(2)] == [200, 200]

    async def test_an_application_that_fails_is_answered_500(self) -> None:
        async def failing(scope: Any, receive: Any, send: Any) -> None:
            raise ZeroDivisionError

        async with live(failing, http=Observed) as port, connected(port) as client:
            client.send(HEALTH)
            assert (await client.plain())[0] == 500


class TestStalled:
    async def fill(self, stream: ActiveStream, client: Client) -> Observed:
        """Writes until the kernel takes no more for this client."""
        (connection,) = Observed.made
        while not connection.flow.write_paused:
            stream.write_nowait("x" * 20_000)
            await turns(3)
        return connection

    async def test_what_it_holds_is_bounded(self, port: int, stream: ActiveStream) -> None:
        async with connected(port, receive_bytes=4096) as client:
            client.send(GET)
            await client.head()
            connection = await self.fill(stream, client)
            held = connection.transport.get_write_buffer_size()
            for _ in range(100):
                stream.write_nowait("x" * 20_000)
                await turns(2)
            assert connection.transport.get_write_buffer_size() == held
            assert held <= 3 * 64 * 1024

    async def test_the_write_deadline_ends_it_and_frees_what_it_held(
        self, port: int, stream: ActiveStream, manager: StreamManager
    ) -> None:
        async with connected(port, receive_bytes=4096) as client:
            client.send(GET)
            await client.head()
            clock = Ahead()
            connection = await self.fill(stream, client)
            await turns()
            await clock.advance(0.5 * manager.config.write_deadline_s)
            assert counts(manager) == (1, 1, 1)
            for _ in range(5):  # the kernel may take some more, late
                stream.write_nowait("x" * 20_000)
                await clock.advance(1.1 * manager.config.write_deadline_s)
            await in_turns(lambda: counts(manager) == (0, 0, 0))
            assert connection.transport.get_write_buffer_size() == 0
            assert manager.stats()["dropped"] == {"write_deadline": 1}

    async def test_it_takes_up_again_without_a_gap(self, port: int, stream: ActiveStream) -> None:
        async with connected(port, receive_bytes=4096) as client:
            client.send(GET)
            await client.head()
            await self.fill(stream, client)
            for _ in range(20):
                stream.write_nowait("x")
            await stream.finish()
            body = await client.body()
            ids = [int(line.rpartition(b"-")[2]) for line in body.split(b"\n") if line.startswith(b"id: ")]
            assert ids == list(range(stream.log.head + 1))

    async def test_a_second_request_whose_answer_cannot_begin_is_let_go(
        self, port: int, stream: ActiveStream, manager: StreamManager
    ) -> None:
        big = await manager.create(id="big")
        for _ in range(12):
            big.write_nowait("x" * 1_000_000)
        await big.finish()
        async with connected(port, receive_bytes=4096) as client:
            clock = Ahead()
            client.send(b"GET /v1/streams/big HTTP/1.1\r\nhost: x\r\naccept: application/json\r\n\r\n" + GET)
            await in_turns(lambda: stream.feed.readers == 1)
            await clock.advance(1.1 * manager.config.write_deadline_s)
            assert counts(manager) == (0, 0, 0)


class TestShutdown:
    async def test_handed_over_readers_are_told_and_the_server_ends(self, manager: StreamManager) -> None:
        await manager.create(id="s")
        async with live(PatinoxApp(manager), http=Observed) as port, connected(port) as client:
            client.send(GET)
            await client.head()
            await client.until(b"position")
            await manager.aclose()
            assert b'"outcome":"interrupted"' in await client.body()
        assert counts(manager)[:2] == (0, 0)

    async def test_one_that_takes_nothing_does_not_hold_it_up(self) -> None:
        async with StreamManager(StreamingConfig(drain_timeout_s=0.01)) as manager:
            stream = await manager.create(id="s")
            async with live(PatinoxApp(manager), http=Observed) as port, connected(port, receive_bytes=4096) as client:
                client.send(GET)
                await client.head()
                (connection,) = Observed.made[-1:]
                while not connection.flow.write_paused:
                    stream.write_nowait("x" * 20_000)
                    await turns(3)
                await manager.aclose()
                await turns()
                assert counts(manager)[:2] == (0, 0)
                connection.transport.abort()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="a socket option of Linux")
async def test_accepted_connections_end_when_nothing_is_acknowledged() -> None:
    listener = bind("127.0.0.1", 0, write_deadline_s=12.5)
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 12_500
