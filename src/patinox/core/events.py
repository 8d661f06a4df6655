"""The neutral events: what a model's or an agent's run means, whatever dialect it was told in.

Every event may carry where it belongs (`message`, `choice`, `block`), the provider's own id (`provider_id`) and
`ext`, the part of the source's frame that has no neutral name, kept under the dialect's name so that the same
dialect can write the frame again. `more` says that the source's frame goes on in the next record.

Numbering: `message` is the ordinal of a message in its run (each alternative of an `n > 1` request is a message of
its own, with its `choice`); `block` is unique within its message. A hot event, a text delta, is two short fields:
`{"text": "Hel", "block": 0}` with `op` left at its default.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec

from patinox.core.chunks import Outcome

BlockKind = Literal[
    "text", "reasoning", "reasoning_summary", "reasoning_opaque", "refusal", "tool_call", "server_tool_call",
    "tool_result", "code", "audio", "image", "file", "source", "compaction", "custom",
]  # fmt: skip
DeltaOp = Literal[
    "text.append", "json.append", "json.patch", "bytes.append", "opaque.append", "opaque.set",
    "annotation.add", "logprobs.add", "replace",
]  # fmt: skip
TEXT_APPEND: DeltaOp = "text.append"
"""The default of `BlockDelta.op`: this very object, since a field at its default is left out by identity."""
Ordinal = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "pause", "error", "other"]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every neutral event may carry."""

    kind: ClassVar[str] = "event"
    run: str | None = None
    step: str | None = None
    message: Ordinal = 0
    choice: Ordinal = 0
    block: Ordinal | None = None
    provider_id: str | None = None
    ext: dict[str, Any] | None = None
    more: bool = False


class RunStart(Event, frozen=True):
    """A run begins: one answer of a model, or one run of an agent. `created_s` is the provider's Unix time."""

    kind: ClassVar[str] = "run.start"
    model: str | None = None
    provider: str | None = None
    created_s: float | None = None


class RunEnd(Event, frozen=True):
    """The run is over, as its source tells it. Content: a dialect closes on the log's end record, not on this."""

    kind: ClassVar[str] = "run.end"
    outcome: Outcome = Outcome.COMPLETE


class StepStart(Event, frozen=True):
    """One model call or tool round of an agent's run begins."""

    kind: ClassVar[str] = "step.start"
    name: str | None = None


class StepEnd(Event, frozen=True):
    """A step is over."""

    kind: ClassVar[str] = "step.end"
    name: str | None = None


class MessageStart(Event, frozen=True):
    """A message begins."""

    kind: ClassVar[str] = "message.start"
    role: str = "assistant"


class MessageEnd(Event, frozen=True):
    """A message is over: the neutral reason, and the provider's own word and details."""

    kind: ClassVar[str] = "message.end"
    finish_reason: FinishReason | None = None
    provider_reason: str | None = None
    stop_sequence: str | None = None
    details: Any = None


class BlockStart(Event, frozen=True):
    """A block of content begins. `of` is its kind; `name` and `call_id` are a tool call's."""

    kind: ClassVar[str] = "block.start"
    of: BlockKind = "text"
    name: str | None = None
    call_id: str | None = None


class BlockDelta(Event, frozen=True):
    """A block grows.

    `op` says how: `text.append` and `json.append` (argument text) use `text`; `bytes.append` uses `data`;
    the others use `value`.

    The value of `annotation.add` is `{"type": "url_citation", "url", "title"?, "start_index"?, "end_index"?,
    "cited_text"?, …}` for a page of the web, flat, the indices in characters of the block's text; one of any other
    type is a provider's own object (a page of a document, grounding metadata), kept as it came.
    `logprobs.add` has `{"content": [{"token", "logprob", …}]}`, `opaque.set` a string where it is a signature.
    """

    kind: ClassVar[str] = "block.delta"
    text: str = ""
    op: DeltaOp = TEXT_APPEND
    data: bytes = b""
    value: Any = None


class BlockEnd(Event, frozen=True):
    """A block is over. `value`, where given, is the final value, checked against what was accumulated."""

    kind: ClassVar[str] = "block.end"
    value: Any = None


class ToolReady(Event, frozen=True):
    """A tool call can be carried out: its parsed `arguments`, or `invalid_raw`. Never for a call that was cut off."""

    kind: ClassVar[str] = "tool.ready"
    call_id: str | None = None
    name: str | None = None
    arguments: Any = None
    invalid_raw: str | None = None


class ToolResult(Event, frozen=True):
    """What a tool answered."""

    kind: ClassVar[str] = "tool.result"
    call_id: str | None = None
    name: str | None = None
    result: Any = None


class ToolError(Event, frozen=True):
    """A tool failed."""

    kind: ClassVar[str] = "tool.error"
    call_id: str | None = None
    name: str | None = None
    error: str = ""
    details: Any = None


class ToolApproval(Event, frozen=True):
    """A tool call waits for somebody's yes."""

    kind: ClassVar[str] = "tool.approval"
    call_id: str | None = None
    name: str | None = None
    approved: bool | None = None
    reason: str | None = None
    arguments: Any = None


class Usage(Event, frozen=True):
    """Token counts. `mode` says how they add up; `raw` keeps the provider's own object.

    `delta` is added to what was; `cumulative` and `final` replace it. Absent counts are unknown, never zero.
    """

    kind: ClassVar[str] = "usage"
    mode: Literal["delta", "cumulative", "final"] = "final"
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    raw: Any = None


class StateSnapshot(Event, frozen=True):
    """The application's whole state."""

    kind: ClassVar[str] = "state.snapshot"
    state: Any = None


class StatePatch(Event, frozen=True):
    """A change of the application's state: a JSON Patch (RFC 6902)."""

    kind: ClassVar[str] = "state.patch"
    patch: list[Any] = []


class Metadata(Event, frozen=True):
    """Data of the application's own that goes with the run. `name` tells one kind from another."""

    kind: ClassVar[str] = "metadata"
    name: str | None = None
    value: Any = None


class Verdict(Event, frozen=True):
    """What a validator found and did. Never contains what it withheld."""

    kind: ClassVar[str] = "verdict"
    validator: str = ""
    action: str = ""
    rule: str | None = None
    start: int | None = None
    end: int | None = None
    details: Any = None


class Retract(Event, frozen=True):
    """A reader must take back `count` characters from `start` of a block and show `replacement` instead."""

    kind: ClassVar[str] = "retract"
    start: int = 0
    count: int = 0
    replacement: str = ""


class Native(Event, frozen=True):
    """A frame of a dialect that has no neutral name, kept whole for the way back into the same dialect."""

    kind: ClassVar[str] = "native"
    dialect: str = ""
    event: str = ""
    value: Any = None

    @property
    def is_malformed(self) -> bool:
        """Whether this is text that its dialect does not allow: it was kept, but could not be read."""
        frame = (self.ext or {}).get(self.dialect)
        return isinstance(frame, dict) and bool(frame.get("raw"))


EVENTS: tuple[type[Event], ...] = (
    RunStart, RunEnd, StepStart, StepEnd, MessageStart, MessageEnd, BlockStart, BlockDelta, BlockEnd, ToolReady,
    ToolResult, ToolError, ToolApproval, Usage, StateSnapshot, StatePatch, Metadata, Verdict, Retract, Native,
)  # fmt: skip
