"""The server's own HTTP/1.1 connection: uvicorn's, with a shorter way for the frames of streams.

Mounted in somebody's application Patinox is plain ASGI. On its own server the scope carries an extension,
`patinox.connection`, by which a reader's sink writes chunks that are encoded once (RFC 9112 §7.1) and shared by all
readers, straight to the transport, whose flow control it heeds as uvicorn does.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from patinox.delivery.sink import Message, start
from patinox.transports.http import CONNECTION


class StreamingHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which offers itself to the application."""

    def on_message_begin(self) -> None:
        """Begins a request."""
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: self}  # type: ignore[dict-item]

    def direct_sink(self) -> DirectSink | None:
        """A sink for the response under way, once its head is sent; None where its body isn't plain chunks."""
        cycle, transport = self.cycle, self.transport
        plain = self.scheme == "http" and cycle.chunked_encoding and cycle.scope["method"] != "HEAD"
        return DirectSink(cycle, transport) if plain else None

    def abort(self) -> None:
        """Drops the connection with what it never took: closing it would wait for a reader that does not read."""
        self.transport.abort()


class DirectSink:
    """Writes chunks of a chunked body to the socket of one connection."""

    __slots__ = ("_cycle", "_flow", "_transport")

    def __init__(self, cycle: RequestResponseCycle, transport: Any) -> None:
        self._cycle = cycle
        self._transport = transport
        self._flow = cycle.flow

    def pack(self, data: bytes, *, final: bool) -> Message:
        """The chunk as it goes over the wire, or for the last one the ASGI message that ends the response."""
        if final:
            return {"type": "http.response.body", "body": data, "more_body": False}
        return b"%x\r\n%b\r\n" % (len(data), data) if data else b""

    def push(self, message: Message) -> Awaitable[None] | None:
        """Writes now, or returns what waits for the transport and then writes."""
        if self._cycle.disconnected:
            raise ConnectionResetError("the client has gone")
        if type(message) is not bytes:
            return start(self._cycle.send(message))
        if self._flow.write_paused:
            return self._later(message)
        self._transport.write(message)
        return None

    async def _later(self, message: bytes) -> None:
        await self._flow.drain()
        if self._cycle.disconnected:
            raise ConnectionResetError("the client has gone")
        self._transport.write(message)
