"""A channel whose streams are made, written, ended and deleted in any order, and its readers, against a simple model.

Of every stream a reader has each record once and in order, or was told that it is missing, or holds a snapshot.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from patinox import StreamingConfig, StreamManager
from patinox.core.attach import AttachOutcome
from patinox.delivery.subscription import Subscription
from patinox.formats.channel import CHANNEL
from patinox.manager import ActiveStream
from patinox.manager.stream import parse_after
from patinox.testing.fakes import FakeSink, turns
from patinox.transports.websocket.wire import LINES, ChannelWire

WINDOW, KEPT, STREAMS, MEMBERS = 3, 10, 6, 3
T = TypeVar("T")


class Member:
    """A reader as its user sees it: what it holds of each stream, and where in the channel it would resume."""

    def __init__(self) -> None:
        self.after = "start"
        self.held: dict[str, int] = {}
        self.text: dict[str, str] = {}
        self.may_jump: set[str] | None = (
            None  # the streams it has heard of since a gap in the channel, after which any may
        )
        self.connection: Subscription | None = None
        self.sink: FakeSink | None = None
        self.read_bytes = 0

    def read(self, count: int) -> None:
        """Takes in the next messages; what it does not take in is lost when it leaves."""
        assert self.sink is not None
        lines = self.sink.data[self.read_bytes :].splitlines(keepends=True)[:count]
        for line in lines:
            self.read_bytes += len(line)
            self.hear(msgspec.json.decode(line))

    def hear(self, said: dict[str, Any]) -> None:
        self.after = said.get("position", self.after)
        match said["op"]:
            case "snapshot":
                self._hear_snapshot(said)
            case "gap" if "stream" not in said:
                self.may_jump = set()
            case "gap":
                assert said["from"] <= self.held.get(said["stream"], 0) + 1 or self._jumps(said["stream"])
                self.held[said["stream"]] = max(said["to"], self.held.get(said["stream"], 0))
                self.text[said["stream"]] = "?"
            case _:
                self._hear_chunk(said)

    def _hear_snapshot(self, said: dict[str, Any]) -> None:
        if "stream" in said:
            self.held[said["stream"]] = int(said["id"].rpartition("-")[2])
            self.text[said["stream"]] = said["data"]["content"]
        else:
            self.held, self.text, self.may_jump = {}, {}, None

    def _hear_chunk(self, said: dict[str, Any]) -> None:
        stream, sequence = said["stream"], int(said["id"].rpartition("-")[2])
        if said.get("event") == "stream":
            assert sequence == 0
            assert stream not in self.held
            self.held[stream], self.text[stream] = 0, ""
            return
        if sequence != self.held.get(stream, -1) + 1:
            assert sequence > self.held.get(stream, -1)
            assert self._jumps(stream)
            self.text[stream] = "?"
        self.held[stream] = sequence
        if said["op"] == "chunk" and self.text[stream] != "?":
            self.text[stream] += said["data"]["text"]

    def _jumps(self, stream: str) -> bool:
        """Whether this may be where the channel's gap shows in this stream: once."""
        if self.may_jump is None or stream in self.may_jump:
            return False
        self.may_jump.add(stream)
        return True


class Channels(RuleBasedStateMachine):
    """One channel, up to six streams at a time, and three members."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.members: list[Member] = []
        self.texts: dict[str, str] = {}
        self.made = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def start(self) -> None:
        self.run(self._start())

    async def _start(self) -> None:
        self.manager = StreamManager(StreamingConfig(buffer_size=WINDOW, drain_timeout_s=0))
        self.channel = self.manager.channel("c")
        self.channel.log._max_kept = KEPT

    @property
    def streams(self) -> list[ActiveStream]:
        return list(self.manager)

    # ── what happens ──

    @precondition(lambda self: len(self.streams) < STREAMS)
    @rule()
    def a_stream_is_made(self) -> None:
        self.made += 1
        stream = self.run(self.manager.create(id=f"s{self.made}", channel="c"))
        self.texts[stream.id] = ""

    @precondition(lambda self: any(stream.is_open for stream in self.streams))
    @rule(data=st.data(), count=st.integers(1, 7))
    def it_is_written(self, data: st.DataObject, count: int) -> None:
        self.run(self._write(data.draw(st.sampled_from([s for s in self.streams if s.is_open])), count))

    async def _write(self, stream: ActiveStream, count: int) -> None:
        for _ in range(count):
            letter = "abcdefghij"[stream.log.head % 10]
            stream.write_nowait(letter)
            self.texts[stream.id] += letter

    @precondition(lambda self: any(stream.is_open for stream in self.streams))
    @rule(data=st.data())
    def it_ends(self, data: st.DataObject) -> None:
        self.run(data.draw(st.sampled_from([s for s in self.streams if s.is_open])).finish())

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def it_is_deleted(self, data: st.DataObject) -> None:
        self.run(self.manager.delete(data.draw(st.sampled_from([s.id for s in self.streams]))))

    @rule(count=st.sampled_from([1, 2, 3, 60]))
    def time_passes(self, count: int) -> None:
        self.run(turns(count))

    @precondition(lambda self: len(self.members) < MEMBERS)
    @rule()
    def a_member_comes(self) -> None:
        self.members.append(Member())

    @precondition(lambda self: any(member.connection is None for member in self.members))
    @rule(data=st.data())
    def a_member_connects(self, data: st.DataObject) -> None:
        self.run(self._attach(data.draw(st.sampled_from([m for m in self.members if m.connection is None]))))

    async def _attach(self, member: Member) -> None:
        feed = self.channel.feed
        attachment = feed.attach(parse_after(member.after))
        assert attachment.outcome in (
            AttachOutcome.START, AttachOutcome.RESUMED, AttachOutcome.GAP, AttachOutcome.SNAPSHOT,
        )  # fmt: skip
        member.connection = Subscription(feed, feed.view(CHANNEL, ChannelWire("c", LINES)), attachment)
        member.connection.open()
        member.sink, member.read_bytes = FakeSink(), 0
        opening = await member.connection.opening(fresh=True)
        self.manager.fanout.deliver(member.connection, member.sink, opening)

    @precondition(lambda self: any(member.connection for member in self.members))
    @rule(data=st.data(), count=st.integers(0, 12), leaves=st.booleans())
    def a_member_reads(self, data: st.DataObject, count: int, leaves: bool) -> None:
        member = data.draw(st.sampled_from([m for m in self.members if m.connection]))
        member.read(count)
        if leaves:
            self.run(self._drop(member))

    @precondition(lambda self: any(member.connection for member in self.members))
    @rule(data=st.data(), stalls=st.booleans())
    def a_member_stalls_or_takes_again(self, data: st.DataObject, stalls: bool) -> None:
        sink = data.draw(st.sampled_from([m for m in self.members if m.connection])).sink
        assert sink is not None
        sink.suspend() if stalls else sink.resume()

    async def _drop(self, member: Member) -> None:
        assert member.connection is not None
        await self.manager.fanout.drop(member.connection)
        member.connection.close()
        member.connection = None

    # ── what holds ──

    @invariant()
    def what_is_held_is_bounded(self) -> None:
        if hasattr(self, "channel"):
            log = self.channel.log
            assert log.head + 1 - log.first <= WINDOW
            assert log.head + 1 - log.oldest <= KEPT
            assert log.oldest <= log.first

    def teardown(self) -> None:
        try:
            if hasattr(self, "manager"):
                self.run(self._end())
        finally:
            self.loop.close()

    async def _end(self) -> None:
        for member in self.members:
            if member.connection is None:
                await self._attach(member)
            assert member.sink is not None
            member.sink.resume()
        await turns(200)
        for member in self.members:
            assert member.sink is not None
            assert member.sink.data.endswith(b"\n") or not member.sink.data
            member.read(10**9)
            for stream in self.streams:
                if member.may_jump is None:
                    assert member.held[stream.id] == stream.log.head
                if member.text.get(stream.id, "?") != "?":
                    assert member.text[stream.id] == self.texts[stream.id]
            await self._drop(member)
        assert self.channel.feed.readers == 0
        await self.manager.aclose()


TestChannels = Channels.TestCase
TestChannels.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
