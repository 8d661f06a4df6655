"""A channel's log: references to ranges of other logs, hot ones with their chunks, kept ones without."""

import pytest

from patinox.core.chunks import StreamChunk, Text
from patinox.core.log import ResponseBuffer
from patinox.core.references import Closing, Member, Reference, ReferenceLog


def made(*, hot: int = 4, hot_bytes: int = 1000, kept: int = 5000) -> ReferenceLog:
    return ReferenceLog("e", ResponseBuffer(hot, max_bytes=hot_bytes), max_kept=kept)


def member(name: str = "a") -> Member:
    return Member(name, "f", 0.0, b"{}")


def refer(log: ReferenceLog, of: Member, count: int, size_bytes: int = 1) -> None:
    for _ in range(count):
        of.covered += 1
        chunk = StreamChunk(of.covered, Text("x"), 0.0, epoch="f")
        log.refer(Reference(of, of.covered, of.covered, (chunk,)), 0.0, size_bytes)


def ranges(log: ReferenceLog, after: int, limit: int = 100) -> list[tuple[int, int]]:
    return [(sequence, reference.first) for sequence, reference in log.kept(after, limit)]


def test_it_says_where_its_parts_begin() -> None:
    log = made(hot=2)
    refer(log, member(), 3)
    assert repr(log) == "<ReferenceLog e head=3 first=2 oldest=1>"


def test_hot_references_are_bounded_in_number_and_kept_ones_stay() -> None:
    log = made(hot=2)
    refer(log, member(), 5)
    assert [chunk.sequence for chunk in log.slice(0)] == [4, 5]
    assert ranges(log, 0) == [(number, number) for number in range(1, 6)]


def test_hot_references_are_bounded_in_bytes_but_for_the_newest() -> None:
    log = made(hot=100, hot_bytes=10)
    refer(log, member(), 3, size_bytes=6)
    assert [chunk.sequence for chunk in log.slice(0)] == [3]


def test_kept_references_are_bounded_in_number() -> None:
    log = made(kept=16)
    refer(log, member(), 17)
    assert log.oldest == 4  # a few are let go at once
    assert ranges(log, 0, 2) == [(4, 4), (5, 5)]


def test_what_is_let_go_is_not_hot_either() -> None:
    log = made(hot=100, kept=16)
    refer(log, member(), 17)
    assert (log.first, log.oldest) == (4, 4)


@pytest.mark.parametrize("count", [9_000, 20_000])
def test_the_numbers_hold_after_the_arrays_were_cut(count: int) -> None:
    log = made(kept=8192)
    refer(log, member(), count)
    assert count - log.oldest < 8192
    assert ranges(log, log.oldest, 2) == [(log.oldest + 1, log.oldest + 1), (log.oldest + 2, log.oldest + 2)]
    assert ranges(log, log.head - 1) == [(log.head, log.head)]


def test_references_to_streams_that_are_gone_are_shed_from_the_front_only() -> None:
    log, gone, there = made(), member("gone"), member("there")
    refer(log, gone, 2)
    refer(log, there, 1)
    refer(log, gone, 1)
    gone.is_gone = True
    log.shed()
    assert log.oldest == 3
    assert [sequence for sequence, _ in log.kept(0, 9)] == [3, 4]


def test_nothing_is_shed_while_the_first_is_there() -> None:
    log = made()
    refer(log, member(), 2)
    log.shed()
    assert log.oldest == 1


def test_the_closing_record_refers_to_nothing() -> None:
    log = made()
    refer(log, member(), 1)
    log.refer(Closing(), 0.0, 0)
    assert ranges(log, 0) == [(1, 1)]
    assert isinstance(log.slice(1)[0].data, Closing)


def test_bytes_are_counted_at_most_63_references_too_many() -> None:
    log = made()
    refer(log, member(), 200, size_bytes=10)
    assert log.bytes_after(200) == 0
    assert 1000 <= log.bytes_after(100) <= 1630


def test_a_range_that_is_not_read_or_whose_stream_is_gone_cannot_be_told() -> None:
    of = member()
    assert not Reference(of, 1, 1).is_readable
    assert Reference(of, 1, 1, ()).is_readable
    of.is_gone = True
    assert not Reference(of, 1, 1, ()).is_readable
    assert Reference(of, 1, 1).told == []
