"""`patinox config check` and `patinox config show`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from patinox.cli.exits import sentences
from patinox.config import Config, render_toml


@click.group(short_help="Check and show settings.")
def config() -> None:
    """Check a file of settings, or show those in effect."""


@config.command(short_help="Check a file of settings.")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
def check(path: Path) -> None:
    """Check FILE, and say everything that is wrong with it: the line, the meaning, what is allowed.

    \b
    Example:
      patinox config check streaming.toml
    """
    with sentences():
        Config.load(path, env={})
    click.echo(f"{path}: ok")


@config.command(short_help="Print the settings in effect.")
@click.option("--config", "path", type=click.Path(path_type=Path), metavar="FILE", help="Settings, in TOML.")
def show(path: Path | None) -> None:
    """Print the settings in effect as TOML, each with its meaning and what is allowed.

    They come from the defaults, the file and the environment. Passwords in URLs are masked.

    \b
    Example:
      patinox config show --config streaming.toml > all-settings.toml
    """
    with sentences():
        settings = Config.load(path, os.environ)
    click.echo(render_toml(settings), nl=False)
