"""Writes Anthropic Messages streams (API reference, "Streaming Messages").

Events that were read from this dialect carry what their frame said besides (see `anthropic.frames`), and become
that frame again. All others make frames of our own, as one message: an agent's run has several, and a client of this
dialect reads one. Blocks follow one another; only tool calls that their source keeps open at the same time overlap.
`message_stop`, our own or the source's, waits for the log's end record, so that a failed stream never has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, Outcome, StreamChunk, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Event,
    MessageEnd,
    MessageStart,
    Native,
    RunStart,
    ToolReady,
    Usage,
)
from patinox.formats.anthropic.frames import (
    CALLS,
    DELTAS,
    DIALECT,
    STATUSES,
    WORDS,
    citation,
    head,
)
from patinox.formats.anthropic.joints import CALL_OPS, counted, grown, join, message_stop, native, stopped
from patinox.formats.anthropic.state import (
    AnthropicState,
    MessageState,
    Plain,
    Slot,
    Written,
    begin,
    block_start,
    close,
    drop,
    find,
    frame,
    message_delta,
    message_start,
    open_block,
    put,
    release,
    replace,
    slot_of,
    stop_frame,
)
from patinox.formats.base import Frame, StreamHead, new_frame
from patinox.formats.losses import refuses_in_words
from patinox.incremental.assembler import Assembly

_encode = msgspec.json.Encoder().encode

_DELTA = "content_block_delta"
_FAILURES = {
    Outcome.CANCELLED: "the answer was cancelled",
    Outcome.INTERRUPTED: "the answer broke off",
    Outcome.FAILED: "the answer failed",
}


class AnthropicWriter:
    """The fold. It has no state of its own."""

    def initial(self, head: StreamHead) -> AnthropicState:
        """The model is told by the run, else by the stream's metadata, else it is ours."""
        model = head.metadata.get("model")
        model = model if isinstance(model, str) and model else "patinox"
        return AnthropicState(MessageState(stream=head.id, id=f"msg_{head.id}", model=model))

    def write(
        self, state: AnthropicState, chunk: StreamChunk, assembly: Assembly
    ) -> tuple[AnthropicState, Sequence[Frame]]:
        """The frames of one record; none for what the dialect has no word for."""
        data = chunk.data
        kind = type(data)
        if kind is Text:
            data, kind = BlockDelta(text=data.text), BlockDelta
        if kind is BlockDelta and data.ext is None:
            before = state.message
            plain = before.plain
            if (  # one more delta of the block that the last one was of, with nothing special about it
                plain is not None
                and plain.block == data.block
                and plain.message == data.message
                and plain.op == data.op
                and before.joint is None
            ):
                made = new_frame((plain.before + _encode(data.text) + plain.after, _DELTA, False))
                if plain.op in CALL_OPS:
                    state = AnthropicState(before, state.grown + len(data.text))
                return state, (made,)
        message, frames = _written(_settled(state), data, assembly)
        return AnthropicState(message), frames

    def openers(self, state: AnthropicState, assembly: Assembly) -> Sequence[Frame]:
        """The message, an empty block for each that is over, and the open blocks.

        Clients count blocks, so those that are over have to be there. A call that is under way comes with the
        arguments it had, as half of them would be no JSON.
        """
        return _openers(_settled(state), assembly)


def _openers(state: MessageState, assembly: Assembly) -> Sequence[Frame]:
    if state.joint is not None and state.joint.before is not None:  # half a frame has opened nothing yet
        state = state.joint.before
    if not state.begun:
        return ()
    opened = {slot.index: slot for slot in state.slots if slot.index >= 0}
    frames = [message_start(state)]
    for index in range(state.blocks):
        slot = opened.get(index)
        empty = slot is None or head(slot.of, None, None) is None
        frames.append(block_start(state, Slot(0, None, "text") if slot is None or empty else slot, index))
        if slot is None:
            frames.append(stop_frame(index))
        elif slot.said and (block := assembly.block(slot.message, slot.block)) is not None:
            frames.append(_delta_frame(index, "input_json_delta", "partial_json", block.text[: slot.said]))
    return frames


def _settled(state: AnthropicState) -> MessageState:
    """All that is remembered, in one."""
    message = state.message
    if not state.grown or message.plain is None:
        return message
    return grown(message, message.plain, state.grown)


def _written(state: MessageState, data: Any, assembly: Assembly) -> Written:
    if type(data) is End or type(data) is Error:
        return _end(state, data)
    if not isinstance(data, Event) or data.choice:
        return state, ()
    return _event(state, data, assembly)


def _event(state: MessageState, data: Event, assembly: Assembly) -> Written:
    frames: Sequence[Frame] = ()
    if state.unstopped >= 0 and not _belongs(state, data):
        state, frames = release(state)
        if state.joint is not None and state.joint.before is not None:
            state = replace(state, joint=replace(state.joint, before=release(state.joint.before)[0]))
    if state.joint is not None or (data.ext is not None and DIALECT in data.ext):
        state, more = join(state, data)
    else:
        write = _OWN.get(type(data))
        state, more = (state, ()) if write is None else write(state, data, assembly)
    return state, (*frames, *more) if frames else more


def _belongs(state: MessageState, data: Event) -> bool:
    """Whether the arguments of the call that waits for its end are in this event."""
    slot = find(state, data) if type(data) is ToolReady else None
    return slot is not None and slot.index == state.unstopped


# frames of our own


def _own_run_start(state: MessageState, data: RunStart, _assembly: Assembly) -> Written:
    return replace(state, model=data.model or state.model), ()


def _own_message_start(state: MessageState, data: MessageStart, _assembly: Assembly) -> Written:
    if data.role != "assistant":
        return replace(state, muted=(*state.muted, data.message)), ()
    frames: Sequence[Frame] = ()
    if state.told or state.stop is not None:  # a message of the source's own came before
        state, frames = stopped(state)
    state, more = begin(replace(state, reason=None, stop_sequence=None))
    return state, (*frames, *more)


def _own_block_start(state: MessageState, data: BlockStart, _assembly: Assembly) -> Written:
    if data.of == "custom" and data.call_id:  # its input is text: all of it is one argument
        data = replace(data, of="tool_call")
    slot = slot_of(data)
    if data.message in state.muted:
        return put(state, replace(slot, of="muted")), ()
    if head(data.of, None, None) is None:
        return put(state, slot), ()
    return open_block(state, slot)


def _own_delta(state: MessageState, data: BlockDelta, _assembly: Assembly) -> Written:
    """Remembers the bytes around the text, so that the next delta of the block need not be built."""
    slot = find(state, data)
    if slot is None:
        if data.op != "text.append" or data.message in state.muted:
            return state, ()
        slot = Slot(data.message, data.block, "text")
        state = put(state, slot)
    if slot.of == "reasoning_opaque" and data.op == "opaque.set" and isinstance(data.value, str):
        return _redacted(state, slot, data.value)
    kind, key = DELTAS.get((slot.of, data.op), ("", ""))
    value = _value(data)
    if not kind or value is None:
        return state, ()
    frames: Sequence[Frame] = ()
    if slot.index < 0:
        state, frames = open_block(state, slot, slot)
        slot = find(state, data) or slot
    if data.op in CALL_OPS:
        state = grown(state, data, len(data.text))
    if data.op in CALL_OPS or data.op == "text.append":
        before, after = _around(slot.index, kind, key)
        state = replace(state, plain=Plain(data.message, data.block, data.op, before, after))
        return state, (*frames, new_frame((before + _encode(value) + after, _DELTA, False)))
    return state, (*frames, _delta_frame(slot.index, kind, key, value))


def _value(data: BlockDelta) -> Any:
    if data.op == "annotation.add":
        return citation(data.value)
    if data.op == "opaque.set":
        return data.value if isinstance(data.value, str) else None
    return data.text


def _redacted(state: MessageState, slot: Slot, value: str) -> Written:
    """Thinking that cannot be read has no deltas: its block begins with all of it."""
    if slot.index >= 0:
        return state, ()
    state, begun = begin(state)
    state, closed = close(state, calls=False)
    index = state.blocks
    body = {
        "type": "content_block_start",
        "index": index,
        "content_block": {"type": "redacted_thinking", "data": value},
    }
    state = put(replace(state, blocks=index + 1), replace(slot, index=index), slot)
    return state, (*begun, *closed, frame(body))


def _around(index: int, kind: str, key: str) -> tuple[bytes, bytes]:
    before = f'{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{key}":'
    return before.encode(), b"}}"


def _delta_frame(index: int, kind: str, key: str, value: Any) -> Frame:
    before, after = _around(index, kind, key)
    return Frame(before + _encode(value) + after, _DELTA)


def _own_block_end(state: MessageState, data: BlockEnd, _assembly: Assembly) -> Written:
    """A call that has had no arguments waits: they may come in one piece with `tool.ready`."""
    slot = find(state, data)
    if slot is None:
        return state, ()
    if slot.index >= 0 and slot.of in CALLS and not slot.said:
        return replace(state, unstopped=slot.index, plain=None), ()
    return drop(state, slot), (stop_frame(slot.index),) if slot.index >= 0 else ()


def _own_tool_ready(state: MessageState, data: ToolReady, _assembly: Assembly) -> Written:
    """The arguments of a call whose source gave them in one piece."""
    slot = find(state, data)
    if slot is None or slot.index < 0 or slot.of not in CALLS:
        return state, ()
    frames = []
    arguments = {"input": data.arguments} if isinstance(data.arguments, str) else data.arguments
    text = data.invalid_raw or (_encode(arguments).decode() if arguments else "")
    if text and not slot.said:
        frames.append(_delta_frame(slot.index, "input_json_delta", "partial_json", text))
    if state.unstopped == slot.index:
        return drop(replace(state, unstopped=-1), slot), (*frames, stop_frame(slot.index))
    return put(state, replace(slot, said=slot.said or len(text)), slot), frames


def _own_message_end(state: MessageState, data: MessageEnd, assembly: Assembly) -> Written:
    if data.message in state.muted:
        slots = tuple(slot for slot in state.slots if slot.message != data.message or slot.of != "muted")
        return replace(state, slots=slots, muted=tuple(item for item in state.muted if item != data.message)), ()
    state, frames = close(state)
    word = None if data.finish_reason is None else WORDS.get(data.finish_reason, "end_turn")
    if data.stop_sequence is not None:
        word = "stop_sequence"
    elif refuses_in_words(data, assembly):
        word = "refusal"
    slots = tuple(slot for slot in state.slots if slot.message != data.message)
    return replace(state, slots=slots, reason=word, stop_sequence=data.stop_sequence, plain=None), frames


def _own_usage(state: MessageState, data: Usage, _assembly: Assembly) -> Written:
    """Held for the end: it is said in `message_delta`."""
    state = counted(state, data)
    return replace(state, owed=bool(state.usage)), ()


def _own_native(state: MessageState, data: Native, _assembly: Assembly) -> Written:
    return native(state, data) if data.dialect == DIALECT else (state, ())


_OWN: dict[type[Event], Callable[[MessageState, Any, Assembly], Written]] = {
    RunStart: _own_run_start,
    MessageStart: _own_message_start,
    BlockStart: _own_block_start,
    BlockDelta: _own_delta,
    BlockEnd: _own_block_end,
    ToolReady: _own_tool_ready,
    MessageEnd: _own_message_end,
    Usage: _own_usage,
    Native: _own_native,
}


# endings


def _end(state: MessageState, data: End | Error) -> Written:
    if isinstance(data, Error) or data.outcome in _FAILURES:
        state, told = _counted(replace(state, joint=None))
        return state, (*told, _failure(data))
    state, frames = release(state)
    if state.stop is not None:
        return state, (*frames, message_stop(state))
    state, begun = begin(state)
    state, closed = close(state)
    frames = (*frames, *begun, *closed)
    if not state.told:
        word = "max_tokens" if data.outcome is Outcome.INCOMPLETE else "end_turn"
        frames = (*frames, message_delta(state, state.reason or word, state.stop_sequence))
    return state, (*frames, message_stop(state))


def _counted(state: MessageState) -> Written:
    """The usage that is held, before an error: what was counted was paid for. It gives no reason to stop."""
    if not state.owed:
        return state, ()
    if not state.begun:
        return begin(state)  # whose frame tells it
    return replace(state, owed=False), (message_delta(state, None),)


def _failure(data: End | Error) -> Frame:
    error = data if isinstance(data, Error) else data.error
    outcome = data.outcome if isinstance(data, End) else Outcome.FAILED
    provider = error.provider if error is not None else None
    if isinstance(provider, dict) and isinstance(provider.get("error"), dict):
        inner = provider["error"]
        if provider.get("type") == "error" and isinstance(inner.get("type"), str):
            return frame(provider, "error")
    message = error.message if error is not None else _FAILURES[outcome]
    return frame({"type": "error", "error": {"type": _error_type(error), "message": message}})


def _error_type(error: Error | None) -> str:
    """The dialect's type of an error: its own, or that of its HTTP status."""
    if error is None:
        return "api_error"
    if error.code in STATUSES:
        return error.code
    known = {status: kind for kind, status in STATUSES.items()}
    return known.get(error.status or 500, "api_error" if (error.status or 500) >= 500 else "invalid_request_error")
