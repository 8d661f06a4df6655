"""Patinox serving its own API on its own connections, as `patinox serve` does."""

from __future__ import annotations

from benchmarks.servers.host import serve
from benchmarks.servers.patinox_streams import OVERHEAD_BYTES, config, manager, prepare, publish
from patinox.asgi import PatinoxApp
from patinox.server.connection import StreamingHttpProtocol
from patinox.server.websocket import websocket_protocol

if __name__ == "__main__":
    serve(
        PatinoxApp(manager), publish, OVERHEAD_BYTES, prepare,
        http=StreamingHttpProtocol, ws=websocket_protocol(config.websocket),
    )  # fmt: skip
