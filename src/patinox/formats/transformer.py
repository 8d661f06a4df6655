"""One dialect into another, without I/O: bytes in, bytes out, through the neutral events.

    bytes → reader → neutral events → (a log's records, an assembly) → writer → frames → bytes
                                    └→ what is lost: counted, with the reason that the target declares

The writer is driven as the server drives it, so a stream is written here byte for byte as `GET …?format=` would
answer a log of the same events and the same `StreamHead`. Memory is bounded: by the longest frame, and by
`max_bytes` of what the dialects that repeat a whole answer at its end must remember.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, Outcome, StreamChunk, Text
from patinox.core.codec import encode_data
from patinox.core.events import BlockDelta, Native, RunEnd, RunStart, Usage
from patinox.errors import InputError, TooLarge, UnknownFormat
from patinox.formats.base import Format, Frame, StreamHead, interrupted
from patinox.formats.framing import encode_event, encode_frame
from patinox.formats.losses import LossCounter
from patinox.formats.patinox import NativeWriter
from patinox.formats.registry import builtin
from patinox.incremental.assembler import Assembly

DEFAULT_MAX_BYTES = 64 * 2**20

_SAYS_LITTLE = frozenset({Native, RunStart, RunEnd, Usage})
"""What readers also make of frames of other dialects."""
_MAX_PROBLEMS = 100
_MAX_WAITING = 32
_LAST_S = 253_402_300_800  # the year 10000


class Lost(msgspec.Struct, frozen=True):
    """What was lost in a stream: the key (see `patinox.formats.losses`), how often, and why."""

    what: str
    count: int
    why: str


class LossReport(msgspec.Struct, frozen=True):
    """What became of a stream on its way from one dialect into another.

    `cannot_carry`: what the target declares that it cannot carry of this source, key → reason, seen or not. `lost`:
    what of it was in this stream. `problems`: what was malformed but could be read on from, a sentence each, at most
    100 of them; `problem_count` counts all. `records` counts the neutral records, `frames` those written.
    """

    source: str
    target: str
    cannot_carry: Mapping[str, str]
    lost: Sequence[Lost]
    problems: Sequence[str]
    problem_count: int
    records: int
    frames: int


class StreamTransformer:
    """Transforms one stream. `source` and `target` are `Format`s, or names of `formats` (default: the built-in ones).

    `head` is what the target may say of the stream: its ids are made of `head.id`, its time is `head.created_s`.
    Without one, the id is `stream` and the time the source's own (1970 where it tells none). Feed bytes and `close`,
    or use one of the iterators; once.

    Raises `UnknownFormat` for a name that is not in `formats`.
    """

    def __init__(
        self,
        source: Format[Any] | str,
        target: Format[Any] | str,
        *,
        formats: Mapping[str, Format[Any]] | None = None,
        head: StreamHead | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        known = builtin() if formats is None else formats
        self.source = _named(source, known)
        self.target = _named(target, known)
        self._reader = self.source.reader()
        self._writer = self.target.writer
        self._encode = _framing(self.target)
        self._is_plain = self._encode is _events  # one frame, which is what there nearly always is, is framed at once
        self._head = head
        self._state: Any = None
        self._waiting: list[Any] = []
        self._assembly = Assembly(max_bytes=max_bytes)
        self._losses = self.target.losses_from(self.source)
        self._counter: LossCounter | None = None
        if self.target.losses and self.target.name != self.source.name:
            self._counter = LossCounter(self.target.name, self.target.losses, self._assembly)
        self._sequence = 0
        self._frames = 0
        self._problems: list[str] = []
        self._problem_count = 0
        self._ending: End | Error | None = None
        self._is_recognised = self._has_natives = self._is_flowing = False
        self._outcome = Outcome.COMPLETE
        self._broken_off: End | None = None

    def __repr__(self) -> str:
        return f"<StreamTransformer {self.source.name} → {self.target.name}, {self._sequence} records>"

    @property
    def report(self) -> LossReport:
        """What was lost so far; whole once closed."""
        counter = self._counter
        lost = [] if counter is None else [Lost(key, n, counter.why(key)) for key, n in counter.counts.items()]
        return LossReport(
            source=self.source.name,
            target=self.target.name,
            cannot_carry={key: loss.why for key, loss in self._losses.items()},
            lost=lost,
            problems=tuple(self._problems),
            problem_count=self._problem_count,
            records=self._sequence,
            frames=self._frames,
        )

    @property
    def ending(self) -> End | Error | None:
        """How the stream ended, once it is closed."""
        return self._ending

    @property
    def is_recognised(self) -> bool:
        """Whether what was fed is a stream in the source's dialect: it had content, or its end and nothing strange."""
        return self._is_recognised

    # bytes

    def feed(self, data: bytes) -> bytes:
        """The target's bytes for what `data` completes; cut anywhere.

        Raises `FramingError` with the offset for what the source's framing forbids, after everything before it was
        returned; `TooLarge` when a whole answer is longer than `max_bytes`. `abort` then ends the output honestly.
        """
        items = self._reader.feed(data)
        if self._is_flowing and len(items) == 1 and not self._reader.problems:
            return self._record(items[0])
        return self._written(items)

    def feed_frame(self, value: Any, event: str = "") -> bytes:
        """The same for one frame that is parsed already, as an SDK hands it out."""
        return self._written(self._reader.feed_frame(value, event))

    def close(self) -> bytes:
        """The source has ended: its rest, and the target's own end. Nothing after the first time."""
        if self._ending is not None:
            return b""
        last = self._written(self._reader.close())
        return last + self._end(self._reader.ending)

    def abort(self, error: Error) -> bytes:
        """The source cannot be read on: the target's own error, unless it is closed already."""
        return b"" if self._ending is not None else self._end(End(Outcome.INTERRUPTED, error))

    # chunks and neutral events

    def write(self, data: Any) -> bytes:
        """The target's bytes of one record: an event, chunk data, a `StreamChunk`, or a piece of text.

        Nothing after the end. Raises `InputError` for anything else.
        """
        if isinstance(data, StreamChunk):
            data, self._broken_off = data.data, interrupted("the chunks broke off before the last one")
        elif isinstance(data, str):
            data = Text(data)
        if not hasattr(data, "kind"):
            raise InputError(f"a record is chunk data, an event, a chunk or a string, not {type(data).__name__}")
        if self._ending is not None:
            return b""
        if isinstance(data, RunEnd):
            self._outcome = data.outcome
        return self._end(data) if isinstance(data, End | Error) else self._written([data])

    # iterators

    def stream(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Transforms the bytes of a whole stream."""
        for piece in pieces:
            if made := self.feed(piece):
                yield made
        if made := self.close():
            yield made

    async def astream(self, pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """The same for an asynchronous iterable."""
        async for piece in pieces:
            if made := self.feed(piece):
                yield made
        if made := self.close():
            yield made

    def events(self, records: Iterable[Any]) -> Iterator[bytes]:
        """Transforms neutral events, chunk data or the chunks of a log.

        A producer that ends has ended as its `run.end` says, else complete; chunks without their last one are
        interrupted.
        """
        for record in records:
            if made := self.write(record):
                yield made
        if made := self._exhausted():
            yield made

    async def aevents(self, records: AsyncIterable[Any]) -> AsyncIterator[bytes]:
        """The same for an asynchronous iterable."""
        async for record in records:
            if made := self.write(record):
                yield made
        if made := self._exhausted():
            yield made

    # the log inside

    def _exhausted(self) -> bytes:
        if self._ending is not None:
            return b""
        return self._end(self._broken_off or End(self._outcome))

    def _written(self, items: Sequence[Any]) -> bytes:
        if not items:
            return b""
        if not self._is_recognised:
            self._is_recognised = any(type(item) not in _SAYS_LITTLE for item in items)
            self._has_natives = self._has_natives or any(type(item) is Native for item in items)
        if self._state is None:
            items = self._begun(items)
        self._is_flowing = self._is_recognised and self._state is not None
        made = b"".join([self._record(item) for item in items])
        if self._reader.problems:
            self._note_problems()
        return made

    def _begun(self, items: Sequence[Any], *, is_over: bool = False) -> Sequence[Any]:
        """The first records, once it is clear what the target may say of the stream: `run.start` tells the time."""
        items = self._waiting + list(items)
        first = next((item for item in items if type(item) is not Native), None)
        if self._head is None:
            if first is None and len(items) < _MAX_WAITING and not is_over:
                self._waiting = items
                return ()
            created_s = first.created_s or 0.0 if isinstance(first, RunStart) else 0.0
            self._head = StreamHead(id="stream", epoch="0", created_s=created_s if 0 < created_s < _LAST_S else 0.0)
        self._waiting = []
        self._state = self._writer.initial(self._head)
        return items

    def _end(self, ending: End | Error) -> bytes:
        if not self._has_natives and (isinstance(ending, Error) or ending.outcome is not Outcome.INTERRUPTED):
            self._is_recognised = True
        waiting = self._begun((), is_over=True) if self._state is None else ()
        made = b"".join([self._record(item) for item in waiting]) + self._record(ending, is_final=True)
        if self._counter is not None:
            self._counter.finish()
        self._note_problems()
        self._ending = ending
        return made

    def _record(self, data: Any, *, is_final: bool = False) -> bytes:
        head = self._head
        assert head is not None
        self._sequence = sequence = self._sequence + 1
        chunk = StreamChunk(sequence, data, head.created_s, is_final, head.epoch)
        assembly = self._assembly
        assembly.apply(chunk)
        # The records of a log are measured by their JSON. Text is nearly all of it, and need not be encoded for that.
        kind = type(data)
        is_text = (kind is BlockDelta and data.text) or kind is Text
        assembly.size_bytes += len(data.text) if is_text else len(encode_data(data))
        if assembly.overflowed and self.target.repeats and not is_final:
            raise TooLarge(f"the answer is longer than {self.target.name} can be made of in bounded memory")
        if self._counter is not None:
            self._counter.count(data)
        self._state, frames = self._writer.write(self._state, chunk, assembly)
        if not frames:
            return b""
        self._frames += len(frames)
        if self._is_plain and len(frames) == 1:
            payload, event, bare = frames[0]
            return payload if bare else encode_frame(payload, event)
        return self._encode(chunk, frames)

    def _note_problems(self) -> None:
        """Takes over the reader's problems, so that there never are many."""
        problems = self._reader.problems
        if problems:
            self._problem_count += len(problems)
            self._problems += problems[: _MAX_PROBLEMS - len(self._problems)]
            if isinstance(problems, list):
                problems.clear()


def _named(format_: Format[Any] | str, known: Mapping[str, Format[Any]]) -> Format[Any]:
    if isinstance(format_, Format):
        return format_
    if format_ not in known:
        raise UnknownFormat(format_, tuple(known))
    return known[format_]


Encode = Callable[[StreamChunk, Sequence[Frame]], bytes]


def _framing(format_: Format[Any]) -> Encode:
    if isinstance(format_.writer, NativeWriter):
        return _native_events if format_.framing == "sse" else _native_lines
    return _FRAMINGS[format_.framing]


def _events(_chunk: StreamChunk, frames: Sequence[Frame]) -> bytes:
    return b"".join([frame.data if frame.bare else encode_event(frame.data, event=frame.event) for frame in frames])


def _native_events(chunk: StreamChunk, frames: Sequence[Frame]) -> bytes:
    return b"".join([encode_event(frame.data, event=frame.event, id=chunk.id) for frame in frames])


def _native_lines(chunk: StreamChunk, frames: Sequence[Frame]) -> bytes:
    head = chunk.id.encode()
    return b"".join(
        [b'{"id":"%b","event":"%b","data":%b}\n' % (head, frame.event.encode(), frame.data) for frame in frames]
    )


def _lines(_chunk: StreamChunk, frames: Sequence[Frame]) -> bytes:
    return b"".join([frame.data + b"\n" for frame in frames])


def _raw(_chunk: StreamChunk, frames: Sequence[Frame]) -> bytes:
    return b"".join([frame.data for frame in frames])


_FRAMINGS: Mapping[str, Encode] = {"sse": _events, "lines": _lines, "raw": _raw}
