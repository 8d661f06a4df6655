"""Framing: whatever the bytes and however they are cut, the parsers do what a slow, obvious reading does."""

import random
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from patinox.formats.framing import (
    EventStreamParser,
    FramingError,
    LineParser,
    ServerSentEvent,
    StrayLine,
    comment,
    encode_event,
)

BOM = b"\xef\xbb\xbf"
UNLIMITED = 1 << 30
EVERY_CUT_BYTES = 6_000


class Reading(NamedTuple):
    """All a caller can learn from a stream that has ended, one way or the other."""

    events: list[ServerSentEvent]
    leftover: bytes
    failed_at: int | None
    last_event_id: str
    retry_ms: int | None
    replaced: int
    replaced_offset: int | None


def read(pieces: Iterable[bytes], *, limit: int = UNLIMITED) -> Reading:
    parser = EventStreamParser(max_event_bytes=limit, keep_stray=True)
    events: list[ServerSentEvent] = []
    leftover, failed_at = b"", None
    try:
        for piece in pieces:
            events += parser.feed(piece)
        leftover = parser.close()
    except FramingError as error:
        failed_at = error.offset
    return Reading(
        events,
        leftover,
        failed_at,
        parser.last_event_id,
        parser.retry_ms,
        parser.replaced,
        parser.replaced_offset,
    )


class Reference:
    """WHATWG HTML §9.2.5 and §9.2.6 word by word, on the whole stream at once."""

    def __init__(self, stream: bytes, limit: int = UNLIMITED) -> None:
        self.events: list[ServerSentEvent] = []
        self.limit = limit
        self.failed_at: int | None = None
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self.replaced = 0
        self.replaced_offset: int | None = None
        block: list[tuple[int, bytes]] = []
        at = len(BOM) if stream.startswith(BOM) else 0
        for found in re.compile(rb"([^\r\n]*)(\r\n|\r|\n)").finditer(stream, at):
            at = found.end()
            if found[1]:
                block.append((found.start(), found[1]))
            elif not self.take(block):
                return
            else:
                block = []
        if at < len(stream):
            block.append((at, stream[at:]))
        self.leftover = b"" if self.too_long(block) else self.end(block, terminated=at == len(stream))

    def reading(self) -> Reading:
        return Reading(
            self.events,
            b"" if self.failed_at is not None else self.leftover,
            self.failed_at,
            self.last_event_id,
            self.retry_ms,
            self.replaced,
            self.replaced_offset,
        )

    def too_long(self, block: list[tuple[int, bytes]]) -> bool:
        lines = [line for _, line in block]
        while lines and lines[0].startswith(b":") and len(lines[0]) <= self.limit:
            del lines[0]
        if len(b"\n".join(lines)) > self.limit:
            self.failed_at = block[0][0]
            return True
        return False

    def take(self, block: list[tuple[int, bytes]]) -> bool:
        if self.too_long(block):
            return False
        data, event, event_id, retry_ms = "", "", None, None
        for _, line in block:
            name, colon, value = line.partition(b":")
            value = value[1:] if value[:1] == b" " else value
            if name == b"" and colon:
                continue
            if name == b"data":
                data += self.decode(value, block) + "\n"
            elif name == b"event":
                event = self.decode(value, block)
            elif name == b"id":
                if b"\0" not in value:
                    self.last_event_id = event_id = self.decode(value, block)
            elif name == b"retry":
                if re.fullmatch(rb"[0-9]{1,18}", value):
                    self.retry_ms = retry_ms = int(value)
            else:
                self.events.append(StrayLine("", self.decode(line, block)))
        if data:
            self.events.append(ServerSentEvent(event, data[:-1], event_id, retry_ms))
        return True

    def end(self, block: list[tuple[int, bytes]], *, terminated: bool) -> bytes:
        lines = [line for _, line in block]
        for line in lines if terminated else lines[:-1]:
            if match := re.fullmatch(rb"retry: ?([0-9]{1,18})", line):
                self.retry_ms = int(match[1])
        while lines and lines[0].startswith(b":"):
            del lines[0]
        return b"".join(line + b"\n" for line in lines)[: None if terminated else -1]

    def decode(self, value: bytes, block: list[tuple[int, bytes]]) -> str:
        rest = value
        while True:
            try:
                rest.decode()
                return value.decode(errors="replace")
            except UnicodeDecodeError as error:
                self.replaced += 1
                if self.replaced_offset is None:
                    self.replaced_offset = block[0][0]
                rest = rest[error.end :]


TOKENS = [
    *(
        b"data",
        b"data:",
        b"data: ",
        b"data: {}\n\n",
        b"event: x\ndata: {}\r\n\r\n",
        b"event: ",
        b"event",
        b"id:",
    ),
    *(
        b"id: 7",
        b"retry: ",
        b"retry:12\n",
        b"dat",
        b": note",
        b":",
        b" ",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
        b"\r\n\r\n",
    ),
    *(
        b"\0",
        BOM,
        "é€😀".encode(),
        b"\xe2\x82",
        b"\xff",
        b"\x85",
        "\u2028\u2029\x85".encode(),
        b"\x0b\x0c\x1c",
    ),
    *(b'{"error":1}', b"[DONE]", "\ufffd".encode(), b"0"),
]
streams = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=3), max_size=40).map(b"".join)
cuts = st.lists(st.integers(0, 120), max_size=30)
limits = st.integers(0, 40) | st.just(UNLIMITED)


def cut(stream: bytes, positions: Iterable[int]) -> list[bytes]:
    """The stream in pieces; some are empty, as a socket's may be."""
    edges = [0, *sorted(min(position, len(stream)) for position in positions), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def single_bytes(stream: bytes) -> list[bytes]:
    return [stream[index : index + 1] for index in range(len(stream))]


@settings(deadline=None)
@given(streams, limits)
@example(b":12345\ndata: 1\r\ndata: 2\r\n\r\n", 16)
@example(b"\xef\xbb", UNLIMITED)
@example(b"data: \xff\r\n\r\ndata: \xff\r\n\r\n", UNLIMITED)
def test_an_event_stream_reads_as_the_standard_says(stream: bytes, limit: int) -> None:
    assert read([stream], limit=limit) == Reference(stream, limit).reading()


@settings(deadline=None)
@given(streams, cuts, limits)
def test_an_event_stream_reads_the_same_in_any_pieces(stream: bytes, positions: list[int], limit: int) -> None:
    assert read(cut(stream, positions), limit=limit) == read([stream], limit=limit)


@settings(deadline=None)
@given(streams, limits)
def test_an_event_stream_reads_the_same_byte_by_byte(stream: bytes, limit: int) -> None:
    assert read(single_bytes(stream), limit=limit) == read([stream], limit=limit)


@settings(deadline=None)
@given(streams, limits)
def test_no_event_stream_holds_more_than_its_limit(stream: bytes, limit: int) -> None:
    parser = EventStreamParser(max_event_bytes=limit)
    try:
        for piece in single_bytes(stream):
            parser.feed(piece)
            assert parser.stats()["pending_bytes"] <= limit + 2
    except FramingError:
        assert parser.stats()["pending_bytes"] == 0


def read_lines(pieces: Iterable[bytes], limit: int) -> tuple[list[bytes], bytes, int | None]:
    parser = LineParser(max_line_bytes=limit)
    lines: list[bytes] = []
    try:
        for piece in pieces:
            lines += parser.feed(piece)
        return lines, parser.close(), None
    except FramingError as error:
        return lines, b"", error.offset


def expected_lines(stream: bytes, limit: int) -> tuple[list[bytes], bytes, int | None]:
    at = len(BOM) if stream.startswith(BOM) else 0
    lines: list[bytes] = []
    pieces = stream[at:].split(b"\n")
    for piece in pieces:
        text = piece.lstrip(b" \t\r")
        if len(text) > limit:
            return [line for line in lines if line], b"", at + len(piece) - len(text)
        at += len(piece) + 1
        lines.append(text.rstrip(b" \t\r"))
    leftover = lines.pop() or (stream if stream and BOM.startswith(stream) and stream != BOM else b"")
    return [line for line in lines if line], leftover, None


@settings(deadline=None)
@given(streams, limits)
@example(b"{}\r\n \n\n{}\r\r\n", UNLIMITED)
@example(b"\ndata", 0)
def test_lines_are_what_splitting_at_line_feeds_gives(stream: bytes, limit: int) -> None:
    assert read_lines([stream], limit) == expected_lines(stream, limit)


@settings(deadline=None)
@given(streams, cuts, limits)
def test_lines_are_the_same_in_any_pieces(stream: bytes, positions: list[int], limit: int) -> None:
    assert read_lines(cut(stream, positions), limit) == read_lines([stream], limit)


@settings(deadline=None)
@given(streams, limits)
def test_lines_are_the_same_byte_by_byte(stream: bytes, limit: int) -> None:
    assert read_lines(single_bytes(stream), limit) == read_lines([stream], limit)


text = st.text() | st.lists(st.sampled_from(["\n", "\r", "\r\n", " ", ":", "data:", "\0", "\u2028", "x"])).map("".join)
names = st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), max_size=8)


@settings(deadline=None)
@given(text, names, names, st.none() | st.integers(0, 10**9))
def test_what_is_encoded_is_read_back(data: str, event: str, event_id: str, retry_ms: int | None) -> None:
    frame = encode_event(data, event=event, id=event_id, retry_ms=retry_ms)

    want = data.replace("\r\n", "\n").replace("\r", "\n")
    assert EventStreamParser().feed(frame) == [ServerSentEvent(event, want, event_id or None, retry_ms)]


@settings(deadline=None)
@given(st.binary().filter(lambda data: data.decode(errors="ignore").encode() == data))
def test_encoded_bytes_are_read_back(data: bytes) -> None:
    want = data.decode().replace("\r\n", "\n").replace("\r", "\n")
    assert EventStreamParser().feed(encode_event(data)) == [ServerSentEvent("", want)]


@settings(deadline=None)
@given(text)
def test_a_comment_is_never_seen_by_a_reader(words: str) -> None:
    parser = EventStreamParser(keep_stray=True)
    assert parser.feed(comment(words) + encode_event("x")) == [ServerSentEvent("", "x")]


DIALECTS = ["openai-chat", "openai-responses", "anthropic", "gemini"]


def recorded(recordings: Path, dialect: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((recordings / dialect).iterdir())]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_recorded_streams_read_as_the_standard_says(recordings: Path, dialect: str) -> None:
    for stream in recorded(recordings, dialect):
        reading = read([stream])
        assert reading == Reference(stream).reading()
        assert reading.events


@pytest.mark.parametrize("dialect", DIALECTS)
def test_short_recorded_streams_read_the_same_cut_at_every_byte(recordings: Path, dialect: str) -> None:
    for stream in recorded(recordings, dialect):
        if len(stream) >= EVERY_CUT_BYTES:
            continue
        whole = read([stream])
        assert read(single_bytes(stream)) == whole
        for position in range(1, len(stream)):
            assert read([stream[:position], stream[position:]]) == whole


@pytest.mark.parametrize("dialect", DIALECTS)
def test_long_recorded_streams_read_the_same_in_random_pieces(recordings: Path, dialect: str) -> None:
    chance = random.Random(dialect)
    for stream in recorded(recordings, dialect):
        if len(stream) < EVERY_CUT_BYTES:
            continue
        whole = read([stream])
        for _ in range(20):
            positions = [chance.randrange(len(stream)) for _ in range(chance.randrange(1, 60))]
            assert read(cut(stream, positions)) == whole
