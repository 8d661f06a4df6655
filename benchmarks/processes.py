"""The processes of one measurement: a server pinned to one core, the load client to the other, and /proc."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from benchmarks.build import BUILD, ROOT

SERVER_CORE, CLIENT_CORE = 0, 1
NOT_THERE = 3
"""Exit status of a server that cannot run here; the last line on its stderr says why."""

PHASE_S = 90
"""Bound of every step of the load client."""

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class NotThere(Exception):
    """A contestant that isn't installed or built yet; the message is for people."""


class Failed(Exception):
    """A process ended, or did not answer in time."""


class Phase(msgspec.Struct, frozen=True):
    """What the load client says after a command; see `client/load.c` for the meaning of each count."""

    phase: str
    readers: int
    messages: int
    duplicates: int
    gaps: int
    bytes: int
    reads: int
    chunks: int
    wall_ns: int
    span_ns: int
    client_cpu_ns: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    max_ns: int
    refused: int
    closed: int
    ended: int
    stalled: int
    timed_out: bool


def cpu_s(pid: int) -> float:
    """Return user + system CPU seconds of all threads of `pid` (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """Return the resident set size of `pid` in bytes (proc(5), VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise Failed(f"process {pid} has no memory")


def read_line(pipe: IO[str], timeout_s: float, who: str) -> str:
    """Read one line from an unbuffered pipe; raise `Failed` at the end of file or after `timeout_s`."""
    ready, _, _ = select.select([pipe], [], [], timeout_s)
    line = pipe.readline() if ready else ""
    if not line:
        raise Failed(f"{who} said nothing for {timeout_s:.0f} s" if not ready else f"{who} ended")
    return line


class Process:
    """A child that answers lines with lines; ended on exit from the context, by its own handle only."""

    def __init__(self, name: str, command: Sequence[str], core: int, **options: Any) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the child
        environment = {**os.environ, "PATINOX_BENCH_SERVER_CORE": str(SERVER_CORE), "PYTHONPATH": str(ROOT)}
        self._child = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            text=True, bufsize=1, env=environment, cwd=ROOT, **options,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child.stdin:
            self._child.stdin.close()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.terminate()
            try:
                self._child.wait(5)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def tell(self, line: str) -> None:
        """Send one command."""
        assert self._child.stdin
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def hear(self, timeout_s: float) -> str:
        """Wait for one line."""
        assert self._child.stdout
        try:
            return read_line(self._child.stdout, timeout_s, self.name)
        except Failed as failure:
            raise self._explained(failure) from None

    def _explained(self, failure: Failed) -> Exception:
        try:
            status = self._child.wait(0.5)
        except subprocess.TimeoutExpired:
            return failure
        self._errors.seek(0)
        last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
        return NotThere(last) if status == NOT_THERE else Failed(f"{failure} with status {status}: {last}")


class Server(Process):
    """A contestant's server, listening."""

    def __init__(self, name: str, command: Sequence[str], core: int = SERVER_CORE, start_s: float = 60) -> None:
        super().__init__(name, command, core)
        try:
            _, port, pid = self.hear(start_s).split()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.port, self.pid = int(port), int(pid)

    @property
    def commands_fd(self) -> int:
        """The descriptor that its commands are written to; the load client paces it through this."""
        assert self._child.stdin
        return self._child.stdin.fileno()

    def cpu_s(self) -> float:
        """CPU seconds used so far."""
        return cpu_s(self.pid)

    def resident_bytes(self) -> int:
        """Resident memory now."""
        return resident_bytes(self.pid)


class Load(Process):
    """The load client, with all its readers open."""

    def __init__(
        self, server: Server, readers: int, path: str,
        *, body: Path | None = None, dialect: str | None = None, streams: int = 0, nap_us: int = 0,
    ) -> None:  # fmt: skip
        pace = server.commands_fd
        if dialect == "grpc":
            command = [sys.executable, "-m", "benchmarks.grpc_load", str(server.port), str(readers), path]
            command += ["--pace", str(pace), "--timeout", str(PHASE_S)]
        else:
            command = [str(BUILD / "load"), str(server.port), str(readers), path]
            command += ["--pace", str(pace), "--timeout", str(PHASE_S), "--nap", str(nap_us)]
            command += ["--body", str(body)] if body else []
            command += ["--websocket", dialect] if dialect else []
            command += ["--http2", str(streams)] if streams else []
        super().__init__("load client", command, CLIENT_CORE, pass_fds=(pace,))
        try:
            self.ready = self._phase()
            if self.ready.refused or self.ready.timed_out:
                raise Failed(f"{self.ready.refused} of {readers} readers were refused, or not all got a response")
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _phase(self) -> Phase:
        answer = json.loads(self.hear(PHASE_S + 10))
        if "error" in answer:
            raise Failed(f"load client: {answer['error']}")
        return msgspec.convert(answer, Phase)

    def do(self, command: str) -> Phase:
        """Carry out one command and return what was seen; raise `Failed` where it took too long."""
        self.tell(command)
        return self.result(command)

    def result(self, command: str) -> Phase:
        """Wait for the answer to a command already told."""
        phase = self._phase()
        if phase.timed_out:
            raise Failed(f"'{command}' not done after {PHASE_S} s: {phase}")
        return phase
