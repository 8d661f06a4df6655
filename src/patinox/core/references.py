"""What a channel's log is made of: references to ranges of other logs, and never the chunks themselves.

    stream a  1 2 3 · · · 4 5 ·          channel  1: a opens    2: a 1–3    3: b opens    4: b 1–2    5: a 4–5    …
    stream b  · · · 1 2 · · · 3

A reference is one record of the channel however many chunks it names, so a burst costs as much as one chunk. Its frames
are those of its range: frame k is the k-th chunk of the range, so that the event id `epoch-sequence.k` says for ever
how far a reader came. Two parts of the log are held:

- the *hot* references, which carry their chunks (the very objects of the streams' windows), bounded like a window;
- the *kept* ones, three words each, bounded in number: their chunks are read again from the streams.

What leaves the kept part is a gap for a reader that was away too long, and what a stream no longer has (it was deleted,
or keeps only its window) is told as that stream's gap: a range is there whole or told as missing whole.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import islice

import msgspec

from patinox.core.chunks import StreamChunk
from patinox.core.log import ResponseBuffer, StreamLog

OPENER = 0
"""`first` and `last` of the reference that says that a stream was opened."""

MAX_KEPT = 100_000
_TRIM = 1024  # references that are let go at once, and dead ones at the front before the arrays are cut


class Member(msgspec.Struct, eq=False):
    """One stream of a channel: who it is, and up to which of its records the channel has referred.

    `noted` is the last record that waits to be referred to. A member that `is_gone` was deleted.
    """

    stream: str
    epoch: str
    created_s: float
    metadata: bytes
    covered: int = 0
    noted: int = 0
    is_gone: bool = False


class Reference(msgspec.Struct, frozen=True, eq=False):
    """Records `first` to `last` of a member, inclusive. `chunks` are those records; None where they can't be read."""

    kind = "reference"
    member: Member
    first: int
    last: int
    chunks: Sequence[StreamChunk] | None = None

    @property
    def told(self) -> Sequence[StreamChunk]:
        """The chunks that every reader of the channel gets: not those addressed to some readers of their stream."""
        return [chunk for chunk in self.chunks or () if getattr(chunk.data, "to", None) is None]

    @property
    def is_opener(self) -> bool:
        """Whether it says that the stream was opened."""
        return self.last == OPENER

    @property
    def is_readable(self) -> bool:
        """Whether its chunks can be told."""
        return self.chunks is not None and not self.member.is_gone


class Closing(msgspec.Struct, frozen=True):
    """The record that ends a channel's log when its manager closes; it makes no frame."""

    kind = "closing"


class ReferenceLog(StreamLog):
    """Numbers references. `first` is the oldest hot one, `oldest` the oldest one kept.

    `buffer` bounds the hot part; its bytes are those of the chunks referred to.
    """

    __slots__ = ("_dead", "_firsts", "_hot", "_hot_bytes", "_kept_from", "_lasts", "_max_kept", "_members", "_sizes")

    def __init__(self, epoch: str, buffer: ResponseBuffer, *, max_kept: int = MAX_KEPT) -> None:
        super().__init__(epoch, buffer)
        self._max_kept = max_kept
        self._hot: dict[int, StreamChunk] = {}
        self._sizes: dict[int, int] = {}
        self._hot_bytes = 0
        self._members: list[Member | None] = []  # of the kept references, and beside it their ranges
        self._firsts = array("Q")
        self._lasts = array("Q")
        self._dead = 0  # references at the front of the three that are let go already
        self._kept_from = 1

    def __repr__(self) -> str:
        return f"<ReferenceLog {self.epoch} head={self.head} first={self.first} oldest={self.oldest}>"

    @property
    def first(self) -> int:
        """The oldest hot sequence; `head + 1` when there is none."""
        return self.head + 1 - len(self._hot)

    @property
    def oldest(self) -> int:
        """The oldest sequence that is kept; `head + 1` when there is none."""
        return self._kept_from

    def refer(self, reference: Reference | Closing, timestamp: float, size_bytes: int) -> None:
        """Appends a reference whose chunks have `size_bytes` together."""
        self.head += 1
        chunk = StreamChunk(self.head, reference, timestamp, epoch=self.epoch)
        self.size_bytes += size_bytes
        if not self.head % 64:
            self._marks.append(self.size_bytes)
        self._hot[self.head] = chunk
        self._sizes[self.head] = size_bytes
        self._hot_bytes += size_bytes
        self._cool()
        self._keep(reference)

    def _cool(self) -> None:
        limit = self.window
        while len(self._hot) > 1 and (len(self._hot) > limit.max_size or self._hot_bytes > limit.max_bytes):
            self._cool_first()

    def _cool_first(self) -> None:
        first = self.first
        del self._hot[first]
        self._hot_bytes -= self._sizes.pop(first)

    def _keep(self, reference: Reference | Closing) -> None:
        member = reference.member if isinstance(reference, Reference) else None
        self._members.append(member)
        self._firsts.append(getattr(reference, "first", 0))
        self._lasts.append(getattr(reference, "last", 0))
        if self.head + 1 - self._kept_from > self._max_kept:
            self._let_go(min(_TRIM, 1 + self._max_kept // 8))

    def _let_go(self, count: int) -> None:
        """Forgets the `count` oldest references, hot ones too."""
        for index in range(self._dead, self._dead + count):
            self._members[index] = None
        self._dead += count
        self._kept_from += count
        while self._hot and self.first < self._kept_from:
            self._cool_first()
        if self._dead >= _TRIM:
            del self._members[: self._dead], self._firsts[: self._dead], self._lasts[: self._dead]
            self._dead = 0

    def shed(self) -> None:
        """Forgets the oldest references as long as they are to streams that are gone: there is nothing to tell."""
        count = 0
        for member in islice(self._members, self._dead, None):
            if member is None or not member.is_gone:
                break
            count += 1
        if count:
            self._let_go(count)

    def slice(self, after: int, limit: int = 256) -> Sequence[StreamChunk]:
        """Up to `limit` hot references after the sequence `after`, which must not lie before them."""
        begin = max(after + 1, self.first)
        return [self._hot[sequence] for sequence in range(begin, min(begin + limit, self.head + 1))]

    def kept(self, after: int, limit: int) -> list[tuple[int, Reference]]:
        """Up to `limit` kept references after `after`, without their chunks, each with its sequence."""
        begin = max(after + 1, self._kept_from)
        found = []
        for sequence in range(begin, min(begin + limit, self.head + 1)):
            index = self._dead + sequence - self._kept_from
            member = self._members[index]
            if member is not None:
                found.append((sequence, Reference(member, self._firsts[index], self._lasts[index])))
        return found

    def bytes_after(self, sequence: int) -> int:
        """Bytes of payload referred to after `sequence`, at most those of 63 references too many."""
        return self.size_bytes - self._marks[sequence // 64] if sequence < self.head else 0
