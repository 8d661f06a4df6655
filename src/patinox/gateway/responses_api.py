"""OpenAI's newer calls: `POST /v1/responses`, and to come back to an answer or stop it by its id.

An id is `resp_<stream id>`; the one that the upstream itself gave, where its frames went through as they were, is as
good. `background` is done here, for any upstream: the answer goes on without a reader.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from patinox.core.chunks import EventId, Outcome
from patinox.delivery.wire import SseWire
from patinox.errors import InputError, StreamNotFound
from patinox.formats.base import StreamHead
from patinox.formats.openai_responses import OPENAI_RESPONSES, assemble_response, next_number, position_of
from patinox.gateway.calls import Calling, Calls, answer_headers, flag
from patinox.gateway.openai_api import openai_error
from patinox.gateway.requests import Written
from patinox.incremental.assembler import Assembly
from patinox.manager import ActiveStream
from patinox.transports.access import Caller, Right
from patinox.transports.endpoint import ApiRoute, Asgi, Endpoint, Reply

__all__ = ["RESPONSES", "ResponsesApi", "routes"]

_PAGE = 256
_PREFIX = "resp_"
_INSTEAD_OF_INPUT = ("prompt", "previous_response_id", "conversation")


def routes(calls: Calls) -> list[Route]:
    """The routes, for a Starlette router."""
    api = ResponsesApi(calls)
    return [
        ApiRoute("/v1/responses", Endpoint(api.create, reply=openai_error), methods=["POST"]),
        ApiRoute("/v1/responses/{id}", Endpoint(api.retrieve, reply=openai_error), methods=["GET"]),
        ApiRoute("/v1/responses/{id}/cancel", Endpoint(api.cancel, reply=openai_error), methods=["POST"]),
    ]


class ResponsesApi:
    """The handlers."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._manager = calls.manager
        self._access = calls.access

    async def create(self, request: Request) -> Asgi:
        """`POST /v1/responses`. In the background and not streamed it answers with what there is: nothing yet."""
        options = await self._calls.options(request)
        body = await self._own(await self._calls.body(request, RESPONSES), options.caller)
        is_streamed, in_background = flag(body, "stream"), flag(body, "background")
        stream = await self._calls.begin(request, RESPONSES, body, options)
        if in_background and not is_streamed and not options.detached:
            return Reply(await response_of(stream), headers=answer_headers(stream))
        return await self._calls.answer(request, RESPONSES, stream, is_streamed=is_streamed, detached=options.detached)

    async def retrieve(self, request: Request) -> Asgi:
        """`GET /v1/responses/{id}`: what there is by now, or with `?stream=true` what follows `starting_after`."""
        stream, query = await self._stream(request, Right.READ), request.query_params
        if query.get("stream", "").lower() not in ("1", "true"):
            return Reply(await response_of(stream), headers=answer_headers(stream))
        number = query.get("starting_after")
        if number is None:
            return await self._calls.reader(request, RESPONSES, stream)
        after = await after_number(stream, number)
        return await self._calls.reader(request, RESPONSES, stream, after, fresh=False)

    async def cancel(self, request: Request) -> Asgi:
        """`POST /v1/responses/{id}/cancel`: stops it, from anywhere; what has ended stays as it is."""
        stream = await self._stream(request, Right.CANCEL)
        await stream.cancel()
        return Reply(await response_of(stream), headers=answer_headers(stream))

    async def _stream(self, request: Request, right: Right) -> ActiveStream:
        id_: str = request.path_params["id"]
        caller = await self._access.caller(request.scope)
        stream = await self._find(id_, caller, right)
        if stream is not None:
            return stream
        if id_.startswith(_PREFIX):
            return await self._access.open(caller, id_.removeprefix(_PREFIX), right)
        raise StreamNotFound(f"there is no response {id_[:140]!r}")

    async def _find(self, id_: str, caller: Caller, right: Right) -> ActiveStream | None:
        if id_.startswith(_PREFIX):
            known = await self._access.seek(caller, id_.removeprefix(_PREFIX), right)
            if known is not None:
                return known
        mine = (stream for stream in self._manager if stream.key.tenant == caller.tenant)
        return next((s for s in mine if s.assembly.provider_id == id_ and self._access.may(caller, right, s)), None)

    async def _own(self, body: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """The body with the upstream's id of a previous response that is known here by ours."""
        previous = body.get("previous_response_id")
        known = await self._find(previous, caller, Right.READ) if isinstance(previous, str) else None
        if known is None or known.assembly.provider_id is None:
            return body
        return {**body, "previous_response_id": known.assembly.provider_id}


async def after_number(stream: ActiveStream, text: str) -> EventId:
    """The event id of the frame that `starting_after` names. Raises `InputError` where no frame has that number."""
    number = _whole(text)
    await stream.assemble()
    view = stream.feed.view(OPENAI_RESPONSES, SseWire(OPENAI_RESPONSES, ids=False, controls=False))
    mark, state = view.checkpoint(lambda state: next_number(state) <= number)
    while chunks := await stream.feed.read(mark, _PAGE):
        found = position_of(number, state, chunks, stream.assembly)
        if found is not None:
            sequence, part = found
            return EventId(stream.epoch, sequence, part)
        for chunk in chunks:
            state, _ = OPENAI_RESPONSES.writer.write(state, chunk, stream.assembly)
        mark = chunks[-1].sequence
    raise InputError(f"starting_after={number}: this response has no event of that number")


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InputError("starting_after is the sequence_number of an event")
    return int(text)


def _check(body: dict[str, Any]) -> None:
    if body.get("input") is None and not any(body.get(key) for key in _INSTEAD_OF_INPUT):
        raise InputError("input is required, and is a string or a list of items")


def _pass_on(body: dict[str, Any], request: Request, is_read: bool) -> Written:
    return Written("/responses", {key: value for key, value in body.items() if key != "background"})


def _response(assembly: Assembly, head: StreamHead, is_cut: bool) -> dict[str, Any]:
    response = assemble_response(assembly, head)
    if is_cut and response["status"] == "completed":  # one that a limit of ours cut short has no reason of its own
        response |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return response


RESPONSES = Calling(OPENAI_RESPONSES, _check, _pass_on, _response)

_STATUSES = {
    Outcome.COMPLETE: "completed",
    Outcome.INCOMPLETE: "incomplete",
    Outcome.CANCELLED: "cancelled",
    Outcome.INTERRUPTED: "failed",
    Outcome.FAILED: "failed",
}


async def response_of(stream: ActiveStream) -> dict[str, Any]:
    """The response object as it stands: under way, whole, or with the error it ended with."""
    await stream.assemble()
    outcome = stream.feed.outcome
    response = _response(stream.assembly, stream.feed.head, outcome is Outcome.INCOMPLETE)
    if outcome in (Outcome.COMPLETE, Outcome.INCOMPLETE):
        return response
    status = "in_progress" if outcome is None else _STATUSES[outcome]
    error = stream.assembly.error
    told = None if error is None else {"code": "server_error", "message": error.message}
    open_word = "in_progress" if outcome is None else "incomplete"
    for item in response["output"][-1:]:
        if "status" in item:
            item["status"] = open_word
    return {**response, "status": status, "error": told, "incomplete_details": None}
