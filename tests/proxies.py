"""The real nginx, HAProxy and Caddy before a server, each with the configuration that its how-to shows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

HOW_TO = Path(__file__).parents[1] / "docs" / "how-to"
NAME = "patinox.example.com"
"""What the pages call the server."""


class Proxy(NamedTuple):
    """A program, the language of its block in its page, and how it is run in the foreground.

    `listens` is what the page's block says about where it listens, and what stands there instead on port `{port}`;
    `around` makes a whole configuration of the block, with `{folder}` for what the program writes.
    """

    program: str
    language: str
    listens: tuple[str, str]
    around: str
    arguments: tuple[str, ...]

    @property
    def where(self) -> str | None:
        """The program, also where only root's path has it."""
        return shutil.which(self.program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")

    @property
    def block(self) -> str:
        """The one configuration that its how-to shows."""
        page = (HOW_TO / f"{self.program}.md").read_text()
        (block,) = re.findall(rf"^```{self.language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        return str(block)

    def written(self, folder: Path, port: int, server: int) -> Path:
        """A file in the folder, which is made, with the block that has these ports for those of the page."""
        block = self.block
        for said, instead in (self.listens, ("127.0.0.1:8787", f"127.0.0.1:{server}")):
            assert block.count(said) == 1, f"{said!r} in {self.program}.md"
            block = block.replace(said, instead.replace("{port}", str(port)))
        folder.mkdir()
        file = folder / "configuration"
        file.write_text(self.around.replace("{folder}", str(folder)).replace("{block}", block))
        return file


_NGINX = """daemon off;
pid {folder}/pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{block}
}
"""
PROXIES = (
    Proxy("nginx", "nginx", ("listen 80;", "listen 127.0.0.1:{port};"), _NGINX, ("-e", "stderr", "-c")),
    Proxy("haproxy", "haproxy", ("bind :80", "bind 127.0.0.1:{port}"), "{block}", ("-db", "-f")),
    Proxy(
        "caddy", "caddyfile", (f"{NAME} {{", f"http://{NAME}:" + "{port} {"), "{\n\tadmin off\n}\n\n{block}",
        ("run", "--adapter", "caddyfile", "--config"),
    ),
)  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Before(NamedTuple):
    """A proxy that runs: its address, and how its process is ended."""

    url: str
    end: Callable[[], None]


@asynccontextmanager
async def before(server: int, proxy: Proxy, folder: Path) -> AsyncIterator[Before]:
    """Runs a proxy before the server on this port, on a free port of its own."""
    port = free_port()
    async with run(proxy, proxy.written(folder, port, server), port) as running:
        yield running


@asynccontextmanager
async def run(proxy: Proxy, configuration: Path, port: int) -> AsyncIterator[Before]:
    """Runs a proxy with the configuration in this file, which makes it listen on this port."""
    assert proxy.where is not None
    home = str(configuration.parent)
    process = await asyncio.create_subprocess_exec(
        proxy.where, *proxy.arguments, str(configuration), stdout=PIPE, stderr=STDOUT,
        env={**os.environ, "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home},
    )  # fmt: skip
    said = asyncio.ensure_future(process.communicate())
    try:
        await _answers(port, said)
        yield Before(f"http://127.0.0.1:{port}", process.terminate)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await said


async def _answers(port: int, said: asyncio.Future[tuple[bytes, bytes]]) -> None:
    """Waits until the port is listened at. Raises AssertionError with what the program said if it ended before."""
    while not said.done():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.wait((said,), timeout=0.02)
        else:
            writer.close()
            return
    raise AssertionError(said.result()[0].decode())
