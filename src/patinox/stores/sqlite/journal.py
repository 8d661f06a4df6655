"""Chunks that are in no page yet: one row a commit, for whatever streams.

Rows are read when the file is opened, and never again; a row is dropped when all that it has is in pages. So that a
stream which hardly writes does not keep old rows for long, its tail becomes a page, however small, when the journal
is longer than it may be.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Mapping

import msgspec

from patinox.core.chunks import StreamChunk
from patinox.errors import StoreError
from patinox.stores.base import Acknowledged
from patinox.stores.sqlite.pages import Row, chunks_of, rows_of
from patinox.stores.sqlite.streams import OpenStream

Entry = tuple[int, int, list[Row], dict[str, Acknowledged]]
"""Stream, first sequence, chunks, what producers are acknowledged."""

MAX_ROWS = 4096
MAX_BYTES = 8 << 20
_MOST_AT_ONCE = 16  # streams whose tail is written in one commit to make the journal shorter
_DROP_EVERY = 64  # rows

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Entry]).decode


class Journal:
    """What the commits of now have, and which streams keep which rows."""

    def __init__(self, connection: sqlite3.Connection, max_bytes: int) -> None:
        self._connection = connection
        self._max_bytes = max_bytes
        self._entries: list[Entry] = []
        self._rows: deque[tuple[int, int]] = deque()
        self._bytes = 0
        self._next = 1
        self._waiting: dict[int, tuple[int, OpenStream]] = {}  # by stream, the longest waiting first: since which row

    def __repr__(self) -> str:
        return f"<Journal {len(self._rows)} rows, {self._bytes} bytes, {len(self._waiting)} streams wait>"

    def note(self, stream: OpenStream, chunks: list[StreamChunk], producers: Mapping[str, Acknowledged]) -> None:
        """Has chunks that are in the stream's tail committed with this group."""
        self._entries.append((stream.id, chunks[0].sequence, rows_of(chunks), dict(producers)))
        self._waiting.setdefault(stream.id, (self._next, stream))

    def forget(self, stream: OpenStream) -> None:
        """The stream has no tail any more."""
        self._waiting.pop(stream.id, None)

    def write(self) -> None:
        """Writes the row of this group, before its commit, and drops what is not needed."""
        if self._entries:
            blob = _pack(self._entries)
            self._connection.execute("INSERT INTO journal (id, entries) VALUES (?, ?)", (self._next, blob))
            self._kept(self._next, len(blob))
            self._entries = []
        is_long = len(self._rows) > MAX_ROWS or self._bytes > self._max_bytes
        if is_long:
            self._shorten()
        oldest = next(iter(self._waiting.values()))[0] if self._waiting else self._next
        if self._rows and oldest - self._rows[0][0] >= (1 if is_long else _DROP_EVERY):
            self._drop(oldest)

    def _kept(self, id_: int, size_bytes: int) -> None:
        self._rows.append((id_, size_bytes))
        self._bytes += size_bytes
        self._next = id_ + 1

    def _shorten(self) -> None:
        for _, stream in list(self._waiting.values())[:_MOST_AT_ONCE]:
            stream.flush(self._connection)
            self.forget(stream)

    def _drop(self, before: int) -> None:
        self._connection.execute("DELETE FROM journal WHERE id < ?", (before,))
        while self._rows and self._rows[0][0] < before:
            self._bytes -= self._rows.popleft()[1]

    def recover(self, streams: Mapping[int, OpenStream]) -> None:
        """Gives open streams the tails that the rows have."""
        for id_, blob in self._connection.execute("SELECT id, entries FROM journal ORDER BY id"):
            self._kept(id_, len(blob))
            for entry in _entries(id_, blob):
                stream = streams.get(entry[0])
                if stream is not None:
                    self._recover(id_, stream, entry)

    def _recover(self, id_: int, stream: OpenStream, entry: Entry) -> None:
        _, first, rows, producers = entry
        if first <= stream.head:  # in a page already
            return
        if first != stream.head + 1:
            raise StoreError(
                f"the store is damaged: stream {stream.facts.key.id!r} goes on at {first} after {stream.head}"
            )
        stream.take(chunks_of(rows, first, stream.facts.epoch), producers)
        self._waiting.setdefault(stream.id, (id_, stream))


def _entries(id_: int, blob: bytes) -> list[Entry]:
    try:
        return _unpack(blob)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the store is damaged: row {id_} of its journal cannot be read ({error})") from error
