"""Stages that may take their time, off the loop.

A stage says `is_quick` where its steps always come back at once; such a stage runs where it stands. One that says
`supervises` runs somebody's own code under deadlines by itself (`Tokens`, `ValidationStage`), and only needs a thread
to wait in. Of any other, each step has a deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from patinox.incremental.deadlines import SUPERVISOR, Supervisor, is_quick, positive
from patinox.incremental.stage import AsyncStage, Stage, is_async


def off_the_loop(
    stages: Sequence[Stage | AsyncStage], deadline_s: float, supervisor: Supervisor = SUPERVISOR
) -> list[Stage | AsyncStage]:
    """The stages, those in threads that may not come back at once."""
    return [
        stage if is_async(stage) or is_quick(stage) else Threaded(stage, deadline_s, supervisor)  # type: ignore[arg-type]
        for stage in stages
    ]


class Threaded:
    """An `AsyncStage` around a `Stage`: one step at a time, in a thread. It raises what the step raises."""

    def __init__(self, stage: Stage, deadline_s: float, supervisor: Supervisor = SUPERVISOR) -> None:
        self._stage, self._deadline_s, self._supervisor = stage, positive(deadline_s), supervisor
        self._name = type(stage).__name__
        self._supervises = getattr(stage, "supervises", False)
        self.held = False
        """As `Stage.held` was after the last step: to ask is a step too."""

    def __repr__(self) -> str:
        return f"<Threaded {self._stage!r}>"

    async def feed(self, batch: Sequence[Any]) -> list[Any]:
        """As in `AsyncStage`."""
        return await self._step(self._fed, batch)

    async def close(self) -> list[Any]:
        """As in `AsyncStage`."""
        return await self._step(self._closed)

    async def _step(self, step: Any, *batch: Sequence[Any]) -> list[Any]:
        if self._supervises:
            out, held = await self._supervisor.run(step, *batch)
        else:
            out, held = await self._supervisor.run(self._supervisor.call, self._name, self._deadline_s, step, *batch)
        self.held = held
        released: list[Any] = out
        return released

    def _fed(self, batch: Sequence[Any]) -> tuple[list[Any], bool]:
        return list(self._stage.feed(batch)), bool(self._stage.held)

    def _closed(self) -> tuple[list[Any], bool]:
        return list(self._stage.close()), bool(self._stage.held)
