"""What a stream says, as facts under the keys by which dialects declare their losses (`patinox.formats.losses`)."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from patinox.core.chunks import Binary, End, Error, Json, Outcome, StreamChunk
from patinox.core.events import (
    BlockDelta,
    Event,
    MessageEnd,
    MessageStart,
    Metadata,
    Native,
    Retract,
    RunStart,
    StatePatch,
    StateSnapshot,
    StepEnd,
    StepStart,
    ToolApproval,
    ToolError,
    ToolReady,
    ToolResult,
    Verdict,
)
from patinox.formats.citations import citations
from patinox.formats.media import address, file_url
from patinox.incremental.assembler import AssembledBlock, Assembly

TEXTS = ("text", "reasoning", "reasoning_summary", "refusal", "code", "compaction")
CALLS = ("tool_call", "server_tool_call", "custom")
_USAGE = ("input_tokens", "output_tokens", "total_tokens", "reasoning_tokens", "cached_tokens", "cache_write_tokens")


_ENDS = ("end:complete", "end:incomplete")


class Fact(NamedTuple):
    """One thing that a stream says. `within` is the key of what it is a part of, with which it may be lost."""

    key: str
    value: Any
    within: tuple[str, ...] = ()


Ops = set[tuple[int, int | None, str]]


def facts(data: Iterable[Any]) -> list[Fact]:
    """All that these records say, the one that ends the log included.

    A stream that failed ends with its error: what is told with a good end (the reason, that a call can be carried
    out) is not expected of it. The usage is: what was counted was paid for, however it ended.
    """
    items = list(data)
    assembly = Assembly()
    for sequence, item in enumerate(items, 1):
        assembly.apply(StreamChunk(sequence, item, 0.0))
    ops: Ops = {(item.message, item.block, item.op) for item in items if isinstance(item, BlockDelta)}
    ops |= {(item.message, item.block, "retract") for item in items if isinstance(item, Retract)}
    said = [*_events(items, assembly), *_blocks(assembly, ops), *_usage(assembly)]
    if any(item.kind in ("end", "error") and _has_failed(item) for item in items):
        return [fact for fact in said if not fact.key.startswith(("message.end:", "tool.ready"))]
    return said


def _has_failed(item: Any) -> bool:
    return isinstance(item, Error) or item.outcome not in (Outcome.COMPLETE, Outcome.INCOMPLETE)


def _usage(assembly: Assembly) -> Iterator[Fact]:
    for field in _USAGE:
        if (assembly.usage or {}).get(field) is not None:
            yield Fact(f"usage:{field}", assembly.usage[field])  # type: ignore[index]
    if (assembly.usage or {}).get("raw") is not None:
        yield Fact("usage:raw", _plain(assembly.usage["raw"]))  # type: ignore[index]


def _blocks(assembly: Assembly, ops: Ops) -> Iterator[Fact]:
    bare = 0
    while text := assembly.bare_text(bare):
        yield Fact("block.start:text", text)
        bare += 1
    for block in assembly.blocks.values():
        message = assembly.messages.get(block.message)
        if block.choice:
            yield Fact("choice", (block.choice, block.kind, block.text))
        elif message is not None and message.role != "assistant":
            yield Fact("message.start:role", (message.role, block.kind, block.text))
        else:
            yield from _block(
                block, {op for message, index, op in ops if (message, index) == (block.message, block.index)}
            )


_TAKEN_BACK = {"retract": "retract", "replace": "block.delta:replace"}


def _block(block: AssembledBlock, ops: set[str]) -> Iterator[Fact]:
    key = f"block.start:{block.kind}"
    if block.kind in TEXTS:
        if block.text:
            yield Fact(key, block.text, tuple(_TAKEN_BACK[op] for op in ops if op in _TAKEN_BACK))
    elif block.kind in CALLS:
        yield Fact(key, block.name)
        yield from _call(block, key)
    elif block.kind in ("image", "audio", "file"):
        yield Fact(key, _medium(block))
    else:
        yield Fact(key, address(block.value)[0] or _plain(block.value))
    within = (key,)
    for value in block.annotations:
        pages = [page["url"] for page in citations(value)] or [_plain(value)]
        yield from (Fact("block.delta:annotation.add", page, within) for page in pages)
    if block.logprobs:
        yield Fact("block.delta:logprobs.add", _plain(block.logprobs), within)
    if block.value is not None and block.kind in (*TEXTS, *CALLS):
        op = "opaque.append" if "opaque.append" in ops else "opaque.set"
        yield Fact(f"block.delta:{op}", _plain(block.value), within)


def _call(block: AssembledBlock, key: str) -> Iterator[Fact]:
    if block.name:
        yield Fact("block.start:name", block.name, (key,))
    if block.call_id:
        yield Fact("block.start:call_id", block.call_id, (key,))
    if block.kind == "custom" or not block.text:
        return
    yield Fact("block.delta:json.append", block.text, (key,))


def _medium(block: AssembledBlock) -> Any:
    url, _ = file_url(block)
    return _address(block.value) if url is None else url.partition(";base64,")[2] or url


def _address(value: Any) -> Any:
    inner = value.get("url_citation", value) if isinstance(value, dict) else value
    inner = inner.get("image_url", inner) if isinstance(inner, dict) else inner
    return inner.get("url") or _plain(inner) if isinstance(inner, dict) else _plain(inner)


def _plain(value: Any) -> str:
    """JSON with its keys in order: what is equal as JSON is equal."""
    return json.dumps(msgspec.to_builtins(value), sort_keys=True)


def _events(items: list[Any], assembly: Assembly) -> Iterator[Fact]:
    spoken = [item for item in items if isinstance(item, MessageStart) and item.role == "assistant" and not item.choice]
    if len(spoken) > 1:
        yield Fact("message.start", len(spoken))
    last = max((at for at, item in enumerate(items) if isinstance(item, MessageEnd) and not item.choice), default=0)
    runs = 0
    for at, item in enumerate(items):
        runs += isinstance(item, RunStart)
        earlier = (isinstance(item, MessageEnd) and at < last) or (isinstance(item, RunStart) and runs > 1)
        block = assembly.blocks.get((item.message, item.block)) if isinstance(item, Event) else None
        within = ("message.start",) if earlier else (f"block.start:{block.kind}",) if block is not None else ()
        if isinstance(item, MessageEnd | ToolReady):
            within = (*within, *_ENDS)
        is_server = block is not None and block.kind == "server_tool_call"
        yield from (Fact(fact.key, fact.value, (*within, *fact.within)) for fact in _event(item, is_server))


def _event(item: Any, is_server: bool) -> Iterator[Fact]:
    match item:
        case Json():
            yield Fact("json", _plain(item.value))
        case Binary():
            yield Fact("binary", item.data.hex())
        case RunStart():
            for field in ("model", "provider"):
                if getattr(item, field) is not None:
                    yield Fact(f"run.start:{field}", getattr(item, field), _ENDS)
            if item.created_s is not None:
                yield Fact("run.start:created_s", int(item.created_s), _ENDS)
        case MessageEnd() if not item.choice:
            for field in ("finish_reason", "provider_reason", "stop_sequence", "details"):
                if getattr(item, field) is not None:
                    yield Fact(f"message.end:{field}", _plain(getattr(item, field)))
        case ToolReady() if not item.choice and not is_server:
            yield from _ready(item)
        case ToolResult():
            yield Fact("tool.result", (item.call_id, _said(item.result)))
        case ToolError():
            yield Fact("tool.error", (item.call_id, item.error))
            if item.details is not None:
                yield Fact("tool.error:details", _plain(item.details), ("tool.error",))
        case ToolApproval():
            yield Fact("tool.approval", item.call_id)
            if item.approved is not None:
                yield Fact("tool.approval:approved", (item.call_id, item.approved), ("tool.approval",))
        case StepStart() | StepEnd():
            yield Fact(item.kind, item.name)
        case StateSnapshot():
            yield Fact(item.kind, _plain(item.state))
        case StatePatch():
            yield Fact(item.kind, _plain(item.patch))
        case Metadata():
            yield Fact(item.kind, (item.name, _plain(item.value)))
        case Verdict():
            yield Fact(item.kind, (item.validator, item.action, item.rule))
        case Retract():
            yield Fact(item.kind, (item.start, item.count, item.replacement))
        case Native():
            yield Fact(item.kind, (item.dialect, _plain(item.value)))
        case BlockDelta(op="replace" | "json.patch"):
            yield Fact(f"{item.kind}:{item.op}", _plain(item.value or item.text))
        case Error():
            yield Fact("error", item.message)
        case End():
            yield Fact(f"end:{item.outcome}", None if item.error is None else item.error.message)
    if isinstance(item, Event) and item.provider_id is not None:
        yield Fact("provider_id", (item.kind, item.provider_id))
    if isinstance(item, Event) and item.ext and any(item.ext.values()):
        yield Fact("ext", _plain(item.ext))


def _ready(item: ToolReady) -> Iterator[Fact]:
    yield Fact("tool.ready", item.name)
    if item.invalid_raw is not None:
        yield Fact("tool.ready:invalid_raw", item.invalid_raw)
    elif item.arguments is not None:
        yield Fact("tool.ready:arguments", _plain(item.arguments))


def _said(value: Any) -> Any:
    """A result that is told as text is the same result."""
    if isinstance(value, str):
        try:
            return _plain(json.loads(value))
        except ValueError:
            return _plain(value)
    return _plain(value)


_FAILED = {f"end:{outcome}" for outcome in (Outcome.FAILED, Outcome.INTERRUPTED, Outcome.CANCELLED)} | {"error"}


class Losses(NamedTuple):
    """What is gone, by key: all of it, and what is not just a part of something else that is gone."""

    gone: dict[str, list[Any]]
    first: dict[str, list[Any]]


def lost(before: list[Fact], after: list[Fact]) -> Losses:
    """What `before` says and `after` does not."""
    texts = {key: "".join(fact.value for fact in after if fact.key == key) for key in _keys(after) if _is_text(key)}
    at = dict.fromkeys(texts, 0)
    left = Counter((fact.key, fact.value) for fact in after)
    gone: dict[str, list[Fact]] = {}
    for fact in sorted(before, key=lambda fact: "message.start" in fact.within):  # what stands alone is found first
        if _is_text(fact.key):
            found = texts.get(fact.key, "").find(fact.value, at.get(fact.key, 0))
            if found >= 0:
                at[fact.key] = found + len(fact.value)
                continue
        elif fact.key in _FAILED:
            if any(other.key in _FAILED for other in after):
                continue
        elif left[fact.key, fact.value] > 0:
            left[fact.key, fact.value] -= 1
            continue
        gone.setdefault(fact.key, []).append(fact)
    own = {key: [fact.value for fact in facts if not gone.keys() & {*fact.within}] for key, facts in gone.items()}
    return Losses(
        {key: [fact.value for fact in facts] for key, facts in gone.items()},
        {key: values for key, values in own.items() if values},
    )


def _keys(said: list[Fact]) -> set[str]:
    return {fact.key for fact in said}


def _is_text(key: str) -> bool:
    return key.startswith("block.start:") and key.removeprefix("block.start:") in TEXTS
