"""Streams in the dialects that nobody has recorded (ai-sdk, ag-ui, ollama), written after their documentation, and
the checks that hold for all three."""

import json
import random
from collections.abc import Iterable
from typing import Any

import msgspec
from tests.dialects import HEAD, framed, logged, payloads, read, write

from patinox.core.chunks import End, Outcome, StreamChunk
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    RunEnd,
    RunStart,
    StepEnd,
    StepStart,
    ToolReady,
    ToolResult,
    Usage,
)
from patinox.formats.base import Format, Frame
from patinox.incremental.assembler import Assembly

COMPLETE = End(Outcome.COMPLETE)


def sse(*frames: Any) -> bytes:
    return b"".join(
        b"data: %b\n\n" % (frame.encode() if isinstance(frame, str) else json.dumps(frame).encode()) for frame in frames
    )


def lines(*frames: Any) -> bytes:
    return b"".join(json.dumps(frame).encode() + b"\n" for frame in frames)


def body(dialect: Format[Any], frames: Iterable[Frame]) -> bytes:
    """The frames as they go over the wire."""
    if dialect.framing == "lines":
        return b"".join(frame.data + b"\n" for frame in frames)
    return framed(frames)


def values(dialect: Format[Any], stream: bytes) -> list[Any]:
    """The parsed frames of a stream."""
    if dialect.framing == "lines":
        return [json.loads(line) for line in stream.splitlines()]
    return [value for _, value in payloads(stream)]


def round_trip(dialect: Format[Any], stream: bytes) -> list[Any]:
    events, ending, _ = read(dialect, stream)
    return values(dialect, body(dialect, write(dialect, logged([*events, ending]))))


def written(dialect: Format[Any], *data: Any) -> list[Any]:
    return values(dialect, body(dialect, write(dialect, logged(data))))


def check_every_cut(dialect: Format[Any], stream: bytes) -> None:
    whole = read(dialect, stream)
    for cut in range(len(stream) + 1):
        assert read(dialect, stream[:cut], stream[cut:]) == whole, f"cut at byte {cut}"
    assert read(dialect, *(stream[at : at + 1] for at in range(len(stream)))) == whole


def check_random_cuts(dialect: Format[Any], stream: bytes, seed: str, times: int = 50) -> None:
    whole, chance = read(dialect, stream), random.Random(seed)
    for _ in range(times):
        cuts = sorted(chance.randrange(len(stream) + 1) for _ in range(chance.randrange(1, 12)))
        pieces = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        assert read(dialect, *pieces) == whole, f"cut at {cuts}"


def check_purity(dialect: Format[Any], state_type: type, records: list[StreamChunk]) -> None:
    """From the state after any record, through JSON, the same frames follow."""
    writer, state, assembly = dialect.writer, dialect.writer.initial(HEAD), Assembly()
    for record in records:
        assembly.apply(record)
        restored: Any = msgspec.json.decode(msgspec.json.encode(state), type=state_type)
        again = list(writer.write(restored, record, assembly)[1])
        state, frames = writer.write(state, record, assembly)
        assert list(frames) == again


def resumed(dialect: Format[Any], records: list[StreamChunk], at: int) -> bytes:
    """What a fresh client gets that attaches after `at` records."""
    writer, state, assembly = dialect.writer, dialect.writer.initial(HEAD), Assembly()
    for record in records[:at]:
        assembly.apply(record)
        state, _ = writer.write(state, record, assembly)
    frames = list(writer.openers(state, assembly))
    for record in records[at:]:
        assembly.apply(record)
        state, made = writer.write(state, record, assembly)
        frames += made
    return body(dialect, frames)


AGENT: list[Any] = [
    RunStart(model="m-1", provider="acme"),
    MessageStart(),
    BlockStart(block=0, of="reasoning"),
    BlockDelta(block=0, text="I need the weather."),
    BlockDelta(block=0, op="opaque.set", value="c2lnbmVk"),
    BlockEnd(block=0),
    BlockStart(block=1),
    BlockDelta(block=1, text="Let me "),
    BlockDelta(block=1, text="look — 🌦."),
    BlockEnd(block=1),
    BlockStart(block=2, of="tool_call", name="weather", call_id="call_a"),
    BlockStart(block=3, of="tool_call", name="time", call_id="call_b"),
    BlockDelta(block=2, op="json.append", text='{"city": "P'),
    BlockDelta(block=2, op="json.append", text='aris"}'),
    BlockEnd(block=2),
    ToolReady(block=2, call_id="call_a", name="weather", arguments={"city": "Paris"}),
    BlockEnd(block=3),
    ToolReady(block=3, call_id="call_b", name="time", arguments={}),
    Usage(mode="cumulative", input_tokens=10, output_tokens=4),
    MessageEnd(finish_reason="tool_calls", provider_reason="tool_use"),
    ToolResult(block=2, call_id="call_a", name="weather", result={"sky": "grey"}),
    ToolResult(block=3, call_id="call_b", name="time", result="noon"),
    MessageStart(message=1),
    BlockStart(message=1, block=0),
    BlockDelta(message=1, block=0, text="Grey, "),
    BlockDelta(
        message=1,
        block=0,
        op="annotation.add",
        value={"type": "url_citation", "url": "https://example.org/w", "title": "Weather"},
    ),
    BlockDelta(message=1, block=0, text="at noon."),
    BlockEnd(message=1, block=0),
    MessageEnd(message=1, finish_reason="stop", provider_reason="end_turn"),
    Usage(mode="final", input_tokens=30, output_tokens=9, total_tokens=39),
    RunEnd(),
]
"""An agent's run of two turns, in no dialect."""

AGENT_TEXT = "Let me look — 🌦.Grey, at noon."

STEPS: list[Any] = [
    RunStart(),
    StepStart(step="1", name="plan"),
    BlockStart(block=0),
    BlockDelta(block=0, text="one"),
    BlockEnd(block=0),
    StepEnd(step="1", name="plan"),
    StepStart(step="2", name="act"),
    BlockStart(block=1),
    BlockDelta(block=1, text="two"),
    BlockEnd(block=1),
    StepEnd(step="2", name="act"),
]

AI_SDK_STREAMS: dict[str, list[Any]] = {
    "text": [
        {"type": "start", "messageId": "msg_1"},
        {"type": "start-step"},
        {"type": "text-start", "id": "txt-0"},
        {"type": "text-delta", "id": "txt-0", "delta": "Hel"},
        {"type": "text-delta", "id": "txt-0", "delta": "lo  🌍\r\n"},
        {"type": "text-delta", "id": "txt-0", "delta": ""},
        {"type": "text-end", "id": "txt-0"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
        "[DONE]",
    ],
    "reasoning-and-tools": [
        {"type": "start", "messageMetadata": {"model": "m", "createdAt": 1}},
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "0", "providerMetadata": {"anthropic": {}}},
        {"type": "reasoning-delta", "id": "0", "delta": "hm"},
        {"type": "reasoning-delta", "id": "0", "delta": "", "providerMetadata": {"anthropic": {"signature": "sig"}}},
        {"type": "reasoning-end", "id": "0"},
        {"type": "tool-input-start", "toolCallId": "c1", "toolName": "weather"},
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"city":'},
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '"Rome"}'},
        {"type": "tool-input-available", "toolCallId": "c1", "toolName": "weather", "input": {"city": "Rome"}},
        {"type": "tool-input-available", "toolCallId": "c2", "toolName": "now", "input": {}, "dynamic": True},
        {"type": "tool-input-start", "toolCallId": "c3", "toolName": "search", "providerExecuted": True},
        {"type": "tool-input-error", "toolCallId": "c3", "toolName": "search", "input": "{", "errorText": "bad"},
        {"type": "tool-output-available", "toolCallId": "c1", "output": "…", "preliminary": True},
        {"type": "tool-output-available", "toolCallId": "c1", "output": {"temp": 30}},
        {"type": "tool-approval-request", "approvalId": "a1", "toolCallId": "c2"},
        {"type": "tool-output-denied", "toolCallId": "c2"},
        {"type": "tool-output-error", "toolCallId": "c3", "errorText": "no"},
        {"type": "finish-step"},
        {"type": "start-step"},
        {"type": "text-start", "id": "0", "providerMetadata": {"openai": {"itemId": "i1"}}},
        {"type": "text-delta", "id": "0", "delta": "30 °C", "providerMetadata": {"openai": {"itemId": "i1"}}},
        {"type": "text-delta", "id": "0", "delta": " there", "providerMetadata": {"openai": {"itemId": "i1"}}},
        {"type": "source-url", "sourceId": "s1", "url": "https://example.org", "title": "E"},
        {"type": "source-document", "sourceId": "s2", "mediaType": "application/pdf", "title": "D"},
        {"type": "file", "url": "data:image/png;base64,AAAA", "mediaType": "image/png"},
        {"type": "text-end", "id": "0", "providerMetadata": {"openai": {"itemId": "i1"}}},
        {"type": "data-weather", "id": "d1", "data": {"x": [1]}},
        {"type": "data-note", "data": None, "transient": True},
        {"type": "data-plain", "data": "x"},
        {"type": "message-metadata", "messageMetadata": {"k": 1}},
        {"type": "reset-step"},
        {"type": "something-new", "a": {"$": 0}},
        {"type": "finish-step"},
        {
            "type": "finish",
            "finishReason": "tool-calls",
            "messageMetadata": {"usage": {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}},
        },
        "[DONE]",
    ],
    "without-start": [
        {"type": "start-step"},
        {"type": "text-start", "id": "a"},
        {"type": "text-delta", "id": "a", "delta": "x"},
        {"type": "text-end", "id": "a"},
        {"type": "finish-step"},
        "[DONE]",
    ],
    "length": [
        {"type": "start"},
        {"type": "tool-input-start", "toolCallId": "c1", "toolName": "weather"},
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"ci'},
        {"type": "finish", "finishReason": "length"},
        "[DONE]",
    ],
    "error": [
        {"type": "start"},
        {"type": "text-start", "id": "a"},
        {"type": "text-delta", "id": "a", "delta": "x"},
        {"type": "error", "errorText": "overloaded"},
    ],
    "abort": [
        {"type": "start"},
        {"type": "text-start", "id": "a"},
        {"type": "text-delta", "id": "a", "delta": "x"},
        {"type": "abort", "reason": "user pressed stop"},
    ],
}

_RUN = {"threadId": "t1", "runId": "r1"}

AG_UI_STREAMS: dict[str, list[Any]] = {
    "text": [
        {"type": "RUN_STARTED", **_RUN},
        {"type": "TEXT_MESSAGE_START", "messageId": "m1", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "Hel"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "lo 🌍\r\n"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": ""},
        {"type": "TEXT_MESSAGE_END", "messageId": "m1"},
        {"type": "RUN_FINISHED", **_RUN},
    ],
    "agent": [
        {"type": "RUN_STARTED", **_RUN, "timestamp": 17},
        {"type": "STEP_STARTED", "stepName": "plan"},
        {"type": "STATE_SNAPSHOT", "snapshot": {"n": 1}},
        {"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/n", "value": 2}]},
        {"type": "REASONING_START", "messageId": "rs"},
        {"type": "REASONING_MESSAGE_START", "messageId": "r1", "role": "reasoning"},
        {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r1", "delta": "hm"},
        {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r1", "delta": "m"},
        {"type": "REASONING_MESSAGE_END", "messageId": "r1"},
        {"type": "REASONING_ENCRYPTED_VALUE", "subtype": "message", "entityId": "r1", "encryptedValue": "abc"},
        {"type": "REASONING_END", "messageId": "rs"},
        {"type": "TEXT_MESSAGE_START", "messageId": "m1", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "Looking", "timestamp": 18},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "…", "timestamp": 18},
        {"type": "TEXT_MESSAGE_END", "messageId": "m1"},
        {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "weather", "parentMessageId": "m1"},
        {"type": "TOOL_CALL_START", "toolCallId": "c2", "toolCallName": "now"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": '{"city":'},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": '"Rome"}'},
        {"type": "TOOL_CALL_END", "toolCallId": "c1"},
        {"type": "TOOL_CALL_END", "toolCallId": "c2"},
        {"type": "TOOL_CALL_RESULT", "messageId": "x1", "toolCallId": "c1", "content": "30", "role": "tool"},
        {"type": "TOOL_CALL_RESULT", "messageId": "x2", "toolCallId": "c2", "content": "noon"},
        {"type": "CUSTOM", "name": "progress", "value": {"p": 0.5}},
        {"type": "RAW", "event": {"any": 1}, "source": "langgraph"},
        {"type": "RAW", "event": {"any": 2}},
        {"type": "ACTIVITY_SNAPSHOT", "messageId": "a1", "activityType": "PLAN", "content": {"s": []}},
        {"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "m1", "role": "assistant", "content": "Looking…"}]},
        {"type": "STEP_FINISHED", "stepName": "plan"},
        {"type": "TEXT_MESSAGE_START", "messageId": "m2", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m2", "delta": "30 degrees"},
        {"type": "TEXT_MESSAGE_END", "messageId": "m2"},
        {
            "type": "RUN_FINISHED",
            **_RUN,
            "result": {"answer": 30},
            "outcome": {"type": "success"},
            "usage": [
                {"model": "a", "inputTokens": 3, "outputTokens": 4},
                {"model": "b", "inputTokens": 5, "cachedInputTokens": 1},
            ],
        },
    ],
    "chunks": [
        {"type": "RUN_STARTED", **_RUN},
        {"type": "REASONING_MESSAGE_CHUNK", "messageId": "r1", "delta": "think"},
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": "m1", "role": "assistant", "delta": "He"},
        {"type": "TEXT_MESSAGE_CHUNK", "delta": "llo"},
        {"type": "TEXT_MESSAGE_CHUNK", "delta": "!"},
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": "m2", "delta": "Again"},
        {"type": "TOOL_CALL_CHUNK", "toolCallId": "c1", "toolCallName": "f", "delta": '{"a":'},
        {"type": "TOOL_CALL_CHUNK", "delta": "1}"},
        {"type": "SOMETHING_NEW", "a": {"$": 0}},
        {"type": "RUN_FINISHED", **_RUN},
    ],
    "thinking": [
        {"type": "RUN_STARTED", **_RUN},
        {"type": "THINKING_START", "title": "T"},
        {"type": "THINKING_TEXT_MESSAGE_START"},
        {"type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": "a"},
        {"type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": "b"},
        {"type": "THINKING_TEXT_MESSAGE_END"},
        {"type": "THINKING_END"},
        {"type": "RUN_FINISHED", **_RUN},
    ],
    "two-at-once": [
        {"type": "RUN_STARTED", **_RUN},
        {"type": "TEXT_MESSAGE_START", "messageId": "m1", "role": "assistant"},
        {"type": "TEXT_MESSAGE_START", "messageId": "m2", "role": "user"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "A"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m2", "delta": "B"},
        {"type": "TEXT_MESSAGE_END", "messageId": "m1"},
        {"type": "TEXT_MESSAGE_END", "messageId": "m2"},
        {"type": "RUN_FINISHED", **_RUN},
        {"type": "RUN_STARTED", "threadId": "t1", "runId": "r2"},
        {"type": "RUN_FINISHED", "threadId": "t1", "runId": "r2"},
    ],
    "interrupt": [
        {"type": "RUN_STARTED", **_RUN},
        {
            "type": "RUN_FINISHED",
            **_RUN,
            "outcome": {"type": "interrupt", "interrupts": [{"id": "i1", "reason": "approval", "toolCallId": "c1"}]},
        },
    ],
    "error": [
        {"type": "RUN_STARTED", **_RUN},
        {"type": "TEXT_MESSAGE_START", "messageId": "m1", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": "x"},
        {"type": "RUN_ERROR", "message": "overloaded", "code": "529", "usage": [{"inputTokens": 3}]},
    ],
}


def _line(second: int, message: dict[str, Any] | None, **fields: Any) -> dict[str, Any]:
    said = {} if message is None else {"message": {"role": "assistant", **message}}
    at = f"2025-07-07T20:22:{second:02}.184789Z"
    return {"model": "llama3.2", "created_at": at, **said, "done": False, **fields}


_COUNTS = {
    "total_duration": 182242375,
    "load_duration": 41295167,
    "prompt_eval_count": 169,
    "prompt_eval_duration": 24573166,
    "eval_count": 15,
    "eval_duration": 115959084,
}

OLLAMA_STREAMS: dict[str, list[Any]] = {
    "text": [
        *(_line(second, {"content": text}) for second, text in enumerate(["Hel", "lo 🌍", "\u2028", "!"])),
        _line(5, {"content": ""}, done=True, done_reason="stop", **_COUNTS),
    ],
    "thinking-and-tools": [
        _line(0, {"content": "", "thinking": "hm"}),
        _line(1, {"content": "", "thinking": "m"}),
        _line(2, {"content": "Looking", "images": None}),
        _line(3, {"content": "…"}, logprobs=[{"token": "…", "logprob": -0.5}]),
        _line(
            4,
            {
                "content": "",
                "tool_calls": [
                    {"id": "c1", "function": {"index": 0, "name": "weather", "arguments": {"city": "Rome"}}},
                    {"function": {"name": "now", "arguments": {}}},
                ],
            },
        ),
        _line(5, {"content": "", "images": ["AAAA"]}),
        _line(6, {"content": ""}, done=True, done_reason="stop", **_COUNTS),
    ],
    "length": [
        _line(0, {"content": "abc"}),
        _line(1, {"content": ""}, done=True, done_reason="length", eval_count=1),
    ],
    "in-one-piece": [_line(0, {"content": "Hello"}, done=True, **_COUNTS)],
    "old-ending": [_line(0, {"content": "Hello"}), _line(1, None, done=True, **_COUNTS)],
    "unknown": [{"status": "pulling manifest"}, _line(0, {"content": "a"}), _line(1, {"content": ""}, done=True)],
    "error": [_line(0, {"content": "abc"}), {"error": "model runner has unexpectedly stopped"}],
}
