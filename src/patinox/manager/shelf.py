"""The shelf: the streams that this node holds in memory. All others are in the store, and cost nothing here.

    create ──▶ held: written here ──▶ ended ─┐
    open ────▶ held: followed, or ended ─────┴─▶ nobody reads it for `GRACE_S` ─▶ put back: the store has it

A stream is held while it is written here, while somebody reads it, and as long as it has its window only. With a store
that is memory itself nothing would be won, so there what has ended stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from patinox.config.choices import OnAbandon, Retain
from patinox.core.keys import StreamKey
from patinox.delivery.feed import Feed
from patinox.errors import LimitExceeded, StoreError, StreamGone, StreamNotFound
from patinox.formats.base import StreamHead
from patinox.manager.ending import StreamOptions
from patinox.manager.following import Following
from patinox.manager.stream import ActiveStream
from patinox.stores.base import StreamRecord
from patinox.stores.tasks import end

if TYPE_CHECKING:
    from patinox.manager.streams import StreamManager

GRACE_S = 10.0
_TOMBSTONES = 100_000
_SLICE = 1000


class Shelf:
    """Of one manager."""

    def __init__(
        self, manager: StreamManager, *, clock: Callable[[], float], on_growth: Callable[[Feed], None]
    ) -> None:
        self._manager = manager
        self._store = manager.store
        self._clock = clock
        self._on_growth = on_growth
        self._streams: dict[StreamKey, ActiveStream] = {}
        self._by_epoch: dict[tuple[str, str], ActiveStream] = {}
        self._gone: dict[StreamKey, None] = {}
        self._following: dict[ActiveStream, Following] = {}
        self._loading: dict[StreamKey, asyncio.Task[ActiveStream]] = {}

    def __repr__(self) -> str:
        return f"<Shelf {len(self._streams)} streams, {len(self._following)} followed>"

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[ActiveStream]:
        return iter(tuple(self._streams.values()))

    # ── what is held ──

    def held(self, key: StreamKey) -> ActiveStream | None:
        """The stream of this key, if it is held here."""
        return self._streams.get(key)

    def get(self, key: StreamKey) -> ActiveStream:
        """The same. Raises `StreamNotFound`, or `StreamGone` for one that was deleted here."""
        stream = self._streams.get(key)
        if stream is not None:
            return stream
        if key in self._gone:
            raise StreamGone(f"stream {key.id!r} was deleted")
        raise StreamNotFound(f"there is no stream {key.id[:140]!r}")

    def by_epoch(self, tenant: str, epoch: str) -> ActiveStream | None:
        """The stream of this incarnation, if it is held here."""
        return self._by_epoch.get((tenant, epoch))

    def put(self, stream: ActiveStream) -> None:
        """Holds a stream."""
        self._streams[stream.key] = self._by_epoch[stream.key.tenant, stream.epoch] = stream
        self._gone.pop(stream.key, None)

    def forget(self, stream: ActiveStream, *, trace: bool = True) -> None:
        """Holds it no more, since it is gone."""
        self._put_back(stream)
        if trace:
            self._gone[stream.key] = None
            if len(self._gone) > _TOMBSTONES:
                del self._gone[next(iter(self._gone))]
        self._manager.channels.forgotten(stream)

    def gone(self, stream: ActiveStream) -> None:
        """Somebody, on whatever node, has deleted it: its readers are told that it ended, its producer to stop."""
        self._manager.leases.drop(stream)
        if self._streams.get(stream.key) is stream:
            self.forget(stream)
        stream.vanish()

    def _put_back(self, stream: ActiveStream) -> None:
        if self._streams.get(stream.key) is stream:
            del self._streams[stream.key]
            self._by_epoch.pop((stream.key.tenant, stream.epoch), None)
        self.unfollow(stream)

    # ── what is in the store ──

    async def open(self, key: StreamKey) -> ActiveStream:
        """The stream with this key, from the store where it is not held. Raises what `Store.load` does."""
        while (stream := self._streams.get(key)) is None:
            if key in self._gone and self._store.is_immediate:
                raise StreamGone(f"stream {key.id!r} was deleted")
            loading = self._loading.get(key)
            if loading is None:
                loading = asyncio.get_running_loop().create_task(self._load(key), name=f"patinox load {key.id}")
                self._loading[key] = loading
                loading.add_done_callback(lambda done: self._loading.pop(key, None))
            return await asyncio.shield(loading)
        return stream

    async def _load(self, key: StreamKey) -> ActiveStream:
        try:
            async with asyncio.timeout(self._manager.config.store_timeout_s):
                record = await self._store.load(key)
                if len(self._streams) >= self._manager.config.max_streams:
                    raise LimitExceeded(f"max_streams = {self._manager.config.max_streams} are held", retry_after_s=5)
                stream = self.glimpse(record)
                if record.outcome is None:
                    await self._follow(stream)
        except TimeoutError:
            raise StoreError("the store does not answer") from None
        self.put(stream)
        return stream

    def glimpse(self, record: StreamRecord) -> ActiveStream:
        """The stream of a record: the one that is held, or one that nobody holds and nothing happens to."""
        facts = record.facts
        held = self._streams.get(facts.key)
        if held is not None and held.epoch == facts.epoch:
            return held
        head = StreamHead(facts.key.id, facts.epoch, facts.created_s, facts.metadata, facts.key.tenant, facts.owner)
        options = StreamOptions(Retain(facts.retain), OnAbandon.parse(facts.on_abandon), facts.ttl_s)
        stream = ActiveStream(
            head, options, self._manager, clock=self._clock, on_growth=self._on_growth, record=record
        )  # fmt: skip
        if record.outcome is None:
            stream.tail = self._manager.new_tail(stream)
        return stream

    # ── what is followed ──

    async def _follow(self, stream: ActiveStream) -> None:
        if stream not in self._following:
            following = self._following[stream] = Following(stream, self._store)
            try:
                await following.start()
            except BaseException:
                self.unfollow(stream)
                raise

    def follow_soon(self, stream: ActiveStream) -> None:
        """Follows a stream that is written elsewhere from now on."""
        if stream not in self._following and stream.feed.outcome is None:
            self._following[stream] = following = Following(stream, self._store)
            following.begin()

    def unfollow(self, stream: ActiveStream) -> None:
        """Follows it no more: it is written here, or nobody wants it."""
        following = self._following.pop(stream, None)
        if following is not None:
            following.stop()

    def wanted(self, stream: ActiveStream) -> None:
        """Somebody reads it: one that was put back meanwhile is held again."""
        stream.idle_since_s = None
        if stream.feed.outcome is None and not stream.is_mine and not self._manager.is_closing:
            if stream.key not in self._streams and stream.key not in self._gone:
                self.put(stream)
            if self._streams.get(stream.key) is stream:
                self.follow_soon(stream)

    @property
    def followed(self) -> Iterator[ActiveStream]:
        """What other nodes write, and is followed here."""
        return iter(tuple(self._following))

    # ── what is put back ──

    async def tidy(self) -> None:
        """Puts back what nobody has needed for a while. Gives the loop back between slices."""
        now_s = asyncio.get_running_loop().time()
        for count, stream in enumerate(self, 1):
            if not self._is_idle(stream):
                stream.idle_since_s = None
            elif stream.idle_since_s is None:
                stream.idle_since_s = now_s
            elif now_s - stream.idle_since_s >= GRACE_S:
                self._put_back(stream)
            if not count % _SLICE:
                await asyncio.sleep(0)

    def _is_idle(self, stream: ActiveStream) -> bool:
        if stream.options.retain is not Retain.FULL or stream.feed.readers or stream.channel is not None:
            return False
        if stream.feed.outcome is None:
            return not stream.is_mine
        return not self._store.is_immediate

    async def aclose(self) -> None:
        """Follows nothing any more."""
        for stream in tuple(self._following):
            self.unfollow(stream)
        await end(self._loading.values())
