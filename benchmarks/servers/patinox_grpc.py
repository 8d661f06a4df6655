"""Patinox serving gRPC, in the event loop that `patinox serve` runs it in."""

from __future__ import annotations

import os

import uvloop

from benchmarks.servers.control import Publisher, obey_stdin, say
from benchmarks.servers.host import raise_open_files
from benchmarks.servers.patinox_streams import manager, prepare, publish
from patinox.transports.grpc.server import GrpcServer

OVERHEAD_BYTES = 30
"""The message's head of five, four fields' tags and lengths, and the id."""


async def _serve() -> None:
    server = GrpcServer(manager)
    port = server.bind("127.0.0.1", 0)
    await prepare()
    await server.start()
    say(f"listening {port} {os.getpid()}")
    await obey_stdin(Publisher(publish, OVERHEAD_BYTES))
    server.end()
    await manager.aclose()
    await server.aclose()


if __name__ == "__main__":
    raise_open_files()
    uvloop.run(_serve())
