"""Patinox serving its own API, nothing mounted around it."""

from __future__ import annotations

from benchmarks.servers.host import serve
from benchmarks.servers.patinox_streams import OVERHEAD_BYTES, manager, prepare, publish
from patinox.asgi import PatinoxApp

if __name__ == "__main__":
    serve(PatinoxApp(manager), publish, OVERHEAD_BYTES, prepare)
