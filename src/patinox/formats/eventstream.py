"""Bytes that come in pieces to server-sent events, without I/O.

Follows the WHATWG HTML standard, §9.2.5 (parsing an event stream) and §9.2.6 (interpreting it). Whatever way
the bytes are cut, the events are the same, and so is the error for one that is over the limit: events that
were complete before it are returned first, the next call raises it. Lines end at CR, LF and CRLF, never at
U+2028 or U+0085: all work is done on bytes, only finished fields are decoded. Every byte is copied and
searched a constant number of times, however small the pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import msgspec

from patinox.formats.lines import DEFAULT_LIMIT_BYTES, PieceParser

_LF, _CR = b"\n\r"  # as numbers: looking for b"\n" in bytes with `in` takes seven times as long
_REPLACEMENT = "\ufffd"
_RETRY_DIGITS = 18  # more would not be a time anybody waits, and int() refuses thousands of them


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """A dispatched event. `event` is "" where none was given; `id` and `retry_ms` are this block's own."""

    event: str
    data: str
    id: str | None = None
    retry_ms: int | None = None


class StrayLine(ServerSentEvent, frozen=True, gc=False):
    """A line that is no field (an error sent as bare JSON, say); the whole line is in `data`."""


class EventStreamParser(PieceParser):
    """Reads `text/event-stream` (WHATWG HTML §9.2.5 and §9.2.6).

    A block without a data line is no event, but its id and retry time are remembered, as in the standard. The
    limit counts a block's bytes, each line end as one, without comment lines that stand before its fields.
    With `keep_stray`, lines without a known field name are returned as `StrayLine` when their block ends.
    """

    def __init__(self, *, max_event_bytes: int = DEFAULT_LIMIT_BYTES, keep_stray: bool = False) -> None:
        super().__init__(max_event_bytes)
        self.last_event_id = ""
        """The id to reconnect with: the last one in any finished block, "" if there was none."""
        self.retry_ms: int | None = None
        """The reconnection time that was asked for last."""
        self.replaced = 0
        """How many ill-formed UTF-8 sequences in fields were decoded as U+FFFD."""
        self.replaced_offset: int | None = None
        """Where the first block with such a sequence began, in bytes from the stream's start."""
        self._keep_stray = keep_stray
        self._after_cr = False

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that `data` completes. Raises FramingError for an event over the limit."""
        event = self.whole(data)
        if event is not None:
            return [event]
        raw = self._take(data)
        text = self._with_lf(raw) if self._after_cr or _CR in raw else raw
        began = self._start if self._rest else None
        if began is not None:
            scanned = len(self._rest) - 1
            self._rest += text
            if self._rest.find(b"\n\n", scanned) < 0:
                return self._bounded([])
            text = bytes(self._rest)
            self._rest.clear()
        blocks = text.split(b"\n\n")
        rest = blocks.pop()

        def offset_of(index: int) -> int:
            """Where the block began in the stream; only the first can have begun in an earlier piece."""
            if index == 0 and began is not None:
                return began
            tail = b"\n\n".join([*blocks[index:], rest]).lstrip(b"\n")
            return self.offset - _raw_bytes(raw, len(tail))

        events = self._events(blocks, offset_of, check=len(text) > self._limit_bytes)
        if not rest or self._failure is not None:
            return events
        self._start = offset_of(len(blocks))
        self._rest += rest.lstrip(b"\n")
        return self._bounded(events)

    def is_idle(self, size_bytes: int) -> bool:
        """Whether no event is under way, so that a whole one of this size can be read without the parser.

        Who does so adds its size to `offset`.
        """
        return (
            self._opening is None
            and not self._rest
            and not self._after_cr
            and self._failure is None
            and size_bytes <= self._limit_bytes
        )

    def whole(self, data: bytes) -> ServerSentEvent | None:
        """The event that `data` is, all of it, as providers write them; else None, and `data` is still to be fed.

        What `feed` would give, in one step.
        """
        last = len(data) - 2
        if not self.is_idle(last + 2) or not data.endswith(b"\n\n") or _CR in data:
            return None
        try:
            if data.startswith(b"data: "):
                if data.find(b"\n") != last:
                    return None
                event = ServerSentEvent("", data[6:last].decode())
            elif data.startswith(b"event: "):
                at = data.find(b"\n")
                if not data.startswith(b"data: ", at + 1) or data.find(b"\n", at + 1) != last:
                    return None
                event = ServerSentEvent(data[7:at].decode(), data[at + 7 : last].decode())
            else:
                return None
        except UnicodeDecodeError:
            return None
        self.offset += last + 2
        return event

    def close(self) -> bytes:
        """End of the stream. Returns the unfinished block, which is no event (§9.2.6), with LF as line ends.

        b"" if nothing but comments was under way. A caller who wants a last event whose blank line is missing
        feeds one before closing. Raises FramingError if one was waiting.
        """
        rest = self._finish()
        # A retry time counts from its line on, even if its block never ends.
        for line in BytesIO(rest[: rest.rfind(b"\n") + 1]):
            name, _, value = line[:-1].partition(b":")
            if name == b"retry":
                self.retry_ms = _milliseconds(value.removeprefix(b" "), self.retry_ms)
        return rest[_comment_bytes(rest + b"\n", len(rest)) :]

    def stats(self) -> dict[str, int]:
        """Adds the number of replaced sequences."""
        return {**super().stats(), "replaced": self.replaced}

    def _with_lf(self, raw: bytes) -> bytes:
        """`raw` with LF for CRLF and CR, even where the two bytes came in different pieces."""
        if not raw:
            return raw
        text = raw[1:] if self._after_cr and raw.startswith(b"\n") else raw
        self._after_cr = raw.endswith(b"\r")
        return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _bounded(self, events: list[ServerSentEvent]) -> list[ServerSentEvent]:
        """`events`, after checking the unfinished block's size; its last LF may be a blank line's first."""
        size = len(self._rest) - self._rest.endswith(b"\n")
        if size > self._limit_bytes:
            dropped = _comment_bytes(self._rest, self._limit_bytes)
            if size - dropped > self._limit_bytes:
                self._fail("an event", self._start)
                self._raise_unless(delivered=bool(events))
            elif dropped:
                self._rest[:dropped] = b":\n"  # not nothing: the block still begins where it began
        return events

    def _events(self, blocks: list[bytes], offset_of: Callable[[int], int], *, check: bool) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        for index, block in enumerate(blocks):
            if check and self._too_long(block.lstrip(b"\n")):
                self._fail("an event", offset_of(index))
                self._raise_unless(delivered=bool(events))
                break
            event = _common_event(block)
            if event is not None:
                events.append(event)
                continue
            self._interpret(block, events)
            if self.replaced and self.replaced_offset is None:
                self.replaced_offset = offset_of(index)
        return events

    def _too_long(self, block: bytes) -> bool:
        limit = self._limit_bytes
        return len(block) > limit and len(block) - _comment_bytes(block + b"\n", limit) > limit

    def _interpret(self, block: bytes, events: list[ServerSentEvent]) -> None:
        """Any block, field by field (§9.2.6); what it gives is appended to `events`."""
        lines: list[str] = []
        event, event_id, retry_ms = "", None, None
        for line in BytesIO(block):
            line = line.removesuffix(b"\n")
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                lines.append(self._decode(value))
            elif name == b"event":
                event = self._decode(value)
            elif name == b"id":
                event_id = event_id if b"\0" in value else self._decode(value)
            elif name == b"retry":
                retry_ms = _milliseconds(value, retry_ms)
            elif name and self._keep_stray:
                events.append(StrayLine("", self._decode(line)))
        if retry_ms is not None:
            self.retry_ms = retry_ms
        if event_id is not None:
            self.last_event_id = event_id
        if lines:
            events.append(ServerSentEvent(event, "\n".join(lines), event_id, retry_ms))

    def _decode(self, value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError:
            text = value.decode(errors="replace")
            self.replaced += text.count(_REPLACEMENT) - value.count(_REPLACEMENT.encode())
            return text


def _common_event(block: bytes) -> ServerSentEvent | None:
    """The two shapes nearly every block has, fast; None for all others and for ill-formed UTF-8."""
    try:
        if block.startswith(b"data: "):
            return None if _LF in block else ServerSentEvent("", block[6:].decode())
        if block.startswith(b"event: "):
            event, found, data = block.partition(b"\ndata: ")
            if found and _LF not in event and _LF not in data:
                return ServerSentEvent(event[7:].decode(), data.decode())
    except UnicodeDecodeError:
        pass
    return None


def _milliseconds(value: bytes, otherwise: int | None) -> int | None:
    """The value of a `retry` field; `otherwise` if it isn't made of ASCII digits alone."""
    return int(value) if value.isdigit() and len(value) <= _RETRY_DIGITS else otherwise


def _comment_bytes(block: bytes | bytearray, limit_bytes: int) -> int:
    """How many bytes the whole comment lines at the head of `block` take, up to one over the limit."""
    start = 0
    while block.startswith(b":", start):
        end = block.find(b"\n", start)
        if end < 0 or end - start > limit_bytes:
            break
        start = end + 1
    return start


def _raw_bytes(raw: bytes, tail_bytes: int) -> int:
    """How many bytes at the end of `raw` became its last `tail_bytes` when CRLF became LF.

    Each round reaches back by the LFs that the round before has met, at most half as far again.
    """
    size = tail_bytes
    while (wider := tail_bytes + raw.count(b"\r\n", max(0, len(raw) - size - 1))) != size:
        size = wider
    return size
