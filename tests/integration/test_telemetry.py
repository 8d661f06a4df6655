"""What OpenTelemetry is told of the gateway's calls, and what the upstream is told of the trace."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.serving import ASK, Serving, idle, serving

from patinox.config import TelemetryConfig
from patinox.server.listening import CouldNotStart
from patinox.server.otel import MAX_CHARS, GenAiObserver
from patinox.server.telemetry import observing
from patinox.testing.upstream import DONE, Answer, Gate, ScriptedUpstream, event, role, said, stopped, usage

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
MARKER = "xyzzy-nobody-may-read-this"


class Told:
    """What has come to the exporters."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.traces = TracerProvider(shutdown_on_exit=False)
        self.traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.metrics = MeterProvider([self.reader], shutdown_on_exit=False)
        self.observer = GenAiObserver(self.traces, self.metrics)

    def span(self) -> ReadableSpan:
        (span,) = self.exporter.get_finished_spans()
        return span

    def attributes(self) -> dict[str, Any]:
        return dict(self.span().attributes or {})

    def points(self, name: str) -> list[HistogramDataPoint]:
        data = self.reader.get_metrics_data()
        assert data is not None
        metrics = [m for of in data.resource_metrics for scope in of.scope_metrics for m in scope.metrics]
        found = [point for metric in metrics if metric.name == name for point in metric.data.data_points]
        return [point for point in found if isinstance(point, HistogramDataPoint)]


class Asking(NamedTuple):
    """A server that is observed, and somebody who asks it."""

    server: Serving
    http: aiohttp.ClientSession

    async def ask(self, headers: dict[str, str] | None = None, **more: Any) -> int:
        async with self.http.post(self.server.calls, json={**ASK, **more}, headers=headers) as answer:
            await answer.read()
        await idle()
        return answer.status


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.traces.shutdown()
    made.metrics.shutdown()


@pytest.fixture
async def asking(upstream: ScriptedUpstream, told: Told) -> AsyncIterator[Asking]:
    upstream.script(Answer(role(), said(MARKER), stopped(), usage(7, 2), DONE))
    async with serving({"fake": upstream.url}, observer=told.observer) as server, aiohttp.ClientSession() as http:
        yield Asking(server, http)


async def test_a_call_is_a_client_span_by_the_conventions(
    asking: Asking, told: Told, upstream: ScriptedUpstream
) -> None:
    assert await asking.ask() == 200
    span, attributes = told.span(), told.attributes()
    assert (span.name, span.kind, span.status.status_code) == ("chat scripted", SpanKind.CLIENT, StatusCode.UNSET)
    assert attributes.pop("gen_ai.response.time_to_first_chunk") > 0
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "scripted",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "scripted",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "patinox.upstream": "fake",
        "server.address": "127.0.0.1",
        "server.port": upstream.port,
    }


async def test_the_span_is_the_callers_child(asking: Asking, told: Told) -> None:
    await asking.ask(TRACEPARENT)
    context, parent = told.span().get_span_context(), told.span().parent
    assert context is not None
    assert parent is not None
    assert (f"{context.trace_id:032x}", f"{parent.span_id:016x}") == (TRACE, PARENT)


async def test_the_upstream_is_told_of_the_span(asking: Asking, told: Told, upstream: ScriptedUpstream) -> None:
    await asking.ask(TRACEPARENT)
    context = told.span().get_span_context()
    assert context is not None
    assert upstream.asked[0].headers["traceparent"] == f"00-{TRACE}-{context.span_id:016x}-01"


async def test_a_caller_who_does_not_record_makes_no_span(
    asking: Asking, told: Told, upstream: ScriptedUpstream
) -> None:
    await asking.ask({"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert told.exporter.get_finished_spans() == ()
    assert upstream.asked[0].headers["traceparent"].startswith(f"00-{TRACE}-")
    assert upstream.asked[0].headers["traceparent"].endswith("-00")


async def test_without_opentelemetry_the_upstream_is_told_of_the_caller(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    await Asking(server, http).ask(TRACEPARENT)
    assert upstream.asked[0].headers["traceparent"] == TRACEPARENT["traceparent"]


async def test_a_trace_is_not_that_of_the_next_request_on_the_connection(
    upstream: ScriptedUpstream, server: Serving
) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as kept:
        await Asking(server, kept).ask(TRACEPARENT)
        await Asking(server, kept).ask()
    assert "traceparent" not in upstream.asked[1].headers


async def test_a_refusal_is_an_error_and_its_model_no_series(
    asking: Asking, told: Told, upstream: ScriptedUpstream
) -> None:
    upstream.script(Answer(b'{"error": {"message": "no"}}', status=429, content_type="application/json"))
    assert await asking.ask() == 429
    assert told.span().status.status_code is StatusCode.ERROR
    assert told.attributes()["error.type"] == "upstream_refused"
    (point,) = told.points("gen_ai.client.operation.duration")
    assert (point.attributes or {})["error.type"] == "upstream_refused"
    assert "gen_ai.request.model" not in (point.attributes or {})


@pytest.mark.parametrize(("code", "type_"), [("overloaded", "overloaded"), (f"of {MARKER}", "upstream_error")])
async def test_an_error_inside_an_answer_is_told_by_its_code(
    asking: Asking, told: Told, upstream: ScriptedUpstream, code: str, type_: str
) -> None:
    upstream.script(Answer(role(), said("so"), event(error={"code": code, "message": MARKER})))
    await asking.ask()
    assert told.attributes()["error.type"] == type_
    assert MARKER not in told.span().to_json()


async def test_a_cancelled_answer_is_no_failure(asking: Asking, told: Told, upstream: ScriptedUpstream) -> None:
    gate = Gate()
    upstream.script(Answer(role(), said("so"), gate))
    running = asyncio.ensure_future(asking.ask(stream=True))
    await gate.reached()
    await asking.server.only_stream().cancel()
    await running
    assert told.attributes()["error.type"] == "cancelled"
    assert told.span().status.status_code is StatusCode.UNSET


async def test_duration_first_chunk_and_tokens_are_measured(asking: Asking, told: Told) -> None:
    await asking.ask()
    (duration,) = told.points("gen_ai.client.operation.duration")
    (first_chunk,) = told.points("gen_ai.client.operation.time_to_first_chunk")
    tokens = {
        (point.attributes or {})["gen_ai.token.type"]: point for point in told.points("gen_ai.client.token.usage")
    }
    assert duration.count == first_chunk.count == 1
    assert 0 < first_chunk.sum <= duration.sum
    assert {kind: point.sum for kind, point in tokens.items()} == {"input": 7, "output": 2}
    assert (duration.attributes or {})["gen_ai.request.model"] == "scripted"


async def test_nothing_that_was_asked_or_answered_is_told(asking: Asking, told: Told) -> None:
    await asking.ask(messages=[{"role": "user", "content": MARKER}], user=MARKER)
    figures = told.reader.get_metrics_data()
    assert figures is not None
    assert MARKER not in told.span().to_json()
    assert MARKER not in figures.to_json()


async def test_a_model_may_not_be_named_at_any_length(asking: Asking, told: Told) -> None:
    await asking.ask(model="m" * 5000)
    assert told.attributes()["gen_ai.request.model"] == "m" * MAX_CHARS


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, set[str]]]:
    """An OTLP collector's URL, and the paths that were posted to."""
    posted: set[str] = set()

    async def take(request: web.Request) -> web.Response:
        if await request.read():
            posted.add(request.path)
        return web.Response()

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/otlp/", posted
    finally:
        await runner.cleanup()


async def test_the_end_sends_what_is_held(upstream: ScriptedUpstream, http: aiohttp.ClientSession) -> None:
    async with collector() as (url, posted):
        async with (
            observing(TelemetryConfig(endpoint=url)) as observer,
            serving({"fake": upstream.url}, observer=observer) as server,
        ):
            assert await Asking(server, http).ask() == 200
        assert posted == {"/otlp/v1/traces", "/otlp/v1/metrics"}


async def test_a_server_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "patinox.server.otel")
    monkeypatch.delattr("patinox.server.otel")
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(CouldNotStart, match=r"patinox\[otel\]"):
        async with observing(TelemetryConfig(endpoint="http://127.0.0.1:4318")):
            pass


def test_the_server_imports_no_opentelemetry_unasked() -> None:
    code = "import sys, patinox.server.run; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
