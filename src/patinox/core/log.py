"""The log: an append-only sequence of chunks whose newest part, the hot window, is held in memory.

- Sequences are dense and start at 1. `head` is the last one appended, `first` the oldest one still in the window;
  an empty window has `first == head + 1`.
- The window is bounded in chunks and in bytes; the newest chunk always stays, however large it is.
- What leaves the window is not the log's to keep: a store has it, or (`retain = "window"`) nobody.
- Where a store acknowledges later, chunks are `stage`d first: numbered, so that the writer knows its sequence, and
  `pending`. `commit` moves them into the window, and `head` with them: readers never see what is pending.
- `ResponseBuffer` is the window itself. Its three overflow strategies differ in what makes room:
  `drop_oldest` evicts; `drop_newest` and `block` evict only what every reader has read (`release`), and refuse
  otherwise: the caller of `push` drops, or waits and tries again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from patinox.config.choices import OverflowStrategy
from patinox.core.chunks import StreamChunk, Text
from patinox.core.codec import encode_data
from patinox.errors import BufferFull

_EVICTED: Any = None  # what stands in an evicted slot until the list is cut, so that the chunk itself is let go
_MARK_EVERY = 64  # chunks between two remembered byte counts: 8 bytes a chunk would be a tenth of a short token
_COMPACT_AT = 512  # evicted slots at the list's front before it is cut: amortised O(1) eviction, O(1) indexing


class ResponseBuffer:
    """A window of chunks, bounded by `max_size` chunks and `max_bytes` bytes of payload.

    >>> buffer = ResponseBuffer(max_size=2)
    >>> for n, word in enumerate(["a", "b", "c"], 1):
    ...     _ = buffer.push(StreamChunk(n, Text(word), 0.0))
    >>> buffer.get_content()
    'bc'
    """

    __slots__ = ("_items", "_start", "evicted", "max_bytes", "max_size", "overflow_strategy", "refused", "released",
                 "size_bytes")  # fmt: skip

    def __init__(
        self,
        max_size: int = 1000,
        *,
        max_bytes: int = 4 * 2**20,
        overflow_strategy: OverflowStrategy | str = OverflowStrategy.DROP_OLDEST,
    ) -> None:
        if max_size < 1 or max_bytes < 1:
            raise ValueError("max_size and max_bytes are at least 1")
        self.max_size = max_size
        self.max_bytes = max_bytes
        self.overflow_strategy = OverflowStrategy(overflow_strategy)
        self.size_bytes = 0
        self.evicted = 0
        self.refused = 0
        self.released: int | None = None
        self._items: list[StreamChunk] = []
        self._start = 0

    def __len__(self) -> int:
        return len(self._items) - self._start

    def __repr__(self) -> str:
        return f"<ResponseBuffer {len(self)}/{self.max_size} chunks, {self.size_bytes}/{self.max_bytes} bytes>"

    @property
    def first(self) -> int | None:
        """The sequence of the oldest chunk, or None when empty."""
        return self._items[self._start].sequence if len(self) else None

    def release(self, sequence: int | None) -> None:
        """Says that every reader has read up to `sequence` (None: there is no reader to wait for)."""
        self.released = sequence

    def fits(self, size_bytes: int) -> bool:
        """Whether a chunk of `size_bytes` could be pushed without evicting another."""
        return len(self) < self.max_size and self.size_bytes + size_bytes <= self.max_bytes

    def has_room(self, size_bytes: int) -> bool:
        """Whether a chunk of `size_bytes` could be pushed now."""
        if self.overflow_strategy is OverflowStrategy.DROP_OLDEST or self.released is None:
            return True
        count, total = len(self) + 1, self.size_bytes + size_bytes
        for index in range(self._start, len(self._items)):
            chunk = self._items[index]
            if count <= self.max_size and total <= self.max_bytes:
                return True
            if chunk.sequence > self.released:
                return False
            count, total = count - 1, total - len(chunk.payload)
        return True

    def push(self, chunk: StreamChunk) -> int:
        """Appends, and returns how many chunks were evicted for it.

        Raises `BufferFull` where the strategy is not `drop_oldest` and some reader has yet to read the oldest.
        """
        size_bytes = len(chunk.payload)
        if not self.has_room(size_bytes):
            self.refused += 1
            raise BufferFull(f"the buffer is full: {len(self)} chunks, {self.size_bytes} bytes, not all of them read")
        self._items.append(chunk)
        self.size_bytes += size_bytes
        before = self._start
        while (len(self._items) - self._start > self.max_size or self.size_bytes > self.max_bytes) and len(self) > 1:
            self.size_bytes -= len(self._items[self._start].payload)
            self._items[self._start] = _EVICTED
            self._start += 1
        evicted = self._start - before
        self.evicted += evicted
        if self._start >= _COMPACT_AT:
            del self._items[: self._start]
            self._start = 0
        return evicted

    def clear(self) -> None:
        """Lets go of everything."""
        self.evicted += len(self)
        self._items.clear()
        self._start = self.size_bytes = 0

    def slice(self, after: int, limit: int) -> Sequence[StreamChunk]:
        """Up to `limit` chunks with a sequence above `after`; `after` must not lie before the window."""
        if not len(self):
            return []
        begin = self._start + max(0, after + 1 - self._items[self._start].sequence)
        return self._items[begin : begin + limit]

    def get_content(self) -> str:
        """The text in the window, joined; what is not text is passed over."""
        return "".join(c.data.text for c in self._items[self._start :] if isinstance(c.data, Text))


class StreamLog:
    """Numbers what is appended and keeps its newest part hot. One that is in a store already begins at its `head`."""

    __slots__ = ("_marks", "epoch", "head", "pending", "pending_bytes", "size_bytes", "window")

    def __init__(self, epoch: str, window: ResponseBuffer | None = None, *, head: int = 0, size_bytes: int = 0) -> None:
        self.epoch = epoch
        self.window = window if window is not None else ResponseBuffer()
        self.head = 0
        self.size_bytes = 0
        self.pending: list[StreamChunk] = []
        self.pending_bytes = 0
        self._marks = [0]
        if head:
            self.skip(head, size_bytes)

    def __repr__(self) -> str:
        return f"<StreamLog {self.epoch} head={self.head} first={self.first}>"

    @property
    def first(self) -> int:
        """The oldest sequence in the window; `head + 1` when it is empty."""
        first = self.window.first
        return self.head + 1 if first is None else first

    @property
    def last(self) -> int:
        """The last sequence that was given to a chunk, acknowledged or not."""
        return self.head + len(self.pending)

    def append(self, data: Any, timestamp: float, *, is_final: bool = False, payload: bytes = b"") -> StreamChunk:
        """Numbers `data` and puts it into the window; `payload` saves encoding it again.

        Raises `BufferFull` (nothing was numbered) or `InvalidChunk` (not JSON).
        """
        chunk = StreamChunk(self.head + 1, data, timestamp, is_final, self.epoch, payload or encode_data(data))
        self.adopt(chunk)
        return chunk

    def stage(self, data: Any, timestamp: float, *, is_final: bool = False, payload: bytes = b"") -> StreamChunk:
        """Numbers `data` and keeps it pending. Raises `InvalidChunk`."""
        chunk = StreamChunk(self.last + 1, data, timestamp, is_final, self.epoch, payload or encode_data(data))
        self.pending.append(chunk)
        self.pending_bytes += len(chunk.payload)
        return chunk

    def commit(self, upto: int) -> Sequence[StreamChunk]:
        """The pending chunks up to `upto` are acknowledged: moves them into the window; returns them."""
        count = upto - self.head
        chunks = self.pending[:count]
        del self.pending[:count]
        for chunk in chunks:
            self.pending_bytes -= len(chunk.payload)
            self.adopt(chunk)
        return chunks

    def unstage(self) -> int:
        """Forgets what is pending; how many that were."""
        count = len(self.pending)
        self.pending.clear()
        self.pending_bytes = 0
        return count

    def adopt(self, chunk: StreamChunk) -> None:
        """Takes the chunk after `head` as it is: it is acknowledged, and numbered."""
        self.window.push(chunk)
        self.head += 1
        self.size_bytes += len(chunk.payload)
        if not self.head % _MARK_EVERY:
            self._marks.append(self.size_bytes)

    def skip(self, head: int, size_bytes: int) -> None:
        """Stands at `head` of a log of `size_bytes`, with an empty window: what is before is in the store."""
        missed, missed_bytes = head - self.head, size_bytes - self.size_bytes
        while len(self._marks) <= head // _MARK_EVERY:  # nobody knows where in between the bytes are
            at = len(self._marks) * _MARK_EVERY - self.head
            self._marks.append(self.size_bytes + missed_bytes * at // missed)
        self.window.clear()
        self.head, self.size_bytes = head, size_bytes

    def bytes_after(self, sequence: int) -> int:
        """Bytes of payload appended after `sequence`; exact in the window, before it at most 63 chunks too many.

        Where the log was in a store before, they are taken to be spread evenly.
        """
        if sequence >= self.head:
            return 0
        mark = sequence // _MARK_EVERY
        if sequence < self.first - 1:
            return self.size_bytes - self._marks[mark]
        after_next = self.size_bytes - self._marks[mark + 1] if mark + 1 < len(self._marks) else 0
        upto_next = self.window.slice(sequence, (mark + 1) * _MARK_EVERY - sequence)
        return after_next + sum([len(chunk.payload) for chunk in upto_next])

    def slice(self, after: int, limit: int = 256) -> Sequence[StreamChunk]:
        """Up to `limit` hot chunks after the sequence `after`."""
        return self.window.slice(after, limit)
