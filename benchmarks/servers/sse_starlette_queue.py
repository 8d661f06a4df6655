"""sse-starlette's `EventSourceResponse` with a queue per client, as its documentation shows it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from benchmarks.servers.host import serve

QUEUE_CHUNKS = 1000
OVERHEAD_BYTES = len("data: \r\n\r\n")

queues: defaultdict[int, set[asyncio.Queue[str]]] = defaultdict(set)


async def publish(stream: int, text: str) -> None:
    """Put on every client's queue; the library encodes for each."""
    for queue in queues[stream]:
        await queue.put(text)


async def frames(stream: int, queue: asyncio.Queue[str]) -> AsyncIterator[ServerSentEvent]:
    """Yield what is put on the queue until the client goes."""
    try:
        while True:
            yield ServerSentEvent(data=await queue.get())
    finally:
        queues[stream].discard(queue)


async def events(request: Request) -> EventSourceResponse:
    """Subscribe at once, so that nothing published after the response head is missed."""
    stream = int(request.path_params["stream"])
    queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_CHUNKS)
    queues[stream].add(queue)
    return EventSourceResponse(frames(stream, queue))


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/events/{stream:int}", events)]), publish, OVERHEAD_BYTES)
