"""The library: what a manager finds, whether it is held here or only in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from typing import TypeVar

from patinox.config.choices import Retain
from patinox.config.streaming import StreamingConfig
from patinox.core.attach import After
from patinox.core.chunks import EventId
from patinox.core.keys import StreamKey
from patinox.delivery.late import LateSubscription
from patinox.delivery.subscription import ChunkSubscription
from patinox.errors import ShuttingDown, StoreError, StreamGone, StreamNotFound
from patinox.manager.shelf import Shelf
from patinox.manager.stream import ActiveStream, parse_after
from patinox.stores.base import Store

T = TypeVar("T")
Reading = ChunkSubscription | LateSubscription
"""What a reader in the same process reads with."""


class Library:
    """The part of a `StreamManager` that finds streams. `is_closing` says that it takes nothing new any more."""

    config: StreamingConfig
    store: Store
    shelf: Shelf
    is_closing: bool

    async def open(self, stream_id: str, tenant: str = "") -> ActiveStream:
        """The stream with this id, from wherever it is kept. Raises what `get` raises, and `StoreError`."""
        return await self.shelf.open(StreamKey(tenant, stream_id))

    def get(self, stream_id: str, tenant: str = "") -> ActiveStream:
        """The stream with this id, of those that are held here: what is written here, and what is read here now.

        Raises `StreamNotFound`, or `StreamGone` for one that was deleted.
        """
        return self.shelf.get(StreamKey(tenant, stream_id))

    def held(self, key: StreamKey) -> ActiveStream | None:
        """The stream of this key, if it is held here."""
        return self.shelf.held(key)

    async def seek(self, stream_id: str, tenant: str = "") -> ActiveStream | None:
        """The stream with this id, if there is one."""
        try:
            return await self.open(stream_id, tenant)
        except (StreamNotFound, StreamGone):
            return None

    async def find(self, event_id: EventId, tenant: str = "") -> ActiveStream | None:
        """The stream that an event id belongs to, by its epoch. Raises `StoreError`."""
        held = self.shelf.by_epoch(tenant, event_id.epoch)
        if held is not None:
            return held
        key = await self.answered(self.store.locate(tenant, event_id.epoch))
        return None if key is None else await self.seek(key.id, tenant)

    async def list(self, tenant: str = "", after: str | None = None, limit: int = 100) -> Sequence[ActiveStream]:
        """Up to `limit` streams of a tenant, in the order they were created, after the one with the id `after`.

        Those that are not held here are as they were a moment ago, and nothing more will happen to them: to be
        described, not to be read. Those that have their window only come first.
        """
        local = [s for s in self.shelf if s.options.retain is Retain.WINDOW and s.key.tenant == tenant]
        ids = [stream.id for stream in local]
        if after in ids:
            local, after = local[ids.index(after) + 1 :], None
        elif after is not None:
            local = []
        page = local[:limit]
        if len(page) < limit:
            start = None if after is None else StreamKey(tenant, after)
            records = await self.answered(self.store.list(tenant, start, limit - len(page)))
            page += [self.shelf.glimpse(record) for record in records]
        return page

    def __iter__(self) -> Iterator[ActiveStream]:
        return iter(self.shelf)

    def __len__(self) -> int:
        return len(self.shelf)

    def subscribe(self, stream_id: str, after: After | str | None = None, *, tenant: str = "") -> Reading:
        """The chunks of a stream after an event id (default: from the start), as an async iterator.

        A stream that is not held here is looked for when the first chunk is asked for.
        """
        if self.is_closing:
            raise ShuttingDown("this manager is closed")
        held = self.shelf.held(StreamKey(tenant, stream_id))
        if held is not None:
            return held.subscribe(after)
        asked = parse_after(after)

        async def attach() -> ChunkSubscription:
            return (await self.open(stream_id, tenant)).subscribe(asked)

        return LateSubscription(attach)

    async def answered(self, asked: Awaitable[T]) -> T:
        """What the store answers, within `store_timeout`. Raises `StoreError`."""
        try:
            async with asyncio.timeout(self.config.store_timeout_s):
                return await asked
        except TimeoutError:
            raise StoreError("the store does not answer") from None
