"""One socket that speaks `patinox.v1`: it listens, has its ops carried out, and lets its subscriptions out.

    listen ──text──▶ router ──▶ answer        every stream or channel that is read is one subscription of the fan-out,
       │                                      and all share the socket's one way out
       └─ the client left · too large · too fast · a reader too slow · the server drains ──▶ subscriptions are dropped,
          what waited to be written is given up (it was not acknowledged), and a close frame says why

The client's leaving never stops a producer. What one socket may hold is bounded: its subscriptions, and the ops that
wait for a stream that paces its writers.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from functools import partial
from typing import Any

import msgspec

from patinox.core.attach import After, AttachOutcome
from patinox.core.chunks import EventId
from patinox.delivery.sink import Send, Sink
from patinox.delivery.subscription import Subscription
from patinox.delivery.wire import Wire
from patinox.errors import InputError, LimitExceeded, PatinoxError, ReaderTooSlow, StreamExists
from patinox.formats.base import Format
from patinox.formats.channel import CHANNEL
from patinox.formats.patinox import NDJSON, PATINOX
from patinox.manager import ActiveStream
from patinox.manager.channels import Channel
from patinox.transports.access import ANYBODY, Access, Caller
from patinox.transports.http import Receive
from patinox.transports.websocket import protocol
from patinox.transports.websocket.frames import CloseCode
from patinox.transports.websocket.outlet import ForeignSink, Outlet
from patinox.transports.websocket.protocol import Ref, Subscribe
from patinox.transports.websocket.rate import MessageRate
from patinox.transports.websocket.router import Router
from patinox.transports.websocket.wire import ChannelWire, StreamWire

GOODBYE_S = 2.0
"""How long a socket that takes nothing may take for its close frame."""

_NATIVE = (PATINOX.name, NDJSON.name)

Key = tuple[str, str]


class Reading(msgspec.Struct, eq=False):
    """One thing that a socket reads, and how far its client says that it has come."""

    subscription: Subscription
    acked: str = ""


class WebSocketConnection:
    """One connection. Made by `WebSocketHandler`; `run` serves it until its end."""

    def __init__(
        self, id: str, access: Access, outlet: Outlet, receive: Receive, send: Send,
        *, caller: Caller = ANYBODY, address: str = "", metadata: MutableMapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.id = id
        self.access = access
        self.caller = caller
        self.manager = manager = access.manager
        self.address = address
        self.metadata = metadata if metadata is not None else {}
        self.outlet = outlet
        self.readings: dict[Key, Reading] = {}
        self.received = 0
        self._receive = receive
        self._send = send
        self._router = Router(self)
        self._loop = asyncio.get_running_loop()
        self._rate = MessageRate(manager.config.websocket.message_rate, self._loop.time())
        self._patience: asyncio.Timeout | None = None
        self._ending: tuple[CloseCode, str] | None = None
        self._is_listening = False
        self._is_draining = False
        self._notices: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<WebSocketConnection {self.id} {len(self.readings)} subscriptions>"

    def stats(self) -> dict[str, Any]:
        """Figures of this socket and of what it reads."""
        reads = [
            {"reads": "/".join(key), "acked": reading.acked, **reading.subscription.stats()}
            for key, reading in self.readings.items()
        ]
        return {"id": self.id, "address": self.address, "received": self.received, "subscriptions": reads}

    # ── its life ──

    async def run(self) -> None:
        """Serves the socket until either side ends it."""
        self._patience = asyncio.timeout(None)
        over = self._until_expired()
        try:
            async with self._patience:
                self._is_listening = True
                await self._listen()
        except TimeoutError:
            if self._ending is None:
                raise
        except OSError:
            pass  # it broke while something was said, or took nothing: then that is its ending
        finally:
            self._is_listening = False
            if over is not None:
                over.cancel()
            await self._leave()
        if self._ending is not None:
            await self._say_goodbye(*self._ending)

    def _until_expired(self) -> asyncio.TimerHandle | None:
        left_s = self.access.time_left_s(self.caller)
        if left_s is None:
            return None
        return self._loop.call_later(left_s, self.close, CloseCode.POLICY, "the credential has expired")

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Has the socket closed with this code, once; the first reason counts."""
        if self._ending is None:
            self._ending = (code, reason)
            if self._is_listening and self._patience is not None:
                self._patience.reschedule(self._loop.time())

    @property
    def goes_on(self) -> bool:
        """Whether its streams can be read on another node."""
        return self.manager.store.is_shared

    def tell(self, after_s: float) -> None:
        """Tells the client when to come back, for the server is about to close; closes when what it reads has ended."""
        self._is_draining = True
        self.notify(protocol.goaway(after_s, self._positions()))
        if not self.readings:
            self._close_drained()

    def send_off(self, after_s: float) -> None:
        """Tells the client where it stands and when to come back, and closes."""
        self._is_draining = True
        self.notify(protocol.goaway(after_s, self._positions()))
        self._close_drained()

    def _positions(self) -> list[dict[str, str]]:
        return [
            {key[0]: key[1], "position": f"{reading.subscription.feed.log.epoch}-{reading.subscription.cursor}"}
            for key, reading in self.readings.items()
        ]

    def notify(self, message: bytes) -> None:
        """Sends one message without waiting for it; a client that takes nothing is not waited for."""
        if len(self._notices) < 16:
            task = self._loop.create_task(self._notify(message))
            self._notices.add(task)
            task.add_done_callback(self._notices.discard)

    async def _notify(self, message: bytes) -> None:
        try:
            await self.outlet.say(message)
        except Exception:
            self.close(CloseCode.ABNORMAL)  # nobody is there to be told

    def _close_drained(self) -> None:
        # One turn later, so that the goaway is said first.
        self._loop.call_soon(self.close, CloseCode.RESTART, "the server is restarting")

    async def _listen(self) -> None:
        limit = self.manager.config.websocket.max_frame_size
        while self._ending is None:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            self.received += 1
            if not self._rate.take(self._loop.time()):
                self.close(CloseCode.LIMIT, "more messages a second than message_rate allows")
                return
            text = message.get("text")
            if _size(message) > limit:
                self.close(CloseCode.TOO_LARGE, f"a message may take {limit} bytes")
                return
            if text is None:
                await self.refuse(InputError(f"{protocol.SUBPROTOCOL} is spoken in text messages, not in binary ones"))
            else:
                await self._router.take(text)

    async def _leave(self) -> None:
        for key in tuple(self.readings):
            self.stop_reading(key)
        for task in self._notices:
            task.cancel()
        await self._router.aclose()
        await self.outlet.aclose()

    async def _say_goodbye(self, code: CloseCode, reason: str) -> None:
        if code is CloseCode.ABNORMAL:
            self.outlet.abort()
            return
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self._send({"type": "websocket.close", "code": int(code), "reason": reason})
        except TimeoutError:
            self.outlet.abort()
        except (OSError, RuntimeError):
            pass  # it has gone already

    # ── what it says ──

    async def say(self, message: bytes) -> None:
        """Sends an answer, waiting until the socket has taken it. Raises OSError when it is gone, or takes nothing."""
        try:
            async with asyncio.timeout(self.manager.config.write_deadline_s or None):
                await self.outlet.say(message)
        except TimeoutError:
            self.close(CloseCode.TOO_SLOW, "too slow; subscribe again after the last id")
            raise ConnectionAbortedError("the client takes nothing") from None

    async def refuse(self, error: PatinoxError, ref: Ref = None, **facts: Any) -> None:
        """Answers that something was not done, and why."""
        await self.say(protocol.error(error, ref, **facts))

    # ── what it reads ──

    async def read_stream(self, stream: ActiveStream, op: Subscribe, after: After) -> None:
        """Subscribes to a stream, as `op` asks."""
        name = op.format or PATINOX.name
        is_native = name in _NATIVE
        format_ = PATINOX if is_native else self.manager.format(name)
        wire = StreamWire(stream.id, format_, self.outlet.packaging, native=is_native)
        fresh = op.openers if op.openers is not None else not isinstance(after, EventId)
        await self._read(("stream", stream.id), stream, format_, wire, after, op.ref, fresh=fresh)

    async def read_channel(self, channel: Channel, op: Subscribe, after: After) -> None:
        """Subscribes to a channel, which is told natively only."""
        if op.format is not None and op.format not in _NATIVE:
            raise InputError(f"a channel is read as {PATINOX.name}; subscribe to a stream of it for {op.format[:40]}")
        wire = ChannelWire(channel.id, self.outlet.packaging)
        await self._read(("channel", channel.id), channel, CHANNEL, wire, after, op.ref, fresh=True)

    async def _read(
        self, key: Key, subject: ActiveStream | Channel, format_: Format[Any], wire: Wire, after: After, ref: Ref,
        *, fresh: bool,
    ) -> None:  # fmt: skip
        self._check_room(key, subject)
        feed = subject.feed
        await feed.prepare(after, format_, snapshots=wire.controls)
        attachment = feed.attach(after, snapshots=wire.controls)
        facts: dict[str, Any] = {"position": str(attachment.position), "outcome": attachment.outcome}
        if attachment.gap is not None:
            facts["gap"] = attachment.gap
        answer = protocol.subscribed(key, ref, **facts)
        if attachment.outcome is AttachOutcome.COMPLETE:
            await self.say(answer)
            return
        subscription = Subscription(feed, feed.view(format_, wire), attachment)
        self.readings[key] = Reading(subscription)
        subscription.open()
        try:
            # Made before anything is sent: a snapshot must be of the moment the attach was decided in.
            opening = await subscription.opening(fresh=fresh)
            await self.say(answer)
        except BaseException:
            self.stop_reading(key)
            raise
        sink: Sink = self.outlet if wire.controls else ForeignSink(self.outlet, feed, subscription)
        done = self.manager.fanout.deliver(subscription, sink, opening)
        done.add_done_callback(partial(self._done, key, subscription))

    def _check_room(self, key: Key, subject: ActiveStream | Channel) -> None:
        if key in self.readings:
            raise StreamExists(f"this socket reads {key[0]} {key[1]!r} already; unsubscribe first")
        limit = self.manager.config.websocket.max_subscriptions
        if len(self.readings) >= limit:
            raise LimitExceeded(f"max_subscriptions = {limit} is reached on this socket; unsubscribe from something")
        self.manager.admission.check_feed(subject.feed)

    def stop_reading(self, key: Key) -> bool:
        """Ends one subscription; False where there is none."""
        reading = self.readings.pop(key, None)
        if reading is None:
            return False
        self.manager.fanout.drop_nowait(reading.subscription)
        reading.subscription.close()
        return True

    def _done(self, key: Key, subscription: Subscription, done: asyncio.Future[None]) -> None:
        """A subscription has ended: with its stream, or because the socket takes nothing, or is gone."""
        error = None if done.cancelled() else done.exception()
        reading = self.readings.get(key)
        if reading is None or reading.subscription is not subscription:
            return
        self.stop_reading(key)
        if isinstance(error, ReaderTooSlow | TimeoutError):
            self.close(CloseCode.TOO_SLOW, "too slow; subscribe again after the last id")
        elif isinstance(error, OSError):
            self.close(CloseCode.ABNORMAL)
        elif error is not None:
            self.close(CloseCode.INTERNAL_ERROR, "what is read here cannot be written")
        elif self._is_draining and not self.readings:
            self._close_drained()


def _size(message: MutableMapping[str, Any]) -> int:
    text = message.get("text")
    if text is None:
        return len(message.get("bytes") or b"")
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
