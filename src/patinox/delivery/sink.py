"""A sink: where frames leave. The fan-out packs a message once and pushes it into every sink of the same kind.

`push` returns None when the message has left, or an awaitable that finishes it: then the sink is *busy*, and
nothing more is pushed into it until the awaitable is done.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping
from typing import Any, Protocol

Message = Any
"""What one kind of sink sends: for ASGI, an `http.response.body` dict shared by all readers."""

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Sink(Protocol):
    """Where frames leave. Sinks of one `kind` send the same messages."""

    @property
    def kind(self) -> str:
        """Which sinks `pack` alike."""
        ...

    def pack(self, data: bytes, *, final: bool) -> Message:
        """The message for `data`; shared by all sinks of this kind, so a sink never hands it out to be changed."""
        ...

    def push(self, message: Message) -> Awaitable[None] | None:
        """Sends now, or returns what finishes sending. Raises whatever the connection raises when it is gone."""
        ...


@types.coroutine
def finish(coroutine: Coroutine[Any, Any, None], waiting_for: Any) -> Generator[Any, Any, None]:
    """Runs a coroutine to its end that was started by hand and has yielded `waiting_for`.

    A future yielded to the event loop carries the flag that it is being awaited (PEP 3156, asyncio's Future), so
    handing the same object on to the task that awaits this is all it takes.
    """
    try:
        while True:
            try:
                value = yield waiting_for
            except BaseException as error:  # cancellation too: it belongs to the coroutine that waits
                waiting_for = coroutine.throw(error)
            else:
                waiting_for = coroutine.send(value)
    except StopIteration:
        return
    finally:
        coroutine.close()


def start(awaitable: Awaitable[None]) -> Awaitable[None] | None:
    """Runs an awaitable up to where it would wait: None when it is done, else what finishes it.

    Most are coroutines; some servers return objects of their own that can only be awaited.
    """
    coroutine = awaitable if isinstance(awaitable, types.CoroutineType) else _awaited(awaitable)
    try:
        waiting_for = coroutine.send(None)
    except StopIteration:
        return None
    return finish(coroutine, waiting_for)


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable


class AsgiSink:
    """The body of an ASGI response (ASGI HTTP spec 2.x, "Response Body").

    Servers' `send` mostly finishes without waiting for anything; driven by hand that costs no task and no trip
    through the event loop.
    """

    __slots__ = ("_send",)
    kind = "asgi"

    def __init__(self, send: Send) -> None:
        self._send = send

    def pack(self, data: bytes, *, final: bool) -> Message:
        """One `http.response.body`."""
        return {"type": "http.response.body", "body": data, "more_body": not final}

    def push(self, message: Message) -> Awaitable[None] | None:
        """Drives `send` by hand, with a message of its own: middlewares write into it (Starlette's GZip does)."""
        return start(self._send({**message}))


class TaskSink(AsgiSink):
    """The same behind a middleware that needs a task: every `send` is left to the subscription's task to await."""

    __slots__ = ()

    def push(self, message: Message) -> Awaitable[None] | None:
        """What sends; nothing has happened yet, and nothing has to if it is never awaited."""
        return _later(self._send, message)


@types.coroutine
def _later(send: Send, message: Message) -> Generator[Any, Any, None]:
    yield from send({**message}).__await__()
