"""What calls do to the file. Runs in the thread that owns the connection, inside the transaction of a group of calls.

Errors of the contract are raised, or returned, before anything is written, so a refused call needs no undoing. What
SQLite raises ends the whole group: it is rolled back, and `recover` reads again what is in memory of the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from patinox.core.chunks import StreamChunk
from patinox.core.keys import StreamKey
from patinox.errors import (
    PatinoxError,
    StoreConflict,
    StreamClosed,
    StreamExists,
    StreamFenced,
    StreamGone,
    StreamNotFound,
)
from patinox.stores.base import Append, StreamFacts, StreamRecord, TakenOver, outcome_of
from patinox.stores.sqlite.journal import MAX_BYTES, Journal
from patinox.stores.sqlite.pages import as_kept, read_pages
from patinox.stores.sqlite.room import Room
from patinox.stores.sqlite.streams import (
    SELECT,
    OpenStream,
    ended_record,
    facts_of,
    find,
    finish,
    insert,
    load_open,
)

_EVICTED_AT_ONCE = 8


class Removed(NamedTuple):
    """A stream that is gone, and the node that held it."""

    key: StreamKey
    node: str


class Engine:
    """The file, opened. `clock` gives seconds that never go back, `wall_clock` those since 1970."""

    def __init__(
        self, connection: sqlite3.Connection, max_bytes: int, trace_s: float, clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._connection = connection
        self._trace_s = trace_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._room = Room(connection, max_bytes)
        self._journal_bytes = min(MAX_BYTES, max_bytes // 16) if max_bytes else MAX_BYTES
        self._removed: list[Removed] = []
        self._taken_bytes = 0
        self._journal = Journal(connection, self._journal_bytes)
        self._open: dict[StreamKey, OpenStream] = {}
        self.recover()

    def __repr__(self) -> str:
        return f"<Engine {len(self._open)} open streams, {self._journal!r}, {self._room!r}>"

    # ── a group of calls ──

    def begin(self) -> None:
        """Begins the transaction of a group."""
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> list[Removed]:
        """Acknowledges the group, and does one bounded step of what there is to tidy up; what was removed."""
        self._journal.write()
        if self._room.is_short(self._taken_bytes):
            self._evict()
        self._taken_bytes = 0
        self._room.step()
        self._connection.execute("COMMIT")
        removed, self._removed = self._removed, []
        return removed

    def tidy(self) -> None:
        """Gives back what is free of the file: a bounded step, after the callers have their answers."""
        self._room.cut()

    def recover(self) -> None:
        """Undoes a group that failed: what is in memory is read again. Leases that go on are not cut short."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        before, self._removed, self._taken_bytes = self._open, [], 0
        self._journal = Journal(self._connection, self._journal_bytes)
        self._open = load_open(self._connection, self._clock)
        self._journal.recover({stream.id: stream for stream in self._open.values()})
        for key, stream in self._open.items():
            old = before.get(key)
            if old is not None and old.id == stream.id and old.fence == stream.fence:
                stream.leased_until_s = max(stream.leased_until_s, old.leased_until_s)

    @property
    def has_chores(self) -> bool:
        """Whether there is something to tidy up when nothing else is to be done."""
        return self._room.has_chores

    def aclose(self) -> None:
        """Gives the file back, the write-ahead log folded into it."""
        self._connection.close()

    # ── writing ──

    def create(self, facts: StreamFacts, node: str, lease_s: float) -> StreamRecord:
        """A new stream."""
        if facts.key in self._open or find(self._connection, facts.key) is not None:
            raise StreamExists(f"a stream {facts.key.id!r} exists already")
        self._connection.execute("DELETE FROM gone WHERE tenant = ? AND name = ?", facts.key)
        stream = insert(self._connection, facts, node, lease_s, self._clock())
        self._open[facts.key] = stream
        return stream.record()

    def append(self, appends: Sequence[Append]) -> list[PatinoxError | None]:
        """Takes appends into the group; what becomes of each."""
        return [self._append(append) for append in appends]

    def _append(self, append: Append) -> PatinoxError | None:
        stream = self._open.get(append.key)
        if stream is None:
            return self._append_to_ended(append)
        epoch = stream.facts.epoch
        if append.fence != stream.fence or (append.chunks and append.chunks[0].epoch not in ("", epoch)):
            return StreamFenced(f"another node writes stream {append.key.id!r} now")
        if append.after != stream.head:
            return self._repeated(append, stream.id, epoch, stream.head)
        chunks = [as_kept(chunk, epoch) for chunk in append.chunks]
        for sequence, chunk in enumerate(chunks, append.after + 1):
            if chunk.sequence != sequence:
                return StoreConflict(f"the chunks are not numbered from {append.after + 1}")
        if chunks:
            self._take(stream, chunks, append.producers)
        return None

    def _take(self, stream: OpenStream, chunks: list[StreamChunk], producers: Mapping[str, Any]) -> None:
        self._taken_bytes += stream.take(chunks, producers)
        last = chunks[-1]
        if last.is_final or stream.is_full:
            stream.flush(self._connection)
            self._journal.forget(stream)
        else:
            self._journal.note(stream, chunks, producers)
        if last.is_final:
            finish(self._connection, stream, outcome_of(last), last.timestamp)
            del self._open[stream.facts.key]

    def _append_to_ended(self, append: Append) -> PatinoxError | None:
        try:
            row = self._row(append.key)
        except PatinoxError as error:
            return error
        id_, facts, _, fence, _, _, head, _, outcome, _ = row
        if append.fence != fence:
            return StreamFenced(f"another node wrote stream {append.key.id!r}")
        refusal = self._repeated(append, id_, facts_of(facts).epoch, head)
        return None if refusal is None else StreamClosed(f"the stream has ended ({outcome})")

    def _repeated(self, append: Append, id_: int, epoch: str, head: int) -> PatinoxError | None:
        chunks = [as_kept(chunk, epoch) for chunk in append.chunks]
        if head == append.after + len(chunks) and chunks == self.read(append.key, append.after, len(chunks)):
            return None
        return StoreConflict(f"the append follows {append.after}, the head is {head}")

    # ── reading ──

    def load(self, key: StreamKey) -> StreamRecord:
        """What is known of a stream."""
        stream = self._open.get(key)
        return ended_record(self._row(key)) if stream is None else stream.record()

    def _row(self, key: StreamKey) -> tuple[Any, ...]:
        row = find(self._connection, key)
        if row is not None:
            return row
        trace = self._connection.execute("SELECT 1 FROM gone WHERE tenant = ? AND name = ?", key).fetchone()
        if trace is not None:
            raise StreamGone(f"stream {key.id!r} was deleted")
        raise StreamNotFound(f"there is no stream {key.id[:140]!r}")

    def locate(self, tenant: str, epoch: str) -> StreamKey | None:
        """Which stream has this epoch."""
        found = self._connection.execute("SELECT tenant, name FROM streams WHERE epoch = ? AND tenant = ?",
                                         (epoch, tenant)).fetchone()  # fmt: skip
        return None if found is None else StreamKey(*found)

    def read(self, key: StreamKey, after: int, limit: int) -> Sequence[StreamChunk]:
        """Up to `limit` chunks after a position."""
        stream = self._open.get(key)
        if stream is not None:
            return stream.read(self._connection, after, limit)
        row = find(self._connection, key)
        if row is None:
            return []
        return read_pages(self._connection, row[0], facts_of(row[1]).epoch, after, limit)

    def list(self, tenant: str | None, after: StreamKey | None, limit: int) -> Sequence[StreamRecord]:
        """Streams in the order they were created."""
        begin = 0
        if after is not None and (tenant is None or after.tenant == tenant):
            found = find(self._connection, after)
            begin = 0 if found is None else found[0]
        where, values = ("", ()) if tenant is None else ("tenant = ? AND ", (tenant,))
        rows = self._connection.execute(
            f"{SELECT}WHERE {where}id > ? ORDER BY id LIMIT ?",
            (*values, begin, limit),
        )
        return [self._record(row) for row in rows.fetchall()]

    def _record(self, row: tuple[Any, ...]) -> StreamRecord:
        return self._open[facts_of(row[1]).key].record() if row[8] is None else ended_record(row)

    # ── leases ──

    def take_over(self, key: StreamKey, node: str, lease_s: float) -> tuple[StreamRecord, str, TakenOver]:
        """Gives a node the lease; the record, who had it before, and what is to be told."""
        stream = self._open.get(key)
        if stream is None:
            raise StreamClosed(f"the stream has ended ({self._row(key)[8]})")
        before = stream.node
        self._connection.execute("UPDATE streams SET node = ?, fence = ?, lease_s = ? WHERE id = ?",
                                 (node, stream.fence + 1, lease_s, stream.id))  # fmt: skip
        stream.node, stream.fence, stream.lease_s = node, stream.fence + 1, lease_s
        stream.leased_until_s = self._clock() + lease_s
        return stream.record(), before, TakenOver(node, stream.fence)

    def renew(self, leases: Mapping[StreamKey, int], node: str, lease_s: float) -> set[StreamKey]:
        """Holds leases; those that are lost. In memory alone: after a restart they count from then."""
        until_s = self._clock() + lease_s
        lost = set()
        for key, fence in leases.items():
            stream = self._open.get(key)
            if stream is not None and stream.fence == fence and stream.node == node:
                stream.leased_until_s = until_s
            elif stream is not None or not self._holds_ended(key, fence, node):
                lost.add(key)
        return lost

    def _holds_ended(self, key: StreamKey, fence: int, node: str) -> bool:
        row = find(self._connection, key)
        return row is not None and (row[2], row[3]) == (node, fence)

    def orphans(self, limit: int) -> Sequence[StreamKey]:
        """Open streams whose lease is over."""
        now_s = self._clock()
        return list(islice((key for key, stream in self._open.items() if stream.leased_until_s <= now_s), limit))

    def holder(self, key: StreamKey) -> str | None:
        """The node that has the lease of an open stream."""
        stream = self._open.get(key)
        return None if stream is None else stream.node

    # ── ends ──

    def delete(self, key: StreamKey, trace: bool) -> None:
        """Forgets a stream."""
        row = find(self._connection, key)
        if row is not None:
            self._remove(row[0], key, row[2], self._wall_clock() if trace else None)

    def _remove(self, id_: int, key: StreamKey, node: str, trace_s: float | None) -> None:
        self._connection.execute("DELETE FROM streams WHERE id = ?", (id_,))
        self._room.doom(id_)
        if trace_s is not None:
            self._connection.execute("INSERT OR REPLACE INTO gone (tenant, name, at_s) VALUES (?, ?, ?)",
                                     (*key, trace_s))  # fmt: skip
        stream = self._open.pop(key, None)
        if stream is not None:
            self._journal.forget(stream)
        self._removed.append(Removed(key, node))

    def sweep(self, now_s: float, limit: int) -> int:
        """Deletes ended streams whose time is over, and old traces; how many of both."""
        over = self._connection.execute(
            "SELECT id, tenant, name, node FROM streams WHERE outcome IS NOT NULL AND over_s <= ? "
            "ORDER BY over_s LIMIT ?", (now_s, limit),
        ).fetchall()  # fmt: skip
        for id_, tenant, name, node in over:
            self._remove(id_, StreamKey(tenant, name), node, now_s)
        traces = self._connection.execute(
            "DELETE FROM gone WHERE (tenant, name) IN (SELECT tenant, name FROM gone WHERE at_s <= ? LIMIT ?)",
            (now_s - self._trace_s, limit - len(over)),
        ).rowcount
        return len(over) + traces

    def _evict(self) -> None:
        oldest = self._connection.execute(
            "SELECT id, tenant, name, node FROM streams WHERE outcome IS NOT NULL ORDER BY ended_s LIMIT ?",
            (_EVICTED_AT_ONCE,),
        ).fetchall()
        for id_, tenant, name, node in oldest:
            self._remove(id_, StreamKey(tenant, name), node, self._wall_clock())
