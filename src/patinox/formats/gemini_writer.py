"""Writes Gemini streams (`streamGenerateContent?alt=sse`).

Events that were read from this dialect carry what their frame looked like (see `gemini_frames`), and become that
frame again. All others make frames of our own: a part each, the finish reason and the usage in the last. A call is
written when it is ready, whole, as clients of the Gemini API know no pieces of one. The stream ends with its bytes:
a failed one with an error, and without a finish reason of our own.
"""

from __future__ import annotations

import base64
import binascii
import re
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
    ToolError,
    ToolReady,
    ToolResult,
    Usage,
)
from patinox.formats.base import Frame, StreamHead
from patinox.formats.gemini_frames import (
    DIALECT,
    STATUSES,
    USAGE,
    USED,
    WORDS,
    fill,
    remember,
    shape_key,
    write_usage,
)
from patinox.formats.gemini_state import (
    Alternative,
    GeminiState,
    Joint,
    OpenBlock,
    Plain,
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
from patinox.incremental.assembler import Assembly

_encode = msgspec.json.Encoder().encode

_HOLE = b'"\\u0000$hole$"'  # how JSON writes the string below
_HOLE_TEXT = "\0$hole$"
_TEXTS = frozenset({"text", "refusal", "reasoning", "reasoning_summary"})
_THOUGHTS = frozenset({"reasoning", "reasoning_summary", "reasoning_opaque"})
_COUNTS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "reasoning_tokens",
    "cached_tokens",
)
_KEYS: dict[str, type | tuple[type, ...]] = {
    "set": dict,
    "unset": list,
    "candidates": (list, type(None)),
    "event": str,
}
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,([A-Za-z0-9+/=]+)")
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
                return state, (_plainly(plain, data.text, state.used),)
        elif kind is Usage and state.pending is not None and plain is not None and data.ext is None and not data.more:
            return replace(state, pending=None, used=data.raw), (_plainly(plain, state.pending, data.raw),)
        if kind is End or kind is Error:
            return _end(state, data)
        if not isinstance(data, Event):
            return state, ()
        return _event(state, data, assembly)

    def openers(self, state: GeminiState, assembly: Assembly) -> Sequence[Frame]:
        """Every frame says all that a client must know, so there are none."""
        return ()


def _plainly(plain: Plain, text: str, used: Any) -> Frame:
    if plain.used:
        return Frame(plain.before + _encode(text) + plain.between + _encode(used) + plain.after)
    return Frame(plain.before + _encode(text) + plain.between)


def _event(state: GeminiState, data: Event, assembly: Assembly) -> Written:
    if state.pending is not None:
        state = _unpend(state)
    if state.joint is not None or (data.ext is not None and DIALECT in data.ext):
        return _join(state, data)
    if type(data) is BlockDelta:
        if data.more and (shape := _shape(state, data)) is not None:
            return _first(state, data, shape)
        return _delta(state, data, assembly)
    write = _OWN.get(type(data))
    return (state, ()) if write is None else write(state, data, assembly)


# frames that were read from this dialect


def _first(state: GeminiState, data: BlockDelta, shape: Any) -> Written:
    """A delta like the last one, whose frame goes on: most often with its usage, and nothing else."""
    if data.op == "text.append":
        learnt, _ = _like_the_last(state, data, shape)
        if learnt.plain is not None and learnt.plain is not state.plain and learnt.plain.used:
            return replace(learnt, pending=data.text), ()
    return _join(state, data)


def _unpend(state: GeminiState) -> GeminiState:
    """A delta whose frame goes on with something else than its usage."""
    plain = state.plain
    if plain is None:
        return replace(state, pending=None)
    key = shape_key(plain.message, plain.block, plain.op)
    return replace(state, pending=None, joint=Joint({}, (state.pending,), key))


def _shape(state: GeminiState, data: BlockDelta) -> Any:
    """The shape of the block's last delta, if that came from this dialect."""
    return None if state.envelope is None else state.shapes.get(shape_key(data.message, data.block, data.op))


def _join(state: GeminiState, data: Event) -> Written:
    """Adds an event to the frame it came in, and writes the frame when it is whole."""
    state = track(state, data)
    if isinstance(data, RunStart):
        state = replace(state, model=data.model or state.model)
    elif isinstance(data, MessageEnd):
        state = with_choice(state, data.choice, Alternative(ended=True, word=data.provider_reason))
    joint = state.joint or Joint(_ext(data))
    if isinstance(data, BlockDelta):
        key = shape_key(data.message, data.block, data.op)
        joint = replace(joint, payloads=(*joint.payloads, _payload(data)), key=key)
    elif isinstance(data, ToolResult | ToolError):
        said = data.details if isinstance(data, ToolError) else data.result
        joint = replace(joint, payloads=(*joint.payloads, said))
    elif isinstance(data, Usage) and isinstance(data.raw, dict):
        state = replace(state, used=data.raw)
    elif isinstance(data, Native) and data.dialect == DIALECT and data.value is not None:
        joint = replace(joint, value=data.value, event=_name(data.event))
    if data.more:
        return replace(state, joint=joint), ()
    return _whole(replace(state, joint=None), joint)


def _ext(data: Event) -> dict[str, Any]:
    """What the event says of its frame; nothing if it is not what our reader makes (anybody may write events)."""
    ext = (data.ext or {}).get(DIALECT)
    if not isinstance(ext, dict) or any(key in ext and not isinstance(ext[key], kind) for key, kind in _KEYS.items()):
        return {}
    return ext


def _name(event: str) -> str:
    """An event name that can stand on a line."""
    return event if event.isprintable() else ""


def _payload(data: BlockDelta) -> Any:
    if data.op == "bytes.append":
        return base64.b64encode(data.data).decode()
    return data.text if data.op in ("text.append", "json.append") else data.value


def _whole(state: GeminiState, joint: Joint) -> Written:
    ext = joint.ext
    if joint.value is not None:
        data = joint.value.encode() if ext.get("raw") and isinstance(joint.value, str) else _encode(joint.value)
        return state, (Frame(data, joint.event),)
    if "set" in ext or "unset" in ext:
        state = replace(state, envelope=_changed(state.envelope or {}, ext), plain=None)
    if "candidates" in ext:
        shape = ext["candidates"]
        if len(joint.payloads) == 1 and joint.key and state.shapes.get(joint.key) != shape:
            shapes = dict(state.shapes)
            remember(shapes, joint.key, shape)
            state = replace(state, shapes=shapes, plain=None)
    else:
        shape = state.shapes.get(joint.key)
        if shape is None:
            return state, ()
    return state, (Frame(_encode(_framed(state, shape, joint.payloads)), _name(ext.get("event", ""))),)


def _framed(state: GeminiState, shape: Any, payloads: Sequence[Any]) -> dict[str, Any]:
    filled = {} if shape is None else {"candidates": fill(shape, payloads)}
    return {**filled, **_used(state, state.used)}


def _used(state: GeminiState, used: Any) -> dict[str, Any]:
    """The envelope, with the usage in its place."""
    envelope = state.envelope or {}
    return {**envelope, USAGE: used} if envelope.get(USAGE) == USED else envelope


def _changed(before: dict[str, Any], ext: dict[str, Any]) -> dict[str, Any]:
    gone, changed = ext.get("unset", ()), ext.get("set", {})
    return {**{key: value for key, value in before.items() if key not in gone}, **changed}


# deltas


def _delta(state: GeminiState, data: BlockDelta, assembly: Assembly) -> Written:
    """Remembers the bytes around a text, so that the next delta of the block need not be built."""
    shape = _shape(state, data)
    if shape is not None:
        return _like_the_last(state, data, shape)
    block = state.blocks.get(place(data))
    of = "text" if block is None else block.of
    if block is None and (data.op != "text.append" or data.message in state.muted):
        return state, ()
    if data.op == "text.append" and of in _TEXTS:
        state = _begun(state, data.choice)
        part: dict[str, Any] = {"text": _HOLE_TEXT}
        if of in _THOUGHTS:
            part["thought"] = True
        return _templated(state, data, body(state, [candidate(data.choice, part)]))
    write = _OPS.get(data.op)
    return (state, ()) if write is None or block is None else write(state, data, block)


def _like_the_last(state: GeminiState, data: BlockDelta, shape: Any) -> Written:
    if data.op != "text.append":
        return state, (Frame(_encode(_framed(state, shape, (_payload(data),)))),)
    filled = {"candidates": fill(shape, (_HOLE_TEXT,)), **_used(state, _HOLE_TEXT)}
    return _templated(state, data, filled)


def _templated(state: GeminiState, data: BlockDelta, whole: dict[str, Any]) -> Written:
    pieces = _encode(whole).split(_HOLE)
    used = whole.get(USAGE) == _HOLE_TEXT
    if len(pieces) != 2 + used:  # the text stands in more places than one
        text, usage = _encode(data.text), _encode(state.used)
        joined = text.join(pieces[:-1]) + usage + pieces[-1] if used else text.join(pieces)
        return state, (Frame(joined),)
    before, between, after = (*pieces, b"")[:3]
    plain = Plain(data.message, data.block, data.op, before, between, after, used)
    return replace(state, plain=plain), (_plainly(plain, data.text, state.used),)


def _signed(state: GeminiState, data: BlockDelta, block: OpenBlock) -> Written:
    """A signature. That of a call goes with the call."""
    value = data.value
    if not isinstance(value, str) or not _is_base64(value):
        return _picture(state, data, block)
    if block.of == "tool_call":
        return replace(state, blocks={**state.blocks, place(data): replace(block, signature=value)}), ()
    if block.of not in _TEXTS and block.of not in _THOUGHTS:
        return state, ()
    state = _begun(state, data.choice)
    part = {"text": "", "thoughtSignature": value} | ({"thought": True} if block.of in _THOUGHTS else {})
    return state, (frame(state, data.choice, part),)


def _picture(state: GeminiState, data: BlockDelta, block: OpenBlock) -> Written:
    """A file that is told by its address, or in one."""
    value = data.value
    if block.of not in ("image", "file") or not isinstance(value, dict):
        return state, ()
    state = _begun(state, data.choice)
    if "fileUri" in value:
        return state, (frame(state, data.choice, {"fileData": value}),)
    inner = value.get("image_url")
    url = inner.get("url") if isinstance(inner, dict) else None
    match = _DATA_URL.fullmatch(url) if isinstance(url, str) else None
    if match is not None and _is_base64(match[2]):
        part = {"inlineData": {"mimeType": match[1], "data": match[2]}}
    elif isinstance(url, str) and url.startswith("http"):
        part = {"fileData": {"fileUri": url}}
    else:
        return state, ()
    return state, (frame(state, data.choice, part),)


def _bytes(state: GeminiState, data: BlockDelta, block: OpenBlock) -> Written:
    if block.of == "muted" or not block.name or "/" not in block.name:
        return state, ()
    state = _begun(state, data.choice)
    return state, (frame(state, data.choice, {"inlineData": {"mimeType": block.name, "data": _payload(data)}}),)


def _sources(state: GeminiState, data: BlockDelta, block: OpenBlock) -> Written:
    """Where a text has it from: the dialect's own as it is, an address as a web page."""
    value = data.value
    if block.of not in _TEXTS or not isinstance(value, dict):
        return state, ()
    if value.keys() & {"groundingChunks", "searchEntryPoint", "webSearchQueries"}:
        found = value
    else:
        inner = value.get("url_citation", value)
        url = inner.get("url") if isinstance(inner, dict) else None
        if not isinstance(url, str):
            return state, ()
        title = inner.get("title")
        web = {"uri": url} | ({"title": title} if isinstance(title, str) else {})
        found = {"groundingChunks": [{"web": web}]}
    state = _begun(state, data.choice)
    return state, (frame(state, data.choice, groundingMetadata=found),)


_OPS: dict[str, Callable[[GeminiState, BlockDelta, OpenBlock], Written]] = {
    "opaque.set": _signed,
    "bytes.append": _bytes,
    "annotation.add": _sources,
}


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return bool(value)


# other frames of our own


def _begun(state: GeminiState, index: int) -> GeminiState:
    return state if index in state.choices else with_choice(state, index, Alternative())


def _own_run_start(state: GeminiState, data: RunStart, _assembly: Assembly) -> Written:
    return replace(state, model=data.model or state.model, plain=None), ()


def _own_message_start(state: GeminiState, data: MessageStart, _assembly: Assembly) -> Written:
    state = track(state, data)
    choice = state.choices.get(data.choice)
    if choice is not None and choice.held and data.role == "assistant":  # an agent's next message
        state = with_choice(state, data.choice, Alternative())
    return state, ()


def _own_block_start(state: GeminiState, data: BlockStart, _assembly: Assembly) -> Written:
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
    state = _begun(state, data.choice)
    return state, (frame(state, data.choice, {"executableCode": {"language": language, "code": whole.text}}),)


def _own_tool_ready(state: GeminiState, data: ToolReady, _assembly: Assembly) -> Written:
    """The whole call. Arguments that are no object are the dialect's own malformed call."""
    block = state.blocks.get(place(data))
    if block is None or block.of != "tool_call":
        return state, ()
    state = forget(_begun(state, data.choice), data)
    arguments = {} if data.arguments is None else data.arguments
    if data.invalid_raw is not None or not isinstance(arguments, dict):
        raw = data.invalid_raw if data.invalid_raw is not None else _encode(arguments).decode()
        message = f"{block.name or 'a call'}: the arguments are no JSON object: {raw}"
        return with_choice(state, data.choice, Alternative(held=_MALFORMED, details=message)), ()
    call: dict[str, Any] = {"name": block.name or data.name or "", "args": arguments}
    if call_id := block.call_id or data.call_id:
        call["id"] = call_id
    part = {"functionCall": call} | ({"thoughtSignature": block.signature} if block.signature else {})
    return state, (frame(state, data.choice, part),)


def _own_message_end(state: GeminiState, data: MessageEnd, _assembly: Assembly) -> Written:
    muted = data.message in state.muted
    state = track(state, data)
    choice = state.choices.get(data.choice, Alternative())
    if muted or choice.ended or data.finish_reason is None or choice.held == _MALFORMED:
        return state, ()
    return with_choice(state, data.choice, Alternative(held=WORDS.get(data.finish_reason, "OTHER"))), ()


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
    return state, (Frame(_encode(data.value), _name(data.event)),)


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
        return state, _failure(state, data)
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
