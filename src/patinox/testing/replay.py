"""A provider's server that says what a log holds, on the provider's own routes, for the provider's own clients.

    async with replay_app(recorded_bytes, format="anthropic") as app:    # or a list of chunk data, or an ActiveStream
        ...                                                              # serve it with any ASGI server

Whatever dialect a log was read from, each route tells it in its own: `POST /v1/chat/completions`, `/v1/responses`,
`/v1/messages`, `/v1beta/models/{model}:streamGenerateContent`, `/api/chat`; `GET /v1/responses/{id}`. What is asked
does not matter, but for `stream`. `Last-Event-ID` and `?after=` resume as on `GET /v1/streams/{id}`.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
from starlette.requests import Request
from starlette.routing import Route, Router

from patinox.core.attach import After
from patinox.core.chunks import End, Error, Outcome, StreamChunk
from patinox.delivery.sink import Send
from patinox.delivery.wire import PlainWire, SseWire, Wire
from patinox.errors import InputError
from patinox.formats.base import Format, Frame
from patinox.formats.registry import builtin
from patinox.gateway.calls import Calling, whole
from patinox.gateway.exchange import failure
from patinox.gateway.messages_api import MESSAGES, anthropic_error
from patinox.gateway.openai_api import CHAT, openai_error
from patinox.gateway.responses_api import RESPONSES, after_number, response_of
from patinox.manager import ActiveStream, StreamManager
from patinox.manager.stream import parse_after
from patinox.transports.bodies import json_object
from patinox.transports.endpoint import Asgi, Endpoint, Handler, Reply
from patinox.transports.http import HttpReader, Receive

__all__ = ["ReplayApp", "replay_app"]

_MAX_REQUEST_BYTES = 2**20


def replay_app(
    source: ActiveStream | bytes | Iterable[Any], *, format: str | None = None, heartbeats: bool = False
) -> ReplayApp:
    """An ASGI application that serves one log in every dialect.

    `source`: an `ActiveStream`; bytes of the dialect that `format` names; or chunk data, events or chunks, of which an
    `End` or `Error` is the end (complete, where there is none). `heartbeats` puts one before every record, as a client
    sees it that waits long for each. Raises `InputError` for bytes without a format.
    """
    if isinstance(source, ActiveStream):
        return ReplayApp(source, (), heartbeats=heartbeats)
    if not isinstance(source, bytes):
        return ReplayApp(None, [item.data if isinstance(item, StreamChunk) else item for item in source],
                         heartbeats=heartbeats)  # fmt: skip
    if format is None:
        raise InputError("bytes are replayed in a format: name the dialect that they are in")
    reader = builtin()[format].reader()
    data = [*reader.feed(source), *reader.close()]
    return ReplayApp(None, [*data, reader.ending], heartbeats=heartbeats)


class ReplayApp:
    """What `replay_app` makes: an async context manager, which an ASGI server's lifespan enters as well.

    `stream` is the log; of one that was given, the application takes no care.
    """

    def __init__(self, stream: ActiveStream | None, data: Sequence[Any], *, heartbeats: bool) -> None:
        self._manager = StreamManager() if stream is None else stream.manager
        self._owns_manager = stream is None
        self._stream = stream
        self._data = data
        self._heartbeats = heartbeats
        self._formats = builtin()
        routes = [
            _route("/v1/chat/completions", self._called(CHAT), openai_error),
            _route("/v1/responses", self._called(RESPONSES), openai_error),
            _route("/v1/messages", self._called(MESSAGES), anthropic_error),
            _route("/{version}/models/{model}:streamGenerateContent", self._gemini, openai_error),
            _route("/api/chat", self._ollama, openai_error),
            Route("/v1/responses/{id}", Endpoint(self._retrieved, reply=openai_error), methods=["GET"]),
        ]
        self._router = Router(routes)

    def __repr__(self) -> str:
        return f"<ReplayApp {self._stream!r}>"

    @property
    def stream(self) -> ActiveStream:
        """The log. Raises `RuntimeError` before the application was entered."""
        if self._stream is None:
            raise RuntimeError("a replay_app is entered first, by `async with` or a server's lifespan")
        return self._stream

    async def __aenter__(self) -> Self:
        if self._owns_manager:
            await self._manager.__aenter__()
            self._stream = await _logged(self._manager, self._data)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owns_manager:
            await self._manager.aclose()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serves one request, or the lifespan."""
        if scope["type"] != "lifespan":
            await self._router(scope, receive, send)
            return
        while (message := await receive())["type"] == "lifespan.startup":
            await self.__aenter__()
            await send({"type": "lifespan.startup.complete"})
        await self.__aexit__(None, None, None)
        await send({"type": f"{message['type']}.complete"})

    # ── routes ──

    def _called(self, calling: Calling) -> Handler:
        async def called(request: Request) -> Asgi:
            body = await json_object(request.receive, _MAX_REQUEST_BYTES)
            return self._read(request, calling.format) if body.get("stream") else await self._whole(calling)

        return called

    async def _gemini(self, request: Request) -> Asgi:
        return self._read(request, self._formats["gemini"])

    async def _ollama(self, request: Request) -> Asgi:
        body = await json_object(request.receive, _MAX_REQUEST_BYTES)
        if body.get("stream") is False:
            raise InputError("this is replayed as a stream only")
        return self._read(request, self._formats["ollama"])

    async def _retrieved(self, request: Request) -> Asgi:
        query = request.query_params
        if query.get("stream", "").lower() not in ("1", "true"):
            return Reply(await response_of(self.stream))
        number = query.get("starting_after")
        if number is None:
            return self._read(request, RESPONSES.format)
        return self._reader(RESPONSES.format, await after_number(self.stream, number), fresh=False)

    def _read(self, request: Request, format_: Format[Any]) -> Asgi:
        last_event_id = request.headers.get("last-event-id")
        after = parse_after(last_event_id or request.query_params.get("after"))
        return self._reader(format_, after, fresh=last_event_id is None)

    def _reader(self, format_: Format[Any], after: After, *, fresh: bool) -> Asgi:
        return HttpReader(self._manager, self.stream, format_, self._wire(format_), after, fresh=fresh)

    def _wire(self, format_: Format[Any]) -> Wire:
        if format_.framing == "sse":
            events = _BeatingEvents if self._heartbeats else SseWire
            return events(format_, ids=False, controls=False)
        return _BeatingLines(format_) if self._heartbeats else PlainWire(format_)

    async def _whole(self, calling: Calling) -> Asgi:
        if self.stream.feed.went_wrong:
            raise await failure(self.stream, 502, {})
        return Reply(msgspec.to_builtins(whole(calling, self.stream)))


class _BeatingEvents(SseWire):
    """Events with a heartbeat before each record's: after the last there is none, as on a real connection."""

    def record(self, event_id: str, frames: Sequence[Frame]) -> bytes:
        """A heartbeat, and the record's bytes."""
        return self.heartbeat + super().record(event_id, frames)


class _BeatingLines(PlainWire):
    """The same in lines."""

    def record(self, event_id: str, frames: Sequence[Frame]) -> bytes:
        """A heartbeat, and the record's bytes."""
        return self.heartbeat + super().record(event_id, frames)


def _route(path: str, handler: Handler, reply: Any) -> Route:
    return Route(path, Endpoint(handler, reply=reply), methods=["POST"])


async def _logged(manager: StreamManager, data: Sequence[Any]) -> ActiveStream:
    stream = await manager.create()
    for item in data:
        if isinstance(item, End):
            await stream.finish(item.outcome, item.error)
        elif isinstance(item, Error):
            await stream.fail(item)
        else:
            stream.write_nowait(item)
    if stream.is_open:
        await stream.finish(Outcome.COMPLETE)
    return stream
