"""A WebSocket connection of the server's without a socket: a client in the test's hand, and a clock that it moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import uvicorn
from uvicorn.server import ServerState

from patinox.config.streaming import WebSocketConfig
from patinox.server.websocket import WebSocketProtocol, websocket_protocol
from patinox.transports.websocket.frames import CloseCode, Opcode, close_frame, encode

MASK = b"\x37\xfa\x21\x3d"
REQUEST = {
    "Host": "test",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
"""The headers of RFC 6455 §1.2's example."""


class Frame(NamedTuple):
    """One frame of the server's."""

    opcode: int
    payload: bytes
    rsv1: bool = False


def request(path: str = "/", **changes: str | None) -> bytes:
    """A handshake; `sec_websocket_key=None` leaves that header out."""
    given = {name.replace("_", "-").lower(): value for name, value in changes.items()}
    headers = {name.lower(): value for name, value in REQUEST.items()} | given
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if value is not None]
    return f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1")


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
    """A client's frame."""
    return encode(opcode, payload, fin=fin, rsv1=rsv1, mask=MASK)


def text(said: str) -> bytes:
    """A client's text message."""
    return masked(Opcode.TEXT, said.encode())


def close(code: int = CloseCode.NORMAL, reason: str = "") -> bytes:
    """A client's close."""
    return masked(Opcode.CLOSE, close_frame(code, reason)[2:])


def parse(data: bytes) -> list[Frame]:
    """A server's frames, which must all be whole and unmasked."""
    frames = []
    while data:
        first, length, at = data[0], data[1], 2
        assert first & 0x80
        assert length < 128
        if length > 125:
            at += 2 if length == 126 else 8
            length = int.from_bytes(data[2:at], "big")
        assert len(data) >= at + length
        frames.append(Frame(first & 0x0F, data[at : at + length], bool(first & 0x40)))
        data = data[at + length :]
    return frames


class FakeTransport:
    """Keeps what is written; ends when it is told to."""

    def __init__(self, clock: HandMovedLoop) -> None:
        self.protocol: WebSocketProtocol | None = None
        self.data = b""
        self.is_reading = True
        self.wrote_eof = False
        self.was_aborted = False
        self.closes = False
        self.stalls = False
        """The peer takes nothing more: closing does not come to its end, aborting does."""
        self.fills = False
        """Each write is more than the transport should have."""
        self._clock = clock

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 80)}.get(name)

    def write(self, data: bytes) -> None:
        assert not self.closes
        assert not self.wrote_eof
        self.data += data
        if self.fills and self.protocol is not None:
            self.protocol.pause_writing()

    def is_closing(self) -> bool:
        return self.closes

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.wrote_eof = True

    def pause_reading(self) -> None:
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_reading
        self.is_reading = True

    def close(self) -> None:
        if not self.closes:
            self.closes = True
            if not self.stalls:
                self._end()

    def abort(self) -> None:
        self.was_aborted = True
        if not self.closes or self.stalls:
            self._end()
        self.closes = True

    def _end(self) -> None:
        assert self.protocol is not None
        self._clock.call_soon(self.protocol.connection_lost, None)


class HandMovedLoop:
    """The running loop, but what is called later is called by `pass_time`."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.create_task = loop.create_task
        self.create_future = loop.create_future
        self.call_soon = loop.call_soon
        self._later: list[asyncio.Handle] = []

    def call_later(self, delay_s: float, act: Callable[..., None], *args: Any) -> asyncio.Handle:
        handle = asyncio.Handle(act, args, asyncio.get_running_loop())
        self._later.append(handle)
        return handle

    @property
    def waiting(self) -> int:
        """Timers that would still do something."""
        return sum(not handle.cancelled() for handle in self._later)

    async def pass_time(self) -> None:
        """Long enough for every timer that runs now."""
        later, self._later = self._later, []
        for handle in later:
            if not handle.cancelled():
                handle._run()
        await settle()


class Peer:
    """The client's end of one connection."""

    def __init__(self, app: Any, limits: WebSocketConfig) -> None:
        self.clock = HandMovedLoop()
        self.transport = FakeTransport(self.clock)
        config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
        config.load()
        self.server = ServerState()
        self.protocol = websocket_protocol(limits)(config, self.server, {}, self.clock)  # type: ignore[arg-type]
        self.transport.protocol = self.protocol
        self.protocol.connection_made(self.transport)

    async def open(self, path: str = "/", **changes: str | None) -> bytes:
        """Shakes hands; returns the response."""
        return await self.send_raw(request(path, **changes))

    async def send_raw(self, data: bytes) -> bytes:
        """Sends bytes, lets the server do what it does, and returns what it has written meanwhile."""
        if not self.transport.closes:
            self.protocol.data_received(data)
        await settle()
        return self.take()

    async def send(self, *frames: bytes) -> list[Frame]:
        """Sends frames in one piece; returns the server's."""
        return parse(await self.send_raw(b"".join(frames)))

    def take(self) -> bytes:
        """What the server has written since it was looked at."""
        data, self.transport.data = self.transport.data, b""
        return data

    async def beat(self, times: int = 1) -> list[Frame]:
        """Lets quarters of the ping interval pass."""
        for _ in range(times):
            self.protocol.pulse.beat(asyncio.get_running_loop())
        await settle()
        return parse(self.take())

    @property
    def is_gone(self) -> bool:
        """Whether nothing of the connection is left: no task, no timer, no place among the server's."""
        is_over = self.transport.closes and not self.server.tasks and not self.server.connections
        return is_over and not self.clock.waiting and not len(self.protocol.pulse)


@asynccontextmanager
async def peer(app: Any, **limits: Any) -> AsyncIterator[Peer]:
    """A connection that must be over in the end, whatever happened on it."""
    made = Peer(app, WebSocketConfig(**limits))
    try:
        yield made
    finally:
        if not made.transport.closes:
            made.transport.close()
        await settle()
        for task in tuple(made.server.tasks):
            task.cancel()
        await settle()
        await made.clock.pass_time()
    assert made.is_gone


async def settle() -> None:
    """Lets everything happen that can happen now."""
    for _ in range(20):
        await asyncio.sleep(0)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that sends back every message."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})
