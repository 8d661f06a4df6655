"""Gzip for streams, compressed once for all readers.

Each message is compressed by itself and ended with a full flush (RFC 1951 §3.2.4: the decoder's window is reset and the
block ends on a byte), so its bytes are the same wherever in a reader's gzip stream (RFC 1952) they stand. What differs
between readers is ten bytes at the start and the checksum at the end. A message gains less than in one long context;
that is the price of compressing once, and of an event being readable the moment it arrives.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Awaitable
from typing import NamedTuple

from patinox.delivery.sink import Message, Sink

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no name, no time, unknown system
_LAST_BLOCK = b"\x03\x00"  # an empty, final block
_LEVEL = 6


class Compressed(NamedTuple):
    """One message: the shared form, its deflate blocks, the bytes they stand for, and whether it is the last."""

    shared: Message
    blocks: bytes
    data: bytes
    final: bool


class GzipSink:
    """Compresses what goes into another sink."""

    __slots__ = ("_crc", "_inner", "_size", "_started", "kind")

    def __init__(self, inner: Sink) -> None:
        self.kind = f"gzip+{inner.kind}"
        self._inner = inner
        self._crc = 0
        self._size = 0
        self._started = False

    def pack(self, data: bytes, *, final: bool) -> Message:
        """Compresses `data`; shared by all readers on the same kind of sink."""
        compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        blocks = compressor.compress(data) + compressor.flush(zlib.Z_FULL_FLUSH) if data else b""
        return Compressed(self._inner.pack(blocks, final=False), blocks, data, final)

    def push(self, message: Message) -> Awaitable[None] | None:
        """Sends the shared form, with this reader's own header before the first and checksum after the last."""
        self._crc = zlib.crc32(message.data, self._crc)
        self._size += len(message.data)
        if self._started and not message.final:
            return self._inner.push(message.shared)
        head = b"" if self._started else _HEADER
        self._started = True
        tail = _LAST_BLOCK + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF) if message.final else b""
        return self._inner.push(self._inner.pack(head + message.blocks + tail, final=message.final))
