"""The Autobahn WebSocket suite against the server's own protocol stack: `make autobahn`, `make autobahn-deflate`.

    python -m tests.conformance.autobahn FOLDER CASES

FOLDER is a prepared copy of the suite, CASES its patterns, such as `1.*,2.*`. Prints the counts, and every case that
is not strictly right; exits with 1 if there is one, or if a connection did not end cleanly.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
import uvloop

from patinox.config import StreamingConfig
from patinox.server.connection import StreamingHttpProtocol
from patinox.server.websocket import websocket_protocol

_RIGHT = ("OK", "INFORMATIONAL")
_LARGEST_BYTES = 64 * 1024 * 1024
"""Cases 9.* send 16 MiB."""


class Result(NamedTuple):
    """What the suite says of one case."""

    case: str
    behavior: str
    close: str
    code: int | None

    @property
    def is_right(self) -> bool:
        return self.behavior in _RIGHT and self.close in _RIGHT


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that sends back every message."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


def server() -> uvicorn.Server:
    """Serves `echo` as `patinox serve` serves, but for the size of messages."""
    limits = StreamingConfig.from_toml(f"[streaming.websocket]\nmax_frame_size = {_LARGEST_BYTES}").websocket
    config = uvicorn.Config(
        echo, loop="none", http=StreamingHttpProtocol, ws=websocket_protocol(limits),
        lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=5,
    )  # fmt: skip
    config.load()
    return uvicorn.Server(config)


async def run(folder: Path, cases: str) -> list[Result]:
    """Runs the suite's client against a server of ours."""
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server()._serve([listener]))
    url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
    index = folder / "rep" / "index.json"
    index.unlink(missing_ok=True)
    client = await asyncio.create_subprocess_exec("v/bin/python", "run.py", url, cases, cwd=folder, stdout=-3)
    try:
        await client.wait()
    finally:
        serving.cancel()
        await asyncio.wait([serving])
    return [_result(case, row) for case, row in json.loads(index.read_text())["t"].items()]


def _result(case: str, row: dict[str, Any]) -> Result:
    return Result(case, row["behavior"], row["behaviorClose"], row["remoteCloseCode"])


def report(results: list[Result]) -> int:
    """Prints the counts and what is not right; returns the exit code."""
    for what, counts in (
        ("behavior", Counter(result.behavior for result in results)),
        ("close", Counter(result.close for result in results)),
    ):
        print(f"{len(results)} cases, {what}: {', '.join(f'{n} {name}' for name, n in counts.most_common())}")
    wrong = [result for result in results if not result.is_right]
    for result in wrong:
        print(f"  {result.case}: {result.behavior}, close {result.close}, code {result.code}")
    return 1 if wrong or not results else 0


if __name__ == "__main__":
    sys.exit(report(uvloop.run(run(Path(sys.argv[1]), sys.argv[2]))))
