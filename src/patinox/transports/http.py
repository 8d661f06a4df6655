"""HTTP readers over plain ASGI: SSE, NDJSON, plain text and every foreign dialect are one thing here, a view's bytes.

    attach → headers → opening (position, gap, snapshot) → the fan-out pushes what follows → the end

The reader's leaving is watched from the first moment, before anything was sent; it never stops the producer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, Protocol

from patinox.core.attach import After, Attachment, AttachOutcome
from patinox.core.chunks import EventId
from patinox.delivery.asgi_sink import asgi_sink
from patinox.delivery.gzip import GzipSink
from patinox.delivery.sink import Send, Sink
from patinox.delivery.subscription import MAX_WRITE_BYTES, Subscription
from patinox.delivery.wire import Wire
from patinox.errors import Unauthenticated
from patinox.formats.base import Format
from patinox.manager import ActiveStream, StreamManager
from patinox.manager.admission import Account
from patinox.manager.channels import Channel
from patinox.transports.access import ANYBODY, Caller, account_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Headers = list[tuple[bytes, bytes]]


CONNECTION = "patinox.connection"
"""The ASGI extension by which our own server offers its connection (`server/connection.py`)."""

HEADERS = "patinox.headers"
"""The key of a scope under which stand headers that whatever is answered has as well (name and value, as bytes)."""


class Connection(Protocol):
    """What our own server offers under `CONNECTION`."""

    def direct_sink(self) -> Sink | None:
        """A sink for the response that is about to begin; None where its body will not be plain chunks."""
        ...

    def hand_over(self, on_lost: Callable[[], None]) -> None:
        """Lets the response outlive the request's task; `on_lost` is called when the client has gone."""
        ...

    def close(self) -> None:
        """Ends the connection after what it has been given, without a last chunk."""
        ...

    def abort(self) -> None:
        """Ends the connection now."""
        ...


class Handover:
    """Ends a subscription that no task waits for: when it is done, or when its client has gone."""

    __slots__ = ("_connection", "_manager", "_subscription")

    def __init__(
        self, manager: StreamManager, subscription: Subscription, connection: Connection, sink: Sink, opening: bytes
    ) -> None:
        self._manager = manager
        self._subscription = subscription
        self._connection = connection
        manager.fanout.deliver(subscription, sink, opening).add_done_callback(self._done)
        connection.hand_over(self._lost)

    def _lost(self) -> None:
        self._manager.fanout.drop_nowait(self._subscription)
        self._subscription.close()

    def _done(self, done: asyncio.Future[None]) -> None:
        self._subscription.close()
        is_leaving = self._subscription.leaves_after_s is not None  # it is not to ask again over this connection
        if done.cancelled() or self._subscription.must_abort or is_leaving:
            self._connection.close()
        elif done.exception() is not None:  # it broke, or stalled beyond what it may: there is no end to be told
            self._connection.abort()


class HttpReader:
    """One reader of one stream over one HTTP response; an ASGI application of one use.

    `fresh` says that the client holds nothing yet, so a foreign dialect needs its openers. `headers` are added to the
    answer's; `audience` is who reads, for records that are addressed. `caller` is on whose account; after `lasts_s`
    seconds it is cut off, for what it was let in by has expired. It can come back with its last event id.
    """

    def __init__(
        self, manager: StreamManager, stream: ActiveStream | Channel, format_: Format[Any], wire: Wire, after: After,
        *, fresh: bool = True, headers: tuple[tuple[str, str], ...] = (), audience: str | None = None,
        caller: Caller = ANYBODY, lasts_s: float | None = None,
    ) -> None:  # fmt: skip
        self._manager = manager
        self._stream = stream
        self._format = format_
        self._wire = wire
        self._after = after
        self._fresh = fresh
        self._headers = headers
        self._audience = audience
        self._caller = caller
        self._lasts_s = lasts_s

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serves the response until its end, or until the client has gone.

        Raises `LimitExceeded`, before anything is sent, where no more readers are let in.
        """
        feed = self._stream.feed
        await feed.prepare(self._after, self._format, snapshots=self._wire.controls)
        attachment = feed.attach(self._after, snapshots=self._wire.controls)
        compressed = self._manager.config.sse.compression and _accepts_gzip(scope)
        headers = [*self._response_headers(attachment, compressed), *scope.get(HEADERS, ())]
        if attachment.outcome is AttachOutcome.COMPLETE and isinstance(self._after, EventId):
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        account = account_of(self._caller, address_of(scope))
        self._manager.admission.enter(feed, account)
        subscription = Subscription(feed, feed.view(self._format, self._wire), attachment, self._audience)
        subscription.open(self._when_left(subscription, account))
        connection = scope.get("extensions", {}).get(CONNECTION)
        if connection is not None and await self._hand_over(connection, subscription, headers, send, compressed):
            return
        watcher = asyncio.get_running_loop().create_task(until_disconnect(receive))
        try:
            # Made before anything is sent: a snapshot must be of the moment the attach was decided in.
            opening = await subscription.opening(fresh=self._fresh)
            await self._serve(subscription, opening, headers, send, watcher, compressed)
        finally:
            watcher.cancel()
            await self._manager.fanout.drop(subscription)
            subscription.close()
            await asyncio.wait((watcher,))

    def _when_left(self, subscription: Subscription, account: Account) -> Callable[[], None]:
        leave = partial(self._manager.admission.leave, account)
        if self._lasts_s is None:
            return leave
        over = Unauthenticated("the credential has expired")
        timer = asyncio.get_running_loop().call_later(self._lasts_s, self._manager.fanout.end, subscription, over)

        def left() -> None:
            timer.cancel()
            leave()

        return left

    async def _serve(
        self, subscription: Subscription, opening: bytes, headers: Headers,
        send: Send, watcher: asyncio.Task[None], compressed: bool,
    ) -> None:  # fmt: skip
        try:
            async with asyncio.timeout(self._manager.config.write_deadline_s or None):
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                at_once = opening if not compressed and len(opening) <= MAX_WRITE_BYTES else b""
                sink: Sink = await asgi_sink(send, self._manager.fanout.driver, at_once)
        except TimeoutError:
            return  # it never took the first bytes
        sink = GzipSink(sink) if compressed else sink
        done = self._manager.fanout.deliver(subscription, sink, opening[len(at_once) :])
        await asyncio.wait((done, watcher), return_when=asyncio.FIRST_COMPLETED)
        if done.done() and not done.cancelled():
            done.exception()  # the connection broke, or stalled beyond its deadline: either way the reader has gone

    async def _hand_over(
        self, connection: Connection, subscription: Subscription, headers: Headers, send: Send, compressed: bool
    ) -> bool:
        """On our own server the response goes on without this request's task: an idle reader is no coroutine at all.

        False where the connection can't take it (HTTP/1.0, a body that is not chunked): then nothing was sent.
        """
        sink = connection.direct_sink()
        if sink is None:
            return False
        try:
            opening = await subscription.opening(fresh=self._fresh)
            async with asyncio.timeout(self._manager.config.write_deadline_s or None):
                await send({"type": "http.response.start", "status": 200, "headers": headers})
        except TimeoutError:  # it never took what came before on this connection
            subscription.close()
            connection.abort()
            return True
        except BaseException:
            subscription.close()
            raise
        sink = GzipSink(sink) if compressed else sink
        Handover(self._manager, subscription, connection, sink, opening)
        return True

    def _response_headers(self, attachment: Attachment, compressed: bool) -> Headers:
        own = [
            ("content-type", self._wire.content_type),
            ("cache-control", "no-cache, no-transform"),
            ("x-accel-buffering", "no"),
            ("patinox-stream-id", self._stream.id),
            ("patinox-position", str(attachment.position)),
            ("patinox-outcome", attachment.outcome.value),
        ]
        if attachment.gap is not None:
            own.append(("patinox-gap", f"{attachment.gap.first}-{attachment.gap.last}"))
        if self._manager.config.sse.compression:
            own.append(("vary", "accept-encoding"))
        if compressed:
            own.append(("content-encoding", "gzip"))
        pairs = (*own, *self._format.headers, *self._headers)
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def address_of(scope: Message) -> str:
    """The client's network address; empty where the server does not know it."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def until_disconnect(receive: Receive) -> None:
    """Waits until the client has gone; what it still sends is passed over."""
    with contextlib.suppress(OSError, RuntimeError):  # asked again after the end, some servers raise
        while (await receive())["type"] != "http.disconnect":
            pass


def _accepts_gzip(scope: Message) -> bool:
    """Whether `Accept-Encoding` has gzip, not weighed zero (RFC 9110 §12.5.3)."""
    values = b",".join(value for name, value in scope["headers"] if name == b"accept-encoding")
    for item in values.decode("latin-1").lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return weight.replace(" ", "").rstrip("0.") not in ("q=", "q")
    return False
