"""Streams for the test of all pairs of dialects: the recordings, and invented ones for what nobody recorded."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.flat import AG_UI_STREAMS, AGENT, AI_SDK_STREAMS, OLLAMA_STREAMS, STEPS, lines, sse
from tests.recordings import FOLDER

from patinox.core.chunks import Binary, End, Error, Json, Outcome, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    Metadata,
    Native,
    Retract,
    RunEnd,
    RunStart,
    StatePatch,
    StateSnapshot,
    StepEnd,
    StepStart,
    ToolApproval,
    ToolError,
    ToolReady,
    ToolResult,
    Usage,
    Verdict,
)
from patinox.formats.transformer import StreamTransformer

RECORDED = ("anthropic", "gemini", "openai-chat", "openai-responses")


class Stream(NamedTuple):
    """A stream in the dialect `source`."""

    source: str
    name: str
    data: bytes


def _block(number: int, of: Any, *deltas: dict[str, Any], **start: Any) -> list[Any]:
    return [
        BlockStart(block=number, of=of, **start),
        *(BlockDelta(block=number, **delta) for delta in deltas),
        BlockEnd(block=number),
    ]


_PROBABLE = {"op": "logprobs.add", "value": {"content": [{"token": "it.", "logprob": -0.5}]}}

KINDS: list[Any] = [
    RunStart(model="m-1", provider="acme", created_s=1_700_000_000.0, provider_id="run-1"),
    MessageStart(provider_id="msg-1"),
    *_block(0, "text", {"text": "Say "}, {"text": "it."}, _PROBABLE),
    *_block(1, "refusal", {"text": "I'd rather not."}),
    *_block(2, "reasoning", {"text": "hm"}, *({"op": "opaque.append", "value": each} for each in ("c2ln", "bmVk"))),
    *_block(3, "reasoning_summary", {"text": "thought about it"}),
    *_block(4, "reasoning_opaque", {"op": "opaque.set", "value": "c2VhbGVk"}),
    *_block(5, "code", {"text": "print(1)"}, name="python"),
    *_block(6, "audio", {"op": "bytes.append", "data": b"RIFF"}, {"text": "spoken"}),
    *_block(7, "image", {"op": "bytes.append", "data": b"\x89PNG"}),
    *_block(8, "image", {"op": "opaque.set", "value": {"url": "https://example.org/i.png"}}),
    *_block(9, "file", {"op": "opaque.set", "value": {"url": "https://example.org/f.pdf"}}),
    *_block(10, "source", {"op": "opaque.set", "value": {"url": "https://example.org/s", "title": "S"}}),
    *_block(11, "compaction", {"text": "so far"}),
    *_block(12, "custom", {"op": "opaque.set", "value": {"any": 1}}, name="odd"),
    *_block(13, "server_tool_call", {"op": "json.append", "text": '{"q":"x"}'}, name="search", call_id="srv_1"),
    BlockStart(block=14, of="tool_result", name="search", call_id="srv_1"),
    ToolResult(block=14, call_id="srv_1", name="search", result=[{"url": "u"}]),
    BlockEnd(block=14),
    *_block(15, "text", {"text": "Another"}, {"op": "annotation.add", "value": {"type": "page_location", "page": 3}}),
    MessageEnd(finish_reason="stop", provider_reason="eos", stop_sequence="\n\n", details={"why": 1}),
    Usage(mode="final", input_tokens=30, output_tokens=9, total_tokens=39, reasoning_tokens=2, cached_tokens=3,
          cache_write_tokens=4, raw={"n": 1}),
    RunEnd(),
]  # fmt: skip
"""A block of every kind."""

APPLICATION: list[Any] = [
    RunStart(),
    StepStart(name="plan"),
    MessageStart(),
    Text("bare"),
    Json({"a": 1}),
    Binary(b"\0\1"),
    StateSnapshot(state={"n": 1}),
    StatePatch(patch=[{"op": "replace", "path": "/n", "value": 2}]),
    Metadata(name="note", value=1),
    Metadata(value={"k": 1}),
    Verdict(validator="pii", action="redacted", rule="email"),
    Native(dialect="elsewhere", value={"odd": 1}),
    BlockStart(block=0),
    BlockDelta(block=0, text="Hello, wrld"),
    Retract(block=0, start=7, count=4, replacement="world"),
    BlockDelta(block=0, op="replace", value="Hello, all"),
    BlockEnd(block=0),
    BlockStart(block=1, of="tool_call", name="weather", call_id="c1"),
    BlockDelta(block=1, op="json.append", text='{"a": 1}'),
    BlockDelta(block=1, op="json.patch", value=[{"op": "add", "path": "/b", "value": 2}]),
    BlockEnd(block=1),
    ToolReady(block=1, call_id="c1", name="weather", arguments={"a": 1}),
    ToolApproval(block=1, call_id="c1", name="weather"),
    ToolApproval(block=1, call_id="c1", name="weather", approved=True),
    ToolError(block=1, call_id="c1", name="weather", error="no", details={"code": 7}),
    MessageEnd(finish_reason="tool_calls"),
    MessageStart(message=1, role="tool"),
    BlockStart(message=1, block=0),
    BlockDelta(message=1, block=0, text="a tool says"),
    BlockEnd(message=1, block=0),
    MessageEnd(message=1),
    StepEnd(name="plan"),
    RunEnd(),
]
"""What an application adds of its own."""

ALTERNATIVES: list[Any] = [
    RunStart(model="m"),
    *(MessageStart(message=choice, choice=choice) for choice in (0, 1)),
    *(BlockStart(message=choice, choice=choice, block=0) for choice in (0, 1)),
    *(BlockDelta(message=choice, choice=choice, block=0, text=f"answer {choice}") for choice in (0, 1)),
    *(BlockEnd(message=choice, choice=choice, block=0) for choice in (0, 1)),
    *(MessageEnd(message=choice, choice=choice, finish_reason="stop") for choice in (0, 1)),
    RunEnd(),
]


def _one(reason: Any, *records: Any) -> list[Any]:
    outcome = Outcome.INCOMPLETE if reason == "length" else Outcome.COMPLETE
    return [RunStart(model="m"), MessageStart(), *records, MessageEnd(finish_reason=reason), RunEnd(outcome=outcome)]


_HALF_CALL = [
    BlockStart(block=0, of="tool_call", name="weather", call_id="c1"),
    BlockDelta(block=0, op="json.append", text='{"ci'),
    BlockEnd(block=0),
]
_BROKEN_CALL = ToolReady(block=0, call_id="c1", name="weather", invalid_raw='{"ci')
_SAID = [BlockStart(block=0), BlockDelta(block=0, text="said"), BlockEnd(block=0)]
_HOOKED = BlockDelta(block=0, op="annotation.add", value={"type": "url_citation", "url": "https://example.org/w"})
_GROUNDED = BlockDelta(
    block=0,
    op="annotation.add",
    value={"groundingChunks": [{"web": {"uri": f"https://example.org/{name}", "title": name}} for name in "ab"]},
)

_ALL_COUNTS = Usage(mode="cumulative", input_tokens=30, output_tokens=9, total_tokens=39, reasoning_tokens=2,
                    cached_tokens=3, cache_write_tokens=4, raw={"n": 1})  # fmt: skip


def _counted(ending: End | Error) -> list[Any]:
    """A stream whose usage was known before it ended otherwise than well."""
    return [RunStart(), MessageStart(), *_SAID, _ALL_COUNTS, ending]


NEUTRAL: dict[str, list[Any]] = {
    "agent": AGENT,
    "steps": STEPS,
    "kinds": KINDS,
    "application": APPLICATION,
    "alternatives": ALTERNATIVES,
    "citations": _one(
        "stop", BlockStart(block=0), _HOOKED, _GROUNDED, BlockDelta(block=0, text="x"), BlockEnd(block=0)
    ),
    "thought-alone": [
        *_one("tool_calls", _HALF_CALL[0], ToolReady(block=0, call_id="c1", name="weather", arguments={}))[:-1],
        MessageStart(message=1),
        BlockStart(message=1, block=0, of="reasoning"),
        BlockDelta(message=1, block=0, text="hm"),
        MessageEnd(message=1, finish_reason="stop"),
        RunEnd(),
    ],
    "half-a-call": _one("length", *_HALF_CALL),
    "a-broken-call": _one("tool_calls", *_HALF_CALL, _BROKEN_CALL),
    **{
        f"reason-{reason}": _one(reason, *_SAID) for reason in ("length", "content_filter", "refusal", "pause", "other")
    },
    "cancelled": [RunStart(), MessageStart(), *_SAID, End(Outcome.CANCELLED, Error("cancelled", "stopped"))],
    "interrupted": [RunStart(), MessageStart(), *_SAID[:-1], End(Outcome.INTERRUPTED, Error("gone", "broke off"))],
    "failed": [RunStart(), MessageStart(), *_SAID[:-1], Error("overloaded", "try later")],
    "failed-outcome": [Text("x"), End(Outcome.FAILED, Error("odd", "failed"))],
    "counted-and-failed": _counted(Error("overloaded", "try later")),
    "counted-and-cancelled": _counted(End(Outcome.CANCELLED, Error("cancelled", "stopped"))),
    "counted-and-interrupted": _counted(End(Outcome.INTERRUPTED, Error("gone", "broke off"))),
    "counted-and-failed-outcome": _counted(End(Outcome.FAILED, Error("odd", "failed"))),
    "counted-before-a-word": [_ALL_COUNTS, Error("overloaded", "try later")],
    "counted-and-broken": _one("tool_calls", *_HALF_CALL, _BROKEN_CALL, _ALL_COUNTS),
    "counted-and-withheld": _one("content_filter", *_SAID, _ALL_COUNTS),
    "counted-and-cut": [*_one("tool_calls", *_HALF_CALL, _ALL_COUNTS)[:-2], End(Outcome.INCOMPLETE)],
    "thoughts-counted-apart": _one(
        "stop", *_SAID, Usage(input_tokens=30, output_tokens=9, total_tokens=44, reasoning_tokens=5)
    ),
    "more-thoughts-than-output": _one(
        "stop", *_SAID, Usage(input_tokens=30, output_tokens=9, total_tokens=39, reasoning_tokens=11)
    ),
    "nothing": [End(Outcome.COMPLETE)],
}


def invented() -> Iterator[Stream]:
    """Every stream that was made up."""
    for name, frames in AI_SDK_STREAMS.items():
        yield Stream("ai-sdk", name, sse(*frames))
    for name, frames in AG_UI_STREAMS.items():
        yield Stream("ag-ui", name, sse(*frames))
    for name, frames in OLLAMA_STREAMS.items():
        yield Stream("ollama", name, lines(*frames))
    for name, records in NEUTRAL.items():
        yield Stream("patinox", name, b"".join(StreamTransformer("patinox", "patinox").events(records)))


def recordings() -> Iterator[Stream]:
    """Every recorded stream that there is."""
    for source in RECORDED:
        for path in sorted((FOLDER / source).glob("*.sse")):
            yield Stream(source, path.stem, path.read_bytes())


STREAMS = {f"{stream.source}-{stream.name}": stream for stream in (*invented(), *recordings())}
"""All of them, by a name."""
