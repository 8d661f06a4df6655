"""The HTTP calls on channels: `GET /v1/channels/{name}`, live over SSE or NDJSON, or as it stands over JSON."""

from __future__ import annotations

from starlette.requests import Request
from starlette.routing import Route

from patinox.errors import StreamNotFound
from patinox.formats.channel import CHANNEL
from patinox.formats.patinox import NDJSON, PATINOX
from patinox.manager.stream import parse_after
from patinox.transports.access import Access, Right
from patinox.transports.endpoint import ApiRoute, Asgi, Endpoint, Reply
from patinox.transports.http import HttpReader
from patinox.transports.negotiation import NotAcceptable, negotiate

_FORMATS = {format_.name: format_ for format_ in (PATINOX, NDJSON)}


def routes(access: Access) -> list[Route]:
    """The routes, for a Starlette router."""
    return [ApiRoute("/v1/channels/{name}", Endpoint(ChannelsApi(access).read), methods=["GET"])]


class ChannelsApi:
    """The handlers. Each takes a request and returns an ASGI answer, or raises a `PatinoxError`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._manager = access.manager

    async def read(self, request: Request) -> Asgi:
        """`GET /v1/channels/{name}`: every stream in it, now and later; `Last-Event-ID` and `?after=` as for streams.

        A reader may come before the first stream. As JSON it is answered at once: the channel and its streams.
        """
        caller = await self._access.caller(request.scope)
        manager, query, name = self._manager, request.query_params, request.path_params["name"]
        answer = negotiate(
            request.headers.get("accept"), query.get("format"), _FORMATS,
            ids=True, retry_ms=round(manager.config.sse.retry_interval_s * 1000),
        )  # fmt: skip
        if answer.kind != "stream":
            channel = manager.channels.find(name, caller.tenant)
            if channel is None or not self._access.may(caller, Right.READ, channel):
                raise StreamNotFound(f"there is no channel {name[:140]!r}")
            return Reply(channel.describe())
        if answer.wire is None or not answer.wire.controls:
            raise NotAcceptable("a channel is read as text/event-stream, application/x-ndjson or application/json")
        after = parse_after(request.headers.get("last-event-id") or query.get("after"))
        channel, lasts_s = self._access.channel(caller, name, Right.READ), self._access.time_left_s(caller)
        return HttpReader(manager, channel, CHANNEL, answer.wire, after, caller=caller, lasts_s=lasts_s)
