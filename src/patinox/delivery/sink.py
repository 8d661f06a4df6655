"""A sink: where frames leave. The fan-out packs a message once and pushes it into every sink of the same kind.

`push` returns None when the message has left, or an awaitable that finishes it: then the sink is *busy*, and
nothing more is pushed into it until the awaitable is done. A kind of sink that is quicker about many at once has a
static `push_all(sinks, message)` too, which does what `push_each` does.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping, Sequence
from typing import Any, Protocol

Message = Any
"""What one kind of sink sends: for ASGI, an `http.response.body` event that is made once for all readers."""

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Left = dict[int, Awaitable[None] | Exception]
"""Of several sinks that were pushed into, by their places: what finishes those that must wait, what the gone raised."""


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


def push_each(sinks: Sequence[Sink], message: Message) -> Left:
    """Pushes one message into several sinks of a kind. Those that took it are not in what is returned."""
    left: Left = {}
    for at, sink in enumerate(sinks):
        try:
            pending = sink.push(message)
        except Exception as error:
            left[at] = error
        else:
            if pending is not None:
                left[at] = pending
    return left


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
