"""One call of a client: attach to the log it names, or ask the upstream and write what it says into a new log.

The upstream is read by a task of the manager's, never by the request: a client that leaves, before the first token
too, leaves the answer running (or not, as `on_abandon` says). The request waits for the first record, so that what
goes wrong before it can still be told with the right status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import msgspec
from starlette.requests import Request

from patinox.core.chunks import End, Error, Outcome
from patinox.errors import InputError, PatinoxError, StreamExists
from patinox.gateway.client import UpstreamClient
from patinox.gateway.upstreams import Upstream
from patinox.manager import ActiveStream, StreamManager
from patinox.manager.sources import Source
from patinox.transports.http import until_disconnect


class CallFailed(PatinoxError):
    """A call that ended before its first record: the log's own error, with the status that goes with it."""

    def __init__(self, error: Error, default_status: int) -> None:
        super().__init__(error.message)
        self.error = error
        self.http_status = error.status or default_status

    def as_dict(self) -> dict[str, Any]:
        """`code`, `message` and, where there was one, the upstream's own error body."""
        body = {"code": self.error.code, "message": self.error.message}
        return body if self.error.provider is None else {**body, "upstream": self.error.provider}


class ClientLeft(PatinoxError):
    """The client went away before anything could be answered; nobody reads this."""

    code = "client_left"
    http_status = 499


class CallOptions(msgspec.Struct, frozen=True):
    """What a client may say beside the request itself."""

    stream_id: str | None = None
    on_abandon: str | None = None
    detached: bool = False

    @classmethod
    def of(cls, request: Request) -> CallOptions:
        """From the `Patinox-Stream-Id` and `Patinox-On-Abandon` headers, and `?detached=true`."""
        detached = request.query_params.get("detached", "").lower() in ("1", "true")
        headers = request.headers
        return cls(headers.get("patinox-stream-id"), headers.get("patinox-on-abandon"), detached)


class Exchange:
    """Turns calls into logs."""

    def __init__(self, manager: StreamManager, client: UpstreamClient) -> None:
        self.manager = manager
        self._client = client

    async def begin(
        self, options: CallOptions, upstream: Upstream, path: str, body: dict[str, Any], *, model: str
    ) -> ActiveStream:
        """The log of this call: the one that `Patinox-Stream-Id` names if it is there, else a new one being written.

        Raises `InputError` for an id that won't do, or what the upstream's `check` raises.
        """
        known = self._known(options.stream_id)
        if known is not None:
            return known
        upstream.check()
        metadata = {"model": model, "upstream": upstream.name}
        try:
            stream = await self.manager.create(id=options.stream_id, metadata=metadata, on_abandon=options.on_abandon)
        except StreamExists:  # somebody else's retry was a moment faster
            return self.manager.get(options.stream_id or "")
        answer = self._client.ask(upstream, path, body)
        source = Source(answer, formats=self.manager.formats, format_=upstream.dialect, strict=True)
        self.manager.run(source, stream)
        return stream

    def _known(self, stream_id: str | None) -> ActiveStream | None:
        return None if stream_id is None else self.manager.find_id(stream_id)

    async def first_record(self, stream: ActiveStream, request: Request) -> None:
        """Waits until the log has a record, for a heartbeat's time at most.

        Raises `CallFailed` when the first record is the last and says a failure; such a log is forgotten, so that a
        retry under the same id asks again. Raises `ClientLeft` when nobody is there to answer any more.
        """
        wait_s = self.manager.config.sse.heartbeat_interval_s or None
        stream.feed.join()
        try:
            await self._watched(stream.feed.beyond(0), request, wait_s)
        finally:
            stream.feed.leave()
        if stream.log.head == 1 and not stream.is_open:
            await self._refuse(stream)

    async def whole(self, stream: ActiveStream, request: Request) -> None:
        """Waits for the end. Raises `CallFailed` unless it is complete or incomplete."""
        stream.feed.join()
        try:
            await self._watched(_ended(stream), request, None)
        finally:
            stream.feed.leave()
        if stream.feed.went_wrong:
            raise failure(stream)

    async def _watched(self, waiting: Awaitable[None], request: Request, timeout_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        waiter = asyncio.ensure_future(waiting)
        watcher = loop.create_task(until_disconnect(request.receive))
        try:
            await asyncio.wait((waiter, watcher), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if watcher.done() and not waiter.done():
                raise ClientLeft("the client left")
        finally:
            for task in (waiter, watcher):
                task.cancel()
            await asyncio.wait((waiter, watcher))

    async def _refuse(self, stream: ActiveStream) -> None:
        if stream.feed.went_wrong:
            refusal = failure(stream)
            await self.manager.forget(stream.id)
            raise refusal


async def _ended(stream: ActiveStream) -> None:
    while not stream.feed.ended:
        await stream.feed.beyond(stream.log.head)


def failure(stream: ActiveStream) -> CallFailed:
    """Why a stream did not succeed, as an error to answer with."""
    (last,) = stream.log.slice(stream.log.head - 1, 1)
    if isinstance(last.data, Error):
        return CallFailed(last.data, 502)
    ending: End = last.data
    error = ending.error or Error(ending.outcome, f"the stream was {ending.outcome}")
    return CallFailed(error, 409 if ending.outcome is Outcome.CANCELLED else 502)


def require(body: dict[str, Any], key: str, kind: type, named: str) -> Any:
    """A field of a request that must be there. Raises `InputError`."""
    value = body.get(key)
    if not isinstance(value, kind):
        raise InputError(f"{key} is required, and is {named}")
    return value
