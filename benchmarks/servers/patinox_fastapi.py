"""Patinox in somebody's FastAPI application: an endpoint that returns `sse_response`, and one for WebSockets."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.servers.host import serve
from benchmarks.servers.patinox_streams import OVERHEAD_BYTES, manager, prepare, publish, streams
from patinox.asgi import sse_response, websocket_endpoint

try:
    from fastapi import FastAPI, Request, Response
    from starlette.routing import WebSocketRoute
except ImportError:
    print("FastAPI is not installed", file=sys.stderr)
    sys.exit(3)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """The manager lives as long as the application."""
    async with manager:
        yield


app = FastAPI(lifespan=lifespan)
app.router.routes.append(WebSocketRoute("/ws", websocket_endpoint(manager)))


@app.get("/events/{number}")
async def events(number: int, request: Request) -> Response:
    """Attach the client to the stream of that number."""
    return await sse_response(request, streams[number])


if __name__ == "__main__":
    serve(app, publish, OVERHEAD_BYTES, prepare, ws="websockets-sansio")
