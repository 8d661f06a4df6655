"""What each store costs behind the manager, and how fast it reads; in one process, so no load client is needed.

A store is one row of `STORES`. Its CPU is the process's own, threads too, without what an engine in another process
uses. `ack_p99_ms` is from a write to the chunk's coming out at a reader, so after the acknowledgement.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contestants import Contestant
from patinox.asgi import PatinoxApp
from patinox.core.events import BlockDelta
from patinox.manager import ActiveStream, StreamManager
from patinox.stores.base import Store
from patinox.stores.memory import MemoryStore
from patinox.stores.sqlite import SqliteStore
from patinox.testing.fakes import AsgiClient

STORES: dict[str, Callable[[Path], Store]] = {
    "store-memory": lambda folder: MemoryStore(),
    "store-sqlite": lambda folder: SqliteStore(folder / "streams.db"),
    "store-sqlite-normal": lambda folder: SqliteStore(folder / "streams.db", synchronous="normal"),
}
_TICK_S = 0.005
_DELTA = BlockDelta(text=" of six", block=0)


def measure(contestant: Contestant, settings: Any) -> dict[str, float]:
    """CPU and delay at a steady rate; chunks a second as fast as it goes; reading one long stream."""
    with tempfile.TemporaryDirectory(prefix="patinox-bench-") as folder:
        return asyncio.run(_measure(STORES[contestant.key](Path(folder)), settings))


async def _measure(store: Store, settings: Any) -> dict[str, float]:
    async with StreamManager(store=store) as manager:
        streams = await asyncio.gather(*(manager.create() for _ in range(settings["streams"])))
        metrics = await _steady(manager, streams, settings["rounds"], settings["per_s"])
        metrics |= await _flat_out(streams, settings["burst"])
        await asyncio.gather(*(stream.finish() for stream in streams))
        return metrics | await _long(manager, settings["long"])


async def _steady(manager: StreamManager, streams: Sequence[ActiveStream], rounds: int, per_s: int) -> dict[str, float]:
    """Every stream gets `per_s` chunks a second, spread over ticks; one of them is read."""
    sent, delays = [], []

    async def read() -> None:
        async for _ in manager.subscribe(streams[0].id):
            delays.append(time.perf_counter() - sent[len(delays)])
            if len(delays) == rounds:
                return

    reader = asyncio.create_task(read())
    ticks = round(1 / per_s / _TICK_S)
    loop = asyncio.get_running_loop()
    began_s, cpu_s = loop.time(), time.process_time()
    for tick in range(rounds * ticks):
        await asyncio.sleep(began_s + tick * _TICK_S - loop.time())
        for stream in streams[tick % ticks :: ticks]:
            if stream is streams[0]:
                sent.append(time.perf_counter())
            await stream.put(_DELTA)
    await reader
    chunks, took_s = rounds * len(streams), loop.time() - began_s
    used_s = time.process_time() - cpu_s
    return {
        "cpu_us_per_chunk": used_s / chunks * 1e6,
        "cpu_percent": 100 * used_s / took_s,
        "steady_chunks_per_s": chunks / took_s,
        "ack_p50_ms": 1e3 * statistics.median(delays),
        "ack_p99_ms": 1e3 * sorted(delays)[int(len(delays) * 0.99)],
    }


async def _flat_out(streams: Sequence[ActiveStream], burst: int) -> dict[str, float]:
    """Every stream is written to as fast as it takes chunks, until the last is acknowledged."""
    before = sum(stream.log.head for stream in streams)

    async def write(stream: ActiveStream) -> None:
        for _ in range(burst):
            await stream.put(_DELTA)
        await stream.flush()

    began_s = time.perf_counter()
    await asyncio.gather(*(write(stream) for stream in streams))
    took_s = time.perf_counter() - began_s
    return {"flat_out_chunks_per_s": (sum(stream.log.head for stream in streams) - before) / took_s}


async def _long(manager: StreamManager, chunks: int) -> dict[str, float]:
    """One stream of so many chunks, read from the store; and over HTTP from anywhere in it, to the first byte."""
    stream = await manager.create()
    for _ in range(chunks):
        await stream.put(_DELTA)
    await stream.finish()
    began_s, read = time.perf_counter(), 0
    while page := await manager.store.read(stream.key, read, 1000):
        read += len(page)
    rate = read / (time.perf_counter() - began_s)
    places = [chunks * tenth // 10 for tenth in range(10)]
    first = [await _first_byte_s(manager, f"{stream.epoch}-{place}", stream.id) for place in places]
    return {"read_chunks_per_s": rate, "first_byte_ms": 1e3 * max(first)}


async def _first_byte_s(manager: StreamManager, after: str, stream_id: str) -> float:
    client = AsgiClient(PatinoxApp(manager))
    began_s = time.perf_counter()
    async with client.open("GET", f"/v1/streams/{stream_id}?after={after}") as exchange:
        await exchange.until(lambda: exchange.body.count(b"event: block.delta"))
        return time.perf_counter() - began_s
