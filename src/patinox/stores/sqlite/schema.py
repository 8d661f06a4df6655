"""The tables, their versions, and whose file this is.

The header of the file says both: `application_id` that it is ours, `user_version` which steps have been done. A file
of an earlier version is brought forward, step by step, each in a transaction; one of a later version is refused.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from patinox.errors import StoreError

Synchronous = Literal["full", "normal"]

APPLICATION_ID = 0x50544E58  # "PTNX"
_WAL_BYTES = 16 << 20
_CACHE_KIB = 16 << 10

# `id` of a page is `stream << 32 | first sequence`: streams side by side, each in its order, found by an integer.
# Of an open stream, its head is where pages and journal end; the columns after `producers` are for ended ones.
_FIRST = """
CREATE TABLE streams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    epoch TEXT NOT NULL,
    facts BLOB NOT NULL,
    node TEXT NOT NULL,
    fence INTEGER NOT NULL,
    lease_s REAL NOT NULL,
    producers BLOB NOT NULL,
    head INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    outcome TEXT,
    ended_s REAL,
    over_s REAL
);
CREATE UNIQUE INDEX streams_by_key ON streams (tenant, name);
CREATE INDEX streams_by_epoch ON streams (epoch);
CREATE INDEX streams_by_tenant ON streams (tenant);
CREATE INDEX streams_open ON streams (id) WHERE outcome IS NULL;
CREATE INDEX streams_by_end ON streams (ended_s) WHERE outcome IS NOT NULL;
CREATE INDEX streams_by_time ON streams (over_s) WHERE outcome IS NOT NULL;
CREATE TABLE pages (
    id INTEGER PRIMARY KEY,
    last INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    chunks BLOB NOT NULL
);
CREATE TABLE journal (id INTEGER PRIMARY KEY, entries BLOB NOT NULL);
CREATE TABLE doomed (id INTEGER PRIMARY KEY);
CREATE TABLE gone (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    at_s REAL NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
CREATE INDEX gone_by_time ON gone (at_s);
"""

STEPS: Sequence[str] = (_FIRST,)
"""What brings a file from version n to n + 1. Never changed once released, only added to."""


def connect(path: Path, synchronous: Synchronous, busy_timeout_s: float, steps: Sequence[str]) -> sqlite3.Connection:
    """Opens the file for this process alone, and brings it to the newest version.

    Raises `StoreError` for a file that is somebody else's or of a later version, and what SQLite raises.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # answers are private: SQLite's own default is 0644
    connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        version = _version(connection, path, len(steps))
        _configure(connection, synchronous)
        connection.execute("BEGIN EXCLUSIVE")  # from here on the file is this process's
        connection.execute("COMMIT")
        for number, step in enumerate(steps[version:], version + 1):
            _bring_to(connection, number, step)
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if owner != APPLICATION_ID:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if owner or version or tables:
            raise StoreError(f"{path} is a database of another program. Name another file")
        return 0
    if version > newest:
        raise StoreError(
            f"{path} was written by a later version of Patinox (schema {version}; this one knows {newest}). "
            "Use that version, or name another file"
        )
    return int(version)


def _configure(connection: sqlite3.Connection, synchronous: Synchronous) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has its say only before the first table
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if synchronous == 'full' else 'NORMAL'}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")


def _bring_to(connection: sqlite3.Connection, version: int, step: str) -> None:
    mark = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};"
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{step}\n;{mark}\nCOMMIT;")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
