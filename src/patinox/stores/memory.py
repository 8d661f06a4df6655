"""The store in the process's own memory: gone when the process is."""

from __future__ import annotations

from collections.abc import Sequence

from patinox.core.chunks import StreamChunk


class MemoryStore:
    """Whole streams in lists. The chunks are shared with the hot window, so nothing is held twice."""

    durability = "memory: streams are gone when this process ends"

    def __init__(self) -> None:
        self._streams: dict[str, list[StreamChunk]] = {}

    def __repr__(self) -> str:
        return f"<MemoryStore {len(self._streams)} streams>"

    def append_nowait(self, stream_id: str, chunk: StreamChunk) -> None:
        """Keeps the next chunk of a stream."""
        chunks = self._streams.get(stream_id)
        if chunks is None:
            chunks = self._streams[stream_id] = []
        if chunk.sequence != len(chunks) + 1:
            raise ValueError(f"chunk {chunk.sequence} does not follow {len(chunks)}")
        chunks.append(chunk)

    async def read(self, stream_id: str, after: int, limit: int) -> Sequence[StreamChunk]:
        """Up to `limit` chunks with a sequence above `after`."""
        return self._streams.get(stream_id, [])[after : after + limit]

    async def delete(self, stream_id: str) -> None:
        """Forgets a stream."""
        self._streams.pop(stream_id, None)

    async def aclose(self) -> None:
        """Forgets everything."""
        self._streams.clear()
