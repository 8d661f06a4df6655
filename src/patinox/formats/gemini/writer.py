"""Writes Gemini streams (`streamGenerateContent?alt=sse`).

Events that were read from this dialect carry what their frame looked like (see `gemini.frames`), and become that
frame again. All others make frames of our own: a part each, the finish reason and the usage in the last. A call is
written when it is ready, whole, as clients of the Gemini API know no pieces of one. The stream ends with its bytes:
a failed one with an error, and without a finish reason of our own.
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
from patinox.formats.base import Frame, StreamHead
from patinox.formats.gemini.extras import EXTRAS, TEXTS, THOUGHTS, begun
from patinox.formats.gemini.frames import (
    DIALECT,
    STATUSES,
    USAGE,
    WORDS,
    write_usage,
)
from patinox.formats.gemini.joints import (
    HOLE_TEXT,
    first,
    join,
    last_shape,
    like_the_last,
    line_name,
    plainly,
    templated,
    unpend,
)
from patinox.formats.gemini.state import (
    Alternative,
    GeminiState,
    Written,
    body,
    candidate,
    forget,
    frame,
    place,
    replace,
    track,
    with_choice,
)
from patinox.formats.losses import refuses_in_words
from patinox.incremental.assembler import Assembly

_encode = msgspec.json.Encoder().encode

_COUNTS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "reasoning_tokens",
    "cached_tokens",
)
_MALFORMED = "MALFORMED_FUNCTION_CALL"
_FAILURES = {
    Outcome.CANCELLED: (499, "the answer was cancelled"),
    Outcome.INTERRUPTED: (503, "the answer broke off"),
    Outcome.FAILED: (500, "the answer failed"),
}


class GeminiWriter:
    """The fold. It has no state of its own."""

    def initial(self, head: StreamHead) -> GeminiState:
        """The model is told by the run, else by the stream's metadata, else it is ours."""
        model = head.metadata.get("model")
        return GeminiState(id=head.id, model=model if isinstance(model, str) and model else "patinox")

    def write(self, state: GeminiState, chunk: StreamChunk, assembly: Assembly) -> Written:
        """The frames of one record; none for what the dialect has no word for."""
        data = chunk.data
        kind = type(data)
        if kind is Text:
            data, kind = BlockDelta(text=data.text), BlockDelta
        plain = state.plain
        if plain is not None and kind is BlockDelta and state.joint is None and state.pending is None:
            if plain.block == data.block and plain.message == data.message and plain.op == data.op and not data.ext:
                if data.more and plain.used:
                    return replace(state, pending=data.text), ()
                return state, (plainly(plain, data.text, state.used),)
        elif kind is Usage and state.pending is not None and plain is not None and data.ext is None and not data.more:
            return replace(state, pending=None, used=data.raw), (plainly(plain, state.pending, data.raw),)
        if kind is End or kind is Error:
            return _end(state, data)
        if not isinstance(data, Event):
            return state, ()
        return _event(state, data, assembly)

    def openers(self, state: GeminiState, assembly: Assembly) -> Sequence[Frame]:
        """Every frame says all that a client must know, so there are none."""
        return ()


def _event(state: GeminiState, data: Event, assembly: Assembly) -> Written:
    if state.pending is not None:
        state = unpend(state)
    if state.joint is not None or (data.ext is not None and DIALECT in data.ext):
        return join(state, data)
    if type(data) is BlockDelta:
        if data.more and (shape := last_shape(state, data)) is not None:
            return first(state, data, shape)
        return _delta(state, data, assembly)
    write = _OWN.get(type(data))
    return (state, ()) if write is None else write(state, data, assembly)


# deltas


def _delta(state: GeminiState, data: BlockDelta, assembly: Assembly) -> Written:
    """Remembers the bytes around a text, so that the next delta of the block need not be built."""
    shape = last_shape(state, data)
    if shape is not None:
        return like_the_last(state, data, shape)
    block = state.blocks.get(place(data))
    of = "text" if block is None else block.of
    if block is None and (data.op != "text.append" or data.message in state.muted):
        return state, ()
    if data.op == "text.append" and of in TEXTS:
        state = begun(state, data.choice)
        part: dict[str, Any] = {"text": HOLE_TEXT}
        if of in THOUGHTS:
            part["thought"] = True
        return templated(state, data, body(state, [candidate(data.choice, part)]))
    write = EXTRAS.get(data.op)
    return (state, ()) if write is None or block is None else write(state, data, block)


# other frames of our own


def _own_run_start(state: GeminiState, data: RunStart, _assembly: Assembly) -> Written:
    return replace(state, model=data.model or state.model, plain=None), ()


def _own_message_start(state: GeminiState, data: MessageStart, _assembly: Assembly) -> Written:
    state = track(state, data)
    choice = state.choices.get(data.choice)
    if choice is not None and choice.held and data.role == "assistant":  # an agent's next message
        state = with_choice(state, data.choice, Alternative())
    return state, ()


def _own_block_start(state: GeminiState, data: BlockStart, _assembly: Assembly) -> Written:
    if data.of == "custom" and data.call_id:  # its input is text: all of it is one argument
        data = replace(data, of="tool_call")
    return replace(track(state, data), plain=None), ()


def _own_block_end(state: GeminiState, data: BlockEnd, assembly: Assembly) -> Written:
    """A piece of code is written when it is whole."""
    block = state.blocks.get(place(data))
    state = track(state, data)
    if block is None or block.of != "code":
        return state, ()
    whole = assembly.block(data.message, data.block)
    if whole is None or not whole.text:
        return state, ()
    language = "PYTHON" if (block.name or "").upper() == "PYTHON" else "LANGUAGE_UNSPECIFIED"
    state = begun(state, data.choice)
    return state, (frame(state, data.choice, {"executableCode": {"language": language, "code": whole.text}}),)


def _own_tool_ready(state: GeminiState, data: ToolReady, _assembly: Assembly) -> Written:
    """The whole call. Arguments that are no object are the dialect's own malformed call."""
    block = state.blocks.get(place(data))
    if block is None or block.of != "tool_call":
        return state, ()
    state = forget(begun(state, data.choice), data)
    arguments = {} if data.arguments is None else data.arguments
    if isinstance(arguments, str) and data.invalid_raw is None:  # a custom tool's input
        arguments = {"input": arguments}
    if data.invalid_raw is not None or not isinstance(arguments, dict):
        raw = data.invalid_raw if data.invalid_raw is not None else _encode(arguments).decode()
        message = f"{block.name or 'a call'}: the arguments are no JSON object: {raw}"
        return with_choice(state, data.choice, Alternative(held=_MALFORMED, details=message)), ()
    call: dict[str, Any] = {"name": block.name or data.name or "", "args": arguments}
    if call_id := block.call_id or data.call_id:
        call["id"] = call_id
    part = {"functionCall": call} | ({"thoughtSignature": block.signature} if block.signature else {})
    return state, (frame(state, data.choice, part),)


def _own_message_end(state: GeminiState, data: MessageEnd, assembly: Assembly) -> Written:
    muted = data.message in state.muted
    state = track(state, data)
    choice = state.choices.get(data.choice, Alternative())
    if muted or choice.ended or data.finish_reason is None or choice.held == _MALFORMED:
        return state, ()
    reason = "refusal" if refuses_in_words(data, assembly) else data.finish_reason
    return with_choice(state, data.choice, Alternative(held=WORDS.get(reason, "OTHER"))), ()


def _own_usage(state: GeminiState, data: Usage, _assembly: Assembly) -> Written:
    """Held for the end: the last frame says it."""
    counts = {field: value for field in _COUNTS if (value := getattr(data, field)) is not None}
    before = state.usage
    if data.mode == "delta":
        counts = {field: before.get(field, 0) + count for field, count in counts.items()}
    return replace(state, usage={**before, **counts}), ()


def _own_native(state: GeminiState, data: Native, _assembly: Assembly) -> Written:
    if data.dialect != DIALECT or data.value is None:
        return state, ()
    return state, (Frame(_encode(data.value), line_name(data.event)),)


_OWN: dict[type[Event], Callable[[GeminiState, Any, Assembly], Written]] = {
    RunStart: _own_run_start,
    MessageStart: _own_message_start,
    BlockStart: _own_block_start,
    BlockEnd: _own_block_end,
    ToolReady: _own_tool_ready,
    MessageEnd: _own_message_end,
    Usage: _own_usage,
    Native: _own_native,
}


# endings


def _end(state: GeminiState, data: End | Error) -> Written:
    if isinstance(data, Error) or data.outcome in _FAILURES:
        frames = _failure(state, data)
        if frames and (counted := write_usage(state.usage)):  # what was counted was paid for
            return state, (Frame(_encode({**body(state, []), USAGE: counted})), *frames)
        return state, frames
    word = "MAX_TOKENS" if data.outcome is Outcome.INCOMPLETE else "STOP"
    choices = state.choices or {0: Alternative()}
    candidates = [
        candidate(
            index,
            finishReason=choice.held or word,
            **({"finishMessage": choice.details} if isinstance(choice.details, str) else {}),
        )
        for index, choice in choices.items()
        if not choice.ended
    ]
    if not candidates and not state.usage:
        return state, ()
    whole = body(state, candidates)
    if usage := write_usage(state.usage) or state.used:
        whole[USAGE] = usage
    return state, (Frame(_encode(whole)),)


def _failure(state: GeminiState, data: End | Error) -> Sequence[Frame]:
    error = data if isinstance(data, Error) else data.error
    outcome = data.outcome if isinstance(data, End) else Outcome.FAILED
    provider = error.provider if error is not None else None
    if isinstance(provider, dict) and any(
        choice.word is not None and choice.word == provider.get("finishReason") for choice in state.choices.values()
    ):
        return ()  # the finish reason that was the failure has been written
    if _is_own_error(provider):
        return (Frame(_encode(provider) + b"\n\n", bare=True),)
    code, message = _FAILURES[outcome]
    if error is not None:
        code, message = error.status or code, error.message
    name = STATUSES.get(code, "INTERNAL" if code >= 500 else "INVALID_ARGUMENT")
    told = {"error": {"code": code, "message": message, "status": name}}
    return (Frame(_encode(told) + b"\n\n", bare=True),)


def _is_own_error(provider: Any) -> bool:
    """An error as the dialect's clients know it: `error` is the first of its keys, and has a number."""
    inner = provider.get("error") if isinstance(provider, dict) else None
    return isinstance(inner, dict) and type(inner.get("code")) is int and next(iter(provider)) == "error"
