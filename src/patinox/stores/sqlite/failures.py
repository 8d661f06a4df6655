"""What SQLite's errors mean, in sentences that say what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from patinox.errors import StoreError

_SENTENCES = {
    sqlite3.SQLITE_BUSY: "{path} is in use by another process. One SQLite file serves one server: stop the other one, "
    "or name another file",
    sqlite3.SQLITE_FULL: "there is no room in {path}: the disk is full, or the file has reached max_store_bytes and "
    "holds nothing but open streams",
    sqlite3.SQLITE_READONLY: "{path} cannot be written: it, or its folder, is read-only",
    sqlite3.SQLITE_CANTOPEN: "{path} cannot be opened: is its folder there, and may this user write to it?",
    sqlite3.SQLITE_PERM: "{path} may not be opened by this user",
    sqlite3.SQLITE_NOTADB: "{path} is not a SQLite database. Name another file, or move this one away",
    sqlite3.SQLITE_CORRUPT: "{path} is damaged. Put back a copy, or move it away to begin with an empty store",
    sqlite3.SQLITE_IOERR: "the disk under {path} reports an error",
}
_SENTENCES[sqlite3.SQLITE_LOCKED] = _SENTENCES[sqlite3.SQLITE_BUSY]


def store_error(error: Exception, path: Path) -> StoreError:
    """The error of the store for one of SQLite, or of the operating system."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if isinstance(error, OSError):
        code = sqlite3.SQLITE_CANTOPEN
    sentence = _SENTENCES.get(code, "{path}: the store failed").format(path=path)
    return StoreError(f"{sentence} ({error})")
