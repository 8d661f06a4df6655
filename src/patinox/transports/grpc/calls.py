"""What goes around every call: our errors as statuses, who calls, and the way out of a call that reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote

import grpc

from patinox.errors import PatinoxError
from patinox.transports.access import Scope
from patinox.transports.grpc.statuses import DETAILS, status_code, status_details

Context = grpc.aio.ServicerContext[Any, Any]

_S = TypeVar("_S")
_Q = TypeVar("_Q")
_A = TypeVar("_A")
_Call = Callable[[_S, _Q, Context], Awaitable[_A]]

_log = logging.getLogger("patinox.grpc")


def answered(call: _Call[_S, _Q, _A]) -> _Call[_S, _Q, _A]:
    """Has a call end with the status of the `PatinoxError` that it raises; of any other error nothing gets out."""

    @wraps(call)
    async def answering(service: _S, request: _Q, context: Context) -> _A:
        try:
            return await _told(call, service, request, context)
        except grpc.aio.AbortError:
            raise
        except grpc.aio.BaseError as error:  # the connection broke: there is nobody left to be told
            raise asyncio.CancelledError from error

    return answering


async def _told(call: _Call[_S, _Q, _A], service: _S, request: _Q, context: Context) -> _A:
    try:
        return await call(service, request, context)
    except PatinoxError as error:
        await refuse(context, error)
    except grpc.aio.BaseError:
        raise
    except Exception:
        _log.exception("a call broke off")
        await context.abort(grpc.StatusCode.INTERNAL, "the call broke off by a fault of the server's")


async def refuse(context: Context, error: PatinoxError, **facts: Any) -> NoReturn:
    """Ends a call with the status of an error. Raises `grpc.aio.AbortError`, always."""
    details = status_details(error, **facts)
    await context.abort(status_code(error), details.message, ((DETAILS, details.SerializeToString()),))


def address_of(context: Context) -> str:
    """The client's network address; empty where there is none.

    gRPC says `ipv4:127.0.0.1:4711`, `ipv6:%5B::1%5D:4711`, `unix:…`.
    """
    kind, _, rest = context.peer().partition(":")
    host, _, _ = unquote(rest).rpartition(":")
    return host.strip("[]") if kind in ("ipv4", "ipv6") else ""


def scope_of(context: Context) -> Scope:
    """A call as the access door knows requests: metadata are its headers, as on the wire (HTTP/2, POST)."""
    metadata = context.invocation_metadata() or ()
    headers = [(key.encode(), value if isinstance(value, bytes) else value.encode()) for key, value in metadata]
    return {
        "type": "http",
        "http_version": "2",
        "method": "POST",
        "headers": headers,
        "client": (address_of(context), 0),
    }
