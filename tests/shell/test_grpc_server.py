"""The gRPC server around the calls: health, reflection, limits, and how it ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tests.grpc_peer import Peer, events, serving, text

from patinox import StreamingConfig, StreamManager
from patinox.config import GrpcConfig
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.generated.streams_pb2_grpc import StreamsStub
from patinox.transports.grpc.server import GrpcServer


def managed(**settings: Any) -> StreamManager:
    return StreamManager(StreamingConfig(grpc=GrpcConfig(**settings), drain_timeout_s=5))


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    async with managed() as manager:
        yield manager


@pytest.fixture
async def peer(manager: StreamManager) -> AsyncIterator[Peer]:
    async with serving(manager) as peer:
        yield peer


async def code(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    found: grpc.StatusCode = caught.value.code()
    return found


# --- health


async def test_health_is_told_of_the_server_and_of_the_service(peer: Peer) -> None:
    health = HealthStub(peer.channel)
    for name in ("", "patinox.v1.Streams"):
        answer = await health.Check(HealthCheckRequest(service=name))
        assert answer.status == HealthCheckResponse.SERVING
    assert await code(health.Check(HealthCheckRequest(service="other"))) is grpc.StatusCode.NOT_FOUND
    assert set((await health.List(HealthListRequest())).statuses) == {"", "patinox.v1.Streams"}


async def test_who_watches_is_told_when_the_server_leaves_and_let_go(peer: Peer) -> None:
    watch = HealthStub(peer.channel).Watch(HealthCheckRequest())
    unknown = HealthStub(peer.channel).Watch(HealthCheckRequest(service="other"))
    assert (await watch.read()).status == HealthCheckResponse.SERVING
    assert (await unknown.read()).status == HealthCheckResponse.SERVICE_UNKNOWN
    peer.server.end()
    assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
    assert await watch.read() is grpc.aio.EOF


# --- reflection


async def test_a_client_that_has_no_proto_file_can_ask_for_everything() -> None:
    """As grpcurl does: the services, their messages, and a call made of what was told."""
    manager = managed(reflection=True)
    async with manager, serving(manager) as peer:
        await manager.create(id="s")
        address = peer.server.address

        def ask() -> tuple[list[str], str]:
            with grpc.insecure_channel(address) as channel:
                database = ProtoReflectionDescriptorDatabase(channel)
                services = list(database.get_services())
                pool = DescriptorPool(database)
                method = pool.FindServiceByName("patinox.v1.Streams").methods_by_name["Get"]
                request, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
                get = channel.unary_unary("/patinox.v1.Streams/Get", request.SerializeToString, answer.FromString)
                found: Any = get(request(stream="s"))
                return services, found.stream.id

        services, found = await asyncio.to_thread(ask)
    assert found == "s"
    assert "patinox.v1.Streams" in services
    assert "grpc.health.v1.Health" in services


async def test_what_reflection_tells_is_the_proto_file() -> None:
    manager = managed(reflection=True)
    async with manager, serving(manager) as peer:
        address = peer.server.address

        def ask() -> FileDescriptorProto:
            with grpc.insecure_channel(address) as channel:
                told: FileDescriptorProto = ProtoReflectionDescriptorDatabase(channel).FindFileContainingSymbol(
                    "patinox.v1.Event"
                )
                return told

        told = await asyncio.to_thread(ask)
    assert told.SerializeToString() == pb.DESCRIPTOR.serialized_pb


async def test_without_being_asked_for_there_is_no_reflection(peer: Peer) -> None:
    call: Any = peer.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    assert await code(call(iter([b""])).read()) is grpc.StatusCode.UNIMPLEMENTED


# --- limits


async def test_a_message_over_its_limit_is_refused() -> None:
    manager = managed(max_message_size=2048)
    async with manager, serving(manager) as peer:
        await manager.create(id="s")
        large = pb.AppendRequest(stream="s", events=[text("x" * 3000)])
        assert await code(peer.stub.Append(iter([large]))) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert manager.get("s").log.head == 0


async def test_metadata_over_its_limit_are_refused() -> None:
    manager = managed(max_metadata_size=2048)
    async with manager, serving(manager) as peer:
        await manager.create(id="s")
        call = peer.stub.Get(pb.GetRequest(stream="s"), metadata=(("x-large", "x" * 3000),))
        assert await code(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await peer.stub.Get(pb.GetRequest(stream="s"), metadata=(("x-small", "x" * 300),))).stream.id == "s"


async def test_calls_over_the_limit_of_a_connection_wait_for_one_to_end() -> None:
    manager = managed(max_concurrent_streams=2)
    async with manager, serving(manager) as peer:
        stream = await manager.create(id="s")
        first, second = events(peer.subscribe("s")), peer.subscribe("s")
        await anext(first)
        await second.read()
        third = asyncio.ensure_future(anext(events(peer.subscribe("s"))))
        await stream.write("x")  # which the first reads while the third has not begun
        assert (await anext(first)).text.text == "x"
        assert not third.done()
        assert stream.feed.readers == 2
        second.cancel()
        assert (await third).position.outcome == pb.ATTACH_OUTCOME_START


async def test_a_client_that_pings_too_often_is_sent_away() -> None:
    manager = managed(min_ping_interval_s=3600.0)
    eager = [("grpc.keepalive_time_ms", 10), ("grpc.http2.max_pings_without_data", 0)]
    async with manager, serving(manager, options=eager) as peer:
        await manager.create(id="s")
        call = peer.subscribe("s")
        await call.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "Too many pings"


# --- start and end


async def test_a_port_that_is_taken_cannot_be_had(manager: StreamManager, peer: Peer) -> None:
    port = int(peer.server.address.rpartition(":")[2])
    other = GrpcServer(manager)
    with pytest.raises(OSError, match="bind"):
        other.bind("127.0.0.1", port)
    await other.start()
    await other.aclose()


async def test_workers_share_a_port(manager: StreamManager) -> None:
    workers = [GrpcServer(manager, shares_port=True) for _ in range(2)]
    port = workers[0].bind("127.0.0.1", 0)
    assert workers[1].bind("127.0.0.1", port) == port
    for worker in workers:
        await worker.start()
        await worker.aclose()


async def test_at_its_end_readers_are_told_and_nothing_new_is_taken() -> None:
    manager = managed()
    server = GrpcServer(manager)
    port = server.bind("127.0.0.1", 0)
    async with manager, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await server.start()
        stub: Any = StreamsStub(channel)  # type: ignore[no-untyped-call]
        stream = await manager.create(id="s")
        call = events(stub.Subscribe(pb.SubscribeRequest(stream="s")))
        writing = stub.Append()
        await writing.write(pb.AppendRequest(stream="s", events=[text("x")]))
        assert [(await anext(call)).WhichOneof("data") for _ in range(2)] == ["position", "text"]
        server.end()
        await manager.aclose()
        assert (await anext(call)).goaway.after.ToMilliseconds() >= 1000
        assert (await anext(call)).end.outcome == pb.OUTCOME_INTERRUPTED
        assert [event async for event in call] == []
        await writing.write(pb.AppendRequest(events=[text("y")]))
        assert await code(writing) is grpc.StatusCode.FAILED_PRECONDITION
        await server.aclose()
        assert stream.feed.readers == 0
        assert await code(stub.Get(pb.GetRequest(stream="s"))) is grpc.StatusCode.UNAVAILABLE


async def test_a_call_that_does_not_end_is_ended_with_the_server() -> None:
    manager = managed()
    async with manager, serving(manager) as peer:
        await manager.create(id="s")
        writing = peer.stub.Append()
        await writing.write(pb.AppendRequest(stream="s", events=[text("x")]))
        while not manager.get("s").log.head:  # noqa: ASYNC110
            await asyncio.sleep(0)
        peer.server.end()
        await manager.aclose()
        await peer.server.aclose()
        assert await code(writing) is grpc.StatusCode.UNAVAILABLE
