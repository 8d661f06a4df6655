"""Sinks for the body of an ASGI response (ASGI HTTP spec 2.x, "Response Body").

AsgiSink  behind a server's own `send`, which mostly finishes without waiting: driven by hand, all readers together,
          that costs no task and no trip through the event loop
TaskSink  behind a middleware that needs a task
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Generator, Sequence
from typing import Any

from patinox.delivery.driver import Driver, Events
from patinox.delivery.sink import Left, Send


async def asgi_sink(send: Send, driver: Driver, opening: bytes) -> AsgiSink | TaskSink:
    """Sends the first part of a body, and returns the sink for the rest: the one that this `send` can be used by."""
    return AsgiSink(send, driver) if await driver.try_out(send, _body(opening)) else TaskSink(send)


def _body(data: bytes, *, final: bool = False) -> Events:
    return ({"type": "http.response.body", "body": data, "more_body": not final},)


class AsgiSink:
    """The body of an ASGI response, whose `send` a `driver` drives."""

    __slots__ = ("_driver", "_send")
    kind = "asgi"

    def __init__(self, send: Send, driver: Driver) -> None:
        self._send = send
        self._driver = driver

    def pack(self, data: bytes, *, final: bool) -> Events:
        """One `http.response.body`."""
        return _body(data, final=final)

    def push(self, message: Events) -> Awaitable[None] | None:
        """Drives `send` by hand."""
        return self._driver.start(self._send, message)

    @staticmethod
    def push_all(sinks: Sequence[AsgiSink], message: Events) -> Left:
        """Drives all of them in one go."""
        return sinks[0]._driver.start_all([sink._send for sink in sinks], message)


class TaskSink:
    """The same where every `send` is left to the subscription's task to await."""

    __slots__ = ("_send",)
    kind = "asgi, in tasks"

    def __init__(self, send: Send) -> None:
        self._send = send

    def pack(self, data: bytes, *, final: bool) -> Events:
        """One `http.response.body`."""
        return _body(data, final=final)

    def push(self, message: Events) -> Awaitable[None] | None:
        """What sends; nothing has happened yet, and nothing has to if it is never awaited."""
        return _later(self._send, message)


@types.coroutine
def _later(send: Send, events: Events) -> Generator[Any, Any, None]:
    for event in events:
        yield from send({**event}).__await__()
