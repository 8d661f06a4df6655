"""The store as the manager has it: asynchronous, and the news of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from patinox.core.chunks import StreamChunk
from patinox.core.keys import StreamKey
from patinox.errors import PatinoxError, StoreError
from patinox.stores.base import (
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
)
from patinox.stores.noticeboard import Noticeboard
from patinox.stores.sqlite.engine import Engine, Removed
from patinox.stores.sqlite.failures import store_error
from patinox.stores.sqlite.schema import STEPS, Synchronous, connect
from patinox.stores.sqlite.worker import Worker

_SURVIVES: Mapping[Synchronous, str] = {
    "full": "survives the end of this process, kill -9 and, with synchronous = full, a power failure",
    "normal": "survives the end of this process and kill -9; with synchronous = normal, the last moments before a "
    "power failure may be lost",
}
WEEK_S = 7 * 86400.0


class SqliteStore:
    """Whole streams in one SQLite file, for one process.

    `synchronous` is SQLite's: `full` waits for the disk at each commit, `normal` leaves that to the operating system.
    `max_store_bytes` caps the file (0: no cap): before it is reached, the streams that ended first are deleted.
    `trace_s` is how long a deleted stream is told from one that never was. `busy_timeout_s` is how long to wait for
    another process to let go of the file. `clock` gives seconds, of a clock that never goes back; `wall_clock` those
    since 1970. `steps` are the versions of the schema.
    """

    is_shared = False
    is_immediate = False

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Synchronous = "full",
        max_store_bytes: int = 0,
        trace_s: float = WEEK_S,
        busy_timeout_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        steps: Sequence[str] = STEPS,
    ) -> None:
        self.path = Path(path).absolute()
        self.durability = f"SQLite: {self.path} {_SURVIVES[synchronous]}"
        self._synchronous: Synchronous = synchronous
        self._busy_timeout_s = busy_timeout_s
        self._steps = steps
        self._make_engine = partial(
            Engine, max_bytes=max_store_bytes, trace_s=trace_s, clock=clock, wall_clock=wall_clock
        )
        self._board = Noticeboard()
        self._opened: Worker | None = None

    def __repr__(self) -> str:
        return f"<SqliteStore {self.path} {self._opened!r}>"

    async def open(self) -> None:
        """Opens the file, or makes it. Raises `StoreError` with what to do."""
        worker = Worker(self._open, partial(store_error, path=self.path), self._told_removed)
        await worker.start()
        self._opened = worker

    def _open(self) -> Engine:
        return self._make_engine(connect(self.path, self._synchronous, self._busy_timeout_s, self._steps))

    async def aclose(self) -> None:
        """Gives the file back once all that was called is done. Idempotent."""
        if self._opened is not None:
            await self._opened.stop()

    @property
    def _worker(self) -> Worker:
        if self._opened is None:
            raise StoreError("the store is not open")
        return self._opened

    async def probe(self) -> None:
        """Whether a transaction can be made. Raises `StoreError`."""
        await self._worker.write(lambda engine: None)

    # ── writing ──

    async def create(self, facts: StreamFacts, node: str, lease_s: float) -> StreamRecord:
        """A new stream, leased to `node`."""
        return await self._worker.write(lambda engine: engine.create(facts, node, lease_s))

    async def append(self, appends: Sequence[Append]) -> Sequence[PatinoxError | None]:
        """Commits each, whole or not at all."""
        return await self._worker.write(lambda engine: engine.append(appends), partial(self._told_appended, appends))

    def _told_appended(self, appends: Sequence[Append], answers: Sequence[PatinoxError | None]) -> None:
        if self._board.has_watchers:
            for append, answer in zip(appends, answers, strict=True):
                if answer is None and append.chunks:
                    self._board.tell(append.key, Grown(append.chunks[-1].sequence, tuple(append.chunks)))

    # ── reading ──

    async def load(self, key: StreamKey) -> StreamRecord:
        """What is known of a stream."""
        return await self._worker.read(lambda engine: engine.load(key))

    async def locate(self, tenant: str, epoch: str) -> StreamKey | None:
        """Which stream an event id of this epoch belongs to."""
        return await self._worker.read(lambda engine: engine.locate(tenant, epoch))

    async def read(self, key: StreamKey, after: int, limit: int) -> Sequence[StreamChunk]:
        """Up to `limit` chunks with a sequence above `after`."""
        return await self._worker.read(lambda engine: engine.read(key, after, limit))

    async def list(self, tenant: str | None, after: StreamKey | None, limit: int) -> Sequence[StreamRecord]:
        """Streams in the order they were created."""
        return await self._worker.read(lambda engine: engine.list(tenant, after, limit))

    # ── leases ──

    async def take_over(self, key: StreamKey, node: str, lease_s: float) -> StreamRecord:
        """Gives `node` the lease, with the next fence."""

        def told(taken: tuple[StreamRecord, str, TakenOver]) -> None:
            _, before, news = taken
            if before != node:
                self._board.tell_holder(before, key, news)
            self._board.tell(key, news)

        record, _, _ = await self._worker.write(lambda engine: engine.take_over(key, node, lease_s), told)
        return record

    async def renew(self, leases: Mapping[StreamKey, int], node: str, lease_s: float) -> set[StreamKey]:
        """Holds leases; those that are not held any more."""
        return await self._worker.read(lambda engine: engine.renew(leases, node, lease_s))

    async def orphans(self, limit: int) -> Sequence[StreamKey]:
        """Open streams whose lease is over. Those of a process before count from when the file was opened."""
        return await self._worker.read(lambda engine: engine.orphans(limit))

    # ── news ──

    async def tell(self, key: StreamKey, wish: Wish) -> None:
        """Has the holder of the lease told."""
        node = await self._worker.read(lambda engine: engine.holder(key))
        if node is not None:
            self._board.tell_holder(node, key, wish)

    async def attend(self, node: str, listener: HolderListener) -> Unwatch:
        """Has `listener` told what others do to streams that are leased to `node`."""
        return self._board.attend(node, listener)

    async def watch(self, key: StreamKey, listener: Listener) -> Unwatch:
        """Has `listener` told what happens to a stream from now on."""
        return self._board.watch(key, listener)

    def _told_removed(self, removed: Sequence[Removed]) -> None:
        for key, node in removed:
            self._board.tell_holder(node, key, Deleted())
            self._board.tell(key, Deleted())

    # ── ends ──

    async def delete(self, key: StreamKey, *, trace: bool = True) -> None:
        """Forgets a stream."""
        await self._worker.write(lambda engine: engine.delete(key, trace))

    async def sweep(self, now_s: float, limit: int) -> int:
        """Deletes, with a trace, ended streams whose time to live is over, and old traces."""
        return await self._worker.write(lambda engine: engine.sweep(now_s, limit))
