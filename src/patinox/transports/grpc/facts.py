"""A stream's facts and its snapshot, as messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from patinox.config.choices import Retain
from patinox.core.attach import AttachOutcome
from patinox.core.chunks import Outcome
from patinox.core.events import BlockKind, FinishReason, Usage
from patinox.core.lifecycle import State
from patinox.manager import ActiveStream
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.messages import to_error, to_event
from patinox.transports.grpc.values import Lossy, to_json, to_struct
from patinox.transports.grpc.words import Words, choices

OUTCOMES = Words(pb.Outcome.DESCRIPTOR, Outcome)
RETAIN = Words(pb.Retain.DESCRIPTOR, Retain)
_STATES = Words(pb.State.DESCRIPTOR, State)
_ATTACHED = Words(pb.AttachOutcome.DESCRIPTOR, AttachOutcome)
_KINDS = Words(pb.BlockKind.DESCRIPTOR, choices(BlockKind))
_REASONS = Words(pb.FinishReason.DESCRIPTOR, choices(FinishReason))
_OF_BLOCKS = frozenset(pb.SnapshotBlock.DESCRIPTOR.fields_by_name)
_OF_MESSAGES = frozenset(pb.SnapshotMessage.DESCRIPTOR.fields_by_name)
_COUNTS = frozenset(field.name for field in msgspec.structs.fields(Usage) if field.name.endswith("_tokens")) | {"raw"}

_json = msgspec.json.Encoder().encode


def stream_message(stream: ActiveStream) -> pb.Stream:
    """The facts of a stream, as `ActiveStream.describe` says them."""
    facts = stream.describe()
    message = pb.Stream(
        id=stream.id, epoch=stream.epoch, state=_STATES.number(stream.state), position=stream.position,
        readers=facts["readers"], retain=RETAIN.number(facts["retain"]), on_abandon=facts["on_abandon"],
        channel=facts.get("channel", ""), pipeline=facts.get("pipeline", ""),
    )  # fmt: skip
    message.created.FromNanoseconds(round(stream.created_s * 1e9))
    try:
        message.metadata.CopyFrom(to_struct(dict(stream.metadata)))
    except Lossy:
        message.metadata_json = _json(stream.metadata)
    return message


def position_event(outcome: AttachOutcome, event_id: str) -> pb.Event:
    """How an attach was answered, and where the reader stands."""
    return pb.Event(id=event_id, position=pb.Position(outcome=_ATTACHED.number(outcome)))


def snapshot_message(assembled: Mapping[str, Any]) -> pb.Snapshot:
    """What `Assembly.snapshot` says; what else there is in `assembled` is passed over."""
    usage, error = assembled["usage"], assembled["error"]
    return pb.Snapshot(
        content=assembled["content"],
        blocks=[_block(block) for block in assembled["blocks"]],
        messages=[_message(message) for message in assembled["messages"]],
        model=assembled["model"],
        usage=None if usage is None else _usage(usage),
        error=None if error is None else to_error(error),
    )


def _message(message: Mapping[str, Any]) -> pb.SnapshotMessage:
    reason = message["finish_reason"]
    said = {name: value for name, value in message.items() if name in _OF_MESSAGES and name != "finish_reason"}
    return pb.SnapshotMessage(**said, finish_reason=None if reason is None else _REASONS.number(reason))


def _usage(usage: Mapping[str, Any]) -> pb.Usage:
    counts = {name: value for name, value in usage.items() if name in _COUNTS}
    return to_event(Usage(**counts)).usage


def _block(block: Mapping[str, Any]) -> pb.SnapshotBlock:
    said: dict[str, Any] = {}
    for name, value in block.items():
        match name:
            case "kind":
                said[name] = _KINDS.number(value)
            case "arguments" | "partial_arguments" | "value":
                said[name] = to_json(value)
            case "annotations" | "logprobs":
                said[name] = [to_json(item) for item in value]
            case "base64":
                said["data"] = value
            case _ if name in _OF_BLOCKS:
                said[name] = value
    return pb.SnapshotBlock(**said)
