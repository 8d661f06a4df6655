"""The HTTP calls on streams: create, append, finish, cancel, delete, read, list (API.md, "HTTP")."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

from patinox.config.units import parse_duration
from patinox.core.chunks import Error, Outcome
from patinox.core.producers import Producer, parse_producer
from patinox.errors import InputError, InvalidChunk, PatinoxError, StreamClosed
from patinox.manager import ActiveStream
from patinox.manager.stream import parse_after
from patinox.transports.access import Access, Right
from patinox.transports.bodies import chunks, json_object
from patinox.transports.endpoint import Asgi, Endpoint, Reply, error_reply
from patinox.transports.http import HttpReader, address_of
from patinox.transports.negotiation import negotiate

_MAX_COMMAND_BYTES = 256 * 1024
_PAGE = 100


def routes(access: Access) -> list[Route]:
    """The routes, for a Starlette router; paths as API.md has them."""
    api = StreamsApi(access)
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
    return [Route(path, Endpoint(handler), methods=[method]) for path, method, handler in table]


class StreamsApi:
    """The handlers. Each takes a request and returns an ASGI answer, or raises a `PatinoxError`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._manager = access.manager

    async def create(self, request: Request) -> Asgi:
        """`POST /v1/streams`."""
        caller = await self._access.enter(request.scope, Right.CREATE)
        body = await json_object(request.receive, _MAX_COMMAND_BYTES)
        allowed = {"id", "metadata", "ttl", "retain", "on_abandon", "channel", "pipeline"}
        _refuse_unknown(body, allowed)
        pipelines = self._manager.pipelines
        stream = await self._manager.create(
            id=_string(body, "id"), metadata=body.get("metadata"), ttl_s=_ttl(body.get("ttl")),
            retain=_string(body, "retain"), on_abandon=_string(body, "on_abandon"), channel=_string(body, "channel"),
            producer=address_of(request.scope), pipeline=pipelines.asked_for(_string(body, "pipeline")),
            tenant=caller.tenant, owner=caller.subject,
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
        streams = [
            stream for stream in self._manager
            if stream.key.tenant == caller.tenant and self._access.may(caller, Right.READ, stream)
        ]  # fmt: skip
        if after is not None:
            ids = [stream.id for stream in streams]
            streams = streams[ids.index(after) + 1 :] if after in ids else []
        page = streams[:limit]
        more = {"next": page[-1].id} if len(streams) > limit else {}
        return Reply({"streams": [stream.describe() for stream in page], **more})

    async def read(self, request: Request) -> Asgi:
        """`GET /v1/streams/{id}`: live, or the snapshot, by `Accept` and `?format=`."""
        query, manager = request.query_params, self._manager
        stream = await self._stream(request, Right.READ)
        ids = query.get("ids", request.headers.get("patinox-ids", "")).lower() in ("1", "true")
        answer = negotiate(
            request.headers.get("accept"), query.get("format"), manager.formats,
            ids=ids, retry_ms=round(manager.config.sse.retry_interval_s * 1000),
        )  # fmt: skip
        if answer.kind == "page":
            return RedirectResponse(f"/?stream={stream.id}", 303)
        if answer.kind == "snapshot" or answer.wire is None:
            return Reply(stream.snapshot())
        last_event_id = request.headers.get("last-event-id")
        after = parse_after(last_event_id or query.get("after"))
        fresh = last_event_id is None and query.get("openers", "true").lower() not in ("0", "false")
        return HttpReader(manager, stream, answer.format, answer.wire, after, fresh=fresh)

    async def facts(self, request: Request) -> Asgi:
        """`GET /v1/streams/{id}/facts`: what the list says of it, without its content."""
        return Reply((await self._stream(request, Right.READ)).describe())

    async def append(self, request: Request) -> Asgi:
        """`POST /v1/streams/{id}/chunks`, with `?final=true` to finish as well."""
        stream, headers = await self._stream(request, Right.WRITE), request.headers
        producer = parse_producer(
            headers.get("producer-id"), headers.get("producer-epoch"), headers.get("producer-seq")
        )
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        body = chunks(media_type, request.receive, self._manager.config.max_body_bytes)
        counted = _Appending(stream, producer)
        try:
            await counted.take(body)
            if request.query_params.get("final", "").lower() in ("1", "true") and stream.is_open:
                await stream.finish()
        except PatinoxError as error:
            return _refused(error, counted, stream)
        return Reply({"next": stream.log.head + 1, "accepted": counted.accepted, "position": stream.position})

    async def finish(self, request: Request) -> Asgi:
        """`POST /v1/streams/{id}/finish` with `{outcome?, error?}`."""
        stream = await self._stream(request, Right.WRITE)
        body = await json_object(request.receive, _MAX_COMMAND_BYTES)
        _refuse_unknown(body, {"outcome", "error"})
        outcome = _string(body, "outcome") or Outcome.COMPLETE
        await stream.finish(outcome, _error(body.get("error")))
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


class _Appending:
    """Appends what a body holds, and counts what went in."""

    def __init__(self, stream: ActiveStream, producer: Producer | None) -> None:
        self.accepted = 0
        self._stream = stream
        self._producer = producer

    async def take(self, body: AsyncIterator[Any]) -> None:
        number = 0
        async for data in body:
            if self._producer is None:
                await self._stream.write(data)
                self.accepted += 1
            else:
                numbered = msgspec.structs.replace(self._producer, seq=self._producer.seq + number)
                self.accepted += await self._stream.produce(data, numbered)
            number += 1
        if not number and not self._stream.is_open:
            raise StreamClosed(f"the stream has ended ({self._stream.state})")


def _refused(error: PatinoxError, counted: _Appending, stream: ActiveStream) -> Reply:
    """An error that says how far the body got: nothing that was accepted is lost."""
    reply = error_reply(error)
    body = {**error.as_dict(), "accepted": counted.accepted, "position": stream.position}
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


def _ttl(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError('ttl is a number of seconds or a duration such as "24h"')
    try:
        return parse_duration(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError) as error:
        raise InputError(f"ttl {str(value)[:40]!r} {error}") from error


def _error(value: Any) -> Error | None:
    if value is None:
        return None
    if isinstance(value, str):
        return Error("failed", value)
    try:
        return msgspec.convert(value, Error)
    except msgspec.ValidationError as error:
        raise InvalidChunk(f"error is {{code, message}}: {error}") from error


def _limit(text: str | None) -> int:
    if text is None:
        return _PAGE
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1000):
        raise InputError("limit is a whole number from 1 to 1000")
    return int(text)
