"""Who is measured: one row each. A new peer is a file in `servers/` and a row here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from benchmarks.build import BUILD, ROOT
from benchmarks.processes import CLIENT_CORE, SERVER_CORE, NotThere

PEERS_PYTHON = os.environ.get("PATINOX_BENCH_PYTHON", str(ROOT / ".venv-bench/bin/python"))
"""The interpreter whose environment has `requirements/bench.txt`."""


class Contestant(msgspec.Struct, frozen=True):
    """A server that speaks the control protocol (`servers/control.py`)."""

    key: str
    title: str
    module: str | None
    """Its module under `benchmarks.servers`; None for the compiled loop."""
    ours: bool = False
    """Runs in the project's own environment, not the peers'."""
    core: int = SERVER_CORE
    path: str = "/events/0"
    stream_path: str = "/events/%u"
    dialect: str | None = None
    """What the load client speaks to a WebSocket (`client/websocket.h`), or `grpc`; None reads SSE."""
    streams: int = 0
    """Readers on one connection of HTTP/2 (`client/http2.h`); 0 is HTTP/1.1."""

    def command(self) -> list[str]:
        """Return the command line; raise `NotThere` without an environment for it."""
        if self.module is None:
            return [str(BUILD / "rawsend")]
        python = sys.executable if self.ours else PEERS_PYTHON
        if not Path(python).exists():
            raise NotThere("the peers' environment is missing: make bench sets it up")
        return [python, "-m", f"benchmarks.servers.{self.module}", *([self.dialect] if self.dialect else [])]


_API = ("/v1/streams/0", "/v1/streams/%u")
_SOCKET_IO = "/socket.io/?EIO=4&transport=websocket"

CONTESTANTS = {
    contestant.key: contestant
    for contestant in (
        Contestant("raw", "raw send() loop in C", None),
        Contestant("native", "Patinox, own server", "patinox_native", True, SERVER_CORE, *_API),
        Contestant("fastapi", "Patinox in FastAPI", "patinox_fastapi", ours=True),
        Contestant("nchan", "nginx + Nchan", "nchan", core=CLIENT_CORE),
        Contestant("starlette", "Starlette, queue per client", "starlette_queue"),
        Contestant("sse-starlette", "sse-starlette", "sse_starlette_queue"),
        Contestant(
            "ws-native", "Patinox WebSocket, own server", "patinox_native",
            ours=True, path="/v1/ws", dialect="patinox.v1",
        ),
        Contestant(
            "ws-fastapi", "Patinox WebSocket in FastAPI", "patinox_fastapi",
            ours=True, path="/ws", dialect="patinox.v1",
        ),
        Contestant(
            "h2-shared", "Patinox HTTP/2, 100 streams a connection", "patinox_http2", True, SERVER_CORE, *_API,
            streams=100,
        ),
        Contestant(
            "h2-single", "Patinox HTTP/2, a connection each", "patinox_http2", True, SERVER_CORE, *_API, streams=1,
        ),
        Contestant("ws-asgi", "bare ASGI, loop over send", "asgi_sockets", path="/ws", dialect="plain"),
        Contestant("ws-starlette", "Starlette, send_text loop", "starlette_sockets", path="/ws", dialect="plain"),
        Contestant("socketio", "python-socketio", "socketio_room", path=_SOCKET_IO, dialect="socket.io"),
        Contestant("grpc", "Patinox gRPC", "patinox_grpc", ours=True, path="0", dialect="grpc"),
        Contestant("grpc-queue", "grpc.aio, queue per call", "grpc_queue", ours=True, path="0", dialect="grpc"),
        Contestant("gateway", "Patinox gateway", "patinox_gateway", ours=True),
        Contestant("relay", "aiohttp byte relay", "byte_relay"),
        Contestant("litellm", "LiteLLM library", "litellm_iteration"),
        Contestant("dialects", "Patinox, all recordings", None, ours=True),
        Contestant("dialects-chat", "Patinox, chat recordings", None, ours=True),
        Contestant("litellm-chunks", "LiteLLM library, chat recordings", None),
        Contestant("validators", "secrets, phones, cards, IBANs", None, ours=True),
        Contestant("validators-email", "the same and e-mail", None, ours=True),
        Contestant("validators-words-100", "100 words", None, ours=True),
        Contestant("validators-words-2000", "2,000 words", None, ours=True),
        Contestant("validators-words-20000", "20,000 words", None, ours=True),
        Contestant("store-memory", "memory", None, ours=True),
        Contestant("store-sqlite", "SQLite, synchronous = full", None, ours=True),
        Contestant("store-sqlite-normal", "SQLite, synchronous = normal", None, ours=True),
        Contestant("store-valkey", "Valkey, appendfsync always", None, ours=True),
        Contestant("store-nats", "NATS JetStream, sync always", None, ours=True),
    )
}  # fmt: skip
