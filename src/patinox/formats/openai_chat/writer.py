"""Writes OpenAI Chat Completions streams (API reference, "The chat completion chunk object").

Events that were read from this dialect carry what their frame looked like (see `openai_chat.frames`), and
become that frame again. All others make frames of our own: a role first, then deltas, one finish reason a
choice, the usage, and `[DONE]`. Both may come in one stream. A finish reason of our own is held until the
end, since an agent's run has several messages in the one choice that there is.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, Outcome, StreamChunk, Text
from patinox.core.events import (
    BlockDelta,
    BlockStart,
    Event,
    MessageEnd,
    MessageStart,
    Native,
    RunEnd,
    RunStart,
    ToolReady,
    Usage,
)
from patinox.formats.base import Frame, StreamHead, new_frame
from patinox.formats.citations import citations, nested
from patinox.formats.openai_chat.frames import DIALECT, WORDS, fill, remember, shape_key, write_usage
from patinox.formats.openai_chat.state import (
    ChatState,
    Joint,
    OpenBlock,
    Plain,
    Written,
    begin,
    call_head,
    ended,
    envelope,
    frame,
    place,
    replace,
    track,
)
from patinox.incremental.assembler import Assembly

_encode = msgspec.json.Encoder().encode

_DONE = Frame(b"[DONE]")
_HOLE = b'"\\u0000$hole$"'  # how JSON writes the string below
_HOLE_TEXT = "\0$hole$"
_PLAINS = 4
_FIELDS = {
    "text": "content",
    "reasoning": "reasoning_content",
    "reasoning_summary": "reasoning_content",
    "refusal": "refusal",
}
_KEYS: dict[str, type] = {"set": dict, "unset": list, "choices": list, "once": dict, "event": str}
_FAILURES = {
    Outcome.CANCELLED: "the answer was cancelled",
    Outcome.INTERRUPTED: "the answer broke off",
    Outcome.FAILED: "the answer failed",
}


class OpenAIChatWriter:
    """The fold. It has no state of its own."""

    def initial(self, head: StreamHead) -> ChatState:
        """The model is told by the run, else by the stream's metadata, else it is ours."""
        model = head.metadata.get("model")
        return ChatState(
            stream=head.id,
            id=f"chatcmpl-{head.id}",
            created=int(head.created_s),
            model=model if isinstance(model, str) and model else "patinox",
        )

    def write(self, state: ChatState, chunk: StreamChunk, assembly: Assembly) -> Written:
        """The frames of one record; none for what the dialect has no word for."""
        data = chunk.data
        kind = type(data)
        if kind is BlockDelta and data.ext is None and state.joint is None:
            for plain in state.plains:
                if plain.block == data.block and plain.message == data.message and plain.op == data.op:
                    return state, (new_frame((plain.before + _encode(data.text) + plain.after, "", False)),)
            return _own_delta(state, data)
        if kind is Text:
            data = BlockDelta(text=data.text)
        elif kind is End or kind is Error:
            return _end(state, data)
        elif not isinstance(data, Event):
            return state, ()
        if state.joint is not None or (data.ext is not None and DIALECT in data.ext):
            return _join(state, data)
        if type(data) is BlockDelta:
            return _delta(state, data)
        return _own(state, data)

    def openers(self, state: ChatState, assembly: Assembly) -> Sequence[Frame]:
        """The role of every open choice, and the head of every tool call that is under way."""
        if state.joint is not None and state.joint.before is not None:  # half a frame has opened nothing yet
            state = state.joint.before
        frames = []
        for index, choice in state.choices.items():
            if not choice.ended:
                frames.append(frame(state, index, {"role": "assistant", "content": ""}))
                frames += [
                    frame(state, index, call_head(block))
                    for block in state.blocks.values()
                    if block.of == "tool_call" and block.choice == index
                ]
        return frames


# frames that were read from this dialect


def _join(state: ChatState, data: Event) -> Written:
    """Adds an event to the frame it came in, and writes the frame when it is whole."""
    if state.joint is None and type(data) is BlockDelta and (once := _only_once(state, data)):
        state, (plain,) = _delta(state, data)
        return state, (Frame(plain.data[:-1] + b"," + _encode(once)[1:]),)
    joint = state.joint or Joint(_ext(data), replace(state, plains=()) if data.more else None)
    state = track(state, data)
    if isinstance(data, RunStart):
        state = replace(state, model=data.model or state.model)
    elif isinstance(data, MessageEnd):
        state = ended(state, data.choice)
    elif isinstance(data, RunEnd) and state.envelope is None:
        state = replace(state, envelope={})  # a stream that was only [DONE]
    if isinstance(data, BlockDelta):
        key = shape_key(data.message, data.block, data.op)
        joint = replace(joint, payloads=(*joint.payloads, _payload(data)), deltas=joint.deltas + 1, key=key)
    elif isinstance(data, Usage):
        joint = replace(joint, payloads=(*joint.payloads, data.raw))
    elif isinstance(data, Native) and data.dialect == DIALECT and data.value is not None:
        joint = replace(joint, rest=data.value, event=_name(data.event))
    if data.more:
        return replace(state, joint=joint), ()
    return _whole(replace(state, joint=None), joint)


def _only_once(state: ChatState, data: BlockDelta) -> dict[str, Any] | None:
    """The keys of an ordinary delta's frame that stand in it alone; None for any other."""
    ext = _ext(data)
    if data.more or ext.keys() != {"once"} or "usage" in (once := ext["once"]):
        return None
    known = shape_key(data.message, data.block, data.op) in state.shapes
    return once if known else None


def _ext(data: Event) -> dict[str, Any]:
    """What the event says of its frame; nothing if it is not what our reader makes (anybody may write events)."""
    ext = (data.ext or {}).get(DIALECT)
    if not isinstance(ext, dict):
        return {}
    for key, value in ext.items():
        if not isinstance(value, _KEYS.get(key, object)):
            return {}
    return ext


def _name(event: str) -> str:
    """An event name that can stand on a line."""
    return event if event.isprintable() else ""


def _whole(state: ChatState, joint: Joint) -> Written:
    ext = joint.ext
    if joint.rest is not None:
        data = joint.rest.encode() if ext.get("raw") and isinstance(joint.rest, str) else _encode(joint.rest)
        return state, (Frame(data, joint.event),)
    if "set" in ext or "unset" in ext:
        state = replace(state, envelope=_changed(state.envelope or {}, ext), plains=())
    shape = ext.get("choices")
    if shape is None:
        shape = state.shapes.get(joint.key) if ext else None
        if shape is None:
            return state, ()
    elif joint.deltas == 1 and state.shapes.get(joint.key) != shape:
        shapes = dict(state.shapes)
        remember(shapes, joint.key, shape)
        state = replace(state, shapes=shapes, plains=())
    body = {**(state.envelope or {}), "choices": fill(shape, joint.payloads)}
    if "once" in ext:
        body.update(fill(ext["once"], joint.payloads))
    return state, (Frame(_encode(body), _name(ext.get("event", ""))),)


def _changed(before: dict[str, Any], ext: dict[str, Any]) -> dict[str, Any]:
    gone, changed = ext.get("unset", ()), ext.get("set", {})
    return {**{key: value for key, value in before.items() if key not in gone}, **changed}


def _payload(data: BlockDelta) -> Any:
    if data.op == "bytes.append":
        return base64.b64encode(data.data).decode()
    return data.text if data.op in ("text.append", "json.append") else data.value


# ordinary deltas


def _delta(state: ChatState, data: BlockDelta) -> Written:
    for plain in state.plains:
        if plain.block == data.block and plain.message == data.message and plain.op == data.op:
            return state, (new_frame((plain.before + _encode(data.text) + plain.after, "", False)),)
    return _own_delta(state, data)


# frames of our own


def _own(state: ChatState, data: Event) -> Written:
    write = _OWN.get(type(data))
    return (state, ()) if write is None else write(state, data)


def _own_run_start(state: ChatState, data: RunStart) -> Written:
    return replace(state, model=data.model or state.model, plains=()), ()


def _own_message_start(state: ChatState, data: MessageStart) -> Written:
    if data.role != "assistant":
        return track(state, data), ()
    choice = state.choices.get(data.choice)
    if choice is not None and choice.held:  # an agent's next message: the choice goes on
        return replace(state, choices={**state.choices, data.choice: replace(choice, held=None)}), ()
    return begin(state, data.choice)


def _own_block_start(state: ChatState, data: BlockStart) -> Written:
    state = track(state, data)
    block = state.blocks[place(data)]
    if block.of != "tool_call":
        return state, ()
    state, role = begin(state, data.choice)
    return state, (*role, frame(state, data.choice, call_head(block)))


def _own_delta(state: ChatState, data: BlockDelta) -> Written:
    """Remembers the bytes around the text, so that the next delta of the block need not be built."""
    block = state.blocks.get(place(data))
    shape = state.shapes.get(shape_key(data.message, data.block, data.op)) if state.envelope else None
    if shape is not None:
        role: Sequence[Frame] = ()
        said = data.value if data.op == "annotation.add" else _HOLE_TEXT  # which may stand in another form
        body = _encode({**(state.envelope or {}), "choices": fill(shape, (said,))})
    else:
        delta = _own_delta_body(block, data)
        if delta is None:
            return state, ()
        state, role = begin(state, data.choice)
        if "logprobs" in delta:
            return state, (*role, frame(state, data.choice, {}, logprobs=delta["logprobs"]))
        body = frame(state, data.choice, delta).data
        if block is not None and not block.begun:
            state = replace(state, blocks={**state.blocks, place(data): replace(block, begun=True)})
    before, hole, after = body.partition(_HOLE)
    if not hole or _HOLE in after:
        filled = body.replace(_HOLE, _encode(_payload(data)))
        return state, (*role, Frame(filled))
    plain = Plain(data.message, data.block, data.op, before, after)
    if data.op in ("text.append", "json.append"):
        state = replace(state, plains=(*state.plains[1 - _PLAINS :], plain))
    return state, (*role, Frame(before + _encode(_payload(data)) + after))


def _own_delta_body(block: OpenBlock | None, data: BlockDelta) -> dict[str, Any] | None:
    """The delta with a hole for its text; None for what the dialect cannot carry."""
    of = "text" if block is None else block.of
    if data.op == "text.append" and of in _FIELDS:
        return {_FIELDS[of]: _HOLE_TEXT}
    if data.op in ("json.append", "text.append") and of == "tool_call" and block is not None:
        return {"tool_calls": [{"index": block.tool, "function": {"arguments": _HOLE_TEXT}}]}
    if data.op == "annotation.add" and (found := citations(data.value)):
        return {"annotations": [nested(citation) for citation in found]}
    if data.op == "logprobs.add" and of in _FIELDS:
        return {"logprobs": data.value}
    return None


def _own_tool_ready(state: ChatState, data: ToolReady) -> Written:
    """The arguments of a call whose source gave them in one piece."""
    block = state.blocks.get(place(data))
    if block is None or block.begun or block.of != "tool_call":
        return state, ()
    text = data.invalid_raw if data.invalid_raw is not None else data.arguments
    if not isinstance(text, str):  # a custom tool's input is text
        text = _encode({} if text is None else text).decode()
    return _own_delta(state, BlockDelta(message=data.message, choice=data.choice, block=data.block,
                                        op="json.append", text=text))  # fmt: skip


def _own_message_end(state: ChatState, data: MessageEnd) -> Written:
    choice = state.choices.get(data.choice)
    blocks = {key: block for key, block in state.blocks.items() if block.message != data.message}
    muted = tuple(message for message in state.muted if message != data.message)
    state = replace(state, blocks=blocks, muted=muted, plains=())
    if choice is None or choice.ended or data.message in muted or data.finish_reason is None:
        return state, ()
    held = replace(choice, held=WORDS.get(data.finish_reason, "stop"))
    return replace(state, choices={**state.choices, data.choice: held}), ()


def _own_usage(state: ChatState, data: Usage) -> Written:
    """Held for the end: the dialect has one usage, in its last chunk."""
    counts = {field: value for field in _COUNTS if (value := getattr(data, field)) is not None}
    before = state.usage
    if data.mode == "delta":
        counts = {field: before.get(field, 0) + count for field, count in counts.items()}
    elif data.raw is not None:
        counts["raw"] = data.raw
    return replace(state, usage={**before, **counts}), ()


def _own_native(state: ChatState, data: Native) -> Written:
    if data.dialect != DIALECT or data.value is None:
        return state, ()
    return state, (Frame(_encode(data.value), _name(data.event)),)


_COUNTS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cache_write_tokens",
)

_OWN: dict[type[Event], Callable[[ChatState, Any], Written]] = {
    RunStart: _own_run_start,
    MessageStart: _own_message_start,
    BlockStart: _own_block_start,
    BlockDelta: _own_delta,
    ToolReady: _own_tool_ready,
    MessageEnd: _own_message_end,
    Usage: _own_usage,
    Native: _own_native,
}


# endings


def _end(state: ChatState, data: End | Error) -> Written:
    if isinstance(data, Error) or data.outcome in _FAILURES:
        return state, (*_counted(state), _failure(state, data))
    word = "length" if data.outcome is Outcome.INCOMPLETE else "stop"
    role: Sequence[Frame] = ()
    if not state.choices and state.envelope is None:
        state, role = begin(state, 0)
    frames = [*role]
    for index, choice in state.choices.items():
        if not choice.ended:
            frames.append(frame(state, index, {}, reason=choice.held or word))
            state = ended(state, index)
    return state, (*frames, *_counted(state), _DONE)


def _counted(state: ChatState) -> Sequence[Frame]:
    """The usage that is held, however the answer ends: what was counted was paid for."""
    if not state.usage:
        return ()
    return (Frame(_encode({**envelope(state), "choices": [], "usage": write_usage(state.usage)})),)


def _failure(state: ChatState, data: End | Error) -> Frame:
    error = data if isinstance(data, Error) else data.error
    outcome = data.outcome if isinstance(data, End) else Outcome.FAILED
    rest, event = (state.joint.rest or {}, state.joint.event) if state.joint else ({}, "")
    provider = error.provider if error is not None else None
    if isinstance(provider, str) or (isinstance(provider, dict) and isinstance(provider.get("message"), str)):
        return Frame(_encode({**rest, "error": provider}), event)
    body = {
        "message": error.message if error is not None else _FAILURES[outcome],
        "type": "server_error" if outcome is Outcome.FAILED else outcome.value,
        "param": None,
        "code": error.code if error is not None else outcome.value,
    }
    return Frame(_encode({**rest, "error": body}), event)
