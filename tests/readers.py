"""Readers for tests of delivery: one that frames are pushed to, and what it makes of them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from patinox.core.chunks import EventId
from patinox.delivery.subscription import Subscription
from patinox.delivery.wire import SseWire, Wire
from patinox.formats.base import Format
from patinox.formats.framing import EventStreamParser, ServerSentEvent
from patinox.formats.patinox import PATINOX
from patinox.manager import ActiveStream
from patinox.manager.stream import parse_after
from patinox.testing.fakes import FakeSink

Told = list[int | tuple[int, int]]
NATIVE = SseWire(PATINOX, ids=True, controls=True)


class PushedReader:
    """A subscription that the fan-out delivers into a fake sink. To be `leave`d, whatever became of it."""

    def __init__(
        self, stream: ActiveStream, after: str = "start", *, format_: Format[Any] = PATINOX, wire: Wire = NATIVE,
        suspended: bool = False, audience: str | None = None, sink: Any = None,
    ) -> None:  # fmt: skip
        feed = stream.feed
        self.fanout = stream.manager.fanout
        self.sink: Any = FakeSink(suspended=suspended) if sink is None else sink
        attachment = feed.attach(parse_after(after), snapshots=False)  # its opening is not sent
        self.subscription = Subscription(feed, feed.view(format_, wire), attachment, audience)
        self.subscription.open()
        self.done: asyncio.Future[None] = self.fanout.deliver(self.subscription, self.sink)

    async def leave(self) -> None:
        await self.fanout.drop(self.subscription)
        self.subscription.close()
        if not self.done.cancel():
            _ = self.error  # was looked at, or does not matter

    @property
    def events(self) -> list[ServerSentEvent]:
        """The whole events that arrived."""
        return EventStreamParser().feed(self.sink.data)

    @property
    def told(self) -> Told:
        """What arrived, in order: the sequences of records, and gaps as (from, to)."""
        return told_in(self.sink.data)

    @property
    def error(self) -> BaseException | None:
        """What ended the delivery, if anything did."""
        return self.done.exception() if self.done.done() and not self.done.cancelled() else None


def told_in(data: bytes) -> Told:
    """The sequences of the records in native frames, in order, and gaps as (from, to)."""
    told: Told = []
    for event in EventStreamParser().feed(data):
        if event.event == "gap":
            gap = msgspec.json.decode(event.data)
            told.append((gap["from"], gap["to"]))
        elif event.id:
            told.append(sequence_of(event.id))
    return told


def sequence_of(event_id: str) -> int:
    _, _, sequence = event_id.rpartition("-")
    return int(sequence.partition(".")[0])


def covered(told: Told, after: int = 0) -> int:
    """The last sequence that was told, if nothing was left out, repeated or out of order; else an AssertionError."""
    for item in told:
        first, last = (item, item) if isinstance(item, int) else item
        assert first == after + 1 <= last, f"{item} after {after}"
        after = last
    return after


def position(stream: ActiveStream, sequence: int) -> str:
    return str(EventId(stream.epoch, sequence))


def when_left(stream: ActiveStream) -> asyncio.Event:
    """An event that happens when the stream's last reader has gone."""
    left, changed = asyncio.Event(), stream.feed._on_readers

    def also() -> None:
        changed()
        if not stream.feed.readers:
            left.set()

    stream.feed._on_readers = also
    return left
