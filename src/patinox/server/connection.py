"""The server's own HTTP/1.1 connection: uvicorn's, with a shorter way for the frames of streams.

Mounted in somebody's application Patinox is plain ASGI. On its own server the scope carries an extension,
`patinox.connection`, by which a reader's sink writes chunks that are encoded once (RFC 9112 §7.1) and shared by all
readers, straight to the transport, whose flow control it heeds as uvicorn does. The response is then handed over: the
request's task ends, and an idle reader is a socket, a parser and a cursor, but no task and no coroutine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from patinox.delivery.sink import Message, start
from patinox.transports.http import CONNECTION


class StreamingHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which offers itself to the application."""

    _on_lost: Callable[[], None] | None = None

    def on_message_begin(self) -> None:
        """Begins a request."""
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: self}  # type: ignore[dict-item]

    def direct_sink(self) -> DirectSink | None:
        """A sink for the response that is about to begin; None where its body will not be plain chunks."""
        cycle = self.cycle
        is_plain = self.scheme == "http" and cycle.scope["http_version"] == "1.1" and cycle.scope["method"] != "HEAD"
        return DirectSink(cycle, self.transport) if is_plain and not self.pipeline else None

    def hand_over(self, on_lost: Callable[[], None]) -> None:
        """Lets the response outlive its task. What only the request needed is given back."""
        if self.cycle.disconnected:
            on_lost()
            return
        self._on_lost = on_lost
        self.cycle.scope = self.scope = {"type": "http", "method": "GET"}  # type: ignore[typeddict-item]
        self.headers = []

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        super().connection_lost(exc)
        self._lose()

    def on_response_complete(self) -> None:
        """The response has its last chunk; the connection may be used again."""
        self._on_lost = None
        super().on_response_complete()

    def close(self) -> None:
        """Ends the connection after what it has been given, without a last chunk."""
        self._on_lost = None
        self.transport.close()

    def abort(self) -> None:
        """Ends the connection with what it never took: closing it would wait for a reader that does not read."""
        self._on_lost = None
        self.transport.abort()

    def _lose(self) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        task = self.loop.create_task(self._run(cycle, app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _run(self, cycle: RequestResponseCycle, app: Any) -> None:
        try:
            await app(cycle.scope, cycle.receive, cycle.send)
        except BaseException as error:
            await cycle.run_asgi(_Raising(error))
        else:
            if self._on_lost is None:  # else it was handed over, and is not to be complete yet
                await cycle.run_asgi(_nothing)


class _Raising:
    """An application that has failed: uvicorn's own cycle says what becomes of its response."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise self._error


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that has returned: uvicorn's own cycle looks at what it left undone."""


class DirectSink:
    """Writes chunks of a chunked body to one connection."""

    __slots__ = ("_cycle", "_flow", "_transport")
    kind = "http/1.1"

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
