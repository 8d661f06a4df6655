"""Request bodies: read within a limit, and turned into chunks as they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from patinox.core.chunks import Binary, Text
from patinox.core.codec import chunk_from_wire
from patinox.errors import InputError, InvalidChunk, TooLarge
from patinox.formats.framing import LineParser

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

LINES = "application/x-ndjson"
MEDIA_TYPES = ("text/plain", "application/json", LINES, "application/octet-stream")


class UnsupportedMediaType(InputError):
    """A request body of a type that is not understood."""

    code = "unsupported_media_type"
    http_status = 415


class ClientDisconnected(InputError):
    """The client left before its body was whole; what had arrived in whole chunks is kept."""

    code = "client_disconnected"


def check_length(declared: str | None, max_bytes: int) -> None:
    """Raises `TooLarge` for a `Content-Length` over the limit: refused before a byte of it is asked for."""
    if declared is None or not (declared.isascii() and declared.isdigit()):
        return
    if len(declared) > 18 or int(declared) > max_bytes:
        raise TooLarge(f"the body has {declared} bytes; max_body_bytes = {max_bytes}")


def check_coding(scope: MutableMapping[str, Any]) -> None:
    """Raises `UnsupportedMediaType` for a body with a `Content-Encoding`: nothing is unpacked here."""
    codings = [value for name, value in scope["headers"] if name == b"content-encoding"]
    if any(value.strip().lower() not in (b"", b"identity") for value in codings):
        raise UnsupportedMediaType("a body is sent as it is, without a Content-Encoding")


async def pieces(receive: Receive, max_bytes: int) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises `TooLarge` (413) beyond `max_bytes`, `ClientDisconnected` when cut."""
    size_bytes = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected("the client left before its body was whole")
        piece = message.get("body", b"")
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            raise TooLarge(f"the body has more than max_body_bytes = {max_bytes} bytes")
        more = message.get("more_body", False)
        if piece:
            yield piece


async def whole_body(receive: Receive, max_bytes: int) -> bytes:
    """The whole body."""
    return b"".join([piece async for piece in pieces(receive, max_bytes)])


async def json_object(receive: Receive, max_bytes: int) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object. Raises `InputError`."""
    body = await whole_body(receive, max_bytes)
    if not body.strip():
        return {}
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"the body is a JSON object, not {type(value).__name__}")
    return value


async def chunks(media_type: str, receive: Receive, max_bytes: int) -> AsyncIterator[Any]:
    """The chunk data in a body, each as soon as it is whole. Raises `InvalidChunk`, with the line of NDJSON."""
    if media_type == LINES:
        async for data in _lines(receive, max_bytes):
            yield data
        return
    body = await whole_body(receive, max_bytes)
    for data in _at_once(media_type, body):
        yield data


def _at_once(media_type: str, body: bytes) -> list[Any]:
    match media_type:
        case "text/plain":
            return [Text(_utf8(body))] if body else []
        case "application/octet-stream":
            return [Binary(body)] if body else []
        case "application/json":
            return _json(body)
    raise UnsupportedMediaType(f"chunks come as {', '.join(MEDIA_TYPES)}, not as {media_type or 'an unnamed type'!r}")


def _json(body: bytes) -> list[Any]:
    if not body.strip():
        return []
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidChunk(f"the body is not JSON: {error}") from error
    if not isinstance(value, list):
        return [chunk_from_wire(value)]
    out = []  # all of them are read before the first is appended: a list goes in whole or not at all
    for number, item in enumerate(value, 1):
        try:
            out.append(chunk_from_wire(item))
        except InvalidChunk as error:
            raise InvalidChunk(f"item {number} of the list: {error.message}") from error
    return out


async def _lines(receive: Receive, max_bytes: int) -> AsyncIterator[Any]:
    parser = LineParser(max_line_bytes=max_bytes)
    number = 0
    async for piece in pieces(receive, max_bytes):
        for line in parser.feed(piece):
            number += 1
            yield _line(line, number)
    rest = parser.close()
    if rest.strip():
        yield _line(rest, number + 1)


def _line(line: bytes, number: int) -> Any:
    try:
        return chunk_from_wire(msgspec.json.decode(line))
    except InvalidChunk as error:
        raise InvalidChunk(error.message, line=number) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidChunk(f"not JSON: {error}", line=number) from error


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"the body is not UTF-8 (at byte {error.start})") from error
