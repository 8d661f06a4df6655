"""A call of a client, whichever dialect it is made in: read, sent on, answered from the log.

Where the upstream speaks the client's dialect the request goes on as it came, but for `model` (without the upstream's
name) and `stream`; else it is translated. The upstream is always asked for a stream, since one that is closed stops
computing, and a log is what a client can come back to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request

from patinox.core.attach import After
from patinox.core.chunks import Outcome
from patinox.delivery.wire import SseWire
from patinox.errors import InputError
from patinox.formats.base import Format, StreamHead
from patinox.gateway.exchange import CallOptions, Exchange
from patinox.gateway.requests import Written, translate
from patinox.gateway.upstreams import Upstreams
from patinox.incremental.assembler import Assembly
from patinox.manager import ActiveStream
from patinox.transports.access import Right
from patinox.transports.bodies import check_length, json_object
from patinox.transports.endpoint import Asgi, Reply
from patinox.transports.http import HttpReader

Check = Callable[[dict[str, Any]], None]
Pass = Callable[[dict[str, Any], Request, bool], Written]
Assemble = Callable[[Assembly, StreamHead, bool], dict[str, Any]]


class Calling(msgspec.Struct, frozen=True):
    """A dialect that clients call in.

    `check` raises `InputError` for a body that is no request. `pass_on` is how a request goes to an upstream of the
    same dialect, `model` and `stream` being set; its last argument says that somebody reads the frames. `assemble`
    makes the whole answer of a log; its last argument says that the answer was cut short.
    """

    format: Format[Any]
    check: Check
    pass_on: Pass
    assemble: Assemble


class Calls:
    """Answers calls, in any dialect."""

    def __init__(self, upstreams: Upstreams, exchange: Exchange) -> None:
        self.upstreams = upstreams
        self.exchange = exchange
        self.manager = exchange.manager
        self.access = exchange.access

    async def options(self, request: Request) -> CallOptions:
        """Who calls, and what is said beside the request itself. Raises for whom may not ask models."""
        return CallOptions.of(request, await self.access.enter(request.scope, Right.MODELS))

    async def body(self, request: Request, calling: Calling) -> dict[str, Any]:
        """The request's body. Raises `InputError`."""
        limit = self.manager.config.max_body_bytes
        check_length(request.headers.get("content-length"), limit)
        caller = await self.access.caller(request.scope)
        body = await json_object(self.access.metered(caller, request.receive), limit)
        calling.check(body)
        return body

    async def begin(
        self, request: Request, calling: Calling, body: dict[str, Any], options: CallOptions
    ) -> ActiveStream:
        """The log of this call. Raises `InputError`, `Untranslatable` among them, before anything is asked."""
        model = body.get("model")
        if model is not None and not isinstance(model, str):
            raise InputError("model is a string")
        upstream, name = self.upstreams.resolve(model)

        def write() -> Written:
            if upstream.dialect != calling.format.name:
                return translate(body, calling.format.name, upstream.dialect, name, upstream.base_url())
            named = {**body, "model": name, "stream": True}
            if not name:
                del named["model"]
            return calling.pass_on(named, request, flag(body, "stream") and not options.detached)

        return await self.exchange.begin(options, upstream, write, model=name)

    async def answer(
        self, request: Request, calling: Calling, stream: ActiveStream, *, is_streamed: bool, detached: bool
    ) -> Asgi:
        """The answer: at once and without the content, as it comes, or whole. Raises `CallFailed`, `ClientLeft`."""
        if detached:
            return Reply(stream.describe(), 202, answer_headers(stream, location=True))
        await self.exchange.first_record(stream, request)
        if is_streamed:
            return await self.reader(request, calling, stream)
        await self.exchange.whole(stream, request)
        await stream.assemble()
        return Reply(whole(calling, stream), headers=answer_headers(stream))

    async def reader(
        self, request: Request, calling: Calling, stream: ActiveStream, after: After = "start", *, fresh: bool = True
    ) -> Asgi:
        """The stream in the client's dialect; with event ids where it asks for them."""
        ids = request.headers.get("patinox-ids", "").lower() in ("1", "true")
        wire = SseWire(calling.format, ids=ids, controls=False)
        caller = await self.access.caller(request.scope)
        return HttpReader(
            self.manager, stream, calling.format, wire, after,
            fresh=fresh, caller=caller, lasts_s=self.access.time_left_s(caller),
        )  # fmt: skip


def whole(calling: Calling, stream: ActiveStream) -> dict[str, Any]:
    """The whole answer of a log that ended complete or incomplete."""
    return calling.assemble(stream.assembly, stream.feed.head, stream.feed.outcome is Outcome.INCOMPLETE)


def answer_headers(stream: ActiveStream, *, location: bool = False) -> dict[str, str]:
    """What names the log, in an answer that is no stream."""
    headers = {"patinox-stream-id": stream.id, "patinox-position": stream.position}
    return {**headers, "location": f"/v1/streams/{stream.id}"} if location else headers


def need(body: dict[str, Any], key: str, kind: type, named: str) -> None:
    """Raises `InputError` where a field of a request is not there."""
    if not isinstance(body.get(key), kind):
        raise InputError(f"{key} is required, and is {named}")


def flag(body: dict[str, Any], key: str) -> bool:
    """A field of a request that is true or false; false where it is absent. Raises `InputError` for anything else."""
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise InputError(f"{key} is true or false")
    return bool(value)
