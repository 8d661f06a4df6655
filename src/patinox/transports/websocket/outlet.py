"""The way out of one socket, shared by its answers and by all its subscriptions.

DirectOutlet   on our own server: whole frames, joined in any number, in one write
AsgiOutlet     in anybody's: one `websocket.send` a message, driven by hand as the sinks of `delivery/sink.py` are

A server's `send` may have to wait for its client. Then the outlet's one task finishes that message, and whoever wants
to send next waits for its turn: messages leave whole and in order, and a subscription that is dropped meanwhile takes
nothing of anybody else's with it.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Generator, Sequence
from typing import Any, Protocol

from patinox.core.chunks import EventId
from patinox.delivery.driver import Driver, Events
from patinox.delivery.feed import Feed
from patinox.delivery.sink import Left, Send, push_each
from patinox.delivery.subscription import Subscription
from patinox.transports.websocket.frames import DirectSocket
from patinox.transports.websocket.wire import DEFLATED, FRAMES, LINES, Packaging, end_of_reading


class Outlet(Protocol):
    """A sink that takes what its `packaging` made."""

    packaging: Packaging

    @property
    def kind(self) -> str:
        """Which sinks `pack` alike."""
        ...

    def pack(self, data: bytes, *, final: bool) -> Any:
        """The message for joined data; an end of one stream is not one of the socket."""
        ...

    def push(self, message: Any) -> Awaitable[None] | None:
        """Sends now, or returns what waits until it was sent."""
        ...

    async def say(self, message: bytes) -> None:
        """Sends one message that is not packaged yet."""
        ...

    def abort(self) -> None:
        """Lets go of what was not taken."""
        ...

    async def aclose(self) -> None:
        """Ends its task."""
        ...


class DirectOutlet:
    """Frames, straight to our own server's socket: its sink's `push` is the outlet's."""

    __slots__ = ("_socket", "kind", "packaging", "push")

    def __init__(self, socket: DirectSocket) -> None:
        self._socket = socket
        self.push = socket.direct_sink().push
        self.packaging = DEFLATED if socket.deflates else FRAMES
        self.kind = self.packaging.name

    def pack(self, data: bytes, *, final: bool) -> Any:
        """The frames as they are: the end of one stream is not the end of its socket."""
        return data

    async def say(self, message: bytes) -> None:
        """Writes one message."""
        pending = self.push(self.packaging.wrap(message))
        if pending is not None:
            await pending

    def abort(self) -> None:
        """Ends the connection now."""
        self._socket.abort()

    async def aclose(self) -> None:
        """Nothing: there is no task."""


class AsgiOutlet:
    """Messages, one ASGI event each."""

    __slots__ = ("_driver", "_is_tried", "_needs_task", "_send", "_task", "packaging")

    kind = "websocket"

    def __init__(self, send: Send, driver: Driver) -> None:
        self._send = send
        self._driver = driver
        self._task: asyncio.Task[None] | None = None
        self._needs_task = False
        self._is_tried = False
        self.packaging = LINES

    def pack(self, data: bytes, *, final: bool) -> Events:
        """The messages of joined lines."""
        return [_sent(line) for line in data.decode().split("\n")[:-1]]

    def push(self, message: Events) -> Awaitable[None] | None:
        """Sends them one after the other, as far as that does not have to wait."""
        if self._task is not None:
            return _in_turn(self, message)
        if self._needs_task:
            return self._finish(self._send_all(message)) if message else None
        pending = self._driver.start(self._send, message)
        return None if pending is None else self._finish(pending)

    @staticmethod
    def push_all(outlets: Sequence[AsgiOutlet], message: Events) -> Left:
        """Drives all of them in one go; but for the ones, among few, that are busy or need tasks."""
        sends = [outlet._send for outlet in outlets if outlet._task is None and not outlet._needs_task]
        if len(sends) < len(outlets):
            return push_each(outlets, message)
        left = outlets[0]._driver.start_all(sends, message)
        for at, outcome in left.items():
            if not isinstance(outcome, Exception):
                left[at] = outlets[at]._finish(outcome)
        return left

    def _finish(self, pending: Awaitable[None]) -> Awaitable[None]:
        """Has the task send what is left."""
        self._task = task = asyncio.get_running_loop().create_task(_awaited(pending))
        task.add_done_callback(self._finished)
        return _outcome(task)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()  # whoever waits for it raises it; nobody may

    async def _send_all(self, events: Events) -> None:
        for event in events:
            await self._send({**event})

    async def wait_turn(self) -> None:
        """Waits until nothing is being sent."""
        while self._task is not None:
            await asyncio.wait((self._task,))

    async def say(self, message: bytes) -> None:
        """Sends one message, and finds out with the first whether this `send` can be driven."""
        events = (_sent(message.decode()),)
        if not self._is_tried:
            self._is_tried = self._needs_task = True  # as long as that is not known
            self._needs_task = not await self._driver.try_out(self._send, events)
            return
        pending = self.push(events)
        if pending is not None:
            await pending

    def abort(self) -> None:
        """Nothing: the server ends the connection when its application has returned."""

    async def aclose(self) -> None:
        """Ends its task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))


def _sent(text: str) -> dict[str, Any]:
    return {"type": "websocket.send", "text": text}


@types.coroutine
def _in_turn(outlet: AsgiOutlet, message: Events) -> Generator[Any, Any, None]:
    """Waits for what is being sent, and sends. Like all that a sink returns, it may never be awaited at all."""
    yield from outlet.wait_turn().__await__()
    pending = outlet.push(message)
    if pending is not None:
        yield from pending  # type: ignore[misc]  # a generator that is marked as a coroutine, like this one


async def _awaited(pending: Awaitable[None]) -> None:
    await pending


@types.coroutine
def _outcome(task: asyncio.Task[None]) -> Generator[Any, Any, None]:
    """Waits for a task without ending it when the one who waits is cancelled."""
    yield from asyncio.wait((task,)).__await__()
    task.result()


class ForeignSink:
    """An outlet for one reader in a foreign dialect: it is told the end as an op too."""

    __slots__ = ("_feed", "_outlet", "_subscription", "kind")

    def __init__(self, outlet: Outlet, feed: Feed, subscription: Subscription) -> None:
        self._outlet = outlet
        self._feed = feed
        self._subscription = subscription
        self.kind = outlet.kind

    def pack(self, data: bytes, *, final: bool) -> Any:
        """The messages, and the `end` after the last."""
        return self._outlet.pack(data + self._end() if final else data, final=final)

    def _end(self) -> bytes:
        feed = self._feed
        position = EventId(feed.log.epoch, feed.log.head)
        if self._subscription.gaps or feed.outcome is None:
            return self._outlet.packaging.wrap(end_of_reading(feed.head.id, position, None))
        error = feed.assembly.error  # a foreign dialect's reader: everything is assembled
        return self._outlet.packaging.wrap(end_of_reading(feed.head.id, position, feed.outcome.value, error))

    def push(self, message: Any) -> Awaitable[None] | None:
        """Sends them."""
        return self._outlet.push(message)
