"""Chunks in pages: up to 256 of one stream in a row, as MessagePack."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from patinox.core.chunks import StreamChunk
from patinox.core.codec import decode_data, encode_data
from patinox.errors import InvalidChunk, StoreError

PAGE_CHUNKS = 256
PAGE_BYTES = 32 << 10

Row = tuple[str, float, bool, bytes]
"""Of one chunk: kind, timestamp, whether it is final, payload. Sequence and epoch are known from where it lies."""

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Row]).decode


def rows_of(chunks: Sequence[StreamChunk]) -> list[Row]:
    """What is kept of chunks."""
    return [(chunk.data.kind, chunk.timestamp, chunk.is_final, chunk.payload) for chunk in chunks]


def chunks_of(rows: Sequence[Row], first: int, epoch: str) -> list[StreamChunk]:
    """The chunks again, numbered from `first`. Raises `StoreError` for a kind that this version does not know."""
    try:
        return [
            StreamChunk(sequence, decode_data(kind, payload), timestamp, is_final, epoch, payload)
            for sequence, (kind, timestamp, is_final, payload) in enumerate(rows, first)
        ]
    except InvalidChunk as error:
        raise StoreError(f"chunks of {epoch} after {first - 1} in the store cannot be read: {error}") from error


def as_kept(chunk: StreamChunk, epoch: str) -> StreamChunk:
    """A chunk as it will be read: with its epoch and payload, where it was made by hand and has none."""
    if chunk.payload and chunk.epoch:
        return chunk
    return msgspec.structs.replace(chunk, epoch=epoch, payload=chunk.payload or encode_data(chunk.data))


def write_pages(connection: sqlite3.Connection, stream: int, chunks: Sequence[StreamChunk], size_bytes: int) -> None:
    """Writes chunks, in as many pages as they need; `size_bytes` is what the stream has before them."""
    for page in _cut(chunks):
        size_bytes += sum([len(chunk.payload) for chunk in page])
        values = (stream << 32 | page[0].sequence, page[-1].sequence, size_bytes, _pack(rows_of(page)))
        connection.execute("INSERT INTO pages (id, last, size_bytes, chunks) VALUES (?, ?, ?, ?)", values)


def _cut(chunks: Sequence[StreamChunk]) -> Iterator[Sequence[StreamChunk]]:
    begin, size_bytes = 0, 0
    for end, chunk in enumerate(chunks):
        if end > begin and (end - begin == PAGE_CHUNKS or size_bytes + len(chunk.payload) > PAGE_BYTES):
            yield chunks[begin:end]
            begin, size_bytes = end, 0
        size_bytes += len(chunk.payload)
    yield chunks[begin:]


def read_pages(connection: sqlite3.Connection, stream: int, epoch: str, after: int, limit: int) -> list[StreamChunk]:
    """Up to `limit` chunks after a position, from where pages hold them."""
    base = stream << 32
    found: list[StreamChunk] = []
    pages = connection.execute(
        "SELECT id, chunks FROM pages WHERE id >= coalesce((SELECT max(id) FROM pages WHERE id BETWEEN ?1 AND ?2), ?1)"
        " AND id <= ?3 ORDER BY id",
        (base, base + after + 1, base + after + limit),
    )
    for id_, blob in pages:
        first = id_ - base
        rows = _unpack_page(blob, stream)
        skip = max(0, after + 1 - first)
        found += chunks_of(rows[skip : skip + limit - len(found)], first + skip, epoch)
        if len(found) >= limit:
            break
    pages.close()
    return found


def _unpack_page(blob: bytes, stream: int) -> list[Row]:
    try:
        return _unpack(blob)
    except msgspec.MsgspecError as error:
        raise StoreError(f"a page of stream {stream} in the store cannot be read: {error}") from error


def last_page(connection: sqlite3.Connection, stream: int) -> tuple[int, int]:
    """Where the pages of a stream end: the last sequence, and the bytes of all payloads."""
    found = connection.execute(
        "SELECT last, size_bytes FROM pages WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
        (stream << 32, (stream + 1 << 32) - 1),
    ).fetchone()
    return found or (0, 0)
