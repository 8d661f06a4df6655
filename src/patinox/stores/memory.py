"""The store in the process's own memory: gone when the process is. The reference for what every store does.

The chunks are shared with the hot windows, so nothing is held twice. Several managers of one process may share it, as
nodes share an engine; leases are measured by the clock it was made with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from patinox.core.chunks import Outcome, StreamChunk
from patinox.core.keys import StreamKey
from patinox.errors import (
    PatinoxError,
    StoreConflict,
    StreamClosed,
    StreamExists,
    StreamFenced,
    StreamGone,
    StreamNotFound,
)
from patinox.stores.base import (
    Acknowledged,
    Append,
    Deleted,
    Grown,
    HolderListener,
    Listener,
    StreamFacts,
    StreamRecord,
    TakenOver,
    Unwatch,
    Wish,
    outcome_of,
)
from patinox.stores.noticeboard import Noticeboard

_TRACES = 100_000


class MemoryStore:
    """Whole streams in lists. `clock` gives seconds, of a clock that never goes back."""

    durability = "memory: streams are gone when this process ends"
    is_shared = False
    is_immediate = True

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._users = 0
        self._streams: dict[StreamKey, _Kept] = {}
        self._by_epoch: dict[tuple[str, str], StreamKey] = {}
        self._gone: dict[StreamKey, None] = {}
        self._board = Noticeboard()

    def __repr__(self) -> str:
        return f"<MemoryStore {len(self._streams)} streams>"

    async def open(self) -> None:
        """Nothing to connect to; it is there until as many have closed it."""
        self._users += 1

    async def probe(self) -> None:
        """It lives as long as the process."""

    async def aclose(self) -> None:
        """Forgets everything, when nobody uses it any more."""
        self._users -= 1
        if self._users > 0:
            return
        for table in (self._streams, self._by_epoch, self._gone):
            table.clear()
        self._board = Noticeboard()

    # ── writing ──

    async def create(self, facts: StreamFacts, node: str, lease_s: float) -> StreamRecord:
        """A new stream, leased to `node`."""
        return self.create_nowait(facts, node, lease_s)

    def create_nowait(self, facts: StreamFacts, node: str, lease_s: float) -> StreamRecord:
        """The same without waiting."""
        if facts.key in self._streams:
            raise StreamExists(f"a stream {facts.key.id!r} exists already")
        self._gone.pop(facts.key, None)
        kept = self._streams[facts.key] = _Kept(facts, node, self._clock() + lease_s)
        self._by_epoch[facts.key.tenant, facts.epoch] = facts.key
        return kept.record()

    async def append(self, appends: Sequence[Append]) -> Sequence[PatinoxError | None]:
        """Commits each, whole or not at all."""
        return [self._append(append) for append in appends]

    def append_nowait(
        self, key: StreamKey, chunk: StreamChunk, producers: Mapping[str, Acknowledged] | None = None
    ) -> None:
        """Keeps the next chunk of a stream whose lease the caller is sure of."""
        kept = self._streams[key]
        if chunk.sequence != len(kept.chunks) + 1:
            raise StoreConflict(f"chunk {chunk.sequence} does not follow {len(kept.chunks)}")
        kept.put(chunk)
        if producers:
            kept.producers.update(producers)
        if self._board.has_watchers:
            self._board.tell(key, Grown(chunk.sequence, (chunk,)))

    def _append(self, append: Append) -> PatinoxError | None:
        try:
            kept = self._get(append.key)
        except PatinoxError as error:
            return error
        if append.fence != kept.fence:
            return StreamFenced(f"another node writes stream {append.key.id!r} now")
        head = len(kept.chunks)
        if head == append.after + len(append.chunks) and kept.chunks[append.after :] == list(append.chunks):
            return None
        if kept.outcome is not None:
            return StreamClosed(f"the stream has ended ({kept.outcome})")
        if head != append.after:
            return StoreConflict(f"the append follows {append.after}, the head is {head}")
        for chunk in append.chunks:
            kept.put(chunk)
        kept.producers.update(append.producers)
        if append.chunks:
            self._board.tell(append.key, Grown(len(kept.chunks), tuple(append.chunks)))
        return None

    # ── reading ──

    async def load(self, key: StreamKey) -> StreamRecord:
        """What is known of a stream."""
        return self._get(key).record()

    async def locate(self, tenant: str, epoch: str) -> StreamKey | None:
        """Which stream an event id of this epoch belongs to."""
        return self._by_epoch.get((tenant, epoch))

    async def read(self, key: StreamKey, after: int, limit: int) -> Sequence[StreamChunk]:
        """Up to `limit` chunks with a sequence above `after`."""
        kept = self._streams.get(key)
        return [] if kept is None else kept.chunks[after : after + limit]

    async def list(self, tenant: str | None, after: StreamKey | None, limit: int) -> Sequence[StreamRecord]:
        """Streams in the order they were created."""
        keys = [key for key in self._streams if tenant is None or key.tenant == tenant]
        begin = keys.index(after) + 1 if after in keys else 0
        return [self._streams[key].record() for key in keys[begin : begin + limit]]

    # ── leases ──

    async def take_over(self, key: StreamKey, node: str, lease_s: float) -> StreamRecord:
        """Gives `node` the lease, with the next fence."""
        kept = self._get(key)
        if kept.outcome is not None:
            raise StreamClosed(f"the stream has ended ({kept.outcome})")
        before, kept.node = kept.node, node
        kept.fence, kept.leased_until_s = kept.fence + 1, self._clock() + lease_s
        taken = TakenOver(node, kept.fence)
        if before != node:
            self._board.tell_holder(before, key, taken)
        self._board.tell(key, taken)
        return kept.record()

    async def renew(self, leases: Mapping[StreamKey, int], node: str, lease_s: float) -> set[StreamKey]:
        """Holds leases; those that are not held any more."""
        lost = set()
        for key, fence in leases.items():
            kept = self._streams.get(key)
            if kept is None or kept.fence != fence or kept.node != node:
                lost.add(key)
            else:
                kept.leased_until_s = self._clock() + lease_s
        return lost

    async def orphans(self, limit: int) -> Sequence[StreamKey]:
        """Open streams whose lease is over."""
        now_s = self._clock()
        over = (key for key, kept in self._streams.items() if kept.outcome is None and kept.leased_until_s <= now_s)
        return list(islice(over, limit))

    # ── news ──

    async def tell(self, key: StreamKey, wish: Wish) -> None:
        """Has the holder of the lease told."""
        kept = self._streams.get(key)
        if kept is not None:
            self._board.tell_holder(kept.node, key, wish)

    async def attend(self, node: str, listener: HolderListener) -> Unwatch:
        """Has `listener` told what others want of the streams that a node holds."""
        return self._board.attend(node, listener)

    async def watch(self, key: StreamKey, listener: Listener) -> Unwatch:
        """Has `listener` told what happens to a stream from now on."""
        return self._board.watch(key, listener)

    # ── ends ──

    async def delete(self, key: StreamKey, *, trace: bool = True) -> None:
        """Forgets a stream."""
        kept = self._streams.pop(key, None)
        if kept is None:
            return
        self._by_epoch.pop((key.tenant, kept.facts.epoch), None)
        if trace:
            self._gone[key] = None
            if len(self._gone) > _TRACES:
                del self._gone[next(iter(self._gone))]
        self._board.tell_holder(kept.node, key, Deleted())
        self._board.tell(key, Deleted())

    async def sweep(self, now_s: float, limit: int) -> int:
        """Deletes, with a trace, up to `limit` ended streams whose time to live is over."""
        over = list(islice((key for key, kept in self._streams.items() if kept.is_over(now_s)), limit))
        for key in over:
            await self.delete(key)
        return len(over)

    def _get(self, key: StreamKey) -> _Kept:
        kept = self._streams.get(key)
        if kept is not None:
            return kept
        if key in self._gone:
            raise StreamGone(f"stream {key.id!r} was deleted")
        raise StreamNotFound(f"there is no stream {key.id[:140]!r}")


class _Kept:
    """One stream."""

    __slots__ = ("chunks", "ended_s", "facts", "fence", "leased_until_s", "node", "outcome", "producers", "size_bytes")

    def __init__(self, facts: StreamFacts, node: str, leased_until_s: float) -> None:
        self.facts = facts
        self.node = node
        self.fence = 1
        self.leased_until_s = leased_until_s
        self.chunks: list[StreamChunk] = []
        self.size_bytes = 0
        self.outcome: Outcome | None = None
        self.ended_s: float | None = None
        self.producers: dict[str, Acknowledged] = {}

    def put(self, chunk: StreamChunk) -> None:
        self.chunks.append(chunk)
        self.size_bytes += len(chunk.payload)
        if chunk.is_final:
            self.outcome = outcome_of(chunk)
            self.ended_s = chunk.timestamp

    def is_over(self, now_s: float) -> bool:
        return self.ended_s is not None and self.ended_s + self.facts.ttl_s <= now_s

    def record(self) -> StreamRecord:
        return StreamRecord(
            self.facts, len(self.chunks), self.size_bytes, self.outcome, self.ended_s, self.node, self.fence,
            dict(self.producers),
        )  # fmt: skip
