"""Framing, both directions and without I/O: the parsers of `eventstream` and `lines`, and writing events.

Written events read the same in every parser that follows WHATWG HTML §9.2.6: `data` is cut at CR, LF and CRLF
into one `data:` line each, and a reader joins them with LF.
"""

from __future__ import annotations

import re
from functools import lru_cache

from patinox.errors import FramingError, InputError
from patinox.formats.eventstream import EventStreamParser, ServerSentEvent, StrayLine
from patinox.formats.lines import DEFAULT_LIMIT_BYTES, LineParser

__all__ = [
    "DEFAULT_LIMIT_BYTES",
    "EventStreamParser",
    "FramingError",
    "LineParser",
    "ServerSentEvent",
    "StrayLine",
    "comment",
    "encode_event",
    "encode_frame",
    "retry",
]

_LF, _CR = b"\n\r"
_LINE_END = re.compile(rb"\r\n|\r|\n")
_FORBIDDEN = re.compile(r"[\r\n\0]")


def encode_event(data: bytes | str, *, event: str = "", id: str = "", retry_ms: int | None = None) -> bytes:
    """One event, blank line included: `retry`, `id`, `event` (each where given), then `data`.

    Raises InputError for CR, LF or NUL in `event` or `id`, a negative `retry_ms`, and lone surrogates.
    """
    payload = data if isinstance(data, bytes) else _utf8(data, "data")
    if _LF in payload or _CR in payload:
        payload = b"\ndata: ".join(_LINE_END.split(payload))
    if not event and not id and retry_ms is None:
        return b"data: %b\n\n" % payload
    head = b"" if retry_ms is None else _retry_line(retry_ms)
    if id:
        head += b"id: %b\n" % _field(id, "id")
    if event:
        head += _event_line(event)
    return b"".join((head, b"data: ", payload, b"\n\n"))


def encode_frame(data: bytes, event: str) -> bytes:
    """One event of a dialect's frame: `encode_event(data, event=event)`, faster for what nearly all are."""
    if _LF in data or _CR in data:
        return encode_event(data, event=event)
    return b"data: " + data + b"\n\n" if not event else _head(event) + data + b"\n\n"


@lru_cache(256)
def _head(event: str) -> bytes:
    return _event_line(event) + b"data: "


@lru_cache(256)
def _event_line(event: str) -> bytes:
    return b"event: %b\n" % _field(event, "event")


def comment(text: str = "") -> bytes:
    """Comment lines, one for each line of `text`, without a blank line: a heartbeat that ends no block."""
    return b"".join(b": %b\n" % line if line else b":\n" for line in _LINE_END.split(_utf8(text, "comment")))


def retry(ms: int) -> bytes:
    """A block that sets the reader's reconnection time to `ms`, blank line included; it is no event.

    Raises InputError if `ms` is negative.
    """
    return _retry_line(ms) + b"\n"


def _retry_line(ms: int) -> bytes:
    if ms < 0:
        raise InputError(f"a reconnection time can't be negative, got {ms} ms")
    return b"retry: %d\n" % ms


def _field(value: str, name: str) -> bytes:
    if _FORBIDDEN.search(value):
        raise InputError(f"{name!r} of an event must not hold CR, LF or NUL: {value!r}")
    return _utf8(value, name)


def _utf8(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name!r} holds a lone surrogate, which UTF-8 can't carry") from error
