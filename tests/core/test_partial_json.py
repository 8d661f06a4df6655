"""A JSON text that is still being written, as far as it can be shown."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patinox.core.chunks import StreamChunk
from patinox.core.events import BlockDelta, BlockEnd, BlockStart, ToolReady
from patinox.incremental.assembler import Assembly
from patinox.incremental.partial_json import partial_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("{", {}),
        ('{"ci', {}),
        ('{"city"', {}),
        ('{"city": ', {}),
        ('{"city": "', {"city": ""}),
        ('{"city": "Par', {"city": "Par"}),
        ('{"city": "Paris", "days": 1', {"city": "Paris"}),
        ('{"city": "Paris", "days": 12,', {"city": "Paris", "days": 12}),
        ('{"a": [1, tr', {"a": [1]}),
        ('{"a": [{"b": "c"}, ', {"a": [{"b": "c"}]}),
        ('"a\\', "a"),
        ('"a\\u00', "a"),
        ('"a\\ud83d', "a"),
        ('"a\\\\', "a\\"),
        ("12", None),
        ("[1}", None),
        ("nonsense", None),
        ('{"a": 1} trailing', {"a": 1}),
    ],
)
def test_what_is_there_is_shown(text: str, value: Any) -> None:
    assert partial_json(text) == value


def _is_part(part: Any, whole: Any) -> bool:
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and _is_part(item, whole[key]) for key, item in part.items())
    if isinstance(whole, list) and isinstance(part, list):
        return len(part) <= len(whole) and all(_is_part(a, b) for a, b in zip(part, whole, strict=False))
    if isinstance(whole, str) and isinstance(part, str):
        return whole.startswith(part)
    return bool(part == whole)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4), st.booleans())
def test_every_beginning_is_a_part_of_the_whole(value: dict[str, Any], is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    assert partial_json(text) == value
    for length in range(1, len(text)):
        assert _is_part(partial_json(text[:length]), value)


def assembly_of(*data: Any) -> Assembly:
    assembly = Assembly()
    for sequence, item in enumerate(data, 1):
        assembly.apply(StreamChunk(sequence, item, 0.0))
    return assembly


def test_a_snapshot_shows_the_arguments_that_are_still_coming() -> None:
    data = [
        BlockStart(block=0, of="tool_call", name="weather"),
        BlockDelta(block=0, op="json.append", text='{"city": "Par'),
    ]
    (block,) = assembly_of(*data).snapshot()["blocks"]
    assert block["partial_arguments"] == {"city": "Par"}
    (block,) = assembly_of(*data, BlockEnd(block=0), ToolReady(block=0, arguments={"city": "Par"})).snapshot()["blocks"]
    assert "partial_arguments" not in block
