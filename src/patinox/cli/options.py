"""Options and arguments that several commands share, and what they accept."""

from __future__ import annotations

import re

import click

from patinox.cli.exits import sentences
from patinox.core.codec import parse_event_id

_STREAM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")
_PLACES = ("start", "now", "snapshot")

server_option = click.option(
    "--server",
    "url",
    envvar="PATINOX_SERVER",
    default="http://127.0.0.1:8787",
    show_default=True,
    metavar="URL",
    help="The server. PATINOX_SERVER in the environment sets it too.",
)

format_option = click.option(
    "--format",
    "format_name",
    metavar="FORMAT",
    help="Write this format's own bytes, such as ndjson for programs; `patinox formats` lists them.",
)


def stream_id(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Checks a stream id."""
    if not _STREAM_ID.fullmatch(value):
        raise click.BadParameter(f"{value[:140]!r} is no stream id; one has 1 to 128 letters, digits and . _ ~ -")
    return value


def after(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Checks where to continue: `start`, `now`, `snapshot` or an event id."""
    if value is not None and value not in _PLACES:
        with sentences():
            parse_event_id(value)
    return value
