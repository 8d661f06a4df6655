"""Stores that misbehave when a test says so, and are otherwise what `MemoryStore` is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from patinox.core.chunks import StreamChunk
from patinox.core.keys import StreamKey
from patinox.errors import PatinoxError, StoreError
from patinox.stores.base import (
    Append,
    Grown,
    HolderListener,
    Listener,
    News,
    StreamFacts,
    StreamRecord,
    Unwatch,
    Wish,
)
from patinox.stores.memory import MemoryStore


class FaultyStore:
    """One node's client of a `MemoryStore`, which others may share: acknowledges later than at once, as engines do.

    `hold` has appends wait until `release`; `go_away` has every call fail until `come_back`; `lose_answers` has the
    next appends be carried out, and fail; `garble_news` has growth told without chunks. `appends` is every batch that
    reached the store.
    """

    durability = "a test's memory"
    is_shared = True
    is_immediate = False

    def __init__(self, inner: MemoryStore | None = None, *, clock: Callable[[], float] | None = None) -> None:
        self.inner = inner if inner is not None else MemoryStore(**({} if clock is None else {"clock": clock}))
        self.appends: list[Sequence[Append]] = []
        self.is_away = False
        self.reads = 0
        self._may_append = asyncio.Event()
        self._may_append.set()
        self._lost_answers = 0
        self._is_garbled = False

    def __repr__(self) -> str:
        return f"<FaultyStore of {self.inner!r}{', away' if self.is_away else ''}>"

    def hold(self) -> None:
        """Appends wait."""
        self._may_append.clear()

    def release(self) -> None:
        """They go on."""
        self._may_append.set()

    def go_away(self) -> None:
        """Every call fails, those that wait too."""
        self.is_away = True
        self._may_append.set()

    def come_back(self) -> None:
        """None fails any more."""
        self.is_away = False

    def lose_answers(self, count: int = 1) -> None:
        """The next `count` appends are carried out, and nobody hears of it."""
        self._lost_answers = count

    def garble_news(self) -> None:
        """What is watched tells of growth alone from now on."""
        self._is_garbled = True

    def _check(self) -> None:
        if self.is_away:
            raise StoreError("the store is away")

    async def append(self, appends: Sequence[Append]) -> Sequence[PatinoxError | None]:
        """Held, lost or carried out."""
        await self._may_append.wait()
        self._check()
        self.appends.append(appends)
        results = await self.inner.append(appends)
        if self._lost_answers:
            self._lost_answers -= 1
            raise StoreError("the answer was lost")
        return results

    async def open(self) -> None:
        """Nothing to connect to."""
        await self.inner.open()

    async def aclose(self) -> None:
        """The inner one is closed with its last user."""
        await self.inner.aclose()

    async def probe(self) -> None:
        """Whether it is away."""
        self._check()

    async def create(self, facts: StreamFacts, node: str, lease_s: float) -> StreamRecord:
        """Passed on."""
        self._check()
        return await self.inner.create(facts, node, lease_s)

    async def load(self, key: StreamKey) -> StreamRecord:
        """Passed on."""
        self._check()
        return await self.inner.load(key)

    async def locate(self, tenant: str, epoch: str) -> StreamKey | None:
        """Passed on."""
        self._check()
        return await self.inner.locate(tenant, epoch)

    async def read(self, key: StreamKey, after: int, limit: int) -> Sequence[StreamChunk]:
        """Passed on, and counted."""
        self._check()
        self.reads += 1
        return await self.inner.read(key, after, limit)

    async def take_over(self, key: StreamKey, node: str, lease_s: float) -> StreamRecord:
        """Passed on."""
        self._check()
        return await self.inner.take_over(key, node, lease_s)

    async def renew(self, leases: Mapping[StreamKey, int], node: str, lease_s: float) -> set[StreamKey]:
        """Passed on."""
        self._check()
        return await self.inner.renew(leases, node, lease_s)

    async def orphans(self, limit: int) -> Sequence[StreamKey]:
        """Passed on."""
        self._check()
        return await self.inner.orphans(limit)

    async def tell(self, key: StreamKey, wish: Wish) -> None:
        """Passed on."""
        self._check()
        await self.inner.tell(key, wish)

    async def attend(self, node: str, listener: HolderListener) -> Unwatch:
        """Passed on: what is told comes whether the store is away or not."""
        return await self.inner.attend(node, listener)

    async def watch(self, key: StreamKey, listener: Listener) -> Unwatch:
        """Passed on."""
        self._check()
        return await self.inner.watch(key, lambda news: listener(self._heard(news)))

    def _heard(self, news: News) -> News:
        return Grown(news.head) if self._is_garbled and isinstance(news, Grown) else news

    async def delete(self, key: StreamKey, *, trace: bool = True) -> None:
        """Passed on."""
        self._check()
        await self.inner.delete(key, trace=trace)

    async def sweep(self, now_s: float, limit: int) -> int:
        """Passed on."""
        self._check()
        return await self.inner.sweep(now_s, limit)

    async def list(self, tenant: str | None, after: StreamKey | None, limit: int) -> Sequence[StreamRecord]:
        """Passed on."""
        self._check()
        return await self.inner.list(tenant, after, limit)
