"""The library without any server: one producer, two readers, one of which comes back after a cut.

python examples/library_alone.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from patinox import StreamManager, Text

POEM = ["The sea ", "remembers ", "every ", "ship."]


async def model() -> AsyncIterator[str]:
    """Stands for whatever yields your tokens: an SDK's stream, a subprocess, a queue."""
    for word in POEM:
        await asyncio.sleep(0)
        yield word


async def read(manager: StreamManager, stream_id: str, name: str, after: str | None = None, most: int = 99) -> str:
    """Prints the text of a stream as it comes; gives the id of the last event, to come back with."""
    last = ""
    async with manager.subscribe(stream_id, after=after) as chunks:
        async for chunk in chunks:
            last = chunk.id
            if isinstance(chunk.data, Text):
                print(f"{name}: {chunk.data.text!r}")
            if chunk.is_final:
                print(f"{name}: the end, {chunk.data.outcome}")
            most -= 1
            if not most:
                break
    return last


async def main() -> None:
    async with StreamManager() as manager:
        stream = await manager.relay(model(), metadata={"prompt": "a poem"})
        watcher = asyncio.create_task(read(manager, stream.id, "watcher"))
        last = await read(manager, stream.id, "phone", most=2)  # a tunnel …
        await read(manager, stream.id, "phone", after=last)  # … and out of it again: nothing missed, nothing twice
        await watcher
        print("whole:", stream.snapshot()["content"])


if __name__ == "__main__":
    asyncio.run(main())
