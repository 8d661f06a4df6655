"""A server's bytes as they come, cut anywhere, to whole events that still know their own bytes.

What was not whole when a connection broke is dropped: the server sends it again after the last event id. Comments
(heartbeats) are dropped too, so that what is written out does not depend on how long anything took.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from patinox.formats.framing import DEFAULT_LIMIT_BYTES, EventStreamParser, FramingError, LineParser


class WireEvent(msgspec.Struct, frozen=True):
    """One event: its kind, its data, its event id ("" where it has none), and its bytes on the wire."""

    event: str
    data: bytes
    id: str = ""
    raw: bytes = b""


class Cutter(Protocol):
    """Cuts bytes into events."""

    retry_s: float | None
    """How long to wait before reconnecting, where the server said so."""

    def feed(self, data: bytes) -> list[WireEvent]:
        """The events that `data` completes."""
        ...

    def close(self) -> bytes:
        """What stands after the last whole event when the body ended properly."""
        ...


class SseCutter:
    """Server-sent events (WHATWG HTML §9.2), whose lines end in LF as this server writes them.

    With `ids=False`, `id:` lines are left out of `raw`: they were asked for to resume by, and are not the dialect's.
    """

    def __init__(self, *, ids: bool = True) -> None:
        self.retry_s: float | None = None
        self._parser = EventStreamParser()
        self._dropped = (b":",) if ids else (b":", b"id:")
        self._held = bytearray()
        self._before = b""

    def feed(self, data: bytes) -> list[WireEvent]:
        """Raises FramingError for an event over the limit."""
        searched = max(0, len(self._held) - 1)
        self._held += data
        if self._held.find(b"\n\n", searched) < 0:
            if len(self._held) > DEFAULT_LIMIT_BYTES:
                raise FramingError("an event is too long", offset=self._parser.offset)
            return []
        *blocks, rest = bytes(self._held).split(b"\n\n")
        self._held[:] = rest
        return [event for block in blocks for event in self._block(block + b"\n\n")]

    def close(self) -> bytes:
        """What stands after the last blank line."""
        return self._before + self._plain(bytes(self._held))

    def _block(self, block: bytes) -> list[WireEvent]:
        events = self._parser.feed(block)
        if self._parser.retry_ms is not None:
            self.retry_s = self._parser.retry_ms / 1000
        raw = self._before + self._plain(block)
        if not events:  # a retry time, say: it goes with the event after it
            self._before = raw
            return []
        self._before = b""
        event = events[-1]
        return [WireEvent(event.event, event.data.encode(), event.id or "", raw)]

    def _plain(self, block: bytes) -> bytes:
        """`block` without what is dropped; nothing, if that was all there was."""
        kept = b"".join(line for line in block.splitlines(keepends=True) if not line.startswith(self._dropped))
        return kept if kept.strip() else b""


class _Line(msgspec.Struct):
    event: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    id: str = ""


class LinesCutter:
    """Native NDJSON: `{"id", "event", "data"}` a line."""

    def __init__(self) -> None:
        self.retry_s: float | None = None
        self._parser = LineParser()
        self._decode = msgspec.json.Decoder(_Line).decode

    def feed(self, data: bytes) -> list[WireEvent]:
        """Raises FramingError for a line that is too long, or is no event."""
        return [self._line(line) for line in self._parser.feed(data)]

    def close(self) -> bytes:
        """A last line without its end."""
        return self._parser.close()

    def _line(self, line: bytes) -> WireEvent:
        try:
            event = self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FramingError(f"a line that is no event: {error}", offset=self._parser.offset) from error
        return WireEvent(event.event, bytes(event.data), event.id, line + b"\n")


class RawCutter:
    """Bytes as they are, of a dialect that has no place for event ids: it cannot be resumed."""

    retry_s: float | None = None

    def feed(self, data: bytes) -> list[WireEvent]:
        """One event a piece."""
        return [WireEvent("", b"", raw=data)]

    def close(self) -> bytes:
        """Nothing is held back."""
        return b""
