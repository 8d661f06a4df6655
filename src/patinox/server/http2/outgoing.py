"""What the streams of a connection have not sent yet, and whose turn it is.

Both stand in the place of hypercorn's own and have the names that its protocol calls them by.
"""

from __future__ import annotations

import asyncio

from hypercorn.protocol.h2 import BufferCompleteError

HIGH_WATER_BYTES = 16 * 1024
"""A frame of the usual size. Whoever has as much unsent waits, so a stream holds this and one write at most."""

_ALL_SENT = 0
_ENDED = -1  # less than nothing left: its end has been sent too


class Outbox:
    """The bytes of one stream that its window, or the socket, has no room for yet."""

    __slots__ = ("_data", "_is_closed", "_waiting", "is_complete")

    def __init__(self) -> None:
        self.is_complete = False
        self._data = bytearray()
        self._is_closed = False
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def __repr__(self) -> str:
        return f"<Outbox {len(self._data)} bytes{', complete' if self.is_complete else ''}>"

    def __len__(self) -> int:
        return len(self._data)

    @property
    def ends(self) -> bool:
        """Whether nothing is left but to say the end."""
        return self.is_complete and not self._data

    def put(self, data: bytes) -> None:
        """Adds to what is to be sent. Raises `BufferCompleteError` after the end."""
        if self.is_complete:
            raise BufferCompleteError
        self._data += data

    def take(self, max_bytes: int) -> bytes:
        """Gives what is to be sent now."""
        taken = bytes(self._data[:max_bytes])
        del self._data[:max_bytes]
        if taken:
            self._wake(len(self._data))
        return taken

    async def push(self, data: bytes) -> None:
        """Adds, and waits while there is too much."""
        self.put(data)
        await self.room()

    async def room(self) -> None:
        """Waits until less than `HIGH_WATER_BYTES` are left."""
        await self._until(HIGH_WATER_BYTES - 1)

    async def drain(self) -> None:
        """Waits until all has been sent, the end too where it has been said."""
        await self._until(_ENDED if self.is_complete else _ALL_SENT)

    def set_complete(self) -> None:
        """Nothing more will come."""
        self.is_complete = True

    async def close(self) -> None:
        """As `close_nowait`."""
        self.close_nowait()

    def close_nowait(self) -> None:
        """Throws away what is left: the stream has ended, this way or the other. Nobody waits any longer."""
        self.is_complete = self._is_closed = True
        self._data.clear()
        self._wake(_ENDED)

    async def _until(self, most: int) -> None:
        if self._is_closed or len(self._data) <= most:
            return
        shrunk = asyncio.get_running_loop().create_future()
        self._waiting.append((most, shrunk))
        await shrunk

    def _wake(self, left: int) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for most, shrunk in waiting:
            if shrunk.done():  # whoever waited has been cancelled
                continue
            if left <= most:
                shrunk.set_result(None)
            else:
                self._waiting.append((most, shrunk))


class Turns:
    """The streams that have something to send, one frame each in turn."""

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        self._ready: dict[int, None] = {}

    def __repr__(self) -> str:
        return f"<Turns {len(self._ready)} ready>"

    def __len__(self) -> int:
        return len(self._ready)

    def unblock(self, stream_id: int) -> None:
        """Puts a stream at the end, where it does not stand already."""
        self._ready[stream_id] = None

    def remove_stream(self, stream_id: int) -> None:
        """Takes a stream out."""
        self._ready.pop(stream_id, None)

    def take(self) -> int:
        """The next stream, which goes to the end only by `unblock`. Raises `KeyError` where there is none."""
        stream_id = next(iter(self._ready), None)
        if stream_id is None:
            raise KeyError("no stream is ready")
        del self._ready[stream_id]
        return stream_id


class Signal:
    """An event to be awaited by one task, which code that must not wait can set too."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set_nowait(self) -> None:
        """Wakes whoever waits."""
        self._event.set()

    async def set(self) -> None:
        """The same."""
        self._event.set()

    async def clear(self) -> None:
        """Takes it back."""
        self._event.clear()

    async def wait(self) -> None:
        """Waits until it is set."""
        await self._event.wait()

    def is_set(self) -> bool:
        """Whether it is."""
        return self._event.is_set()
