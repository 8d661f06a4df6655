"""The assembler: the whole answer so far, from any mix of chunks."""

from typing import Any

import msgspec
import pytest

from patinox.core.chunks import Binary, End, Error, Json, Outcome, StreamChunk, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    Metadata,
    Retract,
    RunStart,
    ToolReady,
    Usage,
)
from patinox.incremental.assembler import Assembly


def assembled(*data: Any, **settings: Any) -> Assembly:
    assembly = Assembly(**settings)
    for sequence, item in enumerate(data, 1):
        assembly.apply(StreamChunk(sequence, item, 0.0, payload=b"x" * 10))
    return assembly


def block_of(*data: Any) -> dict[str, Any]:
    (block,) = assembled(*data).snapshot()["blocks"]
    return dict(block)


def test_bare_text_is_joined() -> None:
    assert assembled(Text("a"), Text("b")).content == "ab"


def test_content_is_what_a_reader_of_plain_text_saw() -> None:
    data = [
        MessageStart(), BlockStart(block=0, of="reasoning"), BlockDelta(block=0, text="hm "), BlockStart(block=1),
        BlockDelta(block=1, text="Hello"), Text(" there"), BlockDelta(block=1, text="!"),
        MessageStart(message=1, choice=1), BlockStart(message=1, choice=1, block=0),
        BlockDelta(message=1, choice=1, block=0, text="other"), Json(1),
    ]  # fmt: skip
    assembly = Assembly()
    seen = ""
    for sequence, item in enumerate(data, 1):
        assembly.apply(StreamChunk(sequence, item, 0.0))
        seen += assembly.visible_text(item)
    assert seen == "Hello there!"
    assert sorted(assembly.content) == sorted(seen)


def test_a_delta_without_a_start_is_text() -> None:
    block = block_of(BlockDelta(block=3, text="a"), BlockDelta(block=3, text="b"))
    assert (block["kind"], block["text"], block["ended"]) == ("text", "ab", False)


def test_a_tool_call_has_its_text_and_its_arguments() -> None:
    block = block_of(
        BlockStart(block=0, of="tool_call", name="add", call_id="c1"),
        BlockDelta(block=0, op="json.append", text='{"a"'), BlockDelta(block=0, op="json.append", text=":1}"),
        BlockEnd(block=0), ToolReady(block=0, arguments={"a": 1}),
    )  # fmt: skip
    assert block == {
        "kind": "tool_call", "message": 0, "block": 0, "name": "add", "call_id": "c1", "arguments": {"a": 1},
        "text": '{"a":1}', "ended": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("deltas", "key", "value"),
    [
        ([BlockDelta(block=0, text="a"), BlockDelta(block=0, op="replace", text="b")], "text", "b"),
        ([BlockDelta(block=0, op="replace", value="b")], "text", "b"),
        ([BlockDelta(block=0, op="bytes.append", data=b"\0"), BlockDelta(block=0, op="bytes.append", data=b"\1")],
         "base64", b"\0\1"),
        ([BlockDelta(block=0, op="annotation.add", value={"u": 1}), BlockDelta(block=0, op="annotation.add", value=2)],
         "annotations", [{"u": 1}, 2]),
        ([BlockDelta(block=0, op="logprobs.add", value=[1])], "logprobs", [[1]]),
        ([BlockDelta(block=0, op="opaque.append", value="a"), BlockDelta(block=0, op="opaque.append", value="b")],
         "value", "ab"),
        ([BlockDelta(block=0, op="opaque.set", value={"s": 1})], "value", {"s": 1}),
        ([BlockDelta(block=0, text="secret!"), Retract(block=0, start=0, count=6, replacement="[…]")], "text", "[…]!"),
    ],
)  # fmt: skip
def test_operations_on_a_block(deltas: list[Any], key: str, value: Any) -> None:
    assert block_of(BlockStart(block=0), *deltas)[key] == value


def test_what_ends_or_changes_an_unknown_block_is_passed_over() -> None:
    assembly = assembled(BlockEnd(block=9), ToolReady(block=9, arguments={}), Retract(block=9, count=1), Metadata())
    assert assembly.snapshot()["blocks"] == []


def test_messages_have_their_role_and_reason() -> None:
    assembly = assembled(
        MessageStart(provider_id="m1"), MessageEnd(finish_reason="stop", provider_reason="end_turn"),
        MessageEnd(message=1, finish_reason="length"),
    )  # fmt: skip
    first, second = assembly.snapshot()["messages"]
    assert (first["role"], first["provider_id"], first["finish_reason"]) == ("assistant", "m1", "stop")
    assert second["finish_reason"] == "length"


def test_usage_is_replaced_by_totals_and_added_to_by_deltas() -> None:
    assembly = assembled(
        Usage(mode="cumulative", input_tokens=5, output_tokens=1), Usage(mode="cumulative", output_tokens=3),
        Usage(mode="delta", output_tokens=2, cached_tokens=1), Usage(raw={"n": 1}),
    )  # fmt: skip
    assert assembly.usage == {"input_tokens": 5, "output_tokens": 5, "cached_tokens": 1, "raw": {"n": 1}}


def test_usage_that_nobody_told_is_unknown_and_not_zero() -> None:
    assert assembled(Text("a")).snapshot()["usage"] is None


def test_the_run_and_its_error_are_told() -> None:
    error = Error("a", "b")
    assert assembled(RunStart(model="m", provider="p"), RunStart(), error).snapshot()["model"] == "m"
    assert assembled(error).error == error
    assert assembled(End(Outcome.CANCELLED, error)).error == error
    assert assembled(End(Outcome.COMPLETE)).error is None


@pytest.mark.parametrize("own", [Json(1), Binary(b"")])
def test_a_stream_with_data_of_its_own_has_no_snapshot(own: Any) -> None:
    assembly = assembled(Text("a"), own)
    assert not assembly.available
    assert assembly.content == "a"


def test_beyond_its_bound_it_stops_growing_and_says_so() -> None:
    assembly = assembled(*[Text("a")] * 10, max_bytes=35)
    assert (assembly.available, assembly.content) == (False, "aaa")


def test_a_snapshot_is_json() -> None:
    assembly = assembled(
        Text("a"), BlockStart(block=0, of="image"), BlockDelta(block=0, op="bytes.append", data=b"\xff")
    )
    body = msgspec.json.decode(msgspec.json.encode(assembly.snapshot()))
    assert body["content"] == "a"
    assert body["blocks"][0]["base64"] == "/w=="
    assert "1 blocks" in repr(assembly)
    assert assembly.block(0, 0) is not None
