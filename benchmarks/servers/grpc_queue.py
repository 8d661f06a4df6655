"""The usual gRPC service of the tutorials: `grpc.aio`, a queue a call, each message made and serialised per reader."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop

from benchmarks.servers.control import Publisher, obey_stdin, say
from benchmarks.servers.host import raise_open_files
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.generated.streams_pb2_grpc import StreamsServicer, add_StreamsServicer_to_server

OVERHEAD_BYTES = 30

queues: set[asyncio.Queue[tuple[str, str]]] = set()


class Service(StreamsServicer):
    """One stream, of those who are there."""

    async def Subscribe(  # noqa: N802
        self, request: pb.SubscribeRequest, context: Any
    ) -> AsyncIterator[pb.SubscribeResponse]:
        """Everything from now on."""
        queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        queues.add(queue)
        try:
            yield pb.SubscribeResponse(events=[pb.Event(position=pb.Position(outcome=pb.ATTACH_OUTCOME_START))])
            while True:
                event_id, text = await queue.get()
                yield pb.SubscribeResponse(events=[pb.Event(id=event_id, text=pb.Text(text=text))])
        finally:
            queues.discard(queue)


class Numbered:
    """Publishes to all."""

    def __init__(self) -> None:
        self._sequence = 0

    async def publish(self, stream: int, text: str) -> None:
        """One message into each queue."""
        self._sequence += 1
        for queue in queues:
            queue.put_nowait((f"123456789012-{self._sequence}", text))


async def _serve() -> None:
    server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 1024)])
    add_StreamsServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say(f"listening {port} {os.getpid()}")
    await obey_stdin(Publisher(Numbered().publish, OVERHEAD_BYTES))
    await server.stop(None)


if __name__ == "__main__":
    raise_open_files()
    uvloop.run(_serve())
