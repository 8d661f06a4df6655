"""Where responses leave: one `Subscribe` call, one message on its way at a time.

`grpc.aio`'s `write` is done when the transport has room for the message under the flow control of its call. A message
that is on its way is to a call what a full buffer is to a socket: a reader that reads never has anybody wait for it,
and is no task; for one that does not read, the fan-out waits with the next message, and holds no more than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from patinox.delivery.sink import Message


class CallSink:
    """Writes responses, which are bytes already, to one call; from one producer at a time."""

    __slots__ = ("_error", "_loop", "_turn", "_write", "_writing")
    kind = "grpc"

    def __init__(self, write: Callable[[bytes], Coroutine[Any, Any, None]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._write = write
        self._writing: Coroutine[Any, Any, None] | None = None
        self._error: Exception | None = None
        self._turn: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<CallSink {'idle' if self._writing is None else 'writing'}>"

    def pack(self, data: bytes, *, final: bool) -> Message:
        """The responses as they are: the end is told by the call's status."""
        return data

    def push(self, message: Message) -> Awaitable[None] | None:
        """Sends now, or returns what waits for the message before, and sends then. Raises what that one raised."""
        if not message:
            return None
        if self._writing is not None:
            return self._in_turn(message)
        self._start(message)
        return None

    async def settle(self) -> None:
        """Waits until nothing is on its way. Raises what the last message raised."""
        while self._writing is not None:
            self._turn = self._loop.create_future()
            await self._turn
        if self._error is not None:
            raise self._error

    async def _in_turn(self, message: bytes) -> None:
        await self.settle()
        self._start(message)

    def _start(self, message: bytes) -> None:
        if self._error is not None:
            raise self._error
        self._writing = self._write(message)
        self._go_on(None)

    def _go_on(self, _: object) -> None:
        """Drives `write` by hand: a task for each message would cost as much as all the rest of ours."""
        assert self._writing is not None
        try:
            waits_for = self._writing.send(None)
        except StopIteration:
            self._finished(None)
        except Exception as error:
            self._finished(error)
        else:
            waits_for.add_done_callback(self._go_on)

    def _finished(self, error: Exception | None) -> None:
        self._writing, self._error = None, error
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)
