"""One stream's subject: writing on condition, and finding a chunk among its messages.

A writer remembers the last message it knows of; where another one is the last, it reads that and decides again. So what
is refused is refused by what the leader has, never by what is remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from patinox.core.chunks import StreamChunk
from patinox.core.keys import StreamKey
from patinox.errors import (
    PatinoxError,
    StoreConflict,
    StoreError,
    StreamClosed,
    StreamFenced,
    StreamGone,
    StreamNotFound,
)
from patinox.stores.base import Append
from patinox.stores.nats.connection import Connection, Found
from patinox.stores.nats.wire import (
    APPENDED,
    GONE,
    PART,
    TAKEN,
    Body,
    State,
    Stored,
    Subjects,
    after_append,
    decode,
    decode_chunks,
    encode,
    encode_chunks,
)

_TRIES = 20
_REMEMBERED = 20_000
_PLACES = 4_096
_MESSAGES_A_PAGE = 256
_ROOM_BYTES = 16 * 1024  # for the state, the headers and the protocol, beside the chunks
_GONE_S = 24 * 3600


class Log:
    """The subjects of all streams."""

    def __init__(self, connection: Connection, subjects: Subjects) -> None:
        self._connection = connection
        self._subjects = subjects
        self._lasts: OrderedDict[StreamKey, Stored] = OrderedDict()
        self._places: OrderedDict[tuple[StreamKey, str, int], int] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Log {len(self._lasts)} streams remembered>"

    def forget_all(self) -> None:
        """What was remembered may be old."""
        self._lasts.clear()

    async def last(self, key: StreamKey) -> Stored | None:
        """The last message of a stream, from the leader; None where there is none."""
        found = await self._connection.get(self._subjects.log_stream, last_by_subj=self._subjects.log(key))
        return None if found is None else Stored(found.sequence, decode(found.data))

    async def there(self, key: StreamKey) -> Stored:
        """The last message of a stream that is there. Raises `StreamNotFound`, `StreamGone`."""
        last = await self.last(key)
        if last is None:
            raise StreamNotFound(f"there is no stream {key.id[:140]!r}")
        if last.body.kind == GONE:
            raise StreamGone(f"stream {key.id!r} was deleted")
        return last

    async def write(self, key: StreamKey, after: int, body: Body, *, ttl_s: int | None = None) -> Stored | None:
        """Publishes where `after` is the last sequence; None where it is not."""
        subject = self._subjects.log(key)
        sequence = await self._connection.publish(subject, encode(body), after=after, ttl_s=ttl_s)
        return None if sequence is None else Stored(sequence, body)

    # ── appending ──

    async def append(self, append: Append) -> PatinoxError | None:
        """Commits one append, or says why not. Raises `StoreError` where that is not known."""
        key = append.key
        last = self._lasts.pop(key, None)
        is_fresh = last is None
        for _ in range(_TRIES):
            try:
                last = last or await self.there(key)
            except (StreamNotFound, StreamGone) as error:
                return error
            refused, is_there = await self._decide(append, last)
            if is_there:
                return None
            if refused is None:
                written = await self._write_chunks(append, last)
                if written is not None:
                    self._remember(key, written)
                    return None
            elif is_fresh:
                return refused
            last, is_fresh = None, True
        raise StoreError(f"NATS at {self._connection.address}: others keep writing stream {key.id!r}")

    async def _decide(self, append: Append, last: Stored) -> tuple[PatinoxError | None, bool]:
        """Why it is refused, and whether it is there already."""
        state, count = last.body.state, len(append.chunks)
        if append.fence != state.fence:
            return StreamFenced(f"another node writes stream {append.key.id!r} now"), False
        if count and state.head == append.after + count:
            there = await self.read(append.key, append.after, count)
            if encode_chunks(there) == encode_chunks(append.chunks):
                return None, True
        if state.outcome:
            return StreamClosed(f"the stream has ended ({state.outcome})"), False
        if state.head != append.after:
            return StoreConflict(f"the append follows {append.after}, the head is {state.head}"), False
        return None, False

    async def _write_chunks(self, append: Append, last: Stored) -> Stored | None:
        data, part = encode_chunks(append.chunks), 0
        most = self._connection.max_payload_bytes - _ROOM_BYTES
        state = msgspec.structs.replace(last.body.state, first=last.first)
        sequence = last.sequence
        while len(data) > most:
            written = await self.write(append.key, sequence, Body(PART, state, data[:most]))
            if written is None:
                return None
            sequence, part, data = written.sequence, part or written.sequence, data[most:]
        return await self.write(
            append.key, sequence, Body(APPENDED, after_append(last.body.state, last.first, append), data, part)
        )

    def _remember(self, key: StreamKey, written: Stored) -> None:
        if written.body.state.outcome:
            return
        self._lasts[key] = Stored(written.sequence, msgspec.structs.replace(written.body, data=b""))
        if len(self._lasts) > _REMEMBERED:
            self._lasts.popitem(last=False)

    # ── leases and ends ──

    async def take_over(self, key: StreamKey, node: str) -> tuple[Stored, str]:
        """A message with the next fence; and who had the lease before. Raises what `there` raises, `StreamClosed`."""
        for _ in range(_TRIES):
            last = await self.there(key)
            state = last.body.state
            if state.outcome:
                raise StreamClosed(f"the stream has ended ({state.outcome})")
            taken = msgspec.structs.replace(state, first=last.first, node=node, fence=state.fence + 1)
            written = await self.write(key, last.sequence, Body(TAKEN, taken))
            if written is not None:
                self._remember(key, written)
                return written, state.node
        raise StoreError(f"NATS at {self._connection.address}: others keep writing stream {key.id!r}")

    async def end(self, key: StreamKey, trace: bool, over_s: float | None) -> Stored | None:
        """Removes a stream; its last message, or None where it was none (or, with `over_s`, is not over by then)."""
        for _ in range(_TRIES):
            last = await self.last(key)
            if last is None or last.body.kind == GONE:
                return None
            state = last.body.state
            if over_s is not None and (not state.outcome or (state.ended_s or 0) + state.ttl_s > over_s):
                return None
            gone = await self.write(key, last.sequence, Body(GONE, State(node=state.node)), ttl_s=_GONE_S)
            if gone is not None:
                self._lasts.pop(key, None)
                below = gone.sequence + (0 if trace else 1)
                await self._connection.purge(self._subjects.log_stream, self._subjects.log(key), below)
                return last
        raise StoreError(f"NATS at {self._connection.address}: others keep writing stream {key.id!r}")

    # ── reading ──

    async def read(self, key: StreamKey, after: int, limit: int) -> Sequence[StreamChunk]:
        """Up to `limit` chunks after `after`, none where there is no such stream."""
        last = await self.last(key)
        if last is None or last.body.kind == GONE or after >= last.body.state.head or limit <= 0:
            return []
        epoch, want = last.body.state.epoch, min(limit, last.body.state.head - after)
        place = self._places.get((key, epoch, after)) or await self._place(key, after + 1, last)
        chunks: list[StreamChunk] = []
        parts = b""
        while not chunks or chunks[-1].sequence < after + want:
            page = await self._page(key, place, last.sequence, min(_MESSAGES_A_PAGE, want))
            if not page:
                break  # deleted meanwhile
            for found in page:
                body = decode(found.data)
                if body.kind == PART:
                    parts += body.data
                elif body.kind == APPENDED:
                    chunks += decode_chunks((parts if body.part else b"") + body.data, body.state)
                    parts = b""
                    self._note((key, epoch, body.state.head), found.sequence + 1)
            place = page[-1].sequence + 1
        begin = after + 1 - chunks[0].sequence if chunks else 0
        return chunks[begin : begin + want]

    async def _page(self, key: StreamKey, begin: int, last: int, limit: int) -> Sequence[Found]:
        """At least one message if there is one: a replica may not have it yet, but the leader has."""
        subject, stream = self._subjects.log(key), self._subjects.log_stream
        page = await self._connection.page(stream, subject, begin, limit)
        if page:
            return page
        found = await self._connection.get(stream, seq=begin, next_by_subj=subject) if begin <= last else None
        return [] if found is None else [found]

    async def _place(self, key: StreamKey, sequence: int, last: Stored) -> int:
        """Where the message with this chunk is, or the first of its parts: by halving."""
        low, high = last.first, last.sequence
        stream, subject = self._subjects.log_stream, self._subjects.log(key)
        while low < high:
            middle = (low + high) // 2
            found = await self._connection.get(stream, seq=middle, next_by_subj=subject)
            if found is None or decode(found.data).state.head >= sequence:
                high = middle
            else:
                low = found.sequence + 1
        found = await self._connection.get(stream, seq=low, next_by_subj=subject)
        return low if found is None else decode(found.data).part or found.sequence

    def _note(self, place: tuple[StreamKey, str, int], sequence: int) -> None:
        self._places[place] = sequence
        if len(self._places) > _PLACES:
            self._places.popitem(last=False)
