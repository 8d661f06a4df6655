"""OpenAI's older calls: `POST /v1/chat/completions`, streamed and not, and `GET /v1/models`."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from patinox.errors import PatinoxError, UpstreamError, UpstreamStarting
from patinox.formats.base import StreamHead
from patinox.formats.openai_chat import OPENAI_CHAT, assemble_completion
from patinox.gateway.calls import Calling, Calls, flag, need
from patinox.gateway.client import UpstreamClient
from patinox.gateway.exchange import CallFailed
from patinox.gateway.requests import Written
from patinox.gateway.upstreams import Upstream
from patinox.incremental.assembler import Assembly
from patinox.transports.access import Right
from patinox.transports.endpoint import ApiRoute, Asgi, Endpoint, Reply, error_reply

__all__ = ["CHAT", "OpenAIApi", "openai_error", "routes"]


def routes(calls: Calls, client: UpstreamClient) -> list[Route]:
    """The routes, for a Starlette router."""
    api = OpenAIApi(calls, client)
    return [
        ApiRoute("/v1/chat/completions", Endpoint(api.completions, reply=openai_error), methods=["POST"]),
        ApiRoute("/v1/models", Endpoint(api.models, reply=openai_error), methods=["GET"]),
    ]


class OpenAIApi:
    """The handlers."""

    def __init__(self, calls: Calls, client: UpstreamClient) -> None:
        self._calls = calls
        self._client = client

    async def completions(self, request: Request) -> Asgi:
        """`POST /v1/chat/completions`."""
        options = await self._calls.options(request)
        body = await self._calls.body(request, CHAT)
        is_streamed = flag(body, "stream")
        stream = await self._calls.begin(request, CHAT, body, options)
        return await self._calls.answer(request, CHAT, stream, is_streamed=is_streamed, detached=options.detached)

    async def models(self, request: Request) -> Asgi:
        """`GET /v1/models`: of every upstream, as `NAME/model`; who does not answer is under `unavailable`."""
        await self._calls.access.enter(request.scope, Right.MODELS)
        upstreams = list(self._calls.upstreams)
        listings = await asyncio.gather(*(self._models_of(upstream) for upstream in upstreams))
        data: list[dict[str, Any]] = []
        unavailable: dict[str, str] = {}
        default = self._calls.upstreams.default
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


def _check(body: dict[str, Any]) -> None:
    need(body, "messages", list, "a list of messages")


def _pass_on(body: dict[str, Any], request: Request, is_read: bool) -> Written:
    given = body.get("stream_options")
    if not is_read:  # nobody reads the frames themselves: let the usage be known
        body["stream_options"] = {**(given if isinstance(given, dict) else {}), "include_usage": True}
    return Written("/chat/completions", body)


def _completion(assembly: Assembly, head: StreamHead, is_cut: bool) -> dict[str, Any]:
    completion = assemble_completion(assembly, head)
    if is_cut:  # one that a limit of ours cut short has no reason of its own, which would read as "stop"
        ended = {message.choice for message in assembly.messages.values() if message.finish_reason is not None}
        for choice in completion["choices"]:
            if choice["index"] not in ended:
                choice["finish_reason"] = "length"
    return completion


CHAT = Calling(OPENAI_CHAT, _check, _pass_on, _completion)


def openai_error(error: PatinoxError) -> Reply:
    """An error as OpenAI's clients read it: `{"error": {"message", "type", "param", "code", …}}`."""
    reply, told = error_reply(error), error.as_dict()
    headers = error.headers if isinstance(error, CallFailed) else {}
    if isinstance(error, UpstreamStarting):
        headers = {"retry-after": "1"}
    return Reply({"error": {"type": told["code"], "param": None, **told}}, reply.status, reply.headers | headers)
