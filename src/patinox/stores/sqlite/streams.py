"""Open streams in memory, and the table of all."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from patinox.core.chunks import Outcome, StreamChunk
from patinox.core.keys import StreamKey
from patinox.errors import StoreError
from patinox.stores.base import Acknowledged, StreamFacts, StreamRecord
from patinox.stores.sqlite.pages import PAGE_BYTES, PAGE_CHUNKS, last_page, read_pages, write_pages

_encode = msgspec.json.encode
_facts = msgspec.json.Decoder(StreamFacts).decode
_producers = msgspec.json.Decoder(dict[str, Acknowledged]).decode

SELECT = "SELECT id, facts, node, fence, lease_s, producers, head, size_bytes, outcome, ended_s FROM streams "
"""A row, as `ended_record` takes it."""


class OpenStream:
    """A stream that takes appends. Its newest chunks, those that are in no page yet, are its `tail`."""

    __slots__ = (
        "facts", "fence", "id", "in_pages", "lease_s", "leased_until_s", "node", "paged_bytes", "producers", "tail",
        "tail_bytes",
    )  # fmt: skip

    def __init__(self, id: int, facts: StreamFacts, node: str, fence: int, lease_s: float, now_s: float) -> None:
        self.id = id
        self.facts = facts
        self.node = node
        self.fence = fence
        self.lease_s = lease_s
        self.leased_until_s = now_s + lease_s
        self.producers: dict[str, Acknowledged] = {}
        self.in_pages = 0
        self.paged_bytes = 0
        self.tail: list[StreamChunk] = []
        self.tail_bytes = 0

    def __repr__(self) -> str:
        return f"<OpenStream {self.id} {self.facts.key} at {self.head}, {len(self.tail)} in no page>"

    @property
    def head(self) -> int:
        """The last sequence."""
        return self.in_pages + len(self.tail)

    @property
    def is_full(self) -> bool:
        """Whether the tail is enough for a page."""
        return len(self.tail) >= PAGE_CHUNKS or self.tail_bytes >= PAGE_BYTES

    def take(self, chunks: list[StreamChunk], producers: Mapping[str, Acknowledged]) -> int:
        """Takes chunks into the tail; how many bytes of payload they have."""
        size_bytes = 0
        for chunk in chunks:
            size_bytes += len(chunk.payload)
        self.tail += chunks
        self.tail_bytes += size_bytes
        if producers:
            self.producers.update(producers)
        return size_bytes

    def flush(self, connection: sqlite3.Connection) -> None:
        """Moves the tail into pages."""
        if self.tail:
            write_pages(connection, self.id, self.tail, self.paged_bytes)
            self.in_pages += len(self.tail)
            self.paged_bytes += self.tail_bytes
            self.tail, self.tail_bytes = [], 0
        if self.producers:
            connection.execute("UPDATE streams SET producers = ? WHERE id = ?", (_encode(self.producers), self.id))

    def read(self, connection: sqlite3.Connection, after: int, limit: int) -> list[StreamChunk]:
        """Up to `limit` chunks after a position."""
        found = []
        if after < self.in_pages:
            found = read_pages(connection, self.id, self.facts.epoch, after, limit)
        skip = max(0, after - self.in_pages)
        return found + self.tail[skip : skip + limit - len(found)]

    def record(self) -> StreamRecord:
        """What `load` answers."""
        return StreamRecord(
            self.facts, self.head, self.paged_bytes + self.tail_bytes, None, None, self.node, self.fence,
            dict(self.producers),
        )  # fmt: skip


def insert(connection: sqlite3.Connection, facts: StreamFacts, node: str, lease_s: float, now_s: float) -> OpenStream:
    """A new stream."""
    values = (facts.key.tenant, facts.key.id, facts.epoch, _encode(facts), node, lease_s)
    made = connection.execute(
        "INSERT INTO streams (tenant, name, epoch, facts, node, fence, lease_s, producers) "
        "VALUES (?, ?, ?, ?, ?, 1, ?, '{}')",
        values,
    )
    assert made.lastrowid is not None
    return OpenStream(made.lastrowid, facts, node, 1, lease_s, now_s)


def finish(connection: sqlite3.Connection, stream: OpenStream, outcome: Outcome, ended_s: float) -> None:
    """Writes down how a stream ended."""
    values = (
        stream.head, stream.paged_bytes, outcome.value, ended_s, ended_s + stream.facts.ttl_s, stream.id,
    )  # fmt: skip
    connection.execute(
        "UPDATE streams SET head = ?, size_bytes = ?, outcome = ?, ended_s = ?, over_s = ? WHERE id = ?", values
    )


def find(connection: sqlite3.Connection, key: StreamKey) -> tuple[Any, ...] | None:
    """The row of a stream, as `SELECT` says."""
    row: tuple[Any, ...] | None = connection.execute(SELECT + "WHERE tenant = ? AND name = ?", key).fetchone()
    return row


def ended_record(row: tuple[Any, ...]) -> StreamRecord:
    """The record of a stream that has ended."""
    _, facts, node, fence, _, producers, head, size_bytes, outcome, ended_s = row
    return StreamRecord(
        facts_of(facts), head, size_bytes, Outcome(outcome), ended_s, node, fence, _producers(producers)
    )


def facts_of(blob: bytes) -> StreamFacts:
    """Facts as they were written. Raises `StoreError`."""
    try:
        return _facts(blob)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the record of a stream in the store cannot be read: {error}") from error


def load_open(connection: sqlite3.Connection, clock: Callable[[], float]) -> dict[StreamKey, OpenStream]:
    """Every stream that has not ended, as far as its pages go; leases count from now."""
    found = {}
    now_s = clock()
    rows = connection.execute(SELECT + "WHERE outcome IS NULL ORDER BY id")
    for id_, facts, node, fence, lease_s, producers, *_ in rows.fetchall():
        stream = OpenStream(id_, facts_of(facts), node, fence, lease_s, now_s)
        stream.producers = _producers(producers)
        stream.in_pages, stream.paged_bytes = last_page(connection, id_)
        found[stream.facts.key] = stream
    return found
