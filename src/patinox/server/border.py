"""The border: what is looked at before a request reaches any route, whoever makes it.

    request ─▶ Host ─▶ Origin ─▶ (preflight answered) ─▶ quotas ─▶ the application
                └ 421    └ 403                              └ 429

`Host` guards against DNS rebinding: a page whose name was made to point at this machine sends that name, and a name
that is not ours is refused. Addresses are let through, for no name was looked up. `Origin` guards what a page may do
with the cookies of its reader: what changes something must come from our own pages or from one that is listed, and
only that may read an answer (CORS, Fetch §3.2). Nothing is wrapped around the path that frames take: the headers that
an answer is to have are handed on in the scope.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from patinox.delivery.sink import Send
from patinox.errors import Forbidden, InputError, PatinoxError
from patinox.server.quotas import Quotas
from patinox.transports.endpoint import Asgi, Reply, error_reply
from patinox.transports.http import HEADERS, Receive, address_of
from patinox.transports.origins import Door, origin_of

_SAFE = ("GET", "HEAD", "OPTIONS")
_EXPOSED = "patinox-stream-id, patinox-position, patinox-outcome, patinox-gap, retry-after, location"
_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
_MAX_AGE_S = 600


class Misdirected(InputError):
    """A `Host` that this server does not answer to."""

    code = "misdirected"
    http_status = 421


class Border:
    """An ASGI application around the server's own."""

    def __init__(
        self, app: Asgi, *, hosts: Iterable[str] = (), origins: Iterable[str] = (), quotas: Quotas | None = None
    ) -> None:
        self._app = app
        self._door = Door(origins, hosts, strict=True)
        self._quotas = quotas

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # a WebSocket's handshake is judged by the hub, by the same door
            return
        origin = origin_of(scope)
        headers = scope.setdefault(HEADERS, [])
        headers.append((b"x-content-type-options", b"nosniff"))
        try:
            self._judge(scope, origin)
        except PatinoxError as error:
            await error_reply(error)(scope, receive, send)
            return
        if origin is not None and self._door.is_listed(origin):
            headers.extend(_readable(origin))
            if scope["method"] == "OPTIONS":
                await _preflight(scope)(scope, receive, send)
                return
        elif self._door.has_listed:
            headers.append((b"vary", b"Origin"))
        await self._app(scope, receive, send)

    def _judge(self, scope: Any, origin: str | None) -> None:
        if refusal := self._door.host_refusal(scope):
            raise Misdirected(f"{refusal}; list it in server.allowed_hosts if it should")
        if scope["method"] not in _SAFE and (refusal := self._door.origin_refusal(scope)):
            raise Forbidden(f"{refusal}; list it in server.allowed_origins if they should")
        if self._quotas is not None:
            self._quotas.request("address", address_of(scope))


def _readable(origin: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", _EXPOSED.encode()),
        (b"vary", b"Origin"),
    ]


def _preflight(scope: Any) -> Reply:
    asked = next((value for name, value in scope["headers"] if name == b"access-control-request-headers"), b"")
    headers = {"access-control-allow-methods": _METHODS, "access-control-max-age": str(_MAX_AGE_S)}
    if asked:
        headers["access-control-allow-headers"] = asked.decode("latin-1")
    return Reply(status=204, headers=headers)
