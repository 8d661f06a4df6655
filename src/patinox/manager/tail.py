"""The tail of one stream: what was written to it, and its store has not acknowledged yet.

    write ─▶ add (numbered) ─▶ the journal takes it along ─▶ acknowledged: readers get it, writers go on
                                                         └─▶ refused, or the store is away: nothing is half-known
                                                               what was pending is forgotten, its writers are told,
                                                               and before anything is numbered again the store is asked

It is bounded, in chunks and in bytes: who writes waits for room. A node that writes without holding the stream's lease
takes it over first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from patinox.core.chunks import StreamChunk
from patinox.core.producers import Producer
from patinox.errors import BufferFull, PatinoxError, StoreError, StreamFenced
from patinox.stores.base import Acknowledged, Append

if TYPE_CHECKING:
    from patinox.manager.journal import Journal
    from patinox.manager.writing import WritingSide

MAX_CHUNKS = 1024
MAX_BYTES = 2**20
"""Of one stream, pending; a single chunk may be larger."""
_RETRY_S = 0.1


class Tail:
    """Made by its stream, for a store that acknowledges later than at once."""

    def __init__(self, stream: WritingSide, journal: Journal, *, timeout_s: float) -> None:
        self.is_unsure = False
        self.failures = 0
        self.stream = stream
        self._journal = journal
        self._timeout_s = timeout_s
        self._log = stream.log
        self._loop = asyncio.get_running_loop()
        self._producers: dict[str, Acknowledged] = {}
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._failure: PatinoxError | None = None
        self._untold: PatinoxError | None = None
        self._taken: Append | None = None
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Tail of {self.stream.id}, {len(self._log.pending)} pending, fence {self.stream.fence}>"

    # ── writing ──

    @property
    def is_ready(self) -> bool:
        """Whether a chunk can be added now."""
        log = self._log
        has_room = len(log.pending) < MAX_CHUNKS and log.pending_bytes < MAX_BYTES
        return has_room and self.stream.is_mine and not self.is_unsure and self._untold is None

    @property
    def can_end(self) -> bool:
        """Whether an end record can be added now, which is not refused for want of room."""
        return self.stream.is_mine and not self.is_unsure

    def check_held(self) -> None:
        """Raises where this node does not hold the lease, or does not know where the log ends."""
        if self.is_unsure:
            raise StoreError("the store is away: what it has of this stream is not known yet")
        if not self.stream.is_mine:
            raise StreamFenced("another node writes this stream; to take it over has to be waited for")

    def check(self) -> None:
        """Raises where nothing can be added without waiting."""
        self._tell()
        self.check_held()
        if not self.is_ready:
            raise BufferFull("the store has yet to acknowledge what was written before")

    async def ready(self) -> None:
        """Waits until a chunk can be added: asks the store, takes the lease over, waits for room.

        Raises what was lost since somebody was told last, `StoreError`, or what `take_over` raises.
        """
        while not self.is_ready:
            self._tell()
            if self.is_unsure or not self.stream.is_mine:
                await self._settle_with_store()
            else:
                await self.acknowledged(self._log.head + 1)

    async def _settle_with_store(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s), self._turn:
                while self.is_unsure:
                    await self._resync()
                if not self.stream.is_mine and self.stream.is_open:
                    await self.stream.take_over()
        except TimeoutError:
            raise StoreError("the store does not answer") from None
        self.stream.check_open()

    async def _resync(self) -> None:
        try:
            await self.stream.resync()
        except StoreError:
            await asyncio.sleep(_RETRY_S)

    def _tell(self) -> None:
        untold, self._untold = self._untold, None
        if untold is not None:
            raise untold

    def add(self, data: Any, timestamp: float, payload: bytes, *, is_final: bool = False) -> StreamChunk:
        """Numbers a chunk, and has it taken to the store."""
        chunk = self._log.stage(data, timestamp, is_final=is_final, payload=payload)
        self._journal.mark(self, len(payload))
        return chunk

    def acknowledge_to(self, producer: str, acknowledged: Acknowledged) -> None:
        """Has a producer's number committed with what is pending."""
        self._producers[producer] = acknowledged

    # ── waiting ──

    async def acknowledged(self, sequence: int) -> None:
        """Waits until the store has this chunk, which is pending or was. Raises what became of it instead."""
        if sequence > self._log.head:
            waiter = self._loop.create_future()
            self._waiters.append((sequence, waiter))
            await waiter

    async def settled(self, since: int) -> None:
        """Waits until nothing is pending. Raises where something was lost after `failures` was `since`."""
        while self.failures == since and self._log.pending:
            await self.acknowledged(self._log.last)
        if self.failures != since and self._failure is not None:
            self._untold = None
            raise self._failure

    async def flushed(self) -> None:
        """Waits until nothing is pending. Raises what was lost since somebody was told last."""
        self._tell()
        await self.settled(self.failures)

    # ── the journal's side ──

    def take(self) -> Append | None:
        """All that is pending, for the store; None where that is nothing."""
        if not self._log.pending or self.is_unsure or not self.stream.is_mine:
            return None
        producers, self._producers = self._producers, {}
        self._taken = Append(self.stream.key, self.stream.fence, self._log.head, tuple(self._log.pending), producers)
        return self._taken

    def committed(self, append: Append) -> None:
        """The store has it."""
        if append is not self._taken:  # it was given up meanwhile
            return
        self._taken = None
        for chunk in self._log.commit(append.after + len(append.chunks)):
            self.stream.reveal(chunk)
        self.stream.feed.grown()
        head = self._log.head
        waiters = self._waiters
        while waiters and waiters[0][0] <= head:
            _resolve(waiters.popleft()[1])

    def lost(self, error: PatinoxError) -> None:
        """What is pending will not be acknowledged; who waits for it, or writes next, is told."""
        waiters, self._waiters = self._waiters, deque()
        count, self._taken = self._log.unstage(), None
        self._producers.clear()
        self.failures += 1
        self._failure = error
        if count > len(waiters):
            self._untold = error
        self.stream.is_not_ended()
        for _, waiter in waiters:
            _resolve(waiter, error)


class Burst:
    """Writes of one writer that are acknowledged together: `write` does not wait for the store, `flush` does.

    Raises from either where something of what was written meanwhile was lost.
    """

    __slots__ = ("_since", "_stream", "_tail")

    def __init__(self, stream: WritingSide) -> None:
        self._stream = stream
        self._tail = stream.tail
        self._since = 0 if self._tail is None else self._tail.failures

    async def write(self, data: Any) -> None:
        """Appends one chunk; waits for room, and where back-pressure says so."""
        await self._stream.put(data)
        self._check()

    async def produce(self, data: Any, producer: Producer) -> bool:
        """The same for an idempotent producer; False when it was appended before."""
        is_new = await self._stream.put_numbered(data, producer)
        self._check()
        return is_new

    async def flush(self) -> None:
        """Waits until the store has everything that was written."""
        if self._tail is not None:
            await self._tail.settled(self._since)
        elif self._stream.tail is not None:  # another node took it over meanwhile
            await self._stream.flush()

    def _check(self) -> None:
        tail = self._tail
        if tail is not None and tail.failures != self._since:
            raise StoreError("the store lost what was written before")


def _resolve(waiter: asyncio.Future[None], error: BaseException | None = None) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)
        waiter.exception()  # it may be that nobody waits any more
