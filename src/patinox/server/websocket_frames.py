"""Reading what WebSocket clients send (RFC 6455 §5): bytes in, whole messages and control frames out; no I/O.

    feed(bytes) → next() ─▶ header ─▶ payload, as far as it is there ─▶ end of frame ─▶ end of message
                              │            │ unmasked, inflated, its UTF-8 looked at
                              └────────────┴─ Violation: 1002 protocol, 1007 not UTF-8 or deflate, 1009 too large

The rules: client frames are masked; control frames are whole and hold 125 bytes at most; lengths take the fewest
bytes; reserved bits are 0, but for RSV1 on the first frame of a deflated message. Everything is refused at the first
byte that shows it, within a header or a payload, and a message too large before its payload is taken. What is held is
one message, one control frame, and what was fed and not asked for yet.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

import msgspec

from patinox.server.websocket_deflate import Inflater
from patinox.transports.websocket.frames import (
    FIN,
    LENGTH,
    LENGTH_IN_16,
    MASKED,
    MAX_CONTROL_BYTES,
    OPCODE,
    RSV1,
    RSV2_RSV3,
    CloseCode,
    Opcode,
    Violation,
    apply_mask,
)

_utf8_decoder = codecs.getincrementaldecoder("utf-8")
_BEGINNING_OF_SURROGATE = re.compile(rb"\xed[\xa0-\xbf]")
_CONTROL: Final = 0x8
_KNOWN: Final = frozenset(map(int, Opcode))
_TEXT, _BINARY, _CONTINUATION = int(Opcode.TEXT), int(Opcode.BINARY), int(Opcode.CONTINUATION)
_CODES_ON_THE_WIRE: Final = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))


class Text(msgspec.Struct, frozen=True):
    """A text message."""

    data: str


class Binary(msgspec.Struct, frozen=True):
    """A binary message."""

    data: bytes


class Ping(msgspec.Struct, frozen=True):
    """To be answered with a pong of the same payload."""

    data: bytes


class Pong(msgspec.Struct, frozen=True):
    """The answer to a ping, or a sign of life nobody asked for."""

    data: bytes


class Close(msgspec.Struct, frozen=True):
    """The peer closes; nothing of what follows is read. `code` is 1005 where it gave none."""

    code: int
    reason: str


Received = Text | Binary | Ping | Pong | Close


class MessageReader:
    """Reads one client's frames. `max_bytes` is the largest message; `deflate` says that it was agreed on."""

    __slots__ = (
        "_at",
        "_buffer",
        "_control",
        "_deflate",
        "_first",
        "_inflater",
        "_is_over",
        "_kind",
        "_left_bytes",
        "_mask",
        "_max_bytes",
        "_message",
        "_utf8",
        "_wire_bytes",
    )

    def __init__(self, max_bytes: int, *, deflate: bool = False) -> None:
        self._max_bytes = max_bytes
        self._deflate = deflate
        self._buffer = b""
        self._at = 0
        self._is_over = False
        # the frame that is being read
        self._first = 0
        self._mask: bytes | None = None  # between frames
        self._left_bytes = 0
        self._control = b""
        # the message that is being read
        self._kind: int | None = None  # between messages
        self._message: bytearray | None = None
        self._wire_bytes = 0
        self._utf8: codecs.IncrementalDecoder | None = None
        self._inflater: Inflater | None = None

    def __repr__(self) -> str:
        return f"<MessageReader {len(self._buffer) - self._at} bytes fed, {self._wire_bytes} of a message>"

    def feed(self, data: bytes) -> None:
        """Takes what has arrived; nothing is looked at before `next` is called."""
        if not self._is_over:
            self._buffer = self._buffer[self._at :] + data if self._buffer else data
            self._at = 0

    def next(self) -> Received | None:
        """The next message or control frame; None when more has to be fed, and for ever after a close or a violation.

        Raises Violation as soon as what was fed shows it.
        """
        try:
            received = self._next()
        except Violation:
            self._stop()
            raise
        if type(received) is Close:
            self._stop()
        elif received is None:  # what is kept until more comes is a part of a header
            self._buffer, self._at = self._buffer[self._at :], 0
        return received

    def _next(self) -> Received | None:
        while not self._is_over:
            if self._mask is None and not self._begin_frame():
                return None
            piece = self._piece()
            is_whole = not self._left_bytes
            if is_whole:
                self._mask = None
            received: Received | None
            if self._first & _CONTROL:
                received = self._take_control(piece, ends=is_whole)
            else:
                received = self._take(piece, ends=is_whole and self._first >= FIN)
            if received is not None or not is_whole:
                return received
        return None

    def _stop(self) -> None:
        self._is_over = True
        self._buffer, self._at = b"", 0
        self._end_message()

    # ── headers ──

    def _begin_frame(self) -> bool:
        buffer, at = self._buffer, self._at
        there = len(buffer) - at
        if there < 1:
            return False
        first = buffer[at]
        self._check_first(first)
        if there < 2:
            return False
        length = self._check_second(first, buffer[at + 1])
        extra = 0 if length < LENGTH_IN_16 else 2 if length == LENGTH_IN_16 else 8
        if there < 2 + extra:
            return False
        if extra:
            length = _extended(buffer[at + 2 : at + 2 + extra])
        if not first & _CONTROL and self._wire_bytes + length > self._max_bytes:
            raise Violation(CloseCode.TOO_LARGE, f"a message may take {self._max_bytes} bytes")
        start = at + 6 + extra
        if there < 6 + extra:
            return False
        self._mask = buffer[start - 4 : start]
        self._at = start
        self._first = first
        self._left_bytes = length
        if not first & _CONTROL:
            self._begin_part(first, length)
        return True

    def _check_first(self, first: int) -> None:
        opcode = first & OPCODE
        if first & RSV2_RSV3 or (first & RSV1 and not (self._deflate and opcode in (_TEXT, _BINARY))):
            raise Violation(CloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if opcode not in _KNOWN:
            raise Violation(CloseCode.PROTOCOL_ERROR, f"there is no opcode {opcode}")
        if opcode & _CONTROL:
            if not first & FIN:
                raise Violation(CloseCode.PROTOCOL_ERROR, "a control frame cannot be fragmented")
        elif (opcode == _CONTINUATION) != (self._kind is not None):
            said = "there is no message to continue" if self._kind is None else "the last message is not finished"
            raise Violation(CloseCode.PROTOCOL_ERROR, said)

    def _check_second(self, first: int, second: int) -> int:
        if not second & MASKED:
            raise Violation(CloseCode.PROTOCOL_ERROR, "a client's frames must be masked")
        length = second & LENGTH
        if first & _CONTROL and length > MAX_CONTROL_BYTES:
            raise Violation(CloseCode.PROTOCOL_ERROR, f"a control frame may hold {MAX_CONTROL_BYTES} bytes")
        return length

    # ── payloads ──

    def _piece(self) -> bytes:
        at, mask = self._at, self._mask
        piece = self._buffer[at : at + self._left_bytes]
        if not piece or mask is None:
            return b""
        self._at = at + len(piece)
        self._left_bytes -= len(piece)
        if self._left_bytes:
            turned = len(piece) & 3
            self._mask = mask[turned:] + mask[:turned]
        return apply_mask(piece, mask)

    def _begin_part(self, first: int, length: int) -> None:
        self._wire_bytes += length
        if first & OPCODE:
            self._kind = first & OPCODE
            self._inflater = Inflater(self._max_bytes) if first & RSV1 else None

    def _take(self, piece: bytes, *, ends: bool) -> Text | Binary | None:
        if self._inflater is not None:
            piece = self._inflater.inflate(piece, final=ends)
        if ends and self._message is None:
            return self._end_message(piece)
        if piece:
            if self._message is None:
                self._message = bytearray()
            self._message += piece
        if self._kind == _TEXT and (piece or ends):
            self._look_at(piece, ends=ends)
        return self._end_message(bytes(self._message or b"")) if ends else None

    def _look_at(self, piece: bytes, *, ends: bool) -> None:
        # The decoder refuses a byte that can't continue what it has; what it has decoded is not kept: in parts it
        # could take many times the memory of the bytes.
        if self._utf8 is None:
            self._utf8 = _utf8_decoder()
        try:
            self._utf8.decode(piece, ends)
        except UnicodeDecodeError as error:
            raise _not_utf8() from error
        if _BEGINNING_OF_SURROGATE.match(self._utf8.getstate()[0]):  # about which Python makes up its mind later
            raise _not_utf8()

    def _end_message(self, data: bytes = b"") -> Text | Binary:
        kind, self._kind = self._kind, None
        self._message = self._utf8 = self._inflater = None
        self._wire_bytes = 0
        if kind != _TEXT:
            return Binary(data)
        try:
            return Text(data.decode())
        except UnicodeDecodeError as error:
            raise _not_utf8() from error

    def _take_control(self, piece: bytes, *, ends: bool) -> Ping | Pong | Close | None:
        payload = self._control + piece
        self._control = b"" if ends else payload
        if not ends:
            return None
        opcode = self._first & OPCODE
        if opcode == Opcode.CLOSE:
            return _close(payload)
        return Ping(payload) if opcode == Opcode.PING else Pong(payload)


def _extended(raw: bytes) -> int:
    length = int.from_bytes(raw, "big")
    if length >> 63:
        raise Violation(CloseCode.PROTOCOL_ERROR, "a length has 63 bits")
    if length < LENGTH_IN_16 or (len(raw) == 8 and not length >> 16):
        raise Violation(CloseCode.PROTOCOL_ERROR, "a length must take the fewest bytes")
    return length


def _close(payload: bytes) -> Close:
    if not payload:
        return Close(CloseCode.NO_CODE, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code not in _CODES_ON_THE_WIRE:
        raise Violation(CloseCode.PROTOCOL_ERROR, "no such close code")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError as error:
        raise _not_utf8() from error


def _not_utf8() -> Violation:
    return Violation(CloseCode.INVALID_DATA, "text must be UTF-8")
