"""Appends, readers that come, stall, leave and resume, eviction and ends, in any order, against a simple model.

What each reader saw, plus the gaps and snapshots it was told, is what was appended: once each, in order, byte for byte.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.tally import TallyWriter, tally

from patinox import StreamingConfig, StreamManager
from patinox.core.chunks import EventId, Json, StreamChunk, Text
from patinox.delivery.subscription import Subscription
from patinox.delivery.view import CHECKPOINT_EVERY
from patinox.delivery.wire import SseWire
from patinox.formats.framing import EventStreamParser
from patinox.formats.patinox import PATINOX
from patinox.manager.stream import parse_after
from patinox.testing.fakes import FakeSink, turns

WINDOW = 8
T = TypeVar("T")


class Client:
    """A reader as its user sees it: what it has, and where it would resume.

    While it is connected `sink` collects; what it has *read* of that is up to `read`, the rest is lost when it leaves.
    """

    def __init__(self) -> None:
        self.after = "start"
        self.position = 0
        self.ended = False
        self.connection: Subscription | None = None
        self.sink: FakeSink | None = None
        self.read_bytes = 0
        self.blocks: list[bytes] = []

    @property
    def may_come_back(self) -> bool:
        """Whether it has left without having seen the end, after which it has nothing to come back for."""
        return self.connection is None and not self.ended

    def unread(self) -> list[bytes]:
        """The whole events that have arrived and were not read."""
        assert self.sink is not None
        arrived = self.sink.data[self.read_bytes :]
        return [block + b"\n\n" for block in arrived.split(b"\n\n")[:-1]]


class Streams(RuleBasedStateMachine):
    """One stream, up to four clients."""

    retain = "full"
    is_native = True

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clients: list[Client] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def start(self) -> None:
        self.format = PATINOX if self.is_native else tally()
        self.wire = SseWire(self.format, ids=True, controls=self.is_native)
        self.manager = StreamManager(StreamingConfig(buffer_size=WINDOW, drain_timeout_s=0))
        self.stream = self.run(self.manager.create(retain=self.retain))
        self.appended: list[StreamChunk] = []

    # ── what happens ──

    @precondition(lambda self: self.stream.is_open)
    @rule(count=st.integers(1, 3 * WINDOW), is_own=st.booleans())
    def append(self, count: int, is_own: bool) -> None:
        self.run(self._append(count, is_own and self.retain == "full"))

    async def _append(self, count: int, is_own: bool) -> None:
        """All in one turn of the loop, so that the window may move further than it is long."""
        for number in range(len(self.appended) + 1, len(self.appended) + count + 1):
            self.appended.append(self.stream.write_nowait(Json(number) if is_own else Text(f"{number}\u2028\r\n")))

    @rule(count=st.sampled_from([1, 2, 3, 60]))
    def time_passes(self, count: int) -> None:
        self.run(turns(count))

    @precondition(lambda self: len(self.clients) < 4)
    @rule(after=st.sampled_from(["start", "start", "now", "snapshot"]))
    def a_client_comes(self, after: str) -> None:
        client = Client()
        client.after = after if self.is_native else "start"
        self.clients.append(client)
        self._connect(client)

    @precondition(lambda self: any(client.may_come_back for client in self.clients))
    @rule(data=st.data())
    def a_client_comes_back(self, data: st.DataObject) -> None:
        self._connect(data.draw(st.sampled_from([client for client in self.clients if client.may_come_back])))

    @precondition(lambda self: any(client.connection for client in self.clients))
    @rule(data=st.data(), count=st.integers(0, 40))
    def a_client_reads(self, data: st.DataObject, count: int) -> None:
        self._read(self._connected(data), count)

    @precondition(lambda self: any(client.connection for client in self.clients))
    @rule(data=st.data(), count=st.integers(0, 10))
    def a_client_leaves(self, data: st.DataObject, count: int) -> None:
        client = self._connected(data)
        self._read(client, count)
        self.run(self._drop(client))

    @precondition(lambda self: any(client.connection for client in self.clients))
    @rule(data=st.data())
    def a_client_stalls(self, data: st.DataObject) -> None:
        sink = self._connected(data).sink
        assert sink is not None
        sink.suspend()

    @precondition(lambda self: any(client.connection for client in self.clients))
    @rule(data=st.data())
    def a_client_takes_again(self, data: st.DataObject) -> None:
        sink = self._connected(data).sink
        assert sink is not None
        sink.resume()

    @precondition(lambda self: self.stream.is_open and len(self.appended) > 3 * WINDOW)
    @rule(outcome=st.sampled_from(["complete", "failed", "cancelled"]))
    def the_stream_ends(self, outcome: str) -> None:
        self.appended.append(self.run(self.stream.finish(outcome)))

    def _connected(self, data: st.DataObject) -> Client:
        return data.draw(st.sampled_from([client for client in self.clients if client.connection]))

    def _connect(self, client: Client) -> None:
        self.run(self._attach(client))

    async def _attach(self, client: Client) -> None:
        feed = self.stream.feed
        attachment = feed.attach(parse_after(client.after), snapshots=self.is_native)
        # What was told without an id (a gap) is told again; "now" is where the stream stands when it is asked for.
        asked = parse_after(client.after)
        client.position = asked.whole if isinstance(asked, EventId) else attachment.cursor if asked == "now" else 0
        client.connection = Subscription(feed, feed.view(self.format, self.wire), attachment)
        client.sink = FakeSink()
        client.read_bytes = 0
        client.connection.open()
        opening = await client.connection.opening(fresh=False)
        client.sink.messages.append((opening, False))
        self.manager.fanout.deliver(client.connection, client.sink)

    async def _drop(self, client: Client) -> None:
        assert client.connection is not None
        await self.manager.fanout.drop(client.connection)
        client.connection.close()
        client.connection = None

    # ── what a client makes of it ──

    def _read(self, client: Client, count: int) -> None:
        for block in client.unread()[:count]:
            client.read_bytes += len(block)
            if self.is_native:
                self._native(client, block)
            else:
                client.blocks.append(block)
                client.after = block.partition(b"\n")[0].removeprefix(b"id: ").decode()

    def _native(self, client: Client, block: bytes) -> None:
        assert not client.ended, "something follows the end"
        (event,) = EventStreamParser().feed(block)
        sequence = int((event.id or "e-0").rpartition("-")[2])
        match event.event:
            case "position":
                assert sequence == client.position
            case "gap":
                gap = msgspec.json.decode(event.data)
                assert gap["from"] == client.position + 1
                assert self.retain == "window"
                client.position = gap["to"]
                return  # a gap has no id: cut here, the client asks from before it
            case "snapshot":
                assert sequence >= client.position
                text = "".join(c.data.text for c in self.appended[:sequence] if isinstance(c.data, Text))
                assert msgspec.json.decode(event.data)["content"] == text
                client.position = sequence
            case kind:
                assert sequence == client.position + 1, "a hole or a double"
                chunk = self.appended[sequence - 1]
                assert (kind, event.data.encode()) == (chunk.kind, chunk.payload)
                client.position = sequence
                client.ended = chunk.is_final
        client.after = event.id or client.after

    # ── what always holds ──

    @invariant()
    def memory_is_bounded(self) -> None:
        if not hasattr(self, "stream"):
            return
        assert len(self.stream.log.window) <= WINDOW
        for view in self.stream.feed.views.values():
            assert len(view._frames) <= 2 * WINDOW + CHECKPOINT_EVERY
        connected = [client for client in self.clients if client.connection]
        assert self.stream.feed.readers == len(connected)

    def teardown(self) -> None:
        if not hasattr(self, "stream"):
            self.loop.close()
            return
        if self.stream.is_open:
            self.the_stream_ends("complete")
        for client in self.clients:
            if client.connection:
                assert client.sink is not None
                client.sink.resume()
        self.run(turns(400))
        for client in self.clients:
            if client.may_come_back:
                self._connect(client)
        self.run(turns(400))
        try:
            for client in self.clients:
                self._check(client)
        finally:
            self.run(self.manager.aclose())
            self.run(turns())
            assert asyncio.all_tasks(self.loop) == set()
            self.loop.close()

    def _check(self, client: Client) -> None:
        if client.connection is not None:
            self._read(client, 10**6)
            assert client.connection.when_done.done()
        if self.is_native:
            assert client.position == len(self.appended)
        else:
            assert b"".join(client.blocks) == self._uninterrupted()

    def _uninterrupted(self) -> bytes:
        writer, out = TallyWriter(), []
        state = writer.initial(self.stream.feed.head)
        for chunk in self.appended:
            state, frames = writer.write(state, chunk, self.stream.assembly)
            out.append(self.wire.record(chunk.id, list(frames)) if frames else b"")
        return b"".join(out)


class WindowOnly(Streams):
    """Nothing but the hot window is kept: gaps and snapshots stand for the rest."""

    retain = "window"


class Stateful(Streams):
    """A dialect with state, several frames a record, and resuming within a record."""

    is_native = False


CHECKED = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestStreams = Streams.TestCase
TestStreams.settings = CHECKED
TestWindowOnly = WindowOnly.TestCase
TestWindowOnly.settings = CHECKED
TestStateful = Stateful.TestCase
TestStateful.settings = CHECKED
