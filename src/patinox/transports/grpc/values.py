"""JSON values to messages and back, with nothing lost.

`google.protobuf.Value` is what every gRPC client has at hand, but its numbers are doubles, and messages may be nested
about a hundred deep, of which each level of JSON takes three. What it cannot carry goes as JSON text instead.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from patinox.errors import InvalidChunk
from patinox.transports.grpc.generated.streams_pb2 import JsonValue

MAX_DEPTH = 24
_EXACT = 2**53  # the integers that a double tells apart

_json = msgspec.json.Encoder().encode


class Lossy(Exception):
    """A value that `google.protobuf.Value` would not give back as it was."""


def to_json(value: Any) -> JsonValue:
    """The message for a value; what is no JSON of its own (tuples, dates, bytes) becomes what msgspec makes of it.

    Raises TypeError or ValueError for a value that JSON cannot say.
    """
    try:
        return JsonValue(value=_value(value, 0))
    except Lossy:
        return JsonValue(exact=_json(value))


def from_json(message: JsonValue) -> Any:
    """The value in a message; None in one that holds none. Raises `InvalidChunk`."""
    match message.WhichOneof("form"):
        case "value":
            return _read(message.value)
        case "exact":
            try:
                return msgspec.json.decode(message.exact)
            except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
                raise InvalidChunk(f"`exact` is not JSON: {error}") from error
    return None


def to_struct(value: Any) -> Struct:
    """The Struct for an object. Raises `Lossy`."""
    return _struct(value, 0)


def from_struct(struct: Struct) -> dict[str, Any]:
    """The object in a Struct. Raises `InvalidChunk` for a number that JSON cannot say."""
    return {name: _read(item) for name, item in struct.fields.items()}


def _value(value: Any, depth: int) -> Value:
    match value:
        case None:
            return Value(null_value=NULL_VALUE)
        case bool():
            return Value(bool_value=value)
        case str():
            return Value(string_value=value)
        case int():
            if not -_EXACT <= value <= _EXACT:
                raise Lossy
            return Value(number_value=value)
        case float() if math.isfinite(value):
            return Value(number_value=value)
        case float():  # which msgspec, too, has JSON say as null
            return Value(null_value=NULL_VALUE)
    if depth >= MAX_DEPTH:
        raise Lossy
    match value:
        case dict():
            return Value(struct_value=_struct(value, depth))
        case list() | tuple():
            return Value(list_value=ListValue(values=[_value(item, depth + 1) for item in value]))
    return _value(msgspec.json.decode(_json(value)), depth)


def _struct(value: dict[Any, Any], depth: int) -> Struct:
    if not all(type(key) is str for key in value):
        raise Lossy  # as JSON its keys become strings
    return Struct(fields={key: _value(item, depth + 1) for key, item in value.items()})


def _read(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return _read_number(value.number_value)
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return from_struct(value.struct_value)
        case "list_value":
            return [_read(item) for item in value.list_value.values]
    return None


def _read_number(number: float) -> int | float:
    if not math.isfinite(number):
        raise InvalidChunk("JSON has no NaN and no infinity")
    whole = number.is_integer() and abs(number) <= _EXACT
    return int(number) if whole else number
