"""Fakes for tests without sockets and without waiting.

ManualClock   time that moves when a test says so, for a manager's clock and for an event loop's timers
AsgiClient    drives an ASGI application: collects what it sends, suspends `send`, disconnects when a test says so
FakeSink      a sink of the fan-out: takes messages, suspends, or breaks
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Self

import msgspec

from patinox.delivery.sink import start

App = Callable[[MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Any]], Awaitable[None]]


async def turns(count: int = 20) -> None:
    """Gives the event loop `count` turns, so that everything that is ready happens; waits for nothing else."""
    for _ in range(count):
        await asyncio.sleep(0)


class ManualClock:
    """Seconds that stand still until `advance`. Calling it tells the time, as `time.time` does.

    `install` puts it under a running asyncio loop (not uvloop, whose clock is its own): its timers then fire only in
    `advance`. A loop with nothing to do but timers would wait for them in real time, so tests advance, never sleep.
    """

    def __init__(self, now_s: float = 1_700_000_000.0) -> None:
        self.now_s = now_s

    def __repr__(self) -> str:
        return f"<ManualClock {self.now_s}>"

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now_s

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Makes this the time of `loop`, going on from the loop's own."""
        self.now_s = loop.time()
        loop.time = self  # type: ignore[method-assign]

    async def advance(self, seconds: float) -> None:
        """Moves on and lets what is due happen."""
        self.now_s += seconds
        await turns()


class AsgiExchange:
    """One request to an ASGI application (HTTP scope of ASGI 3) and what it answered so far.

    `messages` is all it sent. After `suspend`, its next `send` waits until `resume`. `async with` starts it and, at
    the end, disconnects and waits for it; `finished` waits for its own end and raises what it raised.
    """

    def __init__(self, app: App, scope: MutableMapping[str, Any], body: Iterable[bytes], *, keep_open: bool) -> None:
        self.messages: list[MutableMapping[str, Any]] = []
        self.is_connected = True
        self._app = app
        self._scope = scope
        self._requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._changed = asyncio.Event()
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        for piece in body:
            self.feed(piece)
        if not keep_open:
            self.feed(b"", more=False)

    def __repr__(self) -> str:
        return f"<AsgiExchange {self._scope['method']} {self._scope['path']} {len(self.messages)} messages>"

    # ── the client's side ──

    def feed(self, piece: bytes, *, more: bool = True) -> None:
        """Sends a piece of the request's body."""
        self._requests.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    def disconnect(self) -> None:
        """Leaves: the application is told when it asks, and what it sends from now on is lost."""
        self.is_connected = False
        self._gone.set()
        self._may_send.set()
        self._requests.put_nowait({"type": "http.disconnect"})

    def suspend(self) -> None:
        """Stops taking: the next `send` waits."""
        self._may_send.clear()

    def resume(self) -> None:
        """Takes again."""
        self._may_send.set()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Waits, event-driven, until `condition()` holds. Raises AssertionError if the application ends before."""
        while not condition():
            assert self._task is not None
            if self._task.done():
                self._task.result()
                raise AssertionError(f"the application ended before, having sent {self.body!r}")
            self._changed.clear()
            await self._changed.wait()

    async def finished(self) -> Self:
        """Waits until the application returns. Raises what it raised."""
        assert self._task is not None
        await asyncio.wait((self._task,))
        self._task.result()
        return self

    @property
    def is_finished(self) -> bool:
        """Whether the application has returned."""
        return self._task is not None and self._task.done()

    # ── the answer ──

    @property
    def status(self) -> int:
        """The status; 0 before there is one."""
        return int(self.messages[0]["status"]) if self.messages else 0

    @property
    def headers(self) -> dict[str, str]:
        """The headers, names in lower case."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.messages[0]["headers"]}

    @property
    def bodies(self) -> list[bytes]:
        """What each message of the body carried."""
        return [message.get("body", b"") for message in self.messages if message["type"] == "http.response.body"]

    @property
    def body(self) -> bytes:
        """The body so far."""
        return b"".join(self.bodies)

    @property
    def text(self) -> str:
        """The body so far, as UTF-8."""
        return self.body.decode()

    @property
    def is_whole(self) -> bool:
        """Whether the body was ended by its last message."""
        return bool(self.messages) and self.messages[-1].get("more_body") is False

    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)

    # ── the application's side ──

    async def _receive(self) -> dict[str, Any]:
        if self._gone.is_set():
            return {"type": "http.disconnect"}
        return await self._requests.get()

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if not self._may_send.is_set():
            await self._may_send.wait()
        if self.is_connected:
            if self.is_whole:
                raise RuntimeError(f"sent after the end of the body: {message!r}")
            self.messages.append(message)
            self._changed.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        finally:
            self._changed.set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        if not self._task.done():
            self.disconnect()
            await asyncio.wait((self._task,))
        if error is None:
            self._task.result()


class AsgiClient:
    """Makes requests of an ASGI application in the same event loop.

    >>> client = AsgiClient(app)                                            # doctest: +SKIP
    >>> (await client.request("GET", "/v1/streams/none")).status            # doctest: +SKIP
    404
    >>> async with client.open("GET", "/v1/streams/a") as exchange:         # doctest: +SKIP
    ...     await exchange.until(lambda: b"Hello" in exchange.body)
    """

    def __init__(self, app: App) -> None:
        self._app = app

    def __repr__(self) -> str:
        return f"<AsgiClient of {self._app!r}>"

    def open(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] = b"", keep_open: bool = False,
    ) -> AsgiExchange:  # fmt: skip
        """A request to be entered with `async with`. `keep_open` leaves the body to `feed`."""
        path, _, query = target.partition("?")
        scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "method": method, "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "",
            "query_string": query.encode(), "client": ("127.0.0.1", 50000), "server": ("127.0.0.1", 80),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        }  # fmt: skip
        pieces = [body] if isinstance(body, bytes) else body
        return AsgiExchange(self._app, scope, [piece for piece in pieces if piece], keep_open=keep_open)

    async def request(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] = b"", json: Any = None,
    ) -> AsgiExchange:  # fmt: skip
        """A request and its whole answer. `json` is sent as a JSON body, unless it is None."""
        if json is not None:
            body, headers = msgspec.json.encode(json), {"content-type": "application/json", **(headers or {})}
        async with self.open(method, target, headers=headers, body=body) as exchange:
            return await exchange.finished()


class FakeSink:
    """A sink that keeps what it was given: `(data, final)` each. `suspend` makes pushes wait, `break_with` raise."""

    kind = "fake"

    def __init__(self, *, suspended: bool = False) -> None:
        self.messages: list[tuple[bytes, bool]] = []
        self.broken: Exception | None = None
        self._released = asyncio.Event()
        if not suspended:
            self._released.set()

    def __repr__(self) -> str:
        return f"<FakeSink {len(self.messages)} messages, {len(self.data)} bytes>"

    @property
    def data(self) -> bytes:
        """Everything that left, joined."""
        return b"".join(data for data, _ in self.messages)

    @property
    def finals(self) -> int:
        """How many messages said that they were the last one."""
        return sum(final for _, final in self.messages)

    def suspend(self) -> None:
        """The next message waits until `resume`."""
        self._released.clear()

    def resume(self) -> None:
        """What waits leaves."""
        self._released.set()

    def break_with(self, error: Exception) -> None:
        """Pushes raise `error`, waiting ones too."""
        self.broken = error
        self._released.set()

    def pack(self, data: bytes, *, final: bool) -> tuple[bytes, bool]:
        """The message."""
        return data, final

    def push(self, message: tuple[bytes, bool]) -> Awaitable[None] | None:
        """Takes it now, or returns what takes it later."""
        return start(self._send(message))

    async def _send(self, message: tuple[bytes, bool]) -> None:
        if not self._released.is_set():
            await self._released.wait()
        if self.broken is not None:
            raise self.broken
        self.messages.append(message)
