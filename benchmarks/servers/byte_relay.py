"""The gateway's lower bound in Python: aiohttp reads bytes from the upstream and writes the same bytes on."""

from __future__ import annotations

import asyncio
import os
import sys

import uvloop
from aiohttp import ClientSession, TCPConnector, web

from benchmarks.servers.control import say
from benchmarks.servers.host import listen


async def relay(request: web.Request, session: ClientSession, url: str) -> web.StreamResponse:
    """Pass the body up and the answer down, chunk by chunk as it arrives."""
    async with session.post(url, data=await request.read()) as upstream:
        response = web.StreamResponse(headers={"content-type": upstream.content_type})
        await response.prepare(request)
        async for data in upstream.content.iter_any():
            await response.write(data)
    return response


async def main(upstream_port: str) -> None:
    """Serve until stdin ends."""
    url = f"http://127.0.0.1:{upstream_port}/v1/chat/completions"
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", lambda request: relay(request, session, url))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        sock = listen()
        await web.SockSite(runner, sock, backlog=4096, shutdown_timeout=1).start()
        say(f"listening {sock.getsockname()[1]} {os.getpid()}")
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
