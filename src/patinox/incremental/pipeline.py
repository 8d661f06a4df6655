"""Stages in a row: token processors, validators, the chunker.

    Pipeline([Tokens([Newlines()]), validator, Chunker("word")])

Each batch goes through all of them. An `Error`, of the source or of a stage, is the end: the stages after the one it
came from decide what they hold, it leaves as the last record, and whatever follows it is dropped.

The order of things is said once, in `_steps`; whether a stage's answer has to be awaited is the only difference
between `Pipeline` and `AsyncPipeline`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Generator, Sequence
from typing import Any, TypeVar, cast

from patinox.core.chunks import Error
from patinox.errors import PatinoxError
from patinox.incremental.deadlines import DEADLINE_S, is_failure
from patinox.incremental.stage import AsyncStage, Stage, WaitingStage, is_async
from patinox.incremental.threaded import off_the_loop

T = TypeVar("T")
_Steps = Generator[Any, list[Any], T]


class PipelineFailed(PatinoxError):
    """A stage raised, so what it held was not decided: nothing of it leaves. `__cause__` is what it raised."""

    code = "pipeline_failed"


class _Row:
    """What the two have in common: the state, and the order of steps."""

    def __init__(self, stages: Sequence[Stage | AsyncStage]) -> None:
        self.stages: tuple[Any, ...] = tuple(stages)
        self.is_over = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(type(stage).__name__ for stage in self.stages)}>"

    @property
    def held(self) -> bool:
        """Whether any stage holds something back now."""
        return not self.is_over and any(stage.held for stage in self.stages)

    @property
    def flushable(self) -> bool:
        """Whether the last stage holds something only until it is asked for it."""
        last = self.stages[-1] if self.stages else None
        return not self.is_over and last is not None and hasattr(last, "flush") and bool(last.held)

    def flush(self) -> list[Any]:
        """What the last stage, a chunker, holds of its own will: for whoever watches the clock."""
        return list(self.stages[-1].flush()) if self.flushable else []

    @property
    def waiting(self) -> list[WaitingStage]:
        """The stages that wait for somebody's answer. When one of them has it, `feed([])`."""
        return [] if self.is_over else [stage for stage in self.asking if stage.waits]

    @property
    def asking(self) -> list[WaitingStage]:
        """The stages that ask somebody now and then, and are to be closed."""
        return [stage for stage in self.stages if hasattr(stage, "wait")]

    def _steps(self, batch: Sequence[Any], *, closing: bool) -> _Steps[list[Any]]:
        """Yields the answers of stages one after the other, to be sent back as lists; returns what leaves."""
        if self.is_over:
            return []
        items, error = _before_error(batch)
        for stage in self.stages:
            ends = closing or error is not None
            if items or not ends:
                items, own = _before_error((yield stage.feed(items)))
                if own is not None:
                    error = own
                    continue
            if ends:
                rest, own = _before_error((yield stage.close()))
                items = [*items, *rest]
                error = own if own is not None else error
        self.is_over = closing or error is not None
        return items if error is None else [*items, error]


class Pipeline(_Row):
    """Stages that never wait; a `Stage` itself. Raises `PipelineFailed` where one of them raises.

    Each runs where it stands: `pipeline_of` gives the others threads.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__(stages)

    def feed(self, batch: Sequence[Any]) -> list[Any]:
        """As in `Stage`."""
        return self._run(self._steps(batch, closing=False))

    def close(self) -> list[Any]:
        """As in `Stage`."""
        return self._run(self._steps((), closing=True))

    def _run(self, steps: _Steps[list[Any]]) -> list[Any]:
        finished = False
        try:
            answer = next(steps)
            while True:
                answer = steps.send(answer)
        except StopIteration as stopped:
            finished = True
            left: list[Any] = stopped.value
            return left
        except PatinoxError:
            raise
        except BaseException as error:
            if not is_failure(error):
                raise
            raise _failed(error) from error
        finally:
            self.is_over = self.is_over or not finished


class AsyncPipeline(_Row):
    """Stages of which some have to be awaited; an `AsyncStage` itself. Raises `PipelineFailed`.

    Cancelled in the middle of a batch, it is over: a stage may have taken what the next has not seen.
    """

    async def feed(self, batch: Sequence[Any]) -> list[Any]:
        """As in `AsyncStage`."""
        return await self._run(self._steps(batch, closing=False))

    async def close(self) -> list[Any]:
        """As in `AsyncStage`."""
        return await self._run(self._steps((), closing=True))

    async def aclose(self) -> None:
        """Ends what stages still ask. Whatever is held never leaves."""
        self.is_over = True
        for stage in self.asking:
            await stage.aclose()

    async def _run(self, steps: _Steps[list[Any]]) -> list[Any]:
        finished = False
        try:
            answer = await _settled(next(steps))
            while True:
                answer = await _settled(steps.send(answer))
        except StopIteration as stopped:
            finished = True
            left: list[Any] = stopped.value
            return left
        except PatinoxError:
            raise
        except BaseException as error:
            if not is_failure(error):
                raise
            raise _failed(error) from error
        finally:
            self.is_over = self.is_over or not finished


def pipeline_of(stages: Sequence[Stage | AsyncStage], deadline_s: float = DEADLINE_S) -> Pipeline | AsyncPipeline:
    """The pipeline of these stages: one that never waits, where none of them does, and all come back at once.

    A stage that is not known to be quick runs in a thread, where a step of somebody's own may take `deadline_s`.
    """
    threaded = off_the_loop(stages, deadline_s)
    if any(is_async(stage) for stage in threaded):
        return AsyncPipeline(threaded)
    return Pipeline(cast(Sequence[Stage], threaded))


def _failed(error: BaseException) -> PipelineFailed:
    # Its name only: its words may quote what was to be withheld.
    return PipelineFailed(f"a stage of the pipeline failed: {type(error).__name__}")


async def _settled(answer: list[Any] | Awaitable[list[Any]]) -> list[Any]:
    return await answer if inspect.isawaitable(answer) else answer


def _before_error(items: Sequence[Any]) -> tuple[list[Any], Error | None]:
    """The items before the first `Error`, and that."""
    for place, data in enumerate(items):
        if type(data) is Error:
            return list(items[:place]), data
    return list(items), None
