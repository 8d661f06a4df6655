"""Driving by hand many awaitables that mostly finish without waiting, each a server's `send`.

A coroutine that is driven by itself says that it is done with a StopIteration, which costs more than all the rest. A
`Driver` has one coroutine that awaits them one after the other: what is awaited returns without an exception, and that
it is done is said by what the coroutine yields. One that has to wait keeps this coroutine until it is done; the driver
makes itself another.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Generator
from typing import Any, Final

_DONE: Final = object()  # nothing that an event loop is ever yielded
_Coroutine = types.CoroutineType

_Driven = Generator[Any, Any, None]


class Driver:
    """Starts awaitables, for one event loop."""

    __slots__ = ("_driven",)

    def __init__(self) -> None:
        self._driven: _Driven | None = None  # what can take the next; not while it runs

    def start(self, awaitable: Awaitable[None]) -> Awaitable[None] | None:
        """Runs an awaitable up to where it would wait: None when it is done, else what finishes it.

        Raises what it raises.
        """
        driven, self._driven = self._driven, None
        if driven is None:
            driven = _drive()
            driven.send(None)
        waiting_for = driven.send(awaitable)
        if waiting_for is not _DONE:
            return _finish(driven, waiting_for)
        self._driven = driven
        return None


@types.coroutine
def _drive_awaitables() -> _Driven:
    while True:
        awaitable = yield _DONE
        if type(awaitable) is _Coroutine:
            yield from awaitable  # type: ignore[misc]  # from a generator that is marked as a coroutine
        else:
            yield from awaitable.__await__()
        del awaitable


_drive: Any = _drive_awaitables


@types.coroutine
def _finish(driven: _Driven, waiting_for: Any) -> Generator[Any, Any, None]:
    """Runs what was started to its end. Futures are handed on to whoever awaits this, as `sink.finish` does."""
    try:
        while waiting_for is not _DONE:
            try:
                value = yield waiting_for
            except BaseException as error:  # cancellation too: it belongs to the awaitable that waits
                waiting_for = driven.throw(error)
            else:
                waiting_for = driven.send(value)
    finally:
        driven.close()
