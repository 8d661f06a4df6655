"""gRPC for `check_transport`: one channel, a call for each reader."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from tests.serving import Serving, serving

from patinox.config import StreamingConfig
from patinox.core.codec import encode_data
from patinox.grpc import StreamsStub, messages
from patinox.testing.transport import Broken, Reading, Record, Refused, Session
from patinox.transports.grpc.messages import from_event
from patinox.transports.grpc.statuses import DETAILS

OUTCOME = "ATTACH_OUTCOME_"
FIXED_WINDOW = [("grpc.http2.bdp_probe", 0)]  # of 64 KiB; else the client widens it while it reads


class GrpcReading:
    """A call, which reads a response when it is asked for what comes next."""

    def __init__(self, call: Any) -> None:
        self.outcome = self.position = ""
        self._call = call
        self._ready: deque[messages.Event] = deque()
        self._told_end = False

    async def begin(self) -> None:
        """Takes what it is told first. Raises `Refused`."""
        try:
            self._ready.extend((await self._call.read()).events)
        except grpc.aio.AioRpcError as error:
            raise Refused(reason(error)) from error
        first = self._ready.popleft()
        named = messages.AttachOutcome.Name(first.position.outcome)
        self.outcome, self.position = named.removeprefix(OUTCOME).lower(), first.id

    async def next(self) -> Record | None:
        while not self._ready:
            try:
                response = await self._call.read()
            except grpc.aio.AioRpcError as error:
                raise Broken from error
            if response is grpc.aio.EOF:
                if not (self._told_end or self.outcome == "complete"):
                    raise Broken
                return None
            self._ready.extend(response.events)
        event = self._ready.popleft()
        if event.WhichOneof("data") == "goaway":
            return await self.next()
        assert not self._told_end, f"{event} after the end"
        record = record_of(event)
        self._told_end = record.event in ("end", "error")
        return record

    async def leave(self) -> None:
        self._call.cancel()


def record_of(event: messages.Event) -> Record:
    match event.WhichOneof("data"):
        case "gap":
            return Record("", "gap", {"from": getattr(event.gap, "from"), "to": event.gap.to})
        case "snapshot":
            return Record(event.id, "snapshot", {"content": event.snapshot.content})
    data = from_event(event)
    return Record(event.id, data.kind, json.loads(encode_data(data)))


def reason(error: grpc.aio.AioRpcError) -> str:
    info = ErrorInfo()
    assert Status.FromString(dict(error.trailing_metadata())[DETAILS]).details[0].Unpack(info)
    return str(info.reason).lower()


class GrpcSession:
    def __init__(self, server: Serving, channel: grpc.aio.Channel) -> None:
        self.manager = server.manager
        self._server = server
        self._stub: Any = StreamsStub(channel)  # type: ignore[no-untyped-call]

    async def attach(self, stream_id: str, after: str | None = None) -> Reading:
        asked = messages.SubscribeRequest(stream=stream_id, after=after or "")
        reading = GrpcReading(self._stub.Subscribe(asked))
        await reading.begin()
        return reading

    async def cancel(self, stream_id: str) -> None:
        await self._stub.Cancel(messages.CancelRequest(stream=stream_id))

    async def end(self) -> None:
        await self._server.end()


class GrpcTransport:
    """gRPC, one connection for all readers."""

    def serve(self, config: StreamingConfig) -> AbstractAsyncContextManager[Session]:
        return self._serve(config)

    @asynccontextmanager
    async def _serve(self, config: StreamingConfig) -> AsyncIterator[Session]:
        async with (
            serving({}, streaming=config, server__grpc_port=0) as server,
            grpc.aio.insecure_channel(server.grpc_address, options=FIXED_WINDOW) as channel,
        ):
            yield GrpcSession(server, channel)
            await server.end()
