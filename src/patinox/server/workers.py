"""Server processes beside each other, on one port, with one store.

    parent: binds the port ─▶ fork ─▶ worker 1 … N: each a whole server, with a node of its own
                              └─ passes signals on, waits; one that dies by itself is begun anew

The listening socket is the parent's, and every worker accepts from it. The parent runs no event loop.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from patinox.config import Config, ConfigError
from patinox.errors import InputError, StoreError
from patinox.manager import StreamManager
from patinox.manager.pipelines import Pipelines
from patinox.server.listening import CouldNotStart
from patinox.stores.base import Store
from patinox.stores.opening import is_shareable, make_store

_PAUSE_S = 1.0
"""Between a worker's death and its successor: one that cannot live is not begun a thousand times a second."""
_PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP")


def check_workers(config: Config) -> None:
    """Raises `CouldNotStart` for more workers than the store, or the platform, lets there be."""
    if config.server.workers == 1:
        return
    if not hasattr(os, "fork"):
        raise CouldNotStart("several workers need a platform that can fork; set server.workers = 1")
    if not is_shareable(config.server.store):
        raise CouldNotStart(
            f"server.workers = {config.server.workers} needs a store that several processes can share: redis:// or "
            f"nats://, not {config.server.store}"
        )


def store_of(config: Config) -> Store:
    """The store that the settings name. Raises `CouldNotStart`."""
    try:
        return make_store(config.server.store)
    except (InputError, ConfigError, OSError) as error:
        raise CouldNotStart(str(error)) from error


@asynccontextmanager
async def manager_of(config: Config, pipelines: Pipelines) -> AsyncIterator[StreamManager]:
    """The manager on the store of the settings. Raises `CouldNotStart` where that cannot be opened."""
    manager = StreamManager(config.streaming, store=store_of(config), pipelines=pipelines)
    try:
        await manager.__aenter__()
    except StoreError as error:
        raise CouldNotStart(error.message) from error
    try:
        yield manager
    finally:
        await manager.aclose()


class Workers:
    """Runs `work(number)` in `count` processes, each of which ends with what it returns."""

    def __init__(self, count: int, work: Callable[[int], int]) -> None:
        self._count = count
        self._work = work
        self._running: dict[int, int] = {}
        self._is_ending = False
        self._code = 0

    def __repr__(self) -> str:
        return f"<Workers {len(self._running)} of {self._count}>"

    def run(self) -> int:
        """Until all have ended, after a signal or because none could start; the first exit code that is not 0."""
        for name in _PASSED_ON:
            signal.signal(getattr(signal, name), self._pass_on)
        for number in range(1, self._count + 1):
            self._begin(number)
        while self._running:
            with contextlib.suppress(InterruptedError):
                self._reap(*os.wait())
        return self._code

    def _begin(self, number: int) -> None:
        child = os.fork()
        if child:
            self._running[child] = number
            return
        code = 1
        try:
            for name in _PASSED_ON:
                signal.signal(getattr(signal, name), signal.SIG_DFL)
            code = self._work(number)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self, child: int, status: int) -> None:
        number = self._running.pop(child, None)
        if number is None:
            return
        code = os.waitstatus_to_exitcode(status)
        if self._is_ending or code >= 0:  # it ended by itself, and said why
            self._code = self._code or max(0, code)
            if code and not self._is_ending:
                self._pass_on(signal.SIGTERM, None)
            return
        print(f"patinox: worker {number} was ended by signal {-code}; another takes its place", file=sys.stderr)
        time.sleep(_PAUSE_S)
        if not self._is_ending:
            self._begin(number)

    def _pass_on(self, number: int, frame: Any) -> None:
        self._is_ending = self._is_ending or number in (signal.SIGTERM, signal.SIGINT)
        for child in tuple(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
