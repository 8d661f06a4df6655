"""Which answer a `GET` of a stream gets: by `?format=`, then by `Accept` (RFC 9110 §12.5.1). No I/O.

format given   its own framing and content type; an `Accept` that names another one changes it for two of them:
               `patinox` goes over lines for application/x-ndjson, `text` over SSE for text/event-stream
Accept         text/event-stream, */* → SSE     application/x-ndjson → NDJSON      text/plain → the text, live
               application/json → the snapshot  text/html → the playground
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from patinox.delivery.wire import NativeLinesWire, PlainWire, SseWire, Wire
from patinox.errors import InputError, UnknownFormat
from patinox.formats.base import Format
from patinox.formats.patinox import NDJSON, PATINOX, TEXT_EVENTS
from patinox.formats.text import TEXT

OFFERED = ("text/event-stream", "application/x-ndjson", "text/plain", "application/json", "text/html")


class NotAcceptable(InputError):
    """None of the media types in `Accept` is on offer."""

    code = "not_acceptable"
    http_status = 406


class Answer(msgspec.Struct, frozen=True):
    """What to answer with: a live stream in `format` on `wire`, the snapshot, or a page."""

    kind: Literal["stream", "snapshot", "page"]
    format: Format[Any] = PATINOX
    wire: Wire | None = None


def negotiate(
    accept: str | None, format_name: str | None, formats: Mapping[str, Format[Any]], *, ids: bool, retry_ms: int
) -> Answer:
    """Chooses the answer. Raises `UnknownFormat` (406, with the list) or `NotAcceptable`."""
    media = preferred(accept)
    if format_name is not None:
        return _named(format_name, accept, formats, ids=ids, retry_ms=retry_ms)
    match media:
        case "text/event-stream":
            return Answer("stream", PATINOX, SseWire(PATINOX, ids=True, controls=True, retry_ms=retry_ms))
        case "application/x-ndjson":
            return Answer("stream", NDJSON, NativeLinesWire())
        case "text/plain":
            return Answer("stream", TEXT, PlainWire(TEXT))
        case "application/json":
            return Answer("snapshot")
        case "text/html":
            return Answer("page")
    raise NotAcceptable(f"nothing in {accept!r} is on offer; there is {', '.join(OFFERED)}")


def _named(name: str, accept: str | None, formats: Mapping[str, Format[Any]], *, ids: bool, retry_ms: int) -> Answer:
    media, format_ = preferred(accept), formats.get(name)
    if format_ is None:
        raise UnknownFormat(name, tuple(formats))
    if name == NDJSON.name or (name == PATINOX.name and media == "application/x-ndjson"):
        return Answer("stream", NDJSON, NativeLinesWire())
    if name == PATINOX.name:
        return Answer("stream", PATINOX, SseWire(PATINOX, ids=True, controls=True, retry_ms=retry_ms))
    if name == TEXT.name and media == "text/event-stream" and media in (accept or ""):
        return Answer("stream", TEXT_EVENTS, SseWire(TEXT_EVENTS, ids=True, controls=True, retry_ms=retry_ms))
    if format_.framing == "sse":
        return Answer("stream", format_, SseWire(format_, ids=ids, controls=False))
    return Answer("stream", format_, PlainWire(format_))


def preferred(accept: str | None) -> str | None:
    """The best media type on offer for an `Accept` header; `*/*` and no header mean SSE. None when nothing fits.

    Ties go to the more specific range, then to the order in the header, as browsers and fetch expect.
    """
    if accept is None or not accept.strip():
        return OFFERED[0]
    ranked: list[tuple[float, int, int, str]] = []
    for order, item in enumerate(accept.split(",")[:64]):
        name, *parameters = (part.strip() for part in item.split(";"))
        quality = _quality(parameters)
        if quality:
            ranked += [(-quality, name.count("*"), order, media) for media in _offered_in(name.lower())]
    return min(ranked, key=lambda entry: entry[:3])[3] if ranked else None


def without_page(accept: str | None) -> str | None:
    """`Accept` where there is no page to be shown: a browser that opens the address itself sees the stream."""
    return None if accept is not None and "text/html" in accept else accept


def _offered_in(name: str) -> tuple[str, ...]:
    if name in OFFERED:
        return (name,)
    if name == "*/*" or name == "text/*":
        return (OFFERED[0],)
    return ("application/json",) if name == "application/*" else ()


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
