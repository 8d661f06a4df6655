"""The document, for the routes that a server has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from patinox.server.openapi.calls import CALLS, JSON, Bodies, Call
from patinox.server.openapi.schemas import SCHEMAS, STREAM_ID, ref
from patinox.transports.endpoint import ApiRoute, Asgi, Endpoint, Reply

PATH = "/openapi.json"
_NAMES = re.compile(r"\{(\w+)\}")


def route(routes: Iterable[Any]) -> Route:
    """`GET /openapi.json` for a server with these routes, and itself."""
    document = document_of({*pairs(routes), ("GET", PATH)})
    return ApiRoute(PATH, Endpoint(partial(_answer, Reply(document))), methods=["GET", "HEAD"])


async def _answer(reply: Reply, request: Request) -> Asgi:
    return reply


def pairs(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Method and path of each call that routes answer; `HEAD` goes with `GET`."""
    for each in routes:
        for method in (isinstance(each, Route) and each.methods) or ():
            if method != "HEAD":
                yield method, each.path


def document_of(there: set[tuple[str, str]]) -> dict[str, Any]:
    """OpenAPI 3.1 for the calls that there are, as (method, path)."""
    paths: dict[str, dict[str, Any]] = {}
    for call in CALLS:
        if (call.method, call.path) in there:
            paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Patinox", "version": version("patinox"), "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"bearer": []}],
    }


def _operation(call: Call) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(call),
        "summary": call.meaning,
        "parameters": [*_path_parameters(call.path), *_parameters(call)],
        "responses": {str(status): _response(bodies) for status, bodies in call.answers.items()}
        | {str(status): _refusal() for status in call.refusals if status not in call.answers},
    }
    if call.takes:
        operation["requestBody"] = {"content": _content(call.takes), "required": call.is_body_required}
    return operation


def _operation_id(call: Call) -> str:
    words = re.findall(r"[a-z]+", call.path.removeprefix("/v1").replace(".json", "").lower())
    return "_".join([call.method.lower(), *words])


def _path_parameters(path: str) -> Iterator[dict[str, Any]]:
    for name in _NAMES.findall(path):
        yield {"in": "path", "name": name, "required": True, "schema": STREAM_ID}


def _parameters(call: Call) -> Iterator[dict[str, Any]]:
    for place, name, schema, meaning in call.parameters:
        yield {"in": place, "name": name, "schema": schema, "description": meaning}


def _response(bodies: Bodies) -> dict[str, Any]:
    said = {"description": "As asked." if bodies else "Nothing more."}
    return {**said, "content": _content(bodies)} if bodies else said


def _refusal() -> dict[str, Any]:
    return {"description": "Refused; the error says why.", "content": _content({JSON: ref("ErrorBody")})}


def _content(bodies: Bodies) -> dict[str, Any]:
    return {media_type: {"schema": schema} for media_type, schema in bodies.items()}
