"""`patinox serve`."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import click

from patinox.cli.exits import NotStarted, sentences
from patinox.config import Config, upstream_overrides


@click.command(short_help="Run the server.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 is every one. Default: 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="0 takes any free port. Default: 8787.")
@click.option("--http2-port", type=click.IntRange(0, 65535), metavar="N", help="A port for HTTP/2 too. Default: none.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), metavar="N", help="A port for gRPC. Default: none.")
@click.option("--tls-cert", metavar="FILE", help="Certificate for TLS on these ports, in PEM; with --tls-key.")
@click.option("--tls-key", metavar="FILE", help="Its private key, in PEM.")
@click.option("--config", "path", type=click.Path(path_type=Path), metavar="FILE", help="Settings, in TOML.")
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="NAME=[DIALECT+]URL",
    help="A server of models to ask; may be given several times. Its key is read from PATINOX_<NAME>_KEY.",
)
@click.option("--store", metavar="URL", help="Where streams are kept. Default: a SQLite file in your data directory.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Server processes. Default: 1.")
@click.option("--insecure", is_flag=True, default=None, help="Listen beyond this machine though nobody is asked.")
@click.option("--local-model/--no-local-model", default=None, help="Whether to run the embedded model. Default: yes.")
def serve(
    host: str | None,
    port: int | None,
    http2_port: int | None,
    grpc_port: int | None,
    tls_cert: str | None,
    tls_key: str | None,
    path: Path | None,
    upstreams: tuple[str, ...],
    store: str | None,
    workers: int | None,
    insecure: bool | None,
    local_model: bool | None,
) -> None:
    """Run the server, until Ctrl-C.

    Options are over the environment, which is over the file; `patinox config show` prints what is in effect.

    \b
    Examples:
      patinox serve
      patinox serve --port 9000 --upstream openai=https://api.openai.com/v1
      patinox serve --config streaming.toml --no-local-model
    """
    with sentences():
        overrides: dict[str, object] = {
            "server.host": host,
            "server.port": port,
            "server.http2_port": http2_port,
            "server.grpc_port": grpc_port,
            "server.tls_cert": tls_cert,
            "server.tls_key": tls_key,
            "server.store": store,
            "server.workers": workers,
            "server.insecure": insecure,
            "server.local_model": local_model,
        }
        overrides |= upstream_overrides(upstreams)
        settings = Config.load(path, os.environ, overrides)
    # The server's own imports take longer than every other command does.
    try:
        run = importlib.import_module("patinox.server.run")
    except ModuleNotFoundError as error:
        hint = f'{error.name} is not installed: pip install "patinox[server]"'
        raise NotStarted(f"the server could not start: {hint}") from error
    click.get_current_context().exit(run.serve(settings, load=lambda: Config.load(path, os.environ, overrides)))
