"""Code of somebody's own, under a deadline: what never comes back holds a thread, not the process.

    the loop ─▶ a thread that runs the stage ─▶ a thread that runs one step of somebody's own code
                waits for the step until its deadline, and goes on without it

A step that has passed its deadline is left behind: its thread is given no more work and heard no more, so it cannot
touch the stream, and it is told to end, which Python code does at its next line. One that waits within C code (for a
socket, a lock) stays; how many may stay is bounded, and beyond that such code is not called any more. The bound is the
process's, and so are the threads: they are daemons, and a process can end whatever they do.

A C extension that keeps the GIL holds every thread, and no thread can help; Python's own `re` is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from patinox.errors import InputError

DEADLINE_S: Final = 5.0
_MOST_LEFT: Final = 32
_MOST_LEFT_OF_ONE: Final = 8
_MOST_STAGES_AT_ONCE: Final = 64

T = TypeVar("T")
_Outcome = tuple[Any, BaseException | None]
_log = logging.getLogger("patinox.deadlines")


class DeadlinePassed(TimeoutError):
    """A step of somebody's own code did not come back in time."""


class TooManyLeft(RuntimeError):
    """So many steps were left behind that no more are begun."""


class Died(RuntimeError):
    """Code raised what ends a thread, and no error. `__cause__` is what it raised."""


class _Stop(BaseException):
    """Ends a thread that was left behind."""


def quick(code: T) -> T:
    """Says of a function, processor, validator or stage that it always comes back at once: it is run where it stands.

    The same as an attribute `is_quick = True`, which a class may have.
    """
    code.is_quick = True  # type: ignore[attr-defined]
    return code


def is_quick(code: Any) -> bool:
    """Whether code is known to come back at once: it says so, or is a method of `str`."""
    return getattr(code, "is_quick", False) is True or getattr(code, "__objclass__", None) is str


def is_failure(error: BaseException) -> bool:
    """Whether code that was called has failed: `SystemExit` is its failure, but a cancellation is its caller's."""
    return not isinstance(error, KeyboardInterrupt | GeneratorExit | asyncio.CancelledError)


def positive(deadline_s: float) -> float:
    """The deadline, in seconds, where it is one. Raises `InputError`."""
    if not deadline_s > 0:
        raise InputError("deadline_s is a positive number of seconds")
    return deadline_s


class Supervisor:
    """Runs steps of somebody's own code, each for so long and no longer; may be used from any thread.

    At most `most_left` steps may be left behind and `most_left_of_one` of one owner, beside those that run already.
    """

    def __init__(self, *, most_left: int = _MOST_LEFT, most_left_of_one: int = _MOST_LEFT_OF_ONE) -> None:
        self._most_left, self._most_left_of_one = most_left, most_left_of_one
        self._idle: deque[_Worker] = deque()
        self._left: dict[_Worker, str] = {}
        self._lock = threading.Lock()
        self._stages: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"<Supervisor {len(self._idle)} idle, {self.left} left behind>"

    @property
    def left(self) -> int:
        """Threads that were left behind and have not ended yet."""
        return len(self._left_behind())

    def stats(self) -> dict[str, int]:
        """Threads that wait for work, and those that were left behind."""
        return {"idle": len(self._idle), "left": self.left}

    def call(self, owner: str, deadline_s: float, step: Callable[..., T], *arguments: Any) -> T:
        """Waits for one step in a thread of its own, and returns or raises what it does.

        Raises `DeadlinePassed` after `deadline_s`, and `TooManyLeft` where it is not begun at all. `owner` names whose
        step it is, in the log too.
        """
        self._refuse(owner)
        worker = self._hire()
        if not worker.does(step, arguments, min(deadline_s, threading.TIMEOUT_MAX)):
            self._leave(worker, owner, deadline_s)
            raise DeadlinePassed(f"{owner} did not come back within {deadline_s:g} s")
        value, error = worker.outcome
        worker.outcome = (None, None)
        self._idle.append(worker)
        if error is None:
            result: T = value
            return result
        raise error if is_failure(error) else Died(type(error).__name__) from error

    async def run(self, step: Callable[..., T], *arguments: Any) -> T:
        """Awaits a step that comes back in time by itself, such as one that only waits in `call`."""
        with self._lock:
            if self._stages is None:
                self._stages = ThreadPoolExecutor(_MOST_STAGES_AT_ONCE, "patinox stage")
        # Not as the future's exception: some, StopIteration for one, cannot be that.
        value, error = await asyncio.get_running_loop().run_in_executor(self._stages, _outcome, step, arguments)
        if error is not None:
            raise error
        result: T = value
        return result

    # ── within ──

    def _hire(self) -> _Worker:
        try:
            return self._idle.pop()
        except IndexError:
            worker = _Worker()
            worker.start()
            return worker

    def _refuse(self, owner: str) -> None:
        if not self._left:
            return
        owners = self._left_behind()
        if len(owners) >= self._most_left or owners.count(owner) >= self._most_left_of_one:
            _log.error(
                "%s is not called: %d of its steps, of %d, never came back", owner, owners.count(owner), len(owners)
            )
            raise TooManyLeft(f"{owner} is not called: {len(owners)} steps have not come back")

    def _leave(self, worker: _Worker, owner: str, deadline_s: float) -> None:
        with self._lock:
            self._left[worker] = owner
        worker.leave()
        _log.warning("%s did not come back within %g s; %d threads are left behind", owner, deadline_s, self.left)

    def _left_behind(self) -> list[str]:
        """Whose they are. Counted by the threads themselves, since one may end in the midst of anything."""
        with self._lock:
            for worker in [worker for worker in self._left if not worker.is_alive()]:
                del self._left[worker]
            return list(self._left.values())


class _Worker(threading.Thread):
    """A thread that does one step after the other, until it is left."""

    def __init__(self) -> None:
        super().__init__(name="patinox step", daemon=True)
        self.outcome: _Outcome = (None, None)
        self._steps: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._is_busy = False
        self._done = threading.Lock()
        self._done.acquire()

    def does(self, step: Callable[..., Any], arguments: tuple[Any, ...], deadline_s: float) -> bool:
        """Whether the step came back in time; `outcome` has how."""
        self._is_busy = True
        self._steps.put((step, arguments))
        return self._done.acquire(timeout=deadline_s)

    def leave(self) -> None:
        """Nobody waits any more."""
        self._steps.put(None)
        if self._is_busy and self.ident is not None and hasattr(ctypes, "pythonapi"):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(_Stop))

    def run(self) -> None:
        """As in `Thread`."""
        with contextlib.suppress(_Stop):
            while (step := self._steps.get()) is not None:
                self.outcome = _outcome(*step)
                del step
                self._is_busy = False
                self._done.release()


def _outcome(step: Callable[..., Any], arguments: tuple[Any, ...]) -> _Outcome:
    try:
        return step(*arguments), None
    except BaseException as error:
        return None, error


SUPERVISOR: Final = Supervisor()
"""The process's own: threads are its, and so is the bound on those that are lost."""
