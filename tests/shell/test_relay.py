"""Relays: any source pumped into a stream, and closed whatever happens."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from patinox import StreamingConfig, StreamManager
from patinox.core.chunks import Binary, End, Error, Json, Outcome, StreamChunk, Text
from patinox.core.events import BlockDelta
from patinox.errors import StreamExists, UnknownFormat, UpstreamTimeout
from patinox.manager import ActiveStream
from patinox.testing.fakes import turns


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
        yield manager


class Upstream:
    """A source that says what happens to it: yields `items`, then waits for `release`, then ends or raises."""

    def __init__(self, *items: Any, error: Exception | None = None, holds: bool = False) -> None:
        self.items = items
        self.error = error
        self.read = 0
        self.closed = 0
        self.holds = holds
        self.release = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Any]:
        for item in self.items:
            self.read += 1
            yield item
        if self.holds:
            await self.release.wait()
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        self.closed += 1


async def relayed(manager: StreamManager, source: Any, **options: Any) -> list[Any]:
    stream = await manager.relay(source, **options)
    return [chunk.data async for chunk in stream.subscribe()]


COMPLETE = End(Outcome.COMPLETE)


async def test_everything_that_has_a_meaning_becomes_a_chunk(manager: StreamManager) -> None:
    delta = BlockDelta(text="d")
    source = Upstream(
        "a", b"b", bytearray(b"c"), {"d": 1}, [1], 2, None, Text("e"), delta, StreamChunk(9, Text("f"), 0.0)
    )
    assert await relayed(manager, source) == [
        Text("a"), Binary(b"b"), Binary(b"c"), Json({"d": 1}), Json([1]), Json(2), Json(None), Text("e"), delta,
        Text("f"), COMPLETE,
    ]  # fmt: skip
    assert source.closed == 1


async def test_what_has_none_fails_the_stream(manager: StreamManager) -> None:
    (error,) = await relayed(manager, Upstream(object()))
    assert error.code == "bad_request"
    assert "object" in error.message


async def test_lists_strings_and_plain_iterators_are_sources(manager: StreamManager) -> None:
    def plain() -> Iterator[str]:
        yield from ("a", "b")

    for source in (["a", "b"], ("a", "b"), plain()):
        assert await relayed(manager, source) == [Text("a"), Text("b"), COMPLETE]
    assert await relayed(manager, "whole") == [Text("whole"), COMPLETE]


async def test_what_cannot_be_iterated_fails_the_stream(manager: StreamManager) -> None:
    (error,) = await relayed(manager, 5)
    assert "no source" in error.message


async def test_an_awaitable_of_a_source_is_awaited(manager: StreamManager) -> None:
    async def ask() -> Upstream:
        return source

    source = Upstream("a")
    assert await relayed(manager, ask()) == [Text("a"), COMPLETE]
    assert source.closed == 1


async def test_bytes_of_a_dialect_are_read_as_such(manager: StreamManager) -> None:
    text = "grüße".encode()
    data = await relayed(manager, Upstream(text[:3], text[3:]), format="text")
    assert "".join(item.text for item in data[:-1]) == "grüße"
    assert await relayed(manager, Upstream("héllo"), format="text") == [Text("héllo"), COMPLETE]
    with pytest.raises(UnknownFormat):
        manager.relay(Upstream(), format="nonsense")


async def test_a_dialect_that_broke_off_is_no_success(manager: StreamManager) -> None:
    frames = b'event: text\ndata: {"text":"a"}\n\n'
    assert (await relayed(manager, Upstream(frames), format="patinox"))[-1].outcome is Outcome.INTERRUPTED
    whole = frames + b'event: end\ndata: {"outcome":"complete"}\n\n'
    assert await relayed(manager, Upstream(whole), format="patinox") == [Text("a"), COMPLETE]


async def test_objects_of_the_openai_client_are_told_by_what_they_are(manager: StreamManager) -> None:
    def chunk(text: str, reason: str | None = None) -> Any:
        choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": reason}
        body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return SimpleNamespace(object=body["object"], model_dump=lambda **_: body)

    stream = await manager.relay(Upstream(chunk("Hel"), chunk("lo"), chunk("", "stop")))
    assert [c async for c in stream.subscribe()][-1].is_final
    assert stream.assembly.content == "Hello"


@pytest.mark.parametrize("ending", [Error("boom", "it broke"), End(Outcome.INCOMPLETE)])
async def test_an_ending_that_the_source_tells_is_the_streams(manager: StreamManager, ending: Any) -> None:
    source = Upstream("a", ending, "never")
    assert await relayed(manager, source) == [Text("a"), ending]
    assert source.read == 2
    assert source.closed == 1


async def test_a_source_that_raises_fails_the_stream_without_its_secrets(
    manager: StreamManager, caplog: pytest.LogCaptureFixture
) -> None:
    source = Upstream("a", error=RuntimeError("password is hunter2"))
    _, error = await relayed(manager, source)
    assert error == Error("producer_failed", "the producer failed: RuntimeError")
    assert source.closed == 1
    assert "failed" in caplog.text


async def test_our_own_errors_keep_their_code(manager: StreamManager) -> None:
    (error,) = await relayed(manager, Upstream(error=UpstreamTimeout("too long")))
    assert (error.code, error.message, error.status) == ("upstream_timeout", "too long", 504)


async def test_cancelling_stops_and_closes_the_source(manager: StreamManager) -> None:
    source = Upstream("a", holds=True)
    stream = await manager.relay(source)
    await turns()
    await stream.cancel("enough")
    assert stream.state == "cancelled"
    await turns()
    assert source.closed == 1
    assert manager.stats()["running"] == 0


async def test_a_stream_that_is_finished_by_hand_stops_its_source(manager: StreamManager) -> None:
    source = Upstream("a", holds=True)
    stream = await manager.relay(source)
    await turns()
    await stream.finish()
    await turns()
    assert (source.closed, stream.state) == (1, "complete")


async def test_a_stream_that_ends_between_two_writes_stops_its_source(manager: StreamManager) -> None:
    class Ends(Upstream):
        stream: ActiveStream

        async def __aiter__(self) -> AsyncIterator[Any]:
            yield "a"
            self.stream._cancel_producer = None  # a cancellation that comes too late to be seen
            self.stream.cancel_nowait()
            yield "b"

    source = Ends()
    source.stream = await manager.relay(source)
    await turns()
    assert source.stream.log.slice(0)[0].data == Text("a")
    assert source.stream.log.head == 2
    assert source.closed == 1


async def test_shutdown_interrupts_the_stream_and_closes_the_source() -> None:
    async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
        source = Upstream("a", holds=True)
        stream = await manager.relay(source)
        await turns()
    assert (source.closed, stream.state) == (1, "interrupted")


async def test_shutdown_lets_a_source_finish_closing() -> None:
    class SlowToClose(Upstream):
        async def close(self) -> None:
            await turns(50)
            self.closed += 1

    async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
        source = SlowToClose("a", holds=True)
        stream = await manager.relay(source)
        await turns()
        await stream.cancel()
        await turns(10)
    assert source.closed == 1


async def test_a_source_whose_closing_fails_harms_nobody(manager: StreamManager) -> None:
    class Stubborn(Upstream):
        async def close(self) -> None:
            raise RuntimeError("no")

    assert await relayed(manager, Stubborn("a")) == [Text("a"), COMPLETE]


async def test_generators_are_closed_by_the_relay_and_not_by_the_collector(manager: StreamManager) -> None:
    closed = []

    async def source() -> AsyncIterator[str]:
        try:
            while True:
                yield "a"
                await asyncio.sleep(0)
        finally:
            closed.append(asyncio.current_task())

    stream = await manager.relay(source())
    (pump,) = manager._pumps
    await turns()
    await stream.cancel()
    await turns()
    assert closed == [pump]


async def test_nothing_is_asked_of_a_source_before_its_relay_is_awaited(manager: StreamManager) -> None:
    source = Upstream("a")
    relay = manager.relay(source)
    await turns()
    assert (source.read, len(manager)) == (0, 0)
    assert "not started" in repr(relay)
    stream = await relay
    assert await relay.start() is stream
    await turns()
    assert source.read == 1
    assert stream.id in repr(relay)


async def test_discarding_closes_whatever_was_handed_over_unread(manager: StreamManager) -> None:
    asked = []

    async def ask() -> Upstream:
        asked.append(True)
        return Upstream()

    async def generator() -> AsyncIterator[str]:
        asked.append(True)
        yield "a"

    upstream = Upstream()
    sources: list[Any] = [ask(), generator(), upstream, iter([])]
    for source in sources:
        await manager.relay(source).discard()
    gc.collect()  # a coroutine that nobody awaited would warn here
    assert asked == []
    assert upstream.closed == 1


async def test_a_relay_may_choose_its_streams_id(manager: StreamManager) -> None:
    stream = await manager.relay(Upstream("a"), id="mine", metadata={"m": 1}, on_abandon="keep")
    assert (stream.id, stream.metadata) == ("mine", {"m": 1})
    again = manager.relay(Upstream(), id="mine")
    with pytest.raises(StreamExists):
        await again
    await again.discard()
