"""How one figure is taken: a server, a load client, some commands, and the arithmetic.

Each measure returns its metrics by name, units in the names. CPU is the server's user + system time; "per
delivery" divides by the messages that readers got. `deliveries_per_s` is wall time at saturation and suffers when
anything else runs on the machine; `deliveries_per_cpu_s` is the same per second of the server's own CPU.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.contestants import PEERS_PYTHON, Contestant
from benchmarks.processes import CLIENT_CORE, Failed, Load, Phase, Server

Metrics = dict[str, float]
Settings = Mapping[str, int]
Measure = Callable[[Contestant, Settings], Metrics]

NAP_US = 100
"""Where throughput counts, the client sleeps this long between polls; see `client/load.c`."""
WARM_UP = 10
TURNS = 5  # of phases that are held against each other


def fanout(contestant: Contestant, settings: Settings) -> Metrics:
    """One stream to all readers, `burst` messages at a time, the next when the last reader has them."""
    with (
        Server(contestant.key, contestant.command(), contestant.core) as server,
        _load(server, contestant, settings["readers"], nap_us=settings.get("nap_us", NAP_US)) as load,
    ):
        load.do(f"phase {settings.get('warm_up', WARM_UP)} 1")
        return _timed(server, load, f"phase {settings['messages']} {settings['burst']}")


def _load(server: Server, contestant: Contestant, readers: int, *, nap_us: int = 0) -> Load:
    """Readers of the contestant's one stream, in what it speaks."""
    return Load(server, readers, contestant.path, dialect=contestant.dialect, streams=contestant.streams, nap_us=nap_us)


def steady(contestant: Contestant, settings: Settings) -> Metrics:
    """Many streams with one reader each, at a rate far below saturation."""
    readers, messages = settings["readers"], settings["messages"]
    with (
        Server(contestant.key, contestant.command(), contestant.core) as server,
        Load(server, readers, contestant.stream_path) as load,
    ):
        before = server.cpu_s()
        load.tell(f"phase {messages} 0")
        server.tell(f"steady {readers} {messages} {settings['interval_ms']}")
        phase = load.result("steady phase")
        return _metrics(phase, server.cpu_s() - before)


def idle(contestant: Contestant, settings: Settings) -> Metrics:
    """Resident memory for each connection that waits; heartbeats, if the server has them, go on."""
    metrics: Metrics = {}
    for readers in (settings["few"], settings["many"]):
        with Server(contestant.key, contestant.command(), contestant.core) as server:
            with _load(server, contestant, 20) as load:
                load.do("phase 1 1")
            before = server.resident_bytes()
            with _load(server, contestant, readers) as load:
                load.do(f"hold {settings['hold_ms']}")
                metrics[f"kib_per_idle_{readers}"] = (server.resident_bytes() - before) / readers / 1024
    metrics["kib_per_idle"] = metrics[f"kib_per_idle_{settings['many']}"]
    return metrics


def stalled(contestant: Contestant, settings: Settings) -> Metrics:
    """The same readers with none and with a tenth of them stalled, their sockets full, in turns; then they resume."""
    healthy, slowed, ends, grown = [], [], [], []
    with (
        Server(contestant.key, contestant.command(), contestant.core) as server,
        Load(server, settings["readers"], contestant.path) as load,
    ):
        lead_in, phase = f"phase {settings['lead_in']} 50", f"phase {settings['messages']} 1"
        load.do(lead_in)
        for _ in range(TURNS):
            healthy.append(_timed(server, load, phase))
            before = server.resident_bytes()
            slow = load.do("stall 10 0").stalled
            load.do(lead_in)
            grown.append((server.resident_bytes() - before) / slow)
            slowed.append(_timed(server, load, phase))
            ends.append(load.do("unstall"))
    metrics, before_it = _medians(slowed), _medians(healthy)
    ratios = [
        one["cpu_us_per_delivery"] / other["cpu_us_per_delivery"] for one, other in zip(slowed, healthy, strict=True)
    ]
    bound_ms = max(before_it["p99_ms"] * 1.25, before_it["p99_ms"] + 2)
    return metrics | {
        "cpu_ratio": statistics.median(ratios),
        "healthy_p99_ms": before_it["p99_ms"],
        "p99_excess_ms": max(0.0, metrics["p99_ms"] - bound_ms),
        "kib_per_stalled": max(grown[0], 0) / 1024,
        "gaps": sum(end.gaps for end in ends),
        "duplicates": sum(end.duplicates for end in ends),
    }


def resume(contestant: Contestant, settings: Settings) -> Metrics:
    """All readers drop and come back at once, each with the event id of `back` messages ago."""
    back = settings["back"]
    with (
        Server(contestant.key, contestant.command(), contestant.core) as server,
        Load(server, settings["readers"], contestant.path) as load,
    ):
        load.do(f"phase {back + back // 5} 50")
        metrics = _timed(server, load, f"reconnect {back}")
        metrics["deliveries_per_s"] = metrics["messages"] / metrics["wall_s"]
        if metrics["messages"] != settings["readers"] * back:
            metrics["gaps"] = max(metrics["gaps"], settings["readers"] * back - metrics["messages"])
        return metrics


def history(contestant: Contestant, settings: Settings) -> Metrics:
    """Cost of a delivery on a young log and on a long one, to readers at its head."""
    metrics: Metrics = {}
    for name, length in (("short", settings["short"]), ("long", settings["long"])):
        with Server(contestant.key, contestant.command(), contestant.core) as server:
            server.tell(f"fill {length}")
            server.hear(120)
            with Load(server, settings["readers"], contestant.path + "?after=now") as load:
                load.do("phase 1 1")
                timed = _timed(server, load, f"phase {settings['messages']} 1")
        metrics[f"{name}_cpu_us_per_delivery"] = timed["cpu_us_per_delivery"]
    metrics["growth_ratio"] = metrics["long_cpu_us_per_delivery"] / metrics["short_cpu_us_per_delivery"]
    return metrics


BODY = b'{"model": "bench/bench", "stream": true, "messages": [{"role": "user", "content": "Write."}]}'


def gateway(contestant: Contestant, settings: Settings) -> Metrics:
    """Answers relayed from an upstream that speaks OpenAI's chat dialect at `tokens_per_s` each."""
    answers = settings.get(f"{contestant.key}_answers", settings["answers"])
    tokens = settings["tokens"]
    upstream_command = [PEERS_PYTHON, "-m", "benchmarks.servers.upstream", str(tokens), str(settings["tokens_per_s"])]
    with (
        tempfile.NamedTemporaryFile(suffix=".json") as body,
        Server("upstream", upstream_command, CLIENT_CORE) as upstream,
        Server(contestant.key, [*contestant.command(), str(upstream.port)], contestant.core) as server,
    ):
        body.write(BODY)
        body.flush()
        with Load(server, min(answers, 10), "/v1/chat/completions", body=Path(body.name)) as load:
            load.do(f"phase {tokens} 0")
        before = server.cpu_s()
        with Load(server, answers, "/v1/chat/completions", body=Path(body.name)) as load:
            phase = load.do(f"phase {tokens} 0")
        # Messages that came before the last response head were counted while the readers were opened.
        used_s = server.cpu_s() - before
        seen = load.ready.messages + phase.messages
        if seen != answers * tokens:
            raise Failed(f"{seen} of {answers * tokens} tokens arrived")
        return {
            "cpu_us_per_token": used_s / seen * 1e6,
            "answers": answers,
            "heads_s": load.ready.wall_ns / 1e9,
            "p99_ms": max(load.ready.p99_ns, phase.p99_ns) / 1e6,
        }


def _timed(server: Server, load: Load, command: str) -> Metrics:
    before = server.cpu_s()
    phase = load.do(command)
    return _metrics(phase, server.cpu_s() - before)


def _medians(phases: Sequence[Metrics]) -> Metrics:
    """Each metric's median: one phase says as much of the machine as of the server."""
    return {name: statistics.median([phase[name] for phase in phases]) for name in phases[0]}


def _metrics(phase: Phase, used_s: float) -> Metrics:
    messages = max(phase.messages, 1)
    return {
        "deliveries_per_s": phase.messages / max(phase.span_ns, 1) * 1e9,
        "deliveries_per_cpu_s": phase.messages / max(used_s, 0.01),
        "cpu_us_per_delivery": used_s / messages * 1e6,
        "client_cpu_us_per_delivery": phase.client_cpu_ns / messages / 1e3,
        "reads_per_message": phase.reads / messages,
        "bytes_per_message": phase.bytes / messages,
        "p50_ms": phase.p50_ns / 1e6,
        "p99_ms": phase.p99_ns / 1e6,
        "max_ms": phase.max_ns / 1e6,
        "wall_s": phase.wall_ns / 1e9,
        "messages": phase.messages,
        "gaps": phase.gaps,
        "duplicates": phase.duplicates,
        "closed": phase.closed,
    }
