"""The calls of `patinox.v1.Streams`, by gRPC's own client: what they answer, and with which status they refuse."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from tests.grpc_peer import Peer, serving, text

from patinox import StreamingConfig, StreamManager, Text
from patinox.core.chunks import Error, Json
from patinox.errors import PatinoxError, StreamNotFound
from patinox.manager import ActiveStream
from patinox.transports.access import Access, Caller, Right
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.statuses import DETAILS
from patinox.transports.grpc.values import from_struct, to_json


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    config = StreamingConfig(max_chunk_bytes=1000, max_streams=4, drain_timeout_s=0)
    async with StreamManager(config) as manager:
        yield manager


@pytest.fixture
async def peer(manager: StreamManager) -> AsyncIterator[Peer]:
    async with serving(manager) as peer:
        yield peer


def info(error: grpc.aio.AioRpcError) -> ErrorInfo:
    """The `ErrorInfo` among an error's details."""
    return detail(error, ErrorInfo())


def detail(error: grpc.aio.AioRpcError, message: Any) -> Any:
    said = dict(error.trailing_metadata())[DETAILS]
    status = Status.FromString(said)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    assert any(one.Unpack(message) for one in status.details)
    return message


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def append(peer: Peer, *requests: pb.AppendRequest) -> pb.AppendResponse:
    answer: pb.AppendResponse = await peer.stub.Append(iter(requests))
    return answer


def to(stream: str, *events: pb.Event, **more: Any) -> pb.AppendRequest:
    return pb.AppendRequest(stream=stream, events=events, **more)


def written(stream: ActiveStream) -> list[Any]:
    return [chunk.data for chunk in stream.log.slice(0, 100)]


# --- Create


async def test_create_makes_a_stream_with_what_it_asks_for(peer: Peer, manager: StreamManager) -> None:
    asked = pb.CreateRequest(id="s", metadata={"user": "u1", "n": 3}, retain=pb.RETAIN_WINDOW, on_abandon="keep")
    asked.ttl.FromSeconds(90)
    made = (await peer.stub.Create(asked)).stream
    stream = manager.get("s")
    assert (made.id, made.epoch, made.state, made.position) == ("s", stream.epoch, pb.STATE_OPEN, stream.position)
    assert from_struct(made.metadata) == stream.metadata == {"user": "u1", "n": 3}
    assert (stream.options.ttl_s, made.retain, made.on_abandon) == (90.0, pb.RETAIN_WINDOW, "keep")
    assert made.created.ToNanoseconds() / 1e9 == pytest.approx(stream.created_s)


async def test_a_stream_without_an_id_gets_one(peer: Peer, manager: StreamManager) -> None:
    assert manager.get((await peer.create()).id).is_open


async def test_metadata_that_no_struct_can_hold_is_told_as_json(peer: Peer, manager: StreamManager) -> None:
    await manager.create(id="s", metadata={"n": 2**60})
    told = (await peer.stub.Get(pb.GetRequest(stream="s"))).stream
    assert told.metadata_json == b'{"n":1152921504606846976}'


async def test_an_id_that_is_taken_is_refused(peer: Peer) -> None:
    await peer.create(id="s")
    error = await refused(peer.create(id="s"))
    assert (error.code(), info(error).reason) == (grpc.StatusCode.ALREADY_EXISTS, "EXISTS")


@pytest.mark.parametrize("asked", [{"id": "/"}, {"on_abandon": "never"}, {"pipeline": "none"}, {"retain": 9}])
async def test_create_refuses_what_it_cannot_do(peer: Peer, asked: dict[str, Any]) -> None:
    error = await refused(peer.create(**asked))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_limit_says_when_to_try_again(peer: Peer, manager: StreamManager) -> None:
    for _ in range(4):
        await manager.create()
    error = await refused(peer.create())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert detail(error, RetryInfo()).retry_delay.seconds == 5


# --- Append


async def test_append_takes_events_as_they_arrive_and_says_how_far_it_got(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    call = peer.stub.Append()
    await call.write(to("s", text("Hel")))
    async for chunk in stream.subscribe():
        assert chunk.data == Text("Hel")
        break
    await call.write(pb.AppendRequest(events=[text("lo"), pb.Event(json=pb.Json(value=to_json({"a": 1})))]))
    await call.done_writing()
    answer = await call
    assert (answer.accepted, answer.position, answer.next) == (3, stream.position, 4)
    assert written(stream) == [Text("Hel"), Text("lo"), Json({"a": 1})]
    assert stream.is_open


async def test_append_finishes_a_stream(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    ending = pb.Finish(outcome=pb.OUTCOME_INCOMPLETE, error=pb.Error(code="length", message="cut"))
    await append(peer, to("s", text("Hel")), pb.AppendRequest(finish=ending))
    assert (stream.state.value, written(stream)[-1].error) == ("incomplete", Error("length", "cut"))


async def test_a_repeated_append_is_not_appended_again(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    requests = (
        to("s", text("a"), text("b"), producer=pb.Producer(id="p", epoch=1)),
        pb.AppendRequest(events=[text("c")], finish=pb.Finish()),
    )
    first, again = await append(peer, *requests), await append(peer, *requests)
    assert (first.accepted, again.accepted, again.position) == (3, 0, first.position)
    assert written(stream)[:3] == [Text("a"), Text("b"), Text("c")]


async def test_a_hole_in_what_a_producer_numbers_is_refused_and_says_what_is_expected(
    peer: Peer, manager: StreamManager
) -> None:
    await manager.create(id="s")
    await append(peer, to("s", text("a"), producer=pb.Producer(id="p")))
    error = await refused(append(peer, to("s", text("c"), producer=pb.Producer(id="p", seq=2))))
    assert error.code() is grpc.StatusCode.ABORTED
    assert info(error).metadata["expected"] == "1"


async def test_an_older_incarnation_of_a_producer_is_shut_out(peer: Peer, manager: StreamManager) -> None:
    await manager.create(id="s")
    await append(peer, to("s", text("a"), producer=pb.Producer(id="p", epoch=2)))
    error = await refused(append(peer, to("s", text("b"), producer=pb.Producer(id="p", epoch=1, seq=1))))
    assert (error.code(), info(error).reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PRODUCER_FENCED")


async def test_an_error_says_how_far_the_call_got(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    error = await refused(append(peer, to("s", text("a")), pb.AppendRequest(events=[text("b"), pb.Event()])))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(info(error).metadata) == {"accepted": "1", "position": stream.position}
    assert written(stream) == [Text("a")], "of a request with a fault nothing is appended"


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ([], "without a request"),
        ([pb.AppendRequest()], "says which stream"),
        ([to("s"), to("other")], "for one stream"),
        ([to("s"), pb.AppendRequest(producer=pb.Producer(id="p"))], "first request"),
        ([to("s", finish=pb.Finish()), pb.AppendRequest(events=[text("x")])], "nothing may follow"),
        ([to("s", producer=pb.Producer())], "1 to 128 characters"),
        ([to("s", producer=pb.Producer(id="p", seq=-1))], "count from 0"),
    ],
)
async def test_append_refuses_what_it_cannot_understand(
    peer: Peer, manager: StreamManager, requests: Iterable[pb.AppendRequest], reason: str
) -> None:
    await manager.create(id="s")
    error = await refused(append(peer, *requests))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason in (error.details() or "")


async def test_nothing_is_appended_after_the_end(peer: Peer, manager: StreamManager) -> None:
    await (await manager.create(id="s")).finish()
    for requests in ([to("s", text("x"))], [to("s")]):
        error = await refused(append(peer, *requests))
        assert (error.code(), info(error).reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CLOSED")


async def test_a_chunk_over_its_limit_is_refused(peer: Peer, manager: StreamManager) -> None:
    await manager.create(id="s")
    error = await refused(append(peer, to("s", text("x" * 1001))))
    assert (error.code(), info(error).reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE")


async def test_what_a_cut_call_appended_stays(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    call = peer.stub.Append()
    await call.write(to("s", text("Hel")))
    async for _ in stream.subscribe():
        break
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert written(stream) == [Text("Hel")]
    assert stream.is_open


async def test_an_appended_error_ends_the_stream(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await append(peer, to("s", pb.Event(error=pb.Error(code="broken", message="why", retryable=True))))
    assert (stream.state.value, written(stream)) == ("failed", [Error("broken", "why", retryable=True)])


# --- Cancel, Get


async def test_cancel_ends_a_stream_and_may_be_said_twice(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    for _ in range(2):
        told = (await peer.stub.Cancel(pb.CancelRequest(stream="s", reason="enough"))).stream
        assert told.state == pb.STATE_CANCELLED
    assert written(stream)[-1].error == Error("cancelled", "enough")


async def test_get_tells_the_facts_and_all_that_was_assembled(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await stream.write("Hel")
    await stream.write("lo")
    whole = await peer.stub.Get(pb.GetRequest(stream="s"))
    facts = await peer.stub.Get(pb.GetRequest(stream="s", facts_only=True))
    assert (whole.stream.position, whole.snapshot.content) == (stream.position, "Hello")
    assert facts.stream == whole.stream
    assert not facts.HasField("snapshot")


@pytest.mark.parametrize("name", ["Get", "Cancel", "Subscribe"])
async def test_a_stream_that_is_not_there_or_not_named_is_refused(
    peer: Peer, manager: StreamManager, name: str
) -> None:
    await manager.create(id="gone")
    await manager.delete("gone")
    request = {"Get": pb.GetRequest, "Cancel": pb.CancelRequest, "Subscribe": pb.SubscribeRequest}[name]
    for stream, code, reason in (
        ("s", grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
        ("gone", grpc.StatusCode.NOT_FOUND, "GONE"),
        ("", grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST"),
    ):
        call = getattr(peer.stub, name)(request(stream=stream))
        error = await refused(call.read() if name == "Subscribe" else call)
        assert (error.code(), info(error).reason) == (code, reason)


async def test_of_a_fault_of_ours_nothing_gets_out(
    peer: Peer, manager: StreamManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(manager, "open", broken)
    error = await refused(peer.stub.Get(pb.GetRequest(stream="s")))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in (error.details() or "")
    assert "a secret" in caplog.text


# --- the door


class NamesOnly(Access):
    """Lets in those who say their name; each has streams of its own."""

    async def caller(self, scope: Any) -> Caller:
        for key, value in scope["headers"]:
            if key == b"authorization":
                return Caller(tenant=value.decode().removeprefix("Bearer "), subject="somebody")
        raise Unnamed("who are you?")

    def check(self, caller: Caller, right: Right, subject: Any = None) -> None:
        if right is Right.CANCEL:
            raise StreamNotFound("there is no such stream for you")


class Unnamed(PatinoxError):
    code = "unauthenticated"
    http_status = 401


async def test_every_call_goes_through_the_door(manager: StreamManager) -> None:
    async with serving(manager, access=NamesOnly(manager)) as peer:
        alice, bob = ((("authorization", f"Bearer {name}"),) for name in ("alice", "bob"))
        await peer.stub.Create(pb.CreateRequest(id="s"), metadata=alice)
        assert manager.get("s", "alice").owner == "somebody"
        for call in (
            peer.stub.Create(pb.CreateRequest()),
            peer.stub.Get(pb.GetRequest(stream="s")),
            peer.stub.Append(iter([to("s", text("x"))])),
            peer.subscribe("s").read(),
        ):
            assert (await refused(call)).code() is grpc.StatusCode.UNAUTHENTICATED
        for call in (
            peer.stub.Get(pb.GetRequest(stream="s"), metadata=bob),
            peer.stub.Append(iter([to("s", text("x"))]), metadata=bob),
            peer.subscribe("s", metadata=bob).read(),
            peer.stub.Cancel(pb.CancelRequest(stream="s"), metadata=alice),
        ):
            assert (await refused(call)).code() is grpc.StatusCode.NOT_FOUND
        assert (await peer.stub.Append(iter([to("s", text("x"))]), metadata=alice)).accepted == 1
