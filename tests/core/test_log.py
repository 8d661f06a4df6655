"""The log and its hot window: bounds in chunks and bytes, and what makes room."""

import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patinox.config.choices import OverflowStrategy
from patinox.core.chunks import Json, StreamChunk, Text
from patinox.core.log import ResponseBuffer, StreamLog
from patinox.errors import BufferFull, InvalidChunk

REFUSING = [OverflowStrategy.DROP_NEWEST, OverflowStrategy.BLOCK]


def chunk(sequence: int, size_bytes: int = 1) -> StreamChunk:
    return StreamChunk(sequence, Text("x" * size_bytes), 0.0, payload=b"x" * size_bytes)


def filled(count: int, **settings: Any) -> ResponseBuffer:
    buffer = ResponseBuffer(**settings)
    for sequence in range(1, count + 1):
        buffer.push(chunk(sequence))
    return buffer


def test_drop_oldest_evicts_beyond_its_chunks() -> None:
    buffer = filled(5, max_size=3)
    assert [c.sequence for c in buffer.slice(0, 10)] == [3, 4, 5]
    assert (buffer.first, len(buffer), buffer.evicted, buffer.size_bytes) == (3, 3, 2, 3)


def test_drop_oldest_evicts_beyond_its_bytes() -> None:
    buffer = filled(3, max_size=100, max_bytes=10)
    assert buffer.push(chunk(4, 9)) == 2
    assert [c.sequence for c in buffer.slice(0, 10)] == [3, 4]


def test_the_newest_chunk_stays_however_large() -> None:
    buffer = filled(3, max_bytes=10)
    assert buffer.push(chunk(4, 1000)) == 3
    assert (len(buffer), buffer.size_bytes) == (1, 1000)
    assert buffer.push(chunk(5)) == 1


@pytest.mark.parametrize("strategy", REFUSING)
def test_the_others_refuse_what_would_evict_an_unread_chunk(strategy: OverflowStrategy) -> None:
    buffer = filled(3, max_size=3, overflow_strategy=strategy)
    buffer.release(0)
    with pytest.raises(BufferFull):
        buffer.push(chunk(4))
    assert (len(buffer), buffer.refused, buffer.evicted) == (3, 1, 0)


@pytest.mark.parametrize("strategy", REFUSING)
def test_the_others_evict_what_every_reader_has_read(strategy: OverflowStrategy) -> None:
    buffer = filled(3, max_size=3, overflow_strategy=strategy)
    buffer.release(1)
    assert buffer.push(chunk(4)) == 1
    assert not buffer.has_room(1)


@pytest.mark.parametrize("strategy", REFUSING)
def test_the_others_count_bytes_too(strategy: OverflowStrategy) -> None:
    buffer = filled(3, max_size=100, max_bytes=5, overflow_strategy=strategy)
    buffer.release(1)
    assert buffer.has_room(3)
    assert not buffer.has_room(4)
    buffer.release(3)
    assert buffer.has_room(1000)


@pytest.mark.parametrize("strategy", OverflowStrategy)
def test_without_readers_there_is_always_room(strategy: OverflowStrategy) -> None:
    buffer = filled(10, max_size=3, overflow_strategy=strategy)
    assert len(buffer) == 3
    assert buffer.has_room(10**9)


def test_a_chunk_too_large_for_the_window_goes_in_when_all_is_read() -> None:
    buffer = ResponseBuffer(max_bytes=5, overflow_strategy="block")
    buffer.release(0)
    assert buffer.push(chunk(1, 100)) == 0


def test_an_evicted_chunk_is_let_go_at_once() -> None:
    class Payload(Json, frozen=True, weakref=True):
        pass

    buffer = ResponseBuffer(max_size=1)
    data = Payload("x")
    gone = weakref.ref(data)
    buffer.push(StreamChunk(1, data, 0.0))
    del data
    buffer.push(chunk(2))
    assert gone() is None


@pytest.mark.parametrize("settings", [{"max_size": 0}, {"max_bytes": 0}, {"overflow_strategy": "nonsense"}])
def test_a_window_without_room_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at least 1|nonsense"):
        ResponseBuffer(**settings)


def test_content_is_the_text_in_the_window() -> None:
    buffer = ResponseBuffer(max_size=3)
    for sequence, data in enumerate([Text("a"), Text("b"), Json(1), Text("c")], 1):
        buffer.push(StreamChunk(sequence, data, 0.0))
    assert buffer.get_content() == "bc"
    assert "3/3" in repr(buffer)


@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=1200),
    max_size=st.integers(1, 20),
    max_bytes=st.integers(1, 40),
    strategy=st.sampled_from(OverflowStrategy),
    reads=st.lists(st.integers(0, 1200), max_size=20),
)
def test_a_window_never_passes_its_bounds_nor_loses_what_is_unread(
    sizes: list[int], max_size: int, max_bytes: int, strategy: OverflowStrategy, reads: list[int]
) -> None:
    log = StreamLog("e", ResponseBuffer(max_size, max_bytes=max_bytes, overflow_strategy=strategy))
    kept: list[StreamChunk] = []
    released: int | None = None
    for turn, size in enumerate(sizes):
        if turn < len(reads):
            released = max(released or 0, min(reads[turn], log.head))
            log.window.release(released)
        try:
            kept.append(log.append(Text(""), 0.0, payload=b"x" * size or b"y"))
        except BufferFull:
            assert strategy is not OverflowStrategy.DROP_OLDEST
            continue
        window = log.window
        assert len(window) <= max_size
        assert window.size_bytes <= max_bytes or len(window) == 1
        assert window.size_bytes == sum(len(c.payload) for c in log.slice(0, 10_000))
        if released is not None and strategy is not OverflowStrategy.DROP_OLDEST:
            assert log.first <= released + 1
    assert [c.sequence for c in kept] == list(range(1, log.head + 1))
    assert list(log.slice(log.first - 1, 10_000)) == kept[log.first - 1 :]
    assert len(log.window) + log.window.evicted == log.head


def test_a_log_numbers_from_one_without_holes() -> None:
    log = StreamLog("e")
    assert (log.head, log.first, list(log.slice(0))) == (0, 1, [])
    first, second = log.append(Text("a"), 1.0), log.append(Text("b"), 2.0, is_final=True)
    assert (first.id, second.id, second.is_final, log.head) == ("e-1", "e-2", True, 2)
    assert log.size_bytes == len(first.payload) + len(second.payload)
    assert list(log.slice(1)) == [second]
    assert list(log.slice(2)) == []
    assert "head=2" in repr(log)


def test_what_cannot_be_said_takes_no_number() -> None:
    log = StreamLog("e")
    with pytest.raises(InvalidChunk):
        log.append(Text("\ud800"), 0.0)
    assert log.append(Text("a"), 0.0).sequence == 1


def test_a_refused_append_takes_no_number() -> None:
    log = StreamLog("e", ResponseBuffer(1, overflow_strategy="drop_newest"))
    log.append(Text("a"), 0.0)
    log.window.release(0)
    with pytest.raises(BufferFull):
        log.append(Text("b"), 0.0)
    log.window.release(1)
    assert log.append(Text("c"), 0.0).sequence == 2
