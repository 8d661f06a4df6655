"""Where the hub is found in a Starlette router."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route, WebSocketRoute

from patinox.transports.websocket.hub import WebSocketHandler


def routes(hub: WebSocketHandler) -> list[BaseRoute]:
    """`/v1/ws`: the socket, and what a plain request is told."""
    return [WebSocketRoute("/v1/ws", hub), Route("/v1/ws", hub)]
