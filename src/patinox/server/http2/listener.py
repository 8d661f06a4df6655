"""The port for HTTP/2: in the clear (prior knowledge, RFC 9113 §3.3), or TLS with ALPN (§3.2).

Over TLS a client without HTTP/2 is given HTTP/1.1 by uvicorn's protocol, as on the other port; so are WebSockets.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.worker_context import WorkerContext

from patinox.config import StreamingConfig
from patinox.server.http2.connection import Http2Connection
from patinox.server.http2.protocol import hypercorn_config

_HANDSHAKE_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 1.0

MakeProtocol = Callable[[], asyncio.Protocol]


class Http2Listener:
    """Serves an ASGI application on a listening socket. `http1` makes the protocol of those that don't speak HTTP/2."""

    def __init__(
        self, app: Any, streaming: StreamingConfig, listener: socket.socket, tls: ssl.SSLContext | None,
        http1: MakeProtocol,
    ) -> None:  # fmt: skip
        self._app = ASGIWrapper(app)
        self._streaming = streaming
        self._config = hypercorn_config(streaming.http2, logging.getLogger("patinox.http2"))
        self._listener = listener
        self._tls = tls
        self._http1 = http1
        self._context = WorkerContext(None)
        self._connections: dict[Http2Connection, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def __repr__(self) -> str:
        return f"<Http2Listener {self._listener.getsockname()}, {len(self)} connections>"

    def __len__(self) -> int:
        return len(self._connections)

    async def start(self) -> None:
        """Begins to accept."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._make, sock=self._listener, ssl=self._tls,
            ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_S if self._tls is not None else None,
        )  # fmt: skip

    def end(self) -> None:
        """Accepts no more; each connection ends with the last of its streams, and says so (GOAWAY)."""
        if self._server is not None:
            self._server.close()
        loop = asyncio.get_running_loop()  # one that takes nothing is not to keep the others from being told
        self._ending = {loop.create_task(connection.end()) for connection in tuple(self._connections)}

    async def aclose(self) -> None:
        """Waits a moment for the connections to end, and ends what is left of them."""
        await self._ended(_CLOSE_TIMEOUT_S)
        for connection in tuple(self._connections):
            connection.abort()
        await self._ended(None)

    async def _ended(self, timeout_s: float | None) -> None:
        tasks = {*self._connections.values(), *self._ending}
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    def _make(self) -> asyncio.Protocol:
        return _Choosing(self._make_http2, self._http1) if self._tls is not None else self._make_http2()

    def _make_http2(self) -> asyncio.Protocol:
        loop = asyncio.get_running_loop()
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), self._connected, loop=loop)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        connection = Http2Connection(
            self._app, loop, self._config, self._context, {}, reader, writer,
            limits=self._streaming.http2, send_deadline_s=self._streaming.write_deadline_s,
        )  # fmt: skip
        task = self._connections[connection] = loop.create_task(connection.run())
        task.add_done_callback(lambda _: self._connections.pop(connection, None))


class _Choosing(asyncio.Protocol):
    """What a TLS connection is until its handshake has said which protocol the client speaks (RFC 7301)."""

    def __init__(self, http2: MakeProtocol, http1: MakeProtocol) -> None:
        self._http2 = http2
        self._http1 = http1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        spoken = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        chosen = self._http2() if spoken == "h2" else self._http1()
        cast(asyncio.Transport, transport).set_protocol(chosen)  # uvloop's are no subclass of it
        chosen.connection_made(transport)
