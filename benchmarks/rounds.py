"""Runs scenarios in interleaved rounds and keeps the medians.

A B C A B C …, never A A A B B B: what drifts on the machine drifts for all.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import msgspec

from benchmarks.contestants import CONTESTANTS
from benchmarks.processes import Failed, NotThere
from benchmarks.scenarios import Scenario

WORST_COUNTS = ("gaps", "duplicates")
"""Of these the worst round is reported, not the middle one."""

Say = Callable[[str], None]


class Outcome(msgspec.Struct):
    """What one contestant did in one scenario: metrics of each round, or why there are none."""

    rounds: list[dict[str, float]] = []
    missing: str | None = None

    @property
    def medians(self) -> dict[str, float]:
        """The median of each metric over the rounds; the worst of gaps and duplicates."""
        if not self.rounds:
            return {}
        names = [name for name in self.rounds[0] if all(name in metrics for metrics in self.rounds)]
        return {name: _middle(name, [metrics[name] for metrics in self.rounds]) for name in names}


class Result(msgspec.Struct):
    """One scenario, measured."""

    letter: str
    title: str
    metric: str
    label: str
    outcomes: dict[str, Outcome]


def _middle(name: str, values: list[float]) -> float:
    return max(values) if name in WORST_COUNTS else statistics.median(values)


def run(scenario: Scenario, rounds: int, quick: bool, only: set[str] | None, say: Say) -> Result:
    """Measure every contestant (or those in `only`) `rounds` times in turn; one that fails is left out."""
    settings = {**scenario.settings, **(scenario.quick if quick else {})}
    keys = [key for key in scenario.contestants if only is None or key in only]
    outcomes = {key: Outcome() for key in keys}
    for number in range(min(rounds, scenario.rounds)):
        for key in keys:
            outcome = outcomes[key]
            if outcome.missing is None:
                said = _once(scenario, key, settings, outcome)
                say(f"({scenario.letter}) round {number + 1}: {CONTESTANTS[key].title}: {said}")
    return Result(scenario.letter, scenario.title, scenario.metric, scenario.label, outcomes)


def _once(scenario: Scenario, key: str, settings: dict[str, int], outcome: Outcome) -> str:
    started_s = time.monotonic()
    try:
        metrics = scenario.measure(CONTESTANTS[key], settings)
    except NotThere as why:
        outcome.missing = str(why)
        return f"left out: {why}"
    except Failed as why:
        outcome.missing = f"failed: {why}"
        return outcome.missing
    outcome.rounds.append(metrics)
    return f"{metrics[scenario.metric]:,.2f} {scenario.label} ({time.monotonic() - started_s:.1f} s)"
