"""`patinox tail`."""

from __future__ import annotations

import asyncio

import click

from patinox.cli.exits import Exit
from patinox.cli.options import after as check_after
from patinox.cli.options import format_option, server_option
from patinox.cli.options import stream_id as check_stream_id
from patinox.errors import PatinoxError


@click.command(short_help="Follow a stream, from the start or from where you left it.")
@click.argument("stream_id", metavar="STREAM", callback=check_stream_id)
@server_option
@click.option(
    "--after",
    callback=check_after,
    metavar="ID",
    help="Go on after this event id; or `start` (the default), `now`, or `snapshot`.",
)
@format_option
def tail(stream_id: str, url: str, after: str | None, format_name: str | None) -> None:
    """Follow STREAM to its end, over as many connections as it takes.

    Prints its text; on a terminal, other events as dim lines. Leaving with Ctrl-C does not stop the stream.

    \b
    Examples:
      patinox tail 3Jd82QwKfm0
      patinox tail 3Jd82QwKfm0 --after k3Jd82Qw-17
      patinox tail 3Jd82QwKfm0 --format ndjson | jq .event

    Exit codes: 0 the stream is complete, or incomplete (said on stderr); 1 it failed, was interrupted or cancelled,
    or cannot be read; 2 wrong input.
    """
    try:
        exit_code = asyncio.run(_tail(url, stream_id, after, format_name))
    except (KeyboardInterrupt, asyncio.CancelledError):
        exit_code = Exit.FAILED  # what was left, and how to go on, has been said
    click.get_current_context().exit(int(exit_code))


async def _tail(url: str, stream_id: str, after: str | None, format_name: str | None) -> Exit:
    # The HTTP client takes longer to import than all the rest.
    from patinox.cli.client import Server
    from patinox.cli.watching import Watch, failure_of, screen_for

    try:
        async with Server(url) as server:
            watch = Watch(server, stream_id, screen_for(format_name, events=True), after=after, format_name=format_name)
            return watch.conclude(await watch.run())
    except PatinoxError as error:
        raise failure_of(error) from error
