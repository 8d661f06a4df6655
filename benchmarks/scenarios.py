"""What is measured, and what must be reached: rows of data."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from benchmarks import dialects, measures, stores, validation
from benchmarks.measures import Measure

EVERYBODY = ("raw", "native", "fastapi", "nchan", "starlette", "sse-starlette")
NO_RAW = EVERYBODY[1:]
OURS = ("native", "fastapi")
SOCKETS = ("native", "ws-native", "ws-fastapi", "ws-asgi", "ws-starlette", "socketio")
"""Those on WebSockets, beside our own SSE."""
CALLS = ("native", "grpc", "grpc-queue")
"""Those on gRPC, 100 calls a connection, beside our own SSE."""

HTTP2 = ("native", "h2-shared", "h2-single")
"""Those on HTTP/2, beside our own SSE over HTTP/1.1."""


class Scenario(msgspec.Struct, frozen=True):
    """One question, the servers it is put to, and the metric that answers it."""

    letter: str
    title: str
    measure: Measure
    contestants: tuple[str, ...]
    settings: Mapping[str, int]
    quick: Mapping[str, int]
    """What a quick run changes in the settings."""
    metric: str
    label: str
    """The metric's unit, for people."""
    shown: tuple[str, ...] = ()
    """Further metrics for the table."""
    higher_is_better: bool = False
    rounds: int = 5
    """At most; memory does not vary enough for more than two."""


class Target(msgspec.Struct, frozen=True):
    """`metric` of `who` divided by that of `against` (or alone) lies on the right side of `bound`."""

    letter: str
    who: str
    metric: str
    bound: float
    against: str | None = None
    at_least: bool = False


_RATE = ("deliveries_per_s", "cpu_us_per_delivery", "client_cpu_us_per_delivery", "p99_ms", "gaps", "duplicates")

SCENARIOS = (
    Scenario(
        "a", "One stream to 1,000 readers, one chunk a write", measures.fanout, EVERYBODY,
        {"readers": 1000, "messages": 300, "burst": 1}, {"messages": 100},
        "deliveries_per_cpu_s", "deliveries per CPU second", _RATE, higher_is_better=True,
    ),
    Scenario(
        "b", "The same as fast as it goes, coalescing", measures.fanout, EVERYBODY,
        {"readers": 1000, "messages": 800, "burst": 16}, {"messages": 160},
        "deliveries_per_cpu_s", "chunks per CPU second", (*_RATE, "reads_per_message"), higher_is_better=True,
    ),
    Scenario(
        "c", "1,000 streams to one reader each, 5 chunks/s", measures.steady, NO_RAW,
        {"readers": 1000, "messages": 25, "interval_ms": 200}, {"messages": 8},
        "cpu_us_per_delivery", "µs of CPU per delivery", ("p50_ms", "p99_ms", "gaps", "duplicates"), rounds=3,
    ),
    Scenario(
        "d", "One chunk to 10,000 readers", measures.fanout, EVERYBODY,
        {"readers": 10000, "messages": 10, "burst": 1, "warm_up": 2, "nap_us": 0}, {"messages": 3},
        "p99_ms", "ms until 99 % have it", ("p50_ms", "max_ms", "deliveries_per_s", "gaps"), rounds=3,
    ),
    Scenario(
        "e", "Memory per idle connection, 10,000 held", measures.idle, NO_RAW,
        {"few": 1000, "many": 10000, "hold_ms": 4000}, {"hold_ms": 1000},
        "kib_per_idle", "KiB per connection", ("kib_per_idle_1000", "kib_per_idle_10000"), rounds=2,
    ),
    Scenario(
        "f", "1,000 readers of whom 10 % are stalled", measures.stalled, OURS,
        {"readers": 1000, "messages": 200, "lead_in": 4000}, {"messages": 60},
        "cpu_ratio", "× CPU per healthy delivery",
        ("healthy_p99_ms", "p99_ms", "p99_excess_ms", "kib_per_stalled", "gaps", "duplicates", "closed"),
    ),
    Scenario(
        "g", "5,000 readers reconnect at once, 500 events back", measures.resume, ("native", "fastapi", "nchan"),
        {"readers": 5000, "back": 500}, {"readers": 1000},
        "wall_s", "seconds until all have caught up", ("deliveries_per_s", "gaps", "duplicates"), rounds=3,
    ),
    Scenario(
        "h", "Cost as history grows from 10 to 100,000 chunks", measures.history, OURS,
        {"readers": 200, "messages": 500, "short": 10, "long": 100_000}, {"messages": 200, "long": 20_000},
        "growth_ratio", "× cost of a delivery", ("short_cpu_us_per_delivery", "long_cpu_us_per_delivery"), rounds=3,
    ),
    Scenario(
        "i", "Gateway: 200 answers at 50 tokens/s", measures.gateway, ("relay", "gateway", "litellm"),
        {"answers": 200, "tokens": 200, "tokens_per_s": 50, "litellm_answers": 10}, {"tokens": 100},
        "cpu_us_per_token", "µs of CPU per token", ("answers", "heads_s", "p99_ms"), rounds=3,
    ),
    Scenario(
        "j", "Recorded streams read and written, same dialect", dialects.measure, tuple(dialects.SETS),
        {"passes": 5}, {"passes": 2},
        "cpu_us_per_frame", "µs of CPU per frame", ("frames", "streams"), rounds=3,
    ),
    Scenario(
        "k", "Validators on recorded answers, and on one of 1 MB", validation.measure, tuple(validation.SETS),
        {"short_chars": 20_000, "long_chars": 1_000_000}, {"long_chars": 200_000},
        "cpu_us_per_chunk", "µs of CPU per chunk",
        ("same_step_percent", "longest_wait_chars", "verdicts", "short_us", "long_us", "growth_ratio"), rounds=3,
    ),
    Scenario(
        "n", "One stream to 1,000 gRPC calls, one chunk a write, beside SSE", measures.fanout, CALLS,
        {"readers": 1000, "messages": 100, "burst": 1}, {"messages": 30},
        "deliveries_per_cpu_s", "deliveries per CPU second", (*_RATE, "closed"), higher_is_better=True, rounds=3,
    ),
    Scenario(
        "o", "The same as fast as it goes, coalescing", measures.fanout, CALLS,
        {"readers": 1000, "messages": 320, "burst": 16}, {"messages": 64},
        "deliveries_per_cpu_s", "chunks per CPU second", (*_RATE, "reads_per_message"), higher_is_better=True, rounds=3,
    ),
    Scenario(
        "p", "Memory per idle gRPC call, 1,000 held, beside SSE", measures.idle, CALLS,
        {"few": 200, "many": 1000, "hold_ms": 4000}, {"hold_ms": 1000},
        "kib_per_idle", "KiB per call", ("kib_per_idle_200", "kib_per_idle_1000"), rounds=2,
    ),
    Scenario(
        "w", "One stream to 1,000 WebSockets, one chunk a write, beside SSE", measures.fanout, SOCKETS,
        {"readers": 1000, "messages": 300, "burst": 1}, {"messages": 100},
        "deliveries_per_cpu_s", "deliveries per CPU second", (*_RATE, "closed"), higher_is_better=True,
    ),
    Scenario(
        "x", "Memory per idle WebSocket without deflate, 10,000 held, beside SSE", measures.idle, SOCKETS,
        {"few": 1000, "many": 10000, "hold_ms": 4000}, {"hold_ms": 1000},
        "kib_per_idle", "KiB per connection", ("kib_per_idle_1000", "kib_per_idle_10000"), rounds=2,
    ),
    Scenario(
        "m", "One stream to 1,000 readers over HTTP/2, beside SSE over HTTP/1.1", measures.fanout, HTTP2,
        {"readers": 1000, "messages": 300, "burst": 1}, {"messages": 100},
        "deliveries_per_cpu_s", "deliveries per CPU second", (*_RATE, "closed"), higher_is_better=True, rounds=3,
    ),
    Scenario(
        "q", "Memory per idle reader over HTTP/2, 4,000 held, beside SSE over HTTP/1.1", measures.idle, HTTP2,
        {"few": 1000, "many": 4000, "hold_ms": 4000}, {"hold_ms": 1000},
        "kib_per_idle", "KiB per reader", ("kib_per_idle_1000", "kib_per_idle_4000"), rounds=2,
    ),
    Scenario(
        "s", "Stores behind the manager: 1,000 streams at 20 chunks/s, then flat out, then one of 100,000",
        stores.measure, tuple(stores.STORES),
        {"streams": 1000, "rounds": 100, "per_s": 20, "burst": 60, "long": 100_000}, {"rounds": 40, "burst": 20},
        "cpu_us_per_chunk", "µs of CPU per chunk",
        ("cpu_percent", "steady_chunks_per_s", "ack_p50_ms", "ack_p99_ms", "flat_out_chunks_per_s",
         "read_chunks_per_s", "first_byte_ms"), rounds=3,
    ),
    Scenario(
        "t", "Two nodes on one engine: 100 chunks/s written on one, read on the other",
        stores.measure_two_nodes, stores.SHARED, {"chunks": 1500, "per_s": 100}, {"chunks": 300},
        "p50_ms", "ms, median", ("p99_ms",), rounds=3,
    ),
)  # fmt: skip

TARGETS = (
    Target("a", "native", "deliveries_per_cpu_s", 3.5, "sse-starlette", at_least=True),
    Target("a", "native", "deliveries_per_cpu_s", 2.0, "starlette", at_least=True),
    Target("a", "native", "deliveries_per_cpu_s", 0.85, "nchan", at_least=True),
    Target("a", "native", "deliveries_per_cpu_s", 0.42, "raw", at_least=True),
    Target("a", "fastapi", "deliveries_per_cpu_s", 3.0, "sse-starlette", at_least=True),
    Target("b", "native", "deliveries_per_cpu_s", 2.0, "raw", at_least=True),
    Target("e", "native", "kib_per_idle", 14.0),
    Target("f", "native", "cpu_ratio", 1.1),
    Target("f", "native", "p99_excess_ms", 0.0),
    Target("f", "native", "gaps", 0.0),
    Target("g", "native", "gaps", 0.0),
    Target("g", "native", "duplicates", 0.0),
    Target("h", "native", "growth_ratio", 1.3),
    Target("i", "gateway", "cpu_us_per_token", 1 / 8, "litellm"),
    Target("i", "gateway", "cpu_us_per_token", 4.0, "relay"),
    Target("j", "dialects", "cpu_us_per_frame", 10.0),
    Target("j", "dialects-chat", "cpu_us_per_frame", 1 / 20, "litellm-chunks"),
    Target("k", "validators", "cpu_us_per_chunk", 20.0),
    Target("k", "validators", "same_step_percent", 99.0, at_least=True),
    Target("k", "validators", "growth_ratio", 1.3),
    Target("n", "grpc", "gaps", 0.0),
    Target("n", "grpc", "closed", 0.0),
    Target("m", "h2-shared", "deliveries_per_cpu_s", 1.0, "native", at_least=True),
    Target("m", "h2-shared", "gaps", 0.0),
    Target("m", "h2-shared", "closed", 0.0),
    Target("q", "h2-shared", "kib_per_idle", 14.0),
    Target("s", "store-sqlite", "cpu_us_per_chunk", 2.0, "store-memory"),
    Target("s", "store-sqlite", "flat_out_chunks_per_s", 15_000.0, at_least=True),
    Target("s", "store-sqlite", "read_chunks_per_s", 200_000.0, at_least=True),
    Target("s", "store-sqlite", "first_byte_ms", 50.0),
    Target("t", "store-valkey", "p50_ms", 8.0),
    Target("t", "store-valkey", "p99_ms", 30.0),
    Target("w", "ws-native", "deliveries_per_cpu_s", 0.9, "native", at_least=True),
    Target("w", "ws-native", "deliveries_per_cpu_s", 3.0, "socketio", at_least=True),
    Target("w", "ws-native", "deliveries_per_cpu_s", 1.7, "ws-starlette", at_least=True),
    Target("w", "ws-fastapi", "deliveries_per_cpu_s", 1.0, "ws-starlette", at_least=True),
    Target("w", "ws-fastapi", "deliveries_per_cpu_s", 0.6, "native", at_least=True),
    Target("w", "ws-native", "gaps", 0.0),
    Target("w", "ws-native", "duplicates", 0.0),
    Target("w", "ws-native", "closed", 0.0),
    Target("x", "ws-native", "kib_per_idle", 16.0),
)
