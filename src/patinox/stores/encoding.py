"""How the shared engines are given what a store keeps: names that cannot collide, and chunks as bytes."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import msgspec

from patinox.core.chunks import StreamChunk
from patinox.core.codec import decode_data, encode_data
from patinox.core.keys import StreamKey
from patinox.errors import InvalidChunk, StoreError
from patinox.stores.base import StreamFacts

Blob = tuple[str, float, bool, bytes]
"""Of one chunk: kind, timestamp, whether it is final, payload. Its sequence and epoch are known from where it lies."""

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Blob).decode
_facts = msgspec.json.Decoder(StreamFacts).decode
_NOT_PLAIN = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPED = re.compile(rb"=([0-9A-F]{2})")


def payload_of(chunk: StreamChunk) -> bytes:
    """The payload of a chunk, made where it was made by hand and has none."""
    return chunk.payload or encode_data(chunk.data)


def encode_chunk(chunk: StreamChunk) -> bytes:
    """One chunk as bytes, without its sequence and epoch."""
    return _pack((chunk.kind, chunk.timestamp, chunk.is_final, payload_of(chunk)))


def decode_chunk(blob: bytes, sequence: int, epoch: str) -> StreamChunk:
    """The chunk again. Raises `StoreError` for bytes that are none, or of a kind that this version doesn't know."""
    try:
        kind, timestamp, is_final, payload = _unpack(blob)
        return StreamChunk(sequence, decode_data(kind, payload), timestamp, is_final, epoch, payload)
    except (msgspec.MsgspecError, InvalidChunk) as error:
        raise StoreError(f"chunk {epoch}-{sequence} in the store cannot be read: {error}") from error


def encode_facts(facts: StreamFacts) -> bytes:
    """The facts of a stream as JSON, for people to read too."""
    return msgspec.json.encode(facts)


def decode_facts(blob: bytes | str) -> StreamFacts:
    """The facts again. Raises `StoreError`."""
    try:
        return _facts(blob)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the record of a stream in the store cannot be read: {error}") from error


def path_of(key: StreamKey) -> str:
    """`tenant/id`, each percent-encoded (RFC 3986 section 2.1): no slash or brace comes from a name."""
    return f"{quote(key.tenant, safe='~')}/{quote(key.id, safe='~')}"


def key_of(path: str) -> StreamKey:
    """The key that `path_of` was given."""
    tenant, _, id_ = path.partition("/")
    return StreamKey(unquote(tenant), unquote(id_))


def token_of(name: str) -> str:
    """A name as one token of a NATS subject: never empty, and without dots, wildcards or spaces."""
    escaped = _NOT_PLAIN.sub(lambda match: b"=%02X" % match[0][0], name.encode())
    return "n" + escaped.decode()


def name_of(token: str) -> str:
    """The name that `token_of` was given."""
    return _ESCAPED.sub(lambda match: bytes((int(match[1], 16),)), token[1:].encode()).decode()
