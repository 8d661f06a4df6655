"""Two managers on one store are two nodes: following, taking over, fencing, orphans, and stops across them."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from patinox import StreamingConfig, StreamManager
from patinox.core.chunks import StreamChunk
from patinox.core.producers import Producer
from patinox.errors import StreamElsewhere, StreamFenced, StreamGone
from patinox.incremental.handler import IncrementalResponseHandler
from patinox.manager import ActiveStream
from patinox.manager.shelf import GRACE_S
from patinox.stores.memory import MemoryStore
from patinox.testing.fakes import ManualClock, turns
from patinox.testing.stores import FaultyStore

TTL_S = 10.0
CONFIG = StreamingConfig(drain_timeout_s=0, flush_interval_s=0, lease_ttl_s=TTL_S)


class Node(NamedTuple):
    manager: StreamManager
    store: FaultyStore


class Nodes(NamedTuple):
    a: Node
    b: Node
    clock: ManualClock

    async def pass_(self, seconds: float) -> None:
        """Time, in steps that let everything happen that is due."""
        for _ in range(round(seconds / 0.5)):
            await self.clock.advance(0.5)


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    clock = ManualClock()
    clock.install(asyncio.get_running_loop())
    inner = MemoryStore(clock=clock)
    stores = [FaultyStore(inner), FaultyStore(inner)]
    managers = [StreamManager(CONFIG, store=store, clock=clock) for store in stores]
    async with managers[0], managers[1]:
        await turns()
        yield Nodes(Node(managers[0], stores[0]), Node(managers[1], stores[1]), clock)
        for store in stores:
            store.come_back()


def die(node: Node) -> None:
    """As kill -9 looks from outside: nothing is renewed any more, and nothing heard."""
    node.store.go_away()


async def words(reading: AsyncIterator[StreamChunk]) -> list[str]:
    return [chunk.data.outcome if chunk.is_final else chunk.data.text async for chunk in reading]


class TestFollowing:
    async def test_what_one_node_writes_is_read_on_the_other(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s")
        await stream.write("a")
        reading = asyncio.ensure_future(words(nodes.b.manager.subscribe("s")))
        await turns()
        await stream.write("b")
        await stream.finish()
        assert await reading == ["a", "b", "complete"]

    async def test_a_node_watches_a_stream_once_however_many_read_it(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s")
        readings = [asyncio.ensure_future(words(nodes.b.manager.subscribe("s"))) for _ in range(20)]
        await turns()
        assert len(nodes.a.store.inner._board._listeners[stream.key]) == 1
        await stream.finish()
        assert await asyncio.gather(*readings) == [["complete"]] * 20

    async def test_growth_without_chunks_and_out_of_order_is_read_from_the_store(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s")
        reading = asyncio.ensure_future(words(nodes.b.manager.subscribe("s")))
        await turns()
        nodes.b.store.garble_news()
        for word in "abc":
            await stream.write(word)
        await stream.finish()
        await turns(100)
        assert await reading == ["a", "b", "c", "complete"]

    async def test_a_stream_that_nobody_reads_here_any_more_is_not_followed(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s")
        async with nodes.b.manager.subscribe("s"):
            await nodes.pass_(2 * GRACE_S)
            assert len(nodes.b.manager) == 1
        await nodes.pass_(2 * GRACE_S)
        assert len(nodes.b.manager) == 0
        assert stream.key not in nodes.a.store.inner._board._listeners

    async def test_a_deleted_stream_is_gone_on_both(self, nodes: Nodes) -> None:
        await nodes.a.manager.create(id="s")
        reading = asyncio.ensure_future(words(nodes.b.manager.subscribe("s")))
        await turns()
        await nodes.b.manager.delete("s")
        assert await reading == ["cancelled"]
        for node in (nodes.a, nodes.b):
            with pytest.raises(StreamGone):
                await node.manager.open("s")


class TestTakingOver:
    async def test_a_write_on_another_node_goes_on_where_the_first_left(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s")
        await stream.write("a")
        other = await nodes.b.manager.open("s")
        assert (await other.write("b")).sequence == 2
        assert (stream.is_mine, other.is_mine) == (False, True)
        assert (await stream.write("c")).sequence == 3
        assert (stream.is_mine, other.is_mine) == (True, False)

    async def test_a_source_on_the_first_node_is_stopped(self, nodes: Nodes) -> None:
        left = asyncio.Event()

        async def source() -> AsyncIterator[str]:
            try:
                yield "a"
                await asyncio.Event().wait()
            finally:
                left.set()

        stream = await nodes.a.manager.relay(source(), id="s")
        await turns()
        await (await nodes.b.manager.open("s")).write("b")
        await turns()
        assert left.is_set()
        assert stream.is_open

    async def test_what_a_fenced_node_had_pending_is_refused(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s")
        nodes.a.store.hold()
        writing = asyncio.ensure_future(stream.write("lost"))
        await turns()
        other = await nodes.b.manager.open("s")
        await other.write("kept")
        nodes.a.store.release()
        with pytest.raises(StreamFenced):
            await writing
        await other.finish()
        assert await words(stream.subscribe()) == ["kept", "complete"]

    async def test_what_a_producer_was_acknowledged_is_known_to_the_other_node(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s")
        await stream.produce("a", Producer("p", 0, 0))
        other = await nodes.b.manager.open("s")
        assert await other.produce("a", Producer("p", 0, 0)) is False
        assert await other.produce("b", Producer("p", 0, 1)) is True
        await other.finish()
        assert await words(stream.subscribe()) == ["a", "b", "complete"]

    async def test_a_stream_with_a_pipeline_stays_where_it_is(self, nodes: Nodes) -> None:
        await nodes.a.manager.create(id="s", pipeline=IncrementalResponseHandler(lambda: []))
        other = await nodes.b.manager.open("s")
        with pytest.raises(StreamElsewhere):
            await other.write("around it")


class TestDeath:
    async def test_a_stream_whose_node_has_died_ends_interrupted_once_and_in_time(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s")
        await stream.write("a")
        await nodes.pass_(2 * TTL_S)
        reading = asyncio.ensure_future(words(nodes.b.manager.subscribe("s")))
        await turns()
        die(nodes.a)
        await nodes.pass_(TTL_S)
        assert reading.done()
        assert await reading == ["a", "interrupted"]

    async def test_a_node_that_lives_keeps_its_streams(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s")
        await nodes.pass_(10 * TTL_S)
        assert stream.is_mine
        assert stream.is_open

    async def test_nobody_is_judged_for_what_a_store_did_that_was_away(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s")
        for node in (nodes.a, nodes.b):
            node.store.go_away()
        await nodes.pass_(3 * TTL_S)
        for node in (nodes.a, nodes.b):
            node.store.come_back()
        await nodes.pass_(3 * TTL_S)
        assert stream.is_open
        assert (await stream.write("on")).sequence == 1

    async def test_a_producer_may_go_on_elsewhere_in_the_meantime(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s")
        await nodes.pass_(2 * TTL_S)
        die(nodes.a)
        other = await nodes.b.manager.open("s")
        await other.write("on")
        await nodes.pass_(3 * TTL_S)
        assert other.is_open
        assert stream.key == other.key


class TestStopping:
    async def test_a_cancel_reaches_the_node_that_writes(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s")
        await stream.write("a")
        other = await nodes.b.manager.open("s")
        assert await other.cancel("enough")
        assert (stream.state, other.state) == ("cancelled", "cancelled")
        assert stream.fence == 1

    async def test_a_dead_nodes_stream_can_be_cancelled(self, nodes: Nodes) -> None:
        await nodes.a.manager.create(id="s")
        other = await nodes.b.manager.open("s")
        die(nodes.a)
        cancelling = asyncio.ensure_future(other.cancel())
        await nodes.pass_(1)
        assert await cancelling is True
        assert other.state == "cancelled"

    async def test_a_stream_is_not_abandoned_while_it_is_read_elsewhere(self, nodes: Nodes) -> None:
        stream = await nodes.a.manager.create(id="s", on_abandon="cancel_after=5s")
        async with stream.subscribe():
            reading = nodes.b.manager.subscribe("s")
            async with reading:
                await turns()
        reading = nodes.b.manager.subscribe("s")
        async with reading:
            await nodes.pass_(60)
            assert stream.is_open
        await nodes.pass_(30)
        assert stream.state == "cancelled"


class TestLeaving:
    async def test_what_was_pushed_waits_for_its_producer_and_what_was_pulled_ends(self, nodes: Nodes) -> None:
        async def source() -> AsyncIterator[str]:
            yield "a"
            await asyncio.Event().wait()

        pushed = await nodes.a.manager.create(id="pushed")
        await pushed.write("a")
        await nodes.a.manager.relay(source(), id="pulled")
        await turns()
        await nodes.a.manager.aclose()
        await nodes.pass_(2 * TTL_S)
        states: dict[str, ActiveStream] = {id_: await nodes.b.manager.open(id_) for id_ in ("pushed", "pulled")}
        assert (states["pushed"].state, states["pulled"].state) == ("open", "interrupted")
        assert (await states["pushed"].write("b")).sequence == 2
