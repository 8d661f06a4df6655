"""Channels: many streams read as one, with one position; what is kept of them, and what is told of the rest."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.sockets import AsgiSocket

import patinox.core.references as references
from patinox import BackpressureConfig, OnAbandon, Retain, StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.config import SseConfig
from patinox.core.attach import Gap
from patinox.core.chunks import Json, StreamChunk, Text
from patinox.core.references import Member
from patinox.errors import InputError
from patinox.manager.channels import ChannelItem
from patinox.testing.fakes import AsgiClient, ManualClock, turns


@pytest.fixture
async def clock() -> ManualClock:
    clock = ManualClock()
    clock.install(asyncio.get_running_loop())
    return clock


@pytest.fixture
async def manager(clock: ManualClock) -> AsyncIterator[StreamManager]:
    config = StreamingConfig(buffer_size=8, drain_timeout_s=0, sse=SseConfig(heartbeat_interval_s=0))
    async with StreamManager(config, clock=clock) as manager:
        yield manager


def events(body: str) -> list[tuple[str, str, Any]]:
    """(id, event, data) of each event of an SSE body."""
    found = []
    for block in body.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "data" in fields:
            found.append((fields.get("id", ""), fields["event"], msgspec.json.decode(fields["data"])))
    return found


async def take(manager: StreamManager, count: int, after: str | None = None) -> list[ChannelItem]:
    items = []
    async for item in manager.channel("c").subscribe(after):
        items.append(item)
        if len(items) == count:
            break
    return items


def texts(items: list[ChannelItem]) -> list[tuple[str, str]]:
    """Who said what."""
    return [(item.stream, item.told.data.text) for item in items
            if isinstance(item.told, StreamChunk) and isinstance(item.told.data, Text)]  # fmt: skip


async def test_a_channel_brings_streams_of_before_and_of_later_with_who_produces_them(manager: StreamManager) -> None:
    one = await manager.create(id="one", channel="c", metadata={"agent": "ada"})
    await one.write("a")
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        answer = await socket.ask("subscribe", channel="c")
        two = await manager.create(id="two", channel="c", metadata={"agent": "bob"})
        await two.write("b")
        await one.finish()
        end = await socket.told(lambda said: said["op"] == "end")
    assert answer["outcome"] == "start"
    announced = [(said["stream"], said["data"]["metadata"]) for said in socket.of("chunk", event="stream")]
    assert announced == [("one", {"agent": "ada"}), ("two", {"agent": "bob"})]
    assert [(said["stream"], said["data"]) for said in socket.of("chunk", event="text")] == [
        ("one", {"text": "a"}),
        ("two", {"text": "b"}),
    ]
    assert (end["channel"], end["stream"], end["id"], end["outcome"]) == ("c", "one", one.position, "complete")


async def test_a_channel_may_be_read_before_anything_is_in_it(manager: StreamManager) -> None:
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        assert (await socket.ask("subscribe", channel="c"))["outcome"] == "start"
        await socket.ask("create", channel="c", id="s")
        assert (await socket.told(lambda said: said["op"] == "chunk"))["stream"] == "s"
        assert manager.get("s").describe()["channel"] == "c"


async def test_a_burst_is_one_reference(manager: StreamManager) -> None:
    stream = await manager.create(id="s", channel="c")
    for number in range(20):
        stream.write_nowait(str(number))
    await turns()
    assert manager.channel("c").log.head == 2  # that it was opened, and what it said


async def test_every_position_within_a_burst_can_be_resumed_from(manager: StreamManager) -> None:
    stream = await manager.create(id="s", channel="c")
    for number in range(5):
        stream.write_nowait(str(number))
    whole = await take(manager, 6)
    for count, item in enumerate(whole[:-1], 1):
        rest = await take(manager, 6 - count, item.position)
        assert [again.position for again in rest] == [later.position for later in whole[count:]]


async def test_sse_carries_the_channel_position_and_the_streams_own_ids(manager: StreamManager) -> None:
    stream = await manager.create(id="s", channel="c", metadata={"agent": 1})
    stream.write_nowait("a")
    stream.write_nowait("b")
    epoch = manager.channel("c").epoch
    async with AsgiClient(PatinoxApp(manager)).open("GET", "/v1/channels/c") as exchange:
        await exchange.until(lambda: '"b"' in exchange.text)
        assert exchange.headers["content-type"].startswith("text/event-stream")
        position, opened, first, second = events(exchange.text)
    assert position == (f"{epoch}-0", "position", {"outcome": "start", "id": f"{epoch}-0"})
    assert opened[:2] == (f"{epoch}-1", "stream")
    assert opened[2]["data"]["metadata"] == {"agent": 1}
    assert first == (f"{epoch}-2.1", "text", {"stream": "s", "id": f"{stream.epoch}-1", "data": {"text": "a"}})
    assert second == (f"{epoch}-2", "text", {"stream": "s", "id": f"{stream.epoch}-2", "data": {"text": "b"}})


async def test_begun_on_sse_it_is_resumed_on_websocket_and_back(manager: StreamManager) -> None:
    app = PatinoxApp(manager)
    stream = await manager.create(id="s", channel="c")
    for letter in "abcd":
        stream.write_nowait(letter)
    async with AsgiClient(app).open("GET", "/v1/channels/c") as exchange:
        await exchange.until(lambda: '"b"' in exchange.text)
        last = events(exchange.text)[3][0]
    async with AsgiSocket(app) as socket:
        await socket.ask("subscribe", channel="c", after=last)
        third = await socket.told(lambda said: said["op"] == "chunk")
    async with AsgiClient(app).open("GET", "/v1/channels/c", headers={"last-event-id": third["position"]}) as exchange:
        await exchange.until(lambda: '"d"' in exchange.text)
        outcome, fourth = events(exchange.text)
    assert third["data"] == {"text": "c"}
    assert outcome[2]["outcome"] == "resumed"
    assert fourth[2]["data"] == {"text": "d"}


async def test_a_stream_of_a_channel_is_resumed_alone_from_its_own_id(manager: StreamManager) -> None:
    app = PatinoxApp(manager)
    stream = await manager.create(id="s", channel="c")
    stream.write_nowait("a")
    stream.write_nowait("b")
    async with AsgiSocket(app) as socket:
        await socket.ask("subscribe", channel="c")
        first = await socket.told(lambda said: said.get("event") == "text")
        await socket.ask("subscribe", stream="s", after=first["id"])
        assert (await socket.told(lambda said: "channel" not in said and said["op"] == "chunk"))["data"] == {
            "text": "b"
        }


async def test_ndjson_says_the_same(manager: StreamManager) -> None:
    stream = await manager.create(id="s", channel="c")
    stream.write_nowait("a")
    target = "/v1/channels/c?format=ndjson"
    async with AsgiClient(PatinoxApp(manager)).open("GET", target) as exchange:
        await exchange.until(lambda: '"a"' in exchange.text)
        lines = [msgspec.json.decode(line) for line in exchange.text.splitlines()]
    assert [line["event"] for line in lines] == ["position", "stream", "text"]
    assert lines[2]["data"] == {"stream": "s", "id": f"{stream.epoch}-1", "data": {"text": "a"}}


async def test_as_json_it_is_described_at_once(manager: StreamManager) -> None:
    client = AsgiClient(PatinoxApp(manager))
    assert (await client.request("GET", "/v1/channels/c", headers={"accept": "application/json"})).status == 404
    await client.request("POST", "/v1/streams", json={"id": "s", "channel": "c"})
    answer = await client.request("GET", "/v1/channels/c", headers={"accept": "application/json"})
    assert [stream["id"] for stream in answer.json()["streams"]] == ["s"]
    assert answer.json()["position"] == manager.channel("c").position


@pytest.mark.parametrize("target", ["/v1/channels/c?format=openai-chat", "/v1/channels/c?format=text"])
async def test_a_channel_speaks_no_foreign_dialect(manager: StreamManager, target: str) -> None:
    assert (await AsgiClient(PatinoxApp(manager)).request("GET", target)).status == 406


@pytest.mark.parametrize("name", ["", "a b", "ä", "/", "x" * 129])
async def test_a_name_that_will_not_do_is_refused(manager: StreamManager, name: str) -> None:
    with pytest.raises(InputError):
        await manager.create(channel=name)
    assert len(manager) == 0


async def test_a_broadcast_reaches_all_members_and_is_resumed_like_the_rest(manager: StreamManager) -> None:
    app = PatinoxApp(manager)
    async with AsgiSocket(app) as socket:
        await socket.ask("subscribe", channel="c")
        await app.websockets.broadcast("hear me", channel="c")
        told = await socket.told(lambda said: said.get("event") == "text")
    assert socket.of("chunk", event="stream")[0]["data"]["metadata"] == {"broadcast": True}
    assert texts(await take(manager, 2))[0] == (told["stream"], "hear me")


async def test_a_broadcast_to_all_channels_reaches_each(manager: StreamManager) -> None:
    for name in ("c", "d"):
        manager.channel(name)
    await manager.broadcast("all")
    await turns()
    assert [channel.stats()["streams"] for channel in manager.channels] == [1, 1]


async def test_cold_references_are_read_again_from_the_streams(manager: StreamManager) -> None:
    stream = await manager.create(id="s", channel="c")
    for number in range(100):
        await stream.write(str(number))
        await turns(3)
    channel = manager.channel("c")
    assert channel.log.first > 50
    assert [text for _, text in texts(await take(manager, 101))] == [str(number) for number in range(100)]
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        await socket.ask("subscribe", channel="c", after=f"{channel.epoch}-3")
        await socket.until(lambda: socket.of("chunk", data={"text": "99"}))
    assert [data["text"] for data in socket.data("s")] == [str(number) for number in range(2, 100)]


async def test_what_is_no_longer_kept_is_a_gap_and_a_snapshot_of_all_streams(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = PatinoxApp(manager)
    channel = manager.channel("c")
    monkeypatch.setattr(channel.log, "_max_kept", 10)
    one = await manager.create(id="one", channel="c")
    two = await manager.create(id="two", channel="c")
    for number in range(20):
        await one.write(str(number % 10))
        await two.write("x")
        await turns(3)
    async with AsgiSocket(app) as socket:
        answer = await socket.ask("subscribe", channel="c", after=f"{channel.epoch}-1")
        last = await socket.told(lambda said: said.get("stream") == "two" and said["op"] == "snapshot")
        await one.write("after")
        await socket.told(lambda said: said.get("data") == {"text": "after"})
    assert answer["outcome"] == "snapshot"
    assert answer["gap"]["from"] == 2
    assert socket.of("snapshot")[0]["data"] == {"streams": ["one", "two"]}
    assert socket.of("snapshot", stream="one")[0]["data"]["content"] == "0123456789" * 2
    assert last["position"] == f"{channel.epoch}-{channel.log.head - 1}"
    assert len(socket.of("chunk")) == 1


async def test_a_snapshot_is_of_everything_up_to_its_position(manager: StreamManager) -> None:
    stream = await manager.create(id="s", channel="c")
    await stream.write("a")
    app = PatinoxApp(manager)
    async with AsgiSocket(app) as socket:
        socket.send("subscribe", channel="c", after="snapshot")
        stream.write_nowait("b")  # what has been appended and not referred to yet is in it, and is not told again
        snapshot = await socket.told(lambda said: said.get("stream") == "s")
        stream.write_nowait("c")
        await socket.told(lambda said: said["op"] == "chunk")
    assert snapshot["data"]["content"] == "ab"
    assert socket.data("s") == [{"text": "c"}]


async def test_without_snapshots_it_is_a_gap_and_then_what_is_kept(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = manager.channel("c")
    monkeypatch.setattr(channel.log, "_max_kept", 10)
    stream = await manager.create(id="s", channel="c")
    for number in range(40):
        await stream.write(Json(number))
        await turns(3)
    async with AsgiClient(PatinoxApp(manager)).open("GET", "/v1/channels/c") as exchange:
        await exchange.until(lambda: '"data":39' in exchange.text)
        position, gap, *rest = events(exchange.text)
    assert position[2]["outcome"] == "gap"
    assert gap[1] == "gap"
    assert rest[0][2]["data"] == gap[2]["to"] - 1  # the first record only said that the stream was opened
    assert [data["data"] for _, _, data in rest] == list(range(rest[0][2]["data"], 40))


async def test_a_deleted_stream_becomes_a_told_gap_for_hot_and_cold_readers(manager: StreamManager) -> None:
    kept = await manager.create(id="kept", channel="c")
    gone = await manager.create(id="gone", channel="c")
    for letter in "ab":
        await kept.write(letter)
        await gone.write("secret")
        await turns(3)
    await manager.delete("gone")
    await kept.write("c")
    items = await take(manager, 7)
    assert texts(items) == [("kept", "a"), ("kept", "b"), ("kept", "c")]
    assert [(item.stream, item.told) for item in items if isinstance(item.told, Gap)] == [
        ("gone", Gap(1, 1)),
        ("gone", Gap(2, 2)),
        ("gone", Gap(3, 3)),
    ]
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        await socket.ask("subscribe", channel="c")
        await socket.told(lambda said: said.get("data") == {"text": "c"})
    assert socket.of("gap") == [
        {"op": "gap", "channel": "c", "position": item.position, "stream": "gone", "from": item.told.first,
         "to": item.told.last} for item in items if isinstance(item.told, Gap)
    ]  # fmt: skip
    assert "secret" not in str(socket.ops)


async def test_a_reader_at_the_head_goes_on_after_a_stream_was_deleted(manager: StreamManager) -> None:
    one = await manager.create(id="one", channel="c")
    await manager.create(id="two", channel="c")
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        await socket.ask("subscribe", channel="c")
        await one.write("a")
        await socket.told(lambda said: said.get("event") == "text")
        await manager.delete("two")
        await one.write("b")
        await socket.told(lambda said: said.get("data") == {"text": "b"})
    assert [data["text"] for data in socket.data("one")[1:]] == ["a", "b"]


async def test_references_to_streams_that_are_gone_are_shed_from_the_front(manager: StreamManager) -> None:
    for number in range(3):
        stream = await manager.create(id=f"s{number}", channel="c")
        await stream.write("x")
        await stream.finish()
        await turns()
    await manager.delete("s0")
    await manager.delete("s1")
    channel = manager.channel("c")
    assert channel.log.oldest == 5
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        answer = await socket.ask("subscribe", channel="c")
        await socket.told(lambda said: said["op"] == "snapshot" and said.get("stream") == "s2")
    assert (answer["outcome"], answer["gap"]) == ("snapshot", {"from": 1, "to": 4})


async def test_a_range_that_its_stream_has_partly_let_go_is_told_missing_whole(manager: StreamManager) -> None:
    stream = await manager.create(id="s", channel="c", retain=Retain.WINDOW)
    for number in range(12):
        stream.write_nowait(str(number))
    await turns()
    channel = manager.channel("c")
    other = await manager.create(id="other", channel="c")
    for _ in range(10):  # pushes the hot reference out
        await other.write("x")
        await turns(3)
    items = await take(manager, 3)
    assert channel.log.first > 3
    assert [item.told for item in items][1:2] == [Gap(1, 12)]


async def test_members_keep_its_streams_from_being_abandoned(manager: StreamManager, clock: ManualClock) -> None:
    app = PatinoxApp(manager)
    unless_watched = OnAbandon.parse("cancel_after=5s")
    streams = [await manager.create(id="s", channel="c", on_abandon=unless_watched)]
    async with AsgiSocket(app) as socket:
        await socket.ask("subscribe", channel="c")
        streams.append(await manager.create(id="t", channel="c", on_abandon=unless_watched))
        await clock.advance(60)
        assert [str(stream.state) for stream in streams] == ["open", "open"]
    await clock.advance(6)
    assert [str(stream.state) for stream in streams] == ["cancelled", "cancelled"]


async def test_members_do_not_pace_producers(clock: ManualClock) -> None:
    config = StreamingConfig(drain_timeout_s=0, backpressure=BackpressureConfig(threshold=4, stall_s=3600.0))
    async with StreamManager(config, clock=clock) as manager, AsgiSocket(PatinoxApp(manager)) as socket:
        stream = await manager.create(id="s", channel="c")
        await socket.ask("subscribe", channel="c")
        socket.suspend()
        for number in range(50):
            await stream.write(str(number))
        socket.resume()
        await socket.until(lambda: len(socket.of("chunk")) == 51)


async def test_an_empty_channel_is_forgotten_when_nobody_reads_it(manager: StreamManager, clock: ManualClock) -> None:
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        await socket.ask("subscribe", channel="c")
        await clock.advance(61)
        await manager.sweep()
        assert manager.channels.find("c") is not None
    await manager.sweep()
    assert manager.channels.find("c") is None


async def test_a_position_of_a_channel_that_was_forgotten_is_a_reset(manager: StreamManager) -> None:
    await manager.create(id="s", channel="c")
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        answer = await socket.ask("subscribe", channel="c", after="formerly-3")
        assert answer["outcome"] == "reset"
        await socket.told(lambda said: said.get("event") == "stream")


async def test_a_closing_manager_lets_members_go_without_saying_that_the_channel_ended(clock: ManualClock) -> None:
    manager = StreamManager(StreamingConfig(drain_timeout_s=5), clock=clock)
    await manager.create(id="s", channel="c")
    async with AsgiClient(PatinoxApp(manager)).open("GET", "/v1/channels/c") as exchange:
        await exchange.until(lambda: '"metadata"' in exchange.text)
        await manager.aclose()
        await exchange.finished()
        assert [event for _, event, _ in events(exchange.text)] == ["position", "stream", "goaway", "end"]
        assert events(exchange.text)[-1][2]["stream"] == "s"


async def test_announcements_are_items_too(manager: StreamManager) -> None:
    await manager.create(id="s", channel="c", metadata={"agent": 1})
    (item,) = await take(manager, 1)
    assert isinstance(item.told, Member)
    assert msgspec.json.decode(item.told.metadata) == {"agent": 1}


async def test_it_says_what_it_is(manager: StreamManager) -> None:
    await manager.create(id="s", channel="c")
    channel = manager.channel("c")
    assert "1 streams" in repr(channel)
    assert channel.stats()["head"] == 1
    assert "head=1" in repr(channel.log)
    assert references.MAX_KEPT >= 65_536
