"""Chunk data to JSON and back: the `event` and `data` of the native wire.

`Text` is `{"text": "…"}`, `Json` the value itself, `Binary` `{"base64": "…"}`, everything else the struct's own
fields without those at their default. JSON by msgspec: UTF-8, no white space, no raw line breaks (RFC 8259 §7
makes it escape U+000A and U+000D in strings), so one encoded chunk is always one `data:` line and one NDJSON line.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from patinox.core.chunks import Binary, End, Error, EventId, Json, StreamChunk, Text
from patinox.core.events import EVENTS
from patinox.errors import InvalidChunk, InvalidEventId

_encode = msgspec.json.Encoder().encode
_STRUCTS: tuple[type[msgspec.Struct], ...] = (Text, Error, End, *EVENTS)
_DECODERS = {kind.kind: msgspec.json.Decoder(kind) for kind in _STRUCTS}  # type: ignore[attr-defined]

_FIELDS = {kind.kind: frozenset(kind.__struct_encode_fields__) for kind in _STRUCTS}  # type: ignore[attr-defined]

KINDS: tuple[str, ...] = ("text", "json", "binary", "error", *(event.kind for event in EVENTS))
"""Every kind that may be appended (`end` is written by finishing)."""

_OF_A_CHUNK = frozenset(("id", "event", "data"))
_MAX_SEQUENCE = 2**63 - 1


def encode_data(data: Any) -> bytes:
    """The JSON of one chunk's data. Raises `InvalidChunk` for a value JSON cannot say."""
    try:
        if type(data) is Json:
            return _encode(data.value)
        if type(data) is Binary:
            return _encode({"base64": base64.b64encode(data.data).decode("ascii")})
        return _encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidChunk(f"this {data.kind} chunk cannot be said in JSON: {error}") from error


def decode_data(kind: str, payload: bytes) -> Any:
    """The data of a chunk of `kind` from its JSON. Raises `InvalidChunk` where they do not fit."""
    try:
        if kind == "json":
            return Json(msgspec.json.decode(payload))
        if kind == "binary":
            return Binary(_base64(msgspec.json.decode(payload)))
        decoder = _DECODERS.get(kind)
        if decoder is None:
            raise InvalidChunk(f"unknown event {kind!r}; known are {', '.join(KINDS)}")
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidChunk(f"the data of this {kind} chunk does not fit: {error}") from error


def _base64(value: Any) -> bytes:
    text = value.get("base64") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise InvalidChunk('the data of a binary chunk is {"base64": "…"}')
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidChunk(f"the data of this binary chunk is not base64: {error}") from error


def parse_event_id(text: str) -> EventId:
    """Reads `<epoch>-<sequence>[.<part>]`. Raises `InvalidEventId` for anything else."""
    epoch, dash, rest = text.partition("-")
    number, dot, part = rest.partition(".")
    well_formed = dash and _word(epoch) and _number(number) and (not dot or (_number(part) and part != "0"))
    if not well_formed or (dot and number == "0"):
        raise InvalidEventId(f"{text[:80]!r} is not an event id; one looks like k3Jd82Qw-17")
    return EventId(epoch, int(number), int(part) if dot else 0)


def _word(text: str) -> bool:
    return 0 < len(text) <= 32 and text.isascii() and text.isalnum()


def _number(text: str) -> bool:
    plain = 0 < len(text) <= 19 and text.isascii() and text.isdigit()
    return plain and (text == "0" or text[0] != "0") and int(text) <= _MAX_SEQUENCE


def chunk_from_wire(value: Any) -> Any:
    """The data of one chunk as a client sends it: a bare string is `Text`, else `{"event": …, "data": …}`.

    `id` is ignored, so that what NDJSON emits can be posted again. Raises `InvalidChunk`, for a field that there is not
    too: it would be lost, and nobody told.
    """
    if isinstance(value, str):
        return Text(value)
    if not isinstance(value, dict) or not isinstance(value.get("event"), str) or "data" not in value:
        raise InvalidChunk('a chunk is a string or {"event": "text", "data": {"text": "…"}}')
    _refuse_unknown("chunk", value, _OF_A_CHUNK)
    kind, data = value["event"], value["data"]
    if kind == "end":
        raise InvalidChunk("a stream is ended with finish, not by appending an end record")
    if kind == "text" and isinstance(data, str):
        return Text(data)
    if kind == "json":
        return Json(data)
    _refuse_unknown(kind, data, _FIELDS.get(kind))
    return decode_data(kind, msgspec.json.encode(data))


def _refuse_unknown(named: str, value: Any, known: frozenset[str] | None) -> None:
    if known is not None and isinstance(value, dict) and not value.keys() <= known:
        unknown = ", ".join(sorted(str(name)[:40] for name in value.keys() - known)[:8])
        raise InvalidChunk(f"a {named} has no {unknown}; it has {', '.join(sorted(known))}")


def chunk_to_wire(chunk: StreamChunk) -> bytes:
    """`{"id": …, "event": …, "data": …}`: the object NDJSON has on a line."""
    payload = chunk.payload or encode_data(chunk.data)
    return b'{"id":"%b","event":"%b","data":%b}' % (chunk.id.encode(), chunk.kind.encode(), payload)
