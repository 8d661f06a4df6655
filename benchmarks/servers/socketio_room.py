"""python-socketio's `AsyncServer`: clients join a room, and an event is emitted to it. No transport but WebSocket."""

from __future__ import annotations

import socketio

from benchmarks.servers.host import serve

OVERHEAD_BYTES = len('42["message",""]') + 4

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


@server.event
async def connect(sid: str, environ: object) -> None:
    """Join before the client is told that it is connected, so that nothing published later is missed."""
    await server.enter_room(sid, "0")


async def publish(stream: int, text: str) -> None:
    """Emit to the room of that number."""
    await server.emit("message", text, room=str(stream))


if __name__ == "__main__":
    serve(socketio.ASGIApp(server), publish, OVERHEAD_BYTES, ws="websockets-sansio")
