"""The hub: every WebSocket of one manager, from the handshake to the close.

    handshake ─▶ Origin and Host ─▶ subprotocol ─▶ a place (max_connections) ─▶ accept ─▶ WebSocketConnection.run
                   └─ 403             └─ 400          └─ 503, 429

A refusal is an HTTP answer where the server can give one (ASGI's `websocket.http.response`), else it closes before
accepting, which servers make a 403. As an ASGI application it can be routed to as it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

import msgspec

from patinox.core.chunks import Text
from patinox.core.codec import encode_data
from patinox.delivery.sink import Send
from patinox.errors import ConnectionNotFound, Forbidden, InputError, LimitExceeded, PatinoxError, ShuttingDown
from patinox.manager import ActiveStream, Relay, StreamManager
from patinox.manager.admission import Account
from patinox.transports.access import Access, Caller, account_of
from patinox.transports.http import CONNECTION, Receive, address_of
from patinox.transports.origins import Door, chosen_subprotocol
from patinox.transports.replies import error_reply
from patinox.transports.websocket import protocol
from patinox.transports.websocket.connection import WebSocketConnection
from patinox.transports.websocket.outlet import AsgiOutlet, DirectOutlet, Outlet
from patinox.transports.websocket.protocol import SUBPROTOCOL, Subscribe

if TYPE_CHECKING:  # whoever hands over a WebSocket has Starlette; the library alone has not
    from starlette.websockets import WebSocket

Scope = MutableMapping[str, Any]


class UpgradeRequired(InputError):
    """A plain request for what is a WebSocket."""

    code = "upgrade_required"
    http_status = 426


class WebSocketHandler:
    """Serves `patinox.v1` to any number of sockets, each with many streams.

        hub = WebSocketHandler(manager)
        app.router.routes.append(WebSocketRoute("/ws", hub))          # as an ASGI application
        await hub.handle_connection(websocket)                        # in an endpoint of your own

    `allowed_origins` and `allowed_hosts` are added to those of `streaming.websocket`; `strict` is for a server of one's
    own, which answers to no other names.
    """

    def __init__(
        self, manager: StreamManager, *, access: Access | None = None,
        allowed_origins: Iterable[str] = (), allowed_hosts: Iterable[str] = (), strict: bool = False,
    ) -> None:  # fmt: skip
        config = manager.config.websocket
        self._access = access if access is not None else Access(manager)
        self.manager = manager
        self.connections: dict[str, WebSocketConnection] = {}
        self._door = Door(
            (*config.allowed_origins, *allowed_origins), (*config.allowed_hosts, *allowed_hosts), strict=strict
        )
        manager.on_drain(self._drain)

    def __repr__(self) -> str:
        return f"<WebSocketHandler {len(self.connections)} connections>"

    def stats(self) -> dict[str, Any]:
        """Figures of the hub: sockets, and what they read."""
        subscriptions = sum(len(connection.readings) for connection in self.connections.values())
        return {"connections": len(self.connections), "subscriptions": subscriptions}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection, as an ASGI application; a plain request is told to upgrade."""
        if scope["type"] == "http":
            error = UpgradeRequired(f"this is a WebSocket: connect with the subprotocol {SUBPROTOCOL}")
            reply = error_reply(error)
            reply.headers |= {"upgrade": "websocket", "connection": "upgrade"}
            await reply(scope, receive, send)
        else:
            await self.handle_connection(scope, receive, send)

    async def handle_connection(
        self, socket: WebSocket | Scope, receive: Receive | None = None, send: Send | None = None,
        *, connection_id: str | None = None, metadata: MutableMapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Serves one socket until it ends: a Starlette or FastAPI `WebSocket`, not accepted yet, or ASGI's three.

        `connection_id` is the application's own name for it, for `stream_response`; `metadata` is kept with it.
        """
        if not isinstance(socket, MutableMapping):
            scope, receive, send = socket.scope, socket.receive, _told_as_oserror(socket)
        elif receive is not None and send is not None:
            scope = socket
        else:
            raise TypeError("handle_connection takes a WebSocket, or scope, receive and send")
        if (await receive())["type"] != "websocket.connect":
            return
        address = address_of(scope)
        try:
            if connection_id in self.connections:
                raise InputError(f"there is a connection {connection_id!r} already")
            caller = await self._access.caller(scope)
            account = account_of(caller, address)
            subprotocol = self._admit(scope, account)
        except PatinoxError as error:
            await _refuse(error, scope, receive, send)
            return
        try:
            await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})
            name = connection_id or secrets.token_urlsafe(12)
            await self._serve(scope, receive, send, caller, address, name, metadata)
        except OSError:
            pass  # it left before it was let in
        finally:
            self.manager.admission.leave(account)

    def _admit(self, scope: Scope, account: Account) -> str | None:
        refusal = self._door.refusal(scope)
        if refusal is not None:
            raise Forbidden(refusal)
        try:
            subprotocol = chosen_subprotocol(scope.get("subprotocols") or (), SUBPROTOCOL)
        except ValueError as error:
            raise InputError(str(error)) from error
        if self.manager.is_closing:
            raise ShuttingDown("the server is shutting down")
        self.manager.admission.enter(None, account)
        return subprotocol

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, caller: Caller, address: str, connection_id: str,
        metadata: MutableMapping[str, Any] | None,
    ) -> None:  # fmt: skip
        direct = scope.get("extensions", {}).get(CONNECTION)
        outlet: Outlet = AsgiOutlet(send, self.manager.fanout.driver) if direct is None else DirectOutlet(direct)
        connection = WebSocketConnection(
            connection_id, self._access, outlet, receive, send, caller=caller, address=address, metadata=metadata
        )
        self.connections[connection_id] = connection
        try:
            await connection.run()
        finally:
            del self.connections[connection_id]

    def _drain(self) -> tuple[WebSocketConnection, ...]:
        return tuple(self.connections.values())

    # ── what an application may do with its sockets ──

    async def stream_response(self, connection_id: str, response_stream: Any) -> ActiveStream:
        """Streams anything that yields (or an `ActiveStream`, or a `Relay`) to one socket; returns its stream.

        The stream goes on if the socket leaves, and anybody may attach to it. Raises `ConnectionNotFound`.
        """
        connection = self.connections.get(connection_id)
        if connection is None:
            raise ConnectionNotFound(f"there is no connection {connection_id[:80]!r}")
        if isinstance(response_stream, ActiveStream):
            stream = response_stream
        else:
            relay = response_stream if isinstance(response_stream, Relay) else self.manager.relay(response_stream)
            stream = await relay
        await connection.read_stream(stream, Subscribe(stream=stream.id), "start")
        return stream

    async def broadcast(self, data: Any, channel: str | None = None) -> None:
        """Tells everybody who reads a channel; without a name, every socket there is.

        What is told to a channel is kept and resumed with it. What is told to every socket belongs to no stream, so it
        is a `chunk` without `stream` and `id`, told now and never again.
        """
        if channel is not None:
            await self.manager.broadcast(data, channel)
            return
        value = Text(data) if isinstance(data, str) else data
        facts = {"event": value.kind, "data": msgspec.Raw(encode_data(value))}
        message = protocol.answer("chunk", None, facts)
        for connection in tuple(self.connections.values()):
            connection.notify(message)


async def _refuse(error: PatinoxError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a handshake with an HTTP error where the server can (ASGI's extension), else closes before accepting."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        code = 1012 if isinstance(error, ShuttingDown) else 4429 if isinstance(error, LimitExceeded) else 1008
        await send({"type": "websocket.close", "code": code, "reason": error.message[:120]})
        return

    async def denied(message: MutableMapping[str, Any]) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    await error_reply(error)(scope, receive, denied)


def _told_as_oserror(socket: WebSocket) -> Send:
    """The socket's `send`, which says that the client has gone as servers do."""
    from starlette.websockets import WebSocketDisconnect

    async def send(message: MutableMapping[str, Any]) -> None:
        try:
            await socket.send(message)
        except WebSocketDisconnect as error:
            raise ConnectionResetError("the client has gone") from error

    return send
