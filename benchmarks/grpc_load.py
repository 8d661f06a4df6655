"""The load client for gRPC: many `Subscribe` calls from one process, each checked for order and completeness.

    python -m benchmarks.grpc_load PORT READERS STREAM --pace FD --timeout S [--calls N]

It says and obeys what `client/load.c` does, as far as the scenarios with gRPC need it: `phase COUNT BURST` and
`hold MS`. Responses are not parsed: their marker is found in the bytes. Calls share connections, N to each.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import sys
import time
from typing import Any

import grpc
import msgspec

from benchmarks.processes import Phase

_MARKER = re.compile(rb"@(\d{8}):(\d{20});")
_SUBSCRIBE = "/patinox.v1.Streams/Subscribe"


class Readers:
    """All calls, and what they have seen since the last command."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._next = [0] * options.readers
        self._request = _field(b"\x0a", options.stream.encode())
        self._channels: list[grpc.aio.Channel] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = 0
        self._mark = 0
        self._reached = 0
        self._changed = asyncio.Event()
        self._opened = 0
        self._forget()

    def _forget(self) -> None:
        self.messages = self.duplicates = self.gaps = self.bytes = self.reads = 0
        self.first_stamp_ns = self.last_ns = 0
        self.latencies_ns: list[int] = []
        self.began_ns = time.monotonic_ns()
        self.cpu_ns = _own_cpu_ns()

    async def open(self) -> Phase:
        """Opens all; done when each has been told its position."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        for first in range(0, self._options.readers, self._options.calls):
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{self._options.port}", options=options)
            self._channels.append(channel)
            subscribe: Any = channel.unary_stream(_SUBSCRIBE, request_serializer=bytes, response_deserializer=bytes)
            for number in range(first, min(first + self._options.calls, self._options.readers)):
                self._tasks.append(asyncio.create_task(self._read(number, subscribe(self._request))))
        await self._until(lambda: self._opened == self._options.readers)
        return self._said("ready")

    async def _read(self, number: int, call: Any) -> None:
        try:
            async for response in call:
                self._take(number, response)
        except grpc.aio.AioRpcError:
            pass
        finally:
            self._closed += 1

    def _take(self, number: int, response: bytes) -> None:
        now_ns = time.monotonic_ns()
        self.bytes += len(response)
        self.reads += 1
        found = _MARKER.findall(response)
        if not found:
            self._opened += 1
            self._changed.set()
        for sequence, stamp in found:
            self._count(number, int(sequence), int(stamp), now_ns)

    def _count(self, number: int, sequence: int, stamp_ns: int, now_ns: int) -> None:
        due = self._next[number]
        if due and sequence < due:
            self.duplicates += 1
            return
        self.gaps += sequence - due if due else 0
        self._next[number] = sequence + 1
        self.messages += 1
        self.last_ns = now_ns
        self.first_stamp_ns = self.first_stamp_ns or stamp_ns
        self.latencies_ns.append(now_ns - stamp_ns)
        if due <= self._mark <= sequence:
            self._reached += 1
            self._changed.set()

    async def phase(self, count: int, burst: int) -> Phase:
        """Until each reader has `count` messages more; with a `burst`, it paces the server."""
        self._forget()
        start = max(self._next)
        start = start - 1 if start else 0
        for mark in range(start + burst, start + count + 1, burst) if burst else (start + count,):
            self._mark, self._reached = mark, sum(1 for due in self._next if due > mark)
            if burst:
                os.write(self._options.pace, b"burst %d\n" % burst)
            await self._until(lambda: self._reached == self._options.readers)
        return self._said("phase")

    async def hold(self, milliseconds: int) -> Phase:
        """Reads whatever comes, for so long."""
        self._forget()
        await asyncio.sleep(milliseconds / 1000)
        return self._said("hold")

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(self._options.timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _said(self, phase: str) -> Phase:
        now_ns, taken = time.monotonic_ns(), sorted(self.latencies_ns) or [0]
        p50, p90, p99 = (taken[int(len(taken) * part)] for part in (0.5, 0.9, 0.99))
        return Phase(
            phase=phase, readers=self._options.readers, messages=self.messages, duplicates=self.duplicates,
            gaps=self.gaps, bytes=self.bytes, reads=self.reads, chunks=self.reads,
            wall_ns=now_ns - self.began_ns, span_ns=max(0, self.last_ns - self.first_stamp_ns),
            client_cpu_ns=_own_cpu_ns() - self.cpu_ns, p50_ns=p50, p90_ns=p90, p99_ns=p99, max_ns=taken[-1],
            refused=0, closed=self._closed, ended=self._closed, stalled=0, timed_out=False,
        )  # fmt: skip

    async def close(self) -> None:
        """Cancels all calls."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(channel.close() for channel in self._channels))


def _field(tag: bytes, data: bytes) -> bytes:
    return tag + bytes((len(data),)) + data


def _own_cpu_ns() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return int((used.ru_utime + used.ru_stime) * 1e9)


async def _main(options: argparse.Namespace) -> None:
    readers = Readers(options)
    print(msgspec.json.encode(await readers.open()).decode(), flush=True)
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    while line := await stdin.readline():
        match line.decode().split():
            case ["phase", count, burst]:
                answer = await readers.phase(int(count), int(burst))
            case ["hold", milliseconds]:
                answer = await readers.hold(int(milliseconds))
            case _:
                break
        print(msgspec.json.encode(answer).decode(), flush=True)
    await readers.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("readers", type=int)
    parser.add_argument("stream")
    parser.add_argument("--pace", type=int, required=True)
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("--calls", type=int, default=100)
    asyncio.run(_main(parser.parse_args()))
