"""Runs an ASGI application on uvicorn (uvloop, httptools) with the control protocol beside it."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
import uvloop

from benchmarks.servers.control import Publish, Publisher, obey_stdin, say

BACKLOG = 4096


def listen() -> socket.socket:
    """Return a socket bound to a free port of 127.0.0.1."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def raise_open_files() -> None:
    """Lift the soft limit of open files to the hard one: 10,000 readers are 10,000 descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


Prepare = Callable[[], Awaitable[None]]


async def _nothing() -> None:
    """Most servers have nothing to prepare."""


async def _serve(app: Any, publish: Publish, overhead_bytes: int, prepare: Prepare, http: Any, ws: Any) -> None:
    config = uvicorn.Config(app, http=http, ws=ws, log_level="warning", access_log=False, backlog=BACKLOG)
    server = uvicorn.Server(config)
    sock = listen()
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.01)
    await prepare()
    say(f"listening {sock.getsockname()[1]} {os.getpid()}")
    await obey_stdin(Publisher(publish, overhead_bytes))
    server.should_exit = server.force_exit = True
    await serving


def serve(
    app: Any, publish: Publish, overhead_bytes: int, prepare: Prepare = _nothing,
    *, http: Any = "httptools", ws: Any = "none",
) -> None:  # fmt: skip
    """Serve `app` until stdin ends; `publish` puts a payload on a stream, `overhead_bytes` is its framing.

    `http` and `ws` are what speaks HTTP and WebSocket on a connection; `prepare` is awaited when the application has
    started, before readers are let in.
    """
    raise_open_files()
    uvloop.run(_serve(app, publish, overhead_bytes, prepare, http, ws))
