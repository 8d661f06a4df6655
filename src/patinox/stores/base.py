"""What a store is: the place behind the hot window where whole streams are kept, for one process or for many.

    create ─▶ append ─▶ append(final) ─▶ (time to live) ─▶ sweep          delete at any time: from then on it is gone
                 │
                 └─ each under a lease: the node that holds it writes, `take_over` gives it to another with a higher
                    `fence`, and whoever still has the lower one is refused

- **An acknowledgement** is what `append` returning says; `durability` tells in words what that survives.
- **Appends are conditional**: on the fence, and on the head that they follow. The same append sent twice is known by
  that, so a store's client may repeat one whose answer was lost.
- **Producers** (`core/producers.py`) are committed with the chunks that they sent, in one step.
- **Leases** are measured by one clock that all nodes share, or by each node's own from what it has seen change: never
  by comparing the clocks of two machines.
- **Watching** is how a node learns what another one wrote. It may be told late, twice, or `Unsure`; what it reads is
  what counts. **Attending** is how it learns what others want of the streams that it holds: one subscription a node,
  however many streams, and none of its own writes come back. A listener is called in the event loop, and must neither
  wait nor raise.

Every store passes `patinox.testing.check_store`. Errors of the engine beneath become `StoreError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from patinox.config.choices import Retain
from patinox.core.chunks import Error, Outcome, StreamChunk
from patinox.core.keys import StreamKey
from patinox.errors import PatinoxError

Acknowledged = tuple[int, int]
"""Of one producer: its epoch, and the number that is next."""


class StreamFacts(msgspec.Struct, frozen=True):
    """What never changes about a stream. `created_s` in seconds since 1970; `ttl_s` counts from its end.

    `pipeline` names what stands before it, on the node that created it.
    """

    key: StreamKey
    epoch: str
    created_s: float
    ttl_s: float
    metadata: dict[str, Any] = {}
    owner: str = ""
    channel: str | None = None
    retain: Retain = Retain.FULL
    on_abandon: str = "keep"
    pipeline: str = ""


class StreamRecord(msgspec.Struct, frozen=True):
    """A stream as the store has it, without its chunks.

    `head` is the last acknowledged sequence, `size_bytes` the sum of all payloads, `outcome` None while it is open.
    `node` holds the lease (empty: nobody yet) under `fence`.
    """

    facts: StreamFacts
    head: int = 0
    size_bytes: int = 0
    outcome: Outcome | None = None
    ended_s: float | None = None
    node: str = ""
    fence: int = 0
    producers: Mapping[str, Acknowledged] = {}


class Append(msgspec.Struct, frozen=True):
    """Chunks of one stream, to be committed together with what they acknowledge to producers.

    `after` is the head they follow: `chunks[0].sequence == after + 1`. A chunk with `is_final` ends the stream.
    """

    key: StreamKey
    fence: int
    after: int
    chunks: Sequence[StreamChunk]
    producers: Mapping[str, Acknowledged] = {}


class Grown(msgspec.Struct, frozen=True):
    """The stream has these chunks now (a store that tells of growth alone leaves them out), up to `head`."""

    head: int
    chunks: Sequence[StreamChunk] = ()


class TakenOver(msgspec.Struct, frozen=True):
    """Another node holds the lease now."""

    node: str
    fence: int


class Deleted(msgspec.Struct, frozen=True):
    """The stream is gone."""


class Unsure(msgspec.Struct, frozen=True):
    """Something may have been missed: the connection to the engine was away. Look at the store."""


class CancelAsked(msgspec.Struct, frozen=True):
    """Somebody, on whatever node, asks the holder of the lease to cancel."""

    reason: str | None = None


class Watched(msgspec.Struct, frozen=True):
    """Somebody reads the stream on another node, and will for `for_s` seconds more: it is not abandoned."""

    for_s: float


News = Grown | TakenOver | Deleted | Unsure
"""Of one stream, for those who watch it."""
Wish = CancelAsked | Watched
"""What is told to the holder of a lease."""
Listener = Callable[[News], None]
HolderListener = Callable[[StreamKey, Wish | TakenOver | Deleted], None]
Unwatch = Callable[[], None]


class Store(Protocol):
    """Keeps streams. Opened before anything else, closed at the end.

    `durability` says in words what an acknowledgement survives; true once it is open. `is_shared` says that several
    processes may use it at once; `is_immediate` that it is a `MemoryStore`, whose `append_nowait` acknowledges by
    returning.
    """

    durability: str
    is_shared: bool
    is_immediate: bool

    async def open(self) -> None:
        """Connects, and brings what is there to this version. Raises `StoreError` with what to do."""
        ...

    async def aclose(self) -> None:
        """Gives back what it holds. Idempotent."""
        ...

    async def probe(self) -> None:
        """Asks the engine for a sign of life. Raises `StoreError`."""
        ...

    async def create(self, facts: StreamFacts, node: str, lease_s: float) -> StreamRecord:
        """A new stream, leased to `node`. Raises `StreamExists`; one that was deleted is not in the way."""
        ...

    async def load(self, key: StreamKey) -> StreamRecord:
        """What is known of a stream. Raises `StreamNotFound`, or `StreamGone` for one that was deleted or is over."""
        ...

    async def locate(self, tenant: str, epoch: str) -> StreamKey | None:
        """Which stream an event id of this epoch belongs to."""
        ...

    async def append(self, appends: Sequence[Append]) -> Sequence[PatinoxError | None]:
        """Commits appends to any number of streams, each one whole or not at all; what became of each, in order.

        None: it is there (now, or from before: the same append twice is one). `StreamFenced` for a fence that is not
        the lease's, `StreamClosed` after an end, `StreamGone`, `StreamNotFound`, `StoreConflict` where `after` is not
        the head. Raises `StoreError` where it is not known whether anything was committed.
        """
        ...

    async def read(self, key: StreamKey, after: int, limit: int) -> Sequence[StreamChunk]:
        """Up to `limit` chunks with a sequence above `after`, with epoch and payload; none when there are none."""
        ...

    async def take_over(self, key: StreamKey, node: str, lease_s: float) -> StreamRecord:
        """Gives `node` the lease, with the next fence. Raises `StreamClosed`, `StreamGone`, `StreamNotFound`."""
        ...

    async def renew(self, leases: Mapping[StreamKey, int], node: str, lease_s: float) -> set[StreamKey]:
        """Holds leases (by their fence) for another `lease_s`; those that are not held any more."""
        ...

    async def orphans(self, limit: int) -> Sequence[StreamKey]:
        """Open streams whose lease is over: their node has died, or lost the store."""
        ...

    async def tell(self, key: StreamKey, wish: Wish) -> None:
        """Has the holder of the lease told, where it attends. May get lost: whoever asks looks at what became of it."""
        ...

    async def attend(self, node: str, listener: HolderListener) -> Unwatch:
        """Has `listener` told what is done to streams that are leased to `node`; returns what ends that.

        That is every `tell`, a `TakenOver` by another node, and `Deleted` (by whomever). Like all news it may come
        late, or get lost while the engine is away: appends and renewals are refused all the same.
        """
        ...

    async def watch(self, key: StreamKey, listener: Listener) -> Unwatch:
        """Has `listener` told what happens to a stream from now on; returns what ends that, once it is told."""
        ...

    async def delete(self, key: StreamKey, *, trace: bool = True) -> None:
        """Forgets a stream; with a `trace` it is `StreamGone` from then on. One that is unknown is fine."""
        ...

    async def sweep(self, now_s: float, limit: int) -> int:
        """Deletes, with a trace, up to `limit` ended streams whose time to live is over, and old traces; how many."""
        ...

    async def list(self, tenant: str | None, after: StreamKey | None, limit: int) -> Sequence[StreamRecord]:
        """Streams in the order they were created, of one tenant or of all, after `after` where that is known."""
        ...


def outcome_of(final: StreamChunk) -> Outcome:
    """How a log ended, by its last record."""
    data = final.data
    return Outcome.FAILED if isinstance(data, Error) else Outcome(data.outcome)
