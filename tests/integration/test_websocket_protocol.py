"""The server's WebSocket connection between a client and an application: on a transport in the test's hand, and on
real sockets with the `websockets` library's client."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from tests.websocket_peer import Frame, close, echo, masked, parse, peer, request, settle, text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode as TheirCode

from patinox.config.streaming import WebSocketConfig
from patinox.server.connection import StreamingHttpProtocol
from patinox.server.websocket import websocket_protocol
from patinox.server.websocket_connection import INBOX_MESSAGES
from patinox.transports.http import CONNECTION
from patinox.transports.websocket.frames import CloseCode, Opcode, close_frame, frame

DEFLATE = "permessage-deflate; client_max_window_bits"


def closed(code: int, reason: str = "") -> Frame:
    (found,) = parse(close_frame(code, reason))
    return found


def said(words: str) -> Frame:
    return Frame(Opcode.TEXT, words.encode())


class App:
    """An application in the test's hand: it accepts, and keeps its scope, its `send` and what it has received."""

    def __init__(self, *, listens: bool = True) -> None:
        self.listens = listens
        self.events: list[Any] = []
        self.let_go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.events.append(await receive())
        await send({"type": "websocket.accept"})
        while self.listens:
            event = await receive()
            self.events.append(event)
            if event["type"] == "websocket.disconnect":
                return
        await self.let_go.wait()

    @property
    def end(self) -> tuple[int, str]:
        assert self.events[-1]["type"] == "websocket.disconnect"
        return self.events[-1]["code"], self.events[-1]["reason"]


# ── the handshake ──


async def test_a_client_is_let_in() -> None:
    async with peer(echo) as client:
        answer = await client.open()
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer


async def test_the_application_is_told_who_asks_for_what() -> None:
    app = App()
    async with peer(app) as client:
        await client.open("/a%20b?c=d", sec_websocket_protocol="x, patinox.v1")
        assert app.scope["type"] == "websocket"
        assert app.scope["path"] == "/a b"
        assert app.scope["raw_path"] == b"/a%20b"
        assert app.scope["query_string"] == b"c=d"
        assert app.scope["subprotocols"] == ["x", "patinox.v1"]
        assert app.scope["client"] == ("127.0.0.1", 5)
        assert (b"host", b"test") in app.scope["headers"]
        assert app.events == [{"type": "websocket.connect"}]


async def test_the_application_chooses_subprotocol_and_headers() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "subprotocol": "patinox.v1", "headers": [(b"x-own", b"1")]})

    async with peer(app) as client:
        answer = await client.open()
        assert b"sec-websocket-protocol: patinox.v1\r\n" in answer
        assert b"x-own: 1\r\n" in answer


async def test_a_malformed_handshake_is_answered_in_http() -> None:
    async with peer(echo) as client:
        answer = await client.open(sec_websocket_version="8")
        assert answer.startswith(b"HTTP/1.1 426 ")
        assert b"sec-websocket-version: 13" in answer
        assert client.is_gone


async def test_an_application_that_closes_before_it_accepts_refuses() -> None:
    events: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close"})
        events.extend([await receive(), await receive(), await receive()])

    async with peer(app) as client:
        assert (await client.open()).startswith(b"HTTP/1.1 403 ")
        assert [event["type"] for event in events] == ["websocket.connect", *["websocket.disconnect"] * 2]
        assert client.is_gone


async def test_an_application_denies_with_a_response_of_its_own() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b'{"a"', "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b":1}"})

    async with peer(app) as client:
        head, _, body = (await client.open()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
        assert b"connection: close" in head
        assert b"chunked" not in head
        assert body == b'{"a":1}'
        assert client.is_gone


@pytest.mark.parametrize("fails", [True, False])
async def test_an_application_that_does_not_answer_is_an_error_of_the_servers(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if fails:
            raise LookupError("no such thing")

    async with peer(app) as client:
        assert (await client.open()).startswith(b"HTTP/1.1 500 ")
        assert client.is_gone
    assert ("no such thing" in caplog.text) is fails


async def test_a_client_that_leaves_before_it_is_let_in_is_told_to_the_application() -> None:
    events: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        events.extend([await receive(), await receive()])

    async with peer(app) as client:
        await client.open()
        client.transport.close()
        await settle()
        assert events[1] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        assert client.is_gone


async def test_frames_that_come_before_the_answer_are_kept() -> None:
    app_may_accept = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await app_may_accept.wait()
        await echo(scope, receive, send)

    async with peer(app) as client:
        await client.open()
        assert await client.send(text("early")) == []
        assert not client.transport.is_reading
        app_may_accept.set()
        await settle()
        assert parse(client.take().partition(b"\r\n\r\n")[2]) == [said("early")]
        assert client.transport.is_reading


# ── messages ──


async def test_messages_are_echoed_in_order() -> None:
    async with peer(echo) as client:
        await client.open()
        answers = await client.send(text("a"), masked(Opcode.BINARY, b"\0"), text("b"))
        assert answers == [said("a"), Frame(Opcode.BINARY, b"\0"), said("b")]


async def test_a_ping_is_answered_while_the_application_is_busy() -> None:
    async with peer(App(listens=False)) as client:
        await client.open()
        assert await client.send(text("a"), masked(Opcode.PING, b"?")) == [Frame(Opcode.PONG, b"?")]


async def test_what_the_application_does_not_take_is_not_read() -> None:
    app = App(listens=False)
    async with peer(app) as client:
        await client.open()
        many = 3 * INBOX_MESSAGES
        await client.send(*[text(str(k)) for k in range(many)])
        assert not client.transport.is_reading
        taken = [(await app.receive())["text"] for _ in range(many)]
        assert taken == [str(k) for k in range(many)]
        assert client.transport.is_reading


async def test_large_messages_fill_the_inbox_sooner() -> None:
    app = App(listens=False)
    async with peer(app, max_frame_size=1024) as client:
        await client.open()
        await client.send(text("x" * 600), text("y" * 600))
        assert not client.transport.is_reading
        assert (await app.receive())["text"] == "x" * 600
        assert client.transport.is_reading


async def test_a_message_too_large_is_refused_at_its_header() -> None:
    app = App()
    async with peer(app, max_frame_size=1024) as client:
        await client.open()
        (answer,) = await client.send(masked(Opcode.TEXT, b"x" * 1025)[:8])
        assert answer.payload[:2] == (1009).to_bytes(2, "big")
        assert app.end[0] == CloseCode.TOO_LARGE


async def test_deflate_is_used_when_it_is_offered() -> None:
    async with peer(echo) as client:
        assert b"permessage-deflate; server_no_context_takeover" in await client.open(sec_websocket_extensions=DEFLATE)
        (plain,) = parse(frame(b"Hello" * 50, deflate=True))
        (answer,) = await client.send(masked(Opcode.TEXT, plain.payload, rsv1=True))
        assert answer == plain


async def test_deflate_can_be_turned_off() -> None:
    async with peer(echo, compression=False) as client:
        assert b"extensions" not in await client.open(sec_websocket_extensions=DEFLATE)


# ── the end ──


@pytest.mark.parametrize("code", [1000, 1001, 4999])
async def test_a_client_that_closes_is_answered_with_its_code(code: int) -> None:
    app = App()
    async with peer(app) as client:
        await client.open()
        assert await client.send(close(code, "bye")) == [closed(code)]
        assert app.end == (code, "bye")
        assert client.is_gone


async def test_a_close_without_a_code_is_answered_without_one() -> None:
    app = App()
    async with peer(app) as client:
        await client.open()
        assert await client.send(masked(Opcode.CLOSE)) == [Frame(Opcode.CLOSE, b"")]
        assert app.end == (1005, "")


@pytest.mark.parametrize("last", [close(), b"\xff\xff"])
async def test_what_came_before_the_end_is_answered_before_it(last: bytes) -> None:
    async with peer(echo) as client:
        await client.open()
        answers = await client.send(text("a"), text("b"), last)
        assert [answer.opcode for answer in answers] == [Opcode.TEXT, Opcode.TEXT, Opcode.CLOSE]


async def test_an_end_waits_for_the_application_only_so_long() -> None:
    app = App(listens=False)
    async with peer(app) as client:
        await client.open()
        assert await client.send(text("a"), close(1001)) == []
        await client.clock.pass_time()
        assert parse(client.take()) == [closed(1001)]
        app.let_go.set()


async def test_after_a_violation_only_our_half_is_closed_until_the_client_leaves_or_time_is_up() -> None:
    app = App()
    async with peer(app) as client:
        await client.open()
        (answer,) = await client.send(b"\x83")
        assert answer == closed(1002, "there is no opcode 3")
        assert client.transport.wrote_eof
        assert not client.transport.closes
        assert await client.send(text("more") * 100) == []
        assert app.end == (1002, "there is no opcode 3")
        await client.clock.pass_time()
        assert client.transport.was_aborted
        assert client.is_gone


async def test_a_bad_byte_closes_before_its_frame_is_whole() -> None:
    async with peer(echo) as client:
        await client.open()
        bad = masked(Opcode.TEXT, b"ok \xf5 and so on")
        assert await client.send(bad[:9]) == []
        assert await client.send(bad[9:10]) == [closed(1007, "text must be UTF-8")]


async def test_an_application_closes_with_its_code_and_the_client_answers() -> None:
    app = App()
    async with peer(app) as client:
        await client.open()
        await app.send({"type": "websocket.close", "code": 4408, "reason": "too slow"})
        assert parse(client.take()) == [closed(4408, "too slow")]
        assert not client.transport.closes
        assert await client.send(text("late"), close(4408)) == []
        assert app.end == (4408, "too slow")
        assert client.is_gone


async def test_a_client_that_does_not_answer_a_close_is_left() -> None:
    async with peer(App()) as client:
        await client.open()
        await client.protocol.send({"type": "websocket.close"})
        assert parse(client.take()) == [closed(1000)]
        await client.clock.pass_time()
        assert client.is_gone


async def test_a_transport_that_does_not_end_is_aborted() -> None:
    async with peer(App()) as client:
        await client.open()
        client.transport.stalls = True
        await client.send(close())
        assert not client.is_gone
        await client.clock.pass_time()
        assert client.transport.was_aborted


async def test_a_close_can_be_said_to_a_client_that_does_not_read() -> None:
    app = App()
    async with peer(app) as client:
        await client.open()
        client.protocol.pause_writing()
        await app.send({"type": "websocket.close", "code": 4408})
        assert parse(client.take()) == [closed(4408)]


async def test_both_may_close_at_once() -> None:
    app = App(listens=False)
    async with peer(app) as client:
        await client.open()
        await client.send(text("a"), close(1001))
        await app.send({"type": "websocket.close", "code": 1000})
        assert parse(client.take()) == [closed(1000)]
        app.let_go.set()
        await settle()
        assert client.is_gone


async def test_a_client_that_vanishes_is_told_to_the_application_after_its_messages() -> None:
    app = App(listens=False)
    async with peer(app) as client:
        await client.open()
        await client.send(text("a"))
        client.transport.close()
        await settle()
        assert (await app.receive())["text"] == "a"
        for _ in range(2):
            assert await app.receive() == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        app.let_go.set()


@pytest.mark.parametrize("kind", ["websocket.send", "websocket.close"])
async def test_nothing_can_be_sent_to_a_client_that_has_gone(kind: str) -> None:
    app = App(listens=False)
    async with peer(app) as client:
        await client.open()
        client.transport.close()
        await settle()
        with pytest.raises(OSError, match="gone"):
            await app.send({"type": kind, "text": "a"})
        app.let_go.set()


async def test_an_application_that_returns_closes() -> None:
    app = App(listens=False)
    async with peer(app) as client:
        await client.open()
        app.let_go.set()
        await settle()
        assert parse(client.take()) == [closed(1000)]


async def test_an_application_that_fails_closes_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        raise LookupError("no such thing")

    async with peer(app) as client:
        assert parse((await client.open()).partition(b"\r\n\r\n")[2]) == [closed(1011)]
    assert "no such thing" in caplog.text


async def test_events_in_the_wrong_order_are_the_applications_mistake() -> None:
    app = App(listens=False)
    async with peer(app) as client:
        await client.open()
        with pytest.raises(RuntimeError, match="open"):
            await app.send({"type": "websocket.accept"})
        app.let_go.set()


async def test_a_server_that_ends_says_restart() -> None:
    app = App()
    async with peer(app) as client:
        await client.open()
        client.protocol.shutdown()
        assert parse(client.take()) == [closed(1012)]
        await settle()
        assert app.end[0] == CloseCode.RESTART


async def test_a_server_that_ends_refuses_whom_it_has_not_let_in() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async with peer(app) as client:
        await client.open()
        client.protocol.shutdown()
        assert client.take().startswith(b"HTTP/1.1 503 ")


async def test_a_cancelled_application_says_restart() -> None:
    async with peer(App()) as client:
        await client.open()
        (task,) = client.server.tasks
        task.cancel()
        await settle()
        assert parse(client.take()) == [closed(1012)]


# ── signs of life ──


async def test_a_silent_client_is_pinged_once_an_interval() -> None:
    async with peer(App()) as client:
        await client.open()
        assert await client.beat(3) == []
        assert await client.beat() == [Frame(Opcode.PING, b"")]
        assert await client.beat(3) == []


async def test_a_client_that_is_heard_is_not_pinged() -> None:
    async with peer(App()) as client:
        await client.open()
        await client.beat(3)
        await client.send(masked(Opcode.PONG))
        assert await client.beat(3) == []


async def test_a_client_that_answers_no_ping_is_dead() -> None:
    app = App()
    async with peer(app) as client:
        await client.open()
        await client.beat(8)
        assert client.transport.was_aborted
        assert app.end == (1006, "the peer did not answer a ping")
        assert client.is_gone


async def test_a_client_that_takes_what_it_is_sent_is_alive() -> None:
    async with peer(App()) as client:
        await client.open()
        await client.beat(6)
        client.protocol.pause_writing()
        client.protocol.resume_writing()
        assert await client.beat(3) == []
        assert not client.transport.was_aborted


async def test_a_client_that_is_not_listened_to_is_not_taken_for_dead() -> None:
    app = App(listens=False)
    async with peer(app) as client:
        await client.open()
        await client.send(*[text("a")] * INBOX_MESSAGES)
        await client.beat(20)
        assert not client.transport.was_aborted
        app.let_go.set()


async def test_no_interval_is_no_pings() -> None:
    async with peer(App(), ping_interval_s=0.0) as client:
        await client.open()
        assert await client.beat(20) == []


# ── a client that reads slowly ──


async def test_send_waits_for_the_transport() -> None:
    app = App(listens=False)
    async with peer(app) as client:
        await client.open()
        client.protocol.pause_writing()
        sending = asyncio.ensure_future(app.send({"type": "websocket.send", "text": "a"}))
        await settle()
        assert not sending.done()
        client.protocol.resume_writing()
        await sending
        assert parse(client.take()) == [said("a")]
        app.let_go.set()


async def test_a_client_that_pings_and_does_not_read_is_owed_one_pong() -> None:
    async with peer(App()) as client:
        await client.open()
        client.protocol.pause_writing()
        assert await client.send(masked(Opcode.PING, b"1"), masked(Opcode.PING, b"2")) == []
        client.protocol.resume_writing()
        assert parse(client.take()) == [Frame(Opcode.PONG, b"2")]


async def test_a_send_that_waits_ends_with_its_client() -> None:
    app = App(listens=False)
    async with peer(app) as client:
        await client.open()
        client.protocol.pause_writing()
        sending = asyncio.ensure_future(app.send({"type": "websocket.send", "text": "a"}))
        await settle()
        client.transport.close()
        with pytest.raises(OSError, match="gone"):
            await sending
        app.let_go.set()


# ── shared frames ──


async def test_a_sink_writes_frames_that_were_made_once() -> None:
    app = App()
    async with peer(app) as client:
        await client.open()
        sink = app.scope["extensions"][CONNECTION].direct_sink()
        shared = frame(b"a") + frame(b"b")
        packed = sink.pack(shared, final=True)
        assert packed is shared
        assert sink.push(packed) is None
        assert parse(client.take()) == [said("a"), said("b")]


async def test_a_sink_waits_for_the_transport() -> None:
    app = App()
    async with peer(app) as client:
        await client.open()
        first, second = (app.scope["extensions"][CONNECTION].direct_sink() for _ in range(2))
        client.protocol.pause_writing()
        pending = [first.push(frame(b"a")), second.push(frame(b"b"))]
        assert client.take() == b""
        client.protocol.resume_writing()
        for waits in pending:
            await waits
        assert parse(client.take()) == [said("a"), said("b")]


async def test_sinks_that_waited_heed_the_transport_again() -> None:
    app = App()
    async with peer(app) as client:
        await client.open()
        sink = app.scope["extensions"][CONNECTION].direct_sink()
        client.protocol.pause_writing()
        waiting = [asyncio.ensure_future(sink.push(frame(b"x"))) for _ in range(2)]
        await settle()
        client.transport.fills = True
        client.protocol.resume_writing()
        await settle()
        assert [task.done() for task in waiting] == [True, False]
        client.transport.fills = False
        client.protocol.resume_writing()
        await asyncio.gather(*waiting)


@pytest.mark.parametrize("is_full", [False, True])
async def test_a_sink_of_a_client_that_has_gone_raises(is_full: bool) -> None:
    app = App()
    async with peer(app) as client:
        await client.open()
        sink = app.scope["extensions"][CONNECTION].direct_sink()
        pending = None
        if is_full:
            client.protocol.pause_writing()
            pending = sink.push(frame(b"a"))
        client.transport.close()
        await settle()
        with pytest.raises(ConnectionResetError):
            await pending if pending is not None else sink.push(frame(b"a"))


@pytest.mark.parametrize(
    ("offer", "deflates"),
    [(DEFLATE, True), ("permessage-deflate; server_max_window_bits=11", False), (None, False)],
)
async def test_a_socket_says_whether_it_takes_deflated_frames(offer: str | None, deflates: bool) -> None:
    app = App()
    async with peer(app) as client:
        await client.open(sec_websocket_extensions=offer)
        assert app.scope["extensions"][CONNECTION].deflates is deflates


# ── real sockets ──


@asynccontextmanager
async def live(app: Any, **limits: Any) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """Serves an application with our two protocols; gives its address."""
    config = uvicorn.Config(
        app, loop="none", http=StreamingHttpProtocol, ws=websocket_protocol(WebSocketConfig(**limits)),
        lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=5,
    )  # fmt: skip
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.startup(sockets=[listener])
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", server
    finally:
        await server.shutdown(sockets=[listener])


@asynccontextmanager
async def client_of(app: Any, compression: str | None = "deflate", **limits: Any) -> AsyncIterator[ClientConnection]:
    async with live(app, **limits) as (address, _), connect(f"ws://{address}", compression=compression) as client:
        yield client


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("size", [0, 1, 126, 65_536])
async def test_a_library_is_echoed(compression: str | None, size: int) -> None:
    async with client_of(echo, compression) as client:
        for message in ("κ" * (size // 2), b"\xff" * size):
            await client.send(message)
            assert await client.recv() == message


async def test_a_library_sends_in_parts() -> None:
    async with client_of(echo) as client:
        await client.send(["Hel", "", "lo"])
        assert await client.recv() == "Hello"


async def test_a_library_pings() -> None:
    async with client_of(App()) as client:
        await (await client.ping(b"?"))


async def test_a_client_that_is_still_sending_is_told_that_its_message_is_too_large() -> None:
    async with live(echo, max_frame_size=1024) as (address, _):
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(masked(Opcode.BINARY, b"x" * 5_000_000))
        (answer,) = parse(await reader.read())
        assert answer.payload[:2] == CloseCode.TOO_LARGE.to_bytes(2, "big")
        writer.close()
        await writer.wait_closed()


async def test_a_library_is_told_why_the_server_closes() -> None:
    app = App()
    async with client_of(app) as client:
        await client.send("a")
        await app.send({"type": "websocket.close", "code": 4429, "reason": "too many"})
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (4429, "too many")


async def test_a_library_is_refused_in_http() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    async with live(app) as (address, _):
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"ws://{address}"):
                pass
        assert caught.value.response.status_code == 403
        assert caught.value.response.body == b"no"


async def test_a_library_gets_shared_frames_deflated() -> None:
    app = App()
    async with client_of(app) as client:
        await client.ping()
        socket_of_it = app.scope["extensions"][CONNECTION]
        assert socket_of_it.deflates
        sink = socket_of_it.direct_sink()
        sink.push(b"".join(frame(f"{k} ".encode() * 100, deflate=True) for k in range(3)))
        assert [await client.recv() for _ in range(3)] == [f"{k} " * 100 for k in range(3)]


async def test_a_server_that_ends_leaves_no_connection() -> None:
    async with live(echo) as (address, server):
        client = await connect(f"ws://{address}")
        await client.send("a")
        await client.recv()
        await server.shutdown()
        assert not server.server_state.connections
        assert not server.server_state.tasks
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == TheirCode.SERVICE_RESTART


async def test_a_plain_request_is_none_of_its_business() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with live(app) as (address, _):
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request(upgrade=None, connection="close"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 204 ")
        writer.close()
        await writer.wait_closed()


async def test_no_bytes_break_the_server() -> None:
    rolls = random.Random(6455)

    def mangled(data: bytes) -> bytes:
        raw = bytearray(data)
        for _ in range(rolls.randrange(4)):
            at = rolls.randrange(len(raw))
            raw[at : at + rolls.randrange(3)] = rolls.randbytes(rolls.randrange(3))
        return bytes(raw)

    async def attack(address: str) -> None:
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(mangled(request(sec_websocket_extensions=DEFLATE)))
            await reader.read(1)
            writer.write(mangled(text("Hello") * 9) + rolls.randbytes(99))
            writer.write_eof()
            await reader.read()
        except OSError:
            pass  # closed by the server, at any point
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async with live(echo) as (address, server):
        before = asyncio.all_tasks()
        for _ in range(300):
            await attack(address)
        async with connect(f"ws://{address}") as client:
            await client.send("still here")
            assert await client.recv() == "still here"
        await server.shutdown()
        assert not server.server_state.connections
        assert asyncio.all_tasks() == before
