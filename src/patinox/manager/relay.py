"""A relay: the task that pumps a source into a stream, and closes the source whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

from patinox.core.chunks import End, Error
from patinox.errors import BufferFull, PatinoxError, StoreError, StreamClosed, StreamFenced
from patinox.manager.sources import Source
from patinox.manager.stream import ActiveStream, error_of

if TYPE_CHECKING:
    from patinox.manager.streams import StreamManager

_CLOSE_S = 1.0  # a source that does not close in time is left to the garbage collector: a shutdown must end
_log = logging.getLogger("patinox.relay")


class Relay:
    """A source that is not being read yet. Awaiting it creates the stream and starts pumping.

    Until then nothing was asked of the source, so an endpoint that finds its client only resuming can `discard` it.
    """

    def __init__(
        self, source: Source, start: Callable[[Source], Awaitable[ActiveStream]], manager: StreamManager
    ) -> None:
        self.manager = manager
        self._source = source
        self._start = start
        self._stream: ActiveStream | None = None

    def __repr__(self) -> str:
        return f"<Relay {'not started' if self._stream is None else self._stream!r}>"

    def __await__(self) -> Generator[Any, None, ActiveStream]:
        return self.start().__await__()

    async def start(self) -> ActiveStream:
        """Creates the stream and begins to pump; the same stream at every call."""
        if self._stream is None:
            self._stream = await self._start(self._source)
        return self._stream

    async def discard(self) -> None:
        """Closes the source without ever having read it."""
        await self._source.aclose()


async def pump(source: Source, stream: ActiveStream) -> None:
    """Writes a source into a stream until either ends, then closes the source.

    Cancelled (by the stream's end or the manager's), it lets the cancellation through; the stream's ending is then
    the business of whoever cancelled.
    """
    burst = stream.burst()
    try:
        async with contextlib.aclosing(source.batches()) as batches:
            async for batch in batches:
                for data in batch:
                    with contextlib.suppress(BufferFull):  # counted; the source cannot be told, and goes on
                        await burst.write(data)
                if not stream.is_open:  # it ended by what was written: an error, or a validator that objects
                    return
        await _end(stream, source.ending)
    except StreamClosed:
        _log.debug("it ended before its source", extra={"stream": stream.id})
    except (StreamFenced, StoreError) as error:
        # How it ends is decided by who writes it now, or when the store is back.
        _log.info("its source is left", extra={"stream": stream.id, "code": error.code})
    except Exception as error:
        if not isinstance(error, PatinoxError):
            # An exception may quote what it choked on, which a pipeline might have withheld.
            quotable = error if stream.intake is None else None
            _log.warning("its source failed (%s)", type(error).__name__, exc_info=quotable, extra={"stream": stream.id})
        if stream.is_open:
            await stream.fail(error_of(error))
    finally:
        await _close(source, quotes=stream.intake is None)


async def _end(stream: ActiveStream, ending: End | Error) -> None:
    if not stream.is_open:
        return
    if isinstance(ending, Error):
        await stream.fail(ending)
    else:
        await stream.finish(ending.outcome, ending.error)


async def _close(source: Source, *, quotes: bool) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await source.aclose()
    except Exception as error:
        _log.debug("closing %r failed (%s)", source, type(error).__name__, exc_info=error if quotes else None)
