"""What a run says: tables and verdicts on the terminal, and everything in one JSON file."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import msgspec

from benchmarks.contestants import CONTESTANTS, PEERS_PYTHON
from benchmarks.rounds import WORST_COUNTS, Outcome, Result
from benchmarks.scenarios import SCENARIOS, TARGETS, Target

VERSIONS_OF = (
    "uvicorn", "uvloop", "httptools", "websockets", "starlette", "fastapi", "sse-starlette", "python-socketio",
    "aiohttp", "litellm",
)  # fmt: skip
UNSEEN_WIDTH = 150
"""Columns of a table that goes to a file or a pipe."""
_ASK_VERSIONS = f"""
from importlib.metadata import version, PackageNotFoundError
for name in {VERSIONS_OF!r}:
    try: print(name, version(name))
    except PackageNotFoundError: pass
"""


class Verdict(msgspec.Struct):
    """A target beside what was measured."""

    text: str
    measured: float
    reached: bool


class Machine(msgspec.Struct):
    """Where it ran."""

    processor: str
    cores: int
    kernel: str
    python: str
    load_average: float
    peers: dict[str, str]


class Report(msgspec.Struct):
    """A whole run."""

    date: str
    quick: bool
    rounds: int
    machine: Machine
    results: list[Result]
    medians: dict[str, dict[str, dict[str, float]]]
    verdicts: list[Verdict]


def machine() -> Machine:
    """Describe this machine and the peers' versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    peers: dict[str, str] = {}
    if Path(PEERS_PYTHON).exists():
        said = subprocess.run([PEERS_PYTHON, "-c", _ASK_VERSIONS], capture_output=True, text=True, timeout=60).stdout
        peers = dict(line.split() for line in said.splitlines())
    return Machine(
        processor, os.cpu_count() or 1, platform.release(), platform.python_version(), os.getloadavg()[0], peers
    )


def report(results: list[Result], quick: bool, rounds: int) -> Report:
    """Gather a run's results, medians and verdicts."""
    medians = {r.letter: {key: outcome.medians for key, outcome in r.outcomes.items()} for r in results}
    outcomes = {r.letter: r.outcomes for r in results}
    verdicts = [verdict for target in TARGETS if (verdict := judge(target, outcomes.get(target.letter, {})))]
    return Report(datetime.now(UTC).isoformat(timespec="seconds"), quick, rounds, machine(), results, medians, verdicts)


def judge(target: Target, outcomes: Mapping[str, Outcome]) -> Verdict | None:
    """Compare one target with what was measured; None where a side is missing.

    A ratio is taken within each round, and the median of these is judged: rounds differ more than neighbours in one.
    """
    values = _rounds(outcomes, target.who, target.metric)
    if target.against is not None:
        bases = _rounds(outcomes, target.against, target.metric)
        values = [value / base for value, base in zip(values, bases, strict=False) if base]
    if not values:
        return None
    measured = max(values) if target.metric in WORST_COUNTS else statistics.median(values)
    sign = "≥" if target.at_least else "≤"
    beside = f" × {CONTESTANTS[target.against].title}" if target.against else ""
    text = f"({target.letter}) {CONTESTANTS[target.who].title}: {target.metric} {sign} {target.bound:g}{beside}"
    return Verdict(text, measured, measured >= target.bound if target.at_least else measured <= target.bound)


def _rounds(outcomes: Mapping[str, Outcome], key: str, metric: str) -> list[float]:
    rounds = outcomes[key].rounds if key in outcomes else []
    return [metrics[metric] for metrics in rounds if metric in metrics]


def rows(result: Result) -> tuple[list[str], list[list[str]]]:
    """Return a table's heading and rows for one scenario."""
    scenario = next(s for s in SCENARIOS if s.letter == result.letter)
    names = [scenario.metric, *(name for name in scenario.shown if name != scenario.metric)]
    measured = {key: outcome.medians for key, outcome in result.outcomes.items() if outcome.rounds}
    body = [[CONTESTANTS[key].title, *(_number(m.get(name)) for name in names)] for key, m in measured.items()]
    return ["", *names], body


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.2f}"


def show(done: Report) -> None:
    """Print tables and verdicts; with rich where it is installed."""
    table = _rich_table if find_spec("rich") else _plain_table
    for result in done.results:
        heading, body = rows(result)
        table(f"({result.letter}) {result.title}", heading, body)
        for key, outcome in result.outcomes.items():
            if outcome.missing:
                print(f"  {CONTESTANTS[key].title}: {outcome.missing}")
    for verdict in done.verdicts:
        print(f"{'reached ' if verdict.reached else 'MISSED  '} {verdict.text}: {verdict.measured:.2f}")


def _plain_table(title: str, heading: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in (heading, *body)) for i in range(len(heading))]
    print(f"\n{title}")
    for first, *others in (heading, *body):
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))


def _rich_table(title: str, heading: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, name in enumerate(heading):
        table.add_column(name.replace("_", " "), justify="left" if i == 0 else "right")
    for row in body:
        table.add_row(*row)
    console = Console()
    Console(width=None if console.is_terminal else UNSEEN_WIDTH).print(table)


def write(done: Report, file: Path) -> None:
    """Write the whole run as indented JSON."""
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(done), indent=1) + b"\n")
