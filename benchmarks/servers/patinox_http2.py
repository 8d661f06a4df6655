"""Patinox serving its own API over HTTP/2 in the clear, as `patinox serve --http2-port` does."""

from __future__ import annotations

import asyncio
import os

import uvloop

from benchmarks.servers.control import Publisher, obey_stdin, say
from benchmarks.servers.host import BACKLOG, listen, raise_open_files
from benchmarks.servers.patinox_streams import OVERHEAD_BYTES, config, manager, prepare, publish
from patinox.asgi import PatinoxApp
from patinox.server.http2.listener import Http2Listener


async def main() -> None:
    sock = listen()
    sock.listen(BACKLOG)
    async with manager:
        listener = Http2Listener(PatinoxApp(manager), config, sock, None, asyncio.Protocol)
        await listener.start()
        await prepare()
        say(f"listening {sock.getsockname()[1]} {os.getpid()}")
        await obey_stdin(Publisher(publish, OVERHEAD_BYTES))
        listener.end()
    await listener.aclose()


if __name__ == "__main__":
    raise_open_files()
    uvloop.run(main())
