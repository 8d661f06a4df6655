"""The journal: all streams' pending chunks, taken to the store in as few writes as there can be.

    chunk ─▶ mark ─▶ idle until now: at once ─┐
                     else `flush_interval` ───┼─▶ one `store.append` for all streams ─▶ acknowledged, or refused
                     or enough has come ──────┘     └─ away: again, until `store_timeout` is over ─▶ lost

One append is on its way at a time, so that no stream overtakes itself; what comes meanwhile goes with the next. A store
knows an append that it has already, so one without an answer is sent again. Streams of which it is not known what the
store has are looked at until it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from patinox.errors import PatinoxError, StoreConflict, StoreError
from patinox.manager.tail import Tail
from patinox.stores.base import Append, Store
from patinox.stores.tasks import end

BATCH_CHUNKS = 1024
BATCH_BYTES = 2**20
"""With as much as this pending nothing more is waited for; and what one append holds, about."""
_RETRY_S = (0.02, 0.1, 0.25, 0.5, 1.0)

_log = logging.getLogger("patinox.store")

Refused = Callable[[Tail, PatinoxError], None]


class Journal:
    """Of one manager. `on_refused` is told of what the store has not taken, and why."""

    def __init__(self, store: Store, *, flush_interval_s: float, timeout_s: float, on_refused: Refused) -> None:
        self.commits = 0
        self.chunks = 0
        self.is_away = False
        self._store = store
        self._interval_s = flush_interval_s
        self._timeout_s = timeout_s
        self._on_refused = on_refused
        self._dirty: dict[Tail, None] = {}
        self._dirty_chunks = 0
        self._dirty_bytes = 0
        self._something = asyncio.Event()
        self._enough = asyncio.Event()
        self._unsure: dict[Tail, None] = {}
        self._mender: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._writer = self._loop.create_task(self._run(), name="patinox journal")

    def __repr__(self) -> str:
        return f"<Journal {len(self._dirty)} streams waiting, {self.chunks} chunks in {self.commits} commits>"

    def mark(self, tail: Tail, size_bytes: int) -> None:
        """Says that a tail has one more chunk to be taken along."""
        self._dirty[tail] = None
        self._dirty_chunks += 1
        self._dirty_bytes += size_bytes
        if not self._something.is_set():
            self._something.set()
        if self._dirty_chunks >= BATCH_CHUNKS or self._dirty_bytes >= BATCH_BYTES:
            self._enough.set()

    def unsure(self, tail: Tail) -> None:
        """Has a tail looked at until it is known what the store has."""
        tail.is_unsure = True
        self._unsure[tail] = None
        if self._mender is None:
            self._mender = self._loop.create_task(self._mend_all(), name="patinox journal mends")

    async def drain(self, timeout_s: float) -> None:
        """Waits until all that is pending was taken to the store, or was lost."""
        ends = self._loop.time() + timeout_s
        for tail in tuple(self._dirty):
            with_room = max(0.0, ends - self._loop.time())
            try:
                async with asyncio.timeout(with_room):
                    await tail.settled(tail.failures)
            except (TimeoutError, PatinoxError):
                _log.warning("%r: the store did not acknowledge everything in time", tail)

    async def aclose(self) -> None:
        """Ends; what is still pending is lost."""
        await end([task for task in (self._writer, self._mender) if task is not None])
        for tail in tuple(self._dirty):
            tail.lost(StoreError("the manager has closed"))

    # ── within ──

    async def _run(self) -> None:
        next_s = 0.0
        while True:
            await self._something.wait()
            wait_s = next_s - self._loop.time()
            if wait_s > 0:
                await self._wait_for_more(wait_s)
            next_s = self._loop.time() + self._interval_s
            try:
                await self._flush()
            except Exception:  # a fault in one stream must not end the writing of all others
                _log.exception("a write to the store broke off")

    async def _wait_for_more(self, wait_s: float) -> None:
        timer = self._loop.call_later(wait_s, self._enough.set)
        try:
            await self._enough.wait()
        finally:
            timer.cancel()

    async def _flush(self) -> None:
        tails, appends = self._collect()
        if not appends:
            return
        try:
            results = await self._append(appends)
        except asyncio.CancelledError:
            for tail in tails:
                tail.lost(StoreError("the manager has closed"))
            raise
        except Exception:
            _log.exception("the store failed")
            results = None
        if results is None:
            self._lose([*tails, *self._dirty], StoreError("the store is away; it is not known what it has taken"))
            return
        self.commits += 1
        for tail, append, refusal in zip(tails, appends, results, strict=True):
            if refusal is None:
                self.chunks += len(append.chunks)
                tail.committed(append)
            else:
                self._refuse(tail, refusal)

    def _collect(self) -> tuple[list[Tail], list[Append]]:
        self._something.clear()
        self._enough.clear()
        tails, appends, chunks, size_bytes = [], [], 0, 0
        self._dirty_chunks = self._dirty_bytes = 0
        while self._dirty and chunks < BATCH_CHUNKS and size_bytes < BATCH_BYTES:
            tail = next(iter(self._dirty))
            del self._dirty[tail]
            append = tail.take()
            if append is not None:
                tails.append(tail)
                appends.append(append)
                chunks += len(append.chunks)
                size_bytes += sum([len(chunk.payload) for chunk in append.chunks])
        if self._dirty:
            self._something.set()
            self._enough.set()
        return tails, appends

    async def _append(self, appends: Sequence[Append]) -> Sequence[PatinoxError | None] | None:
        """What became of each; None where the store did not say so in time."""
        ends = self._loop.time() + self._timeout_s
        for attempt in range(1_000_000):
            try:
                async with asyncio.timeout_at(ends):
                    results = await self._store.append(appends)
            except (StoreError, TimeoutError) as error:
                self._went_away(error)
                pause_s = _RETRY_S[min(attempt, len(_RETRY_S) - 1)]
                if self._loop.time() + pause_s >= ends:
                    return None
                await asyncio.sleep(pause_s)
            else:
                self._is_back()
                return results
        return None

    def _lose(self, tails: Sequence[Tail], error: StoreError) -> None:
        for tail in dict.fromkeys(tails):
            self._dirty.pop(tail, None)
            tail.lost(error)
            self.unsure(tail)
            self._on_refused(tail, error)

    def _refuse(self, tail: Tail, refusal: PatinoxError) -> None:
        tail.lost(refusal)
        if isinstance(refusal, StoreConflict):
            self.unsure(tail)
        self._on_refused(tail, refusal)

    async def _mend_all(self) -> None:
        attempt = 0
        while self._unsure:
            attempt += 1
            for tail in tuple(self._unsure):
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await tail.stream.resync()
                except (StoreError, TimeoutError) as error:
                    self._went_away(error)
                    break
                except PatinoxError as error:
                    _log.debug("%r: %s", tail, error.message)
                self._unsure.pop(tail, None)
            else:
                self._is_back()
                continue
            await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S)) - 1])
        self._mender = None

    def _went_away(self, error: Exception) -> None:
        if not self.is_away:
            self.is_away = True
            _log.warning("the store is away: %s", str(error) or type(error).__name__)

    def _is_back(self) -> None:
        if self.is_away:
            self.is_away = False
            _log.warning("the store is back")
