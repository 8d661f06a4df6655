"""Channels: many streams under one name, read as one stream with one resumable position.

    stream.write ─▶ its own log ─▶ its own readers
         └─ noted by the channel; in the loop's next turn all that was noted becomes references, one a stream
              └─▶ the channel's log ─▶ the channel's feed: views, cursors and fan-out as for any stream

Whoever reads a channel gets every stream created in it, now and later, each announced with its metadata and in its own
order. A channel has no end of its own. What it holds is bounded: the references (`core/references.py`), and the streams
by their own limits; a reader who was away for longer than that is told a gap, and a snapshot of all the streams.

A reader of a channel counts as a reader of its streams for `on_abandon`. It does not pace producers: what it has not
read yet is kept with the streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from patinox.core.attach import After, Attachment, Gap
from patinox.core.chunks import Outcome, StreamChunk
from patinox.core.keys import StreamKey
from patinox.core.log import ResponseBuffer
from patinox.core.references import OPENER, Closing, Member, Reference, ReferenceLog
from patinox.delivery.feed import Feed
from patinox.delivery.pacing import Pacing
from patinox.delivery.subscription import ChunkSubscription
from patinox.errors import LimitExceeded
from patinox.formats.base import StreamHead
from patinox.incremental.assembler import Assembly
from patinox.manager.stream import ActiveStream, parse_after

if TYPE_CHECKING:
    from patinox.manager.streams import StreamManager

MAX_REFERENCE_CHUNKS = 256
MAX_REFERENCE_BYTES = 64 * 1024
_GRACE_S = 60.0  # an idle channel is kept for: whoever asked for it is about to read it, or to create a stream
_PAGE_BYTES = 256 * 1024  # of chunks that are read again for one page of references


class ChannelItem(NamedTuple):
    """What a reader in the same process gets: the position in the channel, the stream, and what is told of it.

    `told` is a `StreamChunk`; a `Gap` in the stream, or, with `stream` empty, in the channel; or the `Member` when the
    stream is announced.
    """

    position: str
    stream: str
    told: StreamChunk | Gap | Member


class ChannelAssembly(Assembly):
    """The snapshot of a channel: that of each of its streams."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    @property
    def available(self) -> bool:
        """Whether every one of its streams can be told by a snapshot."""
        return all(stream.assembly.available for stream in self._channel.streams())

    def snapshot(self) -> dict[str, Any]:
        """`{channel, streams}`, each of them as its own `GET` tells it."""
        self._channel.flush()
        return {"channel": self._channel.id, "streams": [stream.snapshot() for stream in self._channel.streams()]}


class ChannelFeed(Feed):
    """A feed whose log begins with the oldest reference that is kept."""

    log: ReferenceLog

    @property
    def oldest(self) -> int:
        """The lowest sequence that can still be read."""
        return self.log.oldest

    def attach(self, after: After, *, snapshots: bool = True) -> Attachment:
        """Where a reader that asks for `after` stands, once everything that happened is in the log."""
        self.before_attach()
        return super().attach(after, snapshots=snapshots)

    before_attach: Callable[[], None]


class Channel:
    """One channel. Made by `StreamManager.channel`."""

    def __init__(self, key: StreamKey, epoch: str, manager: StreamManager, *, clock: Callable[[], float]) -> None:
        config = manager.config
        self.manager = manager
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._members: dict[str, Member] = {}
        self._pending: dict[Member, list[StreamChunk]] = {}
        self._pending_bytes = 0
        self._is_scheduled = False
        self._watched: dict[str, ExitStack] = {}
        self._own: ActiveStream | None = None
        window = ResponseBuffer(config.buffer_size, max_bytes=config.buffer_bytes)
        self.log = ReferenceLog(epoch, window)
        head = StreamHead(key.id, epoch, clock(), tenant=key.tenant)
        self.feed = ChannelFeed(
            self.log, ChannelAssembly(self), head, self._resolve, whole=False,
            on_growth=manager.fanout.mark, on_readers=self._readers_changed, counters=manager.counters,
        )  # fmt: skip
        self.feed.before_attach = self.flush
        self.feed.overdue = Pacing(self.feed, config.backpressure).overdue

    def __repr__(self) -> str:
        return f"<Channel {self.id} {len(self._members)} streams at {self.position}, {self.feed.readers} readers>"

    @property
    def id(self) -> str:
        """Its name."""
        return self.feed.head.id

    @property
    def tenant(self) -> str:
        """Whose it is, and all its streams are."""
        return self.feed.head.tenant

    @property
    def epoch(self) -> str:
        """Its incarnation: the first part of its positions."""
        return self.log.epoch

    @property
    def position(self) -> str:
        """The event id of its last reference."""
        return f"{self.epoch}-{self.log.head}"

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost by forgetting it: no streams and no readers."""
        return not self._members and not self.feed.readers

    def streams(self) -> Iterator[ActiveStream]:
        """The streams it has now, in the order they were created."""
        for name in tuple(self._members):
            stream = self.manager.held(StreamKey(self.tenant, name))
            if stream is not None:
                yield stream

    def describe(self) -> dict[str, Any]:
        """Its facts, and those of its streams."""
        streams = [stream.describe() for stream in self.streams()]
        return {
            "channel": self.id, "epoch": self.epoch, "position": self.position, "readers": self.feed.readers,
            "streams": streams,
        }  # fmt: skip

    def stats(self) -> dict[str, Any]:
        """Figures: streams, references, readers, and how far back it reaches."""
        return {
            "streams": len(self._members), "head": self.log.head, "oldest": self.log.oldest,
            "bytes": self.log.size_bytes, "readers": self.feed.readers, "views": len(self.feed.views),
        }  # fmt: skip

    # ── what is written ──

    async def create(self, **options: Any) -> ActiveStream:
        """A new stream in this channel; takes what `StreamManager.create` takes."""
        return await self.manager.create(channel=self.id, tenant=self.tenant, **options)

    async def broadcast(self, data: Any) -> StreamChunk:
        """Tells everybody who reads the channel; kept and resumed as everything else in it.

        What is broadcast goes into a stream of the channel's own, with the metadata `{"broadcast": true}`.
        """
        if self._own is None or not self._own.is_open:
            self._own = await self.create(metadata={"broadcast": True})
        return await self._own.write(data)

    def enrol(self, stream: ActiveStream) -> None:
        """Takes a new stream in, and announces it."""
        metadata = msgspec.json.encode(stream.metadata)
        member = Member(stream.id, stream.epoch, stream.created_s, metadata)
        self._members[stream.id] = member
        self._refer(Reference(member, OPENER, OPENER), len(metadata))
        if self.feed.members:
            self._watch(stream)

    def grown(self, feed: Feed) -> None:
        """Notes what one of its streams has appended."""
        member = self._members.get(feed.head.id)
        if member is None:
            return
        pending = self._pending.setdefault(member, [])
        for chunk in feed.log.slice(member.noted):
            pending.append(chunk)
            member.noted = chunk.sequence
            self._pending_bytes += len(chunk.payload)
        if len(pending) >= MAX_REFERENCE_CHUNKS or self._pending_bytes >= MAX_REFERENCE_BYTES:
            self.flush()
        elif not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush_scheduled)
        if feed.ended:
            self._unwatch(member.stream)

    def _flush_scheduled(self) -> None:
        self._is_scheduled = False
        self.flush()

    def flush(self) -> None:
        """Refers to everything that was noted."""
        pending, self._pending = self._pending, {}
        self._pending_bytes = 0
        for member, chunks in pending.items():
            first, last = member.covered + 1, member.noted
            whole = chunks if len(chunks) == last - first + 1 else None
            member.covered = last
            self._refer(Reference(member, first, last, whole), sum(len(chunk.payload) for chunk in chunks))

    def _refer(self, reference: Reference | Closing, size_bytes: int) -> None:
        self.log.refer(reference, self._clock(), size_bytes)
        self.feed.grown()

    def forgotten(self, stream: ActiveStream) -> None:
        """A stream was deleted: from now on its references are told as a gap."""
        self.flush()
        self._unwatch(stream.id)
        member = self._members.pop(stream.id, None)
        if member is None:
            return
        member.is_gone = True
        self.log.shed()
        for view in self.feed.views.values():
            view.rest()  # its frames are made again, without that stream's

    def close_nowait(self) -> None:
        """Lets its readers go when they have everything: the manager is closing. The channel has not ended."""
        if not self.feed.ended:
            self.flush()
            self.feed.outcome = Outcome.INTERRUPTED
            self._refer(Closing(), 0)

    # ── what is read ──

    async def subscribe(self, after: After | str | None = None) -> AsyncIterator[ChannelItem]:
        """Everything in the channel after a position (default: all of it), item by item; it never ends by itself."""
        asked = parse_after(after)
        subscription = ChunkSubscription(self.feed, asked)
        part = subscription.attachment.part
        async with aclosing(subscription):
            async for record in subscription:
                for number, item in enumerate(_items(record), 1):
                    if number > part:
                        yield item
                part = 0

    async def _resolve(self, after: int, limit: int) -> Sequence[StreamChunk]:
        """Kept references with their chunks, read again from the streams."""
        if after + 1 < self.log.oldest:
            return []  # a gap, which the reader must be told before anything else
        found, size_bytes = [], 0
        for sequence, reference in self.log.kept(after, limit):
            chunks = None if reference.is_opener else await self._chunks(reference)
            found.append(
                StreamChunk(sequence, msgspec.structs.replace(reference, chunks=chunks), 0.0, epoch=self.epoch)
            )
            size_bytes += sum(len(chunk.payload) for chunk in chunks or ())
            if size_bytes >= _PAGE_BYTES:
                break
        return found

    async def _chunks(self, reference: Reference) -> Sequence[StreamChunk] | None:
        stream = self.manager.held(StreamKey(self.tenant, reference.member.stream))
        if stream is None or stream.epoch != reference.member.epoch:
            return None
        chunks: list[StreamChunk] = []
        at = reference.first - 1
        while at < reference.last:
            page = await stream.feed.read(at, reference.last - at)
            if not page or page[0].sequence != at + 1:
                return None
            chunks += page
            at = page[-1].sequence
        return chunks

    # ── its readers are its streams' readers ──

    def _readers_changed(self) -> None:
        if not self.feed.members:
            for stream_id in tuple(self._watched):
                self._unwatch(stream_id)
        elif not self._watched:
            for stream in self.streams():
                self._watch(stream)

    def _watch(self, stream: ActiveStream) -> None:
        if stream.is_open and stream.id not in self._watched:
            held = ExitStack()
            held.enter_context(stream.feed.held())
            self._watched[stream.id] = held

    def _unwatch(self, stream_id: str) -> None:
        held = self._watched.pop(stream_id, None)
        if held is not None:
            held.close()


def _items(record: StreamChunk) -> Sequence[ChannelItem]:
    """What one record of a channel tells: as many items as it makes frames."""
    told = record.data
    if isinstance(told, Gap):
        return [ChannelItem(record.id, "", told)]
    if not isinstance(told, Reference):
        return []
    member = told.member
    if told.is_opener:
        return [] if member.is_gone else [ChannelItem(record.id, member.stream, member)]
    if not told.is_readable:
        return [ChannelItem(record.id, member.stream, Gap(told.first, told.last))]
    chunks = told.told
    count = len(chunks)
    return [
        ChannelItem(record.id if k == count else f"{record.id}.{k}", member.stream, chunk)
        for k, chunk in enumerate(chunks, 1)
    ]


class Channels:
    """The channels of one manager, by whose they are and their name."""

    def __init__(self, manager: StreamManager, *, clock: Callable[[], float], new_epoch: Callable[[], str]) -> None:
        self._manager = manager
        self._clock = clock
        self._new_epoch = new_epoch
        self._channels: dict[StreamKey, Channel] = {}
        self._channel_of: dict[StreamKey, Channel] = {}

    def __repr__(self) -> str:
        return f"<Channels {len(self._channels)}>"

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(tuple(self._channels.values()))

    def get(self, key: StreamKey) -> Channel:
        """The channel of this name, made where there is none. Raises `LimitExceeded` beyond `max_streams`."""
        channel = self._channels.get(key)
        if channel is None:
            if len(self._channels) >= self._manager.config.max_streams:
                self.sweep()
            if len(self._channels) >= self._manager.config.max_streams:
                raise LimitExceeded(f"max_streams = {self._manager.config.max_streams} channels are held already")
            channel = self._channels[key] = Channel(key, self._new_epoch(), self._manager, clock=self._clock)
        return channel

    def find(self, name: str, tenant: str = "") -> Channel | None:
        """The channel of this name, where there is one."""
        return self._channels.get(StreamKey(tenant, name))

    def enrol(self, stream: ActiveStream, channel: Channel) -> None:
        """Puts a new stream into a channel."""
        self._channel_of[stream.key] = channel
        stream.channel = channel.id
        channel.enrol(stream)

    def forgotten(self, stream: ActiveStream) -> None:
        """A stream was deleted."""
        channel = self._channel_of.pop(stream.key, None)
        if channel is not None:
            channel.forgotten(stream)

    def sweep(self) -> None:
        """Forgets the channels that have neither streams nor readers, unless they were made a moment ago."""
        since_s = self._clock() - _GRACE_S
        for key, channel in tuple(self._channels.items()):
            if channel.is_idle and channel.feed.head.created_s <= since_s:
                del self._channels[key]

    def close_nowait(self) -> None:
        """Lets all readers go."""
        for channel in self:
            channel.close_nowait()
