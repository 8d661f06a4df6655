"""One socket that speaks HTTP/2: hypercorn's TCPServer, our protocol, and no client that it waits for endlessly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from patinox.config.streaming import Http2Config
from patinox.server.http2.protocol import Http2Protocol

_LINGER_S = 0.5

_log = logging.getLogger("patinox.http2")


class Http2Connection(TCPServer):
    """One connection, from the first byte until it has gone."""

    protocol: Http2Protocol  # type: ignore[assignment]

    def __init__(self, *arguments: Any, limits: Http2Config, send_deadline_s: float) -> None:
        super().__init__(*arguments)
        self._limits = limits
        self._send_deadline_s = send_deadline_s
        self._waiting = 0  # who has something to write before anybody else may
        self._is_serving = False
        self._is_over = False
        self._resting: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Http2Connection {self.writer.get_extra_info('peername')}>"

    async def run(self) -> None:
        """Serves it. A fault of ours ends this connection alone."""
        try:
            await self._serve()
        except OSError:
            pass
        except Exception:
            _log.exception("a connection broke off")
        finally:
            await self._close()

    async def _serve(self) -> None:
        socket = self.writer.get_extra_info("socket")
        async with TaskGroup(self.loop) as self._task_group:
            self.protocol = Http2Protocol(
                self.app, self.config, self.context, self._task_group, ConnectionState(self.state),
                self.writer.get_extra_info("ssl_object") is not None,
                parse_socket_addr(socket.family, socket.getpeername()),
                parse_socket_addr(socket.family, socket.getsockname()),
                self.protocol_send, socket=self, limits=self._limits, send_deadline_s=self._send_deadline_s,
            )  # fmt: skip
            await self.protocol.initiate()
            self._is_serving = True
            self._rest()
            await self._read_data()
            self._stir()

    @property
    def has_room(self) -> bool:
        """Whether the socket has taken all that was written, and nobody waits to write more."""
        return not self._waiting and not self.writer.transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Writes, where there is room."""
        if not (self._is_over or self.writer.transport.is_closing()):  # else what is read next is its end
            self.writer.write(data)

    async def protocol_send(self, event: Event) -> None:
        """Writes, or ends, and waits while the client takes nothing: not for ever, whatever it has asked for."""
        if isinstance(event, Updated):
            await self._updated(event.idle)
        elif isinstance(event, Closed):
            self._end_sending()
        elif isinstance(event, RawData) and (self.has_room or self._is_over):
            self.write(event.data)
        else:
            self._waiting += 1
            try:
                await self._in_time(super().protocol_send(event))
            finally:
                self._waiting -= 1

    def _end_sending(self) -> None:
        """Ends with what has been written. What still comes is passed over, for a moment.

        Closed while something lies unread, a socket has the client's system throw away what that has not read (RFC 1122
        §4.2.2.13): the end of its streams.
        """
        transport = self.writer.transport
        if self._is_over or transport.is_closing():
            return
        self._is_over = True
        self._stir()
        if transport.can_write_eof():
            with suppress(OSError):  # the client has gone already
                transport.write_eof()
            self._resting = self.loop.call_later(_LINGER_S, transport.close)
        else:  # TLS has an end of its own, which waits for the client's
            transport.close()

    async def _close(self) -> None:
        with suppress(OSError):  # what broke it, told once more
            await self._in_time(super()._close())

    async def _in_time(self, waiting: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._send_deadline_s or None):
                await waiting
        except TimeoutError:
            self.abort()

    async def end(self) -> None:
        """Takes no new requests, and says GOAWAY with the last of those there are, which is now if there is none."""
        if not self._is_serving:
            self.abort()
            return
        self.protocol.is_leaving = True
        if self.protocol.idle:
            await self.protocol.leave()

    def abort(self) -> None:
        """Ends it now."""
        self.writer.transport.abort()

    # hypercorn's task for this can be cancelled while it closes, and then both wait for each other.

    async def _updated(self, is_idle: bool) -> None:
        if self._is_over:
            return
        self._stir()
        if not is_idle:
            return
        if self.protocol.is_leaving:
            await self.protocol.leave()
        else:
            self._rest()

    def _rest(self) -> None:
        self._resting = self.loop.call_later(self.config.keep_alive_timeout, self._rested)

    def _rested(self) -> None:
        self._task_group.spawn(self.protocol.leave)

    def _stir(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
