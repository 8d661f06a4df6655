"""What is said by gRPC is what was written: nothing is lost between the core's events and their messages."""

import types
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patinox.core.chunks import Binary, End, Error, Json, Outcome, StreamChunk, Text
from patinox.core.codec import encode_data
from patinox.core.events import EVENTS, Ordinal
from patinox.incremental.assembler import Assembly
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.messages import appended, from_event, to_event
from patinox.transports.grpc.values import from_json, to_json
from patinox.transports.grpc.wire import EventsWriter, GrpcWire

TYPES: tuple[type[Any], ...] = (Text, Json, Binary, Error, End, *EVENTS)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)  # lone surrogates are no Unicode text
NUMBERS = st.integers() | st.integers(-(2**54), 2**54) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
SMALL = st.integers(-(2**63), 2**63 - 1)
LARGE = st.integers(-(2**80), 2**80)


def nested(depth: int) -> Any:
    value: Any = "deep"
    for level in range(depth):
        value = [value] if level % 2 else {"in": value}
    return value


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value that a field of this type may have."""
    if get_origin(hint) in (Union, types.UnionType):
        return st.one_of(*[values_of(one) for one in get_args(hint)])
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if get_origin(hint) is dict:
        return st.dictionaries(TEXT, JSON, max_size=4)
    if get_origin(hint) is list:
        return st.lists(JSON, max_size=4)
    if hint is Ordinal:
        return st.integers(0, 2**31)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return structs(hint)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXT, bytes: st.binary(max_size=20), bool: st.booleans(), int: SMALL | LARGE,
        float: st.floats(allow_nan=False, allow_infinity=False), Any: JSON, type(None): st.none(),
    }  # fmt: skip
    return plain[hint]


def structs(type_: type[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(type_, include_extras=True)
    fields = {field.name: values_of(hints[field.name]) for field in msgspec.structs.fields(type_)}
    required = {field.name for field in msgspec.structs.fields(type_) if field.required}
    return st.fixed_dictionaries(
        {name: fields[name] for name in required},
        optional={name: fields[name] for name in fields if name not in required},
    ).map(lambda found: type_(**found))


def over_the_wire(event: pb.Event) -> pb.Event:
    return pb.Event.FromString(event.SerializeToString())


def as_json(data: Any) -> bytes:
    """What the other transports say of it; 1.0 and 1 are the same number there too."""

    def normal(value: Any) -> Any:
        if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
            return int(value)
        if isinstance(value, dict):
            return {key: normal(item) for key, item in value.items()}
        return [normal(item) for item in value] if isinstance(value, list) else value

    return msgspec.json.encode(normal(msgspec.json.decode(encode_data(data))), order="sorted")


@pytest.mark.parametrize("type_", TYPES, ids=lambda type_: type_.kind)
@settings(max_examples=10)
@given(data=st.data())
def test_every_field_of_every_event_survives(type_: type[Any], data: st.DataObject) -> None:
    said = data.draw(structs(type_))
    heard = from_event(over_the_wire(to_event(said)))
    assert heard == said
    assert as_json(heard) == as_json(said)


@given(JSON)
def test_every_json_value_survives(value: Any) -> None:
    assert from_json(pb.JsonValue.FromString(to_json(value).SerializeToString())) == value


@given(st.integers(0, 400))
def test_json_of_any_depth_survives(depth: int) -> None:
    value = nested(depth)
    assert from_json(pb.JsonValue.FromString(to_json(value).SerializeToString())) == value


@settings(max_examples=25)
@given(st.lists(st.sampled_from(TYPES).filter(lambda type_: type_ is not End).flatmap(structs), max_size=8))
def test_what_was_read_can_be_appended_again(written: list[Any]) -> None:
    assert [appended(over_the_wire(to_event(data))) for data in written] == written


@given(st.lists(TEXT, min_size=1, max_size=200), st.integers(0, 199))
def test_joined_responses_are_one_response(texts: list[str], cut: int) -> None:
    """However much piles up for a reader, it gets every event, in order and with its own id."""
    writer, wire, assembly = EventsWriter(), GrpcWire(), Assembly()
    chunks = [StreamChunk(number, Text(text), 0.0, epoch="e1") for number, text in enumerate(texts, 1)]
    chunks.append(StreamChunk(len(texts) + 1, End(Outcome.COMPLETE), 0.0, is_final=True, epoch="e1"))
    records = [wire.record(chunk.id, writer.write(None, chunk, assembly)[1]) for chunk in chunks]
    whole = [pb.SubscribeResponse.FromString(b"".join(part)) for part in (records[:cut], records[cut:])]
    events = [event for response in whole for event in response.events]
    assert [(event.id, from_event(event)) for event in events] == [(chunk.id, chunk.data) for chunk in chunks]


@given(st.binary(max_size=300))
def test_bytes_of_any_length_are_framed_as_protobuf_frames_them(data: bytes) -> None:
    event = to_event(Binary(data * 100))
    event_id = "e1-7"
    made = GrpcWire().record(event_id, EventsWriter().write(None, chunk_of(Binary(data * 100)), Assembly())[1])
    event.id = event_id
    assert pb.SubscribeResponse.FromString(made) == pb.SubscribeResponse(events=[event])


def chunk_of(data: Any) -> StreamChunk:
    return StreamChunk(7, data, 0.0, epoch="e1")
