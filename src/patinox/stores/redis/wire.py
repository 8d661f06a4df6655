"""What scripts are given and answer, what followers are sent, and the names of the keys."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from patinox.core.chunks import Outcome
from patinox.core.keys import StreamKey
from patinox.errors import (
    PatinoxError,
    StoreConflict,
    StreamClosed,
    StreamFenced,
    StreamGone,
    StreamNotFound,
)
from patinox.stores.base import (
    Acknowledged,
    Append,
    CancelAsked,
    Deleted,
    Grown,
    News,
    StreamRecord,
    TakenOver,
    Watched,
    Wish,
    outcome_of,
)
from patinox.stores.encoding import decode_chunk, decode_facts, encode_chunk, key_of, path_of, payload_of

T = TypeVar("T")

_pack = msgspec.msgpack.Encoder().encode
_length = struct.Struct(">I").pack
_HEAD_WORDS = 7
_unpack_wish = msgspec.msgpack.Decoder(tuple[str, str, dict[str, Any]]).decode
_WISHES: dict[str, Any] = {kind.__name__: kind for kind in (CancelAsked, Watched, TakenOver, Deleted)}


class Layout:
    """The names of the index's keys, all in one hash slot."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.schema = f"{prefix}{{index}}:schema"
        self.order = f"{prefix}{{index}}:order"
        self.all = f"{prefix}{{index}}:all"
        self.leases = f"{prefix}{{index}}:leases"
        self.ends = f"{prefix}{{index}}:ends"

    def tenant(self, tenant: str) -> str:
        """The streams of one tenant, by creation."""
        return f"{self._prefix}{{index}}:of:{quote(tenant, safe='~')}"

    def epoch(self, tenant: str, epoch: str) -> str:
        """Which stream has this epoch."""
        return f"{self._prefix}{{index}}:epoch:{path_of(StreamKey(tenant, epoch))}"

    def node(self, node: str) -> str:
        """The channel on which a node is told what others want of its streams."""
        return f"{self._prefix}{{node}}:{quote(node, safe='~')}"

    def of(self, key: StreamKey) -> Place:
        """The keys of one stream."""
        return Place(self._prefix, path_of(key))


class Place:
    """The names of one stream's keys and channel, in a hash slot of its own. `path` is its name in the index."""

    __slots__ = ("chunks", "news", "path", "record")

    def __init__(self, prefix: str, path: str) -> None:
        self.path = path
        tagged = f"{prefix}{{{path}}}:"
        self.record = tagged + "record"
        self.chunks = tagged + "chunks"
        self.news = tagged + "news"


def packed(append: Append) -> bytes:
    """An append for the script, which sends the same bytes on to followers."""
    chunks = append.chunks
    final = chunks[-1] if chunks and chunks[-1].is_final else None
    producers = [word for id_, seen in append.producers.items() for word in (f"p:{id_}", f"{seen[0]} {seen[1]}")]
    head = [
        str(append.fence),
        str(append.after),
        str(sum([len(payload_of(chunk)) for chunk in chunks])),
        str(outcome_of(final)) if final is not None else "",
        repr(final.timestamp) if final is not None else "",
        chunks[0].epoch if chunks else "",
        str(len(producers)),
    ]
    words = [word.encode() for word in head + producers]
    words += [encode_chunk(chunk) for chunk in chunks]
    return b"".join([part for word in words for part in (_length(len(word)), word)])


def _words(blob: bytes) -> list[bytes]:
    words, at = [], 0
    while at < len(blob):
        end = at + 4 + int.from_bytes(blob[at : at + 4], "big")
        words.append(blob[at + 4 : end])
        at = end
    return words


def news_of(message: bytes) -> News | None:
    """What followers were sent. None for what this version does not know."""
    mark, rest = message[:1], message[1:]
    if mark == b"T":
        fence, _, node = rest.decode().partition(" ")
        return TakenOver(node, int(fence))
    if mark == b"D":
        return Deleted()
    if mark != b"\0":
        return None
    words = _words(message)
    after, epoch, blobs = int(words[1]), words[5].decode(), words[_HEAD_WORDS + int(words[6]) :]
    chunks = [decode_chunk(blob, sequence, epoch) for sequence, blob in enumerate(blobs, after + 1)]
    return Grown(after + len(chunks), chunks)


def packed_wish(key: StreamKey, wish: Wish | TakenOver | Deleted) -> bytes:
    """What the holder of a lease is told."""
    return _pack((path_of(key), type(wish).__name__, wish))


def wish_of(message: bytes) -> tuple[StreamKey, Wish | TakenOver | Deleted] | None:
    """What a holder was told. None for what this version does not know."""
    try:
        path, name, said = _unpack_wish(message)
        return key_of(path), msgspec.convert(said, _WISHES[name])
    except (msgspec.MsgspecError, KeyError):
        return None


def record_of(raw: Mapping[bytes, bytes], key: StreamKey) -> StreamRecord:
    """A record from its hash. Raises `StreamGone` for a trace, `StreamNotFound` for nothing."""
    if b"facts" not in raw:
        raise refusal(b"gone" if raw else b"missing", key)
    outcome, ended = raw.get(b"outcome"), raw.get(b"ended")
    return StreamRecord(
        decode_facts(raw[b"facts"]),
        head=int(raw[b"head"]),
        size_bytes=int(raw[b"size"]),
        outcome=None if outcome is None else Outcome(outcome.decode()),
        ended_s=None if ended is None else float(ended),
        node=raw[b"node"].decode(),
        fence=int(raw[b"fence"]),
        producers={name[2:].decode(): _acknowledged(said) for name, said in raw.items() if name.startswith(b"p:")},
    )


def _acknowledged(said: bytes) -> Acknowledged:
    epoch, _, seq = said.partition(b" ")
    return int(epoch), int(seq)


def refusal(said: bytes, key: StreamKey, after: int = 0) -> PatinoxError:
    """Why a script did not do what it was asked."""
    word, _, rest = said.decode().partition(" ")
    if word == "fenced":
        return StreamFenced(f"another node writes stream {key.id!r} now")
    if word == "closed":
        return StreamClosed(f"the stream has ended ({rest})")
    if word == "conflict":
        return StoreConflict(f"the append follows {after}, the head is {rest}")
    if word == "gone":
        return StreamGone(f"stream {key.id!r} was deleted")
    return StreamNotFound(f"there is no stream {key.id[:140]!r}")


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, rounded up where there is any."""
    return -int(-seconds * 1000 // 1)


def pairs(flat: Sequence[T]) -> Iterator[tuple[T, T]]:
    """A flat list of names and values, as RESP2 answers, two by two."""
    return zip(flat[::2], flat[1::2], strict=True)


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, at most `size` at a time."""
    return (items[begin : begin + size] for begin in range(0, len(items), size))
