"""A feed: one log as its readers see it. It owns the views and knows who reads, and is told when the log grew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from patinox.core.attach import After, Attachment, LogFacts, attach
from patinox.core.chunks import Outcome, StreamChunk
from patinox.core.log import StreamLog
from patinox.delivery.view import ReadPage, View
from patinox.delivery.wire import Wire
from patinox.formats.base import Format, StreamHead
from patinox.incremental.assembler import Assembly


class Feed:
    """What the readers of one stream share.

    `on_growth` is called with the feed when there is something new to deliver; `on_readers` when the number of readers
    has changed.
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
    ) -> None:
        self.log = log
        self.assembly = assembly
        self.head = head
        self.outcome: Outcome | None = None
        self.readers = 0
        self.views: dict[tuple[str, str], View] = {}
        self._read = read
        self._whole = whole
        self._on_growth = on_growth
        self._on_readers = on_readers
        self._waiters: list[asyncio.Future[None]] = []

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
        return attach(after, facts)

    def view(self, format_: Format[Any], wire: Wire) -> View:
        """The view for this format on this wire; made at the first call."""
        key = (format_.name, wire.name)
        view = self.views.get(key)
        if view is None:
            view = self.views[key] = View(self.log, self.assembly, self.head, format_, wire, self.read)
        return view

    async def read(self, after: int, limit: int) -> Sequence[StreamChunk]:
        """Up to `limit` chunks after `after`: from the window where it has them, else from the store."""
        if after >= self.log.first - 1:
            return self.log.slice(after, limit)
        return await self._read(after, limit)

    def join(self) -> None:
        """Counts a reader in."""
        self.readers += 1
        self._on_readers()

    def leave(self) -> None:
        """Counts a reader out."""
        self.readers -= 1
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
