"""What ends a socket: too large, too fast, too slow, a server that leaves; and what then becomes of everything."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.sockets import AsgiSocket

from patinox import BackpressureConfig, BackpressureStrategy, StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.config import SseConfig, WebSocketConfig
from patinox.core.chunks import Json
from patinox.errors import ConnectionNotFound
from patinox.testing.fakes import ManualClock, turns


@pytest.fixture
async def clock() -> ManualClock:
    clock = ManualClock()
    clock.install(asyncio.get_running_loop())
    return clock


@pytest.fixture
async def manager(clock: ManualClock) -> AsyncIterator[StreamManager]:
    config = StreamingConfig(
        drain_timeout_s=5, write_deadline_s=10, sse=SseConfig(heartbeat_interval_s=0),
        websocket=WebSocketConfig(max_frame_size=2048, message_rate=2),
        backpressure=BackpressureConfig(strategy=BackpressureStrategy.BUFFER, max_lag=20),
    )  # fmt: skip
    async with StreamManager(config, clock=clock) as manager:
        yield manager


async def test_a_message_that_is_too_large_closes_with_1009(manager: StreamManager) -> None:
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        socket.send("ping", ref="a" * 2048)
        await socket.finished()
        assert socket.close_code == 1009


async def test_size_is_counted_in_bytes(manager: StreamManager) -> None:
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        socket.send_text("é" * 1025)
        await socket.finished()
        assert socket.close_code == 1009


async def test_more_messages_than_the_rate_close_with_4429(manager: StreamManager, clock: ManualClock) -> None:
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        for _ in range(4):
            assert (await socket.ask("ping"))["op"] == "ok"
        await clock.advance(0.5)
        assert (await socket.ask("ping"))["op"] == "ok"
        socket.send("ping")
        await socket.finished()
        assert socket.close_code == 4429


async def test_a_reader_beyond_the_hard_bound_gets_4408_while_others_go_on(manager: StreamManager) -> None:
    app = PatinoxApp(manager)
    stream = await manager.create(id="s")
    async with AsgiSocket(app) as slow, AsgiSocket(app) as fast:
        await slow.ask("subscribe", stream="s")
        await fast.ask("subscribe", stream="s")
        slow.suspend()
        for number in range(60):
            await stream.write(Json(number))
            await turns(3)
        slow.resume()
        await slow.finished()
        assert slow.close_code == 4408
        assert fast.data("s") == list(range(60))
        assert stream.feed.readers == 1
        after = slow.of("chunk")[-1]["id"] if slow.of("chunk") else f"{stream.epoch}-0"
    async with AsgiSocket(app) as again:
        answer = await again.ask("subscribe", stream="s", after=after)
        await again.told(lambda said: said.get("data") == 59)
        assert answer["outcome"] == "resumed"
        assert slow.data("s") + again.data("s") == list(range(60))


async def test_a_socket_that_takes_nothing_is_given_up_at_the_write_deadline(
    manager: StreamManager, clock: ManualClock
) -> None:
    stream = await manager.create(id="s")
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        await socket.ask("subscribe", stream="s")
        await turns()
        socket.suspend()
        await stream.write("unheard")
        await turns()
        await clock.advance(10.5)
        await clock.advance(2.5)  # for its close frame, which it does not take either
        await socket.finished()
        assert stream.feed.readers == 0


async def test_a_client_that_asks_but_never_listens_is_given_up_too(manager: StreamManager, clock: ManualClock) -> None:
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        await socket.ask("ping")
        socket.suspend()
        socket.send("ping")
        await turns()
        await clock.advance(10.5)
        await clock.advance(2.5)
        await socket.finished()


async def test_a_draining_server_says_goaway_and_every_end_before_it_closes_with_1012(manager: StreamManager) -> None:
    app = PatinoxApp(manager)
    await manager.create(id="s", channel="c")
    async with AsgiSocket(app) as reading, AsgiSocket(app) as idle:
        await reading.ask("subscribe", stream="s")
        await reading.ask("subscribe", channel="c")
        await idle.ask("ping")
        await manager.aclose()
        await reading.finished()
        await idle.finished()
        assert 1.0 <= reading.of("goaway")[0]["after_s"] <= 5.0
        assert [end["outcome"] for end in reading.of("end")] == ["interrupted", "interrupted"]
        assert (reading.close_code, idle.close_code) == (1012, 1012)
        assert [said["op"] for said in idle.ops] == ["ok", "goaway"]


async def test_a_drained_server_lets_nobody_in(manager: StreamManager) -> None:
    app = PatinoxApp(manager)
    await manager.drain()
    async with AsgiSocket(app) as socket:
        assert socket.status == 503


async def test_a_broadcast_to_all_reaches_every_socket_and_belongs_to_no_stream(manager: StreamManager) -> None:
    app = PatinoxApp(manager)
    async with AsgiSocket(app) as one, AsgiSocket(app) as two:
        await one.ask("ping")
        await two.ask("ping")
        await app.websockets.broadcast("back in five minutes")
        told = {"op": "chunk", "event": "text", "data": {"text": "back in five minutes"}}
        assert await one.told(lambda said: said["op"] == "chunk") == told
        assert await two.told(lambda said: said["op"] == "chunk") == told


async def test_streaming_to_a_socket_that_is_not_there_is_an_error_and_reads_nothing(manager: StreamManager) -> None:
    source = iter(["unread"])
    with pytest.raises(ConnectionNotFound):
        await PatinoxApp(manager).websockets.stream_response("gone", source)
    assert next(source) == "unread"
    assert len(manager) == 0


def behind_a_task(app: PatinoxApp) -> Callable[..., Awaitable[None]]:
    """A middleware whose `send` only works within a task, as those that use anyio's locks."""

    async def middle(scope: object, receive: object, send: Callable[[object], Awaitable[None]]) -> None:
        async def told(message: object) -> None:
            assert asyncio.current_task() is not None
            await asyncio.sleep(0)
            await send(message)

        await app(scope, receive, told)  # type: ignore[arg-type]

    return middle


async def test_behind_a_middleware_that_needs_a_task_everything_arrives_in_order(manager: StreamManager) -> None:
    streams = [await manager.create(id=f"s{number}") for number in range(5)]
    async with AsgiSocket(behind_a_task(PatinoxApp(manager))) as socket:
        for stream in streams[:3]:
            socket.send("subscribe", stream=stream.id)
        await socket.until(lambda: len(socket.of("subscribed")) == 3)
        for number in range(15):
            for stream in streams[:3]:
                await stream.write(Json(number))
        await socket.until(lambda: len(socket.of("chunk")) == 45)
        for stream in streams[:3]:
            assert socket.data(stream.id) == list(range(15))


async def test_nothing_is_left_when_sockets_are_gone(manager: StreamManager) -> None:
    app = PatinoxApp(manager)
    stream = await manager.create(id="s", channel="c")
    before = asyncio.all_tasks()
    for _ in range(5):
        async with AsgiSocket(app) as socket:
            await socket.ask("subscribe", stream="s")
            await socket.ask("subscribe", channel="c")
            await stream.write("a")
    await turns()
    assert asyncio.all_tasks() == before
    assert stream.feed.readers == 0
    assert manager.channel("c").feed.readers == 0
    assert len(manager.fanout) == 0
    assert manager.admission.connections == 0
