"""A feed: one log as its readers see it. It owns the views and knows who reads, and is told when the log grew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from patinox.core.attach import After, Attachment, LogFacts, attach
from patinox.core.chunks import EventId, Outcome, StreamChunk
from patinox.core.log import StreamLog
from patinox.delivery.counters import DeliveryCounters
from patinox.delivery.view import ReadPage, View
from patinox.delivery.wire import Wire
from patinox.errors import StreamGone
from patinox.formats.base import Format, StreamHead
from patinox.incremental.assembler import Assembly

_FOLD_PAGE = 256


class Member(Protocol):
    """A reader, as those see it who wait for it or judge it.

    `cursor` is the last sequence it was given, `since` the head when it came or was last moved there. It `is_waiting`
    when it takes whatever comes, and `is_lost` when it was let go.
    """

    cursor: int
    since: int
    is_lost: bool

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is on its way to it that it has not taken."""
        ...


def _ignore(member: Member) -> None:
    """Nobody wants to know."""


class Feed:
    """What the readers of one stream share.

    `members` are all that read it; `overdue` says which of them have lagged too far. The assembly is `folded` up to a
    record: it goes along with what is written here; of a log that was in a store it is folded when it is needed.

    `on_growth` is called with the feed when there is something new to deliver; `on_readers` when the number of readers
    has changed; `on_join` and `on_leave` with the member that has come or gone. `look_further` is waited for when a
    reader has read further, on another node, than has been heard of here.
    """

    def __init__(
        self,
        log: StreamLog,
        assembly: Assembly,
        head: StreamHead,
        read: ReadPage,
        *,
        whole: bool,
        on_growth: Callable[[Feed], None],
        on_readers: Callable[[], None] = lambda: None,
        counters: DeliveryCounters | None = None,
    ) -> None:
        self.log = log
        self.assembly = assembly
        self.folded = 0
        self.head = head
        self.outcome: Outcome | None = None
        self.members: dict[Member, None] = {}
        self.counters = DeliveryCounters(counters)
        self.views: dict[tuple[str, str], View] = {}
        self.overdue: Callable[[], Iterable[tuple[Any, bool]]] = tuple
        self.look_further: Callable[[], Awaitable[None]] | None = None
        self.on_join: Callable[[Any], None] = _ignore
        self.on_leave: Callable[[Any], None] = _ignore
        self._read = read
        self._whole = whole
        self._on_growth = on_growth
        self._on_readers = on_readers
        self._waiters: list[asyncio.Future[None]] = []
        self._paced: dict[asyncio.Future[None], Callable[[Any], bool]] = {}
        self._holds = 0

    def __repr__(self) -> str:
        return f"<Feed {self.head.id} head={self.log.head} readers={self.readers}>"

    @property
    def ended(self) -> bool:
        """Whether the end record is in the log."""
        return self.outcome is not None

    @property
    def went_wrong(self) -> bool:
        """Whether the stream ended, and not as complete or incomplete."""
        return self.outcome not in (None, Outcome.COMPLETE, Outcome.INCOMPLETE)

    @property
    def oldest(self) -> int:
        """The lowest sequence that can still be read."""
        return 1 if self._whole else self.log.first

    def attach(self, after: After, *, snapshots: bool = True) -> Attachment:
        """Where a reader that asks for `after` stands now; `snapshots` says whether it can be told one."""
        has_snapshot = snapshots and self.assembly.available
        facts = LogFacts(self.log.epoch, self.log.head, self.oldest, self.ended, has_snapshot)
        attachment = attach(after, facts)
        self.counters.attach(attachment.outcome)
        if attachment.gap is not None:
            self.counters.gap("evicted")
        return attachment

    def fold(self, chunk: StreamChunk) -> None:
        """Takes the newest chunk into the assembly, where that has all before it."""
        if self.folded == chunk.sequence - 1:
            self.assembly.apply(chunk)
            self.folded = chunk.sequence

    async def assemble(self) -> None:
        """Folds everything into the assembly, up to the head; page by page from the store where it has to."""
        while self.folded < self.log.head:
            page = await self.read(self.folded, _FOLD_PAGE)
            if not page or page[0].sequence > self.folded + 1:
                raise StreamGone(f"stream {self.head.id!r} is no longer kept")
            for chunk in page:
                self.fold(chunk)
            await asyncio.sleep(0)

    async def prepare(self, after: After, format_: Format[Any], *, snapshots: bool = True) -> None:
        """To be waited for before a reader attaches: has the assembly ready, where it is needed, and what it has read.

        Raises `StoreError` where it is not known whether there is what the reader says it has read.
        """
        if self.look_further is not None and self.outcome is None and self._is_beyond(after):
            await self.look_further()
        if not format_.stateless or (snapshots and after == "snapshot"):
            await self.assemble()

    def _is_beyond(self, after: After) -> bool:
        return isinstance(after, EventId) and after.epoch == self.log.epoch and after.sequence > self.log.head

    def view(self, format_: Format[Any], wire: Wire) -> View:
        """The view for this format on this wire; made at the first call."""
        key = (format_.name, wire.name)
        view = self.views.get(key)
        if view is None:
            oldest = None if self._whole else lambda: self.oldest
            view = self.views[key] = View(self.log, self.assembly, self.head, format_, wire, self.read, oldest)
        return view

    async def read(self, after: int, limit: int) -> Sequence[StreamChunk]:
        """Up to `limit` chunks after `after`: from the window where it has them, else from the store."""
        if after >= self.log.first - 1:
            return self.log.slice(after, limit)
        return await self._read(after, limit)

    @property
    def readers(self) -> int:
        """How many read it, or wait for something of it."""
        return len(self.members) + self._holds

    @property
    def lag(self) -> int:
        """How many records the furthest reader is behind the head."""
        head = self.log.head
        return max((head - member.cursor for member in self.members), default=0)

    def join(self, member: Member) -> None:
        """Counts a reader in."""
        self.members[member] = None
        self.on_join(member)
        self.progressed(member)
        self._on_readers()

    def leave(self, member: Member) -> None:
        """Counts a reader out. Idempotent."""
        if member in self.members:
            del self.members[member]
            self.on_leave(member)
            self.progressed()
            self._on_readers()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Somebody waits for this stream without reading it: it is not abandoned."""
        self._holds += 1
        self._on_readers()
        try:
            yield
        finally:
            self._holds -= 1
            self._on_readers()

    def grown(self) -> None:
        """Says that the log grew, or ended."""
        self._on_growth(self)

    def wake(self) -> None:
        """Wakes the readers that pull."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def progressed(self, member: Member | None = None) -> None:
        """Says that a reader came further (None: any of them, or one has left): a paced producer looks again."""
        if self._paced:
            for waiter, matters in self._paced.items():
                if not waiter.done() and (member is None or matters(member)):
                    waiter.set_result(None)

    async def progress(self, timeout_s: float | None, matters: Callable[[Any], bool]) -> None:
        """Waits until a reader that `matters` has come further, one has left, or `timeout_s` is over."""
        waiter = asyncio.get_running_loop().create_future()
        self._paced[waiter] = matters
        try:
            await asyncio.wait((waiter,), timeout=timeout_s)
        finally:
            waiter.cancel()
            del self._paced[waiter]

    async def end(self) -> None:
        """Waits until the stream has ended."""
        while not self.ended:
            await self.beyond(self.log.head)

    async def beyond(self, cursor: int) -> None:
        """Waits until there is something after `cursor`, or the stream has ended."""
        while self.log.head <= cursor and not self.ended:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if not waiter.done() or waiter.cancelled():
                    self._waiters = [other for other in self._waiters if other is not waiter]
