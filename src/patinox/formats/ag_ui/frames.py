"""What the writer of AG-UI streams remembers, and the frames it makes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from patinox.core.chunks import Binary, End, Error, Json, Outcome
from patinox.core.codec import encode_data
from patinox.core.events import BlockDelta, BlockStart, Metadata, Native, StatePatch, StateSnapshot
from patinox.formats.ag_ui.parts import DIALECT, THINKING
from patinox.formats.base import Frame
from patinox.formats.flat import FlatState, OpenBlock, encode, place, replace
from patinox.incremental.assembler import AssembledBlock

SPOKEN = {
    "text": "TEXT",
    "refusal": "TEXT",
    "reasoning": "REASONING",
    "reasoning_summary": "REASONING",
    "reasoning_opaque": "REASONING",
}
CALLS = frozenset({"tool_call", "server_tool_call"})
ROLES = frozenset({"user", "system", "developer"})
FAILURES = {
    Outcome.CANCELLED: "the answer was cancelled",
    Outcome.INTERRUPTED: "the answer broke off",
    Outcome.FAILED: "the answer failed",
}
_ORDINARY = frozenset({"text", "reasoning", "tool_call"})
_USAGE = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "total_tokens": "totalTokens",
    "reasoning_tokens": "reasoningTokens",
    "cached_tokens": "cachedInputTokens",
    "cache_write_tokens": "cacheWriteInputTokens",
}


class Live(msgspec.Struct, frozen=True):
    """The text or reasoning that is being said. `key` is its block's; text goes on in the message's next block."""

    id: str
    of: str
    message: int
    key: str


class AGUIState(FlatState, frozen=True, kw_only=True):
    """All that the writer remembers. `parents` are the protocol's names of neutral messages, `spans` open reasoning."""

    run: str
    thread: str
    model: str | None = None
    provider: str | None = None
    begun: bool = False
    finished: bool = False
    parts: int = 0
    live: Live | None = None
    held: str | None = None
    parents: dict[str, str] = {}  # noqa: RUF012 — a default of a struct is copied
    roles: dict[str, str] = {}  # noqa: RUF012
    spans: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


Written = tuple[AGUIState, Sequence[Frame]]


def say(kind: str, **fields: Any) -> Frame:
    """A frame of our own."""
    return Frame(encode({"type": kind, **fields}))


def custom(name: str, value: Any) -> Frame:
    """What the protocol has no event for."""
    return say("CUSTOM", name=f"patinox.{name}", value=value)


def run_started(state: AGUIState) -> Frame:
    """The run begins."""
    return say("RUN_STARTED", threadId=state.thread, runId=state.run)


def remember(state: AGUIState, data: BlockStart, name: str, shape: dict[str, Any] | None = None) -> AGUIState:
    """A block has begun; `name` is what the frames call it, "" as long as none does."""
    block = OpenBlock(
        of=data.of,
        message=data.message,
        block=data.block,
        id=name,
        name=data.name,
        call_id=data.call_id,
        shape=shape,
    )
    return replace(state, blocks={**state.blocks, place(data.message, data.block): block})


def opener(block: OpenBlock, *, role: str = "assistant", parent: str | None = None) -> Frame:
    """How text, reasoning or a call begins; a kind that the protocol does not tell apart is noted."""
    noted = {} if block.of in _ORDINARY else {"metadata": {"patinox": {"kind": block.of}}}
    kind = str(block.shape.get("type", "")) if block.shape else ""
    if block.of in CALLS:
        named = {"toolCallId": block.id, "toolCallName": block.name or "tool"}
        if kind.endswith("_CHUNK"):
            return say(kind, **named)
        return say("TOOL_CALL_START", **named, **({"parentMessageId": parent} if parent else {}), **noted)
    if kind.endswith("_CHUNK"):
        return say(kind, messageId=block.id, delta="")
    if block.id == THINKING:
        return say("THINKING_TEXT_MESSAGE_START")
    if SPOKEN.get(block.of) == "REASONING":
        return say("REASONING_MESSAGE_START", messageId=block.id, role="reasoning", **noted)
    return say("TEXT_MESSAGE_START", messageId=block.id, role=role, **noted)


def closer(of: str, name: str) -> list[Frame]:
    """How text and reasoning of our own end."""
    if SPOKEN.get(of) == "REASONING":
        return [say("REASONING_MESSAGE_END", messageId=name), say("REASONING_END", messageId=name)]
    return [say("TEXT_MESSAGE_END", messageId=name)]


def span(name: str) -> Frame:
    """What stands around reasoning begins."""
    return say("THINKING_START") if name == THINKING else say("REASONING_START", messageId=name)


def whole_block(whole: AssembledBlock) -> Frame | None:
    """A block that the protocol has no messages for, in one piece; None if there is nothing in it."""
    said = {
        "text": whole.text or None,
        "value": whole.value,
        "base64": base64.b64encode(bytes(whole.data)).decode() or None,
    }
    said = {key: each for key, each in said.items() if each is not None}
    if not said:
        return None
    named = {key: each for key, each in (("name", whole.name), ("call_id", whole.call_id)) if each is not None}
    return custom("block", {"kind": whole.kind, **named, **said})


def usage_entries(state: AGUIState) -> dict[str, Any]:
    """`usage` as the frames that end a run have it; nothing where nobody counted."""
    counts = {theirs: state.usage[ours] for ours, theirs in _USAGE.items() if ours in state.usage}
    if not counts:
        return {}
    who = {"provider": state.provider, "model": state.model}
    return {"usage": [{**{key: name for key, name in who.items() if name}, **counts}]}


def failure(state: AGUIState, data: End | Error) -> Frame:
    """`RUN_ERROR`; the source's own where it was one."""
    if isinstance(data, Error):
        provider = data.provider
        is_theirs = isinstance(provider, dict) and provider.get("type") == "RUN_ERROR"
        if is_theirs and isinstance(provider.get("message"), str):
            return Frame(encode(provider))
    outcome = data.outcome if isinstance(data, End) else Outcome.FAILED
    error = data if isinstance(data, Error) else data.error
    message = error.message if error is not None and error.message else FAILURES[outcome]
    code = error.code if error is not None and error.code else outcome.value
    return say("RUN_ERROR", message=message, code=code, **usage_entries(state))


def theirs(state: AGUIState, data: BlockStart, shape: dict[str, Any]) -> AGUIState:
    """A block that a frame of this dialect began, with the name and the delta's shape that the frame gives it."""
    kind = str(shape.get("type", ""))
    name = shape.get("toolCallId") if data.of in CALLS else shape.get("messageId")
    if kind.startswith("THINKING"):
        return remember(state, data, THINKING, {"type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": {"$": 0}})
    if not isinstance(name, str) or not name:
        return remember(state, data, "")
    field = "toolCallId" if data.of in CALLS else "messageId"
    delta = kind if kind.endswith(("_CHUNK", "_CONTENT")) else _CONTENT.get(kind, "")
    return remember(state, data, name, {"type": delta, field: name, "delta": {"$": 0}} if delta else None)


_CONTENT = {
    "TEXT_MESSAGE_START": "TEXT_MESSAGE_CONTENT",
    "REASONING_MESSAGE_START": "REASONING_MESSAGE_CONTENT",
    "TOOL_CALL_START": "TOOL_CALL_ARGS",
}


def spanned(state: AGUIState, shape: dict[str, Any]) -> AGUIState:
    """What stands around reasoning has begun or ended."""
    name = shape.get("messageId", THINKING)
    if shape.get("type") in ("REASONING_START", "THINKING_START"):
        return replace(state, spans=(*state.spans, str(name)))
    if shape.get("type") in ("REASONING_END", "THINKING_END"):
        return replace(state, spans=tuple(each for each in state.spans if each != name))
    return state


def attached(block: OpenBlock, data: BlockDelta) -> Sequence[Frame]:
    """What goes with a block: encrypted reasoning, or a citation."""
    if data.op in ("opaque.set", "opaque.append") and isinstance(data.value, str):
        subtype = "tool-call" if block.of in CALLS else "message"
        return (say("REASONING_ENCRYPTED_VALUE", subtype=subtype, entityId=block.id, encryptedValue=data.value),)
    if data.op == "bytes.append":
        return ()
    value = data.text if data.op == "replace" and data.text else data.value
    return (custom(data.op, {"id": block.id, "value": value}),)


def data_frames(data: Any) -> Sequence[Frame]:
    """State, data of the application's own, and frames of other dialects."""
    match data:
        case Native():
            return _native(data)
        case Metadata():
            return (say("CUSTOM", name=data.name or "metadata", value=data.value),)
        case StateSnapshot():
            return (say("STATE_SNAPSHOT", snapshot=data.state),)
        case StatePatch():
            return (say("STATE_DELTA", delta=data.patch),)
        case Json():
            return (custom("json", data.value),)
        case Binary():
            return (custom("binary", msgspec.Raw(encode_data(data))),)
    return (custom(data.kind, msgspec.to_builtins(data)),)


def _native(data: Native) -> Sequence[Frame]:
    if data.value is None or not data.dialect:
        return ()
    if data.dialect == DIALECT:
        return (Frame(encode(data.value)),) if isinstance(data.value, dict) else ()
    noted = {"metadata": {"patinox": {"event": data.event}}} if data.event else {}
    return (say("RAW", event=data.value, source=data.dialect, **noted),)
