"""A real server on a free loopback port, in the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


class _Told(uvicorn.Server):
    """Says when it has started; and leaves signals to the test."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


@asynccontextmanager
async def live(app: Any, *, http: Any = "auto") -> AsyncIterator[int]:
    """Serves an ASGI application; gives the port. `http` is uvicorn's protocol, by name or class."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, loop="none", lifespan="off", ws="none", http=http,
        log_config=None, access_log=False, timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = _Told(config)
    running = asyncio.create_task(server._serve([listener]))
    try:
        await server.is_up.wait()
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running
        listener.close()
