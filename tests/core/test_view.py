"""Views: frames made once, and the same bytes from every position, hot or cold."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.tally import TallyWriter, frames_of, tally

from patinox.core.chunks import EventId, StreamChunk, Text
from patinox.core.log import ResponseBuffer, StreamLog
from patinox.delivery.view import CHECKPOINT_EVERY, View
from patinox.delivery.wire import PlainWire, SseWire, Wire
from patinox.formats.base import StreamHead
from patinox.incremental.assembler import Assembly
from patinox.testing.fakes import turns

HEAD = StreamHead("s", "e", 0.0)
ALL = 10**9


class Bench:
    """A log, everything that was ever appended to it, and views of it."""

    def __init__(self, window: int = 1000, *, wire: Wire | None = None, keeps: bool = True) -> None:
        self.log = StreamLog("e", ResponseBuffer(window))
        self.assembly = Assembly()
        self.store: list[StreamChunk] = []
        self.keeps = keeps
        self.reading = asyncio.Event()
        self.reading.set()
        self.wire = wire if wire is not None else SseWire(tally(), ids=True, controls=False)

    def append(self, count: int, *, end: bool = False) -> None:
        for _ in range(count):
            self.store.append(self.log.append(Text(f"{self.log.head}"), 0.0, is_final=end))
            self.assembly.apply(self.store[-1])

    async def read(self, after: int, limit: int) -> Sequence[StreamChunk]:
        await self.reading.wait()
        if after >= self.log.first - 1:
            return self.log.slice(after, limit)
        return self.store[after : after + limit] if self.keeps else []

    def view(self) -> View:
        return View(self.log, self.assembly, HEAD, tally(), self.wire, self.read)

    def expected(self, after: int, part: int = 0) -> bytes:
        """What an uninterrupted reader saw after a position, made by hand from the first record on."""
        writer, state, out = TallyWriter(), TallyWriter().initial(HEAD), []
        for chunk in self.store:
            state, frames = writer.write(state, chunk, self.assembly)
            for k, frame in enumerate(frames, 1):
                place = (chunk.sequence, k if k < len(frames) else ALL)
                if place > ((after + 1, part) if part else (after, ALL)):
                    event_id = chunk.id if k == len(frames) else f"{chunk.id}.{k}"
                    out.append(self.wire.record(event_id, [frame]))
        return b"".join(out)


def written(view: View) -> list[int]:
    writer = view.format.writer
    assert isinstance(writer, TallyWriter)
    return writer.written


async def cold(view: View, after: int, part: int = 0, max_bytes: int = ALL) -> bytes:
    """All that follows a position, made again."""
    parts = []
    while after < view.log.head:
        batch = await view.cold(after, max_bytes, part)
        assert batch.upto > after
        after, part = batch.upto, 0
        parts.append(batch.data)
    return b"".join(parts)


async def test_frames_are_made_once_however_many_read() -> None:
    bench = Bench()
    view = bench.view()
    await view.prime()
    for _ in range(30):
        bench.append(3)
        for _ in range(5):
            view.advance()
            assert view.take(0, ALL)
    assert written(view) == list(range(1, 91))


@pytest.mark.parametrize("window", [1000, 50])
async def test_from_every_position_the_bytes_are_those_of_an_uninterrupted_reader(window: int) -> None:
    bench = Bench(window)
    bench.append(3 * CHECKPOINT_EVERY + 10)
    view = bench.view()
    await view.prime()
    whole = bench.expected(0)
    for after in (*range(0, 12), *range(250, 262), *range(508, 516), bench.log.head - 1, bench.log.head):
        expected = bench.expected(after)
        assert whole.endswith(expected)
        assert await cold(view, after) == expected
        hot = view.take(after, ALL)
        assert hot is None or hot == (expected, bench.log.head)


async def test_parts_of_a_record_are_told_by_their_number() -> None:
    bench = Bench()
    bench.append(20)
    view = bench.view()
    for sequence in range(1, 21):
        for part in range(1, frames_of(sequence)):
            assert await cold(view, sequence - 1, part) == bench.expected(sequence - 1, part)


@pytest.mark.parametrize("wire", [SseWire(tally(), ids=True, controls=False), PlainWire(tally("lines"))])
async def test_parts_fit_on_every_wire(wire: Wire) -> None:
    bench = Bench(wire=wire)
    bench.append(1)
    assert frames_of(1) == 3
    assert await cold(bench.view(), 0, 2) == bench.expected(0, 2)


async def test_a_part_that_this_format_never_had_means_the_whole_record() -> None:
    bench = Bench()
    bench.append(8)
    view = bench.view()
    for sequence in range(1, 9):
        for part in range(max(1, frames_of(sequence)), 6):
            assert await cold(view, sequence - 1, part) == bench.expected(sequence - 1)


async def test_bounded_pages_join_to_the_same_bytes() -> None:
    bench = Bench(20)
    bench.append(600)
    view = bench.view()
    assert await cold(view, 3, max_bytes=100) == bench.expected(3)
    batch = await view.cold(0, 1000)
    assert 1000 <= len(batch.data) < 1200


async def test_a_cold_read_ends_where_the_window_begins() -> None:
    bench = Bench(300)
    bench.append(1000)
    view = bench.view()
    await view.prime()
    batch = await view.cold(100, ALL)
    assert 700 <= batch.upto < 1000
    hot = view.take(batch.upto, ALL)
    assert hot is not None
    assert batch.data + hot.data == bench.expected(100)


async def test_checkpoints_save_making_everything_again() -> None:
    bench = Bench()
    bench.append(700)
    view = bench.view()
    await view.prime()
    written(view).clear()
    await cold(view, 600)
    assert written(view)[0] == 2 * CHECKPOINT_EVERY + 1


async def test_hot_frames_are_bounded_with_the_window() -> None:
    bench = Bench(100)
    view = bench.view()
    await view.prime()
    for _ in range(50):
        bench.append(37)
        view.advance()
        assert len(view._frames) <= 2 * 100 + CHECKPOINT_EVERY
    assert view.take(bench.log.first - 1, ALL) == (bench.expected(bench.log.first - 1), bench.log.head)
    assert view.take(0, ALL) is None


async def test_a_burst_larger_than_the_window_leaves_no_hole() -> None:
    bench = Bench(10)
    bench.append(5)
    view = bench.view()
    await view.prime()
    bench.append(25)
    view.advance()
    assert not view.primed
    assert view.take(5, ALL) is None
    await view.prime()
    assert view.take(20, ALL) == (bench.expected(20), 30)
    assert await cold(view, 5) == bench.expected(5)


async def test_a_view_at_rest_holds_no_frames_and_goes_on_rightly() -> None:
    bench = Bench(50)
    bench.append(300)
    view = bench.view()
    await view.prime()
    view.rest()
    assert (view.primed, view._frames) == (False, [])
    bench.append(200)
    await view.prime()
    assert view.take(480, ALL) == (bench.expected(480), 500)


async def test_the_window_may_move_while_a_view_is_primed() -> None:
    bench = Bench(50)
    bench.append(300)
    view = bench.view()
    bench.reading.clear()
    priming = asyncio.ensure_future(view.prime())
    await turns()
    bench.append(400)
    bench.reading.set()
    await priming
    assert view.take(670, ALL) == (bench.expected(670), 700)


async def test_two_may_prime_a_view_at_once() -> None:
    bench = Bench(50)
    bench.append(300)
    view = bench.view()
    bench.reading.clear()
    primings = [asyncio.ensure_future(view.prime()) for _ in range(2)]
    await turns()
    bench.reading.set()
    await asyncio.gather(*primings)
    bench.append(3)
    view.advance()
    assert view.take(260, ALL) == (bench.expected(260), 303)
    assert await cold(view, 100) == bench.expected(100)


async def test_a_stateless_dialect_replays_nothing() -> None:
    bench = Bench(10)
    bench.append(300)
    format_ = tally()
    stateless = type(format_)(**{**{f: getattr(format_, f) for f in format_.__struct_fields__}, "stateless": True})
    view = View(bench.log, bench.assembly, HEAD, stateless, bench.wire, bench.read)
    await view.prime()
    await view.cold(100, 1)
    assert written(view)[0] == 291
    assert written(view)[10] == 101


async def test_what_nobody_kept_is_left_out_and_the_dialect_goes_on() -> None:
    bench = Bench(10, keeps=False)
    bench.append(300)
    view = bench.view()
    await view.prime()
    assert view.upto == 300
    assert (await view.cold(100, ALL)) == (b"", 100)
    hot = view.take(290, ALL)
    assert hot is not None
    assert hot.data.count(b"data:") == sum(frames_of(n) for n in range(291, 301))
    assert (await view.openers(50)).startswith(b"data: open ")


async def test_openers_are_written_from_the_state_at_their_place_and_have_no_ids() -> None:
    bench = Bench()
    bench.append(300)
    view = bench.view()
    at_its_place = await view.openers(270)
    await view.prime()
    assert await view.openers(270) == at_its_place
    assert await view.openers(300) != at_its_place
    assert at_its_place.count(b"data: open") == 2
    assert b"id:" not in at_its_place


async def test_a_dialect_without_openers_says_nothing() -> None:
    class Silent(TallyWriter):
        def openers(self, state: int, assembly: Assembly) -> list[Any]:
            return []

    bench = Bench()
    view = bench.view()
    view._writer = Silent()
    assert await view.openers(0) == b""


async def test_a_closing_that_is_not_in_the_log_is_written_from_the_readers_state() -> None:
    bench = Bench()
    bench.append(5)
    view = bench.view()
    closing = await view.closing(5, StreamChunk(6, Text("over"), 0.0, True, "e"))
    assert closing.count(b"data:") == 1
    bench.store.append(bench.log.append(Text("over"), 0.0, is_final=True))
    assert closing.split(b"data:")[1] == bench.expected(5).split(b"data:")[1]


def test_a_view_says_where_it_stands() -> None:
    assert repr(Bench().view()) == "<View tally/sse+ids 0..-1, 0 readers>"
    assert str(EventId("e", 3, 2)) == "e-3.2"
