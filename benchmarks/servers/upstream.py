"""A fake model upstream: answers any POST with OpenAI chat chunks at a steady rate. Part of the load, so it is cheap.

python -m benchmarks.servers.upstream TOKENS TOKENS_PER_S
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import cast

import uvloop

from benchmarks.servers.control import say
from benchmarks.servers.host import listen

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
START = (
    '{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench",'
    '"choices":[{"index":0,"delta":'
)
FIRST = START + '{"role":"assistant","content":""},"finish_reason":null}]}'
TOKEN = START + '{"content":" @%08d:%020d;"},"finish_reason":null}]}'
LAST = START + '{},"finish_reason":"stop"}]}'


def framed(*payloads: str) -> bytes:
    """Return payloads as SSE events inside one HTTP chunk."""
    body = "".join(f"data: {payload}\n\n" for payload in payloads).encode()
    return b"%x\r\n%s\r\n" % (len(body), body)


class Answers(asyncio.Protocol):
    """One connection: every request gets one answer, paced by absolute times."""

    def __init__(self, tokens: int, interval_s: float) -> None:
        self._tokens, self._interval_s = tokens, interval_s
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop answering."""
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer when the head and the body it announces are there."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if found and len(body) >= int((lengths or [b"0"])[0]):
            self._received = b""
            self._start_s = asyncio.get_running_loop().time()
            self._transport.write(HEAD + framed(FIRST))
            self._wait_for(1)

    def _wait_for(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._start_s + number * self._interval_s, self._send, number)

    def _send(self, number: int) -> None:
        if number > self._tokens:
            self._transport.write(framed(LAST, "[DONE]") + b"0\r\n\r\n")
        else:
            self._transport.write(framed(TOKEN % (number, time.monotonic_ns())))
            self._wait_for(number + 1)


async def main(tokens: int, tokens_per_s: int) -> None:
    """Serve until stdin ends."""
    sock = listen()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answers(tokens, 1 / tokens_per_s), sock=sock, backlog=4096)
    async with server:
        say(f"listening {sock.getsockname()[1]} {os.getpid()}")
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
