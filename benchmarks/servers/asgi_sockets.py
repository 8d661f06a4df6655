"""A loop over the `send` of all sockets, without any framework: what a delivery costs behind another server's ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from benchmarks.servers.host import serve

OVERHEAD_BYTES = 4

Event = MutableMapping[str, Any]
Send = Callable[[Event], Awaitable[None]]

sends: set[Send] = set()


async def publish(stream: int, text: str) -> None:
    """Send it to one after the other; the server frames it for each."""
    for send in tuple(sends):
        await send({"type": "websocket.send", "text": text})


async def app(scope: Event, receive: Callable[[], Awaitable[Event]], send: Send) -> None:
    """Take part from the handshake until the client leaves."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    sends.add(send)
    try:
        while (await receive())["type"] != "websocket.disconnect":
            pass
    finally:
        sends.discard(send)


if __name__ == "__main__":
    serve(app, publish, OVERHEAD_BYTES, ws="websockets-sansio")
