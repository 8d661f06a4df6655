"""What stands in JetStream: the subjects, and the messages of a stream's subject.

    log.<tenant>.<id>         a stream: created, appends, takings over, and at last that it is gone
    meta.rec.<tenant>.<id>    that it exists: in the order of creation
    meta.open.<tenant>.<id>   who has the lease, under which fence; empty once the stream has ended
    meta.over.<tenant>.<id>   when the time to live of an ended stream is over
    meta.epoch.<tenant>.<e>   which stream has this epoch
    meta.beat.<node>.<n>      the leases that a node holds, again and again
    node.<node>               what others want of a node's streams; not kept

Every message on `log` carries the whole state of its stream after it, so the last one tells all; and each is published
on the condition that the one before is the last (`Nats-Expected-Last-Subject-Sequence`). Taking over is a message too:
from then on whatever another writer sends follows a message that is not the last any more, and is refused.

JetStream republishes what it has stored under `live.`: that is what followers hear.
"""

from __future__ import annotations

from typing import Any

import msgspec

from patinox.core.chunks import Outcome, StreamChunk
from patinox.core.keys import StreamKey
from patinox.errors import StoreError
from patinox.stores.base import (
    Acknowledged,
    Append,
    CancelAsked,
    Deleted,
    StreamFacts,
    StreamRecord,
    TakenOver,
    Watched,
    Wish,
    outcome_of,
)
from patinox.stores.encoding import decode_chunk, encode_chunk, key_of, path_of, payload_of, token_of

CREATED, APPENDED, PART, TAKEN, GONE = "created", "appended", "part", "taken", "gone"


class State(msgspec.Struct, frozen=True, array_like=True):
    """A stream after a message. `first` is the JetStream sequence of its creation, 0 in that message itself."""

    epoch: str = ""
    first: int = 0
    node: str = ""
    fence: int = 0
    head: int = 0
    size_bytes: int = 0
    ttl_s: float = 0
    outcome: str = ""
    ended_s: float | None = None
    producers: dict[str, Acknowledged] = {}


class Body(msgspec.Struct, frozen=True, array_like=True):
    """One message. `part` is the JetStream sequence of its first part, where it was too large for one."""

    kind: str
    state: State
    data: bytes = b""
    part: int = 0


class Stored(msgspec.Struct, frozen=True):
    """A message of a stream's subject, and where it stands."""

    sequence: int
    body: Body

    @property
    def first(self) -> int:
        """Where the stream begins."""
        return self.body.state.first or self.sequence


_pack = msgspec.msgpack.Encoder().encode
_unpack_body = msgspec.msgpack.Decoder(Body).decode
_unpack_blobs = msgspec.msgpack.Decoder(list[bytes]).decode
_unpack_wish = msgspec.msgpack.Decoder(tuple[str, str, dict[str, Any]]).decode
_WISHES: dict[str, Any] = {kind.__name__: kind for kind in (CancelAsked, Watched, TakenOver, Deleted)}


class Subjects:
    """The names of subjects and JetStream streams, by the prefix of the store."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.log_stream = f"{prefix}_log"
        self.meta_stream = f"{prefix}_meta"

    def log(self, key: StreamKey) -> str:
        """A stream's own."""
        return f"{self.prefix}.log.{_tokens(key)}"

    def live_log(self, key: StreamKey) -> str:
        """Where followers hear it."""
        return f"{self.prefix}.live.log.{_tokens(key)}"

    def meta(self, kind: str, key: StreamKey) -> str:
        """What is known of a stream beside itself."""
        return f"{self.prefix}.meta.{kind}.{_tokens(key)}"

    def all_meta(self, kind: str, tenant: str | None = None) -> str:
        """The same of every stream, or of every stream of a tenant."""
        return f"{self.prefix}.meta.{kind}.{'*' if tenant is None else token_of(tenant)}.*"

    def beat(self, node: str, number: int) -> str:
        """The leases that a node holds."""
        return f"{self.prefix}.meta.beat.{token_of(node)}.{number}"

    def node(self, node: str) -> str:
        """What a node is told."""
        return f"{self.prefix}.node.{token_of(node)}"

    def live(self, subject: str) -> str:
        """Where a subject is heard once it is stored."""
        return f"{self.prefix}.live.{subject.removeprefix(self.prefix + '.')}"


def _tokens(key: StreamKey) -> str:
    return f"{token_of(key.tenant)}.{token_of(key.id)}"


def encode(body: Body) -> bytes:
    """A message as bytes."""
    return _pack(body)


def decode(data: bytes) -> Body:
    """The message again. Raises `StoreError`."""
    try:
        return _unpack_body(data)
    except msgspec.MsgspecError as error:
        raise StoreError(f"a message of a stream in NATS cannot be read: {error}") from error


def encode_chunks(chunks: Any) -> bytes:
    """The chunks of one append."""
    return _pack([encode_chunk(chunk) for chunk in chunks])


def decode_chunks(data: bytes, state: State) -> list[StreamChunk]:
    """The chunks of an append, after which the stream was in `state`. Raises `StoreError`."""
    try:
        blobs = _unpack_blobs(data)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the chunks of a stream in NATS cannot be read: {error}") from error
    begin = state.head - len(blobs) + 1
    return [decode_chunk(blob, sequence, state.epoch) for sequence, blob in enumerate(blobs, begin)]


def after_append(state: State, first: int, append: Append) -> State:
    """The state that an append leads to."""
    chunks = append.chunks
    final = chunks[-1] if chunks and chunks[-1].is_final else None
    return msgspec.structs.replace(
        state,
        first=first,
        head=state.head + len(chunks),
        size_bytes=state.size_bytes + sum([len(payload_of(chunk)) for chunk in chunks]),
        outcome=state.outcome if final is None else str(outcome_of(final)),
        ended_s=state.ended_s if final is None else final.timestamp,
        producers={**state.producers, **append.producers} if append.producers else state.producers,
    )


def record_of(state: State, facts: StreamFacts) -> StreamRecord:
    """What the contract calls it."""
    return StreamRecord(
        facts, state.head, state.size_bytes, Outcome(state.outcome) if state.outcome else None, state.ended_s,
        state.node, state.fence, state.producers,
    )  # fmt: skip


def encode_wish(key: StreamKey, wish: Wish | TakenOver | Deleted) -> bytes:
    """What the holder of a lease is told."""
    return _pack((path_of(key), type(wish).__name__, wish))


def decode_wish(message: bytes) -> tuple[StreamKey, Wish | TakenOver | Deleted] | None:
    """What a holder was told. None for what this version does not know."""
    try:
        path, name, said = _unpack_wish(message)
        return key_of(path), msgspec.convert(said, _WISHES[name])
    except (msgspec.MsgspecError, KeyError):
        return None
