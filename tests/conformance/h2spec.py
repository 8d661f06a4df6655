"""h2spec against the real server and application: `make h2spec`.

    python -m tests.conformance.h2spec PROGRAM

PROGRAM is h2spec. Starts `patinox serve` as a user would, in the clear and with TLS, has h2spec ask strictly for the
list of streams, and prints the counts and every case that failed; exits with 1 where more than one did.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from tests.certificates import self_signed

LEAST, ALL = 145, 146
_PATH = "/v1/streams"  # also reads the whole of a POST before it answers: some cases send a wrong one slowly
_HTTP = re.compile(r"Patinox is on (http://\S+)")
_HTTP2 = re.compile(r"HTTP/2 +(https?://\S+)")
_COUNTS = re.compile(r"(\d+) tests, (\d+) passed")


@asynccontextmanager
async def serve(*arguments: str) -> AsyncIterator[tuple[str, str]]:
    """A server process, and its two addresses as it prints them."""
    command = (
        sys.executable,
        "-m",
        "patinox.cli.main",
        "serve",
        "--no-local-model",
        "--store",
        "memory://",
        "--port",
        "0",
    )
    process = await asyncio.create_subprocess_exec(*command, "--http2-port", "0", *arguments, stdout=PIPE)
    assert process.stdout is not None
    try:
        lines = [(await process.stdout.readline()).decode() for _ in range(2)]
        http, http2 = _HTTP.search(lines[0]), _HTTP2.search(lines[1])
        assert http is not None
        assert http2 is not None
        yield http[1], http2[1]
    finally:
        process.terminate()
        await process.communicate()


async def fill(url: str) -> None:
    """Makes a stream, so that the list of them has a body."""
    async with aiohttp.ClientSession(url) as http, http.post("/v1/streams", json={"id": "h2spec"}) as made:
        assert made.status == 201


async def judge(program: str, http2: str) -> int:
    """Runs h2spec; prints what it says of failures, and the counts. Returns how many cases passed."""
    where = urlsplit(http2)
    options = ("--tls", "--insecure") if where.scheme == "https" else ()
    command = (program, "--strict", "-h", where.hostname, "-p", str(where.port), "-P", _PATH, "-o", "5", *options)
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=PIPE, stderr=STDOUT)
    said = (await process.communicate())[0].decode()
    if "Failures:" in said:
        print(said[said.index("Failures:") :])
    counts = _COUNTS.search(said)
    ran, passed = (int(counts[1]), int(counts[2])) if counts is not None else (0, 0)
    print(f"{where.scheme}: {passed} of {ran} passed")
    return passed if ran == ALL else 0


async def run(program: str) -> int:
    """Both ways; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        made = self_signed(Path(folder))
        passed = []
        for arguments in ((), ("--tls-cert", str(made.certificate), "--tls-key", str(made.key))):
            async with serve(*arguments) as (http, http2):
                await fill(http)
                passed.append(await judge(program, http2))
    return 0 if min(passed) >= LEAST else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(run(sys.argv[1])))
