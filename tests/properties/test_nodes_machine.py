"""Two nodes on one store that loses answers, goes away and comes back, against a simple model.

Writes on either node, which may be given up or fail; takeovers; time. In the end the log has every chunk that was
acknowledged, none twice, in dense order, and readers that were there all along on both nodes saw exactly that.
"""

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from patinox import StreamingConfig, StreamManager
from patinox.errors import PatinoxError
from patinox.stores.memory import MemoryStore
from patinox.testing.fakes import ManualClock, turns
from patinox.testing.stores import FaultyStore

NODES = st.sampled_from([0, 1])


class Nodes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.written = 0
        self.acknowledged: set[str] = set()
        self.writes: dict[asyncio.Task[Any], str] = {}
        self.read: list[list[str]] = [[], []]
        self.run(self.start())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    async def start(self) -> None:
        self.clock = ManualClock()
        self.clock.install(self.loop)
        inner = MemoryStore(clock=self.clock)
        config = StreamingConfig(drain_timeout_s=0, store_timeout_s=2.0, lease_ttl_s=10.0)
        self.stores = [FaultyStore(inner), FaultyStore(inner)]
        self.managers = [StreamManager(config, store=store, clock=self.clock) for store in self.stores]
        for manager in self.managers:
            await manager.__aenter__()
        await self.managers[0].create(id="s")
        self.readers = [self.loop.create_task(self.reads(number)) for number in (0, 1)]
        await turns()

    async def reads(self, number: int) -> None:
        async for chunk in self.managers[number].subscribe("s"):
            self.read[number].append(str(chunk.data.outcome) if chunk.is_final else chunk.data.text)

    @precondition(lambda self: len(self.writes) < 6)
    @rule(number=NODES, count=st.integers(1, 3))
    def write(self, number: int, count: int) -> None:
        for _ in range(count):
            self.written += 1
            text = f"{self.written}"
            self.writes[self.loop.create_task(self.write_one(number, text))] = text
        self.run(self.settle())

    async def write_one(self, number: int, text: str) -> None:
        stream = await self.managers[number].open("s")
        await stream.write(text)

    @precondition(lambda self: self.writes)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(list(self.writes))).cancel()
        self.run(self.settle())

    @rule(
        number=NODES, what=st.sampled_from(["hold", "release", "go_away", "come_back", "lose_answers", "garble_news"])
    )
    def fault(self, number: int, what: str) -> None:
        getattr(self.stores[number], what)()
        self.run(self.settle())

    @rule(seconds=st.sampled_from([0.005, 0.1, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(self.passes(seconds))

    async def passes(self, seconds: float) -> None:
        for _ in range(5):
            await self.clock.advance(seconds / 5)
        await self.settle()

    async def settle(self) -> None:
        await turns(60)
        for task in [task for task in self.writes if task.done()]:
            text = self.writes.pop(task)
            if not task.cancelled() and task.exception() is None:
                self.acknowledged.add(text)
            elif not task.cancelled():
                assert isinstance(task.exception(), PatinoxError), task.exception()

    @invariant()
    def nobody_saw_a_chunk_twice_or_what_the_other_did_not(self) -> None:
        for seen in self.read:
            assert len(seen) == len(set(seen))
        shorter, longer = sorted(self.read, key=len)
        assert longer[: len(shorter)] == shorter

    def teardown(self) -> None:
        try:
            self.run(self.finish())
        finally:
            for task in (left := asyncio.all_tasks(self.loop)):
                task.cancel()
            self.run(_gather(left))
            self.loop.close()

    async def finish(self) -> None:
        for store in self.stores:
            store.come_back()
            store.release()
            store.lose_answers(0)
        await self.passes(20.0)
        await self.passes(5.0)
        assert not self.writes, "the store is back, and a write waits"
        for attempt in range(4):  # what nobody waited for is told once, to whoever comes next
            ending = self.loop.create_task(self.end(attempt % 2))
            await self.passes(2.0)
            assert ending.done(), "finish hangs"
            if await ending:
                break
        await self.passes(2.0)
        kept = [chunk.data for chunk in self.stores[0].inner._streams[next(iter(self.stores[0].inner._streams))].chunks]
        texts = [data.text for data in kept[:-1]]
        assert self.acknowledged <= set(texts)
        for seen in self.read:
            assert seen == [*texts, str(kept[-1].outcome)]
        for manager in self.managers:
            await manager.aclose()

    async def end(self, number: int) -> bool:
        stream = await self.managers[number].open("s")
        try:
            await stream.finish()
        except PatinoxError:
            return not stream.is_open
        return True


async def _gather(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


TestNodes = Nodes.TestCase
TestNodes.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
