"""A real server on a free loopback port, in the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


class _Told(uvicorn.Server):
    """Says when it has started, ends at once when told to, and leaves signals to the test."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()
        self.is_over = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)  # the headers that every answer has
        await self.is_over.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        async with asyncio.timeout(5):
            while self.server_state.tasks or self.server_state.connections:  # noqa: ASYNC110 - as uvicorn itself does
                await asyncio.sleep(0.001)


@asynccontextmanager
async def live(app: Any, *, http: Any = "auto") -> AsyncIterator[int]:
    """Serves an ASGI application; gives the port. `http` is uvicorn's protocol, by name or class."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, loop="none", lifespan="off", ws="none", http=http,
        log_config=None, access_log=False,
    )  # fmt: skip
    server = _Told(config)
    running = asyncio.create_task(server._serve([listener]))
    try:
        await server.is_up.wait()
        yield listener.getsockname()[1]
    finally:
        server.is_over.set()
        await running
        listener.close()
