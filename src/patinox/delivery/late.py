"""A subscription to a stream that has to be fetched from a store first: it attaches when it is first read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from patinox.core.chunks import StreamChunk
from patinox.delivery.subscription import ChunkSubscription


class LateSubscription:
    """As `ChunkSubscription`. Its first step (iterating, or `async with`) raises what looking for the stream does."""

    def __init__(self, attach: Callable[[], Awaitable[ChunkSubscription]]) -> None:
        self._attach = attach
        self._attached: ChunkSubscription | None = None
        self._is_open = True

    def __repr__(self) -> str:
        return f"<LateSubscription {self._attached!r}>"

    @property
    def outcome(self) -> str:
        """What the attach was answered; empty before there was one."""
        return "" if self._attached is None else self._attached.outcome

    @property
    def cursor(self) -> int:
        """The sequence of the last chunk that was handed out."""
        return 0 if self._attached is None else self._attached.cursor

    @property
    def lag(self) -> int:
        """Records between the cursor and the head."""
        return 0 if self._attached is None else self._attached.lag

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamChunk:
        if not self._is_open:
            raise StopAsyncIteration
        if self._attached is None:
            self._attached = await self._attach()
        return await self._attached.__anext__()

    async def aclose(self) -> None:
        """Counts the reader out. Idempotent."""
        self._is_open = False
        if self._attached is not None:
            await self._attached.aclose()

    async def __aenter__(self) -> Self:
        if self._attached is None:
            self._attached = await self._attach()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        await self.aclose()
