"""An observation as Prometheus's metric families. Names begin with `patinox_`; times are seconds, sizes bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from patinox.delivery.counters import Histogram
from patinox.server.metrics.observation import Observation


class Figure(NamedTuple):
    """One family: its name, what it means, what it is labelled by, and its value (or values by label)."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    value: Callable[[Observation], Any]


GAUGES = (
    Figure("draining", "Whether the server takes nothing new any more.", (), lambda o: int(o.is_draining)),
    Figure("streams", "Streams held, by state.", ("state",), lambda o: o.streams),
    Figure("streams_running", "Streams that are being filled from a source.", (), lambda o: o.running),
    Figure("connections", "Connected readers, by transport.", ("transport",), lambda o: o.connections),
    Figure("subscriptions", "What is being read.", ("transport", "format"), lambda o: o.subscriptions),
    Figure("subscriptions_busy", "Readers that are being caught up, or waited for.", (), lambda o: o.busy),
    Figure("lag_chunks", "The furthest that a reader is behind.", (), lambda o: o.lag_chunks),
    Figure("lag_bytes", "The most that a reader has yet to get.", (), lambda o: o.lag_bytes),
)
COUNTERS = (
    Figure("streams_created", "Streams that began.", (), lambda o: o.created),
    Figure("streams_ended", "Streams that ended, by outcome.", ("outcome",), lambda o: o.ended),
    Figure("chunks", "Chunks appended.", (), lambda o: o.chunks),
    Figure("chunk_bytes", "Bytes appended.", (), lambda o: o.chunk_bytes),
    Figure("attaches", "Readers that came, or came back, by what they were told.", ("outcome",), lambda o: o.attaches),
    Figure("dropped", "Readers let go or moved on, and appends refused.", ("reason",), lambda o: o.dropped),
    Figure("gaps", "Gaps that readers were told.", ("reason",), lambda o: o.gaps),
    Figure("refused", "Readers and streams not let in, by limit.", ("limit",), lambda o: o.refused),
)
HISTOGRAMS = (
    Figure(
        "first_chunk_seconds",
        "From a stream's creation to its first chunk; pulled: by the server from a model.",
        ("producer",),
        lambda o: {"pulled": o.pulled_s, "pushed": o.pushed_s},
    ),
    Figure("event_loop_delay_seconds", "How late the event loop runs what is due.", (), lambda o: o.loop_delay_s),
)
_MAKERS: tuple[tuple[tuple[Figure, ...], type[Any]], ...] = (
    (GAUGES, GaugeMetricFamily),
    (COUNTERS, CounterMetricFamily),
    (HISTOGRAMS, HistogramMetricFamily),
)


def families(observation: Observation) -> Iterator[Metric]:
    """All of them."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield InfoMetricFamily("patinox_build", "What runs here.", {"version": version("patinox"), "python": python})
    for figures, family in _MAKERS:
        for figure in figures:
            metric = family(f"patinox_{figure.name}", figure.meaning, labels=figure.labels)
            value = figure.value(observation)
            for labels, one in value.items() if isinstance(value, Mapping) else (((), value),):
                _add(metric, (labels,) if isinstance(labels, str) else labels, one)
            yield metric


def _add(metric: Any, labels: tuple[str, ...], value: float | Histogram) -> None:
    texts = [str(label) for label in labels]
    if isinstance(value, Histogram):
        buckets = [("+Inf" if bound == float("inf") else repr(bound), upto) for bound, upto in value.cumulative()]
        metric.add_metric(texts, buckets=buckets, sum_value=value.total)
    else:
        metric.add_metric(texts, value)
