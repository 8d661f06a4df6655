"""A view: one log in one dialect on one kind of wire, its frames made once for however many read them.

The frames of the hot window are kept beside it, one `bytes` a record. A writer's state is kept at the newest record
and at checkpoints, every 256 records, so that the frames of any earlier record can be made again (`cold`): a
resumed reader sees exactly the bytes an uninterrupted one saw. Of a log that keeps its window only, what leads to a
record may be gone: there checkpoints are closer, those that are of no use any more are let go, and where none is left
the dialect begins anew.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

from patinox.core.chunks import EventId, StreamChunk
from patinox.core.log import StreamLog
from patinox.delivery.wire import Wire
from patinox.formats.base import Format, Frame, StreamHead
from patinox.incremental.assembler import Assembly

CHECKPOINT_EVERY = 256
WINDOW_CHECKPOINT_EVERY = 16
_PAGE = 256

ReadPage = Callable[[int, int], Awaitable[Sequence[StreamChunk]]]
"""`(after, limit)` → chunks, from the store where the window no longer has them."""


class Batch(NamedTuple):
    """Joined bytes, and the sequence they reach up to."""

    data: bytes
    upto: int


class View:
    """Frames of one (log, format, wire). Not primed until `prime` has brought the writer's state to the window.

    `parked` are the subscriptions that stand at the head, for the fan-out to push to. `oldest` tells the lowest
    sequence that can still be read, of a log that keeps its window only.
    """

    def __init__(
        self, log: StreamLog, assembly: Assembly, head: StreamHead, format_: Format[Any], wire: Wire, read: ReadPage,
        oldest: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
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
        self._oldest = oldest
        self._every = CHECKPOINT_EVERY if oldest is None else WINDOW_CHECKPOINT_EVERY
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
            start = self._start()
            state = await self._fold_up_to(start)
            if self._upto < 0 and start >= self.log.first - 1:
                self._base = self._upto = start
                self._state = state
        self.advance()

    def _start(self) -> int:
        """The start of the window; the first checkpoint in it, where the state at its start can't be made any more."""
        start = self.log.first - 1
        index = bisect_right(self._marks, start)
        if self._oldest is None or index == len(self._marks) or self._marks[index - 1] + 1 >= self._oldest():
            return start
        return self._marks[index]

    def rest(self) -> None:
        """Gives the frames back when nobody reads them; the checkpoints stay."""
        if self._oldest is not None and self._upto + 1 >= self._oldest():
            self._mark(self._upto, self._state)
        self._frames.clear()
        self._addressed.clear()
        self.last_addressed = 0
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
        for sequence, made in self._addressed_to(audience, after):
            frames[sequence - after - 1] = made
        if len(frames) == 1:
            return Batch(frames[0], after + 1)
        size_bytes = 0
        for count, frame in enumerate(frames, 1):
            size_bytes += len(frame)
            if size_bytes >= max_bytes:
                return Batch(b"".join(frames[:count]), after + count)
        return Batch(b"".join(frames), after + len(frames))

    def addresses(self, audience: str | None, after: int) -> bool:
        """Whether a hot record after `after` is addressed to this audience."""
        return self.last_addressed > after and any(True for _ in self._addressed_to(audience, after))

    def _addressed_to(self, audience: str | None, after: int) -> Iterator[tuple[int, bytes]]:
        if audience is None or self.last_addressed <= after:
            return
        for sequence in reversed(self._addressed):  # readers stand near the head, most of what is addressed far behind
            if sequence <= after:
                return
            addressees, made = self._addressed[sequence]
            if audience in addressees:
                yield sequence, made

    async def cold(self, after: int, max_bytes: int, part: int = 0, audience: str | None = None) -> Batch:
        """The same from the store, made again from the nearest checkpoint; `part` frames of the first are left out.

        A `part` that the first record cannot have had was counted in another format: then the record goes out whole.
        """
        state, mark = await self._fold_up_to(after), after
        parts: list[bytes] = []
        size_bytes = 0
        while size_bytes < max_bytes:
            page = await self._read(mark, _PAGE)
            for chunk in page:
                state, frames = self._fold(state, chunk)
                mark = chunk.sequence
                if not _is_for(chunk, audience):
                    frames = ()
                if mark == after + 1 and 0 < part < len(frames):
                    parts.append(self._tail(chunk, frames, part))
                elif frames:
                    parts.append(self.wire.record(chunk.id, frames))
                size_bytes += len(parts[-1]) if frames else 0
                if size_bytes >= max_bytes:
                    break
            if not page or after < self.log.first - 1 <= mark:
                break
        return Batch(b"".join(parts), mark)

    def checkpoint(self, is_before: Callable[[Any], bool]) -> tuple[int, Any]:
        """The last checkpoint with a state that `is_before` what is looked for: its sequence, and the state."""
        index = bisect_left(self._states, True, lo=1, key=lambda state: not is_before(state)) - 1
        return self._marks[index], self._states[index]

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
        return self._state if at == self._upto else await self._fold_up_to(at)

    async def _fold_up_to(self, at: int) -> Any:
        mark, state = self._checkpoint(at)
        while mark < at:
            page = await self._read(mark, min(_PAGE, at - mark))
            if not page:  # gone for good: the dialect begins anew with the oldest record there is
                mark, state = min(at, max(mark + 1, self.log.first - 1)), self._states[0]
            for chunk in page:
                state, _ = self._fold(state, chunk)
                mark = chunk.sequence
        return state

    def _fold(self, state: Any, chunk: StreamChunk) -> tuple[Any, Sequence[Frame]]:
        state, frames = self._writer.write(state, chunk, self._assembly)
        if chunk.sequence % self._every == 0:
            self._mark(chunk.sequence, state)
        return state, frames

    def _mark(self, sequence: int, state: Any) -> None:
        if self.format.stateless or sequence <= self._marks[-1]:
            return
        self._marks.append(sequence)
        self._states.append(state)
        if self._oldest is not None:
            useless = bisect_left(self._marks, self._oldest() - 1, lo=1)
            del self._marks[1:useless], self._states[1:useless]

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
