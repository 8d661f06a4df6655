"""`patinox.v1.Streams`: the calls of streams.proto, on a manager.

grpc.aio.server ── bytes ──▶ StreamsService ──▶ manager
       ▲                          │ Subscribe: attach, then the fan-out pushes what follows
       └──── shared responses ────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from functools import partial
from typing import Any

import grpc

from patinox.delivery.subscription import Subscription
from patinox.errors import InputError, PatinoxError, ReaderTooSlow, ShuttingDown, Unauthenticated
from patinox.manager import ActiveStream, StreamManager
from patinox.manager.admission import Account
from patinox.manager.stream import parse_after
from patinox.transports.access import Access, Caller, Right, account_of
from patinox.transports.grpc.appending import Appending
from patinox.transports.grpc.calls import Context, address_of, answered, refuse, scope_of
from patinox.transports.grpc.facts import RETAIN, snapshot_message, stream_message
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.sink import CallSink
from patinox.transports.grpc.values import from_struct
from patinox.transports.grpc.wire import EVENTS, GrpcWire

_TOOK_NOTHING = "the reader took nothing for too long; it can resume from its last event id"

SERVICE: str = pb.DESCRIPTOR.services_by_name["Streams"].full_name


class StreamsService:
    """Serves the calls on one manager.

    server = grpc.aio.server()
    StreamsService(manager).add_to(server)
    """

    def __init__(self, manager: StreamManager, *, access: Access | None = None) -> None:
        self._manager = manager
        self._access = access if access is not None else Access(manager)
        self._wire = GrpcWire()
        self.readers = 0

    def __repr__(self) -> str:
        return f"<StreamsService {self.readers} readers>"

    def add_to(self, server: grpc.aio.Server) -> None:
        """Has a server serve it. Responses of `Subscribe` are bytes already."""
        unary, many = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Create": unary(self.create, pb.CreateRequest.FromString, pb.CreateResponse.SerializeToString),
            "Append": grpc.stream_unary_rpc_method_handler(
                self.append, pb.AppendRequest.FromString, pb.AppendResponse.SerializeToString
            ),
            "Subscribe": many(self.subscribe, pb.SubscribeRequest.FromString, None),
            "Cancel": unary(self.cancel, pb.CancelRequest.FromString, pb.CancelResponse.SerializeToString),
            "Get": unary(self.get, pb.GetRequest.FromString, pb.GetResponse.SerializeToString),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))

    @answered
    async def create(self, request: pb.CreateRequest, context: Context) -> pb.CreateResponse:
        """A new, open stream."""
        caller = await self._access.enter(scope_of(context), Right.CREATE)
        pipelines = self._manager.pipelines
        stream = await self._access.create(
            caller,
            id=request.id or None,
            metadata=from_struct(request.metadata),
            ttl_s=request.ttl.ToMilliseconds() / 1000 if request.HasField("ttl") else None,
            retain=RETAIN.word(request.retain),
            on_abandon=request.on_abandon or None,
            channel=request.channel or None,
            producer=address_of(context),
            pipeline=pipelines.asked_for(request.pipeline or None),
        )
        return pb.CreateResponse(stream=stream_message(stream))

    @answered
    async def append(self, requests: AsyncIterable[pb.AppendRequest], context: Context) -> pb.AppendResponse:
        """Appends events as they arrive. What was appended before an error stays; the details say how far it got."""
        caller = await self._access.caller(scope_of(context))
        appending = Appending(partial(self._access.open, caller, right=Right.WRITE))
        try:
            async for request in requests:
                await appending.take(request)
            return appending.answer()
        except PatinoxError as error:
            await refuse(context, error, **appending.facts())
            raise

    @answered
    async def subscribe(self, request: pb.SubscribeRequest, context: Context) -> None:
        """Reads a stream from a position on, until its end."""
        after = parse_after(request.after or None)
        caller = await self._access.caller(scope_of(context))
        stream = await self._open(caller, request.stream, Right.READ)
        account = account_of(caller, address_of(context))
        self._manager.admission.enter(stream.feed, account)
        self.readers += 1
        context.add_done_callback(lambda _: self._left(account))  # type: ignore[arg-type]  # when its status has left too
        feed, fanout = stream.feed, self._manager.fanout
        await feed.prepare(after, EVENTS)
        subscription = Subscription(feed, feed.view(EVENTS, self._wire), feed.attach(after))
        subscription.open()
        try:
            opening = await subscription.opening(fresh=True)
            sink = CallSink(context.write)
            done = fanout.deliver(subscription, sink, opening)
            await asyncio.wait((done,), timeout=self._access.time_left_s(caller))
            if not done.done():
                fanout.end(subscription, Unauthenticated("the credential has expired"))
            _raise_what_ended(done)
            async with asyncio.timeout(self._manager.config.write_deadline_s or None):
                await sink.settle()
            if subscription.leaves_after_s is not None:  # the stream goes on elsewhere: no end was told
                raise ShuttingDown("this server is restarting; go on after the last id")
        except TimeoutError:
            raise ReaderTooSlow(_TOOK_NOTHING) from None
        finally:
            await fanout.drop(subscription)
            subscription.close()

    def _left(self, account: Account) -> None:
        self.readers -= 1
        self._manager.admission.leave(account)

    @answered
    async def cancel(self, request: pb.CancelRequest, context: Context) -> pb.CancelResponse:
        """Stops the producer, and ends the stream as cancelled."""
        stream = await self._stream(request.stream, Right.CANCEL, context)
        await stream.cancel(request.reason or None)
        return pb.CancelResponse(stream=stream_message(stream))

    @answered
    async def get(self, request: pb.GetRequest, context: Context) -> pb.GetResponse:
        """The facts of a stream, and its snapshot."""
        stream = await self._stream(request.stream, Right.READ, context)
        if not request.facts_only:
            await stream.assemble()
        snapshot = None if request.facts_only else snapshot_message(stream.assembly.snapshot())
        return pb.GetResponse(stream=stream_message(stream), snapshot=snapshot)

    async def _stream(self, stream_id: str, right: Right, context: Context) -> ActiveStream:
        return await self._open(await self._access.caller(scope_of(context)), stream_id, right)

    async def _open(self, caller: Caller, stream_id: str, right: Right) -> ActiveStream:
        if not stream_id:
            raise InputError("`stream` is missing: the id of a stream")
        return await self._access.open(caller, stream_id, right)


def _raise_what_ended(done: asyncio.Future[None]) -> None:
    if done.cancelled():
        raise ShuttingDown("the server is shutting down; the reader can resume from its last event id")
    error = done.exception()
    if error is not None:
        raise error
