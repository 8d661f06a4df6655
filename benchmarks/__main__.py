"""Command line: ``python -m benchmarks [--quick] [--only a,b] [--contestants native,raw] [--rounds N]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.build import NoCompiler, build
from benchmarks.chart import picture
from benchmarks.contestants import CONTESTANTS
from benchmarks.report import report, show, write
from benchmarks.rounds import run
from benchmarks.scenarios import SCENARIOS

RESULTS = Path(__file__).parent / "results"


def _chosen(text: str, known: set[str], what: str) -> set[str]:
    names = {name.strip() for name in text.split(",")}
    if unknown := names - known:
        sys.exit(f"no such {what}: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Patinox beside its peers.")
    parser.add_argument("--quick", action="store_true", help="one round, smaller counts: does it run at all")
    parser.add_argument("--only", metavar="a,b", help="scenarios, by letter")
    parser.add_argument("--contestants", metavar="x,y", help="servers, by key")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (5; quick 1)")
    parser.add_argument("--name", help="name of the result files (a whole run: latest; otherwise: partial)")
    return parser.parse_args()


def main() -> None:
    """Build, measure, print, write."""
    options = _arguments()
    letters = _chosen(options.only, {s.letter for s in SCENARIOS}, "scenario") if options.only else None
    keys = _chosen(options.contestants, set(CONTESTANTS), "contestant") if options.contestants else None
    rounds = options.rounds or (1 if options.quick else 5)
    try:
        build()
    except NoCompiler as why:
        sys.exit(str(why))
    results = [
        run(scenario, rounds, options.quick, keys, lambda line: print(line, flush=True))
        for scenario in SCENARIOS
        if letters is None or scenario.letter in letters
    ]
    whole = not (options.quick or letters or keys)
    name = options.name or ("latest" if whole else "partial")
    done = report(results, options.quick, rounds)
    show(done)
    write(done, RESULTS / f"{name}.json")
    (RESULTS / f"{name}.svg").write_text(picture(done))
    print(f"\nwritten: benchmarks/results/{name}.json and .svg")


if __name__ == "__main__":
    main()
