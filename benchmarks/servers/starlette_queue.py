"""Starlette's `StreamingResponse` with a queue per client: the usual hand-written fan-out."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.servers.host import serve

QUEUE_CHUNKS = 1000
OVERHEAD_BYTES = len("data: \n\n")

queues: defaultdict[int, set[asyncio.Queue[bytes]]] = defaultdict(set)


async def publish(stream: int, text: str) -> None:
    """Encode once, put on every client's queue."""
    frame = f"data: {text}\n\n".encode()
    for queue in queues[stream]:
        await queue.put(frame)


async def frames(stream: int, queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    """Yield what is put on the queue until the client goes."""
    try:
        while True:
            yield await queue.get()
    finally:
        queues[stream].discard(queue)


async def events(request: Request) -> StreamingResponse:
    """Subscribe at once, so that nothing published after the response head is missed."""
    stream = int(request.path_params["stream"])
    queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_CHUNKS)
    queues[stream].add(queue)
    return StreamingResponse(frames(stream, queue), media_type="text/event-stream")


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/events/{stream:int}", events)]), publish, OVERHEAD_BYTES)
