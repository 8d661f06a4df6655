"""WebSockets on the server: the class that uvicorn takes as its `ws`, and the ASGI application's side of one.

    uvicorn's HTTP protocol ─the request─▶ handshake ─▶ scope ─▶ application ─accept─▶ FramedConnection
                                              └─ refused, or denied by the application: an HTTP response

ASGI's WebSocket specification 2.4, with the extension `websocket.http.response`. Under the extension
`patinox.connection` the application gets the connection itself (`frames.DirectSocket`). An idle connection has no task
but the application's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import uvicorn
from uvicorn.protocols.utils import ClientDisconnected, get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from patinox.config.streaming import WebSocketConfig
from patinox.server.websocket_connection import End, FramedConnection, State
from patinox.server.websocket_deflate import negotiate
from patinox.server.websocket_frames import Text
from patinox.server.websocket_handshake import Handshake, Refused, accepted, denied, head, read_request
from patinox.server.websocket_pulse import Pulse
from patinox.transports.http import CONNECTION
from patinox.transports.websocket.frames import CloseCode, Opcode, message

Event = MutableMapping[str, Any]

CLOSE_TIMEOUT_S = 5.0
"""How long a peer may take for its part of closing, and an application for what came before the end."""

_OURS_TO_SAY = (b"connection", b"transfer-encoding")  # the body of a denial ends with the connection

_log = logging.getLogger("uvicorn.error")


def websocket_protocol(limits: WebSocketConfig, *, close_timeout_s: float = CLOSE_TIMEOUT_S) -> type[WebSocketProtocol]:
    """The class that one uvicorn server takes as its `ws`, with these limits."""

    class LimitedWebSocketProtocol(WebSocketProtocol):
        __slots__ = ()

    LimitedWebSocketProtocol.limits = limits
    LimitedWebSocketProtocol.pulse = Pulse(limits.ping_interval_s)
    LimitedWebSocketProtocol.close_timeout_s = close_timeout_s
    return LimitedWebSocketProtocol


class WebSocketProtocol(FramedConnection):
    """One connection. Made by uvicorn's HTTP protocol for an upgrade, whose request it is fed first."""

    __slots__ = ("_app_state", "_config", "_handshake", "_is_introduced", "_server")

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:  # fmt: skip
        if not config.loaded:
            config.load()
        super().__init__(_loop or asyncio.get_running_loop())
        self._config = config
        self._server = server_state
        self._app_state = app_state
        self._handshake: Handshake | None = None
        self._is_introduced = False

    # ── what the transport and the server call ──

    def connection_made(self, transport: Any) -> None:
        """The transport is there; the request follows."""
        super().connection_made(transport)
        self._server.connections.add(self)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """The request, then frames."""
        if self._handshake is None and self.state is State.CONNECTING:
            self._begin(data)
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, however it went."""
        self._server.connections.discard(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends."""
        if self.state is State.CONNECTING:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "the server is restarting")
        elif self.state is State.OPEN:
            self.close(CloseCode.RESTART)

    # ── the handshake ──

    def _begin(self, request: bytes) -> None:
        try:
            handshake = self._handshake = read_request(request)
        except Refused as refusal:
            self._refuse(refusal.status, str(refusal), refusal.headers)
            return
        task = self.loop.create_task(self._run(self._scope(handshake)))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _scope(self, handshake: Handshake) -> Event:
        path, _, query = handshake.target.partition("?")
        root = self._config.root_path
        return {
            "type": "websocket",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(self.transport) else "ws",
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "root_path": root,
            "path": root + unquote(path),
            "raw_path": (root + path).encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": handshake.headers,
            "subprotocols": handshake.subprotocols,
            "state": self._app_state.copy(),
            "extensions": {"websocket.http.response": {}, CONNECTION: self},
        }

    async def _run(self, scope: Event) -> None:
        code = CloseCode.INTERNAL_ERROR
        try:
            await self._config.loaded_app(scope, self.receive, self.send)
            code = CloseCode.NORMAL
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            code = CloseCode.RESTART
            raise
        except Exception:
            _log.exception("Exception in ASGI application\n")
        finally:
            self._leave(code)

    def _leave(self, code: CloseCode) -> None:
        """The application has returned, or failed."""
        if self.state is State.CONNECTING:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the application did not answer")
        elif self.state is State.DENYING:
            self.hang_up()
        elif self.state is State.OPEN and self.end is None:
            self.close(code)
        else:
            self.say_goodbye()

    def _refuse(self, status: int, said: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.write(denied(status, said.encode(), headers or ()))
        self.hang_up()
        self.ends(End(CloseCode.ABNORMAL))

    # ── what the application calls ──

    async def receive(self) -> Event:
        """The next ASGI event: connect, messages, and disconnect, which is said again to whoever asks again."""
        if not self._is_introduced:
            self._is_introduced = True
            return {"type": "websocket.connect"}
        received = await self.next_message()
        if received is None:
            end = self.end or End(CloseCode.ABNORMAL)
            return {"type": "websocket.disconnect", "code": int(end.code), "reason": end.reason}
        kind = "text" if isinstance(received, Text) else "bytes"
        return {"type": "websocket.receive", kind: received.data}

    async def send(self, event: Event) -> None:
        """Takes one ASGI event. Raises ClientDisconnected, an OSError, when nobody is there to be sent anything."""
        kind, state = event["type"], self.state
        if kind == "websocket.send" and state is State.OPEN:
            await self._send(event)
        elif state in (State.CLOSING, State.CLOSED):
            raise ClientDisconnected("the client has gone")
        elif kind == "websocket.close" and state is State.OPEN:
            self.close(event.get("code") or CloseCode.NORMAL, event.get("reason") or "")
        elif kind == "websocket.close" and state is State.CONNECTING:
            self._refuse(HTTPStatus.FORBIDDEN, "")
        elif kind == "websocket.accept" and state is State.CONNECTING:
            self._accept(event)
        elif kind == "websocket.http.response.start" and state is State.CONNECTING:
            self._deny(event)
        elif kind == "websocket.http.response.body" and state is State.DENYING:
            await self._deny_with(event)
        else:
            raise RuntimeError(f"a connection that is {state.value} takes no {kind!r}")

    async def _send(self, event: Event) -> None:
        data = event.get("bytes")
        if data is not None:
            frame = message(Opcode.BINARY, bytes(data), window_bits=self.window_bits)
        else:
            frame = message(Opcode.TEXT, event["text"].encode(), window_bits=self.window_bits)
        if self.is_full:
            await self.drain()
            if self.state is not State.OPEN:
                raise ClientDisconnected("the client has gone")
        self.transport.write(frame)

    def _accept(self, event: Event) -> None:
        assert self._handshake is not None
        agreement = negotiate(self._handshake.extensions) if self.limits.compression else None
        self.write(
            accepted(
                self._handshake.accept,
                [*self._server.default_headers, *event.get("headers", ())],
                subprotocol=event.get("subprotocol") or "",
                extensions="" if agreement is None else agreement.header,
            )
        )
        self._handshake = None
        self.begin(agreement)

    def _deny(self, event: Event) -> None:
        headers = [(name, value) for name, value in event.get("headers", ()) if name.lower() not in _OURS_TO_SAY]
        self.write(head(event["status"], [*self._server.default_headers, *headers, (b"connection", b"close")]))
        self.state = State.DENYING

    async def _deny_with(self, event: Event) -> None:
        await self.drain()
        self.write(event.get("body", b""))
        if not event.get("more_body", False):
            self.hang_up()
            self.ends(End(CloseCode.ABNORMAL))
