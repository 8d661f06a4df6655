"""ActiveStream: the handle on one stream that its producers and its readers share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from patinox.config.choices import Retain
from patinox.core.attach import After
from patinox.core.chunks import End, Error, StreamChunk
from patinox.core.codec import parse_event_id
from patinox.core.lifecycle import State
from patinox.delivery.feed import Feed
from patinox.delivery.pacing import Pacing
from patinox.delivery.subscription import ChunkSubscription
from patinox.errors import NotAssembled, StoreError
from patinox.formats.base import StreamHead
from patinox.manager.ending import StreamOptions, error_of
from patinox.manager.writing import WritingSide
from patinox.stores.base import StreamFacts, StreamRecord

if TYPE_CHECKING:
    from patinox.manager.streams import StreamManager

__all__ = ["ActiveStream", "StreamOptions", "error_of", "parse_after"]

_PAGE = 256


class ActiveStream(WritingSide):
    """One stream: written once, read by anyone.

    Made by `StreamManager.create`. `write` takes text, bytes wrapped in `Binary`, `Json`, neutral events; `finish`,
    `fail` and `cancel` end it. Every method raises `StreamClosed` when the stream has ended, but for `cancel`.
    """

    def __init__(
        self,
        head: StreamHead,
        options: StreamOptions,
        manager: StreamManager,
        *,
        clock: Callable[[], float],
        on_growth: Callable[[Feed], None],
        record: StreamRecord | None = None,
    ) -> None:
        super().__init__(head, options, manager, clock=clock, record=record)
        self.channel: str | None = None
        self.pipeline = ""
        self.idle_since_s: float | None = None
        self._watched_until_s = 0.0
        self._store = manager.store
        self._abandon_timer: asyncio.TimerHandle | None = None
        self.feed = Feed(
            self.log, self.assembly, head, self._read, whole=options.retain is Retain.FULL,
            on_growth=on_growth, on_readers=self._readers_changed, counters=manager.counters,
        )  # fmt: skip
        self.pacing = pacing = Pacing(self.feed, self._config.backpressure, self._overflow)
        self.feed.overdue, self.feed.on_join, self.feed.on_leave = pacing.overdue, pacing.joined, pacing.left
        if not self._store.is_immediate:
            self.feed.look_further = self._look_further
        if record is not None:
            self._restore(record)

    def _restore(self, record: StreamRecord) -> None:
        self.channel, self.pipeline = record.facts.channel, record.facts.pipeline
        self.producers.restore(record.producers)
        if record.outcome is not None:
            self.feed.outcome, self.ended_s = record.outcome, record.ended_s
            self._state = State(record.outcome)

    def __repr__(self) -> str:
        return f"<ActiveStream {self.id} {self.state} at {self.position}, {self.feed.readers} readers>"

    @property
    def facts(self) -> StreamFacts:
        """What a store keeps of it beside its chunks."""
        head, options = self._head, self.options
        return StreamFacts(
            key=self.key, epoch=head.epoch, created_s=head.created_s, ttl_s=options.ttl_s,
            metadata=dict(head.metadata), owner=head.owner, channel=self.channel,
            retain=options.retain, on_abandon=str(options.on_abandon), pipeline=self.pipeline,
        )  # fmt: skip

    @property
    def owner(self) -> str:
        """Who created it; empty where nobody was asked."""
        return self._head.owner

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the stream was created with."""
        return self._head.metadata

    @property
    def created_s(self) -> float:
        """When it was created, in seconds since 1970."""
        return self._head.created_s

    @property
    def position(self) -> str:
        """The event id of the last record."""
        return f"{self.epoch}-{self.log.head}"

    # ── reading ──

    def subscribe(self, after: After | str | None = None) -> ChunkSubscription:
        """The chunks after an event id (or `start`, `now`, `snapshot`), as an async iterator."""
        return ChunkSubscription(self.feed, parse_after(after))

    def snapshot(self) -> dict[str, Any]:
        """Everything so far: `{id, epoch, state, position, created, metadata, content, blocks, usage, error, …}`.

        Raises `NotAssembled` for one that was in the store already and was not assembled since.
        """
        if self.feed.folded < self.log.head:
            raise NotAssembled("await stream.assemble() before its content is asked for")
        facts = {"id": self.id, "epoch": self.epoch, "state": self.state, "position": self.position}
        return {**facts, "created": self.created_s, "metadata": self.metadata, **self.assembly.snapshot()}

    async def assemble(self) -> None:
        """Puts the content together, from the store where it has to; no-op for a stream that was written here."""
        await self.feed.assemble()

    def describe(self) -> dict[str, Any]:
        """The facts without the content."""
        facts = {"id": self.id, "epoch": self.epoch, "state": self.state, "position": self.position}
        more: dict[str, Any] = {"created": self.created_s, "metadata": self.metadata, "readers": self.feed.readers}
        if self.channel is not None:
            more["channel"] = self.channel
        if self.intake is not None:
            more |= {"pipeline": self.intake.name, "held": self.intake.held}
        return {**facts, **more, "retain": self.options.retain, "on_abandon": str(self.options.on_abandon)}

    def stats(self) -> dict[str, Any]:
        """Figures: records, bytes, readers, the largest lag among them, evictions, and what was told and dropped."""
        window, lag = self.log.window, self.feed.lag
        return {
            "state": self.state, "head": self.log.head, "bytes": self.log.size_bytes, "readers": self.feed.readers,
            "lag": lag, "lag_bytes": self.log.bytes_after(self.log.head - lag),
            "window_chunks": len(window), "window_bytes": window.size_bytes, "evicted": window.evicted,
            "refused": window.refused, "views": len(self.feed.views), "pauses": self.pacing.handler.pauses,
            **self.feed.counters.as_dict(),
        }  # fmt: skip

    async def _read(self, after: int, limit: int) -> Sequence[StreamChunk]:
        try:
            async with asyncio.timeout(self._config.store_timeout_s):
                return await self._store.read(self.key, after, limit)
        except TimeoutError:
            raise StoreError("the store does not answer") from None

    # ── what the store has of it ──

    async def _look_further(self) -> None:
        try:
            async with asyncio.timeout(self._config.store_timeout_s):
                await self.resync()
        except TimeoutError:
            raise StoreError("the store does not answer") from None

    async def resync(self) -> None:
        """Learns what the store has of it, after an append whose outcome is not known. Raises `StoreError`."""
        record = await self._store.load(self.key)
        await self.catch_up(record)
        self.producers.restore(record.producers)
        if self.tail is not None:
            self.tail.is_unsure = False
        self.manager.leases.compare(self, record)
        self.meet_doom()

    async def take_over(self) -> None:
        """Makes this node the one that writes it. Raises what `take_over` of the store does, `StreamElsewhere`."""
        await self.manager.leases.take_over(self)

    async def cancel_elsewhere(self, reason: str | None) -> bool:
        """Has the node that writes it cancel it; True where it is to be ended here instead."""
        return await self.manager.leases.cancel_elsewhere(self, reason)

    async def catch_up(self, record: StreamRecord) -> None:
        """Takes what the store has after the head into the window, or at least its newest part."""
        if record.head - self.log.head > self._config.buffer_size:
            self.log.skip(record.head - self._config.buffer_size // 2, record.size_bytes)
        while self.log.head < record.head:
            page = await self._read(self.log.head, _PAGE)
            if not page:
                raise StoreError(f"the store has {record.head} records, and gives none after {self.log.head}")
            self.take_all(page)

    def take_all(self, chunks: Sequence[StreamChunk]) -> None:
        """Takes chunks that the store has; those that are here already are passed over."""
        for chunk in chunks:
            if chunk.sequence == self.log.head + 1:
                self.log.adopt(chunk)
                self.reveal(chunk)
        self.feed.grown()

    # ── readers ──

    def _readers_changed(self) -> None:
        if self.feed.readers:
            self.manager.shelf.wanted(self)
        delay_s = self.options.on_abandon.cancel_after_s
        if delay_s is not None and self.is_open and self.is_mine:
            self._watch_abandonment(delay_s)

    def _watch_abandonment(self, delay_s: float) -> None:
        self._stop_abandon_timer()
        if not self.feed.readers:
            loop = asyncio.get_running_loop()
            wait_s = delay_s + max(0.0, self._watched_until_s - loop.time())
            self._abandon_timer = loop.call_later(wait_s, self.cancel_nowait, "nobody watched it any more")

    def watched_elsewhere(self, for_s: float) -> None:
        """Somebody reads it on another node, for so long at least."""
        self._watched_until_s = asyncio.get_running_loop().time() + for_s
        self._readers_changed()

    def _stop_abandon_timer(self) -> None:
        if self._abandon_timer is not None:
            self._abandon_timer.cancel()
            self._abandon_timer = None

    def _has_ended(self, record: End | Error) -> None:
        if self.is_mine and self.feed.outcome is not None:
            self.manager.figures.ended_as(self.feed.outcome, self, record)
        super()._has_ended(record)

    def _let_producer_go(self) -> None:
        super()._let_producer_go()
        self._stop_abandon_timer()


def parse_after(text: After | str | None) -> After:
    """`start`, `now`, `snapshot` or an event id; None is `start`. Raises `InvalidEventId`."""
    if text is None or text == "start":
        return "start"
    if text == "now" or text == "snapshot" or not isinstance(text, str):
        return text  # type: ignore[return-value]
    return parse_event_id(text)
