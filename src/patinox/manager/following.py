"""Following: how a node keeps up with a stream that another one writes.

    watch ─▶ load ─▶ the log stands at the record's head ─▶ news: chunks that fit are taken as they are,
                                                            anything else is read from the store

One watch a stream, however many readers it has here; until it is put back, since it may be deleted after its end. What
is watched may come late, twice or not at all (`Unsure`): a chunk is taken only if it is the next one, and where one is
missing the store is read, so readers see no seam.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from patinox.errors import PatinoxError, StoreError, StreamGone, StreamNotFound
from patinox.stores.base import Deleted, Grown, News, Store, TakenOver, Unwatch

if TYPE_CHECKING:
    from patinox.manager.stream import ActiveStream

_RETRY_S = 0.25
_log = logging.getLogger("patinox.store")


class Following:
    """Of one stream. Owns its watch, and the task that reads what was missed."""

    def __init__(self, stream: ActiveStream, store: Store) -> None:
        self._stream = stream
        self._store = store
        self._unwatch: Unwatch | None = None
        self._task: asyncio.Task[None] | None = None
        self._must_look = False
        self._is_over = False

    def __repr__(self) -> str:
        return f"<Following {self._stream.id} at {self._stream.log.head}>"

    async def start(self) -> None:
        """Watches, and takes what the store has by then. Raises `StoreError`."""
        self._unwatch = await self._store.watch(self._stream.key, self._told)
        if self._is_over:
            self.stop()
            return
        await self._look()

    def begin(self) -> None:
        """The same, in a task, until it succeeds."""
        self.look_soon()

    def stop(self) -> None:
        """Stops watching. Idempotent."""
        self._is_over = True
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _told(self, news: News) -> None:
        stream = self._stream
        match news:
            case Grown(head, chunks):
                if self._task is None and chunks and chunks[0].sequence <= stream.log.head + 1:
                    stream.take_all(chunks)
                if head > stream.log.head:
                    self.look_soon()
            case Deleted():
                stream.manager.shelf.gone(stream)
            case TakenOver():
                pass  # whoever writes it: it is followed
            case _:
                self.look_soon()

    def look_soon(self) -> None:
        """Has the store looked at, in a task: something is missing, or may be."""
        self._must_look = True
        if self._task is None and not self._is_over:
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._catch_up(), name=f"patinox follow {self._stream.id}")

    async def _catch_up(self) -> None:
        try:
            while self._must_look:
                self._must_look = False
                try:
                    await (self._look() if self._unwatch is not None else self.start())
                except StoreError as error:
                    _log.debug("%r: %s", self, error)
                    self._must_look = True
                    await asyncio.sleep(_RETRY_S)
        finally:
            self._task = None

    async def _look(self) -> None:
        try:
            await self._stream.catch_up(await self._store.load(self._stream.key))
        except (StreamGone, StreamNotFound):
            self._stream.manager.shelf.gone(self._stream)
        except StoreError:
            raise
        except PatinoxError as error:
            _log.warning("%r: %s", self, error)
