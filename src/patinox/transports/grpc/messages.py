"""Chunk data to the `Event` messages of streams.proto and back, with nothing lost.

An event of the core and its message have the same fields by the same names, so how each field goes over is told by
their types: as it is, as a `JsonValue`, as an enum, or as a message of its own. What is at its default is left out.
Data that does not fit its message (a kind of a dialect's own, a number beyond 64 bits) goes as `Other`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, get_origin, get_type_hints

import msgspec
from google.protobuf.message import Message

from patinox.core.chunks import Binary, End, Error, Json, Outcome, Text
from patinox.core.codec import decode_data, encode_data
from patinox.core.events import EVENTS
from patinox.errors import InvalidChunk
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.values import from_json, to_json
from patinox.transports.grpc.words import Words, alternatives, choices

_NOT_RECORDS = frozenset({"position", "gap", "snapshot", "end"})
_Way = Callable[[Any], Any] | None  # None: a value goes as it is


def to_event(data: Any, payload: bytes = b"") -> pb.Event:
    """The event for chunk data, without its id. `payload` is the data's JSON, where it is at hand."""
    codec = _BY_TYPE.get(type(data))
    if codec is not None:
        try:
            return pb.Event(**{codec.name: codec.to_message(data)})  # type: ignore[arg-type]  # one of its messages
        except (TypeError, ValueError):  # it has no room in its message
            pass
    value = msgspec.json.decode(payload or encode_data(data))
    return pb.Event(other=pb.Other(kind=data.kind, data=to_json(value)))


def from_event(event: pb.Event) -> Any:
    """The chunk data in a record's event; for an `end` too. Raises `InvalidChunk` where there is none."""
    name = event.WhichOneof("data")
    if name == "other":
        return decode_data(event.other.kind, msgspec.json.encode(from_json(event.other.data)))
    if name not in _BY_NAME:
        raise InvalidChunk("an event without data" if name is None else f"{name} is no record of a log")
    return _BY_NAME[name].from_message(getattr(event, name))


def appended(event: pb.Event) -> Any:
    """The chunk data in an event that a client appends. Raises `InvalidChunk`."""
    name = event.WhichOneof("data")
    if name == "end" or (name == "other" and event.other.kind == "end"):
        raise InvalidChunk("a stream is ended with finish, not by appending an end record")
    return from_event(event)


def to_error(error: Error) -> pb.Error:
    """The message for an `Error` within another message. Raises TypeError or ValueError where it has no room."""
    message = _BY_TYPE[Error].to_message(error)
    assert isinstance(message, pb.Error)
    return message


def from_error(message: pb.Error) -> Error:
    """The `Error` in a message. Raises `InvalidChunk`."""
    error = _BY_TYPE[Error].from_message(message)
    assert isinstance(error, Error)
    return error


class _Field(NamedTuple):
    """How one field goes over, and back. `has_presence` says that its message knows absent from empty."""

    name: str
    default: Any
    has_presence: bool
    to: _Way
    back: _Way


class _Codec:
    """One type of data and its message."""

    def __init__(self, type_: type[Any], name: str) -> None:
        self.name = name
        self._type = type_
        descriptor = pb.Event.DESCRIPTOR.fields_by_name[name].message_type
        assert descriptor is not None
        self._message: type[Message] = getattr(pb, descriptor.name)
        hints = get_type_hints(type_)
        self._fields = [
            _field(field, hints[field.name], descriptor.fields_by_name[field.name])
            for field in msgspec.structs.fields(type_)
        ]

    def __repr__(self) -> str:
        return f"<_Codec {self.name}>"

    def to_message(self, data: Any) -> Message:
        """The message. Raises TypeError or ValueError where a value has no room in it."""
        said: dict[str, Any] = {}
        for name, default, _, to, _ in self._fields:
            value = getattr(data, name)
            if value is not default and value != default:
                said[name] = value if to is None else to(value)
        return self._message(**said)

    def from_message(self, message: Any) -> Any:
        """The data. Raises `InvalidChunk`."""
        found: dict[str, Any] = {}
        for name, default, has_presence, _, back in self._fields:
            value = None
            if not has_presence or message.HasField(name):
                value = getattr(message, name) if back is None else back(getattr(message, name))
            # What is at its default is left out here too: so it stays the default's own object (see `TEXT_APPEND`).
            if default is msgspec.NODEFAULT or (value is not None and value != default):
                found[name] = value
        return self._type(**found)


def _field(field: msgspec.structs.FieldInfo, hint: Any, told: Any) -> _Field:
    to, back = _ways(hint, told)
    return _Field(field.name, field.default, told.has_presence, to, back)


def _ways(hint: Any, told: Any) -> tuple[_Way, _Way]:
    if told.enum_type is not None:
        words = Words(told.enum_type, choices(hint))
        if hint is Outcome:
            return words.number, lambda number: _outcome(words, number)
        return words.number, words.word
    if told.message_type is None:
        return None, None
    if told.message_type.name == "Error":
        return to_error, from_error
    if told.is_repeated:
        return (lambda values: [to_json(value) for value in values]), (
            lambda said: [from_json(value) for value in said]
        )
    is_object = any(get_origin(one) is dict for one in alternatives(hint))
    return to_json, _object if is_object else from_json


def _outcome(words: Words, number: int) -> Outcome | None:
    word = words.word(number)
    return None if word is None else Outcome(word)


def _object(message: pb.JsonValue) -> dict[str, Any]:
    value = from_json(message)
    if not isinstance(value, dict):
        raise InvalidChunk(f"an object is wanted here, not {type(value).__name__}")
    return value


_TYPES: tuple[Any, ...] = (Error, Text, Json, Binary, End, *EVENTS)
_BY_TYPE = {type_: _Codec(type_, type_.kind.replace(".", "_")) for type_ in _TYPES}
_BY_NAME = {codec.name: codec for codec in _BY_TYPE.values()}
