"""Frames as bytes, what clients send read back, deflate, and the opening handshake; no socket, no loop."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import pytest
from tests.websocket_peer import MASK, close, masked, parse, request, text

from patinox.server.websocket_deflate import Agreement, Inflater, negotiate, parse_offers
from patinox.server.websocket_frames import Binary, Close, MessageReader, Ping, Pong, Received, Text
from patinox.server.websocket_handshake import Handshake, Refused, accepted, head, read_request
from patinox.transports.websocket.frames import (
    SHARED_WINDOW_BITS,
    CloseCode,
    Opcode,
    Violation,
    apply_mask,
    apply_mask_slowly,
    close_frame,
    deflated,
    encode,
    frame,
    message,
)

LIMIT = 70_000


def read(data: bytes, *, deflate: bool = False, limit: int = LIMIT) -> list[Received]:
    """Everything in `data`, fed at once."""
    reader = MessageReader(limit, deflate=deflate)
    reader.feed(data)
    return list(iter(reader.next, None))


def refusal(pieces: Iterable[bytes], *, deflate: bool = False, limit: int = LIMIT) -> tuple[int, int]:
    """The code with which the pieces are refused, and how many of them that took; (0, …) for none."""
    reader = MessageReader(limit, deflate=deflate)
    count = 0
    for count, piece in enumerate(pieces, 1):
        reader.feed(piece)
        try:
            while reader.next() is not None:
                pass
        except Violation as violation:
            return violation.code, count
    return 0, count


def single(data: bytes) -> list[bytes]:
    return [data[k : k + 1] for k in range(len(data))]


# ── what the server writes ──


@pytest.mark.parametrize(
    ("length", "head_bytes"), [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (70_000, 10)]
)
def test_a_frame_says_its_length_in_the_fewest_bytes(length: int, head_bytes: int) -> None:
    made = frame(b"x" * length)
    assert len(made) == head_bytes + length
    assert parse(made) == [(Opcode.TEXT, b"x" * length, False)]


def test_frames_can_be_joined() -> None:
    assert [found.payload for found in parse(frame(b"a") + frame(b"b" * 300) + frame(b""))] == [b"a", b"b" * 300, b""]


def test_a_deflated_frame_depends_on_no_other() -> None:
    payload = b'{"op":"chunk","data":{"text":"Hello"}}' * 8
    (found,) = parse(frame(payload, deflate=True))
    assert found.rsv1
    assert zlib.decompressobj(-SHARED_WINDOW_BITS).decompress(found.payload) == payload


@pytest.mark.parametrize("payload", [b"short", bytes(range(256))])
def test_what_deflating_does_not_make_smaller_is_sent_as_it_is(payload: bytes) -> None:
    assert frame(payload, deflate=True) == frame(payload)


def test_a_message_keeps_to_a_smaller_window() -> None:
    payload = bytes(range(100)) * 40
    (found,) = parse(message(Opcode.BINARY, payload, window_bits=9))
    assert zlib.decompressobj(-9).decompress(found.payload) == payload


def test_a_close_frame_has_its_code_and_reason() -> None:
    assert parse(close_frame(4408, "too slow")) == [(Opcode.CLOSE, b"\x11\x38too slow", False)]


def test_a_close_frame_without_a_code_is_empty() -> None:
    assert close_frame(CloseCode.NO_CODE) == b"\x88\x00"


def test_a_long_reason_is_cut_between_characters() -> None:
    (found,) = parse(close_frame(1000, "é" * 100))
    assert found.payload[2:].decode() == "é" * 61


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 1000])
def test_masks_are_applied_alike_with_and_without_the_c_version(length: int) -> None:
    data = bytes(k * 7 & 0xFF for k in range(length))
    assert apply_mask_slowly(data, MASK) == apply_mask(data, MASK)
    assert apply_mask_slowly(apply_mask_slowly(data, MASK), MASK) == data


# ── what clients send ──


def test_the_examples_of_the_rfc_are_read() -> None:
    # RFC 6455 §5.7
    assert read(bytes.fromhex("818537fa213d7f9f4d5158")) == [Text("Hello")]
    assert read(bytes.fromhex("8a8537fa213d7f9f4d5158")) == [Pong(b"Hello")]


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_a_message_of_any_length_is_read(length: int) -> None:
    assert read(masked(Opcode.BINARY, b"x" * length)) == [Binary(b"x" * length)]


def test_messages_in_one_piece_are_read_in_order() -> None:
    assert read(text("a") + masked(Opcode.PING, b"p") + text("b") + close(1001, "bye")) == [
        Text("a"), Ping(b"p"), Text("b"), Close(1001, "bye"),
    ]  # fmt: skip


def test_control_frames_come_between_the_parts_of_a_message() -> None:
    data = masked(Opcode.TEXT, b"He", fin=False) + masked(Opcode.PING) + masked(Opcode.CONTINUATION, b"llo")
    assert read(data) == [Ping(b""), Text("Hello")]


def test_empty_parts_make_an_empty_message() -> None:
    parts = [masked(Opcode.TEXT, fin=False), masked(Opcode.CONTINUATION, fin=False), masked(Opcode.CONTINUATION)]
    assert read(b"".join(parts)) == [Text("")]


def test_bytes_may_come_one_by_one() -> None:
    reader = MessageReader(LIMIT)
    found = []
    for piece in single(masked(Opcode.TEXT, "κόσ".encode(), fin=False) + masked(Opcode.CONTINUATION, "με".encode())):
        reader.feed(piece)
        found.append(reader.next())
    assert found[-1] == Text("κόσμε")
    assert not any(found[:-1])


def test_nothing_is_read_after_a_close() -> None:
    reader = MessageReader(LIMIT)
    reader.feed(close() + text("late"))
    assert reader.next() == Close(1000, "")
    assert reader.next() is None
    reader.feed(text("later"))
    assert reader.next() is None


def test_nothing_is_read_after_a_violation() -> None:
    reader = MessageReader(LIMIT)
    reader.feed(b"\xff" + text("late"))
    with pytest.raises(Violation):
        reader.next()
    reader.feed(text("later"))
    assert reader.next() is None


def test_a_close_without_a_code_has_none() -> None:
    assert read(masked(Opcode.CLOSE)) == [Close(1005, "")]


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1012, 1014, 3000, 4999])
def test_a_close_code_that_may_be_sent_is_taken(code: int) -> None:
    assert read(close(code)) == [Close(code, "")]


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535])
def test_a_close_code_that_may_not_be_sent_is_refused(code: int) -> None:
    assert refusal([masked(Opcode.CLOSE, code.to_bytes(2, "big"))])[0] == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (encode(Opcode.TEXT, b""), 1002),  # not masked
        (b"\xa1", 1002),  # RSV2
        (b"\x91", 1002),  # RSV3
        (b"\xc1", 1002),  # RSV1, and no deflate
        (b"\x83", 1002),  # opcodes that there are not
        (b"\x8b", 1002),
        (b"\x09", 1002),  # a ping in parts
        (b"\x89\xfe", 1002),  # a ping of more than 125 bytes
        (b"\x80", 1002),  # nothing to continue
        (masked(Opcode.TEXT, fin=False) + b"\x81", 1002),  # not finished
        (masked(Opcode.CLOSE, b"\x03"), 1002),  # half a code
        (masked(Opcode.CLOSE, b"\x03\xe8\xff"), 1007),  # a reason that is not UTF-8
        (b"\x81\xfe\x00\x7d", 1002),  # a length in more bytes than it needs
        (b"\x81\xff" + (65_535).to_bytes(8, "big"), 1002),
        (b"\x81\xff" + (1 << 63).to_bytes(8, "big"), 1002),
        (b"\x81\xff" + (LIMIT + 1).to_bytes(8, "big"), 1009),
        (masked(Opcode.TEXT, b"\xff"), 1007),
        (masked(Opcode.TEXT, b"\xce"), 1007),  # half a character
        (masked(Opcode.TEXT, b"\xed\xa0"), 1007),  # a surrogate
    ],
)
def test_a_violation_is_refused_by_its_last_byte(data: bytes, code: int) -> None:
    assert refusal(single(data)) == (code, len(data))
    assert refusal([data]) == (code, 1)


def test_a_bad_byte_is_refused_in_the_middle_of_a_frame() -> None:
    data = masked(Opcode.TEXT, "κόσμε".encode() + b"\xf4\x90" + b"x" * 100)
    assert refusal(single(data)) == (CloseCode.INVALID_DATA, 6 + 12)


@pytest.mark.parametrize("bad", [b"\xc0", b"\xf5", b"\xe0\x9f", b"\xed\xa0", b"\xf0\x8f", b"\xf4\x90", b"\xce\xce"])
def test_a_character_is_refused_before_it_is_whole(bad: bytes) -> None:
    assert refusal(single(masked(Opcode.TEXT, bad + b"xx"))) == (CloseCode.INVALID_DATA, 6 + len(bad))


def test_a_bad_byte_is_refused_where_parts_meet() -> None:
    parts = [masked(Opcode.TEXT, b"\xf4", fin=False), masked(Opcode.CONTINUATION, b"\x90", fin=False)]
    assert refusal(parts) == (CloseCode.INVALID_DATA, 2)


def test_binary_messages_hold_any_byte() -> None:
    assert read(masked(Opcode.BINARY, b"\xff", fin=False) + masked(Opcode.CONTINUATION, b"\xfe")) == [
        Binary(b"\xff\xfe")
    ]


def test_the_limit_is_of_a_message_and_not_of_a_frame() -> None:
    parts = [masked(Opcode.TEXT, b"x" * 6, fin=False), masked(Opcode.CONTINUATION, b"x" * 4)]
    assert refusal(parts, limit=10)[0] == 0
    assert refusal(parts, limit=9) == (CloseCode.TOO_LARGE, 2)


def test_a_message_of_the_limit_leaves_room_for_the_next() -> None:
    assert read(masked(Opcode.TEXT, b"x" * 10) * 2, limit=10) == [Text("x" * 10)] * 2


# ── deflate ──


def squeezed(payload: bytes, **options: bool) -> bytes:
    return masked(Opcode.TEXT, deflated(payload, 15), rsv1=True, **options)


def test_a_deflated_message_is_read() -> None:
    assert read(squeezed(b"Hello" * 100) + text("plain"), deflate=True) == [Text("Hello" * 100), Text("plain")]


def test_the_examples_of_rfc_7692_are_read() -> None:
    # §7.2.3.1, §7.2.3.3 (no compression), §7.2.3.4 (a last block)
    for payload in ("f248cdc9c90700", "000500faff48656c6c6f00", "f348cdc9c90700" + "00"):
        assert read(masked(Opcode.TEXT, bytes.fromhex(payload), rsv1=True), deflate=True) == [Text("Hello")]


def test_a_deflated_message_may_come_in_parts() -> None:
    payload = deflated("κόσμε".encode() * 50, 15)
    parts = [masked(Opcode.TEXT, payload[:5], rsv1=True, fin=False), masked(Opcode.CONTINUATION, payload[5:])]
    assert read(b"".join(parts), deflate=True) == [Text("κόσμε" * 50)]


def test_a_bomb_is_refused() -> None:
    assert refusal([squeezed(b"x" * 100_000)], deflate=True) == (CloseCode.TOO_LARGE, 1)


def test_a_bomb_in_parts_is_refused() -> None:
    payload = deflated(b"x" * 100_000, 15)
    parts = [masked(Opcode.TEXT, payload[:-5], rsv1=True, fin=False), masked(Opcode.CONTINUATION, payload[-5:])]
    assert refusal(parts, deflate=True)[0] == CloseCode.TOO_LARGE


@pytest.mark.parametrize("payload", [b"\xff\xff", deflated(b"Hello", 15) + b"\xff\xff\xff"])
def test_what_is_not_deflate_is_refused(payload: bytes) -> None:
    assert refusal([masked(Opcode.TEXT, payload, rsv1=True)], deflate=True)[0] == CloseCode.INVALID_DATA


def test_bytes_after_a_last_block_are_refused() -> None:
    payload = bytes.fromhex("f348cdc9c90700")
    assert refusal([masked(Opcode.TEXT, payload + b"\x00\x00", rsv1=True)], deflate=True)[0] == CloseCode.INVALID_DATA


def test_a_deflated_message_must_be_utf8_too() -> None:
    assert refusal([squeezed(b"\xff" * 100)], deflate=True)[0] == CloseCode.INVALID_DATA


def test_only_the_first_part_says_that_it_is_deflated() -> None:
    parts = squeezed(b"Hello", fin=False) + masked(Opcode.CONTINUATION, rsv1=True)
    assert refusal([parts], deflate=True)[0] == CloseCode.PROTOCOL_ERROR


def test_what_is_inflated_may_take_the_whole_limit() -> None:
    assert Inflater(100).inflate(deflated(b"x" * 100, 15), final=True) == b"x" * 100
    with pytest.raises(Violation):
        Inflater(99).inflate(deflated(b"x" * 100, 15), final=True)


BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offer", "agreement"),
    [
        ("permessage-deflate", Agreement(15, BOTH)),
        ("permessage-deflate; client_max_window_bits", Agreement(15, BOTH)),
        ("permessage-deflate; client_max_window_bits=10 ; server_no_context_takeover", Agreement(15, BOTH)),
        ("permessage-deflate; server_max_window_bits=10", Agreement(10, f"{BOTH}; server_max_window_bits=10")),
        ('permessage-deflate; server_max_window_bits="12"', Agreement(12, f"{BOTH}; server_max_window_bits=12")),
        ("x-webkit-deflate-frame, permessage-deflate", Agreement(15, BOTH)),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", Agreement(15, BOTH)),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=010", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("permessage-deflate; surprise", None),
        ("surprise", None),
        ("", None),
    ],
)
def test_the_first_offer_that_can_be_kept_to_is_agreed_on(offer: str, agreement: Agreement | None) -> None:
    assert negotiate(parse_offers(offer)) == agreement


@pytest.mark.parametrize("header", ["a b", "a;", "a; =1", "a; b=", 'a; b="', ";a", "a; b=1 c", "é"])
def test_a_malformed_offer_is_an_error(header: str) -> None:
    with pytest.raises(ValueError, match="Sec-WebSocket-Extensions"):
        parse_offers(header)


def test_offers_may_be_spaced_and_quoted() -> None:
    assert parse_offers(' , a ;b = "x\\"y" ,, c') == [("a", [("b", 'x"y')]), ("c", [])]


# ── the handshake ──


def test_the_key_of_the_rfc_is_answered_as_there() -> None:
    assert read_request(request()).accept == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_request_is_taken_apart() -> None:
    found = read_request(request("/v1/ws?a=%20b", sec_websocket_protocol="chat, patinox.v1", origin="http://x"))
    assert isinstance(found, Handshake)
    assert found.target == "/v1/ws?a=%20b"
    assert found.subprotocols == ["chat", "patinox.v1"]
    assert (b"origin", b"http://x") in found.headers


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(sec_websocket_key=None), 400),
        (request(sec_websocket_key="short"), 400),
        (request(sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ"), 400),
        (request(sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="), 400),
        (request(sec_websocket_version=None), 426),
        (request(sec_websocket_version="8"), 426),
        (request(host=None), 400),
        (request(host="a\r\nhost: b"), 400),
        (request(sec_websocket_protocol="a b"), 400),
        (request(sec_websocket_extensions="a;"), 400),
        (request().replace(b"GET", b"POST", 1), 400),
        (request("http://test/"), 400),
        (request("/é"), 400),
    ],
)
def test_what_is_no_handshake_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(Refused) as caught:
        read_request(raw)
    assert caught.value.status == status


def test_another_version_is_told_the_one_there_is() -> None:
    with pytest.raises(Refused) as caught:
        read_request(request(sec_websocket_version="8"))
    assert caught.value.headers == [(b"sec-websocket-version", b"13")]


def test_an_answer_has_the_headers_of_both_and_ours_win() -> None:
    said = accepted(b"key", [(b"Connection", b"close"), (b"x-own", b"1")], subprotocol="patinox.v1", extensions="x")
    assert said.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert said.endswith(b"\r\n\r\n")
    assert b"close" not in said
    for line in (b"sec-websocket-protocol: patinox.v1", b"sec-websocket-extensions: x", b"x-own: 1"):
        assert line in said.split(b"\r\n")


@pytest.mark.parametrize("header", [(b"x\r\ny", b"1"), (b"x", b"1\r\ny: 2"), (b"", b"1"), (b"x", b"\0")])
def test_a_header_cannot_break_out(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="no header"):
        head(200, [header])
