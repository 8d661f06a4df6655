"""Every client's dialect to every upstream's: what the upstream said arrives, and what went wrong arrives as that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.callers import CALLERS, Caller, Told
from tests.dialects import logged, write
from tests.serving import Serving, serving

from patinox.core.chunks import End, Error, Outcome
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    RunEnd,
    RunStart,
    ToolReady,
    Usage,
)
from patinox.delivery.wire import PlainWire, SseWire
from patinox.formats.base import Format
from patinox.formats.registry import builtin
from patinox.testing.upstream import CUT, Answer, Cut, ScriptedUpstream

UPSTREAMS = ("openai-chat", "openai-responses", "anthropic", "gemini", "ollama")
BOTH = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
EVERY_CALLER = pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.dialect)
EVERY_UPSTREAM = pytest.mark.parametrize("dialect", UPSTREAMS)

pytestmark = pytest.mark.slow  # three hundred calls, each of a real client

BEGIN = [RunStart(model="m"), MessageStart()]
TEXT = [BlockStart(block=0), BlockDelta(block=0, text="Hel"), BlockDelta(block=0, text="lo"), BlockEnd(block=0)]
CALL = [
    BlockStart(block=1, of="tool_call", name="add", call_id="call_1"),
    BlockDelta(block=1, op="json.append", text='{"x": '),
    BlockDelta(block=1, op="json.append", text="1}"),
    BlockEnd(block=1),
    ToolReady(block=1, call_id="call_1", name="add", arguments={"x": 1}),
]
USAGE = Usage(input_tokens=7, output_tokens=5)


def ended(reason: Any, outcome: Outcome = Outcome.COMPLETE) -> list[Any]:
    return [MessageEnd(finish_reason=reason), USAGE, RunEnd(outcome=outcome), End(outcome)]


def pieces(dialect: str, events: list[Any]) -> list[bytes]:
    """The events as an upstream of this dialect sends them, a piece a frame."""
    format_: Format[Any] = builtin()[dialect]
    wire = PlainWire(format_) if format_.framing == "lines" else SseWire(format_, ids=False, controls=False)
    return [wire.record("", [frame]) for frame in write(format_, logged(events))]


def answer(dialect: str, *steps: bytes | Cut, status: int = 200) -> Answer:
    media = {"ollama": "application/x-ndjson"}.get(dialect, "text/event-stream; charset=utf-8")
    return Answer(*steps, status=status, content_type=media if status == 200 else "application/json")


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as scripted:
        yield scripted


@pytest.fixture
async def server(upstream: ScriptedUpstream, dialect: str) -> AsyncIterator[Serving]:
    async with serving({"fake": upstream.url}, gateway__upstreams__fake__dialect=dialect) as running:
        yield running


async def asked(server: Serving, caller: type[Caller], *, stream: bool, **more: Any) -> Told:
    return await caller(server.url).ask(stream=stream, **more)


@BOTH
@EVERY_UPSTREAM
@EVERY_CALLER
async def test_text_calls_and_usage_arrive(
    upstream: ScriptedUpstream, server: Serving, caller: type[Caller], dialect: str, stream: bool
) -> None:
    upstream.script(answer(dialect, *pieces(dialect, [*BEGIN, *TEXT, *CALL, *ended("tool_calls")])))

    told = await asked(server, caller, stream=stream)

    assert (told.text, told.calls, told.error) == ("Hello", [("add", {"x": 1})], None)
    assert told.finish == "tools"
    assert (told.input_tokens, told.output_tokens) == (7, 5)


@BOTH
@EVERY_UPSTREAM
@EVERY_CALLER
async def test_an_answer_at_its_limit_says_so(
    upstream: ScriptedUpstream, server: Serving, caller: type[Caller], dialect: str, stream: bool
) -> None:
    upstream.script(answer(dialect, *pieces(dialect, [*BEGIN, *TEXT, *ended("length", Outcome.INCOMPLETE)])))

    told = await asked(server, caller, stream=stream)

    assert (told.text, told.finish, told.error) == ("Hello", "length", None)


@BOTH
@pytest.mark.parametrize("dialect", [name for name in UPSTREAMS if name != "ollama"])  # which has no word for it
@EVERY_CALLER
async def test_a_refusal_of_the_model_is_no_ordinary_end(
    upstream: ScriptedUpstream, server: Serving, caller: type[Caller], dialect: str, stream: bool
) -> None:
    upstream.script(answer(dialect, *pieces(dialect, [*BEGIN, *TEXT, *ended("content_filter")])))

    told = await asked(server, caller, stream=stream)

    assert (told.text, told.finish, told.error) == ("Hello", "filter", None)


@BOTH
@EVERY_UPSTREAM
@EVERY_CALLER
async def test_a_call_that_was_cut_off_is_not_told_as_one_to_carry_out(
    upstream: ScriptedUpstream, server: Serving, caller: type[Caller], dialect: str, stream: bool
) -> None:
    upstream.script(answer(dialect, *pieces(dialect, [*BEGIN, *TEXT, *CALL[:2], *ended("length", Outcome.INCOMPLETE)])))

    told = await asked(server, caller, stream=stream)

    assert (told.text, told.finish, told.error) == ("Hello", "length", None)
    assert ("add", {"x": 1}) not in told.calls


@BOTH
@EVERY_UPSTREAM
@EVERY_CALLER
async def test_an_error_in_the_middle_is_an_error(
    upstream: ScriptedUpstream, server: Serving, caller: type[Caller], dialect: str, stream: bool
) -> None:
    broken = pieces(dialect, [*BEGIN, *TEXT[:3], Error("overloaded_error", "Too many at once.", status=529)])
    upstream.script(answer(dialect, *broken))

    told = await asked(server, caller, stream=stream)

    assert told.error is not None
    assert "Too many at once." in told.error
    assert (told.text, told.finish) == ("Hello" if stream else "", None)


@BOTH
@pytest.mark.parametrize("cut", [CUT, Cut(gently=True)], ids=["reset", "closed"])
@EVERY_UPSTREAM
@EVERY_CALLER
async def test_a_cut_is_an_error(
    upstream: ScriptedUpstream, server: Serving, caller: type[Caller], dialect: str, stream: bool, cut: Cut
) -> None:
    begun = pieces(dialect, [*BEGIN, *TEXT[:3], RunEnd()])
    upstream.script(answer(dialect, *begun, cut))

    told = await asked(server, caller, stream=stream)

    assert told.error is not None
    assert "broke off" in told.error
    assert told.finish is None


@BOTH
@EVERY_UPSTREAM
@EVERY_CALLER
async def test_an_end_without_the_dialects_own_end_is_an_error(
    upstream: ScriptedUpstream, server: Serving, caller: type[Caller], dialect: str, stream: bool
) -> None:
    upstream.script(answer(dialect, *pieces(dialect, [*BEGIN, *TEXT[:3]])))

    told = await asked(server, caller, stream=stream)

    assert told.error is not None
    assert told.finish is None


REFUSALS = {
    "openai-chat": b'{"error": {"message": "Slow down.", "type": "rate_limit", "param": null, "code": "rate_limited"}}',
    "openai-responses": b'{"error": {"message": "Slow down.", "type": "rate_limit", "param": null, "code": "x"}}',
    "anthropic": b'{"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}}',
    "gemini": b'[{"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}]',
    "ollama": b'{"error": "Slow down."}',
}


@BOTH
@EVERY_UPSTREAM
@EVERY_CALLER
async def test_a_refusal_of_the_upstream_keeps_its_status_and_its_sentence(
    upstream: ScriptedUpstream, server: Serving, caller: type[Caller], dialect: str, stream: bool
) -> None:
    upstream.script(answer(dialect, REFUSALS[dialect], status=429))

    told = await asked(server, caller, stream=stream)

    assert told.status == 429
    assert told.error is not None
    assert "Slow down." in told.error
    assert not list(server.manager)


@BOTH
@EVERY_UPSTREAM
@EVERY_CALLER
async def test_an_empty_answer_is_an_error(
    upstream: ScriptedUpstream, server: Serving, caller: type[Caller], dialect: str, stream: bool
) -> None:
    upstream.script(answer(dialect, b""))

    told = await asked(server, caller, stream=stream)

    assert told.status == 502
