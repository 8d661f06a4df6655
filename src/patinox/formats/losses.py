"""What a dialect cannot carry: how it is declared, and how it is counted in a stream.

A dialect declares its losses as data beside its `Format`: a *key* of what is lost, or told in other words, and why.
The keys are the words of the neutral events (docs/reference/dialects):

    json, step.start, tool.result, native, …        an event of this kind
    block.start:image, block.delta:annotation.add   a block of this kind, a delta of this op
    message.end:stop_sequence, usage:raw, …         this field of an event
    choice, provider_id, ext                        a field that any event may have
    error, end:interrupted, …                       how the stream ended

What hangs on something that is lost is lost with it, and not declared again: the deltas of a block, say. `ext`, what
a source's frames said besides, is lost on the way to any other dialect, and `native` frames of other dialects too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from patinox.core.chunks import Binary, End, Error, Json, Text
from patinox.core.events import TEXT_APPEND, BlockDelta, BlockStart, Event, MessageEnd, Native, Usage
from patinox.incremental.assembler import Assembly

_SHARED = ("choice", "provider_id", "ext")
_OWN = set(Event.__struct_fields__)


TELLS = frozenset(
    {
        "block.delta:json.append", "block.start:reasoning", "block.start:tool_call", "end:complete", "end:incomplete",
        "end:interrupted", "error", "ext", "message.end:finish_reason", "message.end:provider_reason", "message.start",
        "message.start:role", "native", "run.start:model", "tool.ready:invalid_raw", "usage:input_tokens",
        "usage:output_tokens", "usage:raw",
    }
)  # fmt: skip
"""What the reader of every dialect of a model's API can give; each adds its own."""

When = Callable[[Any, Assembly], bool]
"""Whether one record is lost, given it and the answer so far."""


class Loss(NamedTuple):
    """Why a key is lost. `when` says for which records; without it, for all that have the key.

    `is_late`: that shows only when the stream is over.
    """

    why: str
    when: When | None = None
    is_late: bool = False


Losses = Mapping[str, Loss]

FOREIGN_EXT = Loss("what the source's frames said besides, which has no neutral name")
"""Lost between any two dialects."""

ONE_CALL: Losses = {
    "json": Loss("the dialect has no place for an application's own data"),
    "binary": Loss("the dialect has no place for an application's own data"),
    "step.start": Loss("the dialect tells one model call, without steps"),
    "step.end": Loss("the dialect tells one model call, without steps"),
    "state.snapshot": Loss("the dialect has no application state"),
    "state.patch": Loss("the dialect has no application state"),
    "metadata": Loss("the dialect has no place for an application's own data"),
    "verdict": Loss("the dialect has no word for what a validator found"),
    "retract": Loss("what was sent cannot be taken back"),
    "block.delta:replace": Loss("what was sent cannot be taken back"),
    "block.delta:json.patch": Loss("argument text only grows; it is told whole when the call is ready"),
    "tool.result": Loss("results of tools are input of the next call, not output of this one"),
    "tool.error": Loss("results of tools are input of the next call, not output of this one"),
    "tool.approval": Loss("the dialect does not ask for approval"),
    "native": Loss("a frame of another dialect that has no neutral name"),
    "provider_id": Loss("ids are made of the stream's own; a tool call keeps its id"),
    "message.start": Loss("several messages of a run are told as one", lambda data, _: data.message > 0),
    "message.start:role": Loss(
        "what others than the assistant say is left out", lambda data, _: data.role != "assistant"
    ),
    "message.end:provider_reason": Loss("the provider's own word for the reason; its meaning is told"),
    "message.end:details": Loss("the dialect has no details of why a message ended"),
    "usage:raw": Loss("the provider's own object; the counts are told under the dialect's names"),
}
"""What no dialect of a model's API carries: they tell one call of one model. Each adds its own to these."""


def block_is(*kinds: str) -> When:
    """Whether the record belongs to a block of one of these kinds."""
    return lambda data, assembly: _kind(data, assembly) in kinds


def block_is_not(*kinds: str) -> When:
    """Whether the record belongs to a block of another kind."""
    return lambda data, assembly: _kind(data, assembly) not in kinds


def has_no_object(data: BlockStart, assembly: Assembly) -> bool:
    """Whether the call never was made ready, or its arguments are no JSON object. To be asked when it is over."""
    block = assembly.block(data.message, data.block)
    return block is not None and not (block.ready and isinstance(block.arguments, dict | str))


def has_broken_calls(_data: Any, assembly: Assembly) -> bool:
    """Whether a call of the stream was made ready whose arguments are no JSON object."""
    calls = [block for block in assembly.blocks.values() if block.kind == "tool_call" and block.ready]
    return any(not isinstance(block.arguments, dict | str) for block in calls)


def has_cut_calls(_data: Any, assembly: Assembly) -> bool:
    """Whether a call of the stream never was made ready."""
    return any(block.kind == "tool_call" and not block.ready for block in assembly.blocks.values())


def is_withheld(data: MessageEnd, assembly: Assembly) -> bool:
    """Whether the rest of a message was withheld: by a filter, or refused without a word of the model's own."""
    return _withheld(data.finish_reason, data.message, assembly)


def _withheld(reason: str | None, message: int, assembly: Assembly) -> bool:
    return reason in ("content_filter", "refusal") and not assembly.is_refused(message)


def was_withheld(_data: Any, assembly: Assembly) -> bool:
    """Whether that is how the last message ended that was told."""
    ends = [
        (number, m.finish_reason) for number, m in assembly.messages.items() if m.role == "assistant" and not m.choice
    ]
    return bool(ends) and _withheld(ends[-1][1], ends[-1][0], assembly)


def refuses_in_words(data: MessageEnd, assembly: Assembly) -> bool:
    """Whether a message is a refusal that its source ended as an ordinary answer."""
    return data.finish_reason == "stop" and assembly.is_refused(data.message)


def word_differs(words: Mapping[str, str]) -> When:
    """Whether the provider's word for the reason is not the dialect's own."""
    return lambda data, _: words.get(data.finish_reason or "") != data.provider_reason


def output_differs(told: Callable[[dict[str, Any]], Usage]) -> When:
    """Whether the count of output is read as another, where `told` reads usage as the dialect writes it.

    To be asked when the stream is over.
    """

    def is_lost(_data: Any, assembly: Assembly) -> bool:
        counts = assembly.usage or {}
        return told(counts).output_tokens != counts.get("output_tokens")

    return is_lost


def either(*conditions: When) -> When:
    """Whether one of several conditions holds."""
    return lambda data, assembly: any(condition(data, assembly) for condition in conditions)


def reason_is(*reasons: str) -> When:
    """Whether a message ended for one of these reasons."""
    return lambda data, _: data.finish_reason in reasons


def reason_is_not_told(*reasons: str) -> When:
    """Whether a message ended for one of these reasons, or for one that the calls in it do not tell.

    For dialects that have no word for `tool_calls`: what ends with `stop` and has calls ended for them.
    """

    def is_lost(data: Any, assembly: Assembly) -> bool:
        has_calls = any(block.kind in ("tool_call", "custom") for block in assembly.blocks.values())
        return data.finish_reason in reasons or data.finish_reason == ("stop" if has_calls else "tool_calls")

    return is_lost


def is_followed(data: Any, assembly: Assembly) -> bool:
    """Whether another message came after the record's. To be asked when the stream is over."""
    return any(message > data.message for message in assembly.messages)


def comes_late(data: Any, assembly: Assembly) -> bool:
    """Whether the record's block was over before it."""
    block = assembly.block(data.message, data.block)
    return block is not None and block.ended


def _kind(data: Event, assembly: Assembly) -> str:
    block = assembly.block(data.message, data.block)
    return "text" if block is None else block.kind


def keys(data: Any) -> Iterator[str]:
    """The keys of one record: what of it a dialect may have declared as lost."""
    kind: str = data.kind
    if isinstance(data, End):
        yield f"end:{data.outcome}"
        return
    yield kind
    if isinstance(data, Text | Json | Binary | Error):
        return
    if isinstance(data, BlockDelta):
        yield f"{kind}:{data.op}"
    elif isinstance(data, BlockStart):
        yield f"{kind}:{data.of}"
        yield from (f"{kind}:{field}" for field in ("name", "call_id") if getattr(data, field) is not None)
    else:
        yield from (f"{kind}:{field}" for field in _own_fields(data) if getattr(data, field) not in (None, "", []))
    yield from (field for field in _SHARED if getattr(data, field))


def _own_fields(data: Event) -> Iterator[str]:
    return (field for field in data.__struct_fields__ if field not in _OWN)


class LossCounter:
    """Counts what is lost of a stream on its way into a dialect. `assembly` is the stream's own."""

    def __init__(self, target: str, losses: Losses, assembly: Assembly) -> None:
        self.counts: dict[str, int] = {}
        self._target = target
        self._losses = {"ext": FOREIGN_EXT, **losses}
        self._assembly = assembly
        self._is_text_whole = not losses.keys() & {"block.delta", f"block.delta:{TEXT_APPEND}"}
        self._late: list[tuple[str, When, Any]] = []

    def count(self, data: Any) -> None:
        """Takes the next record, which the assembly has."""
        if self._is_text_whole and type(data) is BlockDelta and data.op == TEXT_APPEND and not data.ext:
            return
        for key in keys(data):
            loss = self._losses.get(key)
            if loss is None:
                continue
            if loss.is_late and loss.when is not None:
                self._late.append((key, loss.when, data))
            elif self._is_lost(key, loss, data):
                self._add(key)

    def finish(self) -> None:
        """The stream is over."""
        for key, when, data in self._late:
            if when(data, self._assembly):
                self._add(key)
        self._late.clear()

    def why(self, key: str) -> str:
        """The declared reason."""
        return self._losses[key].why

    def _add(self, key: str) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1

    def _is_lost(self, key: str, loss: Loss, data: Any) -> bool:
        if key == "ext":
            return any(dialect != self._target and said for dialect, said in data.ext.items())
        if key == "native" and isinstance(data, Native) and data.dialect == self._target:
            return False
        return loss.when is None or loss.when(data, self._assembly)
