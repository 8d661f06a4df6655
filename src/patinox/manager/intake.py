"""The intake: the pipeline before one stream, for whoever writes to it.

What a producer writes goes in here, and what the pipeline lets go of is appended; all that stands between is the
pipeline's own. It also watches the clock for `max_delay_s`, and waits for the answers that validators wait for, so that
what they let go of leaves though the producer is silent.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from patinox.core.producers import Producer
from patinox.errors import BufferFull, InputError, PatinoxError
from patinox.incremental.handler import IncrementalResponseHandler
from patinox.incremental.pipeline import AsyncPipeline, PipelineFailed
from patinox.incremental.stage import WaitingStage

if TYPE_CHECKING:
    from patinox.manager.stream import ActiveStream

_log = logging.getLogger("patinox.intake")


class Intake:
    """Owned by its stream. One write at a time goes through the pipeline; others wait their turn, in order."""

    def __init__(self, handler: IncrementalResponseHandler, stream: ActiveStream) -> None:
        self.name = handler.name
        self._stream = stream
        self._pipeline = handler.new_pipeline()
        self._max_delay_s = handler.max_delay_s
        self._turn = asyncio.Lock()
        self._ready: deque[Any] = deque()  # let go of, and not appended yet: a writer was cancelled, or had no room
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Intake of {self._stream.id}, {len(self._ready)} ready>"

    @property
    def held(self) -> bool:
        """Whether something was written that has not left yet."""
        return self._stream.is_open and (bool(self._ready) or self._pipeline.held)

    async def write(self, data: Any, producer: Producer | None = None) -> bool:
        """Takes one record, and appends what that lets go of. False where `producer` has written it before.

        Raises `PipelineFailed`, which has failed the stream, and what appending raises.
        """
        async with self._turn:
            if producer is not None and self._stream.producers.is_known(producer):
                return False
            await self._append_ready()
            released = await self._through(self._pipeline.feed, [data])
            if producer is not None:
                self._stream.producers.appended(producer)
            await self._take(released)
        return True

    def write_nowait(self, data: Any) -> None:
        """The same without waiting. Raises `InputError` where the pipeline or another writer is to be waited for."""
        if self._turn.locked() or inspect.iscoroutinefunction(self._pipeline.feed):
            raise InputError("this stream's pipeline is to be waited for: use write")
        self._append_ready_nowait()
        try:
            self._ready.extend(self._pipeline.feed([data]))  # type: ignore[arg-type]  # not awaited: said above
        except PatinoxError as error:
            self._failed(error)
            raise
        self._append_ready_nowait()
        self._watch(released=True)

    async def close(self) -> None:
        """No more will be written: what is held is decided, and appended where it may leave."""
        async with self._turn:
            await self._append_ready()
            self._ready.extend(await self._through(self._pipeline.close))
            await self._append_ready()
        self.discard()

    def discard(self) -> None:
        """The stream has ended: what is held never leaves."""
        self._ready.clear()
        self._stop_timer()
        if self._waiter is not None and self._waiter is not asyncio.current_task():
            self._waiter.cancel()
        if isinstance(self._pipeline, AsyncPipeline) and self._closer is None:
            closing = self._pipeline.aclose()
            self._closer = asyncio.get_running_loop().create_task(closing, name=f"patinox intake {self._stream.id}")

    # ── within ──

    async def _through(self, step: Callable[..., Any], *batch: Sequence[Any]) -> list[Any]:
        try:
            answer: list[Any] | Awaitable[list[Any]] = step(*batch)
            return await answer if inspect.isawaitable(answer) else answer
        except PatinoxError as error:
            self._failed(error)
            raise
        except asyncio.CancelledError:
            if self._pipeline.is_over:  # some stages have seen what others have not
                self._failed(PipelineFailed("a writer was cancelled while the pipeline was at work"))
            raise
        finally:
            if self._pipeline.is_over:
                self._stop_timer()

    def _failed(self, error: PatinoxError) -> None:
        # Its cause may quote what was to be withheld, so it is not logged.
        _log.warning("the pipeline failed", extra={"stream": self._stream.id, "code": error.code})
        self._stream.fail_nowait(error)

    async def _take(self, released: list[Any]) -> None:
        self._ready.extend(released)
        try:
            await self._append_ready()
        except BufferFull:
            pass  # it was taken: whoever writes next is told that there is no room
        finally:
            self._watch(released=bool(released))

    async def _append_ready(self) -> None:
        while self._ready:
            try:
                await self._stream.admit(self._ready[0])
            except InputError as error:  # a record that cannot be appended: what follows it would be out of place
                self._failed(error)
                raise
            self._appended()

    def _append_ready_nowait(self) -> None:
        while self._ready:
            try:
                self._stream.admit_nowait(self._ready[0])
            except InputError as error:
                self._failed(error)
                raise
            self._appended()

    def _appended(self) -> None:
        if self._ready:  # the end of the stream threw all away
            self._ready.popleft()

    # ── time, and answers ──

    def _watch(self, *, released: bool) -> None:
        if not self._stream.is_open:
            return
        if self._max_delay_s is not None:
            self._watch_time(self._max_delay_s, released=released)
        if self._waiter is None and self._pipeline.waiting:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_task(self._await_answers(), name=f"patinox intake {self._stream.id}")

    def _watch_time(self, max_delay_s: float, *, released: bool) -> None:
        if released or not self._pipeline.flushable:
            self._stop_timer()
        if self._pipeline.flushable and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(max_delay_s, self._is_due)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_due(self) -> None:
        self._timer = None
        if self._turn.locked() or self._ready:
            return  # a writer is at it, and watches the time anew
        self._ready.extend(self._pipeline.flush())
        try:
            self._append_ready_nowait()
        except PatinoxError as error:
            _log.debug("nothing leaves now", extra={"stream": self._stream.id, "code": error.code})

    async def _await_answers(self) -> None:
        try:
            while waiting := self._pipeline.waiting:
                await _first(waiting)
                async with self._turn:
                    await self._take(await self._through(self._pipeline.feed, []))
        except PatinoxError as error:
            _log.debug("the pipeline is over", extra={"stream": self._stream.id, "code": error.code})
        except Exception as error:
            self._failed(PipelineFailed(f"a stage of the pipeline failed: {type(error).__name__}"))
        finally:
            self._waiter = None


async def _first(stages: Sequence[WaitingStage]) -> None:
    """Returns when the first of them has news."""
    waiters = [asyncio.ensure_future(stage.wait()) for stage in stages]
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.wait(waiters)
    for waiter in waiters:
        if not waiter.cancelled():
            waiter.result()
