"""Driving by hand the `send` of many ASGI connections, which mostly finishes without waiting.

    start_all(sends, events): one coroutine awaits one `send` after the other
        ├─ none has to wait → that was all
        ├─ one has to wait  → the coroutine is that one's from here on, and another goes on with the rest
        └─ one raises       → its error is kept, and the rest go on

A coroutine that is driven by itself says that it is done with a StopIteration, which costs more than all the rest. Here
what is awaited returns without an exception, and a message to a thousand readers is what it would be in a loop of their
own: a `for`, and an `await` that returns.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Generator, MutableMapping, Sequence
from operator import length_hint
from typing import Any, Final

from patinox.delivery.sink import Left, Send

_DONE: Final = object()  # nothing that an event loop is ever yielded
_Coroutine = types.CoroutineType

_Driven = Generator[Any, Any, None]
_Errors = list[tuple[int, Exception]]
"""What was raised, by how many sends were still to come."""

Events = Sequence[MutableMapping[str, Any]]


class Driver:
    """Sends ASGI events, for one event loop."""

    __slots__ = ("_driven",)

    def __init__(self) -> None:
        self._driven: _Driven | None = None  # what can take the next; not while it runs

    def start(self, send: Send, events: Events) -> Awaitable[None] | None:
        """Sends events one after the other, up to where that would wait: None when all are sent, else what sends on.

        Raises what `send` raises; the events after that one are not sent.
        """
        outcome = self.start_all((send,), events).get(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def start_all(self, sends: Sequence[Send], events: Events) -> Left:
        """The same over several connections: what waits and what was raised, by their places in `sends`.

        Each `send` is given events of its own to keep or change: middlewares write into them (Starlette's GZip does).
        """
        left: Left = {}
        rest, errors = iter(sends), _Errors()
        while True:
            driven, self._driven = self._driven, None
            if driven is None:
                driven = _drive()
                driven.send(None)
            waiting_for = driven.send((rest, events, errors))
            for to_come, error in errors:
                left[len(sends) - 1 - to_come] = error
            if waiting_for is _DONE:
                self._driven = driven
                return left
            to_come = length_hint(rest)
            own, errors = errors, _Errors()
            own.clear()
            left[len(sends) - 1 - to_come] = _finish(driven, waiting_for, own)
            rest = iter([*rest])  # taken out of the iterator of the one that waits: it has no other to go on with

    async def try_out(self, send: Send, events: Events) -> bool:
        """Sends events, and sees whether this `send` can be driven.

        A server's own finishes at once, called from anywhere. A middleware between may need a task, or hand the event
        to one (Starlette's BaseHTTPMiddleware): it raises or has to wait when it is called outside of one, and is to be
        left to tasks from then on.
        """
        loop = asyncio.get_running_loop()
        tried: asyncio.Future[Awaitable[None] | None] = loop.create_future()
        loop.call_soon(self._attempt, tried, send, events)
        try:
            pending = await tried
        except OSError:
            raise
        except Exception:
            for event in events:
                await send({**event})
            return False
        if pending is not None:
            await pending
        return pending is None

    def _attempt(self, tried: asyncio.Future[Awaitable[None] | None], send: Send, events: Events) -> None:
        """From the event loop itself, outside of any task."""
        if tried.done():  # whoever asked was cancelled
            return
        try:
            pending = self.start(send, events)
        except Exception as error:
            tried.set_exception(error)
        else:
            tried.set_result(pending)


@types.coroutine
def _drive_sends() -> _Driven:
    sends: Any
    events: Any
    errors: Any
    while True:
        sends, events, errors = yield _DONE
        for send in sends:
            try:
                for event in events:
                    awaitable = send({**event})
                    if type(awaitable) is _Coroutine:
                        yield from awaitable  # type: ignore[misc]  # from a generator that is marked as a coroutine
                    else:
                        yield from awaitable.__await__()
            except Exception as error:
                errors.append((length_hint(sends), error))
        sends = events = errors = send = event = awaitable = None  # nothing is held on to between messages


_drive: Any = _drive_sends


@types.coroutine
def _finish(driven: _Driven, waiting_for: Any, errors: _Errors) -> Generator[Any, Any, None]:
    """Runs what was started to its end. Futures are handed on to whoever awaits this, as `sink.finish` does."""
    try:
        while waiting_for is not _DONE:
            try:
                value = yield waiting_for
            except BaseException as error:  # cancellation too: it belongs to the awaitable that waits
                waiting_for = driven.throw(error)
            else:
                waiting_for = driven.send(value)
        if errors:
            raise errors[0][1]
    finally:
        driven.close()
