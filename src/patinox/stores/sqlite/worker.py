"""The thread that owns the connection. Whatever calls have come together while it was busy are one transaction.

Its queue holds no more than there are callers waiting, each for the answer to one call.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from patinox.errors import PatinoxError, StoreError
from patinox.stores.sqlite.engine import Engine, Removed

T = TypeVar("T")

_MOST_AT_ONCE = 512  # calls in one transaction


class _Call(Generic[T]):
    """One call, and who waits for it. `then` hears the answer in the event loop, whether or not anybody still waits."""

    __slots__ = ("answer", "error", "future", "then", "work", "writes")

    def __init__(self, work: Callable[[Engine], T], writes: bool, then: Callable[[T], None] | None) -> None:
        self.work = work
        self.writes = writes
        self.then = then
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.answer: T | None = None
        self.error: Exception | None = None

    def settle(self) -> None:
        if self.error is None and self.then is not None:
            self.then(self.answer)  # type: ignore[arg-type]  # it has been answered
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.answer)  # type: ignore[arg-type]
        else:
            self.future.set_exception(self.error)


class Worker:
    """Runs calls on an engine that `make` opens in the thread; `failed` makes the store's error of another's.

    `on_removed` hears, in the event loop, of streams that are gone.
    """

    def __init__(
        self,
        make: Callable[[], Engine],
        failed: Callable[[Exception], StoreError],
        on_removed: Callable[[Sequence[Removed]], None],
    ) -> None:
        self._make = make
        self._failed = failed
        self._on_removed = on_removed
        self._calls: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._is_open = True
        self._is_sound = True
        self._thread = threading.Thread(target=self._run, name="patinox sqlite", daemon=True)

    def __repr__(self) -> str:
        return f"<Worker {'open' if self._is_open else 'closed'}, {self._calls.qsize()} calls wait>"

    async def start(self) -> None:
        """Opens the file. Raises `StoreError`."""
        self._thread.start()
        try:
            await asyncio.shield(self._ready)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends the thread when all that was called is done. Idempotent."""
        if self._is_open:
            self._is_open = False
            self._calls.put(None)
        await asyncio.shield(self._ended)

    async def read(self, work: Callable[[Engine], T]) -> T:
        """The answer of a call that writes nothing."""
        return await self._put(_Call(work, False, None))

    async def write(self, work: Callable[[Engine], T], then: Callable[[T], None] | None = None) -> T:
        """The answer of a call, once what it wrote is acknowledged. Cancelled, it may be done all the same."""
        return await self._put(_Call(work, True, then))

    async def _put(self, call: _Call[T]) -> T:
        if not self._is_open:
            raise StoreError("the store is closed")
        self._calls.put(call)
        return await call.future

    # ── in the thread ──

    def _run(self) -> None:
        try:
            engine = self._make()
        except Exception as error:
            self._post(self._reject, error if isinstance(error, PatinoxError) else self._failed(error))
        else:
            self._post(self._ready.set_result, None)
            with suppress(sqlite3.Error):
                self._serve(engine)
                engine.aclose()
        self._post(self._ended.set_result, None)

    def _reject(self, error: Exception) -> None:
        self._ready.set_exception(error)

    def _post(self, call: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the event loop has been closed: nobody waits any more
            self._loop.call_soon_threadsafe(call, *args)

    def _serve(self, engine: Engine) -> None:
        while True:
            calls, is_last = self._gather(engine)
            removed = self._do(engine, calls)
            if calls or removed:
                self._post(self._settle, calls, removed)
            if self._is_sound:
                engine.tidy()
            if is_last:
                return

    def _gather(self, engine: Engine) -> tuple[list[_Call[Any]], bool]:
        calls: list[_Call[Any]] = []
        try:
            call = self._calls.get(block=not (engine.has_chores and self._is_sound))
            while call is not None:
                calls.append(call)
                if len(calls) == _MOST_AT_ONCE:
                    return calls, False
                call = self._calls.get_nowait()
        except Empty:
            return calls, False
        return calls, True

    def _do(self, engine: Engine, calls: list[_Call[Any]]) -> list[Removed]:
        try:
            if not self._is_sound:
                engine.recover()
                self._is_sound = True
            if calls and not any(call.writes for call in calls):
                _answer(engine, calls)
                return []
            engine.begin()
            _answer(engine, calls)
            return engine.commit()
        except Exception as error:
            self._is_sound = False
            answer = error if isinstance(error, StoreError) else self._failed(error)
            for call in calls:
                call.error = answer
            return []

    # ── in the event loop ──

    def _settle(self, calls: Sequence[_Call[Any]], removed: Sequence[Removed]) -> None:
        for call in calls:
            call.settle()
        if removed:
            self._on_removed(removed)


def _answer(engine: Engine, calls: Sequence[_Call[Any]]) -> None:
    for call in calls:
        try:
            call.answer = call.work(engine)
        except PatinoxError as error:
            call.error = error
