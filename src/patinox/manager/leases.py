"""Leases: which node writes a stream, and what becomes of one whose node has died.

    create, take over ─▶ held ─▶ renewed, all in one call ─▶ ended, or let go
                           └─ taken over by another node: its producer is stopped, and it is followed from now on
    every node looks for orphans, open streams whose lease is over: whoever sees one first ends it as `interrupted`

A lease lasts three quarters of `lease_ttl`; every fifth of it all are renewed, and orphans are looked for: a stream
whose node has died ends within `lease_ttl`. A store that was away let leases go that are none the worse for it,
and so did a server that was not there: for one `lease_ttl` after the start, and after the store is back, nobody is
judged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from patinox.core.chunks import Error, Outcome
from patinox.core.keys import StreamKey
from patinox.errors import (
    PatinoxError,
    StoreError,
    StreamClosed,
    StreamElsewhere,
    StreamFenced,
    StreamGone,
    StreamNotFound,
)
from patinox.stores.base import CancelAsked, Deleted, StreamRecord, TakenOver, Unwatch, Watched, Wish
from patinox.stores.tasks import end

if TYPE_CHECKING:
    from patinox.manager.ending import EndingSide
    from patinox.manager.stream import ActiveStream
    from patinox.manager.streams import StreamManager
    from patinox.manager.tail import Tail

RELEASED = 6
"""How many `lease_ttl` a stream is left for its producer to come back to another node, by a node that leaves."""
_LEASE, _RENEW = 0.75, 0.2
_ORPHANS = 100
_SLICE = 1000
_ASK_S = 0.5
"""How long a cancel waits for the node that writes before it takes the stream over."""

_log = logging.getLogger("patinox.leases")


class Leases:
    """Of one manager; `node` names it among all that share the store."""

    def __init__(self, manager: StreamManager, node: str) -> None:
        self.node = node
        self._manager = manager
        self._store = manager.store
        self._ttl_s = manager.config.lease_ttl_s
        self._held: dict[StreamKey, ActiveStream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unattend: Unwatch | None = None
        self._judge_at_s = 0.0

    def __repr__(self) -> str:
        return f"<Leases of {self.node}, {len(self._held)} held>"

    def __len__(self) -> int:
        return len(self._held)

    @property
    def lease_s(self) -> float:
        """For how long the store is asked to hold a lease."""
        return self._ttl_s * _LEASE

    def start(self) -> None:
        """Begins to attend, to renew, and to look for orphans."""
        self._postpone_judgement()
        self._spawn(self._keep_on())

    async def aclose(self) -> None:
        """Ends; what is still held is left to be taken over, for a while."""
        await end(self._tasks)
        try:
            async with asyncio.timeout(self._manager.config.store_timeout_s):
                await self._renew(self._ttl_s * RELEASED)
        except (StoreError, TimeoutError) as error:
            _log.warning("leases could not be left in order: %s", error)
        if self._unattend is not None:
            self._unattend()

    # ── one stream's ──

    def hold(self, stream: ActiveStream, fence: int) -> None:
        """This node writes a stream, under `fence`."""
        self._held[stream.key] = stream
        stream.is_mine, stream.fence = True, fence
        if self._store.is_immediate:
            stream.tail = None
        elif stream.tail is None:
            stream.tail = self._manager.new_tail(stream)

    def drop(self, stream: EndingSide) -> None:
        """It has ended, or is written elsewhere."""
        if self._held.get(stream.key) is stream:
            del self._held[stream.key]

    async def take_over(self, stream: ActiveStream) -> None:
        """Has this node write a stream. Raises what the store does; `StreamElsewhere` where it can't be."""
        if stream.pipeline:
            raise StreamElsewhere(
                f"stream {stream.id!r} has the pipeline {stream.pipeline!r} on another node, which alone writes it"
            )
        record = await self._store.take_over(stream.key, self.node, self.lease_s)
        await stream.catch_up(record)
        stream.producers.restore(record.producers)
        self._manager.shelf.unfollow(stream)
        self.hold(stream, record.fence)

    def lose(self, stream: ActiveStream) -> None:
        """Another node writes it: its producer here is stopped, what was pending lost, and it is followed."""
        self.drop(stream)
        if not stream.is_mine:
            return
        stream.is_mine = False
        if stream.tail is None:
            stream.tail = self._manager.new_tail(stream)
        stream.tail.lost(StreamFenced(f"another node writes stream {stream.id!r} now"))
        stream.fenced()
        self._manager.shelf.follow_soon(stream)

    def compare(self, stream: ActiveStream, record: StreamRecord) -> None:
        """Gives a stream up where the store says that another node writes it."""
        if record.outcome is None and stream.is_mine and (record.node, record.fence) != (self.node, stream.fence):
            self.lose(stream)

    def refused(self, tail: Tail, error: PatinoxError) -> None:
        """The store has not taken what was pending."""
        stream = self._manager.held(tail.stream.key)
        if stream is None or stream is not tail.stream:
            return
        if isinstance(error, StreamFenced):
            self.lose(stream)
        elif isinstance(error, StreamGone | StreamNotFound):
            self._manager.shelf.gone(stream)
        elif isinstance(error, StreamClosed):
            self._manager.journal.unsure(tail)
        elif stream.is_fed:
            stream.dooms(Outcome.INTERRUPTED, Error("interrupted", "the store was away", retryable=True))

    # ── cancelling elsewhere ──

    async def cancel_elsewhere(self, stream: ActiveStream, reason: str | None) -> bool:
        """Has the node that writes a stream cancel it; one that does not do so in time has it taken over.

        True where it is written here now, and still open: then it is to be ended here.
        """
        if stream.feed.ended:
            return False
        with stream.feed.held():  # followed meanwhile
            await self._store.tell(stream.key, CancelAsked(reason))
            try:
                async with asyncio.timeout(_ASK_S):
                    await stream.feed.end()
                    return False
            except TimeoutError:
                pass
            try:
                await self._seize(stream)
            except StreamClosed:
                await stream.resync()
                return False
        return True

    async def _seize(self, stream: ActiveStream) -> None:
        """Takes over to end: that needs no pipeline."""
        record = await self._store.take_over(stream.key, self.node, self.lease_s)
        await stream.catch_up(record)
        self._manager.shelf.unfollow(stream)
        self.hold(stream, record.fence)

    # ── what others want ──

    async def _attend(self) -> None:
        while self._unattend is None:
            try:
                self._unattend = await self._store.attend(self.node, self._told)
            except StoreError as error:
                _log.debug("cannot attend yet: %s", error)
                await asyncio.sleep(self._ttl_s * _RENEW)

    def _told(self, key: StreamKey, news: Wish | TakenOver | Deleted) -> None:
        stream = self._manager.held(key)
        if stream is None:
            return
        match news:
            case CancelAsked(reason):
                self._spawn(self._cancel(stream, reason))
            case Watched(for_s):
                stream.watched_elsewhere(for_s)
            case TakenOver(node):
                if node != self.node:
                    self.lose(stream)
            case Deleted():
                self._manager.shelf.gone(stream)

    async def _cancel(self, stream: ActiveStream, reason: str | None) -> None:
        try:
            await stream.cancel(reason)
        except PatinoxError as error:
            _log.debug("%r was not cancelled: %s", stream, error)

    # ── as time passes ──

    async def _keep_on(self) -> None:
        await self._attend()
        while True:
            await asyncio.sleep(self._ttl_s * _RENEW)
            try:
                async with asyncio.timeout(self._ttl_s):
                    await self._renew(self.lease_s)
                    await self._say_who_is_watched()
                    await self.look_for_orphans()
            except (StoreError, TimeoutError) as error:
                self._postpone_judgement()
                _log.debug("leases were not looked after: %s", error)
            await self._manager.shelf.tidy()

    async def _renew(self, lease_s: float) -> None:
        held = tuple(self._held.items())
        for begin in range(0, len(held), _SLICE):
            part = {key: stream.fence for key, stream in held[begin : begin + _SLICE] if stream.is_mine}
            lost = await self._store.renew(part, self.node, lease_s) if part else ()
            for key in lost:
                stream = self._held.get(key)
                if stream is not None:
                    await self._look_at(stream)

    async def _look_at(self, stream: ActiveStream) -> None:
        try:
            await stream.resync()
        except StoreError:
            raise
        except PatinoxError:
            self._manager.shelf.gone(stream)

    async def _say_who_is_watched(self) -> None:
        for stream in self._manager.shelf.followed:
            if stream.feed.readers:
                await self.say_watched(stream)

    async def say_watched(self, stream: ActiveStream) -> None:
        """Tells the node that writes a stream that somebody reads it here, where that matters to it."""
        if stream.options.on_abandon.cancel_after_s is not None:
            await self._store.tell(stream.key, Watched(self._ttl_s * _RENEW * 2.5))

    async def look_for_orphans(self) -> int:
        """Ends streams whose node has died; how many."""
        orphans = [key for key in await self._store.orphans(_ORPHANS) if key not in self._held]
        if not orphans or asyncio.get_running_loop().time() < self._judge_at_s:
            return 0
        ended = 0
        for key in orphans:
            try:
                ended += await self._end_orphan(key)
            except StoreError:
                raise
            except PatinoxError as error:  # somebody was faster, or it is gone
                _log.debug("orphan %s: %s", key.id, error)
        return ended

    async def _end_orphan(self, key: StreamKey) -> bool:
        stream = await self._manager.shelf.open(key)
        if not stream.is_open:
            return False
        await self._seize(stream)
        done = stream.interrupt_nowait("the node that wrote it has died")
        await stream.flush()
        return done

    def _postpone_judgement(self) -> None:
        self._judge_at_s = asyncio.get_running_loop().time() + self._ttl_s

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="patinox leases")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
