"""Mounted behind middlewares, on the servers people use: every reader gets the whole stream, in order."""

import asyncio
import importlib.util
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from patinox.formats.framing import EventStreamParser

ROOT = Path(__file__).parents[2]
SERVERS = {
    "uvicorn": ["uvicorn", "--log-level", "error", "--host", "127.0.0.1", "--port", "{port}"],
    "hypercorn": ["hypercorn", "--bind", "127.0.0.1:{port}"],
    "granian": ["granian", "--interface", "asgi", "--log-level", "error", "--host", "127.0.0.1", "--port", "{port}"],
}
WORDS = [f"word {number} " for number in range(200)]
READERS = 5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def served(server: str, app: str) -> AsyncIterator[str]:
    """The application on a real server in a process of its own; gives its address."""
    port = free_port()
    command = [word.format(port=port) for word in SERVERS[server]]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, f"tests.mounted_apps:{app}", cwd=ROOT
    )
    try:
        await open_port(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def open_port(port: int, process: asyncio.subprocess.Process) -> None:
    """Waits until something listens; a server that ends before fails the test."""
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    pytest.fail(f"the server ended with {process.returncode}")


async def read(session: aiohttp.ClientSession, url: str) -> list[tuple[str, str]]:
    """The kind and text of every record, up to the end record."""
    parser = EventStreamParser()
    seen: list[tuple[str, str]] = []
    async with session.get(url, headers={"accept": "text/event-stream", "accept-encoding": "gzip"}) as response:
        assert response.status == 200
        async for piece in response.content.iter_any():
            told = [event for event in parser.feed(piece) if event.event in ("text", "end")]
            seen += [(event.event, json.loads(event.data).get("text", "")) for event in told]
    return seen


@pytest.mark.server
@pytest.mark.parametrize("app", ["plain", "base", "gzipped"])
@pytest.mark.parametrize("server", SERVERS)
async def test_every_reader_gets_the_whole_stream_in_order(server: str, app: str) -> None:
    if importlib.util.find_spec(server) is None:
        pytest.skip(f"{server} is not installed")
    async with served(server, app) as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/v1/streams", json={"id": "s"}) as created:
            assert created.status == 201
        stream = f"{url}/v1/streams/s"
        readers = [asyncio.create_task(read(session, stream)) for _ in range(READERS)]
        for first in range(0, len(WORDS), 10):
            lines = "".join(json.dumps(word) + "\n" for word in WORDS[first : first + 10])
            headers = {"content-type": "application/x-ndjson"}
            async with session.post(f"{stream}/chunks", data=lines, headers=headers) as appended:
                assert appended.status == 200
        async with session.post(f"{stream}/finish", json={}) as finished:
            assert finished.status == 200

        expected = [*(("text", word) for word in WORDS), ("end", "")]
        assert await asyncio.gather(*readers) == [expected] * READERS
