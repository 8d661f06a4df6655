"""`patinox serve` as a process of its own, on a free port."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
COMMAND = (sys.executable, "-m", "patinox.cli.main", "serve")


async def start(*arguments: str, **variables: str) -> Process:
    # Not the one file of whoever runs the tests, in which servers that run beside each other would meet.
    environment = {
        "PATINOX_SERVER__STORE": "memory://",
        **os.environ,
        "NO_COLOR": "1",
        "COVERAGE_PROCESS_START": "",
        **variables,
    }
    return await asyncio.create_subprocess_exec(*COMMAND, *arguments, stdout=PIPE, stderr=PIPE, env=environment)


@asynccontextmanager
async def running(*arguments: str, **variables: str) -> AsyncIterator[tuple[Process, str]]:
    """A server on a free port, and its address as it printed it."""
    process = await start("--port", "0", "--no-local-model", *arguments, **variables)
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        found = ADDRESS.search(line)
        assert found is not None, f"{line!r}, {(await process.communicate())[1].decode()!r}"
        yield process, found.group()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: Process, within_s: float = 5) -> str:
    """Waits for its end, and gives what it printed on stderr."""
    async with asyncio.timeout(within_s):
        _, complaints = await process.communicate()
    return complaints.decode()
