"""Patinox's gateway in front of the fake upstream, as `patinox serve` runs it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.servers.control import say
from benchmarks.servers.host import listen, raise_open_files

START_S = 20.0


def command(port: int, upstream_port: str) -> list[str]:
    """Return the command line of the server; exit where the command is not installed."""
    patinox = Path(sys.executable).with_name("patinox")
    if not shutil.which(patinox):
        print("the command patinox is not installed", file=sys.stderr)
        sys.exit(3)
    upstream = f"bench=openai-chat+http://127.0.0.1:{upstream_port}/v1"
    return [
        str(patinox),
        "serve",
        "--port",
        str(port),
        "--upstream",
        upstream,
        "--no-local-model",
        "--store",
        "memory://",
    ]


def wait_until_open(port: int, server: subprocess.Popen[bytes]) -> None:
    """Return when the port takes connections; exit as not there where the server gave up."""
    deadline_s = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    print("patinox serve did not start", file=sys.stderr)
    sys.exit(3)


def main() -> None:
    """Run the server until stdin ends."""
    raise_open_files()
    with listen() as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen(command(port, sys.argv[1]), stdout=subprocess.DEVNULL)
    try:
        wait_until_open(port, server)
        say(f"listening {port} {server.pid}")
        sys.stdin.read()
    finally:
        server.terminate()
        server.wait(10)


if __name__ == "__main__":
    main()
