"""The server's own HTTP/1.1 connection: uvicorn's, with a shorter way for the frames of streams.

Mounted in somebody's application Patinox is plain ASGI. On its own server the scope carries an extension,
`patinox.connection`, by which a reader's sink writes chunks that are encoded once (RFC 9112 §7.1) and shared by all
readers, straight to the transport, whose flow control it heeds as uvicorn does. The response is then handed over: the
request's task ends, and an idle reader is a socket, a parser and a cursor, but no task and no coroutine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from types import MappingProxyType
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from patinox.delivery.sink import Message, start
from patinox.server.head import LimitedHead
from patinox.transports.http import CONNECTION


class StreamingHttpProtocol(LimitedHead):
    """uvicorn's protocol, which offers each request's connection to the application."""

    _request: RequestConnection
    _serving: RequestResponseCycle | None = None
    _on_lost: Callable[[], None] | None = None

    # ── what the parser finds ──

    def on_message_begin(self) -> None:
        """Begins a request, which may have been pipelined behind one that is being answered."""
        super().on_message_begin()
        self._request = RequestConnection(self)
        self.scope["extensions"] = {CONNECTION: self._request}  # type: ignore[dict-item]

    def on_headers_complete(self) -> None:
        """Has the request answered, now or in its turn."""
        super().on_headers_complete()
        if not self._is_refused:
            self._request.cycle = self.cycle

    def on_body(self, body: bytes) -> None:
        """Takes a piece of the body; what comes when nobody will ask for it any more is passed over."""
        if not (self.is_handed_over and self.cycle is self._serving):
            super().on_body(body)

    # ── what becomes of the response ──

    @property
    def is_handed_over(self) -> bool:
        """Whether a response goes on without its request's task."""
        return self._on_lost is not None

    def hand_over(self, cycle: RequestResponseCycle, on_lost: Callable[[], None]) -> None:
        """Lets the response outlive its task. What only the request needed is given back."""
        if cycle.disconnected:
            on_lost()
            return
        self._on_lost = on_lost
        if self.scope is cycle.scope:  # else the next request is being read already
            self.scope = _SPENT
            self.headers = []
        cycle.scope = _SPENT
        cycle.body.clear()
        self.flow.resume_reading()  # a body that nobody reads must not keep the client's leaving from being seen

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

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone; whoever answers is told, though a later request may have been read already."""
        super().connection_lost(exc)
        cycle, self._serving = self._serving, None
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self.pipeline.clear()
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()

    # ── running the application ──

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._serving = cycle
        task = self.loop.create_task(self._run(cycle, app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _run(self, cycle: RequestResponseCycle, app: Any) -> None:
        send = partial(_send_unasked, cycle) if cycle.waiting_for_100_continue else cycle.send
        try:
            await app(cycle.scope, cycle.receive, send)
        except asyncio.CancelledError:
            raise  # the server leaves, and ends the connection itself: nothing went wrong
        except BaseException as error:
            await cycle.run_asgi(_Raising(error))
        else:
            if cycle.scope is not _SPENT:  # else it was handed over: it is not to be complete yet
                await cycle.run_asgi(_nothing)


async def _send_unasked(cycle: RequestResponseCycle, message: Any) -> None:
    """Sends to a client that asked whether to send its body (`Expect: 100-continue`, RFC 9110 §10.1.1).

    Answered without having been told to go on, it may never send it, and what comes next would be taken for it: the
    connection ends with the answer.
    """
    if cycle.waiting_for_100_continue:
        cycle.keep_alive = False
    await cycle.send(message)


_SPENT: Any = MappingProxyType({"type": "http", "http_version": "1.1", "method": "GET"})
"""What is left of the scope of a request whose response was handed over: what uvicorn asks for to end it."""


class RequestConnection:
    """What one request may do with its connection."""

    __slots__ = ("_protocol", "cycle")

    def __init__(self, protocol: StreamingHttpProtocol) -> None:
        self._protocol = protocol
        self.cycle: Any = None

    def direct_sink(self) -> DirectSink | None:
        """A sink for the response that is about to begin; None where its body will not be plain chunks."""
        cycle = self.cycle
        if self._protocol.scheme != "http" or cycle.scope["method"] == "HEAD":
            return None
        if cycle.scope["http_version"] == "1.1":
            return DirectSink(cycle)
        cycle.chunked_encoding = False  # RFC 9112 §6.1: not to a client of HTTP/1.0; its body ends with the connection
        return ClosingSink(cycle)

    def hand_over(self, on_lost: Callable[[], None]) -> None:
        """Lets the response outlive its task; `on_lost` is called when the client has gone."""
        self._protocol.hand_over(self.cycle, on_lost)

    def close(self) -> None:
        """Ends the connection after what it has been given, without a last chunk."""
        self._protocol.close()

    def abort(self) -> None:
        """Ends the connection now."""
        self._protocol.abort()


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

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
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
        if self._flow.write_paused:
            return self._later(message)
        self._write(message)
        return None

    async def _later(self, message: Message) -> None:
        await self._flow.drain()
        if self._cycle.disconnected:
            raise ConnectionResetError("the client has gone")
        self._write(message)

    def _write(self, message: Message) -> None:
        if type(message) is bytes:
            self._transport.write(message)
        else:
            start(self._cycle.send(message))  # never waits: nothing is paused


class ClosingSink(DirectSink):
    """Writes a body that ends when the connection does (RFC 9112 §6.3, HTTP/1.0)."""

    __slots__ = ()
    kind = "http/1.0"

    def pack(self, data: bytes, *, final: bool) -> Message:
        """The data, and whether it is the last."""
        return data, final

    def _write(self, message: Message) -> None:
        data, final = message
        self._transport.write(data)
        if final:
            self._cycle.expected_content_length = 0
            start(self._cycle.send({"type": "http.response.body", "body": b"", "more_body": False}))
