"""WebSocket frames as bytes (RFC 6455 §5), and messages deflated for everybody (RFC 7692).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-------+-+-------------+-------------------------------+
    |F|R|R|R| opcode|M| length      | its 2 bytes (126), or 8 (127) |
    +-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +
    | masking key, where M is set (a client's frames) | payload     |
    +-------------------------------------------------+-------------+

`frame` makes one whole text message of a server, the same for all readers, so it is made once and shared. A deflated
one depends on no other message (`server_no_context_takeover`), and its window fits every socket that says that it
`deflates`; frames can be joined, and a socket takes any number of them in one write. What a client sends is read by
`patinox.server.websocket_frames`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from patinox.delivery.sink import Sink

FIN, RSV1, RSV2_RSV3, OPCODE = 0x80, 0x40, 0x30, 0x0F
"""The first byte of a frame, taken apart."""

MASKED, LENGTH = 0x80, 0x7F
"""The second byte of a frame, taken apart."""

LENGTH_IN_16, LENGTH_IN_64 = 126, 127
MAX_CONTROL_BYTES = 125
"""What the payload of a close, a ping or a pong may hold (RFC 6455 §5.5)."""

SHARED_WINDOW_BITS = 12
"""A shared frame is deflated with a window of 4 KiB: chunks are small, and a larger one costs more than it saves."""

_LEAST_WINDOW_BITS = 9  # zlib makes no raw stream with less
_WORTH_DEFLATING_BYTES = 64
_LEVEL = 1
_MEMORY_LEVEL = 5  # 2^14 bytes of hash table, cleared for every message
_EMPTY_BLOCK = b"\x00\x00\xff\xff"


class Opcode(IntEnum):
    """What a frame is (RFC 6455 §5.2)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    """Why a socket is closed (RFC 6455 §7.4.1, IANA's registry, and our own)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_CODE = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    POLICY = 1008
    TOO_LARGE = 1009
    INTERNAL_ERROR = 1011
    RESTART = 1012
    TOO_SLOW = 4408
    LIMIT = 4429


class Violation(Exception):
    """What a peer sent breaks the protocol or a limit; the socket is to be closed with `code` and `reason`."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class DirectSocket(Protocol):
    """What our own server offers under the extension `CONNECTION` of a `websocket` scope, once it was accepted."""

    @property
    def deflates(self) -> bool:
        """Whether this socket takes shared frames that are deflated. It always takes plain ones."""
        ...

    def direct_sink(self) -> Sink:
        """A sink for whole frames, joined in any number; a socket has any number of sinks."""
        ...

    def abort(self) -> None:
        """Ends the connection now, with what it never took."""
        ...


def apply_mask_slowly(data: bytes | memoryview, mask: bytes) -> bytes:
    """Masks or unmasks (RFC 6455 §5.3) where the C version of it is missing: one long exclusive or."""
    length = len(data)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(length, "little")


apply_mask: Callable[[bytes | memoryview, bytes], bytes]
try:
    from websockets.speedups import apply_mask
except ImportError:
    apply_mask = apply_mask_slowly


def encode(opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False, mask: bytes = b"") -> bytes:
    """One frame. A client's frames are masked: `mask` is its key of 4 bytes."""
    first = (FIN if fin else 0) | (RSV1 if rsv1 else 0) | opcode
    masked, length = MASKED if mask else 0, len(payload)
    if length < LENGTH_IN_16:
        head = bytes((first, masked | length))
    elif length < 1 << 16:
        head = bytes((first, masked | LENGTH_IN_16)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, masked | LENGTH_IN_64)) + length.to_bytes(8, "big")
    return head + mask + apply_mask(payload, mask) if mask else head + payload


def message(opcode: int, payload: bytes, *, window_bits: int = 0) -> bytes:
    """A server's whole message; deflated with that window (9 to 15) where one is given and it makes it smaller."""
    if window_bits and len(payload) >= _WORTH_DEFLATING_BYTES:
        small = deflated(payload, window_bits)
        if len(small) < len(payload):
            return encode(opcode, small, rsv1=True)
    return encode(opcode, payload)


def frame(text_payload: bytes, *, deflate: bool = False) -> bytes:
    """A server's text message, to be shared; deflated for sockets that say `deflates`."""
    return message(Opcode.TEXT, text_payload, window_bits=SHARED_WINDOW_BITS if deflate else 0)


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; `NO_CODE` makes one without a body. A reason too long for a control frame is cut."""
    if code == CloseCode.NO_CODE:
        return encode(Opcode.CLOSE, b"")
    room = MAX_CONTROL_BYTES - 2
    cut = reason.encode("utf-8", "replace")[:room].decode("utf-8", "ignore").encode()
    return encode(Opcode.CLOSE, code.to_bytes(2, "big") + cut)


def deflated(payload: bytes, window_bits: int) -> bytes:
    """A message's payload deflated by itself (RFC 7692 §7.2.1)."""
    bits = max(_LEAST_WINDOW_BITS, min(window_bits, SHARED_WINDOW_BITS, len(payload).bit_length()))
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -bits, _MEMORY_LEVEL)
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_EMPTY_BLOCK)
