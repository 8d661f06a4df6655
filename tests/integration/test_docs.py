"""The documentation runs: its Python programs, and its `curl` commands with what they are said to print.

- A `python` block is a program of its own; one that ends in an application that nobody serves is only imported.
- In a `console` block `$ curl …` is run (other commands are not) and its output compared line by line. `…` stands for
  anything within a line, and on a line of its own for any lines.
- All blocks of a page share one server, in front of an upstream that always gives the same answer. The epoch in a page
  stands for that of the stream whose address the command has.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.serving import Serving, serving

from patinox.core.keys import StreamKey
from patinox.testing.upstream import ScriptedUpstream, words

ROOT = Path(__file__).parents[2]
_GENERATED = ("config.md", "benchmarks.md")
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md") if page.name not in _GENERATED)]
HERE, HTTP2, GRPC = "//127.0.0.1:8787", "//127.0.0.1:8788", "127.0.0.1:8789"
EPOCH = "6ySdizoOXrH9"
_BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_STREAM = re.compile(r"/v1/streams/([\w.-]+)")


class Command(NamedTuple):
    """A command, and the lines it is said to print."""

    text: str
    printed: list[str]


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(found[1], found[2]) for found in _BLOCK.finditer(page.read_text())]


def commands(block: str) -> Iterator[Command]:
    """The commands of a console block; a backslash at a line's end goes on with the next."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.split("\n")
        count = next(k for k, line in enumerate(lines, 1) if not line.endswith("\\"))
        yield Command("\n".join(lines[:count]), lines[count:-1])


def expectation(printed: list[str]) -> re.Pattern[str]:
    """What the output has to look like."""
    parts = [
        r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\s*?(?:\n|\Z)"
        for line in printed
    ]
    return re.compile("".join(parts))


def at(server: Serving, text: str) -> str:
    """The text with the addresses that a server really has, of HTTP/1.1, HTTP/2 and gRPC."""
    text = text.replace(HERE, server.url.removeprefix("http:")).replace(HTTP2, server.http2_url.removeprefix("http:"))
    return text.replace(GRPC, server.grpc_address)


def run(program: str) -> None:
    """Runs a program as `python FILE` would, in a thread: it has an event loop of its own, if any."""
    exec(compile(program, "<a page>", "exec"), {"__name__": "__main__"})


async def output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def check(command: Command, server: Serving) -> None:
    text = at(server, command.text)
    named = _STREAM.search(text)
    stream = server.manager.held(StreamKey("", named[1])) if named is not None else None
    epoch = stream.epoch if stream is not None else EPOCH
    said = await output("bash", "-c", text.replace(EPOCH, epoch).replace("curl ", "curl --no-progress-meter ", 1))
    shown = said.replace(epoch, EPOCH).replace("\r\n", "\n")
    assert expectation(command.printed).match(shown), f"$ {command.text}\n{shown}"


@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="needs bash and curl")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
async def test_what_a_page_shows_is_what_happens(page: Path) -> None:
    async with (
        ScriptedUpstream(words("The sea ", "remembers ", "every ", "ship.")) as upstream,
        serving({"local": upstream.url}, server__http2_port=0, server__grpc_port=0) as server,
    ):
        for language, block in blocks(page):
            if language == "python":
                await asyncio.to_thread(run, at(server, block))
            else:
                for command in commands(block):
                    if command.text.startswith("curl "):
                        await check(command, server)


def test_every_link_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_comparison_sees_a_difference() -> None:
    pattern = expectation(["a…c", "…", "z"])
    assert pattern.match("abc\nq\nq\nz\n")
    assert not pattern.match("abd\nz\n")
    assert not pattern.match("abc\nq\n")
