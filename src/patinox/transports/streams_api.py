"""The HTTP calls on streams: create, append, finish, cancel, delete, read, list (docs/reference/http)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from patinox.core.producers import parse_producer
from patinox.errors import InputError, PatinoxError, StreamNotFound
from patinox.manager import ActiveStream
from patinox.manager.stream import parse_after
from patinox.transports.access import Access, Right
from patinox.transports.arguments import error_of, ttl_of
from patinox.transports.bodies import LINES, check_length, chunks, json_object
from patinox.transports.endpoint import ApiRoute, Asgi, Endpoint, Reply, error_reply
from patinox.transports.http import HttpReader, address_of
from patinox.transports.negotiation import negotiate, without_page
from patinox.transports.pushing import Push

_MAX_COMMAND_BYTES = 256 * 1024
_PAGE = 100


def routes(access: Access, *, playground: str | None = None) -> list[Route]:
    """The routes, for a Starlette router; `playground` is where a page shows streams."""
    api = StreamsApi(access, playground)
    table = (
        ("/v1/streams", "POST", api.create),
        ("/v1/streams", "GET", api.index),
        ("/v1/pipelines", "GET", api.pipelines),
        ("/v1/streams/{id}", "GET", api.read),
        ("/v1/streams/{id}/facts", "GET", api.facts),
        ("/v1/streams/{id}", "DELETE", api.delete),
        ("/v1/streams/{id}/chunks", "POST", api.append),
        ("/v1/streams/{id}/finish", "POST", api.finish),
        ("/v1/streams/{id}/cancel", "POST", api.cancel),
    )
    return [ApiRoute(path, Endpoint(handler), methods=[method]) for path, method, handler in table]


class StreamsApi:
    """The handlers. Each takes a request and returns an ASGI answer, or raises a `PatinoxError`."""

    def __init__(self, access: Access, playground: str | None = None) -> None:
        self._access = access
        self._manager = access.manager
        self._playground = playground

    async def create(self, request: Request) -> Asgi:
        """`POST /v1/streams`."""
        caller = await self._access.enter(request.scope, Right.CREATE)
        body = await json_object(request.receive, _MAX_COMMAND_BYTES)
        allowed = {"id", "metadata", "ttl", "retain", "on_abandon", "channel", "pipeline"}
        _refuse_unknown(body, allowed)
        pipelines = self._manager.pipelines
        stream = await self._access.create(
            caller, id=_string(body, "id"), metadata=body.get("metadata"), ttl_s=ttl_of(body.get("ttl")),
            retain=_string(body, "retain"), on_abandon=_string(body, "on_abandon"), channel=_string(body, "channel"),
            producer=address_of(request.scope), pipeline=pipelines.asked_for(_string(body, "pipeline")),
        )  # fmt: skip
        location = f"{request.scope.get('root_path', '')}/v1/streams/{stream.id}"
        return Reply(stream.describe(), 201, {"location": location})

    async def pipelines(self, request: Request) -> Asgi:
        """`GET /v1/pipelines`: those that a stream may be given, and the one that it gets without asking."""
        await self._access.enter(request.scope, Right.CREATE)
        known = self._manager.pipelines
        listed = [{"name": name, "description": handler.description} for name, handler in known.items()]
        return Reply({"pipelines": listed, **({"default": known.default} if known.default else {})})

    async def index(self, request: Request) -> Asgi:
        """`GET /v1/streams?limit=&after=`: newest last; `next` is there when there are more."""
        limit = _limit(request.query_params.get("limit"))
        after = request.query_params.get("after")
        caller = await self._access.caller(request.scope)
        if after is not None and await self._manager.seek(after, caller.tenant) is None:
            # It may have been deleted since: an empty page would read as the end of the list.
            raise StreamNotFound(f"there is no stream {after[:140]!r} to go on after; begin again")
        page: list[ActiveStream] = []
        while len(page) <= limit:
            some = await self._manager.list(caller.tenant, after, limit + 1)
            page += [stream for stream in some if self._access.may(caller, Right.READ, stream)]
            if len(some) <= limit:
                break
            after = some[-1].id
        more = {"next": page[limit - 1].id} if len(page) > limit else {}
        return Reply({"streams": [stream.describe() for stream in page[:limit]], **more})

    async def read(self, request: Request) -> Asgi:
        """`GET /v1/streams/{id}`: live, or the snapshot, by `Accept` and `?format=`."""
        query, manager = request.query_params, self._manager
        caller = await self._access.caller(request.scope)
        stream = await self._access.open(caller, request.path_params["id"], Right.READ)
        ids = query.get("ids", request.headers.get("patinox-ids", "")).lower() in ("1", "true")
        accept = request.headers.get("accept")
        answer = negotiate(
            without_page(accept) if self._playground is None else accept, query.get("format"), manager.formats,
            ids=ids, retry_ms=round(manager.config.sse.retry_interval_s * 1000),
        )  # fmt: skip
        if answer.kind == "page":
            return Reply(status=303, headers={"location": f"{self._playground}?stream={stream.id}"})
        if answer.kind == "snapshot" or answer.wire is None:
            await stream.assemble()
            return Reply(stream.snapshot())
        last_event_id = request.headers.get("last-event-id")
        after = parse_after(last_event_id or query.get("after"))
        fresh = last_event_id is None and query.get("openers", "true").lower() not in ("0", "false")
        return HttpReader(
            manager, stream, answer.format, answer.wire, after,
            fresh=fresh, caller=caller, lasts_s=self._access.time_left_s(caller),
        )  # fmt: skip

    async def facts(self, request: Request) -> Asgi:
        """`GET /v1/streams/{id}/facts`: what the list says of it, without its content."""
        return Reply((await self._stream(request, Right.READ)).describe())

    async def append(self, request: Request) -> Asgi:
        """`POST /v1/streams/{id}/chunks`, with `?final=true` to finish as well."""
        caller, headers = await self._access.caller(request.scope), request.headers
        stream = await self._access.open(caller, request.path_params["id"], Right.WRITE)
        producer = parse_producer(
            headers.get("producer-id"), headers.get("producer-epoch"), headers.get("producer-seq")
        )
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        limit = self._manager.config.max_body_bytes
        body = chunks(media_type, self._access.metered(caller, request.receive), limit)
        push = Push(stream, producer)
        try:
            check_length(headers.get("content-length"), limit)
            await (push.take_until_stopped(body) if media_type == LINES else push.take(body))
            if request.query_params.get("final", "").lower() in ("1", "true") and stream.is_open:
                await stream.finish()
        except PatinoxError as error:
            return _refused(error, push, stream)
        return Reply({"next": stream.log.head + 1, "accepted": push.accepted, "position": stream.position})

    async def finish(self, request: Request) -> Asgi:
        """`POST /v1/streams/{id}/finish` with `{outcome?, error?}`."""
        stream = await self._stream(request, Right.WRITE)
        body = await json_object(request.receive, _MAX_COMMAND_BYTES)
        _refuse_unknown(body, {"outcome", "error"})
        await stream.finish(_string(body, "outcome"), error_of(body.get("error")))
        return Reply(stream.describe())

    async def cancel(self, request: Request) -> Asgi:
        """`POST /v1/streams/{id}/cancel` with `{reason?}`; idempotent."""
        stream = await self._stream(request, Right.CANCEL)
        body = await json_object(request.receive, _MAX_COMMAND_BYTES)
        _refuse_unknown(body, {"reason"})
        await stream.cancel(_string(body, "reason"))
        return Reply(stream.describe())

    async def delete(self, request: Request) -> Asgi:
        """`DELETE /v1/streams/{id}`: from then on 410."""
        stream = await self._stream(request, Right.DELETE)
        await self._manager.delete(stream.id, tenant=stream.key.tenant)
        return Reply(status=204)

    async def _stream(self, request: Request, right: Right) -> ActiveStream:
        caller = await self._access.caller(request.scope)
        return await self._access.open(caller, request.path_params["id"], right)


def _refused(error: PatinoxError, push: Push, stream: ActiveStream) -> Reply:
    """An error that says how far the body got: nothing that was accepted is lost."""
    reply = error_reply(error)
    body = {**error.as_dict(), "accepted": push.accepted, "position": stream.position}
    return Reply({"error": body}, reply.status, reply.headers)


def _refuse_unknown(body: dict[str, Any], allowed: set[str]) -> None:
    unknown = sorted(set(body) - allowed)
    if unknown:
        raise InputError(f"unknown: {', '.join(unknown)}; allowed are {', '.join(sorted(allowed))}")


def _string(body: dict[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{key} is a string, not {type(value).__name__}")
    return value


def _limit(text: str | None) -> int:
    if text is None:
        return _PAGE
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1000):
        raise InputError("limit is a whole number from 1 to 1000")
    return int(text)
