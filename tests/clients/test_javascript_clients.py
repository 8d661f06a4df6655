"""What the official JavaScript clients make of ai-sdk and ag-ui streams: their own validation is the judge."""

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.clients.conftest import Judge
from tests.core.test_flat_dialects import FAILED_CHAT, ODD
from tests.dialects import assembled, logged, read, write
from tests.flat import (
    AG_UI_STREAMS,
    AGENT,
    AI_SDK_STREAMS,
    COMPLETE,
    STEPS,
    body,
    resumed,
    sse,
)
from tests.recordings import recorded

from patinox.core.chunks import End, Error, Outcome, StreamChunk, Text
from patinox.core.events import BlockStart, MessageEnd, ToolReady, Usage
from patinox.formats.ag_ui import AG_UI
from patinox.formats.ai_sdk import AI_SDK
from patinox.formats.anthropic import ANTHROPIC
from patinox.formats.base import Format
from patinox.formats.flat import as_call
from patinox.formats.openai_chat import OPENAI_CHAT
from patinox.formats.openai_responses import OPENAI_RESPONSES
from patinox.incremental.assembler import Assembly

# One process installs and asks for all of them.
pytestmark = [pytest.mark.xdist_group("javascript-clients"), pytest.mark.slow]

DIALECTS: tuple[Format[Any], ...] = (AI_SDK, AG_UI)


class Case(NamedTuple):
    """A stream to be read, and the log it was written from."""

    dialect: Format[Any]
    stream: bytes
    records: list[StreamChunk]


Verdicts = dict[str, dict[str, Any]]


def _records(source: Format[Any], path: Path) -> list[StreamChunk]:
    events, ending, _ = read(source, path.read_bytes())
    return logged([*events, ending])


def _with_heartbeats(dialect: Format[Any], stream: bytes) -> bytes:
    return stream.replace(b"\n\n", b"\n\n" + dialect.heartbeat)


def _recorded() -> dict[str, tuple[Format[Any], Path]]:
    found = {}
    for source in (OPENAI_CHAT, ANTHROPIC, OPENAI_RESPONSES):
        for param in recorded(source.name):
            path = param.values[0]
            if path.stem not in FAILED_CHAT and not any(word in path.stem for word in ("spliced", "missing")):
                found[f"{source.name}/{path.stem}"] = (source, path)
    return found


RECORDED = {name: where for name, where in _recorded().items() if where[1].name}
LOGS: dict[str, list[Any]] = {
    "text": [Text("Hel"), Text("lo"), COMPLETE],
    "nothing": [COMPLETE],
    "agent": [*AGENT, COMPLETE],
    "steps": [*STEPS, COMPLETE],
    "odd": [*ODD, COMPLETE],
    "length": [Text("Hel"), End(Outcome.INCOMPLETE)],
}
FAILURES: dict[str, Any] = {
    "failed": Error("overloaded", "try again"),
    "interrupted": End(Outcome.INTERRUPTED),
    "cancelled": End(Outcome.CANCELLED, Error("cancelled", "stopped")),
}
BEFORE_FAILURES: dict[str, list[Any]] = {
    "call": AGENT[:14],
    "text": [Text("partial")],
    "counted": [Text("partial"), Usage(mode="cumulative", input_tokens=30, output_tokens=9)],
    "counted-alone": [Usage(mode="cumulative", input_tokens=30, output_tokens=9)],
}


def _made(name: str) -> list[StreamChunk]:
    """The log of this name."""
    if name in LOGS:
        return logged(LOGS[name])
    if name in RECORDED:
        return _records(*RECORDED[name])
    kind, _, rest = name.partition("-")
    if kind == "shuffled":
        return logged([*random.Random(rest).sample([*AGENT, *STEPS, *ODD], 25), COMPLETE])
    if name == "cut-call":
        return logged([*AGENT[:14], MessageEnd(finish_reason="length"), End(Outcome.INCOMPLETE)])
    return logged([*BEFORE_FAILURES[rest], FAILURES[kind]])


def _fresh(dialect: Format[Any], name: str) -> Case:
    records = _made(name)
    return Case(dialect, body(dialect, write(dialect, records)), records)


def _beating(dialect: Format[Any]) -> Case:
    case = _fresh(dialect, "agent")
    return case._replace(stream=_with_heartbeats(dialect, case.stream))


def _late(dialect: Format[Any], at: int) -> Case:
    records = _made("agent")
    return Case(dialect, resumed(dialect, records, at), records)


def _relayed(dialect: Format[Any], frames: list[Any], at: int) -> Case:
    events, ending, _ = read(dialect, sse(*frames))
    records = logged([*events, ending])
    return Case(dialect, resumed(dialect, records, at), records)


def _cases() -> dict[str, Callable[[], Case]]:
    """How to make each stream, by name: none is made before a test asks."""
    names = [*LOGS, *RECORDED, "cut-call", *(f"shuffled-{number}" for number in range(20))]
    names += [f"{failure}-{what}" for failure in FAILURES for what in BEFORE_FAILURES]
    cases: dict[str, Callable[[], Case]] = {}
    for dialect in DIALECTS:
        cases |= {f"{dialect.name}:{name}": partial(_fresh, dialect, name) for name in names}
        cases[f"{dialect.name}:heartbeats"] = partial(_beating, dialect)
        cases |= {f"{dialect.name}:agent-from-{at}": partial(_late, dialect, at) for at in range(1, len(AGENT) + 1)}
    for dialect, streams in ((AI_SDK, AI_SDK_STREAMS), (AG_UI, AG_UI_STREAMS)):
        for name, frames in streams.items():
            events, _, _ = read(dialect, sse(*frames))
            for at in range(len(events) + 1):
                cases[f"{dialect.name}:documented-{name}-from-{at}"] = partial(_relayed, dialect, frames, at)
    return cases


CASES = _cases()


@pytest.fixture(scope="module")
def verdicts(judge: Judge) -> Verdicts:
    """What the clients made of every stream, asked once."""
    asked = [{"client": name.partition(":")[0], "body": make().stream.decode()} for name, make in CASES.items()]
    return dict(zip(CASES, judge(asked), strict=True))


def _texts(dialect: Format[Any], verdict: dict[str, Any]) -> str:
    if dialect is AI_SDK:
        parts = (verdict["message"] or {}).get("parts", [])
        return "".join(part["text"] for part in parts if part["type"] == "text" and not _is_refusal(part))
    return "".join(
        message.get("content") or ""
        for message in verdict["messages"]
        if message["role"] == "assistant" and not _is_refusal(message)
    )


def _is_refusal(part: dict[str, Any]) -> bool:
    note = part.get("providerMetadata", part.get("metadata")) or {}
    return bool(note.get("patinox", {}).get("kind") == "refusal")


def _calls(dialect: Format[Any], verdict: dict[str, Any]) -> list[tuple[Any, Any, Any]]:
    """The calls that the client is to carry out."""
    if dialect is AI_SDK:
        parts = [part for part in (verdict["message"] or {}).get("parts", []) if part["type"].startswith("tool-")]
        assert {part["state"] for part in parts if part.get("providerExecuted")} <= {
            "input-available",
            "output-available",
            "output-error",
        }
        return [(p["type"][5:], p["toolCallId"], p["input"]) for p in parts if not p.get("providerExecuted")]
    return [
        (call["function"]["name"], call["id"], json.loads(call["function"]["arguments"]))
        for message in verdict["messages"]
        for call in message.get("toolCalls") or ()
        if (call.get("metadata") or {}).get("patinox", {}).get("kind") != "server_tool_call"
    ]


def _expected_calls(records: list[StreamChunk]) -> list[tuple[Any, Any, Any]]:
    starts = [as_call(r.data) for r in records if isinstance(r.data, BlockStart)]
    ready = {(r.data.message, r.data.block): r.data for r in records if isinstance(r.data, ToolReady)}
    places = [(start.message, start.block) for start in starts if start.of == "tool_call"]
    return [(ready[p].name, ready[p].call_id, ready[p].arguments) for p in places if p in ready]


def _usage(dialect: Format[Any], verdict: dict[str, Any]) -> dict[str, Any]:
    if dialect is AI_SDK:
        usage: dict[str, Any] = ((verdict["message"] or {}).get("metadata") or {}).get("usage", {})
        return usage
    last = verdict["finished"] or verdict["runError"]
    return (last.get("usage") or [{}])[0]  # type: ignore[no-any-return]


def _is_whole(name: str) -> bool:
    case = name.split(":", 1)[1]
    return (case in LOGS and case != "odd") or case == "heartbeats" or "/" in case


WHOLE = [name for name in CASES if _is_whole(name)]
FAILED = [name for name in CASES if any(f":{outcome}-" in name for outcome in FAILURES)]
OTHER = [name for name in CASES if name not in WHOLE and name not in FAILED and ":documented" not in name]


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_stream_is_read_without_errors_and_gives_text_calls_and_usage(name: str, verdicts: Verdicts) -> None:
    case, verdict = CASES[name](), verdicts[name]
    assembly: Assembly = assembled(case.records)

    assert (verdict["errors"], verdict["warnings"]) == ([], [])
    assert _texts(case.dialect, verdict) == assembly.content
    assert _calls(case.dialect, verdict) == _expected_calls(case.records)
    usage = _usage(case.dialect, verdict)
    for ours, theirs in {"input_tokens": "inputTokens", "output_tokens": "outputTokens"}.items():
        assert usage.get(theirs) == (assembly.usage or {}).get(ours)


@pytest.mark.parametrize("name", FAILED)
def test_a_failed_stream_is_reported(name: str, verdicts: Verdicts) -> None:
    verdict = verdicts[name]

    assert not any(error.startswith("schema") for error in verdict["errors"])
    if name.startswith(AI_SDK.name):
        assert verdict["finish"] is None
        assert verdict["types"][-1] == "abort" if ":failed" not in name else verdict["types"][-1] == "error"
        assert bool(verdict["errors"]) is (":cancelled" not in name)
    else:
        assert verdict["runError"]["message"]
        assert verdict["finished"] is None


@pytest.mark.parametrize("name", [name for name in FAILED if "-counted" in name])
def test_the_usage_of_a_failed_stream_is_read(name: str, verdicts: Verdicts) -> None:
    assert _usage(CASES[name]().dialect, verdicts[name]) == {"inputTokens": 30, "outputTokens": 9}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_call_that_was_cut_off_never_has_its_input(dialect: Format[Any], verdicts: Verdicts) -> None:
    verdict = verdicts[f"{dialect.name}:cut-call"]

    if dialect is AI_SDK:
        parts = [part for part in verdict["message"]["parts"] if part["type"].startswith("tool-")]
        assert {part["state"] for part in parts} == {"input-streaming"}
        assert verdict["finish"]["finishReason"] == "length"
    else:
        assert verdict["runError"]["code"] == "tool_call_cut_off"
        assert "TOOL_CALL_END" not in verdict["types"]


@pytest.mark.parametrize("name", OTHER)
def test_a_stream_that_is_odd_or_begun_in_the_middle_breaks_no_client(name: str, verdicts: Verdicts) -> None:
    verdict = verdicts[name]
    told = verdict.get("runError")
    expected = [] if told is None or told["code"] == "tool_call_cut_off" else [told["message"]]

    assert [error for error in verdict["errors"] if told is None or error != told["message"]] == expected[1:]
    assert verdict["warnings"] == []


def _documented(dialect: Format[Any]) -> list[str]:
    return [name for name in CASES if name.startswith(f"{dialect.name}:documented-")]


@pytest.mark.parametrize("name", [*_documented(AI_SDK), *_documented(AG_UI)])
def test_a_relayed_stream_is_read_from_any_position(name: str, verdicts: Verdicts) -> None:
    verdict = verdicts[name]
    unheard = "reset-step", "something-new", "SOMETHING_NEW", "THINKING_"  # of other versions than the client's
    errors = [error for error in verdict["errors"] if not any(word in error for word in unheard)]

    if "-error-" in name:
        assert [error for error in errors if "schema" in error] == []
    else:
        assert errors == []
