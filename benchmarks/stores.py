"""What each store costs behind the manager, and how fast it reads; in one process, so no load client is needed.

A store is one row of `STORES`. Its CPU is the process's own, threads too, without what an engine in another process
uses. `ack_p99_ms` is from a write to the chunk's coming out at a reader, so after the acknowledgement. Engines are the
real ones, of the wheels that the tests use, and make each write durable before they acknowledge it.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.contestants import Contestant
from patinox.asgi import PatinoxApp
from patinox.core.events import BlockDelta
from patinox.manager import ActiveStream, StreamManager
from patinox.stores.base import Store
from patinox.stores.memory import MemoryStore
from patinox.stores.nats import NatsStore
from patinox.stores.redis import RedisStore
from patinox.stores.sqlite import SqliteStore
from patinox.testing.fakes import AsgiClient
from patinox.testing.servers import NatsServer, ValkeyServer

MakeStore = Callable[[], Store]


@contextmanager
def _valkey(folder: Path) -> Iterator[MakeStore]:
    with ValkeyServer(folder / "valkey") as server:
        yield lambda: RedisStore(server.url)


@contextmanager
def _nats(folder: Path) -> Iterator[MakeStore]:
    with NatsServer(folder / "nats") as server:
        yield lambda: NatsStore(server.url)


STORES: dict[str, Callable[[Path], AbstractContextManager[MakeStore]]] = {
    "store-memory": lambda folder: nullcontext(MemoryStore),
    "store-sqlite": lambda folder: nullcontext(lambda: SqliteStore(folder / "streams.db")),
    "store-sqlite-normal": lambda folder: nullcontext(lambda: SqliteStore(folder / "streams.db", synchronous="normal")),
    "store-valkey": _valkey,
    "store-nats": _nats,
}
SHARED = ("store-valkey", "store-nats")
_TICK_S = 0.005
_DELTA = BlockDelta(text=" of six", block=0)


def measure(contestant: Contestant, settings: Any) -> dict[str, float]:
    """CPU and delay at a steady rate; chunks a second as fast as it goes; reading one long stream."""
    with tempfile.TemporaryDirectory(prefix="patinox-bench-") as folder, STORES[contestant.key](Path(folder)) as make:
        return asyncio.run(_measure(make(), settings))


def measure_two_nodes(contestant: Contestant, settings: Any) -> dict[str, float]:
    """From a write on one node to the chunk's coming out at a reader on another."""
    with tempfile.TemporaryDirectory(prefix="patinox-bench-") as folder, STORES[contestant.key](Path(folder)) as make:
        return asyncio.run(_two_nodes(make, settings["chunks"], settings["per_s"]))


async def _two_nodes(make: MakeStore, chunks: int, per_s: int) -> dict[str, float]:
    async with StreamManager(store=make()) as writing, StreamManager(store=make()) as reading:
        stream = await writing.create()
        sent: list[float] = []
        delays: list[float] = []
        await reading.open(stream.id)

        async def read() -> None:
            async for _ in reading.subscribe(stream.id):
                delays.append(time.perf_counter() - sent[len(delays)])
                if len(delays) == chunks:
                    return

        reader = asyncio.create_task(read())
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number in range(chunks):
            await asyncio.sleep(began_s + number / per_s - loop.time())
            sent.append(time.perf_counter())
            await stream.put(_DELTA)
        await reader
        await stream.finish()
    return {"p50_ms": 1e3 * statistics.median(delays), "p99_ms": 1e3 * sorted(delays)[int(len(delays) * 0.99)]}


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
