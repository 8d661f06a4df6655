"""`patinox key`."""

from __future__ import annotations

import click

from patinox.cli.exits import sentences
from patinox.config.auth import KeyConfig
from patinox.server.auth.keys import new_key


@click.command(short_help="Make a key for the server.")
@click.argument("name", metavar="NAME")
def key(name: str) -> None:
    """Make a key for NAME, and the settings by which the server knows it.

    The key is shown once, on stderr; the settings, on stdout, hold nothing but its hash.

    \b
    Example:
      patinox key mobile-app >> patinox.toml
    """
    made, sha256 = new_key()
    with sentences():
        KeyConfig(name=name, sha256=sha256)
    click.echo(f"the key of {name}, shown this once: {made}", err=True)
    click.echo(f'[auth.keys.{name}]\nsha256 = "{sha256}"')
