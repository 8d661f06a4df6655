"""permessage-deflate (RFC 7692): what is agreed on in the handshake, and inflating what clients send.

Neither side carries its window over from message to message: the server's messages are shared by all readers, and an
idle socket holds no window. A client is told so even if it did not offer it, as §7.1.1.2 lets a server do.
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

from patinox.transports.websocket.frames import CloseCode, Violation

NAME = "permessage-deflate"

_MAX_WINDOW_BITS, _LEAST_WINDOW_BITS = 15, 9  # zlib cannot keep to a window of 8 bits: such an offer is declined
_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_NAME})(?:[ \t]*=[ \t]*(?:({_NAME})|"((?:[^"\\]|\\.)*)"))?')
_EXTENSION = re.compile(rf"[ \t]*({_NAME})")
_SEPARATOR = re.compile(r"[ \t]*(?:,[ \t,]*|$)")
_BITS = re.compile(r"8|9|1[0-5]")
_TAIL = b"\x00\x00\xff\xff"
_PAD = b"\x00"

Offer = tuple[str, list[tuple[str, str | None]]]


class Agreement(NamedTuple):
    """What was agreed on: the window that the server keeps to, and how the answer's header says it."""

    window_bits: int
    header: str


def parse_offers(header: str) -> list[Offer]:
    """The extensions of a `Sec-WebSocket-Extensions` header (RFC 6455 §9.1). Raises ValueError if it is malformed."""
    offers: list[Offer] = []
    at = len(header) - len(header.lstrip(" \t,"))
    while at < len(header):
        name = _EXTENSION.match(header, at)
        if name is None:
            raise ValueError(f"no extension at {at} of Sec-WebSocket-Extensions")
        at, parameters = name.end(), []
        while (found := _PARAMETER.match(header, at)) is not None:
            at = found.end()
            parameters.append((found[1], _value(found)))
        separator = _SEPARATOR.match(header, at)
        if separator is None:
            raise ValueError(f"neither a parameter nor an extension at {at} of Sec-WebSocket-Extensions")
        at = separator.end()
        offers.append((name[1], parameters))
    return offers


def _value(found: re.Match[str]) -> str | None:
    return found[2] if found[3] is None else re.sub(r"\\(.)", r"\1", found[3])


def negotiate(offers: list[Offer]) -> Agreement | None:
    """The first offer that can be kept to (§7.1); None where there is none."""
    for name, parameters in offers:
        if name == NAME and (agreement := _agree(parameters)) is not None:
            return agreement
    return None


def _agree(parameters: list[tuple[str, str | None]]) -> Agreement | None:
    given = dict(parameters)
    if len(given) < len(parameters) or not all(_is_valid(name, value) for name, value in parameters):
        return None
    limit = given.get("server_max_window_bits")
    bits = int(limit) if limit is not None else _MAX_WINDOW_BITS
    if bits < _LEAST_WINDOW_BITS:
        return None
    header = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
    return Agreement(bits, header if limit is None else f"{header}; server_max_window_bits={bits}")


def _is_valid(name: str, value: str | None) -> bool:
    if name in ("server_no_context_takeover", "client_no_context_takeover"):
        return value is None
    if name == "server_max_window_bits":
        return value is not None and _BITS.fullmatch(value) is not None
    return name == "client_max_window_bits" and (value is None or _BITS.fullmatch(value) is not None)


class Inflater:
    """Inflates one message, piece by piece (§7.2.2). `max_bytes` is what it may grow to."""

    __slots__ = ("_after_end", "_has_ended", "_left_bytes", "_zlib")

    def __init__(self, max_bytes: int) -> None:
        self._zlib = zlib.decompressobj(-_MAX_WINDOW_BITS)
        self._left_bytes = max_bytes
        self._has_ended = False
        self._after_end = b""

    def inflate(self, piece: bytes, *, final: bool) -> bytes:
        """What a piece of the payload stands for. Raises Violation: 1009 for a bomb, 1007 for what is no deflate."""
        try:
            plain = self._take(piece)
            return plain + self._take(_TAIL) if final and not self._has_ended else plain
        except zlib.error as error:
            raise Violation(CloseCode.INVALID_DATA, "the message is not deflated") from error

    def _take(self, piece: bytes) -> bytes:
        if self._has_ended:
            self._end(piece)
            return b""
        plain = self._zlib.decompress(piece, self._left_bytes + 1)
        self._left_bytes -= len(plain)
        if self._left_bytes < 0:
            raise Violation(CloseCode.TOO_LARGE, "the inflated message is too large")
        if self._zlib.eof:
            self._has_ended = True
            self._end(self._zlib.unused_data)
        return plain

    def _end(self, rest: bytes) -> None:
        # A last block may end the stream; a zero byte then stands for the empty block that is left out (§7.2.3.4).
        self._after_end += rest
        if self._after_end not in (b"", _PAD):
            raise Violation(CloseCode.INVALID_DATA, "the deflated message goes on after its end")
