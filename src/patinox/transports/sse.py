"""Server-sent events for an application's own events: to one connection, to many, to all.

    handler = SSEHandler(manager)

    @app.get("/events")
    async def events(request):
        return await handler.create_stream(request, connection_id=user.id)

    await handler.send_event(user.id, SSEEvent("42 unread", event="inbox"))
    await handler.broadcast(SSEEvent("deploy at noon", event="notice"))

All connections read one log, so an event is encoded once however many get it, and a browser that comes back with its
`Last-Event-ID` gets what it missed: what was broadcast, and what was addressed to *its* connection id. Give a
connection the id of whom it belongs to, as your authentication knows it: who has the id gets the events.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import msgspec

from patinox.core.chunks import StreamChunk
from patinox.core.codec import encode_data
from patinox.delivery.wire import SseWire
from patinox.errors import InputError
from patinox.formats.base import Format, Frame, StreamHead
from patinox.formats.framing import encode_event
from patinox.formats.patinox import NativeReader
from patinox.incremental.assembler import Assembly
from patinox.manager import ActiveStream, StreamManager
from patinox.manager.stream import parse_after
from patinox.transports.http import HttpReader


class SSEEvent(msgspec.Struct, frozen=True):
    """One event: `data` of any text (several lines are fine), `event` its name, `id` for `SSEFormatter` alone."""

    data: str
    event: str = "message"
    id: str = ""


class SSEFormatter:
    """Events as text, `retry:` included, for code that writes a socket of its own (WHATWG HTML §9.2.6)."""

    def __init__(self, retry_interval_s: float = 5.0) -> None:
        self.retry_interval_s = retry_interval_s

    def __repr__(self) -> str:
        return f"<SSEFormatter retry {self.retry_interval_s} s>"

    def format(self, event: SSEEvent) -> str:
        """The block for one event. Raises `InputError` for CR, LF or NUL in `event` or `id`."""
        retry_ms = round(self.retry_interval_s * 1000)
        return encode_event(event.data, event=event.event, id=event.id, retry_ms=retry_ms).decode()


class Addressed(msgspec.Struct, frozen=True):
    """An event in the log, and whom it is for; None is everybody."""

    kind: ClassVar[str] = "sse.event"
    data: str
    event: str
    to: frozenset[str] | None = None


class _Writer:
    """The event as it was given; the log's end as an event `end`."""

    def initial(self, head: StreamHead) -> None:
        """No state."""

    def write(self, state: None, chunk: StreamChunk, assembly: Assembly) -> tuple[None, Sequence[Frame]]:
        """One frame a record."""
        data = chunk.data
        if isinstance(data, Addressed):
            return None, (Frame(data.data.encode(), data.event),)
        return None, (Frame(chunk.payload or encode_data(data), data.kind),)

    def openers(self, state: None, assembly: Assembly) -> Sequence[Frame]:
        """None: nothing is open."""
        return ()


_EVENTS: Format[Any] = Format(
    name="sse-events",
    title="An application's own events",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=NativeReader,
    writer=_Writer(),
    stateless=True,
    heartbeat=b": \n\n",
)


class SSEHandler:
    """Named events to connections, on the manager's engine: bounded, resumable, encoded once.

    Who lags behind the window (`buffer_size`) is told a `gap` event with the range that it missed.
    """

    def __init__(self, manager: StreamManager) -> None:
        self._manager = manager
        self._stream: ActiveStream | None = None
        self._creating = asyncio.Lock()
        self._wire = SseWire(
            _EVENTS, ids=True, controls=True, retry_ms=round(manager.config.sse.retry_interval_s * 1000)
        )

    def __repr__(self) -> str:
        return f"<SSEHandler {self.connections} connections>"

    @property
    def connections(self) -> int:
        """How many are connected."""
        return 0 if self._stream is None else self._stream.feed.readers

    async def create_stream(self, request: Any, *, connection_id: str | None = None) -> HttpReader:
        """Answers a request with the events for `connection_id` (one that nobody can guess, if not given).

        `request` needs `headers` only, as Starlette's has. The answer is an ASGI application: return it from an
        endpoint as `patinox.asgi.StreamResponse(answer)`, or call it. New connections get what comes from now on.
        Raises `InvalidEventId` for a `Last-Event-ID` that is none.
        """
        stream = await self._log()
        after = parse_after(request.headers.get("last-event-id") or "now")
        audience = connection_id if connection_id is not None else secrets.token_urlsafe(16)
        return HttpReader(self._manager, stream, _EVENTS, self._wire, after, audience=audience)

    async def send_event(self, connection_id: str | Iterable[str], event: SSEEvent | str) -> StreamChunk:
        """Sends to one connection, or to many: those connected now under that id, and those that come back for it."""
        to = frozenset((connection_id,) if isinstance(connection_id, str) else connection_id)
        return await self._append(event, to)

    async def broadcast(self, event: SSEEvent | str) -> StreamChunk:
        """Sends to all."""
        return await self._append(event, None)

    async def aclose(self) -> None:
        """Ends every connection, with an event `end`."""
        if self._stream is not None and self._stream.is_open:
            await self._stream.finish()

    async def _append(self, event: SSEEvent | str, to: frozenset[str] | None) -> StreamChunk:
        said = SSEEvent(event) if isinstance(event, str) else event
        if said.event in ("position", "gap", "snapshot", "end", "error"):
            raise InputError(f"{said.event!r} is an event of the transport's own; name yours otherwise")
        encode_event(b"", event=said.event)  # refuses a name that would forge another field
        stream = await self._log()
        return await stream.write(Addressed(said.data, said.event, to))  # type: ignore[arg-type]

    async def _log(self) -> ActiveStream:
        async with self._creating:
            if self._stream is None:
                stream = await self._manager.create(retain="window", metadata={"purpose": "server-sent events"})
                stream.assembly.own_data = True  # no snapshot could stand for what was missed: it is told as a gap
                self._stream = stream
        return self._stream
