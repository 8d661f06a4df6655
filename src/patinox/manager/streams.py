"""StreamManager: owns streams, the tasks that fill them, the fan-out that empties them, and shutdown.

There is no module-level state: each manager belongs to the event loop it was entered in, and several can live in one
process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from patinox.config.choices import OnAbandon, Retain
from patinox.config.streaming import StreamingConfig
from patinox.core.keys import StreamKey
from patinox.delivery.counters import DeliveryCounters
from patinox.delivery.fanout import Fanout
from patinox.delivery.feed import Feed
from patinox.errors import (
    InputError,
    ShuttingDown,
    StreamExists,
    UnknownFormat,
)
from patinox.formats.base import Format, StreamHead
from patinox.formats.registry import builtin
from patinox.manager.admission import Account, Admission
from patinox.manager.channels import Channel, Channels
from patinox.manager.creation import is_name, new_key, plain, random_word, stream_options
from patinox.manager.departure import Departure, Guest
from patinox.manager.figures import StreamFigures
from patinox.manager.intake import Intake
from patinox.manager.journal import Journal
from patinox.manager.leases import Leases
from patinox.manager.library import Library
from patinox.manager.pipelines import PipelineChoice, Pipelines
from patinox.manager.relay import Relay, pump
from patinox.manager.shelf import Shelf
from patinox.manager.sources import Source
from patinox.manager.stream import ActiveStream
from patinox.manager.tail import Tail
from patinox.stores.base import Store
from patinox.stores.memory import MemoryStore
from patinox.stores.tasks import end

_SWEEP = 500
"""Streams that are deleted in one step."""


class StreamManager(Library):
    """The one object an application holds.

        async with StreamManager() as manager:
            stream = await manager.create()
            await stream.write("Hel")
            await stream.finish()

    `clock` gives Unix time in seconds; `pipelines` are those that streams get by name. Leaving the context ends running
    streams as `interrupted`.
    """

    def __init__(
        self,
        config: StreamingConfig | None = None,
        *,
        store: Store | None = None,
        formats: Mapping[str, Format[Any]] | None = None,
        clock: Callable[[], float] = time.time,
        pipelines: Pipelines | None = None,
    ) -> None:
        self.pipelines = pipelines if pipelines is not None else Pipelines()
        self.config = config if config is not None else StreamingConfig()
        self.formats = dict(formats) if formats is not None else builtin()
        self.store: Store = store if store is not None else MemoryStore()
        self.counters = DeliveryCounters()
        self.figures = StreamFigures()
        self.admission = Admission(self.config)
        self._clock = clock
        self.shelf = Shelf(self, clock=clock, on_growth=self._grown)
        self.leases = Leases(self, node=random_word(8))
        self.channels = Channels(self, clock=clock, new_epoch=partial(random_word, 12))
        self._on_drain: dict[Callable[[], Iterable[Guest]], None] = {}
        self._pumps: dict[asyncio.Task[None], ActiveStream] = {}
        self._fanout: Fanout | None = None
        self._journal: Journal | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.is_closing = False
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<StreamManager {len(self.shelf)} streams, {len(self._pumps)} running>"

    async def __aenter__(self) -> Self:
        if self.is_closing:
            raise ShuttingDown("this manager is closed")
        await self.store.open()
        self._start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        await self.aclose()

    def _start(self) -> Fanout:
        if self.is_closing:
            raise ShuttingDown("this manager is closed")
        if self._fanout is None:
            self._fanout = Fanout(
                heartbeat_interval_s=self.config.sse.heartbeat_interval_s,
                write_deadline_s=self.config.write_deadline_s,
            )
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep_forever(), name="patinox sweep")
            self.leases.start()
        return self._fanout

    @property
    def fanout(self) -> Fanout:
        """What delivers to this manager's readers; started with the first use in a running event loop."""
        return self._fanout if self._fanout is not None else self._start()

    def configure(self, config: StreamingConfig) -> None:
        """Goes by other settings from now on: limits at once, the rest for what begins (`config/reloading.py`)."""
        self.config = config
        self.admission.configure(config)

    @property
    def journal(self) -> Journal:
        """What takes chunks to a store that does not acknowledge at once; started with the first use."""
        if self._journal is None:
            self._journal = Journal(
                self.store, flush_interval_s=self.config.flush_interval_s, timeout_s=self.config.store_timeout_s,
                on_refused=self.leases.refused,
            )  # fmt: skip
        return self._journal

    def new_tail(self, stream: ActiveStream) -> Tail:
        """For a stream whose store acknowledges later, or that another node writes."""
        return Tail(stream, self.journal, timeout_s=self.config.store_timeout_s)

    @property
    def running(self) -> int:
        """How many streams are being filled from a source."""
        return len(self._pumps)

    # ── streams ──

    async def create(
        self,
        *,
        id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl_s: float | None = None,
        retain: Retain | str | None = None,
        on_abandon: OnAbandon | str | None = None,
        producer: str | None = None,
        channel: str | None = None,
        pipeline: PipelineChoice = None,
        tenant: str = "",
        owner: str = "",
    ) -> ActiveStream:
        """A new, open stream. Without an `id` it gets one with 131 random bits.

        `pipeline` stands before it: what is written leaves as that lets go of it.

        `channel` names the channel whose readers get it too, announced with its `metadata`.
        `producer` is where it comes from (over HTTP, the client's address), for `max_streams_per_producer`.
        `tenant` is whose streams it is one of: ids of one tenant mean nothing to another. `owner` is who made it.
        Raises `StreamExists`, `LimitExceeded` at `max_streams`, `InputError` for an id or metadata that won't do.
        """
        self._start()
        key = new_key(tenant, id)
        if self.shelf.held(key) is not None:
            raise StreamExists(f"a stream {key.id!r} exists already")
        options = stream_options(self.config, ttl_s, retain, on_abandon)
        handler = self.pipelines.choose(pipeline)
        room = None if channel is None else self.channel(channel, tenant)
        head = StreamHead(key.id, random_word(12), self._clock(), plain(metadata), tenant, owner)
        account = Account(producer or "", tenant, owner)
        self.admission.begin_stream(len(self.shelf), account)
        on_growth = self._grown if room is None else partial(self._grown_in, room)
        stream = ActiveStream(head, options, self, clock=self._clock, on_growth=on_growth)
        stream.on_end = partial(self.admission.end_stream, account)
        stream.channel = channel
        if handler is not None:
            stream.intake = Intake(handler, stream)
            stream.pipeline = handler.name or "unnamed"
        try:
            await self._keep(stream)
        except BaseException:
            stream.on_end()
            raise
        self.shelf.put(stream)
        self.figures.begun(stream)
        if room is not None:
            self.channels.enrol(stream, room)
        return stream

    async def _keep(self, stream: ActiveStream) -> None:
        """Has the store keep a new stream, unless that has its window only: then it is held here, and nowhere else."""
        if stream.options.retain is Retain.WINDOW:
            return
        node, lease_s = self.leases.node, self.leases.lease_s
        if isinstance(self.store, MemoryStore):
            record = self.store.create_nowait(stream.facts, node, lease_s)
        else:
            record = await self.answered(self.store.create(stream.facts, node, lease_s))
        self.leases.hold(stream, record.fence)

    def channel(self, name: str, tenant: str = "") -> Channel:
        """The channel of this name: many streams, read as one. Made where there is none.

        Raises `InputError` for a name that won't do, `LimitExceeded` when there are too many.
        """
        self._start()
        if not is_name(name):
            raise InputError("a channel's name has 1 to 128 of A-Z a-z 0-9 . _ ~ - and begins with a letter or a digit")
        return self.channels.get(StreamKey(tenant, name))

    async def broadcast(self, data: Any, channel: str | None = None) -> None:
        """Tells everybody who reads a channel (without a name: any), and keeps it like all that is written."""
        for room in self.channels if channel is None else (self.channel(channel),):
            await room.broadcast(data)

    def relay(
        self,
        source: Any,
        *,
        format: str | None = None,
        id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        on_abandon: OnAbandon | str | None = None,
        channel: str | None = None,
        pipeline: PipelineChoice = None,
        tenant: str = "",
        owner: str = "",
    ) -> Relay:
        """A relay of any source into a new stream: nothing is read until it is awaited or attached to.

        `source`: an (async) iterator of str, bytes, JSON values, chunks, events or SDK events, or an awaitable of one.
        `format` names the dialect of a source of bytes.
        """
        wrapped = self.source(source, format=format)

        async def start(ready: Source) -> ActiveStream:
            stream = await self.create(
                id=id, metadata=metadata, on_abandon=on_abandon, channel=channel, pipeline=pipeline,
                tenant=tenant, owner=owner,
            )  # fmt: skip
            self.run(ready, stream)
            return stream

        return Relay(wrapped, start, self)

    def source(self, source: Any, *, format: str | None = None) -> Source:
        """A source, to be read as lists of chunk data. `format` names the dialect of one of bytes."""
        return Source(source, formats=self.formats, format_=None if format is None else self.format(format).name)

    def run(self, source: Source, stream: ActiveStream) -> None:
        """Pumps a source into a stream in a task of the manager's, ended with the stream."""
        task = asyncio.get_running_loop().create_task(pump(source, stream), name=f"patinox pump {stream.id}")
        self._pumps[task] = stream
        task.add_done_callback(lambda done: self._pumps.pop(done, None))

        def stop() -> None:
            if asyncio.current_task() is not task:
                task.cancel()

        stream.on_stop(stop)

    def format(self, name: str) -> Format[Any]:
        """A registered dialect by its name. Raises `UnknownFormat` with the list."""
        found = self.formats.get(name)
        if found is None:
            raise UnknownFormat(name, tuple(self.formats))
        return found

    async def cancel(self, stream_id: str, reason: str | None = None, *, tenant: str = "") -> bool:
        """Stops a stream from anywhere. False when it had ended already."""
        return await (await self.open(stream_id, tenant)).cancel(reason)

    async def forget(self, stream: ActiveStream) -> None:
        """Removes a stream as if it had never been: its id can be taken again. For one that nobody has read."""
        stream.cancel_nowait("the stream was withdrawn")
        await self._delete(stream, trace=False)

    async def delete(self, stream_id: str, *, tenant: str = "") -> None:
        """Cancels a stream if it runs, wherever, and forgets it; from then on it is `StreamGone`."""
        stream = await self.open(stream_id, tenant)
        await stream.cancel("the stream was deleted")
        await self._delete(stream, trace=True)

    async def _delete(self, stream: ActiveStream, *, trace: bool) -> None:
        self.leases.drop(stream)
        self.shelf.forget(stream, trace=trace)
        if stream.options.retain is not Retain.WINDOW:
            await self.answered(self.store.delete(stream.key, trace=trace))

    def stats(self) -> dict[str, Any]:
        """Figures of the whole manager: what it holds, its readers, the largest lag, and what was dropped and why.

        `refused` is what admission did not let in, by limit.
        """
        streams = tuple(self.shelf)
        delivery = self._fanout.stats() if self._fanout is not None else {}
        return {
            "streams": len(streams),
            "open": sum(1 for stream in streams if stream.is_open),
            "running": len(self._pumps),
            "connections": self.admission.connections,
            "lag": max((stream.feed.lag for stream in streams), default=0),
            **delivery,
            **self.counters.as_dict(),
            **self.figures.as_dict(),
            "refused": dict(self.admission.refused),
        }

    # ── shutdown ──

    def on_drain(self, callback: Callable[[], Iterable[Guest]]) -> Callable[[], None]:
        """Has `callback` asked, when nothing new is taken any more, who is to go. Returns what undoes it."""
        self._on_drain[callback] = None
        return partial(self._on_drain.pop, callback, None)

    def outlives(self, stream: ActiveStream) -> bool:
        """Whether a stream goes on when this process ends: its store does, and it is not filled from here."""
        is_kept = self.store.is_shared or not self.store.is_immediate
        return is_kept and stream.options.retain is not Retain.WINDOW and not (stream.is_mine and stream.is_fed)

    async def drain(self, reason: str = "the server is shutting down") -> None:
        """Takes nothing new, ends what ends with this process as `interrupted`, and sends every reader away.

        Takes up to `drain_window` where what they read goes on elsewhere (`departure.py`). Idempotent.
        """
        if not self.is_closing:
            self.is_closing = True
            sockets = [guest for callback in tuple(self._on_drain) for guest in callback()]
            if self._fanout is not None:
                await Departure(self, sockets).run(reason)
        await self.interrupt_all(reason)
        self.channels.close_nowait()

    async def interrupt_all(self, reason: str) -> None:
        """Ends every stream that does not outlive this process, and waits until its source is closed."""
        for stream in self.shelf:
            if not self.outlives(stream):
                stream.interrupt_nowait(reason)
        if self._pumps:  # each was told to stop when its stream ended, and is closing its source
            await asyncio.wait(tuple(self._pumps))
        if self._journal is not None:
            await self._journal.drain(self.config.store_timeout_s)

    async def aclose(self) -> None:
        """Drains, lets the readers take what is left within `drain_timeout`, and drops them. Idempotent."""
        if self._sweeper is not None:
            await end([self._sweeper])
        await self.drain()
        if self._fanout is not None:
            await self._fanout.settle(self.config.drain_timeout_s)
            await self._fanout.aclose()
        await self.pipelines.aclose()
        if self._journal is not None:
            await self._journal.aclose()
        await self.shelf.aclose()
        if not self._is_closed:
            self._is_closed = True
            await self.leases.aclose()
            await self.store.aclose()

    # ── within ──

    def _grown(self, feed: Feed) -> None:
        if self._fanout is not None:
            self._fanout.mark(feed)

    def _grown_in(self, channel: Channel, feed: Feed) -> None:
        self._grown(feed)
        channel.grown(feed)

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(min(60.0, max(0.05, self.config.ttl_s / 4)))
            await self.sweep()

    async def sweep(self) -> int:
        """Forgets the streams whose time to live is over; returns how many. Runs by itself every minute or so."""
        now_s = self._clock()
        over = [s for s in self.shelf if s.ended_s is not None and s.ended_s + s.options.ttl_s <= now_s]
        for stream in over:
            self.shelf.forget(stream)
        windows = sum(1 for stream in over if stream.options.retain is Retain.WINDOW)
        swept = 0
        while (count := await self.store.sweep(now_s, _SWEEP)) > 0:
            swept += count
            await asyncio.sleep(0)
        self.channels.sweep()
        return windows + swept
