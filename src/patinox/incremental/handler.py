"""IncrementalResponseHandler: any source, through a pipeline.

    handler = IncrementalResponseHandler(lambda: [Tokens([Newlines()]), Chunker("word")], max_delay_s=0.5)
    async for data in handler.process_stream(source):         # by itself
        ...
    stream = await manager.relay(source, pipeline=handler)    # or into a stream

The stages have a state, so each source gets new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

from patinox.core.chunks import End, Error, Outcome, StreamChunk, Text
from patinox.errors import InputError
from patinox.incremental.deadlines import DEADLINE_S, positive
from patinox.incremental.pipeline import AsyncPipeline, Pipeline, pipeline_of
from patinox.incremental.stage import AsyncStage, Stage, WaitingStage
from patinox.incremental.threaded import off_the_loop

Stages = Callable[[], Sequence[Stage | AsyncStage]]

_OVER = object()
_NEWS = object()


class Batches(Protocol):
    """A source, read as lists of chunk data; `ending` says how it ended, once it has."""

    ending: End | Error

    def batches(self) -> AsyncGenerator[list[Any], None]:
        """The lists. To be iterated once, and closed."""
        ...

    async def aclose(self) -> None:
        """Closes what was handed over."""
        ...


class Opener(Protocol):
    """Makes `Batches` of anything that is a source: a `StreamManager`, which knows the dialects."""

    def source(self, source: Any, *, format: str | None = None) -> Batches:
        """The source, not read yet."""
        ...


class IncrementalResponseHandler:
    """A recipe for pipelines, and what runs a source through one.

    `stages` makes the stages, new ones at each call. `max_delay_s` is how long a chunker may hold text that is not a
    whole unit yet, and `deadline_s` how long one step of a stage of your own may take that does not say `is_quick`: it
    runs in a thread, and the pipeline fails where it has not come back by then. `closers` are called by `aclose`. With
    a `manager`, every source that `StreamManager.relay` takes is one; without, (async) iterators of str, chunk data and
    events are.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        manager: Opener | None = None,
        max_delay_s: float | None = None,
        deadline_s: float = DEADLINE_S,
        name: str = "",
        description: str = "",
        closers: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        if max_delay_s is not None and not max_delay_s > 0:
            raise InputError("max_delay_s is a positive number of seconds, or None")
        self.max_delay_s = max_delay_s
        self.deadline_s = positive(deadline_s)
        self.name = name
        self.description = description
        self._stages = stages
        self._manager = manager
        self._closers = tuple(closers)

    def __repr__(self) -> str:
        return f"<IncrementalResponseHandler {self.name or 'unnamed'}>"

    def new_pipeline(self) -> Pipeline | AsyncPipeline:
        """A pipeline for one source."""
        return pipeline_of(self._stages(), self.deadline_s)

    async def aclose(self) -> None:
        """Closes what its stages share, such as connections; there will be no more sources."""
        for close in self._closers:
            await close()

    async def process_stream(self, source: Any, *, format: str | None = None) -> AsyncGenerator[Any, None]:
        """The chunk data of a source, as the pipeline lets go of it.

        An `Error` is the last item, whether the source or a stage ends with it; a source that says that it did not
        come to its end gives its `End` as the last item. Raises what the source raises, once what was held before it
        has left, and `PipelineFailed`. The source is closed in every case, when the iterator is.
        """
        opened = _Items(source) if self._manager is None else self._manager.source(source, format=format)
        pipeline = AsyncPipeline(off_the_loop(self._stages(), self.deadline_s))
        try:
            async with contextlib.aclosing(self._run(pipeline, opened)) as released:
                async for items in released:
                    for data in items:
                        yield data
        finally:
            await pipeline.aclose()
            await opened.aclose()

    async def _run(self, pipeline: AsyncPipeline, opened: Batches) -> AsyncGenerator[list[Any], None]:
        failure: Exception | None = None
        async with contextlib.aclosing(opened.batches()) as batches, _Turns(batches, self.max_delay_s) as turns:
            while not pipeline.is_over:
                try:
                    batch = await turns.next(pipeline.waiting)
                except Exception as error:
                    failure = error
                    break
                if batch is _OVER:
                    break
                items = await pipeline.feed([] if batch is _NEWS else batch)
                if turns.is_due:
                    items += pipeline.flush()
                turns.watch(flushable=pipeline.flushable, released=bool(items))
                yield items
        rest = await pipeline.close()
        yield rest
        if failure is not None:
            raise failure
        if opened.ending != End(Outcome.COMPLETE) and not (rest and type(rest[-1]) is Error):
            yield [opened.ending]


class _Turns:
    """What happens next: a batch of the source, an answer that a stage waits for, or the end of `max_delay_s`.

    A source is only read in a task of its own while there is something else to wait for.
    """

    def __init__(self, batches: AsyncIterator[list[Any]], max_delay_s: float | None) -> None:
        self._batches = batches
        self._max_delay_s = max_delay_s
        self._deadline_s: float | None = None
        self._reading: asyncio.Task[Any] | None = None
        self.is_due = False

    async def __aenter__(self) -> _Turns:
        return self

    async def __aexit__(self, *_: object) -> None:
        await _end([self._reading] if self._reading is not None else [])

    async def next(self, waiting: Sequence[WaitingStage]) -> Any:
        self.is_due = False
        if self._deadline_s is None and not waiting and self._reading is None:
            return await self._read()
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="patinox source")
        await self._first(self._reading, waiting)
        if not self._reading.done():
            return _NEWS
        reading, self._reading = self._reading, None
        return reading.result()

    def watch(self, *, flushable: bool, released: bool) -> None:
        """Starts the clock when text begins to be held, and again when some of it has left."""
        if not flushable or self._max_delay_s is None:
            self._deadline_s = None
        elif self.is_due:
            self._deadline_s = None  # the rest cannot leave yet, however late it is
        elif self._deadline_s is None or released:
            self._deadline_s = asyncio.get_running_loop().time() + self._max_delay_s

    async def _first(self, reading: asyncio.Task[Any], waiting: Sequence[WaitingStage]) -> None:
        loop = asyncio.get_running_loop()
        timeout_s = None if self._deadline_s is None else max(0.0, self._deadline_s - loop.time())
        waiters = [asyncio.create_task(_wait(stage)) for stage in waiting]
        try:
            await asyncio.wait([reading, *waiters], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(waiters)
        self.is_due = self._deadline_s is not None and loop.time() >= self._deadline_s

    async def _read(self) -> Any:
        return await anext(self._batches, _OVER)


async def _wait(stage: WaitingStage) -> None:
    await stage.wait()


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


class _Items:
    """A source that needs no dialect: str, chunk data, events, in any iterator, or an awaitable of one."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.ending: End | Error = End(Outcome.COMPLETE)

    async def batches(self) -> AsyncGenerator[list[Any], None]:
        if inspect.isawaitable(self._source):
            self._source = await self._source
        if isinstance(self._source, str):
            yield [Text(self._source)]
        elif hasattr(self._source, "__aiter__"):
            async for item in self._source:
                yield [_data(item)]
        elif hasattr(self._source, "__iter__"):
            for item in self._source:
                yield [_data(item)]
        else:
            raise InputError(f"{type(self._source).__name__} is no source: it can't be iterated")

    async def aclose(self) -> None:
        if inspect.iscoroutine(self._source):
            self._source.close()
            return
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()


def _data(item: Any) -> Any:
    if isinstance(item, str):
        return Text(item)
    if isinstance(item, StreamChunk):
        return item.data
    if not hasattr(item, "kind"):
        raise InputError(
            f"without a manager, a source yields str, chunk data or events, not {type(item).__name__}; "
            "IncrementalResponseHandler(…, manager=manager) reads all that manager.relay does"
        )
    return item
