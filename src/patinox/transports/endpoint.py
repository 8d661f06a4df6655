"""An endpoint: a handler that returns an ASGI answer, with our errors said as `{"error": {"code", "message", …}}`.

Endpoints are objects, not functions, so that a router hands them the server's own `send`: nothing is wrapped around
the path that frames take.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.routing import Match, Route

from patinox.delivery.sink import Send
from patinox.errors import InputError, PatinoxError
from patinox.transports.bodies import check_coding
from patinox.transports.http import Receive
from patinox.transports.replies import Asgi, Reply, error_reply, not_found

__all__ = ["ApiRoute", "Asgi", "Endpoint", "Handler", "Reply", "error_reply", "not_found"]

Handler = Callable[[Request], Awaitable[Asgi]]

_log = logging.getLogger(__name__)


class MethodNotAllowed(InputError):
    """The path is there, and takes other methods."""

    code = "method_not_allowed"
    http_status = 405


class Internal(PatinoxError):
    """Something broke that should not have; what it was is in the log, not in the answer."""


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
