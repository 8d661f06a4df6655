"""What a store is: the place behind the hot window where whole streams are kept.

A store that is `volatile` dies with the process, and acknowledges an append by returning from `append_nowait`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from patinox.core.chunks import StreamChunk


class Store(Protocol):
    """Keeps the chunks of streams, by stream id."""

    durability: str

    def append_nowait(self, stream_id: str, chunk: StreamChunk) -> None:
        """Keeps the next chunk of a stream; the first one creates the entry."""
        ...

    async def read(self, stream_id: str, after: int, limit: int) -> Sequence[StreamChunk]:
        """Up to `limit` chunks with a sequence above `after`; none when there are none."""
        ...

    async def delete(self, stream_id: str) -> None:
        """Forgets a stream; one that is unknown is fine."""
        ...

    async def aclose(self) -> None:
        """Gives back what the store holds."""
        ...
