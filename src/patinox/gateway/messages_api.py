"""Anthropic's own call: `POST /v1/messages`, streamed and not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from patinox.errors import InputError, PatinoxError, UpstreamStarting
from patinox.formats.anthropic import ANTHROPIC, assemble_message
from patinox.formats.anthropic.frames import STATUSES
from patinox.formats.base import StreamHead
from patinox.gateway.calls import Calling, Calls, flag, need
from patinox.gateway.exchange import CallFailed
from patinox.gateway.requests import Written
from patinox.incremental.assembler import Assembly
from patinox.transports.endpoint import ApiRoute, Asgi, Endpoint, Reply, error_reply

__all__ = ["MESSAGES", "anthropic_error", "routes"]

_FORWARDED = ("anthropic-beta", "anthropic-version")
_TYPES: Mapping[int, str] = {status: type_ for type_, status in STATUSES.items()}


def routes(calls: Calls) -> list[Route]:
    """The routes, for a Starlette router."""

    async def messages(request: Request) -> Asgi:
        options = await calls.options(request)
        body = await calls.body(request, MESSAGES)
        is_streamed = flag(body, "stream")
        stream = await calls.begin(request, MESSAGES, body, options)
        return await calls.answer(request, MESSAGES, stream, is_streamed=is_streamed, detached=options.detached)

    return [ApiRoute("/v1/messages", Endpoint(messages, reply=anthropic_error), methods=["POST"])]


def _check(body: dict[str, Any]) -> None:
    need(body, "messages", list, "a list of messages")
    limit = body.get("max_tokens")
    if type(limit) is not int or limit < 1:
        raise InputError("max_tokens is required, and is a whole number from 1")


def _pass_on(body: dict[str, Any], request: Request, is_read: bool) -> Written:
    headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
    return Written("/messages", body, headers)


def _message(assembly: Assembly, head: StreamHead, is_cut: bool) -> dict[str, Any]:
    message = assemble_message(assembly, head)
    reasons = [each.finish_reason for each in assembly.messages.values() if not each.choice]
    if is_cut and not any(reasons):  # one that a limit of ours cut short has no reason of its own
        message["stop_reason"] = "max_tokens"
    return message


MESSAGES = Calling(ANTHROPIC, _check, _pass_on, _message)


def anthropic_error(error: PatinoxError) -> Reply:
    """An error as Anthropic's clients read it: `{"type": "error", "error": {"type", "message", …}}`."""
    reply, told = error_reply(error), error.as_dict()
    headers = error.headers if isinstance(error, CallFailed) else {}
    if isinstance(error, UpstreamStarting):
        headers = {"retry-after": "1"}
    known = told.get("type") in STATUSES
    type_ = told["type"] if known else _TYPES.get(reply.status, _other(reply.status))
    body = {"type": "error", "error": {**told, "type": type_}}
    return Reply(body, reply.status, reply.headers | headers)


def _other(status: int) -> str:
    return "api_error" if status >= 500 else "invalid_request_error"
