"""`patinox formats`."""

from __future__ import annotations

import click

from patinox.formats.registry import builtin

_HEADER = ("NAME", "TITLE", "CONTENT TYPE", "FRAMING")


@click.command(short_help="List the formats there are.")
def formats() -> None:
    """List the formats that streams can be read in, for `--format` and `?format=`.

    \b
    Example:
      patinox formats
    """
    rows = [(f.name, f.title, f.content_type, f.framing) for f in builtin().values()]
    widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
    for row in (_HEADER, *rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(line)
