"""The gateway's calls as OpenTelemetry's spans and metrics, by the semantic conventions for generative AI
(https://github.com/open-telemetry/semantic-conventions-genai, in development there): who was asked for what, how long
it took, how it ended, how many tokens. No prompt and no answer.

The providers are ours, not the process's: an application that mounts Patinox keeps its own. The usual variables
(`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`) hold.
"""

from __future__ import annotations

import importlib.metadata
import uuid
from typing import NamedTuple
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from patinox.core.trace import TraceContext
from patinox.gateway.observing import CANCELLED, Report
from patinox.gateway.upstreams import Upstream

MAX_CHARS = 256
"""How long an attribute may be: a model's name is what a client has sent."""

_EXPORT_TIMEOUT_S = 3.0  # tries again included; a collector that is away must not hold up the end of the server
_PROVIDERS = {"anthropic": "anthropic", "gemini": "gcp.gemini", "ollama": "ollama"}  # by dialect; others are OpenAI's
_SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
_TOKENS = [4**power for power in range(14)]

Attributes = dict[str, AttributeValue]


class Providers(NamedTuple):
    """Where spans and metrics go."""

    traces: TracerProvider
    metrics: MeterProvider


def exporting(endpoint: str) -> Providers:
    """Providers that send to a collector over OTLP/HTTP, in threads of their own."""
    endpoint, resource = endpoint.rstrip("/"), _resource()
    spans = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=_EXPORT_TIMEOUT_S)
    figures = OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=_EXPORT_TIMEOUT_S)
    traces = TracerProvider(
        resource=resource, shutdown_on_exit=False, span_limits=SpanLimits(max_span_attribute_length=MAX_CHARS)
    )
    traces.add_span_processor(BatchSpanProcessor(spans))
    reader = PeriodicExportingMetricReader(figures)
    return Providers(traces, MeterProvider([reader], resource=resource, shutdown_on_exit=False))


class GenAiObserver:
    """Makes a client span of each call, and counts it."""

    def __init__(self, traces: TracerProvider, metrics: MeterProvider) -> None:
        self._tracer = traces.get_tracer("patinox")
        meter = metrics.get_meter("patinox")
        self._instruments = Instruments(
            meter.create_histogram(
                "gen_ai.client.operation.duration", "s", "How long calls took.",
                explicit_bucket_boundaries_advisory=_SECONDS,
            ),
            meter.create_histogram(
                "gen_ai.client.operation.time_to_first_chunk", "s", "From the request to the first chunk.",
                explicit_bucket_boundaries_advisory=_SECONDS,
            ),
            meter.create_histogram(
                "gen_ai.client.token.usage", "{token}", "Tokens that calls took and gave.",
                explicit_bucket_boundaries_advisory=_TOKENS,
            ),
        )  # fmt: skip

    def begin(self, upstream: Upstream, model: str, parent: TraceContext | None) -> SpanCall:
        """As in `Observer`."""
        model = model[:MAX_CHARS]
        common = _common(upstream)
        named: Attributes = {"gen_ai.request.model": model} if model else {}
        span = self._tracer.start_span(
            f"{_operation(upstream)} {model}".rstrip(),
            _context(parent),
            SpanKind.CLIENT,
            {**common, **named, "gen_ai.request.stream": True, "patinox.upstream": upstream.name},
        )
        return SpanCall(span, self._instruments, common, named)


class Instruments(NamedTuple):
    """What is measured."""

    duration: Histogram
    first_chunk: Histogram
    tokens: Histogram


class SpanCall:
    """A call with its span open."""

    def __init__(self, span: Span, instruments: Instruments, common: Attributes, named: Attributes) -> None:
        self._span = span
        self._instruments = instruments
        self._common = common
        self._named = named
        at = span.get_span_context()
        self.trace: TraceContext | None = None
        if at.is_valid:
            self.trace = TraceContext(f"{at.trace_id:032x}", f"{at.span_id:016x}", f"{at.trace_flags:02x}")

    def ended(self, report: Report) -> None:
        """As in `Call`. An answer that was cancelled is no failure of the upstream's: its span has no error status."""
        told = {
            "gen_ai.response.model": report.model,
            "gen_ai.response.finish_reasons": report.finish_reasons or None,
            "gen_ai.response.time_to_first_chunk": report.first_chunk_s,
            "gen_ai.usage.input_tokens": report.input_tokens,
            "gen_ai.usage.output_tokens": report.output_tokens,
            "error.type": report.error,
        }
        self._span.set_attributes({name: value for name, value in told.items() if value is not None})
        if report.error not in (None, CANCELLED):
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
        self._measure(report)

    def _measure(self, report: Report) -> None:
        # Clients name models as they like: only one that has answered may make a series of its own.
        labels = {**self._common, **(self._named if report.first_chunk_s is not None else {})}
        failed: Attributes = {"error.type": report.error} if report.error is not None else {}
        duration, first_chunk, tokens = self._instruments
        duration.record(report.duration_s, {**labels, **failed})
        if report.first_chunk_s is not None:
            first_chunk.record(report.first_chunk_s, labels)
        for kind, count in (("input", report.input_tokens), ("output", report.output_tokens)):
            if count is not None:
                tokens.record(count, {**labels, "gen_ai.token.type": kind})


def _common(upstream: Upstream) -> Attributes:
    at = urlsplit(upstream.base_url())
    return {
        "gen_ai.operation.name": _operation(upstream),
        "gen_ai.provider.name": _PROVIDERS.get(upstream.dialect, "openai"),
        "server.address": at.hostname or "",
        "server.port": at.port or (443 if at.scheme == "https" else 80),
    }


def _operation(upstream: Upstream) -> str:
    return "generate_content" if upstream.dialect == "gemini" else "chat"


def _context(parent: TraceContext | None) -> Context:
    if parent is None:
        return Context()  # not what the thread happens to be in
    flags = TraceFlags(int(parent.flags, 16))
    asked = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(asked), Context())


def _resource() -> Resource:
    own = {
        "service.name": "patinox",
        "service.version": importlib.metadata.version("patinox"),
        "service.instance.id": str(uuid.uuid4()),
    }
    return Resource(own).merge(OTELResourceDetector().detect())
