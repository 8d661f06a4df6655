"""An endpoint: a handler that returns an ASGI answer, with our errors said as `{"error": {"code", "message", …}}`.

Endpoints are objects, not functions, so that a router hands them the server's own `send`: nothing is wrapped around
the path that frames take.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import Match, Route

from patinox.delivery.sink import Send
from patinox.errors import InputError, LimitExceeded, PatinoxError, Unauthenticated
from patinox.transports.bodies import check_coding
from patinox.transports.http import HEADERS, Receive

Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Handler = Callable[[Request], Awaitable[Asgi]]

_log = logging.getLogger(__name__)


class NoSuchPath(PatinoxError):
    """There is nothing there."""

    code = "no_such_path"
    http_status = 404


class MethodNotAllowed(InputError):
    """The path is there, and takes other methods."""

    code = "method_not_allowed"
    http_status = 405


class Internal(PatinoxError):
    """Something broke that should not have; what it was is in the log, not in the answer."""


class Reply:
    """A whole answer: a status, headers, and a body (JSON unless it is bytes)."""

    def __init__(self, body: Any = None, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.body = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        self.headers = {"cache-control": "no-store", **(headers or {})}
        if body is not None and "content-type" not in self.headers:
            self.headers["content-type"] = "application/json"

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Sends it."""
        headers = [(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        headers += scope.get(HEADERS, ())
        if self.status != 204:
            headers.append((b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        body = b"" if scope.get("method") == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body, "more_body": False})


def error_reply(error: PatinoxError) -> Reply:
    """The answer that says an error, before the first byte of anything else."""
    headers = {}
    if isinstance(error, LimitExceeded):
        headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    elif isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="patinox"'  # RFC 6750 §3
    return Reply({"error": error.as_dict()}, error.http_status, headers)


async def not_found(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """What a router does with a path that it doesn't know."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before accepting: servers answer 403
        return
    await error_reply(NoSuchPath(f"there is nothing at {scope.get('path', '')[:200]}"))(scope, receive, send)


class Endpoint:
    """Runs a handler and sends what it answers, or its `PatinoxError`."""

    def __init__(self, handler: Handler, *, reply: Callable[[PatinoxError], Reply] = error_reply) -> None:
        self._handler = handler
        self._reply = reply

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serves one request."""
        try:
            answer = await self._answer(Request(scope, receive))
            await answer(scope, receive, send)
        except PatinoxError as error:  # an answer raises it before its first message or not at all
            await self._reply(error)(scope, receive, send)

    async def _answer(self, request: Request) -> Asgi:
        try:
            check_coding(request.scope)
            return await self._handler(request)
        except PatinoxError:
            raise
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.url.path)
            raise Internal("the server failed; its log says more") from error


class ApiRoute(Route):
    """A route that says a method it does not take as an error of ours, with all those that the path does take.

    A path may be in several routes, one a method; the router asks the first of them (RFC 9110 §15.5.6).
    """

    async def handle(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serves one request."""
        if self.methods is None or scope["method"] in self.methods:
            await self.app(scope, receive, send)
            return
        allowed = ", ".join(sorted(_methods_of(scope["router"].routes, scope) or self.methods))
        reply = error_reply(MethodNotAllowed(f"{scope['method'][:20]} is not for this path; it takes {allowed}"))
        reply.headers["allow"] = allowed
        await reply(scope, receive, send)


def _methods_of(routes: Iterable[Any], scope: MutableMapping[str, Any]) -> set[str]:
    matching = (route for route in routes if isinstance(route, Route) and route.matches(scope)[0] is Match.PARTIAL)
    return {method for route in matching for method in route.methods or ()}
