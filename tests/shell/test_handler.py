"""IncrementalResponseHandler: a source through a pipeline, by itself; and time, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from patinox import IncrementalResponseHandler, StreamManager
from patinox.core.chunks import End, Error, Outcome, Text
from patinox.core.events import BlockDelta, RunEnd
from patinox.errors import InputError
from patinox.incremental.chunker import Chunker
from patinox.incremental.tokens import Newlines, Tokens
from patinox.testing.fakes import ManualClock, turns
from patinox.testing.upstream import DONE, role, said, stopped

BLOCKED = Error("blocked", "Something that must not leave was about to.")
SENTENCES = IncrementalResponseHandler(lambda: [Tokens([Newlines()]), Chunker("sentence")], max_delay_s=1.0)


class Source:
    """Yields what the test puts in, and notes that it was closed. None ends it, an exception is raised."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[Any] = asyncio.Queue()
        self.closed = False

    def put(self, *items: Any) -> None:
        for item in items:
            self._items.put_nowait(item)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        item = await self._items.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, BaseException):
            raise item
        return item

    async def aclose(self) -> None:
        self.closed = True


class Reading:
    """Reads a handler's stream in the background."""

    def __init__(self, stream: AsyncIterator[Any]) -> None:
        self.items: list[Any] = []
        self._stream = stream
        self.task = asyncio.get_running_loop().create_task(self._read())

    @property
    def texts(self) -> list[str]:
        return [data.text for data in self.items if isinstance(data, Text)]

    async def _read(self) -> None:
        async for data in self._stream:
            self.items.append(data)

    async def end(self) -> None:
        await asyncio.wait([self.task])
        await self.task


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def manual(clock: ManualClock) -> ManualClock:
    clock.install(asyncio.get_running_loop())
    return clock


class Asking:
    """Holds all text until the test answers."""

    def __init__(self) -> None:
        self._kept: list[Any] = []
        self._answered = asyncio.Event()
        self.closed = False

    @property
    def held(self) -> bool:
        return bool(self._kept)

    def answer(self) -> None:
        self._answered.set()

    @property
    def waits(self) -> bool:
        return bool(self._kept)

    async def aclose(self) -> None:
        self.closed = True

    async def wait(self) -> None:
        await self._answered.wait()

    async def feed(self, batch: Sequence[Any]) -> list[Any]:
        self._kept += batch
        if not self._answered.is_set():
            return []
        self._answered.clear()
        return await self.close()

    async def close(self) -> list[Any]:
        out, self._kept = self._kept, []
        return out


class BlockAt:
    """Blocks at a word."""

    held = False

    def __init__(self, word: str) -> None:
        self._word = word

    def feed(self, batch: Sequence[Any]) -> list[Any]:
        for place, data in enumerate(batch):
            if getattr(data, "text", None) == self._word:
                return [*batch[:place], BLOCKED]
        return list(batch)

    def close(self) -> list[Any]:
        return []


async def collect(handler: IncrementalResponseHandler, source: Any, **more: Any) -> list[Any]:
    return [data async for data in handler.process_stream(source, **more)]


@pytest.mark.parametrize("source", [["Hi. Yo", "u\r\n."], "Hi. You\r\n.", (text for text in ("Hi. ", "You\r", "\n."))])
async def test_any_iterator_of_text_is_a_source(source: Any) -> None:
    assert await collect(SENTENCES, source) == [Text("Hi. "), Text("You\n"), Text(".")]


async def test_an_awaitable_of_a_source_is_one_and_each_source_has_stages_of_its_own() -> None:
    async def later() -> list[Any]:
        return ["Hel", Text("lo. "), RunEnd()]

    for _ in range(2):
        assert await collect(SENTENCES, later()) == [Text("Hello. "), RunEnd()]


async def test_what_needs_a_dialect_needs_a_manager() -> None:
    with pytest.raises(InputError, match="manager=manager"):
        await collect(SENTENCES, [b"data: {}\n\n"])
    async with StreamManager() as manager:
        handler = IncrementalResponseHandler(lambda: [Chunker("sentence")], manager=manager)
        source = [role(), said("Hel"), said("lo. Y"), said("ou"), stopped(), DONE]
        out = await collect(handler, source, format="openai-chat")
    assert [data.text for data in out if isinstance(data, BlockDelta)] == ["Hello. ", "You"]


async def test_a_source_that_broke_off_is_not_taken_for_complete() -> None:
    async with StreamManager() as manager:
        handler = IncrementalResponseHandler(lambda: [], manager=manager)
        out = await collect(handler, [role(), said("Hel")], format="openai-chat")
    assert isinstance(out[-1], End)
    assert out[-1].outcome is Outcome.INTERRUPTED


async def test_an_error_is_the_last_item_and_closes_the_source() -> None:
    source = Source()
    source.put("fine", "bad", "worse")
    handler = IncrementalResponseHandler(lambda: [BlockAt("bad"), Chunker("line")])
    assert await collect(handler, source) == [Text("fine"), BLOCKED]
    assert source.closed


async def test_an_exception_of_the_source_comes_after_what_was_held() -> None:
    source = Source()
    source.put("Hel", "lo", OSError("gone"))
    reading = Reading(SENTENCES.process_stream(source))
    with pytest.raises(OSError, match="gone"):
        await reading.end()
    assert reading.texts == ["Hello"]
    assert source.closed


async def test_a_reader_that_leaves_closes_the_source() -> None:
    source = Source()
    source.put("One. ")
    stream = SENTENCES.process_stream(source)
    assert await anext(stream) == Text("One. ")
    await stream.aclose()
    assert source.closed


async def test_a_cancelled_reader_closes_the_source_and_leaves_no_task(manual: ManualClock) -> None:
    source = Source()
    source.put("One. Tw")
    reading = Reading(SENTENCES.process_stream(source))
    await turns()
    reading.task.cancel()
    await asyncio.wait([reading.task])
    assert reading.task.cancelled()
    assert source.closed
    assert len(asyncio.all_tasks()) == 1


async def test_text_leaves_after_max_delay_and_not_before(manual: ManualClock) -> None:
    source = Source()
    reading = Reading(SENTENCES.process_stream(source))
    source.put("Hello")
    await turns()
    await manual.advance(0.9)
    assert reading.texts == []
    await manual.advance(0.2)
    assert reading.texts == ["Hello"]
    source.put(" you. Bye", None)
    await reading.end()
    assert reading.texts == ["Hello", " you. ", "Bye"]


async def test_the_clock_starts_again_when_something_has_left(manual: ManualClock) -> None:
    source = Source()
    reading = Reading(SENTENCES.process_stream(source))
    source.put("One")
    await turns()
    await manual.advance(0.7)
    source.put(". Two")
    await turns()
    assert reading.texts == ["One. "]
    await manual.advance(0.7)
    assert reading.texts == ["One. "]
    await manual.advance(0.4)
    assert reading.texts == ["One. ", "Two"]
    source.put(None)
    await reading.end()


async def test_text_that_comes_meanwhile_does_not_put_off_the_delay(manual: ManualClock) -> None:
    source = Source()
    reading = Reading(SENTENCES.process_stream(source))
    for word in ("a", "b", "c", "d"):
        source.put(word)
        await turns()
        await manual.advance(0.3)
    assert reading.texts[0] == "abcd"[: len(reading.texts[0])]
    source.put(None)
    await reading.end()


async def test_an_answer_lets_go_of_what_waited_for_it_while_the_source_is_silent() -> None:
    source, asking = Source(), Asking()
    reading = Reading(IncrementalResponseHandler(lambda: [asking]).process_stream(source))
    source.put("Hello")
    await turns()
    assert reading.texts == []
    asking.answer()
    await turns()
    assert reading.texts == ["Hello"]
    source.put(None)
    await reading.end()
    assert asking.closed


def test_a_delay_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="max_delay_s"):
        IncrementalResponseHandler(lambda: [], max_delay_s=0)
