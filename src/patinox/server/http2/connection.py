"""One socket that speaks HTTP/2: hypercorn's TCPServer, our protocol, and no client that it waits for endlessly."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Event, RawData, Updated
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from patinox.config.streaming import Http2Config
from patinox.server.http2.protocol import Http2Protocol

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
        if not self.writer.transport.is_closing():  # else what is read next is its end
            self.writer.write(data)

    async def protocol_send(self, event: Event) -> None:
        """Writes, or closes, and waits while the client takes nothing: not for ever, whatever it has asked for."""
        if isinstance(event, Updated):
            await self._updated(event.idle)
        elif isinstance(event, RawData) and self.has_room:
            self.write(event.data)
        else:
            await self._send_in_turn(event)

    async def _send_in_turn(self, event: Event) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(self._send_deadline_s or None):
                await super().protocol_send(event)
        except TimeoutError:
            self.abort()
        finally:
            self._waiting -= 1

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
