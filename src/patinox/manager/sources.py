"""Sources: anything that yields becomes chunk data.

    str → Text        bytes → Binary, or frames of `format` where one is named
    dict, list, …     → Json
    chunk data, events, StreamChunk            → as they are
    the official SDKs' stream objects (openai, anthropic, google-genai, ollama), pydantic-ai's and LangChain's events
                                               → neutral events, told by a reader of their kind

An awaitable is awaited first, so that `client.chat.completions.create(…, stream=True)` can be handed over as it is; an
asynchronous context manager is entered, so that `agent.run_stream_events(…)` can.
A plain iterator may block: each of its items is fetched in a worker thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Iterator, Mapping
from typing import Any

from patinox.core.chunks import Binary, End, Error, Json, Outcome, StreamChunk, Text
from patinox.core.codec import KINDS
from patinox.core.events import Native, RunEnd
from patinox.errors import FramingError, InputError, UpstreamMalformed
from patinox.formats.base import Format, Reader
from patinox.manager.sdk_objects import frame_of, is_object, reader_of

_EXHAUSTED = object()
_KNOWN = frozenset(KINDS)
_DRAIN_S = 0.5


class Source:
    """Reads any source as lists of chunk data; `ending` says how it ended, once it has.

    `strict` makes a frame that cannot be read an error; otherwise it is kept as `Native`, and what follows is read on.
    """

    def __init__(
        self, source: Any, *, formats: Mapping[str, Format[Any]], format_: str | None = None, strict: bool = False
    ) -> None:
        self._source = source
        self._formats = formats
        self._reader: Reader | None = formats[format_].reader() if format_ is not None else None
        self._items: Any = None
        self._entered: Any = None
        self._strict = strict
        self._is_over = False
        self.ending: End | Error = End(Outcome.COMPLETE)

    def __repr__(self) -> str:
        return f"<Source {type(self._source).__name__}>"

    async def batches(self) -> AsyncGenerator[list[Any], None]:
        """The chunk data, a list for each item of the source. To be iterated once, and closed."""
        if inspect.isawaitable(self._source):
            self._source = await self._source
        if hasattr(self._source, "__aenter__") and not hasattr(self._source, "__aiter__"):
            self._entered, self._source = self._source, await self._source.__aenter__()
        self._items = _iterate(self._source)
        async for item in self._items:
            batch = self._read(item)
            for position, data in enumerate(batch):
                if isinstance(data, Error | End):
                    self.ending = data
                    yield batch[:position]
                    return
            good = self._well_formed(batch)
            yield batch[:good]
            if good < len(batch):
                raise UpstreamMalformed("the upstream sent a frame that its dialect does not allow")
            if self._reader is not None and self._says_end(batch):
                break  # nothing follows it, and some servers keep the connection open
        if self._reader is not None:
            rest = self._reader.close()
            self.ending = self._reader.ending
            yield rest

    async def aclose(self) -> None:
        """Closes what was handed over: an iterator, a response, or a coroutine nobody awaited."""
        if inspect.iscoroutine(self._source):
            self._source.close()
        if self._is_over:
            await _drain(self._items)
        for owner in (self._items, self._source):
            await _close(owner)
        entered, self._entered = self._entered, None
        if entered is not None:
            await entered.__aexit__(None, None, None)

    def _well_formed(self, batch: list[Any]) -> int:
        """How many of a batch may be written: those before one that cannot be read, where that is an error."""
        if not self._strict:
            return len(batch)
        return next((k for k, data in enumerate(batch) if isinstance(data, Native) and data.is_malformed), len(batch))

    def _says_end(self, batch: list[Any]) -> bool:
        assert self._reader is not None
        self._is_over = any(isinstance(data, RunEnd) for data in batch)
        return self._is_over or isinstance(self._reader.ending, Error)

    def _read(self, item: Any) -> list[Any]:
        if isinstance(item, str):
            return [Text(item)] if self._reader is None else self._feed(item.encode())
        if isinstance(item, bytes | bytearray | memoryview):
            return [Binary(bytes(item))] if self._reader is None else self._feed(bytes(item))
        if isinstance(item, StreamChunk):
            return [item.data]
        if getattr(item, "kind", None) in _KNOWN or isinstance(item, End):
            return [item]
        if is_object(item):
            return self._object(item)
        if item is None or isinstance(item, dict | list | tuple | int | float):
            return [Json(item)]
        raise InputError(f"a source yields str, bytes, JSON values, chunks or events, not {type(item).__name__}")

    def _object(self, item: Any) -> list[Any]:
        if self._reader is None:
            self._reader = reader_of(item, self._formats)
        if self._reader is None:
            raise InputError(f"a source yields objects of SDKs that are known, not {type(item).__name__}")
        frame = frame_of(item)
        return [] if frame is None else self._reader.feed_frame(frame)

    def _feed(self, data: bytes) -> list[Any]:
        assert self._reader is not None
        try:
            return self._reader.feed(data)
        except FramingError as error:
            if not self._strict:
                raise
            raise UpstreamMalformed(f"the upstream's stream cannot be read: {error.message}") from error


def _iterate(source: Any) -> AsyncIterator[Any]:
    if hasattr(source, "__aiter__"):
        items: AsyncIterator[Any] = source.__aiter__()
        return items
    return _in_turn(source)


async def _in_turn(source: Any) -> AsyncIterator[Any]:
    if isinstance(source, list | tuple):
        for item in source:
            yield item
    elif isinstance(source, str | bytes):
        yield source
    elif isinstance(source, Iterable):
        iterator: Iterator[Any] = iter(source)
        while (item := await asyncio.to_thread(next, iterator, _EXHAUSTED)) is not _EXHAUSTED:
            yield item
    else:
        raise InputError(f"{type(source).__name__} is no source: it can't be iterated")


async def _drain(items: Any) -> None:
    """Gives a source that has said its end a moment to end: a connection that was read to its end serves again."""
    with contextlib.suppress(Exception):  # whatever happens now, it was whole
        async with asyncio.timeout(_DRAIN_S):
            async for _ in items:
                pass


async def _close(owner: Any) -> None:
    close = getattr(owner, "aclose", None) or getattr(owner, "close", None)
    if close is None or inspect.iscoroutine(owner):
        return
    closing = close()
    if isinstance(closing, Awaitable):
        await closing
