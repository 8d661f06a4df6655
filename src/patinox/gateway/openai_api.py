"""OpenAI's own calls: `POST /v1/chat/completions`, streamed and not, and `GET /v1/models`.

The request goes to the upstream as it came, but for `model` (without the upstream's name) and `stream`: the upstream is
always asked for a stream, since one that is closed stops computing, and a log is what a client can come back to.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from patinox.core.chunks import Outcome
from patinox.delivery.wire import SseWire
from patinox.errors import InputError, PatinoxError, UpstreamError, UpstreamStarting
from patinox.formats.openai_chat import OPENAI_CHAT, assemble_completion
from patinox.gateway.client import UpstreamClient
from patinox.gateway.exchange import CallFailed, CallOptions, Exchange, require
from patinox.gateway.upstreams import Upstream, Upstreams
from patinox.manager import ActiveStream, StreamManager
from patinox.transports.bodies import json_object
from patinox.transports.endpoint import Asgi, Endpoint, Reply, error_reply
from patinox.transports.http import HttpReader

__all__ = ["OpenAIApi", "routes"]


def routes(manager: StreamManager, upstreams: Upstreams, client: UpstreamClient) -> list[Route]:
    """The routes, for a Starlette router."""
    api = OpenAIApi(manager, upstreams, client)
    return [
        Route("/v1/chat/completions", Endpoint(api.completions, reply=openai_error), methods=["POST"]),
        Route("/v1/models", Endpoint(api.models, reply=openai_error), methods=["GET"]),
    ]


class OpenAIApi:
    """The handlers."""

    def __init__(self, manager: StreamManager, upstreams: Upstreams, client: UpstreamClient) -> None:
        self._manager = manager
        self._upstreams = upstreams
        self._client = client
        self._exchange = Exchange(manager, client)

    async def completions(self, request: Request) -> Asgi:
        """`POST /v1/chat/completions`."""
        body = await json_object(request.receive, self._manager.config.max_body_bytes)
        require(body, "messages", list, "a list of messages")
        model = body.get("model")
        if model is not None and not isinstance(model, str):
            raise InputError("model is a string")
        upstream, name = self._upstreams.resolve(model)
        options = CallOptions.of(request)
        stream = await self._exchange.begin(
            options, upstream, "/chat/completions", _request(body, name, options), model=name
        )
        if options.detached:
            return Reply(stream.describe(), 202, _headers(stream, location=True))
        await self._exchange.first_record(stream, request)
        if body.get("stream"):
            return self._streamed(request, stream)
        await self._exchange.whole(stream, request)
        return Reply(_completion(stream), headers=_headers(stream))

    def _streamed(self, request: Request, stream: ActiveStream) -> Asgi:
        ids = request.headers.get("patinox-ids", "").lower() in ("1", "true")
        wire = SseWire(OPENAI_CHAT, ids=ids, controls=False)
        return HttpReader(self._manager, stream, OPENAI_CHAT, wire, "start")

    async def models(self, request: Request) -> Asgi:
        """`GET /v1/models`: of every upstream, as `NAME/model`; who does not answer is under `unavailable`."""
        upstreams = list(self._upstreams)
        listings = await asyncio.gather(*(self._models_of(upstream) for upstream in upstreams))
        data: list[dict[str, Any]] = []
        unavailable: dict[str, str] = {}
        default = self._upstreams.default
        for upstream, listing in sorted(zip(upstreams, listings, strict=True), key=lambda pair: pair[0] is not default):
            if isinstance(listing, UpstreamError):
                unavailable[upstream.name] = listing.message
            else:
                data += listing
        return Reply({"object": "list", "data": data, **({"unavailable": unavailable} if unavailable else {})})

    async def _models_of(self, upstream: Upstream) -> list[dict[str, Any]] | UpstreamError:
        try:
            listed = [{"id": model} for model in upstream.models] or await self._client.list_models(upstream)
        except UpstreamError as error:
            return error
        shown = ("created", "owned_by")
        return [
            {"id": f"{upstream.name}/{model['id']}", "object": "model", "created": 0, "owned_by": upstream.name}
            | {key: model[key] for key in shown if key in model}
            for model in listed
        ]


def _request(body: dict[str, Any], model: str, options: CallOptions) -> dict[str, Any]:
    asked = {**body, "model": model, "stream": True}
    if not model:
        del asked["model"]
    if not body.get("stream") or options.detached:  # nobody reads the frames themselves: let the usage be known
        given = body.get("stream_options")
        asked["stream_options"] = {**(given if isinstance(given, dict) else {}), "include_usage": True}
    return asked


def _completion(stream: ActiveStream) -> dict[str, Any]:
    completion = assemble_completion(stream.assembly, stream.feed.head)
    if stream.feed.outcome is Outcome.INCOMPLETE:
        # One that was cut short by a limit of ours has no reason of its own, which would read as "stop".
        ended = {message.choice for message in stream.assembly.messages.values() if message.finish_reason is not None}
        for choice in completion["choices"]:
            if choice["index"] not in ended:
                choice["finish_reason"] = "length"
    return completion


def _headers(stream: ActiveStream, *, location: bool = False) -> dict[str, str]:
    headers = {"patinox-stream-id": stream.id, "patinox-position": stream.position}
    return {**headers, "location": f"/v1/streams/{stream.id}"} if location else headers


def openai_error(error: PatinoxError) -> Reply:
    """An error as OpenAI's clients read it: `{"error": {"message", "type", "param", "code", …}}`."""
    reply, told = error_reply(error), error.as_dict()
    headers = error.headers if isinstance(error, CallFailed) else {}
    if isinstance(error, UpstreamStarting):
        headers = {"retry-after": "1"}
    return Reply({"error": {"type": told["code"], "param": None, **told}}, reply.status, reply.headers | headers)
