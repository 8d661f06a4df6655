"""One request on an HTTP/2 connection: hypercorn's, with a body that waits in its window, and the connection's offer.

Its scope carries the extension `patinox.connection`, as on the HTTP/1.1 connection (`server/connection.py`): a reader's
sink puts frames into the stream's outbox, and the response goes on when the request's task has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes
from hypercorn.protocol.events import Body, EndBody, Event, Response, StreamClosed
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream

from patinox.delivery.sink import Message, start
from patinox.transports.http import CONNECTION

if TYPE_CHECKING:
    from patinox.server.http2.protocol import Http2Protocol


class Http2Stream(HTTPStream):
    """A request and its response."""

    def __init__(self, protocol: Http2Protocol, stream_id: int) -> None:
        super().__init__(
            self._run, protocol.config, protocol.context, protocol.task_group, protocol.ssl, protocol.client,
            protocol.server, protocol.stream_send, stream_id,
        )  # fmt: skip
        self._protocol = protocol
        self._unread = bytearray()
        self._unread_window_bytes = 0  # what it takes of the windows, padding included
        self._request_ended = False
        self._end_is_said = False
        self._news: asyncio.Future[None] | None = None
        self._is_handed_over = False
        self._on_lost: Callable[[], None] | None = None

    # ── what the client sends ──

    def take(self, data: bytes, window_bytes: int) -> None:
        """Keeps a piece of the body until it is asked for; the client's window bounds how much that can be."""
        if self.closed or self._is_handed_over:  # nobody will ask
            self._protocol.give_back(self.stream_id, window_bytes)
            return
        self._unread += data
        self._unread_window_bytes += window_bytes
        self._tell()

    async def handle(self, event: Event) -> None:
        """Takes what the protocol says of this stream."""
        if self.closed:
            return
        if isinstance(event, EndBody):
            self._request_ended = True
            self._tell()
        elif isinstance(event, StreamClosed):
            self.closed = True
            self._forget_body()
            self._tell()
            on_lost, self._on_lost = self._on_lost, None
            if on_lost is not None:
                on_lost()
        else:
            await super().handle(event)

    async def _receive(self) -> MutableMapping[str, Any]:
        while not (self.closed or self._unread or (self._request_ended and not self._end_is_said)):
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        if self.closed:
            return {"type": "http.disconnect"}
        body = bytes(self._unread)
        self._forget_body()
        self._end_is_said = self._request_ended
        return {"type": "http.request", "body": body, "more_body": not self._end_is_said}

    def _forget_body(self) -> None:
        self._unread.clear()
        window_bytes, self._unread_window_bytes = self._unread_window_bytes, 0
        if window_bytes:
            self._protocol.give_back(self.stream_id, window_bytes)

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    # ── running the application ──

    async def _run(self, scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any) -> None:
        scope["extensions"] = {CONNECTION: self}
        self._protocol.applications += 1
        try:
            await self._protocol.app(scope, self._receive, send, sync_spawn, call_soon)  # type: ignore[arg-type]
        finally:
            self._protocol.applications -= 1

    async def app_send(self, message: Any) -> None:
        """Sends what the application says; None is that it has returned."""
        if message is not None or not self._is_handed_over:
            await super().app_send(message)

    async def _send_error_response(self, status_code: int) -> None:
        # hypercorn's own has a header `connection`, which HTTP/2 forbids (RFC 9113 §8.2.2).
        headers = [(b"content-length", b"0")]
        await self.send(Response(stream_id=self.stream_id, headers=headers, status_code=status_code))
        await self.send(EndBody(stream_id=self.stream_id))
        self.state = ASGIHTTPState.CLOSED

    # ── what the connection offers (transports/http.py) ──

    def direct_sink(self) -> Http2Sink:
        """A sink for the response that is about to begin."""
        return Http2Sink(self)

    def hand_over(self, on_lost: Callable[[], None]) -> None:
        """Lets the response outlive its task; `on_lost` is called when the client has gone or has cancelled it."""
        if self.closed:
            on_lost()
            return
        self._is_handed_over = True
        self._on_lost = on_lost
        self._forget_body()

    def close(self) -> None:
        """Resets the stream after what it has been given."""
        self._on_lost = None
        if not self.closed:
            self.task_group.spawn(self.send, StreamClosed(stream_id=self.stream_id))

    def abort(self) -> None:
        """Resets the stream now."""
        self._on_lost = None
        if not self.closed:
            self._protocol.reset(self.stream_id, ErrorCodes.CANCEL)
            self.task_group.spawn(self.send, StreamClosed(stream_id=self.stream_id))

    def write(self, data: bytes) -> Awaitable[None] | None:
        """Has the data sent; what waits for room where there is too much unsent. Raises where the client has gone."""
        if self.closed:
            raise ConnectionResetError("the client has gone")
        return self._protocol.put(self.stream_id, data)

    async def finish(self, data: bytes) -> None:
        """Sends the last data, and the end."""
        self._on_lost = None
        if data:
            await self.send(Body(stream_id=self.stream_id, data=data))
        await self._send_closed()


class Http2Sink:
    """Writes the DATA of one response."""

    __slots__ = ("_stream",)
    kind = "http/2"

    def __init__(self, stream: Http2Stream) -> None:
        self._stream = stream

    def pack(self, data: bytes, *, final: bool) -> Message:
        """The data, and whether it is the last."""
        return data, final

    def push(self, message: Message) -> Awaitable[None] | None:
        """Puts it into the stream's outbox, or returns what waits until it has been sent."""
        data, final = message
        if not final:
            return self._stream.write(data)
        if self._stream.closed:
            raise ConnectionResetError("the client has gone")
        return start(self._stream.finish(data))
