"""`patinox doctor`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from patinox.cli.exits import Exit, Failure, sentences
from patinox.cli.screen import printable

if TYPE_CHECKING:
    from patinox.cli.doctor_findings import Finding

_STYLES = {"ok": "green", "change": "bold yellow", "skipped": "dim"}


@click.command(short_help="Measure what the proxies on the way to a server do to its streams.")
@click.argument("url", metavar="URL")
@click.option("--chunks", type=click.IntRange(3, 1000), default=8, show_default=True, help="How many chunks to write.")
@click.option(
    "--spacing",
    type=click.FloatRange(0.01, 60),
    default=0.3,
    show_default=True,
    metavar="SECONDS",
    help="The time between two chunks.",
)
@click.option(
    "--quiet", type=click.FloatRange(0, 3600), default=0.0, metavar="SECONDS",
    help="Then wait so long for a heartbeat; the server's interval is 30 s by default.",
)  # fmt: skip
def doctor(url: str, chunks: int, spacing: float, quiet: float) -> None:
    """Write a stream to the server at URL and read it back, through whatever lies between; say what to change.

    Looks at readiness, HTTP version, the time to the first chunk, buffering, compression, resuming, and headers. The
    stream is deleted afterwards. PATINOX_TOKEN in the environment is the key or token, if the server asks for one.

    \b
    Examples:
      patinox doctor http://127.0.0.1:8787
      patinox doctor https://answers.example.com --quiet 35

    Exit codes: 0 all is fine; 1 something is to be changed, or the server cannot be used; 2 wrong input.
    """
    # The HTTP client takes longer to import than all the rest.
    from patinox.cli.client import TOKEN_VARIABLE, Refused
    from patinox.cli.doctor_findings import judge
    from patinox.cli.doctor_probe import Plan, measure

    with sentences():
        try:
            measured = asyncio.run(measure(url, Plan(chunks=chunks, spacing_s=spacing, quiet_s=quiet)))
        except Refused as error:
            hint = f"; {TOKEN_VARIABLE} has the key or token" if error.http_status in (401, 403) else ""
            raise Failure(f"no stream can be written there: {error.message}{hint}") from error
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise Failure("left; the stream was deleted") from None
    findings = judge(measured)
    _show(findings)
    is_fine = all(finding.verdict != "change" for finding in findings)
    click.get_current_context().exit(int(Exit.OK if is_fine else Exit.FAILED))


def _show(findings: Sequence[Finding]) -> None:
    """A line each: `verdict what: seen`, and what to change after an arrow."""
    lines = [
        (finding.verdict, printable(f"{finding.what}: {finding.seen}"), printable(finding.change))
        for finding in findings
    ]
    if not sys.stdout.isatty():
        for verdict, said, change in lines:
            click.echo(f"{verdict:<7} {said}{f' → {change}' if change else ''}")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    for verdict, said, change in lines:
        console.print(Text.assemble((f"{verdict:<7} ", _STYLES[verdict]), said))
        if change:
            console.print(Text(f"        → {change}", style=_STYLES[verdict]))
