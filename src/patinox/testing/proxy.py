"""A TCP proxy that breaks connections where a test says so: at a byte, not at a time.

async with FaultProxy("127.0.0.1", server_port, [Fault(cut_after_bytes=300), Fault(refuse=True)]) as proxy:
    ...  # the first connection ends after 300 bytes of what the server sent, the second at once,
    ...  # all later ones are whole; `proxy.url` is where to connect
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

import msgspec

_READ_BYTES = 64 * 1024


class Fault(msgspec.Struct, frozen=True):
    """What happens to one connection. Bytes are counted in what the server sends, its HTTP heads included.

    `cut_after_bytes` ends the connection after exactly so many; `reset` ends it hard (RST) instead of with a FIN,
    which may take bytes that the client has not read yet. `chop_bytes` passes on at most so many at a time, and
    `delay_s` waits before each of these. `refuse` ends it before anything was passed on, either way.
    """

    cut_after_bytes: int | None = None
    reset: bool = False
    chop_bytes: int | None = None
    delay_s: float = 0.0
    refuse: bool = False


NONE = Fault()
"""A connection that is passed on as it is."""


class FaultProxy:
    """Passes connections on to `host:port`. Each takes the next of `faults`; when there are none left, `then`.

    An async context manager: entered it listens on a free loopback port, left it ends every connection. `sleep` is
    what `delay_s` waits with. `connections` counts those accepted, `cuts` those ended by their fault, and
    `passed_bytes` what clients were sent.
    """

    def __init__(
        self,
        host: str,
        port: int,
        faults: Iterable[Fault] = (),
        *,
        then: Fault = NONE,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.connections = 0
        self.cuts = 0
        self.passed_bytes = 0
        self.port = 0
        self._target = (host, port)
        self._faults = deque(faults)
        self._then = then
        self._sleep = sleep
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<FaultProxy {self.url} → {self._target}, {self.connections} connections, {self.cuts} cuts>"

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    def script(self, *faults: Fault) -> None:
        """Adds faults for the connections to come."""
        self._faults.extend(faults)

    async def cut_all(self) -> None:
        """Ends every connection there is now."""
        self.cuts += len(self._tasks)
        await self._end_all()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._end_all()
        await self._server.wait_closed()

    async def _end_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        fault = self._faults.popleft() if self._faults else self._then
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer, fault))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        if fault.refuse:
            self.cuts += 1
            await _end(writer, reset=fault.reset)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            await _end(writer, reset=True)
            return
        cut = False
        asking = asyncio.get_running_loop().create_task(_pass_on(reader, far_writer))
        try:
            cut = await self._answer(far_reader, writer, fault)
        except OSError:
            pass  # a side has gone; so has the other, presently
        finally:
            asking.cancel()
            await asyncio.wait([asking])
            self.cuts += cut
            far_writer.transport.abort()
            await _end(writer, reset=cut and fault.reset)

    async def _answer(self, far: asyncio.StreamReader, near: asyncio.StreamWriter, fault: Fault) -> bool:
        """Passes on what the server sends; True when the fault cut it."""
        left = fault.cut_after_bytes
        while left is None or left > 0:
            most = min(_READ_BYTES, fault.chop_bytes or _READ_BYTES, left or _READ_BYTES)
            data = await far.read(most)
            if not data:
                return False
            if fault.delay_s:
                await self._sleep(fault.delay_s)
            near.write(data)
            await near.drain()
            self.passed_bytes += len(data)
            left = None if left is None else left - len(data)
        return True


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What the client sends, up to its end."""
    with suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        writer.transport.abort()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
