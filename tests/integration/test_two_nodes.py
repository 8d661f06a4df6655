"""Two nodes on one engine, as one server: over real Valkey and NATS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from patinox import StreamingConfig, StreamManager
from patinox.core.chunks import Outcome, StreamChunk, Text
from patinox.core.codec import encode_data
from patinox.errors import StreamFenced
from patinox.manager import ActiveStream
from patinox.stores.base import Append, Store
from patinox.stores.nats import NatsStore
from patinox.stores.redis import RedisStore
from patinox.testing.servers import NatsServer, ServerProcess, ValkeyServer

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("engines")]

LEASE_S = 1.5
CONFIG = StreamingConfig(lease_ttl_s=LEASE_S, drain_timeout_s=0.0, store_timeout_s=5.0)
Make = Callable[[], Store]


@pytest.fixture(params=["valkey", "nats"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes the store of a node."""
    server: ServerProcess = request.getfixturevalue(request.param)
    return lambda: RedisStore(server.url) if isinstance(server, ValkeyServer) else NatsStore(server.url)


@asynccontextmanager
async def node(make: Make, config: StreamingConfig = CONFIG) -> AsyncIterator[StreamManager]:
    async with StreamManager(config, store=make()) as manager:
        yield manager


async def whole(stream: ActiveStream) -> list[StreamChunk]:
    return [chunk async for chunk in stream.subscribe()]


def texts(chunks: list[StreamChunk]) -> list[str]:
    return [chunk.data.text for chunk in chunks if not chunk.is_final]


async def test_a_reader_on_another_node_has_what_was_and_what_comes_without_a_seam(make: Make) -> None:
    async with node(make) as one, node(make) as two:
        stream = await one.create()
        for number in range(40):
            await stream.write(f"{number}")
        await stream.flush()
        reading = asyncio.create_task(whole(await two.open(stream.id)))
        for number in range(40, 120):
            await stream.write(f"{number}")
            await asyncio.sleep(0)
        await stream.finish()
        chunks = await reading
        assert texts(chunks) == [f"{number}" for number in range(120)]
        assert [chunk.sequence for chunk in chunks] == list(range(1, 122))


async def test_a_producer_may_go_on_at_another_node_and_the_first_one_is_fenced(make: Make) -> None:
    async with node(make) as one, node(make) as two:
        at_one = await one.create()
        await at_one.write("by one")
        await at_one.flush()
        at_two = await two.open(at_one.id)
        await at_two.take_over()
        await at_two.write("by two")
        (answer,) = await one.store.append([_late(at_one)])
        assert isinstance(answer, StreamFenced)
        await at_two.finish()
        assert texts(await whole(await one.open(at_one.id))) == ["by one", "by two"]


async def test_a_cancel_reaches_the_node_that_writes(make: Make) -> None:
    async with node(make) as one, node(make) as two:
        stream = await one.create()
        await stream.write("so far")
        stopped = asyncio.Event()
        stream.on_stop(stopped.set)
        await stream.flush()
        await two.cancel(stream.id, "enough")
        await stopped.wait()
        last = (await whole(await two.open(stream.id)))[-1]
        assert last.data.outcome is Outcome.CANCELLED


async def test_what_a_dead_node_left_is_ended_once_as_interrupted(make: Make) -> None:
    async with node(make) as two, node(make) as three:
        dead = StreamManager(CONFIG, store=make())
        await dead.__aenter__()
        stream = await dead.create()
        await stream.write("the last words")
        await stream.flush()
        _die(dead)
        ends = await asyncio.gather(*[whole(await manager.open(stream.id)) for manager in (two, three)])
        assert ends[0] == ends[1]
        assert texts(ends[0]) == ["the last words"]
        assert ends[0][-1].data.outcome is Outcome.INTERRUPTED
        await dead.store.aclose()
        await dead.aclose()


@pytest.mark.parametrize("kind", [ValkeyServer, NatsServer])
async def test_nodes_go_on_by_themselves_when_the_engine_was_killed(kind: type[ServerProcess], tmp_path: Path) -> None:
    with kind(tmp_path) as server:
        make: Make = lambda: RedisStore(server.url) if kind is ValkeyServer else NatsStore(server.url)  # noqa: E731
        async with node(make) as one, node(make) as two:
            stream = await one.create()
            reading = asyncio.create_task(whole(await two.open(stream.id)))
            await stream.write("before")
            await stream.flush()
            await asyncio.to_thread(server.kill)
            writing = asyncio.create_task(stream.write("while it was away"))
            await asyncio.to_thread(server.start)
            await writing
            await stream.write("after")
            await stream.finish()
            assert texts(await reading) == ["before", "while it was away", "after"]


def _die(manager: StreamManager) -> None:
    """Everything that it does of itself stops, as if its process were gone."""
    for task in manager.leases._tasks:
        task.cancel()


def _late(stream: ActiveStream) -> Append:
    """What the node sent that had the lease before."""
    data = Text("late")
    chunk = StreamChunk(3, data, 1000.0, False, stream.epoch, encode_data(data))
    return Append(stream.key, 1, 2, [chunk])
