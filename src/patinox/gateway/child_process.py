"""A child process on a leash.

The leash is the child's standard input: it gets one line of settings and then nothing, and when this process
ends, however it ends, the pipe closes and the child leaves. That works on every system; nothing else has to.
What the child prints goes to a bounded tail, never to our terminal.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from collections.abc import Sequence


class OutputTail:
    """The last lines of what a process printed, bounded in lines and in characters a line."""

    def __init__(self, *, max_lines: int = 100, max_line_chars: int = 500) -> None:
        self._lines: deque[str] = deque(maxlen=max_lines)
        self._max_line_chars = max_line_chars
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._open = ""

    def feed(self, data: bytes) -> None:
        """Takes the next bytes, cut anywhere."""
        *whole, rest = (self._open + self._decoder.decode(data)).split("\n")
        self._lines.extend(line[: self._max_line_chars] for line in whole)
        self._open = rest[: self._max_line_chars]

    def lines(self, last: int | None = None) -> list[str]:
        """The last lines, oldest first, with an unfinished one at the end; empty ones left out."""
        lines = [line.rstrip() for line in (*self._lines, self._open) if line.strip()]
        return lines if last is None else lines[-last:]


class ChildProcess:
    """A running child. Whoever spawned it ends it with `aclose()`."""

    def __init__(self, process: Process, tail: OutputTail) -> None:
        self._process = process
        self.tail = tail
        self._pump = asyncio.create_task(self._read_output(), name=f"output of process {process.pid}")

    def __repr__(self) -> str:
        return f"<ChildProcess {self.pid} {self._process.returncode}>"

    @classmethod
    async def spawn(cls, command: Sequence[str], settings: bytes) -> ChildProcess:
        """Starts `command` and hands it `settings`, one line. Raises OSError where it cannot be run."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=sys.platform != "win32",  # signals of the terminal are for the parent
        )
        assert process.stdin is not None
        process.stdin.write(settings + b"\n")
        return cls(process, OutputTail())

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def wait(self) -> str:
        """Waits for its end. Returns how it ended, to go on after "it"."""
        status = await self._process.wait()
        # Its last words are in the pipe, which stays open for longer only if a process of its own holds it.
        await asyncio.wait([self._pump], timeout=1.0)
        if status >= 0:
            return f"ended with status {status}"
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
        return f"was ended by signal {-status}"

    async def aclose(self, grace_s: float = 2.0) -> None:
        """Ends it: by closing its leash and asking, after `grace_s` by force. Returns when it is gone."""
        self._ask_to_end()
        try:
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            # Also where this call is cancelled while it waits: nothing outlives its owner.
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._pump.cancel()
        await self._process.wait()
        await asyncio.wait([self._pump])

    def _ask_to_end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    async def _read_output(self) -> None:
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(65_536):
            self.tail.feed(data)
