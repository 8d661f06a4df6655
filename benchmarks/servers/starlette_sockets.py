"""Starlette's `WebSocket.send_text` in a loop over all sockets: the broadcast of every tutorial."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.servers.host import serve

OVERHEAD_BYTES = 4

sockets: set[WebSocket] = set()


async def publish(stream: int, text: str) -> None:
    """Send it to one after the other; the server frames it for each."""
    for socket in tuple(sockets):
        await socket.send_text(text)


async def listen(socket: WebSocket) -> None:
    """Take part from the handshake until the client leaves."""
    await socket.accept()
    sockets.add(socket)
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        pass
    finally:
        sockets.discard(socket)


if __name__ == "__main__":
    serve(Starlette(routes=[WebSocketRoute("/ws", listen)]), publish, OVERHEAD_BYTES, ws="websockets-sansio")
