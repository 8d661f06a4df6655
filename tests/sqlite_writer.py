"""A program that writes into a SQLite store until it is killed: `python -m tests.sqlite_writer FILE [STREAMS]`.

For each acknowledged append it prints `<stream> <head> <bytes of the write-ahead log>`. Chunk n of stream s is the text
`s:n`, so that what is found later can be checked without knowing what was sent.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from patinox.core.chunks import StreamChunk, Text
from patinox.core.codec import encode_data
from patinox.core.keys import StreamKey
from patinox.errors import StreamNotFound
from patinox.stores.base import Append, StreamFacts, StreamRecord
from patinox.stores.sqlite import SqliteStore

LEASE_S = 60.0


def chunk(stream: str, sequence: int) -> StreamChunk:
    """What stands at a position, whoever wrote it."""
    data = Text(f"{stream}:{sequence}")
    return StreamChunk(sequence, data, sequence / 4, False, f"epoch{stream}", encode_data(data))


async def held(store: SqliteStore, stream: str) -> StreamRecord:
    """The stream, made now or left by the process before."""
    key = StreamKey("", stream)
    try:
        await store.load(key)
    except StreamNotFound:
        return await store.create(StreamFacts(key, f"epoch{stream}", 1.0, 60.0), "writer", LEASE_S)
    return await store.take_over(key, "writer", LEASE_S)


def told(stream: str, head: int, log: Path) -> None:
    """Says what is acknowledged, and how long the log is by then."""
    print(stream, head, log.stat().st_size, flush=True)


async def write(store: SqliteStore, stream: str, log: Path) -> None:
    """Appends without an end."""
    record = await held(store, stream)
    head = record.head
    while True:
        count = 1 + head % 3
        chunks = [chunk(stream, head + 1 + step) for step in range(count)]
        acknowledged = {"p": (0, head + count)}
        (refusal,) = await store.append([Append(record.facts.key, record.fence, head, chunks, acknowledged)])
        if refusal is not None:
            raise refusal
        head += count
        told(stream, head, log)


async def main(path: str, streams: int) -> None:
    """Writes to all streams at once."""
    store = SqliteStore(path)
    await store.open()
    async with asyncio.TaskGroup() as tasks:
        for number in range(streams):
            tasks.create_task(write(store, f"s{number}", Path(f"{path}-wal")))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8))
