"""A WebSocket between a transport and whoever reads its messages: reading, writing, closing (RFC 6455 §5 to §7).

    CONNECTING ─ begin ─▶ OPEN ─ we close ─▶ CLOSING ─ the peer's close, or a timeout ────────▶ CLOSED
        │                  ├─ the peer closes: its code is sent back ─────────────────────────▶ CLOSED
        │                  └─ the peer breaks a rule: a close frame, and its bytes are let go ─▶ CLOSED
        └─ answered in HTTP (DENYING while that is sent) ─────────────────────────────────────▶ CLOSED

What a peer sent before it closed or broke a rule comes first: the end waits behind the messages in the inbox until
somebody asks for more, or for `close_timeout_s`. The inbox is bounded; what it has no room for stays unparsed, and the
socket unread. All connections of a server share one timer (`websocket_pulse`) as long as they are open.

Streams write through sinks (`frames.DirectSocket`): frames that were made once, for all readers, straight to the
transport, whose flow control they heed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, ClassVar, NamedTuple

from patinox.config.streaming import WebSocketConfig
from patinox.server.websocket_deflate import Agreement
from patinox.server.websocket_frames import Binary, Close, MessageReader, Ping, Received, Text
from patinox.server.websocket_pulse import Pulse
from patinox.transports.websocket.frames import (
    SHARED_WINDOW_BITS,
    CloseCode,
    Opcode,
    Violation,
    close_frame,
    encode,
)

INBOX_MESSAGES = 32
"""Messages that wait to be asked for; fewer, once they are together as large as one may be."""

_PING = encode(Opcode.PING, b"")


class State(Enum):
    """How far a connection is."""

    CONNECTING = "connecting"
    DENYING = "denying"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


_OPEN = State.OPEN  # for what is asked for every frame: looking a member up takes longer than all the rest


class End(NamedTuple):
    """How a connection ends: what its reader is told; after a violation the peer's bytes mean nothing any more."""

    code: int
    reason: str = ""
    is_violation: bool = False


class FramedConnection(asyncio.Protocol):
    """One connection. Idle, it is a socket, this object and a reader."""

    limits: ClassVar[WebSocketConfig]
    pulse: ClassVar[Pulse]
    close_timeout_s: ClassVar[float]

    __slots__ = (
        "_drained",
        "_early",
        "_inbox",
        "_inbox_size",
        "_is_held",
        "_pong_due",
        "_reader",
        "_timer",
        "_waiter",
        "end",
        "loop",
        "silent_beats",
        "state",
        "transport",
        "window_bits",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.transport: Any = None
        self.state = State.CONNECTING
        self.end: End | None = None  # what it is to be, from when that is known
        self.silent_beats = 0
        self.window_bits = 0  # of what is sent deflated; 0 where that was not agreed on
        self._early = b""
        self._reader: MessageReader | None = None
        self._inbox: list[Text | Binary] = []  # short, and mostly empty: a deque would take ten times the memory
        self._inbox_size = 0
        self._is_held = False
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Event | None = None  # while the transport takes no more
        self._pong_due: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.value}, {len(self._inbox)} messages waiting>"

    # ── what the transport calls ──

    def connection_made(self, transport: Any) -> None:
        """The transport is there."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer. After the end they are let go."""
        self.silent_beats = 0
        if self._reader is not None:
            self._reader.feed(data)
            self._read()
        elif self.state is State.CONNECTING:
            self._early += data
            self._hold(True)

    def pause_writing(self) -> None:
        """The transport has more than it should."""
        if self._drained is None:
            self._drained = asyncio.Event()

    def resume_writing(self) -> None:
        """The transport takes bytes again: the peer, or its system, has taken some."""
        self.silent_beats = 0
        self._release()
        if self._pong_due is not None:
            self._pong(self._pong_due)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, however it went."""
        self._become_closed()
        self._stop_timer()
        self._release()
        self.ends(End(CloseCode.ABNORMAL))

    # ── what its owner calls ──

    def begin(self, agreement: Agreement | None) -> None:
        """The handshake is done: frames from here on."""
        self.state = State.OPEN
        self.window_bits = 0 if agreement is None else agreement.window_bits
        self._reader = MessageReader(self.limits.max_frame_size, deflate=agreement is not None)
        self.pulse.join(self)
        early, self._early = self._early, b""
        self._reader.feed(early)
        self._read()

    async def next_message(self) -> Text | Binary | None:
        """The peer's next message; None after the last, when `end` says how it ended."""
        while not self._inbox:
            if self.end is not None:
                self.say_goodbye()
                return None
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        received = self._inbox.pop(0)
        self._inbox_size -= len(received.data)
        if self._is_held:
            self._read()
        return received

    def write(self, data: bytes) -> None:
        """Writes bytes, if there is anybody to take them."""
        if not self.transport.is_closing():
            self.transport.write(data)

    async def drain(self) -> None:
        """Waits until the transport takes more, or is gone."""
        while (drained := self._drained) is not None:
            await drained.wait()

    def close(self, code: int, reason: str = "") -> None:
        """Begins to close, or ends with a code of our own what the peer has begun to end."""
        self.write(close_frame(code, reason))
        if self.end is not None:
            self.hang_up(lingers=self.end.is_violation)
            return
        self.state = State.CLOSING
        self.pulse.leave(self)  # nothing follows a close frame, and there is a timeout now
        self.end = End(code, reason)
        self._inbox.clear()
        self._inbox_size = 0
        self._wake()
        self._start_timer(self.hang_up)
        self._read()

    def ends(self, end: End) -> None:
        """Says how it ends; the first to say so is right. It is acted upon when everything before was asked for."""
        if self.state is State.CLOSING:
            self.hang_up(lingers=end.is_violation)
        elif self.end is None:
            self.end = end
            self._wake()
            if self.state is State.OPEN:
                self._start_timer(self.say_goodbye)

    def say_goodbye(self) -> None:
        """Sends the close frame that the peer's own, or its violation, asks for."""
        if self.state is State.OPEN and self.end is not None:
            self.write(close_frame(self.end.code, self.end.reason if self.end.is_violation else ""))
            self.hang_up(lingers=self.end.is_violation)

    def hang_up(self, *, lingers: bool = False) -> None:
        """Ends the connection after what it was given.

        It `lingers` where the peer may still be sending: closing a socket that holds unread bytes resets it, and what
        the close frame says could be lost with it (RFC 6455 §7.1.1). Then only our half is closed.
        """
        self._become_closed()
        if self.transport.is_closing():
            return
        self._start_timer(self.transport.abort)
        if lingers and self.transport.can_write_eof():
            self._hold(False)
            self.transport.write_eof()
        else:
            self.transport.close()

    # ── what streams call (frames.DirectSocket) ──

    @property
    def deflates(self) -> bool:
        """Whether shared frames may be deflated: it was agreed on, and the window they need is not too large."""
        return self.window_bits >= SHARED_WINDOW_BITS

    def direct_sink(self) -> FrameSink:
        """A sink for whole frames, joined in any number; a socket has any number of sinks."""
        return FrameSink(self)

    @property
    def is_full(self) -> bool:
        """Whether the transport has more than it should: `drain` waits until it has less."""
        return self._drained is not None

    def abort(self) -> None:
        """Ends the connection now, with what it never took."""
        self.transport.abort()

    # ── what the pulse calls ──

    def ping(self) -> None:
        """Asks the peer for a sign of life."""
        self.write(_PING)

    def give_up(self) -> None:
        """The peer is dead; unless it is we who don't listen."""
        if self._is_held:
            self.silent_beats = 0
            return
        self._become_closed()
        self.ends(End(CloseCode.ABNORMAL, "the peer did not answer a ping"))
        self.transport.abort()

    # ── reading ──

    def _read(self) -> None:
        """Takes what has arrived, as far as the inbox has room."""
        while self._reader is not None and not self._is_inbox_full():
            try:
                received = self._reader.next()
            except Violation as violation:
                self.ends(End(violation.code, violation.reason, is_violation=True))
                break
            if received is None:
                break
            self._take(received)
        self._hold(self._is_inbox_full())

    def _take(self, received: Received) -> None:
        if isinstance(received, Text | Binary):
            if self.state is State.OPEN:  # else we have closed, and nobody asks any more
                self._inbox.append(received)
                self._inbox_size += len(received.data)
                self._wake()
        elif isinstance(received, Ping):
            self._pong(received.data)
        elif isinstance(received, Close):
            self.ends(End(received.code, received.reason))

    def _is_inbox_full(self) -> bool:
        return len(self._inbox) >= INBOX_MESSAGES or self._inbox_size >= self.limits.max_frame_size

    def _hold(self, is_held: bool) -> None:
        if is_held != self._is_held and not self.transport.is_closing():
            self._is_held = is_held
            if is_held:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _pong(self, payload: bytes) -> None:
        # One is enough for many pings (§5.5.3): a peer that pings and does not read must not fill the memory.
        self._pong_due = payload if self.is_full else None
        if not self.is_full and self.state is State.OPEN:
            self.write(encode(Opcode.PONG, payload))

    # ── small parts ──

    def _become_closed(self) -> None:
        self.state = State.CLOSED
        self._reader = self._pong_due = None
        self.pulse.leave(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _release(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set()

    def _start_timer(self, act: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self.close_timeout_s, act)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class FrameSink:
    """Writes frames that were made once to one socket. What it is given are whole frames already."""

    __slots__ = ("_socket",)
    kind = "websocket frames"

    def __init__(self, socket: FramedConnection) -> None:
        self._socket = socket

    def pack(self, data: bytes, *, final: bool) -> bytes:
        """The frames as they are: the end of one stream is not the end of its socket."""
        return data

    def push(self, message: bytes) -> Awaitable[None] | None:
        """Writes now, or returns what waits for the transport and then writes. Raises ConnectionResetError."""
        socket = self._socket
        if socket._drained is not None:
            return self._later(message)
        if socket.state is not _OPEN:
            raise ConnectionResetError("the client has gone")
        socket.transport.write(message)
        return None

    async def _later(self, message: bytes) -> None:
        await self._socket.drain()
        if self._socket.state is not State.OPEN:
            raise ConnectionResetError("the client has gone")
        self._socket.transport.write(message)
