"""Whole answers to a request, our errors among them: `{"error": {"code", "message", …}}`. Plain ASGI, no framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from patinox.delivery.sink import Send
from patinox.errors import LimitExceeded, PatinoxError, Unauthenticated
from patinox.transports.http import HEADERS, Receive

Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class NoSuchPath(PatinoxError):
    """There is nothing there."""

    code = "no_such_path"
    http_status = 404


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
