"""A gRPC server on loopback and a client of it, in one event loop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc

from patinox import StreamManager
from patinox.transports.access import Access
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.generated.streams_pb2_grpc import StreamsStub
from patinox.transports.grpc.server import GrpcServer


class Peer(NamedTuple):
    """Both ends. `stub` has the calls of `patinox.v1.Streams`."""

    server: GrpcServer
    channel: grpc.aio.Channel
    stub: Any

    async def create(self, **request: Any) -> pb.Stream:
        """A new stream."""
        answer: pb.CreateResponse = await self.stub.Create(pb.CreateRequest(**request))
        return answer.stream

    def subscribe(self, stream: str, after: str = "", **call: Any) -> Any:
        """A call that reads."""
        return self.stub.Subscribe(pb.SubscribeRequest(stream=stream, after=after), **call)

    async def read(self, stream: str, after: str = "") -> list[pb.Event]:
        """All events up to the end of the call."""
        return [event async for event in events(self.subscribe(stream, after))]


@asynccontextmanager
async def serving(
    manager: StreamManager, *, access: Access | None = None, options: Sequence[tuple[str, Any]] = ()
) -> AsyncIterator[Peer]:
    """A server of this manager; both are closed, in the order that the program has, at the end."""
    server = GrpcServer(manager, access=access)
    port = server.bind("127.0.0.1", 0)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=list(options)) as channel:
            yield Peer(server, channel, StreamsStub(channel))  # type: ignore[no-untyped-call]
    finally:
        server.end()
        await manager.aclose()
        await server.aclose()


async def events(call: AsyncIterator[pb.SubscribeResponse]) -> AsyncIterator[pb.Event]:
    """The events of a call, one by one."""
    async for response in call:
        for event in response.events:
            yield event


async def until(condition: Any) -> None:
    """Gives the loop back until something is so. Bound by the test's own time."""
    while not condition():  # noqa: ASYNC110  # no event tells of it
        await asyncio.sleep(0)


def text(said: str) -> pb.Event:
    """An event of text, to append."""
    return pb.Event(text=pb.Text(text=said))


def kinds(told: Sequence[pb.Event]) -> list[str | None]:
    """What each event is."""
    return [event.WhichOneof("data") for event in told]
