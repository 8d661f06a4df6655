"""RedisStore: streams in Redis (7.2 or newer) or Valkey, for many nodes at once.

Of each stream three things lie in one hash slot: its record, its chunks (a list: a page of 1,000 costs the client a
tenth of what it costs from a Redis stream, and where numbers are dense no index is needed), and the channels on which
its followers are told. What is appended, what that acknowledges and what followers are sent is one script.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from patinox.core.chunks import StreamChunk
from patinox.core.keys import StreamKey
from patinox.errors import PatinoxError, StoreError, StreamExists
from patinox.stores.base import (
    Append,
    Deleted,
    HolderListener,
    Listener,
    StreamFacts,
    StreamRecord,
    TakenOver,
    Unwatch,
    Wish,
)
from patinox.stores.encoding import decode_chunk, decode_facts, encode_facts
from patinox.stores.redis import scripts
from patinox.stores.redis.address import parse_address
from patinox.stores.redis.durability import describe
from patinox.stores.redis.engine import Call, Engine
from patinox.stores.redis.index import Index
from patinox.stores.redis.newsroom import Newsroom
from patinox.stores.redis.wire import Layout, milliseconds, packed, packed_wish, pairs, record_of, refusal, slices

SCHEMA_VERSION = 1
_TRACE_MS = 24 * 3600 * 1000
_LINGER_MS = 24 * 3600 * 1000  # beyond its time to live, where no node is left to sweep
_APPENDS_A_CALL = 64
_BYTES_A_CALL = 1 << 20
_KEYS_A_CALL = 256


class RedisStore:
    """Streams in the Redis or Valkey at `url` (`address.py` says how one is written)."""

    durability = "Redis: not connected yet"
    is_shared = True
    is_immediate = False

    def __init__(self, url: str) -> None:
        self._engine = Engine(parse_address(url))
        self._layout = Layout(self._engine.address.prefix)
        self._index = Index(self._engine, self._layout)
        self._newsroom = Newsroom(self._engine, self._layout)

    def __repr__(self) -> str:
        return f"<RedisStore {self._engine.address}, {self._newsroom}>"

    async def open(self) -> None:
        """Connects; refuses a database of a newer version. Idempotent."""
        try:
            await self._engine.open()
            await self._index.check_version(SCHEMA_VERSION)
            self.durability = await describe(self._engine)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._newsroom.aclose()
        await self._engine.aclose()

    async def probe(self) -> None:
        """Asks for a sign of life."""
        await self._engine.do("PING")

    # ── writing ──

    async def create(self, facts: StreamFacts, node: str, lease_s: float) -> StreamRecord:
        """A new stream, leased to `node`."""
        at = self._layout.of(facts.key)
        is_new_epoch = await self._index.enrol(facts.key, facts.epoch, lease_s)
        token = secrets.token_hex(8)  # by which the same call is known that had to be sent twice
        times = (milliseconds(lease_s), milliseconds(facts.ttl_s))
        args = [encode_facts(facts), facts.epoch, token, node, *times]
        (said,) = await self._engine.run(scripts.CREATE, ([at.record, at.chunks], args))
        if said != b"exists":
            return StreamRecord(facts, node=node, fence=1)
        if is_new_epoch:
            await self._index.drop_epoch(facts.key, facts.epoch)
        raise StreamExists(f"a stream {facts.key.id!r} exists already")

    async def append(self, appends: Sequence[Append]) -> Sequence[PatinoxError | None]:
        """Commits each, whole or not at all; many streams in one script where one server has them all."""
        calls = [self._call(batch) for batch in self._batches(appends)]
        said = [word for words in await self._engine.run(scripts.APPEND, *calls) for word in words]
        results = [
            None if word == b"ok" else refusal(word, append.key, append.after)
            for word, append in zip(said, appends, strict=True)
        ]
        ended = [
            append.key
            for append, result in zip(appends, results, strict=True)
            if result is None and append.chunks and append.chunks[-1].is_final
        ]
        if ended:
            with suppress(StoreError):  # the record says it; the index is put right when the lease is over
                await self._index.end(ended)
        return results

    def _batches(self, appends: Sequence[Append]) -> Iterator[list[tuple[Append, bytes]]]:
        batch: list[tuple[Append, bytes]] = []
        size_bytes = 0
        for append in appends:
            blob = packed(append)
            is_full = len(batch) >= _APPENDS_A_CALL or size_bytes + len(blob) > _BYTES_A_CALL
            if batch and (is_full or self._engine.is_cluster):
                yield batch
                batch, size_bytes = [], 0
            batch.append((append, blob))
            size_bytes += len(blob)
        if batch:
            yield batch

    def _call(self, batch: Sequence[tuple[Append, bytes]]) -> Call:
        keys: list[str] = []
        for append, _ in batch:
            at = self._layout.of(append.key)
            keys += (at.record, at.chunks, at.news)
        return keys, [_LINGER_MS, *(blob for _, blob in batch)]

    # ── reading ──

    async def load(self, key: StreamKey) -> StreamRecord:
        """What is known of a stream."""
        return record_of(await self._engine.do("HGETALL", self._layout.of(key).record), key)

    async def locate(self, tenant: str, epoch: str) -> StreamKey | None:
        """Which stream an event id of this epoch belongs to."""
        return await self._index.locate(tenant, epoch)

    async def read(self, key: StreamKey, after: int, limit: int) -> Sequence[StreamChunk]:
        """Up to `limit` chunks with a sequence above `after`."""
        if limit <= 0:
            return []
        at = self._layout.of(key)
        page = ("LRANGE", at.chunks, after, after + limit - 1)
        epoch, blobs = await self._engine.do_all([("HGET", at.record, "epoch"), page])
        name = "" if epoch is None else epoch.decode()
        return [decode_chunk(blob, sequence, name) for sequence, blob in enumerate(blobs, after + 1)]

    async def list(self, tenant: str | None, after: StreamKey | None, limit: int) -> Sequence[StreamRecord]:
        """Streams in the order they were created."""
        begin = "-inf" if after is None else await self._index.begin_after(tenant, after)
        found: list[StreamRecord] = []
        while len(found) < limit:
            keys, begin = await self._index.page(tenant, begin, limit - len(found))
            if not keys:
                break
            raws = await self._engine.do_all([("HGETALL", self._layout.of(key).record) for key in keys])
            found += [record_of(raw, key) for raw, key in zip(raws, keys, strict=True) if b"facts" in raw]
        return found

    # ── leases ──

    async def take_over(self, key: StreamKey, node: str, lease_s: float) -> StreamRecord:
        """Gives `node` the lease, with the next fence."""
        at = self._layout.of(key)
        (said,) = await self._engine.run(scripts.TAKE_OVER, ([at.record, at.news], [node, milliseconds(lease_s)]))
        if isinstance(said, bytes):
            raise refusal(said, key)
        before, raw = said
        record = record_of(dict(pairs(raw)), key)
        with suppress(StoreError):  # the record says it; this is for those who would find out anyway
            await self._index.hold([key], lease_s)
            if before.decode() != node:
                await self._tell_node(before.decode(), key, TakenOver(node, record.fence))
        return record

    async def renew(self, leases: Mapping[StreamKey, int], node: str, lease_s: float) -> set[StreamKey]:
        """Holds leases; those that are not held any more."""
        keys = list(leases)
        calls: list[Call] = [
            ([self._layout.of(key).record for key in some], [node, milliseconds(lease_s), *(leases[k] for k in some)])
            for some in slices(keys, 1 if self._engine.is_cluster else _KEYS_A_CALL)
        ]
        flags = [flag for said in await self._engine.run(scripts.RENEW, *calls) for flag in said]
        await self._index.hold([key for key, is_held in zip(keys, flags, strict=True) if is_held], lease_s)
        return {key for key, is_held in zip(keys, flags, strict=True) if not is_held}

    async def orphans(self, limit: int) -> Sequence[StreamKey]:
        """Open streams whose lease is over, by the engine's clock.

        After the connection was away nobody is orphaned until a lease's length has passed: their nodes could not renew.
        """
        steady_s = asyncio.get_running_loop().time() - max(self._newsroom.missed_s, self._engine.failed_s)
        return [key for key, lease_s in await self._index.overdue(limit) if steady_s > lease_s]

    # ── news ──

    async def tell(self, key: StreamKey, wish: Wish) -> None:
        """Has the holder of the lease told."""
        node = await self._engine.do("HGET", self._layout.of(key).record, "node")
        if node:
            await self._tell_node(node.decode(), key, wish)

    async def _tell_node(self, node: str, key: StreamKey, said: Wish | TakenOver | Deleted) -> None:
        await self._engine.do("SPUBLISH", self._layout.node(node), packed_wish(key, said))

    async def attend(self, node: str, listener: HolderListener) -> Unwatch:
        """Has `listener` told what others do to streams that are leased to `node`."""
        return await self._newsroom.attend(node, listener)

    async def watch(self, key: StreamKey, listener: Listener) -> Unwatch:
        """Has `listener` told what happens to a stream from now on."""
        return await self._newsroom.watch(key, listener)

    # ── ends ──

    async def delete(self, key: StreamKey, *, trace: bool = True) -> None:
        """Forgets a stream; its trace stays for a day."""
        await self._delete(key, [_TRACE_MS if trace else "", ""])

    async def sweep(self, now_s: float, limit: int) -> int:
        """Deletes ended streams whose time to live is over; traces go by themselves."""
        over = await self._index.over(now_s, limit)
        return sum([await self._delete(key, [_TRACE_MS, repr(now_s)]) for key in over])

    async def _delete(self, key: StreamKey, args: Sequence[Any]) -> bool:
        at = self._layout.of(key)
        ((word, *facts),) = await self._engine.run(scripts.DELETE, ([at.record, at.chunks, at.news], args))
        if word == b"open":
            await self._index.reopen(key)
        elif word == b"kept":
            await self._index.keep(key, facts)
        else:
            await self._index.drop(key)
        if word == b"ok":
            await self._index.drop_epoch(key, decode_facts(facts[0]).epoch)
            await self._tell_node(facts[1].decode(), key, Deleted())
        return bool(word == b"ok")
