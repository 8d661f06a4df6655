"""`Subscribe` by gRPC's own client: positions, endings, cuts, and readers that do not read."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from tests.grpc_peer import Peer, events, kinds, serving, until

from patinox import Binary, StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.config import BackpressureConfig, BackpressureStrategy
from patinox.core.chunks import Error, Json, Outcome
from patinox.core.events import BlockDelta, BlockStart
from patinox.manager import ActiveStream
from patinox.stores.memory import MemoryStore
from patinox.testing.fakes import AsgiClient
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.statuses import DETAILS

FIXED_WINDOW = [("grpc.http2.bdp_probe", 0)]  # of 64 KiB; else the client widens it while it reads


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    config = StreamingConfig(buffer_size=10, max_connections_per_stream=2000, drain_timeout_s=5)
    async with StreamManager(config) as manager:
        yield manager


@pytest.fixture
async def peer(manager: StreamManager) -> AsyncIterator[Peer]:
    async with serving(manager) as peer:
        yield peer


async def told(stream: ActiveStream, texts: str = "abc") -> None:
    for letter in texts:
        await stream.write(letter)


def ids(stream: ActiveStream, *sequences: int) -> list[str]:
    return [f"{stream.epoch}-{sequence}" for sequence in sequences]


# --- positions


async def test_a_reader_is_told_where_it_stands_and_then_every_record(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await told(stream)
    await stream.finish()
    read = await peer.read("s")
    assert kinds(read) == ["position", "text", "text", "text", "end"]
    assert [event.id for event in read] == ids(stream, 0, 1, 2, 3, 4)
    assert read[0].position.outcome == pb.ATTACH_OUTCOME_START
    assert read[-1].end.outcome == pb.OUTCOME_COMPLETE


async def test_a_reader_at_the_head_gets_each_record_as_it_is_written(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    call = events(peer.subscribe("s"))
    assert (await anext(call)).position.outcome == pb.ATTACH_OUTCOME_START
    for letter in "abc":
        await stream.write(letter)
        assert (await anext(call)).text.text == letter


async def test_a_reader_resumes_at_every_event_and_misses_nothing(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await told(stream, "abcdefghijklmnopqrst")  # more than the window holds
    await stream.finish()
    whole = await peer.read("s")
    for number, event in enumerate(whole[:-1]):
        rest = await peer.read("s", after=event.id)
        assert rest[1:] == whole[number + 1 :]
        assert (rest[0].position.outcome, rest[0].id) == (pb.ATTACH_OUTCOME_RESUMED, event.id)
    over = await peer.read("s", after=whole[-1].id)
    assert [(event.WhichOneof("data"), event.position.outcome) for event in over] == [
        ("position", pb.ATTACH_OUTCOME_COMPLETE)
    ]


async def test_what_was_begun_over_http_goes_on_over_grpc_and_back(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await told(stream, "ab")
    http = AsgiClient(PatinoxApp(manager))
    call = events(peer.subscribe("s"))
    seen = [await anext(call) for _ in range(2)]
    await told(stream, "cd")
    await stream.finish()
    headers = {"last-event-id": seen[-1].id, "accept": "application/x-ndjson"}
    over_http = await http.request("GET", "/v1/streams/s", headers=headers)
    lines = over_http.body.splitlines()
    assert [line.split(b'"')[3].decode() for line in lines] == ids(stream, 1, 2, 3, 4, 5)
    back = await peer.read("s", after=ids(stream, 2)[0])
    assert [event.id for event in back] == ids(stream, 2, 3, 4, 5)


async def test_a_position_of_another_life_is_a_reset(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await told(stream, "a")
    await stream.finish()
    read = await peer.read("s", after="another-1")
    assert read[0].position.outcome == pb.ATTACH_OUTCOME_RESET
    assert kinds(read[1:]) == ["text", "end"]


async def test_records_that_are_gone_are_told_as_a_gap(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s", retain="window")
    await stream.write(Json({"own": True}))  # no snapshot can stand for it
    await told(stream, "abcdefghijklmnop")
    await stream.finish()
    read = await peer.read("s", after=ids(stream, 2)[0])
    assert read[0].position.outcome == pb.ATTACH_OUTCOME_GAP
    assert (getattr(read[1].gap, "from"), read[1].gap.to, read[1].id) == (3, 8, "")
    assert [event.id for event in read[2:]] == ids(stream, *range(9, 19))


async def test_a_snapshot_stands_for_what_is_gone(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s", retain="window")
    await stream.write(BlockStart(block=0))
    for _ in range(16):
        await stream.write(BlockDelta(text="x", block=0))
    await stream.finish()
    for after in ("start", "snapshot"):
        read = await peer.read("s", after=after)
        gap = [] if after == "snapshot" else ["gap"]
        assert kinds(read) == ["position", *gap, "snapshot", "end"]
        assert read[0].position.outcome == pb.ATTACH_OUTCOME_SNAPSHOT
        assert (read[-2].snapshot.content, read[-2].id) == ("x" * 16, ids(stream, 17)[0])


async def test_now_is_what_comes_next(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await told(stream, "ab")
    call = events(peer.subscribe("s", "now"))
    assert (await anext(call)).id == ids(stream, 2)[0]
    await told(stream, "c")
    assert (await anext(call)).text.text == "c"


async def test_a_malformed_position_is_refused(peer: Peer, manager: StreamManager) -> None:
    await manager.create(id="s")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await peer.read("s", after="nonsense")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


# --- endings


@pytest.mark.parametrize(
    ("outcome", "number"),
    [
        (Outcome.COMPLETE, pb.OUTCOME_COMPLETE),
        (Outcome.INCOMPLETE, pb.OUTCOME_INCOMPLETE),
        (Outcome.CANCELLED, pb.OUTCOME_CANCELLED),
        (Outcome.INTERRUPTED, pb.OUTCOME_INTERRUPTED),
    ],
)
async def test_the_last_record_says_how_a_stream_ended(
    peer: Peer, manager: StreamManager, outcome: Outcome, number: int
) -> None:
    stream = await manager.create(id="s")
    why = None if outcome is Outcome.COMPLETE else Error("why", "because")
    await stream.finish(outcome, why)
    (_, end) = await peer.read("s")
    assert (end.end.outcome, end.end.error.code) == (number, why.code if why else "")


async def test_a_failed_stream_ends_with_an_error_and_the_call_with_ok(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await stream.fail(Error("broken", "it broke", provider={"at": [1]}))
    call = peer.subscribe("s")
    (_, error) = [event async for event in events(call)]
    assert (error.error.code, error.error.message) == ("broken", "it broke")
    assert await call.code() is grpc.StatusCode.OK


# --- leaving


async def test_a_cancelled_call_ends_its_subscription_and_leaves_the_stream(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    call = peer.subscribe("s")
    await call.read()
    assert (stream.feed.readers, manager.admission.connections, peer.server.streams.readers) == (1, 1, 1)
    call.cancel()
    await until(lambda: not stream.feed.readers)
    await until(lambda: not manager.admission.connections)
    assert (stream.is_open, peer.server.streams.readers) == (True, 0)


async def test_a_deadline_ends_a_call_on_both_sides(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in peer.subscribe("s", timeout=0.2):
            pass
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: not stream.feed.readers)
    assert stream.is_open


async def test_nobody_watching_is_noticed(peer: Peer, manager: StreamManager) -> None:
    stream = await manager.create(id="s", on_abandon="cancel_after=1ms")
    call = peer.subscribe("s")
    await call.read()
    call.cancel()
    await until(lambda: not stream.is_open)
    assert stream.state.value == "cancelled"


async def test_a_limit_of_readers_is_a_refusal(manager: StreamManager) -> None:
    limited = StreamManager(StreamingConfig(max_connections_per_stream=1, drain_timeout_s=0))
    async with limited, serving(limited) as peer:
        await limited.create(id="s")
        call = peer.subscribe("s")
        await call.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await peer.subscribe("s").read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# --- slow readers, and many


async def test_a_reader_that_does_not_read_holds_one_message_and_stops_nobody(manager: StreamManager) -> None:
    async with serving(manager, options=FIXED_WINDOW) as peer:
        stream = await manager.create(id="s")
        stalled, reading = peer.subscribe("s"), events(peer.subscribe("s"))
        await stalled.read()
        await anext(reading)
        piece = Binary(b"x" * 16_384)
        for number in range(1, 101):  # 1.6 MB: far more than the stalled call's window
            await stream.write(piece)
            assert (await anext(reading)).id == ids(stream, number)[0]
        held = [member for member in stream.feed.members if member.cursor < 100]
        assert len(held) == 1
        assert 100 - held[0].cursor > 50, "what it has not taken is in the log, not in its call"
        rest = [await stalled.read()]
        while rest[-1].events[-1].id != ids(stream, 100)[0]:
            rest.append(await stalled.read())
        assert [event.id for one in rest for event in one.events] == ids(stream, *range(1, 101))


async def test_a_reader_that_takes_nothing_for_too_long_is_cut_and_can_resume() -> None:
    manager = StreamManager(StreamingConfig(write_deadline_s=0.3, drain_timeout_s=0))
    async with manager, serving(manager, options=FIXED_WINDOW) as peer:
        stream = await manager.create(id="s")
        call = peer.subscribe("s")
        await call.read()
        for _ in range(30):
            await stream.write(Binary(b"x" * 16_384))
        await until(lambda: not stream.feed.readers)
        assert manager.admission.connections == 1, "its place is taken until its call is over"
        taken, error = await until_cut(call)
        assert (error.code(), reason(error)) == (grpc.StatusCode.ABORTED, "TOO_SLOW")
        await until(lambda: not manager.admission.connections)
        rest = events(peer.subscribe("s", after=taken[-1]))
        assert (await anext(rest)).position.outcome == pb.ATTACH_OUTCOME_RESUMED


async def test_a_reader_beyond_the_hard_bound_is_let_go() -> None:
    bound = BackpressureConfig(strategy=BackpressureStrategy.BUFFER, max_lag=20)
    manager = StreamManager(StreamingConfig(backpressure=bound, drain_timeout_s=0))
    async with manager, serving(manager, options=FIXED_WINDOW) as peer:
        stream = await manager.create(id="s")
        call = peer.subscribe("s")
        await call.read()
        for _ in range(60):
            await stream.write(Binary(b"x" * 16_384))
            await asyncio.sleep(0)
        await until(lambda: not stream.feed.readers)
        _, error = await until_cut(call)
        assert reason(error) == "TOO_SLOW"


async def until_cut(call: Any) -> tuple[list[str], grpc.aio.AioRpcError]:
    """The ids that are still read, and how the call ended."""
    taken: list[str] = []
    try:
        while True:
            taken += [event.id for event in (await call.read()).events]
    except grpc.aio.AioRpcError as error:
        return taken, error


def reason(error: grpc.aio.AioRpcError) -> str:
    info = ErrorInfo()
    said = dict(error.trailing_metadata())[DETAILS]
    assert Status.FromString(said).details[0].Unpack(info)
    return str(info.reason)


async def test_a_thousand_calls_at_once_on_one_connection_each_get_everything(
    peer: Peer, manager: StreamManager
) -> None:
    stream = await manager.create(id="s")
    calls = [events(peer.subscribe("s")) for _ in range(1000)]
    await asyncio.gather(*(anext(call) for call in calls))
    assert stream.feed.readers == 1000
    await told(stream, "ab")
    await stream.finish()

    async def rest(call: AsyncIterator[pb.Event]) -> list[str]:
        return [event.id async for event in call]

    assert await asyncio.gather(*(rest(call) for call in calls)) == [ids(stream, 1, 2, 3)] * 1000
    assert len(stream.feed.views) == 1, "they share what was encoded"


# --- the end of the server


async def test_a_shutdown_ends_streams_and_tells_their_readers(manager: StreamManager) -> None:
    async with serving(manager) as peer:
        stream = await manager.create(id="s")
        call = events(peer.subscribe("s"))
        await anext(call)
        peer.server.end()
        await manager.aclose()
        goaway, end = [event async for event in call]
        assert goaway.id == ids(stream, 0)[0]
        assert end.end.outcome == pb.OUTCOME_INTERRUPTED


class SharedStore(MemoryStore):
    """As if other nodes had it too: what is in it goes on without this one."""

    is_shared = True


async def test_a_reader_whose_stream_goes_on_elsewhere_is_told_where_it_stands_and_sent_there() -> None:
    manager = StreamManager(StreamingConfig(drain_window_s=0, drain_timeout_s=5), store=SharedStore())
    async with manager, serving(manager) as peer:
        stream = await manager.create(id="s")
        await told(stream, "a")
        call = peer.subscribe("s")
        read = [event async for event in two(call)]
        assert kinds(read) == ["position", "text"]
        peer.server.end()
        leaving = asyncio.create_task(manager.aclose())
        taken, error = await until_cut(call)
        assert taken == ids(stream, 1), "where it stands, without a record more"
        assert (error.code(), reason(error)) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        assert stream.is_open
        await leaving


async def two(call: Any) -> AsyncIterator[pb.Event]:
    """The first two events, which come in one response or in two."""
    count = 0
    while count < 2:
        for event in (await call.read()).events:
            count += 1
            yield event
