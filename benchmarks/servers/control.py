"""The benchmark's control protocol, the same for every contestant.

A server prints ``listening PORT PID`` (the process whose CPU and memory count), then obeys lines on stdin until
end of file:

- ``burst N`` publishes N messages to stream 0, at once;
- ``fill N`` does the same and then prints ``filled`` (nobody need be reading);
- ``steady STREAMS MESSAGES INTERVAL_MS`` publishes MESSAGES to each of STREAMS streams, one each interval, the
  streams spread evenly over it, and prints ``steady`` at the end.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable

from benchmarks.servers.frames import payload

Publish = Callable[[int, str], Awaitable[None]]
"""Publishes one payload to the stream of that number."""

TICK_S = 0.002


class Publisher:
    """Numbers the messages of each stream and obeys the commands."""

    def __init__(self, publish: Publish, overhead_bytes: int) -> None:
        self._publish = publish
        self._overhead_bytes = overhead_bytes
        self._sequences: defaultdict[int, int] = defaultdict(int)

    async def obey(self, line: str) -> str | None:
        """Carry out one command; the answer is printed when there is one."""
        match line.split():
            case ["burst", count]:
                await self._burst(int(count))
                return None
            case ["fill", count]:
                await self._burst(int(count))
                return "filled"
            case ["steady", streams, messages, interval_ms]:
                await self._steady(int(streams), int(messages), float(interval_ms) / 1000)
                return "steady"
            case _:
                raise ValueError(f"unknown command {line!r}")

    async def _next(self, stream: int) -> None:
        self._sequences[stream] += 1
        await self._publish(stream, payload(self._sequences[stream], self._overhead_bytes))

    async def _burst(self, count: int) -> None:
        for _ in range(count):
            await self._next(0)

    async def _steady(self, streams: int, messages: int, interval_s: float) -> None:
        """Publication k is due at k·interval/streams: absolute times, so lateness does not add up."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        done, total = 0, streams * messages
        while done < total:
            due = min(total, int((loop.time() - start_s) / interval_s * streams))
            for number in range(done, due):
                await self._next(number % streams)
            done = max(done, due)
            await asyncio.sleep(TICK_S)


def say(line: str) -> None:
    """Print one line for the runner, at once."""
    print(line, flush=True)


async def obey_stdin(publisher: Publisher) -> None:
    """Obey commands until end of file."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if answer := await publisher.obey(line.decode()):
            say(answer)
