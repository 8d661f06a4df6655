"""WebSocket clients for tests: one of an ASGI application in the same event loop, and what `patinox.v1` says to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Self

import msgspec

Json = dict[str, Any]


class AsgiSocket:
    """One WebSocket to an ASGI application (ASGI 3). `ops` is all that it was told, parsed; `async with` opens it.

    After `suspend`, the application's next `send` waits until `resume`. `denial` says that the server can answer a
    handshake with an HTTP response.
    """

    def __init__(
        self, app: Any, path: str = "/v1/ws", *, headers: Mapping[str, str] | None = None,
        subprotocols: tuple[str, ...] = (), denial: bool = True, server: tuple[str, int] = ("127.0.0.1", 80),
    ) -> None:  # fmt: skip
        named = {"host": "localhost", **(headers or {})}
        self.scope: dict[str, Any] = {
            "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "scheme": "ws", "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"",
            "headers": [(key.lower().encode(), value.encode()) for key, value in named.items() if value],
            "client": ("127.0.0.1", 50000), "server": server, "subprotocols": list(subprotocols),
            "extensions": {"websocket.http.response": {}} if denial else {},
        }  # fmt: skip
        self.messages: list[MutableMapping[str, Any]] = []
        self.ops: list[Json] = []
        self.close_code: int | None = None  # of the server's close
        self._app = app
        self._inbox: asyncio.Queue[Json] = asyncio.Queue()
        self._inbox.put_nowait({"type": "websocket.connect"})
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._changed = asyncio.Event()
        self._gone = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<AsgiSocket {len(self.ops)} ops>"

    # ── the client's side ──

    def send(self, op: str, **facts: Any) -> None:
        """Sends an op."""
        self.send_text(msgspec.json.encode({"op": op, **facts}).decode())

    def send_text(self, text: str) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", "text": text})

    def send_bytes(self, data: bytes) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", "bytes": data})

    async def ask(self, op: str, **facts: Any) -> Json:
        """Sends an op with a ref of its own, and waits for its answer."""
        ref = f"r{len(self.ops)}-{id(facts)}"
        self.send(op, ref=ref, **facts)
        return await self.told(lambda said: said.get("ref") == ref)

    def leave(self) -> None:
        """Goes away: the application is told, and what it sends from now on is lost."""
        self._gone = True
        self._may_send.set()
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1006})

    def suspend(self) -> None:
        self._may_send.clear()

    def resume(self) -> None:
        self._may_send.set()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Waits, event-driven, until `condition()` holds. Raises AssertionError if the application ends before."""
        while not condition():
            assert self._task is not None
            if self._task.done():
                self._task.result()
                raise AssertionError(f"the application ended before, having said {self.messages[-3:]}")
            self._changed.clear()
            await self._changed.wait()

    async def told(self, condition: Callable[[Json], Any]) -> Json:
        """The first op that fulfils a condition, once it is there."""
        found: list[Json] = []

        def look() -> bool:
            found[:] = [said for said in self.ops if condition(said)]
            return bool(found)

        await self.until(look)
        return found[0]

    async def finished(self) -> Self:
        """Waits until the application returns. Raises what it raised."""
        assert self._task is not None
        await asyncio.wait((self._task,))
        self._task.result()
        return self

    # ── what it was told ──

    def of(self, op: str, **facts: Any) -> list[Json]:
        """The ops of one kind, with these facts."""
        return [said for said in self.ops if said["op"] == op and all(said.get(key) == facts[key] for key in facts)]

    def data(self, stream: str) -> list[Any]:
        """The data of a stream's chunks."""
        return [said["data"] for said in self.of("chunk", stream=stream)]

    @property
    def is_accepted(self) -> bool:
        return any(message["type"] == "websocket.accept" for message in self.messages)

    @property
    def status(self) -> int | None:
        """The status a handshake was answered with."""
        return next((m["status"] for m in self.messages if m["type"] == "websocket.http.response.start"), None)

    # ── the application's side ──

    async def _receive(self) -> Json:
        return await self._inbox.get()

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if not self._may_send.is_set():
            await self._may_send.wait()
        if self._gone:
            raise ConnectionResetError("the client has gone")
        if self.close_code is not None:
            raise RuntimeError(f"sent after the close: {message!r}")
        self.messages.append(message)
        if message["type"] == "websocket.send":
            self.ops.append(msgspec.json.decode(message["text"]))
        elif message["type"] == "websocket.close":
            self.close_code = message["code"]
        self._changed.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._run())
        await self.until(lambda: self.messages)
        return self

    async def _run(self) -> None:
        try:
            await self._app(self.scope, self._receive, self._send)
        finally:
            self._changed.set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        if not self._task.done():
            self.leave()
            await asyncio.wait((self._task,))
        if error is None:
            self._task.result()
