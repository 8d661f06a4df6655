"""Streams read over connections that break."""

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from tests.live_server import live

from patinox import Json, Outcome, StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.cli.client import Refused, Server, Unreachable
from patinox.cli.following import Backoff, Ending, Follower, NotResumable
from patinox.cli.pieces import WireEvent
from patinox.config import SseConfig
from patinox.core.chunks import Error
from patinox.core.events import BlockDelta, BlockStart, MessageEnd, MessageStart, RunEnd, RunStart, Usage
from patinox.manager import ActiveStream
from patinox.testing.proxy import Fault, FaultProxy

RETRY_S = 3.0


class Place:
    """A manager, its server, and a proxy before it."""

    def __init__(self, manager: StreamManager, proxy: FaultProxy, server: Server) -> None:
        self.manager = manager
        self.proxy = proxy
        self.server = server
        self.waits_s: list[float] = []

    def follower(self, stream: ActiveStream, format_name: str = "patinox", after: str | None = None) -> Follower:
        return Follower(self.server, stream.id, format_name=format_name, after=after, backoff=self.backoff())

    def backoff(self, attempts: int = 8) -> Backoff:
        async def sleep(delay_s: float) -> None:
            self.waits_s.append(delay_s)

        return Backoff(sleep=sleep, jitter=lambda: 0.0, attempts=attempts)

    async def straight(self, stream: ActiveStream, accept: str, query: str = "") -> bytes:
        """What an uninterrupted client reads."""
        url = f"{self.proxy.url}/v1/streams/{stream.id}{query}"
        async with aiohttp.ClientSession() as session, session.get(url, headers={"Accept": accept}) as response:
            return await response.read()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    config = StreamingConfig(sse=SseConfig(retry_interval_s=RETRY_S))
    async with (
        StreamManager(config) as manager,
        live(PatinoxApp(manager)) as port,
        FaultProxy("127.0.0.1", port) as proxy,
        Server(proxy.url) as server,
    ):
        yield Place(manager, proxy, server)


async def answer(manager: StreamManager, *, finish: bool = True) -> ActiveStream:
    stream = await manager.create()
    await stream.write(RunStart(model="m"))
    await stream.write(MessageStart())
    for block, (kind, words) in enumerate((("reasoning", "hm, well"), ("text", "Grüße an\r\nalle\u2028Welt"))):
        await stream.write(BlockStart(block=block, of=kind))  # type: ignore[arg-type]
        for word in words:
            await stream.write(BlockDelta(block=block, text=word))
    if finish:
        await stream.write(MessageEnd(finish_reason="stop", provider_reason="stop"))
        await stream.write(Usage(input_tokens=1, output_tokens=2, total_tokens=3))
        await stream.write(RunEnd())
        await stream.finish()
    return stream


async def collect(follower: Follower) -> list[WireEvent]:
    return [event async for event in follower.events()]


async def exhaust(events: AsyncIterator[WireEvent]) -> None:
    async for _ in events:
        pass


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for is no event of ours
        await asyncio.sleep(0)


ACCEPT = {"patinox": "text/event-stream", "ndjson": "application/x-ndjson", "openai-chat": "*/*"}


@pytest.mark.parametrize("format_name", ACCEPT)
async def test_cut_anywhere_the_bytes_are_those_of_an_uninterrupted_reader(place: Place, format_name: str) -> None:
    stream = await answer(place.manager)
    query = "?format=openai-chat" if format_name == "openai-chat" else ""
    whole = await place.straight(stream, ACCEPT[format_name], query)
    size_bytes = len(whole) + 600  # and the head, and chunk sizes
    cuts_before = place.proxy.cuts
    for place_bytes in range(1, size_bytes, max(37, size_bytes // 80)):
        place.proxy.script(Fault(cut_after_bytes=place_bytes))
        async with Server(place.proxy.url) as server:  # with connections of its own, so that the first is cut
            follower = Follower(server, stream.id, format_name=format_name, backoff=place.backoff())
            events = await collect(follower)
        assert b"".join(event.raw for event in events) == whole, f"cut after {place_bytes} bytes"
        assert follower.ending == Ending(Outcome.COMPLETE)
    assert place.proxy.cuts - cuts_before > 20


async def test_cut_again_and_again_nothing_is_lost_or_doubled(place: Place) -> None:
    stream = await answer(place.manager)
    whole = await place.straight(stream, ACCEPT["ndjson"])
    place.proxy.script(*(Fault(cut_after_bytes=600 + 7 * number, chop_bytes=13) for number in range(12)))
    follower = place.follower(stream, "ndjson")
    assert b"".join(event.raw for event in await collect(follower)) == whole
    assert follower.reconnects > 3


async def test_cut_hard_it_is_the_same(place: Place) -> None:
    stream = await answer(place.manager)
    whole = await place.straight(stream, ACCEPT["patinox"])
    place.proxy.script(Fault(cut_after_bytes=900, reset=True), Fault(refuse=True, reset=True))
    assert b"".join(event.raw for event in await collect(place.follower(stream))) == whole


async def test_a_stream_that_goes_on_meanwhile_is_read_to_its_end(place: Place) -> None:
    stream = await answer(place.manager, finish=False)
    follower, kinds = place.follower(stream), []
    async for event in follower.events():
        kinds.append(event.event)
        if len(kinds) == 5:
            await place.proxy.cut_all()
            await stream.write("more")
            await stream.finish()
    assert kinds.count("text") == 1
    assert kinds[-1] == "end"
    assert kinds.count("position") == 1
    assert follower.reconnects == 1


async def test_the_wait_is_the_servers_and_grows_while_nothing_comes(place: Place) -> None:
    stream = await answer(place.manager)
    place.proxy.script(Fault(cut_after_bytes=900), *[Fault(refuse=True)] * 4)  # the HTTP client itself tries twice
    await collect(place.follower(stream))
    assert place.waits_s == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S]


async def test_it_gives_up_when_the_server_stays_away(place: Place) -> None:
    stream = await answer(place.manager, finish=False)
    place.proxy.script(Fault(cut_after_bytes=900), *[Fault(refuse=True)] * 9)
    follower = Follower(place.server, stream.id, backoff=place.backoff(attempts=3))
    with pytest.raises(Unreachable, match="gave up after 3 tries"):
        await collect(follower)
    assert follower.last_event_id.startswith(stream.epoch)


def test_jitter_only_ever_adds_to_the_wait() -> None:
    assert [Backoff(jitter=lambda j=j: j).delay_s(0, 4.0) for j in (0.0, 1.0)] == [4.0, 5.0]  # type: ignore[misc]
    assert Backoff(jitter=lambda: 0.0).delay_s(30) == 30.0
    assert Backoff(jitter=lambda: 0.0).delay_s(3, 300.0) == 300.0


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome.INCOMPLETE, Error("length", "too long")),
        (Outcome.CANCELLED, None),
        (Outcome.INTERRUPTED, Error("interrupted", "gone")),
        (Outcome.FAILED, Error("boom", "it broke")),
    ],
)
@pytest.mark.parametrize("format_name", ["patinox", "ndjson"])
async def test_every_ending_is_told(place: Place, format_name: str, outcome: Outcome, error: Error | None) -> None:
    stream = await answer(place.manager, finish=False)
    await stream.finish(outcome, error)
    follower = place.follower(stream, format_name)
    await collect(follower)
    assert follower.ending == Ending(outcome, error.message if error is not None else "")


async def test_a_foreign_dialects_ending_is_asked_for(place: Place) -> None:
    stream = await answer(place.manager, finish=False)
    await stream.fail(Error("boom", "it broke"))
    follower = place.follower(stream, "openai-chat")
    events = await collect(follower)
    assert follower.ending == Ending(Outcome.FAILED, "it broke")
    assert b"[DONE]" not in b"".join(event.raw for event in events)


async def test_a_reader_who_had_the_end_already_is_told_which_it_was(place: Place) -> None:
    stream = await answer(place.manager, finish=False)
    await stream.cancel("enough")
    for after in (stream.position, "now"):
        follower = place.follower(stream, after=after)
        await collect(follower)
        assert follower.ending == Ending(Outcome.CANCELLED, "enough")
    assert place.waits_s == []


async def test_now_still_means_its_first_place_after_a_cut_before_the_first_event(place: Place) -> None:
    stream = await answer(place.manager, finish=False)
    place.proxy.script(Fault(cut_after_bytes=600))
    follower = place.follower(stream, "openai-chat", after="now")
    reading = asyncio.create_task(collect(follower))
    await until(lambda: stream.feed.readers == 1)
    await stream.write(BlockDelta(block=1, text="x" * 900))
    await stream.finish()
    raw = b"".join(event.raw for event in await reading)
    assert raw.count(b"x" * 900) == 1


async def test_a_dialect_that_cannot_be_resumed_says_so(place: Place) -> None:
    stream = await answer(place.manager, finish=False)
    await stream.write("x" * 900)
    place.proxy.script(Fault(cut_after_bytes=700))
    with pytest.raises(NotResumable, match="ndjson"):
        await collect(place.follower(stream, "text"))


async def test_a_stream_that_is_not_there_is_refused_at_once(place: Place) -> None:
    with pytest.raises(Refused, match="there is no stream 'nope'") as caught:
        await collect(Follower(place.server, "nope", backoff=place.backoff()))
    assert (caught.value.http_status, caught.value.reason) == (404, "not_found")


async def test_a_deleted_stream_is_refused_while_following(place: Place) -> None:
    stream = await answer(place.manager, finish=False)
    place.proxy.script(Fault(cut_after_bytes=900))
    await stream.write(Json(1))
    events = place.follower(stream).events()
    await anext(events)
    await place.manager.delete(stream.id)
    with pytest.raises(Refused, match="deleted"):
        await exhaust(events)


async def test_a_server_that_is_full_is_asked_again() -> None:
    config = StreamingConfig(sse=SseConfig(max_connections=1))
    waits_s: list[float] = []
    async with (
        StreamManager(config) as manager,
        live(PatinoxApp(manager)) as port,
        Server(f"http://127.0.0.1:{port}") as server,
    ):
        stream = await answer(manager, finish=False)
        holding = Follower(server, stream.id).events()
        await anext(holding)

        async def sleep(delay_s: float) -> None:
            waits_s.append(delay_s)
            await stream.finish()
            await exhaust(holding)
            await until(lambda: not len(manager.fanout))

        follower = Follower(server, stream.id, backoff=Backoff(sleep=sleep, jitter=lambda: 0.0))
        await collect(follower)
    assert waits_s == [5.0]
    assert follower.ending == Ending(Outcome.COMPLETE)
