import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    STATE_OPEN: _ClassVar[State]
    STATE_COMPLETE: _ClassVar[State]
    STATE_INCOMPLETE: _ClassVar[State]
    STATE_CANCELLED: _ClassVar[State]
    STATE_INTERRUPTED: _ClassVar[State]
    STATE_FAILED: _ClassVar[State]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_COMPLETE: _ClassVar[Outcome]
    OUTCOME_INCOMPLETE: _ClassVar[Outcome]
    OUTCOME_CANCELLED: _ClassVar[Outcome]
    OUTCOME_INTERRUPTED: _ClassVar[Outcome]
    OUTCOME_FAILED: _ClassVar[Outcome]

class Retain(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RETAIN_UNSPECIFIED: _ClassVar[Retain]
    RETAIN_FULL: _ClassVar[Retain]
    RETAIN_WINDOW: _ClassVar[Retain]

class AttachOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTACH_OUTCOME_UNSPECIFIED: _ClassVar[AttachOutcome]
    ATTACH_OUTCOME_START: _ClassVar[AttachOutcome]
    ATTACH_OUTCOME_RESUMED: _ClassVar[AttachOutcome]
    ATTACH_OUTCOME_SNAPSHOT: _ClassVar[AttachOutcome]
    ATTACH_OUTCOME_GAP: _ClassVar[AttachOutcome]
    ATTACH_OUTCOME_RESET: _ClassVar[AttachOutcome]
    ATTACH_OUTCOME_COMPLETE: _ClassVar[AttachOutcome]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_TOOL_CALLS: _ClassVar[FinishReason]
    FINISH_REASON_CONTENT_FILTER: _ClassVar[FinishReason]
    FINISH_REASON_REFUSAL: _ClassVar[FinishReason]
    FINISH_REASON_PAUSE: _ClassVar[FinishReason]
    FINISH_REASON_ERROR: _ClassVar[FinishReason]
    FINISH_REASON_OTHER: _ClassVar[FinishReason]

class BlockKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BLOCK_KIND_TEXT: _ClassVar[BlockKind]
    BLOCK_KIND_REASONING: _ClassVar[BlockKind]
    BLOCK_KIND_REASONING_SUMMARY: _ClassVar[BlockKind]
    BLOCK_KIND_REASONING_OPAQUE: _ClassVar[BlockKind]
    BLOCK_KIND_REFUSAL: _ClassVar[BlockKind]
    BLOCK_KIND_TOOL_CALL: _ClassVar[BlockKind]
    BLOCK_KIND_SERVER_TOOL_CALL: _ClassVar[BlockKind]
    BLOCK_KIND_TOOL_RESULT: _ClassVar[BlockKind]
    BLOCK_KIND_CODE: _ClassVar[BlockKind]
    BLOCK_KIND_AUDIO: _ClassVar[BlockKind]
    BLOCK_KIND_IMAGE: _ClassVar[BlockKind]
    BLOCK_KIND_FILE: _ClassVar[BlockKind]
    BLOCK_KIND_SOURCE: _ClassVar[BlockKind]
    BLOCK_KIND_COMPACTION: _ClassVar[BlockKind]
    BLOCK_KIND_CUSTOM: _ClassVar[BlockKind]

class DeltaOp(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELTA_OP_TEXT_APPEND: _ClassVar[DeltaOp]
    DELTA_OP_JSON_APPEND: _ClassVar[DeltaOp]
    DELTA_OP_JSON_PATCH: _ClassVar[DeltaOp]
    DELTA_OP_BYTES_APPEND: _ClassVar[DeltaOp]
    DELTA_OP_OPAQUE_APPEND: _ClassVar[DeltaOp]
    DELTA_OP_OPAQUE_SET: _ClassVar[DeltaOp]
    DELTA_OP_ANNOTATION_ADD: _ClassVar[DeltaOp]
    DELTA_OP_LOGPROBS_ADD: _ClassVar[DeltaOp]
    DELTA_OP_REPLACE: _ClassVar[DeltaOp]

class UsageMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USAGE_MODE_FINAL: _ClassVar[UsageMode]
    USAGE_MODE_CUMULATIVE: _ClassVar[UsageMode]
    USAGE_MODE_DELTA: _ClassVar[UsageMode]
STATE_UNSPECIFIED: State
STATE_OPEN: State
STATE_COMPLETE: State
STATE_INCOMPLETE: State
STATE_CANCELLED: State
STATE_INTERRUPTED: State
STATE_FAILED: State
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_COMPLETE: Outcome
OUTCOME_INCOMPLETE: Outcome
OUTCOME_CANCELLED: Outcome
OUTCOME_INTERRUPTED: Outcome
OUTCOME_FAILED: Outcome
RETAIN_UNSPECIFIED: Retain
RETAIN_FULL: Retain
RETAIN_WINDOW: Retain
ATTACH_OUTCOME_UNSPECIFIED: AttachOutcome
ATTACH_OUTCOME_START: AttachOutcome
ATTACH_OUTCOME_RESUMED: AttachOutcome
ATTACH_OUTCOME_SNAPSHOT: AttachOutcome
ATTACH_OUTCOME_GAP: AttachOutcome
ATTACH_OUTCOME_RESET: AttachOutcome
ATTACH_OUTCOME_COMPLETE: AttachOutcome
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_TOOL_CALLS: FinishReason
FINISH_REASON_CONTENT_FILTER: FinishReason
FINISH_REASON_REFUSAL: FinishReason
FINISH_REASON_PAUSE: FinishReason
FINISH_REASON_ERROR: FinishReason
FINISH_REASON_OTHER: FinishReason
BLOCK_KIND_TEXT: BlockKind
BLOCK_KIND_REASONING: BlockKind
BLOCK_KIND_REASONING_SUMMARY: BlockKind
BLOCK_KIND_REASONING_OPAQUE: BlockKind
BLOCK_KIND_REFUSAL: BlockKind
BLOCK_KIND_TOOL_CALL: BlockKind
BLOCK_KIND_SERVER_TOOL_CALL: BlockKind
BLOCK_KIND_TOOL_RESULT: BlockKind
BLOCK_KIND_CODE: BlockKind
BLOCK_KIND_AUDIO: BlockKind
BLOCK_KIND_IMAGE: BlockKind
BLOCK_KIND_FILE: BlockKind
BLOCK_KIND_SOURCE: BlockKind
BLOCK_KIND_COMPACTION: BlockKind
BLOCK_KIND_CUSTOM: BlockKind
DELTA_OP_TEXT_APPEND: DeltaOp
DELTA_OP_JSON_APPEND: DeltaOp
DELTA_OP_JSON_PATCH: DeltaOp
DELTA_OP_BYTES_APPEND: DeltaOp
DELTA_OP_OPAQUE_APPEND: DeltaOp
DELTA_OP_OPAQUE_SET: DeltaOp
DELTA_OP_ANNOTATION_ADD: DeltaOp
DELTA_OP_LOGPROBS_ADD: DeltaOp
DELTA_OP_REPLACE: DeltaOp
USAGE_MODE_FINAL: UsageMode
USAGE_MODE_CUMULATIVE: UsageMode
USAGE_MODE_DELTA: UsageMode

class CreateRequest(_message.Message):
    __slots__ = ("id", "metadata", "ttl", "retain", "on_abandon", "channel", "pipeline")
    ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    RETAIN_FIELD_NUMBER: _ClassVar[int]
    ON_ABANDON_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    id: str
    metadata: _struct_pb2.Struct
    ttl: _duration_pb2.Duration
    retain: Retain
    on_abandon: str
    channel: str
    pipeline: str
    def __init__(self, id: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., retain: _Optional[_Union[Retain, str]] = ..., on_abandon: _Optional[str] = ..., channel: _Optional[str] = ..., pipeline: _Optional[str] = ...) -> None: ...

class CreateResponse(_message.Message):
    __slots__ = ("stream",)
    STREAM_FIELD_NUMBER: _ClassVar[int]
    stream: Stream
    def __init__(self, stream: _Optional[_Union[Stream, _Mapping]] = ...) -> None: ...

class AppendRequest(_message.Message):
    __slots__ = ("stream", "producer", "events", "finish")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    stream: str
    producer: Producer
    events: _containers.RepeatedCompositeFieldContainer[Event]
    finish: Finish
    def __init__(self, stream: _Optional[str] = ..., producer: _Optional[_Union[Producer, _Mapping]] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., finish: _Optional[_Union[Finish, _Mapping]] = ...) -> None: ...

class Producer(_message.Message):
    __slots__ = ("id", "epoch", "seq")
    ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    id: str
    epoch: int
    seq: int
    def __init__(self, id: _Optional[str] = ..., epoch: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class Finish(_message.Message):
    __slots__ = ("outcome", "error")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    error: Error
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class AppendResponse(_message.Message):
    __slots__ = ("accepted", "position", "next")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    position: str
    next: int
    def __init__(self, accepted: _Optional[int] = ..., position: _Optional[str] = ..., next: _Optional[int] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("stream", "after")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    stream: str
    after: str
    def __init__(self, stream: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("stream", "reason")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    stream: str
    reason: str
    def __init__(self, stream: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ("stream",)
    STREAM_FIELD_NUMBER: _ClassVar[int]
    stream: Stream
    def __init__(self, stream: _Optional[_Union[Stream, _Mapping]] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("stream", "facts_only")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FACTS_ONLY_FIELD_NUMBER: _ClassVar[int]
    stream: str
    facts_only: bool
    def __init__(self, stream: _Optional[str] = ..., facts_only: _Optional[bool] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("stream", "snapshot")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    stream: Stream
    snapshot: Snapshot
    def __init__(self, stream: _Optional[_Union[Stream, _Mapping]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ...) -> None: ...

class Stream(_message.Message):
    __slots__ = ("id", "epoch", "state", "position", "created", "metadata", "metadata_json", "readers", "retain", "on_abandon", "channel", "pipeline")
    ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    READERS_FIELD_NUMBER: _ClassVar[int]
    RETAIN_FIELD_NUMBER: _ClassVar[int]
    ON_ABANDON_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    id: str
    epoch: str
    state: State
    position: str
    created: _timestamp_pb2.Timestamp
    metadata: _struct_pb2.Struct
    metadata_json: bytes
    readers: int
    retain: Retain
    on_abandon: str
    channel: str
    pipeline: str
    def __init__(self, id: _Optional[str] = ..., epoch: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., position: _Optional[str] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., metadata_json: _Optional[bytes] = ..., readers: _Optional[int] = ..., retain: _Optional[_Union[Retain, str]] = ..., on_abandon: _Optional[str] = ..., channel: _Optional[str] = ..., pipeline: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("id", "text", "block_delta", "json", "binary", "error", "end", "position", "gap", "snapshot", "goaway", "run_start", "run_end", "step_start", "step_end", "message_start", "message_end", "block_start", "block_end", "tool_ready", "tool_result", "tool_error", "tool_approval", "usage", "state_snapshot", "state_patch", "metadata", "verdict", "retract", "native", "other")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_DELTA_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    BINARY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    GOAWAY_FIELD_NUMBER: _ClassVar[int]
    RUN_START_FIELD_NUMBER: _ClassVar[int]
    RUN_END_FIELD_NUMBER: _ClassVar[int]
    STEP_START_FIELD_NUMBER: _ClassVar[int]
    STEP_END_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_START_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_END_FIELD_NUMBER: _ClassVar[int]
    BLOCK_START_FIELD_NUMBER: _ClassVar[int]
    BLOCK_END_FIELD_NUMBER: _ClassVar[int]
    TOOL_READY_FIELD_NUMBER: _ClassVar[int]
    TOOL_RESULT_FIELD_NUMBER: _ClassVar[int]
    TOOL_ERROR_FIELD_NUMBER: _ClassVar[int]
    TOOL_APPROVAL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    STATE_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    STATE_PATCH_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    RETRACT_FIELD_NUMBER: _ClassVar[int]
    NATIVE_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    id: str
    text: Text
    block_delta: BlockDelta
    json: Json
    binary: Binary
    error: Error
    end: End
    position: Position
    gap: Gap
    snapshot: Snapshot
    goaway: Goaway
    run_start: RunStart
    run_end: RunEnd
    step_start: StepStart
    step_end: StepEnd
    message_start: MessageStart
    message_end: MessageEnd
    block_start: BlockStart
    block_end: BlockEnd
    tool_ready: ToolReady
    tool_result: ToolResult
    tool_error: ToolError
    tool_approval: ToolApproval
    usage: Usage
    state_snapshot: StateSnapshot
    state_patch: StatePatch
    metadata: Metadata
    verdict: Verdict
    retract: Retract
    native: Native
    other: Other
    def __init__(self, id: _Optional[str] = ..., text: _Optional[_Union[Text, _Mapping]] = ..., block_delta: _Optional[_Union[BlockDelta, _Mapping]] = ..., json: _Optional[_Union[Json, _Mapping]] = ..., binary: _Optional[_Union[Binary, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., end: _Optional[_Union[End, _Mapping]] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., gap: _Optional[_Union[Gap, _Mapping]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., goaway: _Optional[_Union[Goaway, _Mapping]] = ..., run_start: _Optional[_Union[RunStart, _Mapping]] = ..., run_end: _Optional[_Union[RunEnd, _Mapping]] = ..., step_start: _Optional[_Union[StepStart, _Mapping]] = ..., step_end: _Optional[_Union[StepEnd, _Mapping]] = ..., message_start: _Optional[_Union[MessageStart, _Mapping]] = ..., message_end: _Optional[_Union[MessageEnd, _Mapping]] = ..., block_start: _Optional[_Union[BlockStart, _Mapping]] = ..., block_end: _Optional[_Union[BlockEnd, _Mapping]] = ..., tool_ready: _Optional[_Union[ToolReady, _Mapping]] = ..., tool_result: _Optional[_Union[ToolResult, _Mapping]] = ..., tool_error: _Optional[_Union[ToolError, _Mapping]] = ..., tool_approval: _Optional[_Union[ToolApproval, _Mapping]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., state_snapshot: _Optional[_Union[StateSnapshot, _Mapping]] = ..., state_patch: _Optional[_Union[StatePatch, _Mapping]] = ..., metadata: _Optional[_Union[Metadata, _Mapping]] = ..., verdict: _Optional[_Union[Verdict, _Mapping]] = ..., retract: _Optional[_Union[Retract, _Mapping]] = ..., native: _Optional[_Union[Native, _Mapping]] = ..., other: _Optional[_Union[Other, _Mapping]] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: AttachOutcome
    def __init__(self, outcome: _Optional[_Union[AttachOutcome, str]] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("to",)
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    to: int
    def __init__(self, to: _Optional[int] = ..., **kwargs) -> None: ...

class Goaway(_message.Message):
    __slots__ = ("after",)
    AFTER_FIELD_NUMBER: _ClassVar[int]
    after: _duration_pb2.Duration
    def __init__(self, after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("content", "blocks", "messages", "model", "usage", "error")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    content: str
    blocks: _containers.RepeatedCompositeFieldContainer[SnapshotBlock]
    messages: _containers.RepeatedCompositeFieldContainer[SnapshotMessage]
    model: str
    usage: Usage
    error: Error
    def __init__(self, content: _Optional[str] = ..., blocks: _Optional[_Iterable[_Union[SnapshotBlock, _Mapping]]] = ..., messages: _Optional[_Iterable[_Union[SnapshotMessage, _Mapping]]] = ..., model: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class SnapshotBlock(_message.Message):
    __slots__ = ("kind", "message", "block", "choice", "name", "call_id", "text", "arguments", "partial_arguments", "value", "annotations", "logprobs", "data", "ended")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    kind: BlockKind
    message: int
    block: int
    choice: int
    name: str
    call_id: str
    text: str
    arguments: JsonValue
    partial_arguments: JsonValue
    value: JsonValue
    annotations: _containers.RepeatedCompositeFieldContainer[JsonValue]
    logprobs: _containers.RepeatedCompositeFieldContainer[JsonValue]
    data: bytes
    ended: bool
    def __init__(self, kind: _Optional[_Union[BlockKind, str]] = ..., message: _Optional[int] = ..., block: _Optional[int] = ..., choice: _Optional[int] = ..., name: _Optional[str] = ..., call_id: _Optional[str] = ..., text: _Optional[str] = ..., arguments: _Optional[_Union[JsonValue, _Mapping]] = ..., partial_arguments: _Optional[_Union[JsonValue, _Mapping]] = ..., value: _Optional[_Union[JsonValue, _Mapping]] = ..., annotations: _Optional[_Iterable[_Union[JsonValue, _Mapping]]] = ..., logprobs: _Optional[_Iterable[_Union[JsonValue, _Mapping]]] = ..., data: _Optional[bytes] = ..., ended: _Optional[bool] = ...) -> None: ...

class SnapshotMessage(_message.Message):
    __slots__ = ("role", "choice", "provider_id", "finish_reason", "provider_reason", "stop_sequence")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_REASON_FIELD_NUMBER: _ClassVar[int]
    STOP_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    role: str
    choice: int
    provider_id: str
    finish_reason: FinishReason
    provider_reason: str
    stop_sequence: str
    def __init__(self, role: _Optional[str] = ..., choice: _Optional[int] = ..., provider_id: _Optional[str] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., provider_reason: _Optional[str] = ..., stop_sequence: _Optional[str] = ...) -> None: ...

class Text(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class Json(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: JsonValue
    def __init__(self, value: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class JsonValue(_message.Message):
    __slots__ = ("value", "exact")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    value: _struct_pb2.Value
    exact: bytes
    def __init__(self, value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., exact: _Optional[bytes] = ...) -> None: ...

class Binary(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "retryable", "status", "provider")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    retryable: bool
    status: int
    provider: JsonValue
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., retryable: _Optional[bool] = ..., status: _Optional[int] = ..., provider: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class End(_message.Message):
    __slots__ = ("outcome", "error")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    error: Error
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class Other(_message.Message):
    __slots__ = ("kind", "data")
    KIND_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    kind: str
    data: JsonValue
    def __init__(self, kind: _Optional[str] = ..., data: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class RunStart(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "model", "provider", "created_s")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    CREATED_S_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    model: str
    provider: str
    created_s: float
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., model: _Optional[str] = ..., provider: _Optional[str] = ..., created_s: _Optional[float] = ...) -> None: ...

class RunEnd(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "outcome")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    outcome: Outcome
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., outcome: _Optional[_Union[Outcome, str]] = ...) -> None: ...

class StepStart(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "name")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    name: str
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., name: _Optional[str] = ...) -> None: ...

class StepEnd(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "name")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    name: str
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., name: _Optional[str] = ...) -> None: ...

class MessageStart(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "role")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    role: str
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., role: _Optional[str] = ...) -> None: ...

class MessageEnd(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "finish_reason", "provider_reason", "stop_sequence", "details")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_REASON_FIELD_NUMBER: _ClassVar[int]
    STOP_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    finish_reason: FinishReason
    provider_reason: str
    stop_sequence: str
    details: JsonValue
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., provider_reason: _Optional[str] = ..., stop_sequence: _Optional[str] = ..., details: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class BlockStart(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "of", "name", "call_id")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    OF_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    of: BlockKind
    name: str
    call_id: str
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., of: _Optional[_Union[BlockKind, str]] = ..., name: _Optional[str] = ..., call_id: _Optional[str] = ...) -> None: ...

class BlockDelta(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "text", "op", "data", "value")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    text: str
    op: DeltaOp
    data: bytes
    value: JsonValue
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., text: _Optional[str] = ..., op: _Optional[_Union[DeltaOp, str]] = ..., data: _Optional[bytes] = ..., value: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class BlockEnd(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "value")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    value: JsonValue
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., value: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class ToolReady(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "call_id", "name", "arguments", "invalid_raw")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    INVALID_RAW_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    call_id: str
    name: str
    arguments: JsonValue
    invalid_raw: str
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., call_id: _Optional[str] = ..., name: _Optional[str] = ..., arguments: _Optional[_Union[JsonValue, _Mapping]] = ..., invalid_raw: _Optional[str] = ...) -> None: ...

class ToolResult(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "call_id", "name", "result")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    call_id: str
    name: str
    result: JsonValue
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., call_id: _Optional[str] = ..., name: _Optional[str] = ..., result: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class ToolError(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "call_id", "name", "error", "details")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    call_id: str
    name: str
    error: str
    details: JsonValue
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., call_id: _Optional[str] = ..., name: _Optional[str] = ..., error: _Optional[str] = ..., details: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class ToolApproval(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "call_id", "name", "approved", "reason", "arguments")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    APPROVED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    call_id: str
    name: str
    approved: bool
    reason: str
    arguments: JsonValue
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., call_id: _Optional[str] = ..., name: _Optional[str] = ..., approved: _Optional[bool] = ..., reason: _Optional[str] = ..., arguments: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "mode", "input_tokens", "output_tokens", "total_tokens", "reasoning_tokens", "cached_tokens", "cache_write_tokens", "raw")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    mode: UsageMode
    input_tokens: int
    output_tokens: int
    total_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    raw: JsonValue
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., mode: _Optional[_Union[UsageMode, str]] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., total_tokens: _Optional[int] = ..., reasoning_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., cache_write_tokens: _Optional[int] = ..., raw: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class StateSnapshot(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "state")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    state: JsonValue
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., state: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class StatePatch(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "patch")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    patch: _containers.RepeatedCompositeFieldContainer[JsonValue]
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., patch: _Optional[_Iterable[_Union[JsonValue, _Mapping]]] = ...) -> None: ...

class Metadata(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "name", "value")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    name: str
    value: JsonValue
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., name: _Optional[str] = ..., value: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "validator", "action", "rule", "start", "end", "details")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    VALIDATOR_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    validator: str
    action: str
    rule: str
    start: int
    end: int
    details: JsonValue
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., validator: _Optional[str] = ..., action: _Optional[str] = ..., rule: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., details: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...

class Retract(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "start", "count", "replacement")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENT_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    start: int
    count: int
    replacement: str
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., start: _Optional[int] = ..., count: _Optional[int] = ..., replacement: _Optional[str] = ...) -> None: ...

class Native(_message.Message):
    __slots__ = ("run", "step", "message", "choice", "block", "provider_id", "ext", "more", "dialect", "event", "value")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    run: str
    step: str
    message: int
    choice: int
    block: int
    provider_id: str
    ext: JsonValue
    more: bool
    dialect: str
    event: str
    value: JsonValue
    def __init__(self, run: _Optional[str] = ..., step: _Optional[str] = ..., message: _Optional[int] = ..., choice: _Optional[int] = ..., block: _Optional[int] = ..., provider_id: _Optional[str] = ..., ext: _Optional[_Union[JsonValue, _Mapping]] = ..., more: _Optional[bool] = ..., dialect: _Optional[str] = ..., event: _Optional[str] = ..., value: _Optional[_Union[JsonValue, _Mapping]] = ...) -> None: ...
