"""What a pipeline is made of: the stages between a source and a stream.

A stage takes chunk data (`core/chunks.py`, `core/events.py`) and gives chunk data. It may hold something back for as
long as it cannot be decided; `close` decides it. Items are never reordered. A stage that blocks gives what it lets go
of, and as the last item an `Error` chunk: nothing is fed to it after that, and nothing that follows it leaves.

A `Stage` with an attribute `is_quick = True` always comes back at once, and runs where it stands; any other runs in a
thread, each step under a deadline (`threaded.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol


class Stage(Protocol):
    """One step between a source and a stream: takes chunk data, gives chunk data. Pure state, no clock, no I/O."""

    def feed(self, batch: Sequence[Any]) -> list[Any]:
        """What `batch`, together with what was held, lets go of."""
        ...

    def close(self) -> list[Any]:
        """The source is over: whatever is still held, decided. Called once, and never after an `Error`."""
        ...

    @property
    def held(self) -> bool:
        """Whether something is held back now."""
        ...


class AsyncStage(Protocol):
    """A stage that has to ask somebody: a model, an HTTP endpoint. Its `feed` and `close` are awaited."""

    async def feed(self, batch: Sequence[Any]) -> list[Any]:
        """As `Stage.feed`."""
        ...

    async def close(self) -> list[Any]:
        """As `Stage.close`."""
        ...

    @property
    def held(self) -> bool:
        """Whether something is held back now."""
        ...


class WaitingStage(AsyncStage, Protocol):
    """An `AsyncStage` that need not be fed to have news: somebody's answer may let go of what it holds."""

    @property
    def waits(self) -> bool:
        """Whether somebody is being asked now: only then is there something to `wait` for."""
        ...

    async def wait(self) -> None:
        """Returns when there is an answer; `feed([])` then says what that lets go of. May be cancelled at any time."""
        ...

    async def aclose(self) -> None:
        """Nobody wants to know any more: ends what is still being asked. May be called at any time, and again."""
        ...


def is_async(stage: Stage | AsyncStage) -> bool:
    """Whether the stage's answers are to be awaited."""
    return inspect.iscoroutinefunction(stage.feed)
