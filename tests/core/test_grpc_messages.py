"""gRPC's messages, words and statuses where they are decided, and that the generated code is that of the proto file."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from patinox import errors
from patinox.core.attach import AttachOutcome, Gap
from patinox.core.chunks import Binary, Error, Json, StreamChunk, Text
from patinox.core.events import BlockDelta, BlockStart, MessageEnd, StatePatch, Usage
from patinox.errors import InvalidChunk, LimitExceeded, PatinoxError, ProducerGap
from patinox.incremental.assembler import AssembledBlock, AssembledMessage, Assembly
from patinox.transports.grpc.facts import snapshot_message
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.messages import appended, from_event, to_event
from patinox.transports.grpc.statuses import BY_CODE, status_code, status_details
from patinox.transports.grpc.values import Lossy, from_json, from_struct, to_json, to_struct
from patinox.transports.grpc.wire import GrpcWire
from patinox.transports.grpc.words import Words

ROOT = Path(__file__).parents[2]


# --- the generated code


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "proto/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_code_is_that_of_the_proto_file(tmp_path: Path) -> None:
    made = generator()
    made.generate(tmp_path)
    for name in made.NAMES:
        assert (made.PACKAGE / name).read_bytes() == (tmp_path / name).read_bytes(), "run: make proto"


# --- events


def test_a_hot_event_is_small() -> None:
    assert len(to_event(BlockDelta(text="Hel", block=0)).SerializeToString()) == 9


def test_an_event_has_fields_and_words_not_json_in_a_string() -> None:
    event = to_event(BlockStart(of="tool_call", name="weather", call_id="c1", block=2))
    assert event.block_start == pb.BlockStart(
        of=pb.BLOCK_KIND_TOOL_CALL, name="weather", call_id="c1", block=2
    )  # fmt: skip
    assert to_event(MessageEnd(finish_reason="tool_calls")).message_end.finish_reason == pb.FINISH_REASON_TOOL_CALLS


def test_json_is_a_value_that_every_client_can_read() -> None:
    event = to_event(Json({"a": [1, 2.5, None, True, "x"]}))
    assert event.json.value.value.struct_value.fields["a"].list_value.values[1].number_value == 2.5


@pytest.mark.parametrize("value", [2**53 + 1, -(2**60), [[2**64]], {"a": {"b": 2**53 + 1}}])
def test_an_integer_that_a_double_cannot_hold_goes_as_json(value: Any) -> None:
    message = to_json(value)
    assert message.WhichOneof("form") == "exact"
    assert from_json(message) == value


def test_values_that_are_no_json_of_their_own_go_as_the_other_transports_say_them() -> None:
    assert from_json(to_json({"tuple": (1, 2), "bytes": b"x", "nan": float("nan")})) == {
        "tuple": [1, 2],
        "bytes": "eA==",
        "nan": None,
    }
    assert from_json(to_json({1: "one"})) == {"1": "one"}


def test_a_number_that_has_no_room_in_its_message_goes_whole_as_other() -> None:
    event = to_event(Usage(input_tokens=2**70))
    assert event.other.kind == "usage"
    assert from_event(event) == Usage(input_tokens=2**70)


def test_data_of_a_kind_of_its_own_goes_as_other() -> None:
    class Own(Text, frozen=True):
        kind = "own"

    event = to_event(Own("x"))
    assert event.other.kind == "own"
    assert from_json(event.other.data) == {"text": "x"}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (pb.Event(), "without data"),
        (pb.Event(end=pb.End(outcome=pb.OUTCOME_COMPLETE)), "finish"),
        (pb.Event(other=pb.Other(kind="end")), "finish"),
        (pb.Event(position=pb.Position()), "position is no record"),
        (pb.Event(gap=pb.Gap()), "gap is no record"),
        (pb.Event(snapshot=pb.Snapshot()), "snapshot is no record"),
        (pb.Event(goaway=pb.Goaway()), "goaway is no record"),
        (pb.Event(other=pb.Other(kind="nonsense")), "unknown event"),
        (pb.Event(json=pb.Json(value=pb.JsonValue(exact=b"{"))), "not JSON"),
        (pb.Event(run_start=pb.RunStart(ext=to_json([1]))), "object is wanted"),
        (pb.Event(block_start=pb.BlockStart(of=99)), "no value 99"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_record_is_not_appended(event: pb.Event, reason: str) -> None:
    with pytest.raises(InvalidChunk, match=reason):
        appended(event)


def test_json_without_a_value_is_null() -> None:
    assert appended(pb.Event(json=pb.Json())) == Json(None)


def test_a_number_that_json_lacks_is_refused() -> None:
    message = pb.JsonValue()
    message.value.number_value = float("inf")
    with pytest.raises(InvalidChunk, match="infinity"):
        from_json(message)


def test_a_struct_takes_only_what_it_can_give_back() -> None:
    metadata = {"user": "u1", "tags": ["a"], "n": 1}
    assert from_struct(to_struct(metadata)) == metadata
    with pytest.raises(Lossy):
        to_struct({"n": 2**60})


def test_a_word_that_the_proto_file_lacks_is_noticed_when_the_program_starts() -> None:
    with pytest.raises(KeyError):
        Words(pb.DeltaOp.DESCRIPTOR, ["text.append", "text.prepend"])


# --- snapshots


def test_a_snapshot_has_all_that_was_assembled() -> None:
    assembly = Assembly()
    told = [
        Text("Hello"),
        BlockStart(of="tool_call", name="weather", call_id="c1", block=1),
        BlockDelta(op="json.append", text='{"city": "Par', block=1),
        BlockDelta(op="annotation.add", value={"type": "url_citation"}, block=1),
        BlockStart(of="audio", block=2),
        BlockDelta(op="bytes.append", data=b"\x00\x01", block=2),
        Usage(input_tokens=3, raw={"in": 3}),
        MessageEnd(finish_reason="stop"),
        Error("failed", "why"),
    ]
    for number, data in enumerate(told, 1):
        assembly.apply(StreamChunk(number, data, 0.0))
    snapshot = snapshot_message(assembly.snapshot())
    call, audio = snapshot.blocks
    assert snapshot.content == "Hello"
    assert (call.kind, call.name, call.call_id, call.block) == (pb.BLOCK_KIND_TOOL_CALL, "weather", "c1", 1)
    assert from_json(call.partial_arguments) == {"city": "Par"}
    assert [from_json(annotation) for annotation in call.annotations] == [{"type": "url_citation"}]
    assert audio.data == b"\x00\x01"
    assert (snapshot.usage.input_tokens, from_json(snapshot.usage.raw)) == (3, {"in": 3})
    assert snapshot.messages[0].finish_reason == pb.FINISH_REASON_STOP
    assert (snapshot.error.code, snapshot.error.message) == ("failed", "why")


def test_snapshots_have_a_field_for_each_that_an_assembly_tells() -> None:
    block = {
        *AssembledBlock(BlockStart()).as_dict(),
        "name",
        "call_id",
        "choice",
        "value",
        "arguments",
        "text",
        "base64",
    }
    assert block - {"base64"} <= set(pb.SnapshotBlock.DESCRIPTOR.fields_by_name)
    assert set(AssembledMessage.__struct_fields__) <= set(pb.SnapshotMessage.DESCRIPTOR.fields_by_name)
    assert set(Assembly().snapshot()) <= set(pb.Snapshot.DESCRIPTOR.fields_by_name)


# --- the wire


def test_controls_are_events_without_a_number_of_their_own() -> None:
    wire = GrpcWire()
    position = wire.control("position", {"outcome": AttachOutcome.GAP}, "e1-3")
    gap = wire.control("gap", Gap(4, 9))
    goaway = wire.control("goaway", {"after_s": 1.5, "position": "e1-9"}, "e1-9")
    events = list(pb.SubscribeResponse.FromString(position + gap + goaway).events)
    assert (events[-1].id, events.pop().goaway.after.ToMilliseconds()) == ("e1-9", 1500)
    assert events == [
        pb.Event(id="e1-3", position=pb.Position(outcome=pb.ATTACH_OUTCOME_GAP)),
        pb.Event(gap=pb.Gap(**{"from": 4, "to": 9})),
    ]


def test_state_patches_and_bytes_are_fields() -> None:
    assert len(to_event(StatePatch(patch=[{"op": "add"}, {"op": "remove"}])).state_patch.patch) == 2
    assert to_event(Binary(b"\xff")).binary.data == b"\xff"


# --- statuses


def all_errors(root: type[PatinoxError] = PatinoxError) -> set[type[PatinoxError]]:
    return {root}.union(*(all_errors(one) for one in root.__subclasses__()))


def test_every_code_in_the_table_is_an_errors_own() -> None:
    assert BY_CODE.keys() <= {error.code for error in all_errors()}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.StreamNotFound("x"), grpc.StatusCode.NOT_FOUND),
        (errors.StreamGone("x"), grpc.StatusCode.NOT_FOUND),
        (errors.StreamExists("x"), grpc.StatusCode.ALREADY_EXISTS),
        (errors.StreamClosed("x"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.InvalidEventId("x"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.TooLarge("x"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.BufferFull("x"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.LimitExceeded("x"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.ProducerGap("x", expected=1), grpc.StatusCode.ABORTED),
        (errors.ProducerFenced("x"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.ReaderTooSlow("x"), grpc.StatusCode.ABORTED),
        (errors.ShuttingDown("x"), grpc.StatusCode.UNAVAILABLE),
        (errors.StoreError("x"), grpc.StatusCode.UNAVAILABLE),
        (errors.PatinoxError("x"), grpc.StatusCode.INTERNAL),
    ],
)
def test_an_error_is_a_status(error: PatinoxError, code: grpc.StatusCode) -> None:
    assert status_code(error) is code


def test_no_error_of_the_tree_is_a_status_that_says_nothing() -> None:
    said = {(error.code, error.http_status) for error in all_errors()}
    vague = {
        code for code, status in said if status < 500 and status_code(_like(code, status)) is grpc.StatusCode.INTERNAL
    }
    assert not vague


def _like(code_: str, status: int) -> PatinoxError:
    class Like(PatinoxError):
        code = code_
        http_status = status

    return Like("x")


def test_details_say_what_a_program_needs() -> None:
    status = status_details(ProducerGap("a hole", expected=4), accepted="2")
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("PRODUCER_GAP", "patinox")
    assert dict(info.metadata) == {"expected": "4", "accepted": "2"}


def test_a_limit_says_when_to_try_again() -> None:
    retry = RetryInfo()
    assert status_details(LimitExceeded("full", retry_after_s=2.5)).details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 2500


def test_details_fit_into_what_clients_take_as_metadata() -> None:
    assert len(status_details(PatinoxError("x" * 100_000)).SerializeToString()) < 8192
