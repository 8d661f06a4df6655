"""A view: one log in one dialect on one kind of wire, its frames made once for however many read them.

The frames of the hot window are kept beside it, one `bytes` a record. A writer's state is kept at the newest record
and at checkpoints, every 256 records, so that the frames of any earlier record can be made again (`cold`): a
resumed reader sees exactly the bytes an uninterrupted one saw.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from patinox.core.chunks import EventId, StreamChunk
from patinox.core.log import StreamLog
from patinox.delivery.wire import Wire
from patinox.formats.base import Format, Frame, StreamHead
from patinox.incremental.assembler import Assembly

CHECKPOINT_EVERY = 256
_PAGE = 256

ReadPage = Callable[[int, int], Awaitable[Sequence[StreamChunk]]]
"""`(after, limit)` → chunks, from the store where the window no longer has them."""


class Batch(NamedTuple):
    """Joined bytes, and the sequence they reach up to."""

    data: bytes
    upto: int


class View:
    """Frames of one (log, format, wire). Not primed until `prime` has brought the writer's state to the window.

    `parked` are the subscriptions that stand at the head, for the fan-out to push to.
    """

    def __init__(
        self, log: StreamLog, assembly: Assembly, head: StreamHead, format_: Format[Any], wire: Wire, read: ReadPage
    ) -> None:
        self.log = log
        self.format = format_
        self.wire = wire
        self.readers = 0
        self.parked: dict[Any, None] = {}
        self.last_addressed = 0
        self._addressed: dict[int, tuple[frozenset[str], bytes]] = {}
        self._assembly = assembly
        self._writer = format_.writer
        self._read = read
        self._frames: list[bytes] = []
        self._base = 0
        self._upto = -1
        self._state: Any = None
        self._marks = [0]
        self._states: list[Any] = [self._writer.initial(head)]

    def __repr__(self) -> str:
        return f"<View {self.format.name}/{self.wire.name} {self._base}..{self._upto}, {self.readers} readers>"

    @property
    def primed(self) -> bool:
        """Whether `advance` and `take` can be used."""
        return self._upto >= 0

    @property
    def upto(self) -> int:
        """The last record whose frames are made."""
        return self._upto

    async def prime(self) -> None:
        """Brings the writer's state to the start of the window. No-op for a view that is in use."""
        while not self.primed:
            start = self.log.first - 1
            mark, state = self._checkpoint(start)
            while mark < start:
                page = await self._read(mark, min(_PAGE, start - mark))
                if not page:  # evicted for good (retain = "window"): the dialect begins anew here
                    mark = start
                for chunk in page:
                    state, _ = self._fold(state, chunk)
                    mark = chunk.sequence
            if self._upto < 0 and start >= self.log.first - 1:
                self._base = self._upto = start
                self._state = state
        self.advance()

    def rest(self) -> None:
        """Gives the frames back when nobody reads them; the checkpoints stay."""
        self._frames.clear()
        self._upto = -1

    def advance(self) -> None:
        """Makes the frames of what was appended, and lets go of those that left the window.

        Where more was appended since the last time than the window holds, the view is not primed afterwards.
        """
        if self._upto < self.log.first - 1:
            self.rest()
            return
        while self._upto < self.log.head:
            for chunk in self.log.slice(self._upto, _PAGE):
                self._state, frames = self._fold(self._state, chunk)
                made = self.wire.record(chunk.id, frames) if frames else b""
                addressees = getattr(chunk.data, "to", None)
                if addressees is not None:
                    self._addressed[chunk.sequence] = (addressees, made)
                    self.last_addressed = chunk.sequence
                    made = b""
                self._frames.append(made)
                self._upto = chunk.sequence
        stale = self.log.first - 1 - self._base
        if stale >= CHECKPOINT_EVERY or stale > len(self._frames) >> 1:
            del self._frames[:stale]
            self._base += stale
            for sequence in [sequence for sequence in self._addressed if sequence <= self._base]:
                del self._addressed[sequence]

    def take(self, after: int, max_bytes: int, audience: str | None = None) -> Batch | None:
        """The hot frames after `after`, joined up to about `max_bytes` (at least one); None when they are not hot.

        Frames of records that are addressed are there for their own `audience` only.
        """
        if not self.primed or after < self._base:
            return None
        frames = self._frames[after - self._base :]
        if audience is not None and self.last_addressed > after:
            for sequence, (addressees, made) in self._addressed.items():
                if sequence > after and audience in addressees:
                    frames[sequence - after - 1] = made
        if len(frames) == 1:
            return Batch(frames[0], after + 1)
        size_bytes = 0
        for count, frame in enumerate(frames, 1):
            size_bytes += len(frame)
            if size_bytes >= max_bytes:
                return Batch(b"".join(frames[:count]), after + count)
        return Batch(b"".join(frames), after + len(frames))

    async def cold(self, after: int, max_bytes: int, part: int = 0, audience: str | None = None) -> Batch:
        """The same from the store, made again from the nearest checkpoint; `part` frames of the first are left out.

        A `part` that the first record cannot have had was counted in another format: then the record goes out whole.
        """
        mark, state = self._checkpoint(after)
        parts: list[bytes] = []
        size_bytes = 0
        while size_bytes < max_bytes:
            page = await self._read(mark, _PAGE)
            for chunk in page:
                state, frames = self._fold(state, chunk)
                mark = chunk.sequence
                if mark <= after:
                    continue
                if not _is_for(chunk, audience):
                    frames = ()
                if mark == after + 1 and 0 < part < len(frames):
                    parts.append(self._tail(chunk, frames, part))
                elif frames:
                    parts.append(self.wire.record(chunk.id, frames))
                size_bytes += len(parts[-1]) if frames else 0
                if size_bytes >= max_bytes:
                    break
            if not page and mark < after:
                mark = after  # evicted for good (retain = "window"): the dialect begins anew here
            elif not page or after < self.log.first - 1 <= mark:
                break
        return Batch(b"".join(parts), max(mark, after))

    async def openers(self, at: int) -> bytes:
        """What a fresh client of this dialect that attaches after record `at` must see first."""
        state = await self._state_at(at)
        frames = self._writer.openers(state, self._assembly)
        return self.wire.record("", list(frames)) if frames else b""

    async def closing(self, at: int, chunk: StreamChunk) -> bytes:
        """The frames of `chunk`, which is not in the log: for a reader at `at` that must be told why it ends."""
        _, frames = self._writer.write(await self._state_at(at), chunk, self._assembly)
        return self.wire.record("", list(frames))

    async def _state_at(self, at: int) -> Any:
        if at == self._upto:
            return self._state
        mark, state = self._checkpoint(at)
        while mark < at:
            page = await self._read(mark, min(_PAGE, at - mark))
            if not page:
                break
            for chunk in page:
                state, _ = self._fold(state, chunk)
                mark = chunk.sequence
        return state

    def _fold(self, state: Any, chunk: StreamChunk) -> tuple[Any, Sequence[Frame]]:
        state, frames = self._writer.write(state, chunk, self._assembly)
        if chunk.sequence % CHECKPOINT_EVERY == 0 and chunk.sequence > self._marks[-1]:
            self._marks.append(chunk.sequence)
            self._states.append(state)
        return state, frames

    def _checkpoint(self, at: int) -> tuple[int, Any]:
        if self.format.stateless:
            return at, self._states[0]
        index = bisect_right(self._marks, at) - 1
        return self._marks[index], self._states[index]

    def _tail(self, chunk: StreamChunk, frames: Sequence[Frame], part: int) -> bytes:
        # Ids must come out as in the uninterrupted stream: encode all frames, cut off those the reader has.
        whole = self.wire.record(chunk.id, list(frames))
        had = len(self.wire.record(str(EventId(self.log.epoch, chunk.sequence, part)), [frames[part - 1]]))
        for k in range(1, part):
            had += len(self.wire.record(f"{chunk.id}.{k}", [frames[k - 1]]))
        return whole[had:]


def _is_for(chunk: StreamChunk, audience: str | None) -> bool:
    """Whether a record is for everybody, or addressed to this audience."""
    addressees = getattr(chunk.data, "to", None)
    return addressees is None or audience in addressees
