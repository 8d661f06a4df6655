"""One call of a client: attach to the log it names, or ask the upstream and write what it says into a new log.

The upstream is read by a task of the manager's, never by the request: a client that leaves, before the first token
too, leaves the answer running (or not, as `on_abandon` says). The request waits for the first record, so that what
goes wrong before it can still be told with the right status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

import msgspec
from starlette.requests import Request

from patinox.core.chunks import End, Error, Outcome
from patinox.errors import PatinoxError, StreamExists
from patinox.gateway.client import UpstreamAnswer, UpstreamClient
from patinox.gateway.observing import ObservedSource
from patinox.gateway.requests import Written
from patinox.gateway.upstreams import Upstream
from patinox.manager import ActiveStream
from patinox.transports.access import ANYBODY, Access, Caller, Right, account_of
from patinox.transports.http import address_of, until_disconnect


class CallFailed(PatinoxError):
    """A call that did not succeed: the log's own error, with the status that goes with it.

    `headers` go with the answer.
    """

    def __init__(self, error: Error, default_status: int, headers: dict[str, str]) -> None:
        super().__init__(error.message)
        self.error = error
        self.headers = headers
        self.http_status = error.status or default_status

    def as_dict(self) -> dict[str, Any]:
        """`code` and `message`, and over them the upstream's own error: clients decide by what it says there."""
        own, theirs = {"code": self.error.code, "message": self.error.message}, self.error.provider
        if isinstance(theirs, dict):
            return {**own, **{key: value for key, value in theirs.items() if value is not None}}
        return own if theirs is None else {**own, "upstream": theirs}


class ClientLeft(PatinoxError):
    """The client went away before anything could be answered; nobody reads this."""

    code = "client_left"
    http_status = 499


class CallOptions(msgspec.Struct, frozen=True):
    """What a client may say beside the request itself."""

    stream_id: str | None = None
    on_abandon: str | None = None
    detached: bool = False
    address: str = ""
    pipeline: str | None = None
    caller: Caller = ANYBODY

    @classmethod
    def of(cls, request: Request, caller: Caller) -> CallOptions:
        """From the `Patinox-Stream-Id`, `-On-Abandon` and `-Pipeline` headers, and `?detached=true`."""
        detached = request.query_params.get("detached", "").lower() in ("1", "true")
        headers = request.headers
        address = address_of(request.scope)
        return cls(
            headers.get("patinox-stream-id"), headers.get("patinox-on-abandon"), detached, address,
            headers.get("patinox-pipeline"), caller,
        )  # fmt: skip


class Exchange:
    """Turns calls into logs."""

    def __init__(self, access: Access, client: UpstreamClient) -> None:
        self.access = access
        self.manager = access.manager
        self._client = client
        self._answers: WeakKeyDictionary[ActiveStream, UpstreamAnswer] = WeakKeyDictionary()

    async def begin(
        self, options: CallOptions, upstream: Upstream, write: Callable[[], Written], *, model: str
    ) -> ActiveStream:
        """The log of this call: the one that `Patinox-Stream-Id` names if it is there, else a new one being written.

        `write` makes the upstream's request, where one is needed. A log that holds nothing but a failure was no answer:
        asked for again, it makes way for a new try. Raises `InputError` for an id that won't do, what the upstream's
        `check` raises, or what `write` does.
        """
        known = await self._known(options)
        if known is not None and not _is_refusal(known):
            return known
        pipeline = self.manager.pipelines.asked_for(options.pipeline, upstream.pipeline)
        upstream.check()
        written = write()
        self.manager.admission.check(None, account_of(options.caller, options.address))
        if known is not None:
            await self._forget(known)
        metadata = {**({"model": model} if model else {}), "upstream": upstream.name}
        try:
            stream = await self.access.create(
                options.caller, Right.MODELS, id=options.stream_id, metadata=metadata,
                on_abandon=options.on_abandon, producer=options.address, pipeline=pipeline,
            )  # fmt: skip
        except StreamExists:  # somebody else's retry was a moment faster
            return await self.access.open(options.caller, options.stream_id or "", Right.READ)
        answer = self._client.ask(upstream, written.path, written.body, written.headers)
        begin = partial(self._client.observer.begin, upstream, model)
        source = ObservedSource(answer, begin, formats=self.manager.formats, format_=upstream.dialect)
        self._answers[stream] = answer
        self.manager.run(source, stream)
        return stream

    async def _known(self, options: CallOptions) -> ActiveStream | None:
        if options.stream_id is None:
            return None
        return await self.access.seek(options.caller, options.stream_id, Right.READ)

    async def first_record(self, stream: ActiveStream, request: Request) -> None:
        """Waits until the log has a record, for a heartbeat's time at most: then the answer begins with heartbeats.

        Raises `CallFailed` when the first record is the last and says a failure; such a log is forgotten, so that a
        retry under the same id asks again. Raises `ClientLeft` when nobody is there to answer any more.
        """
        wait_s = self.manager.config.sse.heartbeat_interval_s or None
        with stream.feed.held():
            await self._watched(stream.feed.beyond(0), request, wait_s)
        if stream.log.head == 1 and stream.feed.went_wrong:
            await self._fail(stream)

    async def whole(self, stream: ActiveStream, request: Request) -> None:
        """Waits for the end. Raises `CallFailed` unless it is complete or incomplete, or `ClientLeft`."""
        with stream.feed.held():
            await self._watched(stream.feed.end(), request, None)
        if stream.feed.went_wrong:
            await self._fail(stream)

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

    async def _fail(self, stream: ActiveStream) -> NoReturn:
        answer = self._answers.get(stream)
        headers = {"patinox-stream-id": stream.id}
        if stream.feed.outcome is Outcome.CANCELLED:
            headers["x-should-retry"] = "false"  # OpenAI's clients would ask again what somebody has stopped
        elif answer is not None and answer.retry_after is not None:
            headers["retry-after"] = answer.retry_after
        if _is_refusal(stream):
            await self._forget(stream)
        raise await failure(stream, 503 if self.manager.is_closing else 502, headers)

    async def _forget(self, stream: ActiveStream) -> None:
        if self.manager.held(stream.key) is stream:  # else another reader of the same failure was faster
            await self.manager.forget(stream)


def _is_refusal(stream: ActiveStream) -> bool:
    """Whether it failed before it said anything. One that was cancelled stays: whoever did that meant it."""
    return stream.log.head == 1 and stream.feed.went_wrong and stream.feed.outcome is not Outcome.CANCELLED


async def failure(stream: ActiveStream, status: int, headers: dict[str, str]) -> CallFailed:
    """Why a stream did not succeed, as an error to answer with."""
    (last,) = await stream.feed.read(stream.log.head - 1, 1)
    if isinstance(last.data, Error):
        return CallFailed(last.data, status, headers)
    ending: End = last.data
    error = ending.error or Error(ending.outcome, f"the stream was {ending.outcome}")
    return CallFailed(error, 409 if ending.outcome is Outcome.CANCELLED else status, headers)
