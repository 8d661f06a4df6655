"""Bytes cut anywhere, to events that know their own bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patinox.cli.pieces import Cutter, LinesCutter, RawCutter, SseCutter, WireEvent
from patinox.errors import FramingError

SSE = (
    b"retry: 5000\n\n"
    b'id: e-0\nevent: position\ndata: {"outcome":"start"}\n\n'
    b'id: e-1\nevent: text\ndata: {"text":"h\xc3\xa9"}\n\n'
    b'id: e-2\nevent: text\ndata: {"text":"\xe2\x80\xa8"}\n\n'
)
LINES = b'{"id":"e-1","event":"text","data":{"text":"h\xc3\xa9"}}\n{"event":"gap","data":{"from":1,"to":2}}\n'


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


def read(cutter: Cutter, pieces: list[bytes]) -> list[WireEvent]:
    return [event for piece in pieces for event in cutter.feed(piece)]


@given(st.lists(st.integers(0, 500), max_size=12))
def test_server_sent_events_are_the_same_for_every_way_of_cutting(places: list[int]) -> None:
    events = read(SseCutter(), cut(SSE, places))
    assert [(event.id, event.event) for event in events] == [("e-0", "position"), ("e-1", "text"), ("e-2", "text")]
    assert b"".join(event.raw for event in events) == SSE


@given(st.lists(st.integers(0, 500), max_size=12))
def test_lines_are_the_same_for_every_way_of_cutting(places: list[int]) -> None:
    events = read(LinesCutter(), cut(LINES, places))
    assert [(event.id, event.event) for event in events] == [("e-1", "text"), ("", "gap")]
    assert b"".join(event.raw for event in events) == LINES
    assert events[0].data == '{"text":"hé"}'.encode()


def test_what_is_not_whole_is_no_event() -> None:
    assert read(SseCutter(), [SSE[:-1]]) == read(SseCutter(), [SSE])[:-1]
    assert read(LinesCutter(), [LINES[:-1]]) == read(LinesCutter(), [LINES])[:-1]


def test_heartbeats_leave_no_trace() -> None:
    beating = b": \n\n" + SSE.replace(b"\n\nid", b"\n\n: \n\nid") + b": \n\n"
    assert read(SseCutter(), [beating]) == read(SseCutter(), [SSE])
    assert read(LinesCutter(), [b" ", LINES.replace(b'\n{"', b'\n {"'), b" "]) == read(LinesCutter(), [LINES])


def test_the_retry_time_is_told() -> None:
    cutter = SseCutter()
    cutter.feed(SSE)
    assert cutter.retry_s == 5.0


def test_ids_that_were_only_asked_for_are_left_out_of_the_bytes() -> None:
    [event] = read(SseCutter(ids=False), [b'id: e-1\ndata: {"choices":[]}\n\n'])
    assert (event.id, event.raw) == ("e-1", b'data: {"choices":[]}\n\n')


def test_what_stands_after_the_last_event_is_there_at_the_end() -> None:
    cutter = SseCutter(ids=False)
    cutter.feed(b'data: 1\n\n{"error":{}}\n')
    assert cutter.close() == b'{"error":{}}\n'


@pytest.mark.parametrize("line", [b"<html>\n", b'{"event":"\xff","data":1}\n'])
def test_a_line_that_is_no_event_is_an_error(line: bytes) -> None:
    with pytest.raises(FramingError, match="no event"):
        LinesCutter().feed(line)


def test_bytes_of_a_dialect_without_ids_pass_as_they_are() -> None:
    assert [event.raw for event in read(RawCutter(), [b"{", b"}\n"])] == [b"{", b"}\n"]
