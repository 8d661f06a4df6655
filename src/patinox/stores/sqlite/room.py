"""Deleting in bounded steps, and the cap on the file.

A stream that is deleted is unknown at once; its pages go later, some at a time, so that no commit waits for a large
one. What was given back is used again, and what is left over is cut off the file.
"""

from __future__ import annotations

import sqlite3

_PAGES_A_STEP = 64  # of ours, at most 32 KiB each but for single large chunks
_LOOK_EVERY_BYTES = 256 << 10
_SPARE_PAGES = 256  # of SQLite's: kept for what is written next
_CUT_A_STEP = 256
_FULL = 0.9


class Room:
    """How much of the file is in use. `max_bytes` of 0 is no cap."""

    def __init__(self, connection: sqlite3.Connection, max_bytes: int) -> None:
        self._connection = connection
        self._page_bytes = self._ask("page_size")
        self._max_bytes = max_bytes
        if max_bytes:
            connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // self._page_bytes)}")
        self._look_every_bytes = min(_LOOK_EVERY_BYTES, max_bytes // 64)
        self._written = self._look_every_bytes
        self._has_doomed = self._has_free = True

    def __repr__(self) -> str:
        return f"<Room {self.used_bytes} of {self._max_bytes or 'any'} bytes>"

    def _ask(self, pragma: str) -> int:
        return int(self._connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    @property
    def used_bytes(self) -> int:
        """What streams take of the file."""
        return (self._ask("page_count") - self._ask("freelist_count")) * self._page_bytes

    @property
    def has_chores(self) -> bool:
        """Whether there is something to delete, or to cut off."""
        return self._has_doomed or self._has_free

    def is_short(self, written: int) -> bool:
        """Whether streams must go, after so many more bytes. Looks now and then only."""
        self._written += written
        if not self._max_bytes or self._written < self._look_every_bytes or self._has_doomed:
            return False
        self._written = 0
        return self.used_bytes > self._max_bytes * _FULL

    def doom(self, stream: int) -> None:
        """Has the pages of a stream deleted, by and by."""
        self._connection.execute("INSERT INTO doomed (id) VALUES (?)", (stream,))
        self._has_doomed = True

    def step(self) -> None:
        """Deletes some pages that are doomed. Within a transaction."""
        if not self._has_doomed:
            return
        found = self._connection.execute("SELECT id FROM doomed LIMIT 1").fetchone()
        self._has_doomed = found is not None
        if found is not None:
            self._delete_some(found[0])

    def _delete_some(self, stream: int) -> None:
        deleted = self._connection.execute(
            "DELETE FROM pages WHERE id IN (SELECT id FROM pages WHERE id BETWEEN ? AND ? LIMIT ?)",
            (stream << 32, (stream + 1 << 32) - 1, _PAGES_A_STEP),
        ).rowcount
        self._has_free = True
        if deleted < _PAGES_A_STEP:
            self._connection.execute("DELETE FROM doomed WHERE id = ?", (stream,))
            self._written = self._look_every_bytes

    def cut(self) -> None:
        """Cuts some of what is free off the file, where there is much. Between transactions."""
        if self._has_doomed or not self._has_free:
            return
        self._has_free = self._ask("freelist_count") > _SPARE_PAGES
        if self._has_free:  # by script: `execute` takes one step of it, and that is one page
            self._connection.executescript(f"PRAGMA incremental_vacuum({_CUT_A_STEP})")
