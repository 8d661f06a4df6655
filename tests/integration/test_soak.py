"""Attaching and detaching, over and over: tasks, descriptors and counts return exactly, and memory does not grow."""

import asyncio
import gc
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from tests.live_server import live

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.server.connection import StreamingHttpProtocol
from patinox.testing.fakes import AsgiClient, turns

WARM_UP, CYCLES, REAL_CYCLES = 200, 2000, 1000
HEADERS = {"accept": "text/event-stream"}
_FILES = Path("/proc/self/fd")


def open_files() -> int:
    return len(os.listdir(_FILES))  # noqa: PTH208


async def test_two_thousand_cycles_in_the_process_leave_nothing() -> None:
    async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
        stream = await manager.create(id="s")
        stream.write_nowait("x")
        client = AsgiClient(PatinoxApp(manager))

        async def cycles(count: int) -> None:
            for number in range(count):
                after = ("start", "now", f"{stream.epoch}-1")[number % 3]
                async with client.open("GET", f"/v1/streams/s?after={after}", headers=HEADERS) as exchange:
                    await exchange.until(lambda exchange=exchange: exchange.body)  # type: ignore[misc]
                    if number % 2:
                        await turns(2)
            await turns()
            gc.collect()

        await cycles(WARM_UP)
        tasks = asyncio.all_tasks()
        tracemalloc.start()
        try:
            await cycles(WARM_UP)
            before, _ = tracemalloc.get_traced_memory()
            await cycles(CYCLES)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert asyncio.all_tasks() == tasks
        assert (manager.admission.connections, len(manager.fanout), stream.feed.readers) == (0, 0, 0)
        assert (after - before) / CYCLES < 100


@pytest.mark.skipif(not _FILES.is_dir(), reason="counts descriptors in /proc")
@pytest.mark.parametrize("http", ["httptools", StreamingHttpProtocol], ids=["mounted", "own"])
async def test_a_thousand_cycles_over_real_sockets_leave_nothing(http: Any) -> None:
    async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
        stream = await manager.create(id="s")
        request = b"GET /v1/streams/s HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n"
        async with live(PatinoxApp(manager), http=http) as port:
            changed = asyncio.Event()
            told = stream.feed._on_readers

            def also() -> None:
                told()
                changed.set()

            stream.feed._on_readers = also

            async def cycle(number: int) -> None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request)
                await reader.readuntil(b"event: position")
                writer.transport.abort() if number % 2 else writer.close()
                while stream.feed.readers:
                    changed.clear()
                    await changed.wait()

            for number in range(20):
                await cycle(number)
            await turns()
            tasks, files = asyncio.all_tasks(), open_files()
            for number in range(REAL_CYCLES):
                await cycle(number)
            while asyncio.all_tasks() != tasks or open_files() != files:  # what the kernel still has to tell
                await turns(1)
            assert (manager.admission.connections, len(manager.fanout), stream.feed.readers) == (0, 0, 0)
