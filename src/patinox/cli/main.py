"""`patinox`: the group of commands."""

from __future__ import annotations

import sys

try:
    import click
except ModuleNotFoundError:  # the library alone was installed
    sys.stderr.write('The patinox command needs its server extra: pip install "patinox[server]"\n')
    raise SystemExit(3) from None

from patinox.cli.chat import chat
from patinox.cli.config_commands import config
from patinox.cli.convert import convert
from patinox.cli.doctor import doctor
from patinox.cli.formats_command import formats
from patinox.cli.key_command import key
from patinox.cli.serve import serve
from patinox.cli.tail import tail


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="patinox", prog_name="patinox", message="%(prog)s %(version)s")
def main() -> None:
    """Streams of model answers that survive reloads, cuts and second viewers.

    \b
    Start a server, ask it something, and watch the same answer from elsewhere:
      patinox serve
      patinox chat "Why is the sky blue?"
      patinox tail STREAM

    Exit codes: 0 fine, 1 something failed while running, 2 wrong command or input, 3 could not start.
    """


for command in (serve, chat, tail, doctor, convert, config, formats, key):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="patinox")
