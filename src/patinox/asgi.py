"""Patinox in somebody's application: the public face for mounting.

    from patinox.asgi import PatinoxApp, sse_response

    app.mount("/live", PatinoxApp(manager))               # all calls on streams; in any ASGI framework
    return await sse_response(request, manager.relay(…))  # one endpoint that streams, and resumes, an answer
    app.router.routes.append(WebSocketRoute("/ws", websocket_endpoint(manager)))          # many streams on one socket

Needs Starlette (`pip install "patinox[server]"`, or FastAPI, which brings it).
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router

from patinox.core.attach import After
from patinox.core.chunks import EventId
from patinox.delivery.sink import Send
from patinox.errors import PatinoxError
from patinox.manager import ActiveStream, Relay, StreamManager
from patinox.manager.admission import Account
from patinox.manager.stream import parse_after
from patinox.transports import channels_api
from patinox.transports.access import Access
from patinox.transports.endpoint import Asgi, Endpoint, Reply, error_reply, not_found
from patinox.transports.http import HttpReader, Receive, address_of
from patinox.transports.negotiation import negotiate, without_page
from patinox.transports.sse import SSEEvent, SSEFormatter, SSEHandler
from patinox.transports.streams_api import routes
from patinox.transports.websocket import routing as websocket
from patinox.transports.websocket.hub import WebSocketHandler

__all__ = ["Endpoint", "PatinoxApp", "SSEEvent", "SSEFormatter", "SSEHandler", "StreamResponse", "WebSocketHandler",
           "sse_response", "websocket_endpoint"]  # fmt: skip


class PatinoxApp:
    """An ASGI application with all calls on streams, to be mounted anywhere or served by itself.

    Without a manager it makes its own, entered and closed with the ASGI lifespan; mounted under an application that
    passes no lifespan on, give it a manager that the application's own lifespan enters. `access` says who may do
    what (everybody everything, unless the application lets nobody else come this far).
    """

    def __init__(self, manager: StreamManager | None = None, *, access: Access | None = None) -> None:
        if access is not None:
            manager = access.manager
        self.manager = manager if manager is not None else StreamManager()
        self._owns_manager = manager is None
        door = access if access is not None else Access(self.manager)
        self.websockets = WebSocketHandler(self.manager, access=door)
        calls = (*routes(door), *channels_api.routes(door), *websocket.routes(self.websockets))
        self._router = Router(calls, default=not_found, redirect_slashes=False)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serves one connection, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._router(_as_mounted(scope), receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if self._owns_manager:
                    await self.manager.__aenter__()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                if self._owns_manager:
                    await self.manager.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _as_mounted(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The scope with the whole path, and what of it is the mount's as `root_path`, as ASGI has it.

    A framework's mount may cut its prefix off and not say so, and add a slash at the end (Litestar does both).
    """
    path = scope["path"].rstrip("/")
    asked = unquote(scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1")).rstrip("/")
    if not scope.get("root_path") and asked != path and asked.endswith(path):
        return {**scope, "path": asked, "root_path": asked[: len(asked) - len(path)]}
    return scope if path == scope["path"] else {**scope, "path": path or "/"}


def websocket_endpoint(
    manager: StreamManager, *, allowed_origins: Iterable[str] = (), allowed_hosts: Iterable[str] = ()
) -> WebSocketHandler:
    """An ASGI application that speaks `patinox.v1` to WebSockets: many streams and channels on one socket.

    Web pages of the server's own origin may open one, and those of `allowed_origins`.
    """
    return WebSocketHandler(manager, allowed_origins=allowed_origins, allowed_hosts=allowed_hosts)


class StreamResponse(Response):
    """A Starlette response that reads a stream; FastAPI takes it as it is."""

    def __init__(self, answer: Asgi) -> None:
        super().__init__()
        self._answer = answer

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Serves the stream."""
        try:
            await self._answer(scope, receive, send)
        except PatinoxError as error:  # before its first message or not at all
            await error_reply(error)(scope, receive, send)


async def sse_response(
    request: Request, source: Relay | ActiveStream, *, format: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """Answers a request with a stream: SSE, or what `Accept`, `?format=` or `format` ask for.

    A client that comes back with the id of an event of a stream that is still known (`Last-Event-ID`, as a browser's
    EventSource sends it, or `?after=`) is attached to *that* stream where it left off: a relay that was not started is
    then never started, and its source is closed unread. What cannot be answered so is answered as a JSON error.
    """
    try:
        return StreamResponse(await _reader(request, source, format, headers or {}))
    except PatinoxError as error:
        if isinstance(source, Relay):
            await source.discard()
        return StreamResponse(error_reply(error))


async def _reader(
    request: Request, source: Relay | ActiveStream, format_name: str | None, headers: dict[str, str]
) -> Asgi:
    manager, query = source.manager, request.query_params
    last_event_id = request.headers.get("last-event-id")
    after = parse_after(last_event_id or query.get("after"))
    answer = negotiate(
        without_page(request.headers.get("accept")), format_name or query.get("format"), manager.formats,
        ids=query.get("ids") == "1", retry_ms=round(manager.config.sse.retry_interval_s * 1000),
    )  # fmt: skip
    manager.admission.check(None, Account(address_of(request.scope)))
    stream = await _attach_or_start(source, after)
    if answer.wire is None:
        await stream.assemble()
        return Reply(stream.snapshot())
    fresh = last_event_id is None and query.get("openers", "true") not in ("0", "false")
    extra = tuple(headers.items())
    return HttpReader(manager, stream, answer.format, answer.wire, after, fresh=fresh, headers=extra)


async def _attach_or_start(source: Relay | ActiveStream, after: After) -> ActiveStream:
    if isinstance(source, ActiveStream):
        return source
    known = await source.manager.find(after) if isinstance(after, EventId) else None
    if known is None:
        return await source.start()
    await source.discard()
    return known
