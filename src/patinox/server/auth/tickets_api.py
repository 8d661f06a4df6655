"""`POST /v1/tickets`: a ticket for a link, or for an `EventSource`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from patinox.errors import InputError
from patinox.server.auth.guard import Guard
from patinox.transports.access import Right
from patinox.transports.bodies import json_object
from patinox.transports.endpoint import Asgi, Endpoint, Reply

_MAX_BYTES = 4096


def routes(guard: Guard) -> list[Route]:
    """The route, for a Starlette router."""
    return [Route("/v1/tickets", Endpoint(TicketsApi(guard).issue), methods=["POST"])]


class TicketsApi:
    """The handler."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def issue(self, request: Request) -> Asgi:
        """`{stream}` or `{channel}`; 201 with `{ticket, expires_in, url}`. It lets in to read that, once."""
        caller = await self._guard.caller(request.scope)
        body = await json_object(request.receive, _MAX_BYTES)
        name, kind = _subject(body)
        if kind == "stream":
            await self._guard.open(caller, name, Right.READ)
        else:
            self._guard.channel(caller, name, Right.READ)
        ticket, seconds = self._guard.tickets.issue(caller, **{kind: name})
        url = f"{request.scope.get('root_path', '')}/v1/{kind}s/{name}?ticket={ticket}"
        return Reply({"ticket": ticket, "expires_in": round(seconds, 3), "url": url}, 201)


def _subject(body: dict[str, Any]) -> tuple[str, str]:
    named = [(body[kind], kind) for kind in ("stream", "channel") if kind in body]
    if len(named) != 1 or len(body) != 1 or not isinstance(named[0][0], str):
        raise InputError('a ticket is for {"stream": ID} or {"channel": NAME}')
    return named[0]
