"""`patinox formats`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from patinox.cli.exits import WrongInput
from patinox.errors import UnknownFormat
from patinox.formats.base import Format
from patinox.formats.registry import builtin

_HEADER = ("NAME", "TITLE", "CONTENT TYPE", "FRAMING")


@click.command(short_help="List the formats there are, and what each pair loses.")
@click.option(
    "--from", "source", metavar="FORMAT", help="Only pairs from this format: what they cannot carry, and why."
)
@click.option("--to", "target", metavar="FORMAT", help="What pairs to this format cannot carry, and why.")
def formats(source: str | None, target: str | None) -> None:
    """List the formats that streams can be read in, for `--format` and `?format=`, and the pairs of them.

    The table of pairs counts the kinds of records that a pair cannot carry; with --from or --to they are listed.

    \b
    Examples:
      patinox formats
      patinox formats --from anthropic --to openai-chat
    """
    known = builtin()
    for name in (source, target):
        if name is not None and name not in known:
            raise WrongInput(UnknownFormat(name, tuple(known)).message)
    if source is None and target is None:
        rows = [(f.name, f.title, f.content_type, f.framing) for f in known.values()]
        _table((_HEADER, *rows))
        click.echo("\nWhat a pair cannot carry, in kinds of records; --from and --to say which, and why:\n")
        _table(_pairs(known))
        return
    for each in known.values() if source is None else (known[source],):
        for other in known.values() if target is None else (known[target],):
            _pair(each, other)


def _pairs(known: Mapping[str, Format[Any]]) -> Sequence[Sequence[str]]:
    header = ("FROM / TO", *known)
    counts = [[str(len(target.losses_from(source)) or "-") for target in known.values()] for source in known.values()]
    return [header, *((name, *row) for name, row in zip(known, counts, strict=True))]


def _pair(source: Format[Any], target: Format[Any]) -> None:
    losses = target.losses_from(source)
    click.echo(f"{source.name} → {target.name}: {'' if losses else 'carries everything'}".rstrip())
    width = max(map(len, losses), default=0)
    for key, loss in sorted(losses.items()):
        click.echo(f"  {key.ljust(width)}  {loss.why}{'' if loss.when is None else ' (not always)'}")


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
