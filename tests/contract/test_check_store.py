"""The suite of checks: the reference passes it, and a store with a fault is found by the check for that fault."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from patinox.core.chunks import StreamChunk
from patinox.core.keys import StreamKey
from patinox.errors import PatinoxError
from patinox.stores.base import Append, HolderListener, Listener, StreamFacts, StreamRecord, Unwatch, Wish
from patinox.stores.memory import MemoryStore
from patinox.testing import StoreCheck, check_store, store_checks
from patinox.testing.contract import bench


@asynccontextmanager
async def opened(store: MemoryStore) -> AsyncIterator[MemoryStore]:
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


@pytest.mark.parametrize("check", store_checks(durable=False), ids=str)
async def test_the_store_in_memory_passes(check: StoreCheck) -> None:
    await check(lambda: opened(MemoryStore()))


async def test_the_whole_suite_passes_at_once() -> None:
    await check_store(lambda: opened(MemoryStore()), durable=False)


class Unfenced(MemoryStore):
    async def append(self, appends: Sequence[Append]) -> Sequence[PatinoxError | None]:
        fences = {key: kept.fence for key, kept in self._streams.items()}
        return await super().append(
            [Append(a.key, fences.get(a.key, 0), a.after, a.chunks, a.producers) for a in appends]
        )


class Torn(MemoryStore):
    """Keeps the first chunk of an append that it refuses."""

    async def append(self, appends: Sequence[Append]) -> Sequence[PatinoxError | None]:
        answers = await super().append(appends)
        for append, answer in zip(appends, answers, strict=True):
            kept = self._streams.get(append.key)
            if answer is not None and kept is not None:
                kept.chunks.append(append.chunks[0])
        return answers


class Doubling(MemoryStore):
    """Does not know an append when it comes again."""

    async def append(self, appends: Sequence[Append]) -> Sequence[PatinoxError | None]:
        at_head = []
        for append in appends:
            kept = self._streams.get(append.key)
            after = append.after if kept is None else len(kept.chunks)
            at_head.append(Append(append.key, append.fence, after, append.chunks, append.producers))
        return await super().append(at_head)


class ForgettingProducers(MemoryStore):
    async def append(self, appends: Sequence[Append]) -> Sequence[PatinoxError | None]:
        return await super().append([Append(a.key, a.fence, a.after, a.chunks) for a in appends])


class OneTenant(MemoryStore):
    async def create(self, facts: StreamFacts, node: str, lease_s: float) -> StreamRecord:
        self._streams.pop(StreamKey("", facts.key.id), None)
        record = await super().create(facts, node, lease_s)
        self._streams[StreamKey("", facts.key.id)] = self._streams[facts.key]
        return record

    async def load(self, key: StreamKey) -> StreamRecord:
        return await super().load(StreamKey("", key.id))


class UnboundedPages(MemoryStore):
    async def read(self, key: StreamKey, after: int, limit: int) -> Sequence[StreamChunk]:
        return await super().read(key, after, 10_000)


class ListedById(MemoryStore):
    async def list(self, tenant: str | None, after: StreamKey | None, limit: int) -> Sequence[StreamRecord]:
        return sorted(await super().list(tenant, after, limit), key=lambda record: record.facts.key)


class SameFence(MemoryStore):
    async def take_over(self, key: StreamKey, node: str, lease_s: float) -> StreamRecord:
        await super().take_over(key, node, lease_s)
        self._streams[key].fence -= 1
        return self._streams[key].record()


class NeverOver(MemoryStore):
    """A lease that anybody may renew."""

    async def renew(self, leases: Mapping[StreamKey, int], node: str, lease_s: float) -> set[StreamKey]:
        await super().renew(leases, node, lease_s)
        return set()


class Silent(MemoryStore):
    async def watch(self, key: StreamKey, listener: Listener) -> Unwatch:
        return lambda: None


class Clinging(MemoryStore):
    """Tells those that have left too."""

    async def watch(self, key: StreamKey, listener: Listener) -> Unwatch:
        await super().watch(key, listener)
        return lambda: None


class Wishless(MemoryStore):
    async def tell(self, key: StreamKey, wish: Wish) -> None:
        """Loses it."""


class Gossiping(MemoryStore):
    """Tells every node what is meant for one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._attending: list[HolderListener] = []

    async def attend(self, node: str, listener: HolderListener) -> Unwatch:
        self._attending.append(listener)
        return await super().attend(node, listener)

    async def tell(self, key: StreamKey, wish: Wish) -> None:
        for listener in self._attending:
            listener(key, wish)


class Traceless(MemoryStore):
    async def delete(self, key: StreamKey, *, trace: bool = True) -> None:
        await super().delete(key, trace=False)


class SweepingAll(MemoryStore):
    async def sweep(self, now_s: float, limit: int) -> int:
        return await super().sweep(now_s + 1e9, 10_000)


@pytest.mark.parametrize(
    ("faulty", "found_by"),
    [
        (Unfenced, "fences_the_node_that_lost_the_lease"),
        (Unfenced, "refuses_a_fence_that_is_not_the_leases"),
        (Torn, "refuses_what_does_not_follow_the_head"),
        (Torn, "answers_each_append_of_a_batch"),
        (Doubling, "repeats_an_append_without_doubling_it"),
        (Doubling, "lets_one_of_two_writers_win"),
        (ForgettingProducers, "commits_producers_with_their_chunks"),
        (OneTenant, "keeps_tenants_apart"),
        (UnboundedPages, "reads_in_pages"),
        (ListedById, "lists_in_the_order_of_creation"),
        (SameFence, "fences_a_node_from_its_own_past"),
        (NeverOver, "renews_what_a_node_holds"),
        (Clinging, "tells_each_watcher_until_it_leaves"),
        (Gossiping, "carries_wishes_to_the_holder"),
        (Traceless, "forgets_what_is_deleted"),
        (SweepingAll, "sweeps_what_is_over"),
        (SweepingAll, "sweeps_in_steps"),
        (MemoryStore, "keeps_everything_when_closed_and_opened"),
    ],
)
async def test_a_fault_is_found_by_its_check(faulty: Callable[[], MemoryStore], found_by: str) -> None:
    (check,) = [check for check in store_checks(durable=True) if str(check) == found_by]
    with pytest.raises((AssertionError, PatinoxError)):
        await check(lambda: opened(faulty()))


@pytest.mark.parametrize(
    ("faulty", "found_by"),
    [
        (Silent, "tells_watchers_of_growth"),
        (Silent, "tells_watchers_who_writes_now_and_that_it_is_gone"),
        (Wishless, "carries_wishes_to_the_holder"),
    ],
)
async def test_silence_is_found_when_the_deadline_is_over(
    faulty: Callable[[], MemoryStore], found_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "DEADLINE_S", 0.05)
    (check,) = [check for check in store_checks(durable=False) if str(check) == found_by]
    with pytest.raises(AssertionError, match="told so far"):
        await check(lambda: opened(faulty()))


async def test_all_failures_are_told_by_name() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await check_store(lambda: opened(Traceless()), durable=False)
    notes = [note for error in caught.value.exceptions for note in error.__notes__]
    assert any(note.startswith("forgets_what_is_deleted: ") for note in notes)


def test_every_check_says_what_it_checks() -> None:
    assert all(check.says.endswith(".") and str(check) in repr(check) for check in store_checks(durable=True))
