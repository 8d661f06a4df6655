"""Chunk data to JSON and back, for every kind and for text that means harm."""

from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patinox.core.chunks import Binary, End, Error, Json, Outcome, StreamChunk, Text
from patinox.core.codec import KINDS, chunk_from_wire, chunk_to_wire, decode_data, encode_data
from patinox.core.events import EVENTS, BlockDelta, BlockKind, DeltaOp, Event, FinishReason, Usage
from patinox.errors import InvalidChunk
from patinox.formats.framing import EventStreamParser, encode_event

HOSTILE = [
    "\u2028\u2029\u0085",
    "\0",
    "\r\n",
    "a\rb\nc\r\nd",
    "\ufeff",
    '"\\',
    "data: x\n\nid: 9\n\n",
    "\x1b[2J",
    "👩\u200d👧",
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(HOSTILE)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT, str | None: st.none() | TEXT, int: st.integers(0, 2**31), int | None: st.none() | st.integers(0, 2**31),
    bool: st.booleans(), bool | None: st.none() | st.booleans(), float | None: st.none() | st.floats(0, 1e12),
    bytes: st.binary(max_size=20), Any: JSON, list[Any]: st.lists(JSON, max_size=3), Outcome: st.sampled_from(Outcome),
    dict[str, Any] | None: st.none() | st.dictionaries(TEXT, JSON, max_size=3),
    BlockKind: st.sampled_from(get_args(BlockKind)), DeltaOp: st.sampled_from(get_args(DeltaOp)),
    FinishReason | None: st.sampled_from([None, *get_args(FinishReason)]),
    get_type_hints(Usage)["mode"]: st.sampled_from(["delta", "cumulative", "final"]),
}  # fmt: skip


def of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any value of a struct, all its fields drawn."""
    hints = get_type_hints(kind)
    return st.builds(kind, **{field: BY_TYPE[hints[field]] for field in kind.__struct_fields__})


ERRORS = of(Error)
DATA: st.SearchStrategy[Any] = st.one_of(
    st.builds(Text, TEXT), st.builds(Json, JSON), st.builds(Binary, st.binary(max_size=50)), ERRORS, *map(of, EVENTS)
)


@given(DATA)
def test_every_kind_comes_back_as_it_was(data: Any) -> None:
    assert decode_data(data.kind, encode_data(data)) == data


@given(st.builds(End, st.sampled_from(Outcome), st.none() | ERRORS))
def test_an_end_comes_back_as_it_was(end: End) -> None:
    assert decode_data("end", encode_data(end)) == end


@given(DATA)
def test_what_ndjson_emits_can_be_posted_again(data: Any) -> None:
    line = chunk_to_wire(StreamChunk(3, data, 0.0, epoch="e"))
    assert chunk_from_wire(msgspec.json.decode(line)) == data
    assert line.startswith(b'{"id":"e-3",')


@given(DATA)
def test_an_encoded_chunk_is_one_line(data: Any) -> None:
    payload = encode_data(data)
    assert b"\n" not in payload
    assert b"\r" not in payload
    assert b"\0" not in payload


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_survives_an_event_stream(text: str) -> None:
    framed = encode_event(encode_data(Text(text)), event="text", id="e-1")
    (event,) = EventStreamParser().feed(framed)
    assert decode_data(event.event, event.data.encode()) == Text(text)


@pytest.mark.parametrize(
    "data",
    [Text("\ud800"), Json({"a": ["\udfff"]}), Json({"\ud800": 1}), Error("a", "\ud83d"), BlockDelta(text="\ud800"),
     Json(object()), Json({1j: 2}), Json(print)],
)  # fmt: skip
def test_what_json_cannot_say_is_refused(data: Any) -> None:
    with pytest.raises(InvalidChunk, match=data.kind):
        encode_data(data)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidChunk):
        encode_data(Json(value))


@pytest.mark.parametrize(
    ("kind", "payload"),
    [("text", b'{"text": 1}'), ("text", b"{}"), ("text", b"["), ("text", b'{"text":"\xff"}'), ("nonsense", b"{}"),
     ("", b"{}"), ("json", b"{"), ("json", b"[" * 100_000), ("binary", b"1"), ("binary", b'{"base64": 5}'),
     ("binary", b'{"base64": "x"}'), ("binary", b'{"base64": "a\xc3\xa9=="}'), ("error", b'{"code": "a"}'),
     ("block.start", b'{"of": "nonsense"}'), ("block.delta", b'{"op": "nonsense"}'), ("end", b'{"outcome": "won"}'),
     ("block.delta", b'{"data": "***"}'), ("text", b'{"text":"\\ud800"}')],
)  # fmt: skip
def test_data_that_does_not_fit_is_refused(kind: str, payload: bytes) -> None:
    with pytest.raises(InvalidChunk):
        decode_data(kind, payload)


@pytest.mark.parametrize(
    ("value", "data"),
    [("bare", Text("bare")), ("", Text("")), ({"event": "text", "data": "bare"}, Text("bare")),
     ({"event": "text", "data": {"text": "a"}, "id": "x-9"}, Text("a")), ({"event": "json", "data": None}, Json(None)),
     ({"event": "json", "data": [1]}, Json([1])), ({"event": "binary", "data": {"base64": "AAE="}}, Binary(b"\0\1")),
     ({"event": "binary", "data": "AAE="}, Binary(b"\0\1")),
     ({"event": "block.delta", "data": {"text": "x", "block": 0}}, BlockDelta(text="x", block=0))],
)  # fmt: skip
def test_what_clients_may_post(value: Any, data: Any) -> None:
    assert chunk_from_wire(value) == data


@pytest.mark.parametrize(
    "value",
    [None, 1, [], {}, {"event": "text"}, {"data": {}}, {"event": 1, "data": {}}, {"event": "text", "data": None},
     {"event": "end", "data": {"outcome": "complete"}}, {"event": "position", "data": {}},
     {"event": "gap", "data": {}}, {"event": "block.delta", "data": {"text": "x", "unknown": 1}},
     {"event": "text", "data": {"text": "x"}, "unknown": 1}, {"event": "block.delta", "data": {"block": -1}}],
)  # fmt: skip
def test_what_clients_may_not_post(value: Any) -> None:
    with pytest.raises(InvalidChunk):
        chunk_from_wire(value)


def test_the_kinds_are_all_that_may_be_appended() -> None:
    assert set(KINDS) == {"text", "json", "binary", "error", *(event.kind for event in EVENTS)}
    assert len(KINDS) == len(set(KINDS))
    assert all(issubclass(event, Event) for event in EVENTS)
