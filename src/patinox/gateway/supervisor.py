"""Keeps a child process that serves HTTP on a loopback port alive.

    stopped ──entered──▶ starting ──GET /health is 200──▶ ready ──died──▶ restarting ──waited──▶ starting …
                            ├──died, or was too slow──▶ restarting
                            └──too many quick deaths──▶ failed                  any ──aclose──▶ stopped

The port stays the same from start to start unless somebody took it meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum

import aiohttp
import msgspec

from patinox.gateway.child_process import ChildProcess

LOOPBACK = "127.0.0.1"


class SupervisorState(StrEnum):
    """Where a supervised process is in its life."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


_PASSING = (SupervisorState.STARTING, SupervisorState.RESTARTING)


class RestartPolicy(msgspec.Struct, frozen=True):
    """How long to wait before a process that died is started again, in seconds, and when to give up.

    A death is *quick* unless the process had been ready for `stable_after_s`. Quick deaths in a row double
    the wait, from `first_s` up to `cap_s`; after `limit` of them it is over. Any other death starts the count
    anew.
    """

    first_s: float = 0.5
    cap_s: float = 15.0
    limit: int = 5
    stable_after_s: float = 30.0

    def count(self, quick_deaths: int, ready_for_s: float) -> int:
        """The quick deaths in a row, with one more death of a process that was ready for so long."""
        return 0 if ready_for_s >= self.stable_after_s else quick_deaths + 1

    def wait_s(self, quick_deaths: int) -> float | None:
        """The wait before the next start; None: give up."""
        if quick_deaths >= self.limit:
            return None
        return min(self.first_s * 2.0 ** max(quick_deaths - 1, 0), self.cap_s)


class SupervisorStats(msgspec.Struct, frozen=True):
    """A reading. `pid` is None while no child runs; `failure` tells the last start or run that went wrong."""

    state: SupervisorState
    pid: int | None
    port: int
    starts: int
    failure: str | None


class Supervisor:
    """Runs `command`, and runs it again when it dies. `label` names the child in failures.

    `settings` makes the line that a child gets on its standard input, from the port it is to listen on.
    `on_state` is called with each new state.
    """

    def __init__(
        self,
        label: str,
        command: Sequence[str],
        settings: Callable[[int], bytes],
        *,
        start_timeout_s: float,
        restart: RestartPolicy,
        on_state: Callable[[SupervisorState], None] | None = None,
    ) -> None:
        self._label = label
        self._command = command
        self._settings = settings
        self._start_timeout_s = start_timeout_s
        self._restart = restart
        self._on_state = on_state
        self._state = SupervisorState.STOPPED
        self._settled = asyncio.Event()  # set in the states that don't pass by themselves
        self._settled.set()
        self._failure: str | None = None
        self._child: ChildProcess | None = None
        self._port = 0
        self._starts = 0
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Supervisor of {self._label}: {self._state}, port {self._port}>"

    @property
    def state(self) -> SupervisorState:
        """Where the child is in its life."""
        return self._state

    @property
    def failure(self) -> str | None:
        """Why the last start or run ended, with the last lines of the child; None while all went well."""
        return self._failure

    @property
    def port(self) -> int:
        """The child's port; 0 before the first start."""
        return self._port

    def stats(self) -> SupervisorStats:
        """A reading; it asks nobody."""
        pid = self._child.pid if self._child else None
        return SupervisorStats(self._state, pid, self._port, self._starts, self._failure)

    def start(self) -> None:
        """Starts the first child without waiting for it. A supervisor is started once."""
        if self._task is not None:
            raise RuntimeError(f"{self!r} was started already")
        self._port = _free_port(0)
        self._move(SupervisorState.STARTING)
        self._task = asyncio.create_task(self._supervise(), name=f"supervisor of {self._label}")

    async def aclose(self) -> None:
        """Ends the child and the supervision. Returns when the child is gone; may be called again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._move(SupervisorState.STOPPED)

    async def wait_settled(self) -> SupervisorState:
        """Waits, also through restarts, until it is ready, failed or stopped. Returns which."""
        while self._state in _PASSING:
            await self._settled.wait()
        return self._state

    def _move(self, state: SupervisorState) -> None:
        if state is self._state:
            return
        self._state = state
        if state in _PASSING:
            self._settled.clear()
        else:
            self._settled.set()
        if self._on_state is not None:
            self._on_state(state)

    async def _supervise(self) -> None:
        """Runs one child after the other until they die too quickly too often."""
        quick_deaths = 0
        try:
            while True:
                quick_deaths = self._restart.count(quick_deaths, await self._run_child())
                wait_s = self._restart.wait_s(quick_deaths)
                if wait_s is None:
                    return self._move(SupervisorState.FAILED)
                self._move(SupervisorState.RESTARTING)
                await asyncio.sleep(wait_s)
                self._move(SupervisorState.STARTING)
        except Exception as error:
            # A mistake of ours, which the event loop reports; whoever waits for the child must not wait on.
            self._failure = f"The supervisor of {self._label} broke: {error!r}"
            self._move(SupervisorState.FAILED)
            raise

    async def _run_child(self) -> float:
        """Runs one child to its end, told by `failure`. Returns for how many seconds it was ready."""
        self._starts += 1
        try:
            child = await ChildProcess.spawn(self._command, self._settings(self._port))
        except OSError as error:
            self._failure = f"{self._label} cannot be started: {error}"
            return 0.0
        self._child = child
        try:
            how, ready_for_s = await self._watch(child)
        finally:
            self._child = None
            await child.aclose()
        self._failure = "\n    ".join([f"{self._label} {how}. Its last lines:", *child.tail.lines(10)])
        # The port of a child that never answered may be somebody else's by now.
        self._port = _free_port(self._port if ready_for_s else 0)
        return ready_for_s

    async def _watch(self, child: ChildProcess) -> tuple[str, float]:
        """Waits until it is ready, then for its end. Returns how it ended and for how long it was ready."""
        now = asyncio.get_running_loop().time
        ended = asyncio.create_task(child.wait(), name=f"end of {self._label}")
        healthy = asyncio.create_task(wait_healthy(self._port), name=f"start of {self._label}")
        both = (ended, healthy)
        try:
            await asyncio.wait(both, timeout=self._start_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return ended.result(), 0.0
            if not healthy.done():
                return f"was not ready within {self._start_timeout_s:g} s", 0.0
            healthy.result()
            ready_at_s = now()
            self._failure = None
            self._move(SupervisorState.READY)
            return await ended, now() - ready_at_s
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)


async def wait_healthy(port: int) -> None:
    """Asks `/health` on a loopback port, less and less often, until the answer is 200."""
    pause_s = 0.02
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with session.get(f"http://{LOOPBACK}:{port}/health") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.25)


def _free_port(preferred: int) -> int:
    """A loopback port that is free now: `preferred` if it is one."""
    with socket.socket() as probe:
        if sys.platform != "win32":  # where it would let two listen on one port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, preferred))
        except OSError:
            if not preferred:
                raise
            return _free_port(0)
        return int(probe.getsockname()[1])
