"""Framing by example: what each rule of the event stream, of NDJSON and of the encoder means."""

import pytest

from patinox.errors import InputError
from patinox.formats.framing import (
    EventStreamParser,
    FramingError,
    LineParser,
    ServerSentEvent,
    StrayLine,
    comment,
    encode_event,
    retry,
)


def events(stream: bytes) -> list[ServerSentEvent]:
    return EventStreamParser().feed(stream)


def test_a_data_line_and_a_blank_line_make_an_event() -> None:
    assert events(b'data: {"a":1}\n\n') == [ServerSentEvent("", '{"a":1}')]


def test_all_fields_of_a_block_are_read_in_any_order() -> None:
    block = b"data: x\nretry: 250\nid: e-7\nevent: note\n\n"
    assert events(block) == [ServerSentEvent("note", "x", "e-7", 250)]


def test_data_lines_are_joined_with_lf() -> None:
    assert events(b"data: a\ndata:b\ndata\ndata:  c\n\n") == [ServerSentEvent("", "a\nb\n\n c")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_lines_end_at_lf_cr_and_crlf(end: bytes) -> None:
    stream = end.join([b"event: e", b"data: a", b"data: b", b"", b"data: c", b"", b""])
    assert events(stream) == [ServerSentEvent("e", "a\nb"), ServerSentEvent("", "c")]


def test_a_crlf_cut_in_the_middle_is_one_line_end() -> None:
    parser = EventStreamParser()
    pieces = [b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n", b"data: c\r\n\r", b"\n"]
    assert [event.data for piece in pieces for event in parser.feed(piece)] == ["a\nb", "c"]


def test_an_event_is_given_as_soon_as_its_last_cr_is_there() -> None:
    assert events(b"data: a\r\n\r") == [ServerSentEvent("", "a")]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_other_separators_of_unicode_end_no_line(separator: str) -> None:
    data = f"a{separator}b"
    assert events(f"data: {data}\n\n".encode()) == [ServerSentEvent("", data)]
    assert LineParser().feed(f"{data}\n".encode()) == [data.encode()]


def test_one_byte_order_mark_is_skipped_at_the_start_alone() -> None:
    bom = b"\xef\xbb\xbf"
    assert events(bom + b"data: " + bom + b"\n\n") == [ServerSentEvent("", "\ufeff")]
    assert events(bom + bom + b"data: a\n\n") == []
    assert LineParser().feed(bom + bom + b"{}\n") == [bom + b"{}"]


def test_a_byte_order_mark_may_come_in_pieces() -> None:
    parser = EventStreamParser()
    for piece in (b"\xef", b"", b"\xbb", b"\xbf"):
        assert parser.feed(piece) == []
    assert parser.feed(b"data: a\n\n") == [ServerSentEvent("", "a")]


def test_a_block_without_data_is_no_event_but_its_id_counts() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"event: e\nid: 5\nretry: 10\n\n") == []
    assert (parser.last_event_id, parser.retry_ms) == ("5", 10)


def test_an_empty_data_line_is_an_event() -> None:
    assert events(b"data\n\ndata:\n\n") == [ServerSentEvent("", ""), ServerSentEvent("", "")]


def test_an_id_is_remembered_until_the_next_and_emptied_by_an_empty_one() -> None:
    parser = EventStreamParser()
    seen = [(e.id, parser.last_event_id) for e in parser.feed(b"id: 1\ndata: a\n\ndata: b\n\n")]
    assert seen == [("1", "1"), (None, "1")]
    parser.feed(b"id\n\n")
    assert parser.last_event_id == ""


def test_an_id_with_nul_is_ignored() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"id: 1\nid: a\0b\ndata: x\n\n") == [ServerSentEvent("", "x", "1")]


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"1s", "١".encode(), b"9" * 5000])
def test_a_retry_that_is_no_time_is_ignored(value: bytes) -> None:
    parser = EventStreamParser()
    parser.feed(b"retry: " + value + b"\n\n")
    assert parser.retry_ms is None


def test_a_retry_counts_even_if_its_block_never_ends() -> None:
    parser = EventStreamParser()
    parser.feed(b"retry: 0\nretry: 70")
    assert parser.close() == b"retry: 0\nretry: 70"
    assert parser.retry_ms == 0


def test_comments_and_unknown_fields_are_ignored() -> None:
    assert events(b": ping\n\n:\nfoo: bar\n Data: x\ndata: a\n\n") == [ServerSentEvent("", "a")]


def test_stray_lines_are_kept_in_order_when_asked_for() -> None:
    parser = EventStreamParser(keep_stray=True)
    got = parser.feed(b'data: a\n\n{"error": {\n  "code": 429}}\n: note\n\ndata: b\n\n')
    assert got == [
        ServerSentEvent("", "a"),
        StrayLine("", '{"error": {'),
        StrayLine("", '  "code": 429}}'),
        ServerSentEvent("", "b"),
    ]


def test_an_unfinished_event_is_no_event_and_is_handed_back() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"data: a\r\n\r\ndata: b\r\nid: 2\r\n") == [ServerSentEvent("", "a")]
    assert parser.close() == b"data: b\nid: 2\n"
    assert parser.last_event_id == ""


def test_a_bare_json_error_at_the_end_is_handed_back_whole() -> None:
    parser = EventStreamParser(keep_stray=True)
    assert parser.feed(b'data: a\n\n{"error": {\n "code": 500}}') == [ServerSentEvent("", "a")]
    assert parser.close() == b'{"error": {\n "code": 500}}'


def test_heartbeats_at_the_end_are_nothing_unfinished() -> None:
    parser = EventStreamParser()
    parser.feed(b"data: a\n\n: ping\n: ping\n: pi")
    assert parser.close() == b""


def test_a_caller_may_finish_a_last_event_without_its_blank_line() -> None:
    parser = EventStreamParser()
    parser.feed(b"data: [DONE]")
    assert parser.feed(b"\n\n") == [ServerSentEvent("", "[DONE]")]


def test_ill_formed_utf8_is_replaced_counted_and_located() -> None:
    parser = EventStreamParser()
    got = parser.feed("data: ok \ufffd\r\n\r\n".encode() + b"data: a\xe2\x82\r\ndata: \xff\xffb\r\n\r\n")
    assert [event.data for event in got] == ["ok \ufffd", "a\ufffd\n\ufffd\ufffdb"]
    assert (parser.replaced, parser.replaced_offset) == (3, 16)


def test_a_character_cut_in_pieces_is_not_replaced() -> None:
    parser = EventStreamParser()
    stream = "data: 😀\n\n".encode()
    got = [event for byte in stream for event in parser.feed(bytes([byte]))]
    assert got == [ServerSentEvent("", "😀")]
    assert parser.replaced == 0


def test_an_event_of_exactly_the_limit_passes() -> None:
    assert EventStreamParser(max_event_bytes=7).feed(b"data: a\n\n") == [ServerSentEvent("", "a")]


def test_an_event_over_the_limit_fails_where_it_began() -> None:
    parser = EventStreamParser(max_event_bytes=7)
    parser.feed(b"\r\ndata: a\r\n\r\n")
    with pytest.raises(FramingError) as caught:
        parser.feed(b"data: ab")
    assert (caught.value.offset, caught.value.code) == (13, "malformed_stream")


def test_events_before_the_one_over_the_limit_are_not_lost() -> None:
    parser = EventStreamParser(max_event_bytes=7)
    assert parser.feed(b"data: a\n\ndata: ab\n\ndata: c\n\n") == [ServerSentEvent("", "a")]
    for _ in range(2):
        with pytest.raises(FramingError) as caught:
            parser.feed(b"data: d\n\n")
        assert caught.value.offset == 9


def test_an_error_that_waits_is_raised_by_close() -> None:
    parser = EventStreamParser(max_event_bytes=7)
    parser.feed(b"data: a\n\ndata: ab")
    with pytest.raises(FramingError):
        parser.close()


def test_heartbeats_without_a_blank_line_never_reach_the_limit() -> None:
    parser = EventStreamParser(max_event_bytes=16)
    for _ in range(100):
        assert parser.feed(b": ping\n") == []
    assert parser.feed(b"data: a\n\n") == [ServerSentEvent("", "a")]


def test_a_long_line_in_small_pieces_is_read_in_linear_time() -> None:
    """Quadratic work on half a million pieces would take hours, and meet pytest's timeout."""
    size = 500_000
    event_parser, line_parser = EventStreamParser(), LineParser()
    event_parser.feed(b"data: ")
    for _ in range(size):
        event_parser.feed(b"x")
        line_parser.feed(b"x")
    assert len(event_parser.feed(b"\n\n")[0].data) == size
    assert len(line_parser.feed(b"\n")[0]) == size


def test_a_parser_tells_where_it_stands() -> None:
    parser = EventStreamParser()
    parser.feed(b"data: a\n\ndata")
    assert parser.stats() == {"offset": 13, "pending_bytes": 4, "replaced": 0}
    assert repr(parser) == "<EventStreamParser offset=13 pending_bytes=4>"


def test_lines_end_at_lf_and_crlf_and_blank_ones_are_skipped() -> None:
    assert LineParser().feed(b'{"a":1}\r\n\n \n  {"b":\r2}\n') == [b'{"a":1}', b'{"b":\r2}']


def test_the_unterminated_last_line_is_handed_back() -> None:
    parser = LineParser()
    assert parser.feed(b"1\n2") == [b"1"]
    assert parser.close() == b"2"
    assert parser.close() == b""


def test_heartbeats_of_single_spaces_are_not_kept() -> None:
    parser = LineParser(max_line_bytes=2)
    for _ in range(10):
        parser.feed(b" ")
    assert parser.stats()["pending_bytes"] == 0
    assert parser.feed(b"{}\n ") == [b"{}"]
    assert parser.close() == b""


def test_a_line_over_the_limit_fails_where_it_began_after_the_lines_before_it() -> None:
    parser = LineParser(max_line_bytes=3)
    assert parser.feed(b"12\n  1234") == [b"12"]
    with pytest.raises(FramingError) as caught:
        parser.close()
    assert caught.value.offset == 5


def test_an_event_is_written_as_id_event_data() -> None:
    frame = encode_event(b"{}", event="text", id="e-1", retry_ms=5)
    assert frame == b"retry: 5\nid: e-1\nevent: text\ndata: {}\n\n"
    assert encode_event(b"{}") == b"data: {}\n\n"


@pytest.mark.parametrize("data", ["a\nb", "a\rb", "a\r\nb", b"a\r\nb"])
def test_data_is_cut_at_every_kind_of_line_end(data: str | bytes) -> None:
    assert encode_event(data) == b"data: a\ndata: b\n\n"


def test_empty_data_is_still_an_event() -> None:
    assert encode_event("") == b"data: \n\n"


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b", "\ud800"])
def test_what_an_event_or_id_cannot_hold_is_refused(bad: str) -> None:
    with pytest.raises(InputError):
        encode_event("x", event=bad)
    with pytest.raises(InputError):
        encode_event("x", id=bad)


def test_a_lone_surrogate_and_a_negative_time_are_refused() -> None:
    with pytest.raises(InputError):
        encode_event("\ud800")
    with pytest.raises(InputError):
        retry(-1)


def test_a_comment_is_lines_without_a_blank_line() -> None:
    assert comment() == b":\n"
    assert comment("a\r\nb") == b": a\n: b\n"


def test_retry_is_a_block_of_its_own() -> None:
    parser = EventStreamParser()
    assert retry(1500) == b"retry: 1500\n\n"
    assert parser.feed(retry(1500)) == []
    assert parser.retry_ms == 1500
