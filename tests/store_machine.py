"""Any store against the one in memory: the same calls, the same answers, whatever the order.

Fences are compared by their place in a stream's history, since a store may choose its own numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from patinox.core.chunks import Binary, End, Error, Outcome, StreamChunk
from patinox.core.keys import StreamKey
from patinox.errors import PatinoxError
from patinox.stores.base import Append, Store, StreamFacts, StreamRecord
from patinox.stores.memory import MemoryStore
from patinox.testing.contract.bench import chunk

KEYS = [StreamKey(tenant, name) for tenant in ("", "t") for name in "ab"]
NODES = ("one", "two")
LEASE_S = 1e6

keys = st.sampled_from(KEYS)
data = st.one_of(
    st.text(max_size=12), st.binary(max_size=40).map(Binary), st.sampled_from([Error("boom", "x")]),
    st.sampled_from([End(outcome) for outcome in Outcome if outcome is not Outcome.FAILED]),
)  # fmt: skip
producers = st.dictionaries(st.sampled_from("pq"), st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=2)


class StoreMachine(RuleBasedStateMachine):
    """`make` opens the store that is tried. Subclasses say how, and how it is opened again."""

    subject: Store

    async def make(self) -> Store:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.model = MemoryStore(clock=lambda: 0.0)
        self.subject = self.runner.run(self.make())
        self.fences: dict[StreamKey, list[tuple[int, int]]] = {}
        self.epochs = 0
        self.last: tuple[Append, Append] | None = None

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.subject.aclose())
            self.runner.close()

    def both(self, call: Callable[[Store], Awaitable[Any]]) -> tuple[Any, Any]:
        """What the model answers, and what the store does; an error as its class."""
        return self.answer(call, self.model), self.answer(call, self.subject)

    def answer(self, call: Callable[[Store], Awaitable[Any]], store: Store) -> Any:
        async def run() -> Any:
            try:
                return await call(store)
            except PatinoxError as error:
                return type(error)

        return self.runner.run(run())

    def agree(self, call: Callable[[Store], Awaitable[Any]]) -> Any:
        expected, found = self.both(call)
        assert found == expected
        return expected

    def granted(self, call: Callable[[Store], Awaitable[Any]]) -> None:
        """A call that grants a lease: the records agree but for the number of the fence."""
        expected, found = self.both(call)
        if isinstance(expected, StreamRecord):
            history = self.fences.setdefault(expected.facts.key, [])
            if expected.fence == 1:
                history.clear()
            assert not history or found.fence > history[-1][1]
            history.append((expected.fence, found.fence))
        self.same_record(expected, found)

    def same_record(self, expected: Any, found: Any) -> None:
        if isinstance(expected, StreamRecord) and isinstance(found, StreamRecord):
            assert (expected.fence, found.fence) == self.fences[expected.facts.key][-1]
            assert _plain(found) == _plain(expected)
        else:
            assert found == expected

    # ── rules ──

    @rule(key=keys, node=st.sampled_from(NODES), ttl_s=st.integers(0, 20))
    def create(self, key: StreamKey, node: str, ttl_s: int) -> None:
        self.epochs += 1
        facts = StreamFacts(key, f"epoch{self.epochs}", float(self.epochs), float(ttl_s), {"n": self.epochs})
        self.granted(lambda store: store.create(facts, node, LEASE_S))

    @rule(key=keys, node=st.sampled_from(NODES))
    def take_over(self, key: StreamKey, node: str) -> None:
        self.granted(lambda store: store.take_over(key, node, LEASE_S))

    @rule(key=keys, values=st.lists(data, min_size=1, max_size=6), shift=st.sampled_from([0, 0, 0, 0, 1, -1]),
          age=st.sampled_from([0, 0, 0, 1]), acknowledged=producers)  # fmt: skip
    def append(
        self, key: StreamKey, values: list[Any], shift: int, age: int, acknowledged: dict[str, Any]
    ) -> None:  # fmt: skip
        record = self.answer(lambda store: store.load(key), self.model)
        head, epoch = (record.head, record.facts.epoch) if isinstance(record, StreamRecord) else (0, "none")
        after = max(0, head + shift)
        chunks: list[StreamChunk] = []
        for sequence, value in enumerate(values, after + 1):
            chunks.append(chunk(sequence, value, epoch))
            if chunks[-1].is_final:
                break
        history = self.fences.get(key, [(1, 1)])
        fences = history[max(0, len(history) - 1 - age)]
        self.last = (Append(key, fences[0], after, chunks, acknowledged), Append(key, fences[1], after, chunks,
                                                                                 acknowledged))  # fmt: skip
        self.append_again()

    @rule()
    def append_again(self) -> None:
        if self.last is None:
            return
        mine, its = self.last
        record = self.answer(lambda store: store.load(mine.key), self.model)
        if isinstance(record, StreamRecord) and record.facts.epoch != mine.chunks[0].epoch:
            return  # of a stream that was made anew: a store may tell by the chunks, or by the fence
        (expected,) = self.runner.run(self._append(self.model, mine))
        (found,) = self.runner.run(self._append(self.subject, its))
        assert type(found) is type(expected), (found, expected)

    async def _append(self, store: Store, append: Append) -> Any:
        return await store.append([append])

    @rule(key=keys, node=st.sampled_from(NODES))
    def renew(self, key: StreamKey, node: str) -> None:
        for mine, its in self.fences.get(key, []):
            expected = self.answer(lambda store, fence=mine: store.renew({key: fence}, node, LEASE_S), self.model)  # type: ignore[misc]
            found = self.answer(lambda store, fence=its: store.renew({key: fence}, node, LEASE_S), self.subject)  # type: ignore[misc]
            assert found == expected

    @rule(key=keys, trace=st.booleans())
    def delete(self, key: StreamKey, trace: bool) -> None:
        self.agree(lambda store: store.delete(key, trace=trace))

    @rule(now_s=st.integers(1000, 1030), limit=st.integers(1, 3))
    def sweep(self, now_s: int, limit: int) -> None:
        async def all_of_it(store: Store) -> None:
            while await store.sweep(float(now_s), limit):
                pass

        self.both(all_of_it)

    @rule(key=keys, after=st.integers(0, 40), limit=st.integers(1, 20))
    def read(self, key: StreamKey, after: int, limit: int) -> None:
        async def read(store: Store) -> list[StreamChunk]:
            return list(await store.read(key, after, limit))

        self.agree(read)

    @rule(tenant=st.sampled_from([None, "", "t"]), after=st.none() | keys, limit=st.integers(1, 5))
    def list(self, tenant: str | None, after: StreamKey | None, limit: int) -> None:
        expected, found = self.both(lambda store: store.list(tenant, after, limit))
        assert [record.facts.key for record in found] == [record.facts.key for record in expected]
        for one, other in zip(expected, found, strict=True):
            self.same_record(one, other)

    @rule(tenant=st.sampled_from(["", "t"]), number=st.integers(1, 20))
    def locate(self, tenant: str, number: int) -> None:
        self.agree(lambda store: store.locate(tenant, f"epoch{number}"))

    @invariant()
    def they_agree_on_every_stream(self) -> None:
        if not hasattr(self, "runner"):
            return
        for key in KEYS:
            self.same_record(*self.both(lambda store, key=key: store.load(key)))  # type: ignore[misc]


def _plain(record: StreamRecord) -> tuple[Any, ...]:
    return (record.facts, record.head, record.size_bytes, record.outcome, record.ended_s, record.node,
            dict(record.producers))  # fmt: skip
