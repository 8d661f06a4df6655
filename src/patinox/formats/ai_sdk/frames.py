"""What the writer of UI message streams remembers, and the frames it makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, Outcome
from patinox.core.events import BlockStart, Event
from patinox.formats.base import Frame
from patinox.formats.citations import citations
from patinox.formats.flat import FlatState, OpenBlock, encode, place, replace
from patinox.formats.media import address, file_url
from patinox.incremental.assembler import AssembledBlock, Assembly

SPOKEN = {
    "text": "text",
    "refusal": "text",
    "reasoning": "reasoning",
    "reasoning_summary": "reasoning",
    "reasoning_opaque": "reasoning",
}
CALLS = frozenset({"tool_call", "server_tool_call"})
WORDS = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "refusal": "content-filter",
    "error": "error",
}
FAILURES = {
    Outcome.CANCELLED: "the answer was cancelled",
    Outcome.INTERRUPTED: "the answer broke off",
    Outcome.FAILED: "the answer failed",
}
USAGE = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "total_tokens": "totalTokens",
    "reasoning_tokens": "reasoningTokens",
    "cached_tokens": "cachedInputTokens",
    "cache_write_tokens": "cacheWriteInputTokens",
}
_PARTS = frozenset({"file", "reasoning-file", "source-url", "source-document"})
DONE = Frame(b"[DONE]")


class AISDKState(FlatState, frozen=True, kw_only=True):
    """All that the writer remembers. `step` is "auto" where we made it of a message, "told" where the source did.

    `calls` are those that wait for their results.
    """

    id: str
    begun: bool = False
    finished: bool = False
    step: str = ""
    due: bool = False
    bare: int = 0
    sources: int = 0
    held: str | None = None
    calls: dict[str, OpenBlock] = {}  # noqa: RUF012 — a default of a struct is copied


Written = tuple[AISDKState, Sequence[Frame]]


def say(kind: str, **fields: Any) -> Frame:
    """A frame of our own."""
    return Frame(encode({"type": kind, **fields}))


def remember(state: AISDKState, data: BlockStart, name: str) -> AISDKState:
    """A block has begun; `name` is what the frames call it, "" where it is told at its end."""
    block = OpenBlock(of=data.of, message=data.message, block=data.block, id=name, name=data.name, call_id=data.call_id)
    return replace(state, blocks={**state.blocks, place(data.message, data.block): block})


def answered(state: AISDKState, call_id: str | None) -> AISDKState:
    """A call has its result."""
    return replace(state, calls={name: call for name, call in state.calls.items() if name != call_id})


def kind_of(state: AISDKState, data: Event) -> str:
    """The kind of the open block that an event is about, "" for none."""
    block = state.blocks.get(place(data.message, data.block))
    return block.of if block is not None else ""


def opener(block: OpenBlock) -> Frame:
    """How a part begins; a kind that the protocol does not tell apart is noted."""
    if block.of in CALLS:
        executed = {"providerExecuted": True} if block.of == "server_tool_call" else {}
        return say("tool-input-start", toolCallId=block.id, toolName=block.name or "tool", **executed)
    family = SPOKEN.get(block.of, "text")
    noted = {} if block.of == family else {"providerMetadata": {"patinox": {"kind": block.of}}}
    return say(f"{family}-start", id=block.id, **noted)


def call_input(block: OpenBlock, value: Any, invalid_raw: str | None) -> Frame:
    """A call's whole input."""
    executed = {"providerExecuted": True} if block.of == "server_tool_call" else {}
    named = {"toolCallId": block.id, "toolName": block.name or "tool", "input": value}
    if invalid_raw is None:
        return say("tool-input-available", **named, **executed)
    return say("tool-input-error", **named, **executed, errorText="the model's input for this tool is not JSON")


def waiting(call: OpenBlock, assembly: Assembly) -> Frame:
    """A call as the assembly knows it: its arguments, what cannot be parsed of them, or a server's own object."""
    whole = assembly.block(call.message, call.block)
    if whole is None:
        return call_input(call, None, None)
    if whole.arguments is not None or not whole.text:
        return call_input(call, whole.arguments if whole.arguments is not None else whole.value, None)
    try:
        return call_input(call, msgspec.json.decode(whole.text), None)
    except (msgspec.DecodeError, RecursionError):
        return call_input(call, whole.text, whole.text)


def annotation(state: AISDKState, block: OpenBlock, value: Any) -> Written:
    """A citation: a source where it has an address, else data."""
    noted = {"patinox": {"annotation": value, "part": block.id}}
    pages = [page for page in citations(value) if address(page)[0] is not None]
    if not pages:
        return state, (say("data-annotation", data={"part": block.id, "value": value}),)
    frames: list[Frame] = []
    for page in pages:
        titled = {"title": page["title"]} if isinstance(page.get("title"), str) and page["title"] else {}
        told = {"providerMetadata": noted} if page is pages[-1] else {}
        name = f"source-{state.sources + len(frames)}"
        frames.append(say("source-url", sourceId=name, url=page["url"], **titled, **told))
    return replace(state, sources=state.sources + len(frames)), frames


def part(message_id: str, block: OpenBlock, whole: AssembledBlock) -> Frame:
    """A block that comes in one piece, at its end: a file, a source, or data under the name of its kind."""
    value = whole.value
    if isinstance(value, dict) and value.get("type") in _PARTS:
        return Frame(encode(value))
    url, media = file_url(whole)
    if url is not None:
        return say("file", url=url, mediaType=media)
    url, title = address(value) if block.of == "source" else (None, None)
    if url is not None:
        titled = {"title": title} if title else {}
        name = f"{message_id}-{block.message}-{block.block}"
        return say("source-url", sourceId=name, url=url, **titled)
    body = {"text": whole.text or None, "value": value, "name": whole.name, "call_id": whole.call_id}
    return say(f"data-{block.of}", data={key: each for key, each in body.items() if each is not None})


def usage_metadata(state: AISDKState) -> dict[str, Any]:
    """The counts as a message's metadata has them; nothing where nobody counted."""
    counts = {theirs: state.usage[ours] for ours, theirs in USAGE.items() if ours in state.usage}
    return {"messageMetadata": {"usage": counts}} if counts else {}


def counted(state: AISDKState) -> Sequence[Frame]:
    """The usage where no `finish` will tell it: what was counted was paid for. It is a message's, so one has begun."""
    metadata = {} if state.finished else usage_metadata(state)
    if not metadata:
        return ()
    opening = () if state.begun else (say("start", messageId=state.id),)
    return (*opening, say("message-metadata", **metadata))


def failure(data: End | Error) -> Sequence[Frame]:
    """An interrupted answer is an error that somebody should see, and nothing will finish it: both are said."""
    if isinstance(data, Error):
        provider = data.provider
        if (
            isinstance(provider, dict)
            and provider.get("type") == "error"
            and isinstance(provider.get("errorText"), str)
        ):
            return (Frame(encode(provider)),)
        return (say("error", errorText=data.message or FAILURES[Outcome.FAILED]),)
    told = data.error.message if data.error is not None else ""
    if data.outcome is Outcome.CANCELLED:
        return (say("abort", **({"reason": told} if told else {})),)
    error = say("error", errorText=told or FAILURES[data.outcome])
    return (
        (error, say("abort", reason=told or FAILURES[data.outcome]))
        if (data.outcome is Outcome.INTERRUPTED)
        else (error,)
    )
