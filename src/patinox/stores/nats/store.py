"""NatsStore: streams in NATS JetStream (2.11 or newer), for many nodes at once.

A stream is a subject of its own (`wire.py` says what stands on it), and writing is publishing on the condition that the
message before is the last: appends, leases and deletions of a stream are in one order, and a writer that has lost the
lease cannot know of the last message without knowing of that. Beside it stands what finds a stream: the order of
creation, epochs, leases, ends. That is written before a stream is made and after it has changed, and what a crash
leaves between the two, `orphans` and `sweep` put right by what the subject says.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from patinox.core.chunks import StreamChunk
from patinox.core.keys import StreamKey
from patinox.errors import PatinoxError, StoreError, StreamExists, StreamGone, StreamNotFound
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
from patinox.stores.encoding import decode_facts, encode_facts, key_of, name_of, path_of
from patinox.stores.nats.address import parse_address
from patinox.stores.nats.connection import Connection
from patinox.stores.nats.leases import LeaseTable
from patinox.stores.nats.log import Log
from patinox.stores.nats.newsroom import Newsroom
from patinox.stores.nats.setup import prepare
from patinox.stores.nats.wire import CREATED, GONE, Body, State, Stored, Subjects, encode_wish, record_of
from patinox.stores.tasks import end

_FACTS = 4_096
_PAGE = 256
_SWEPT_AT_ONCE = 2_000
_KINDS = ("rec", "over", "open")


class NatsStore:
    """Streams in the NATS at `url` (`address.py` says how one is written). `clock` gives seconds, for leases."""

    durability = "NATS: not connected yet"
    is_shared = True
    is_immediate = False

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        address = parse_address(url)
        self._subjects = Subjects(address.prefix)
        self._connection = Connection(address, self._came_back)
        self._log = Log(self._connection, self._subjects)
        self._leases = LeaseTable(self._connection, self._subjects, clock)
        self._newsroom = Newsroom(self._connection, self._subjects)
        self._facts: OrderedDict[tuple[StreamKey, str], StreamFacts] = OrderedDict()
        self._sweep_from = 1
        self._reading: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<NatsStore {self._connection.address}, {self._leases}>"

    async def open(self) -> None:
        """Connects; makes the JetStream streams where they are missing, refuses those of a newer version."""
        try:
            await self._connection.open()
            self.durability = await prepare(self._connection, self._subjects)
            await self._leases.open()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Closes the connection."""
        if self._reading is not None:
            await end([self._reading])
        self._newsroom.clear()
        await self._connection.aclose()

    async def probe(self) -> None:
        """Asks JetStream for a sign of life."""
        said = await self._connection.ask(f"$JS.API.STREAM.INFO.{self._subjects.log_stream}", {})
        if "error" in said:
            raise StoreError(f"NATS at {self._connection.address}: {said['error'].get('description')}")

    def _came_back(self) -> None:
        self._log.forget_all()
        self._leases.begin_anew()
        self._newsroom.missed()
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read_leases(), name="patinox leases")

    async def _read_leases(self) -> None:
        with suppress(StoreError):  # then beats tell
            await self._leases.read_all()

    # ── writing ──

    async def create(self, facts: StreamFacts, node: str, lease_s: float) -> StreamRecord:
        """A new stream, leased to `node`."""
        key, epoch_key = facts.key, StreamKey(facts.key.tenant, facts.epoch)
        last = await self._log.last(key)
        if last is not None and last.body.kind != GONE:
            raise StreamExists(f"a stream {key.id!r} exists already")
        await asyncio.gather(
            self._leases.enrol(key, node, lease_s),
            self._connection.publish(self._subjects.meta("rec", key), b"", after=0),
            self._connection.publish(self._subjects.meta("epoch", epoch_key), path_of(key).encode(), after=0),
        )
        state = State(epoch=facts.epoch, node=node, fence=1, ttl_s=facts.ttl_s)
        body = Body(CREATED, state, encode_facts(facts))
        if await self._log.write(key, 0 if last is None else last.sequence, body) is None:
            raise StreamExists(f"a stream {key.id!r} exists already")
        self._leases.forget(path_of(key))
        self._leases.begin(key, node, 1, lease_s)
        return record_of(state, facts)

    async def append(self, appends: Sequence[Append]) -> Sequence[PatinoxError | None]:
        """Commits each, whole or not at all: a message each, streams beside each other."""
        chains: dict[StreamKey, list[int]] = {}
        for index, append in enumerate(appends):
            chains.setdefault(append.key, []).append(index)
        results: list[PatinoxError | None] = [None] * len(appends)

        async def follow(chain: list[int]) -> None:
            for index in chain:
                results[index] = await self._log.append(appends[index])
                if results[index] is None and appends[index].chunks and appends[index].chunks[-1].is_final:
                    with suppress(StoreError):  # the log says it; the rest is put right when the lease is over
                        await self._ended(appends[index].key)

        for failed in await asyncio.gather(*map(follow, chains.values()), return_exceptions=True):
            if isinstance(failed, BaseException):
                raise failed
        return results

    async def _ended(self, key: StreamKey, last: Stored | None = None) -> None:
        state = (last or await self._log.there(key)).body.state
        over_s = repr((state.ended_s or 0) + state.ttl_s)
        await self._connection.publish(self._subjects.meta("over", key), over_s.encode())
        await self._leases.close(key)

    # ── reading ──

    async def load(self, key: StreamKey) -> StreamRecord:
        """What is known of a stream."""
        return await self._record(key, await self._log.there(key))

    async def _record(self, key: StreamKey, last: Stored) -> StreamRecord:
        state = last.body.state
        facts = self._facts.get((key, state.epoch))
        if facts is None:
            found = await self._connection.get(self._subjects.log_stream, seq=last.first)
            if found is None:
                raise StreamGone(f"stream {key.id!r} was deleted")
            facts = decode_facts(msgspec.msgpack.decode(found.data, type=Body).data)
            self._facts[key, state.epoch] = facts
            if len(self._facts) > _FACTS:
                self._facts.popitem(last=False)
        return record_of(state, facts)

    async def locate(self, tenant: str, epoch: str) -> StreamKey | None:
        """Which stream an event id of this epoch belongs to."""
        subject = self._subjects.meta("epoch", StreamKey(tenant, epoch))
        found = await self._connection.get(self._subjects.meta_stream, last_by_subj=subject)
        return None if found is None else key_of(found.data.decode())

    async def read(self, key: StreamKey, after: int, limit: int) -> Sequence[StreamChunk]:
        """Up to `limit` chunks with a sequence above `after`."""
        return await self._log.read(key, after, limit)

    async def list(self, tenant: str | None, after: StreamKey | None, limit: int) -> Sequence[StreamRecord]:
        """Streams in the order they were created."""
        stream, begin = self._subjects.meta_stream, 1
        if after is not None:
            known = await self._connection.get(stream, last_by_subj=self._subjects.meta("rec", after))
            begin = 1 if known is None else known.sequence + 1
        records: list[StreamRecord] = []
        while len(records) < limit:
            page = await self._connection.page(stream, self._subjects.all_meta("rec", tenant), begin, _PAGE)
            if not page:
                break
            begin = page[-1].sequence + 1
            for found in page[: limit - len(records)]:
                with suppress(StreamNotFound, StreamGone):
                    records.append(await self.load(_key_at(found.subject)))
        return records

    # ── leases ──

    async def take_over(self, key: StreamKey, node: str, lease_s: float) -> StreamRecord:
        """Gives `node` the lease, with the next fence."""
        taken, before = await self._log.take_over(key, node)
        fence = taken.body.state.fence
        self._leases.begin(key, node, fence, lease_s)
        with suppress(StoreError):  # the log says it; this is for those who would find out anyway
            await self._leases.hold(key, node, fence, lease_s)
            if before and before != node:
                await self._tell_node(before, key, TakenOver(node, fence))
        return await self._record(key, taken)

    async def renew(self, leases: Mapping[StreamKey, int], node: str, lease_s: float) -> set[StreamKey]:
        """Holds leases; those that are not held any more."""
        if not leases:
            return set()
        await self._leases.beat(leases, node, lease_s)
        doubtful = [key for key, fence in leases.items() if self._leases.holder(key) != (node, fence)]
        return {key for key in doubtful if not await self._holds(key, node, leases[key], lease_s)}

    async def _holds(self, key: StreamKey, node: str, fence: int, lease_s: float) -> bool:
        last = await self._log.last(key)
        state = State() if last is None else last.body.state
        self._leases.forget(path_of(key))
        if state.fence and not state.outcome:
            self._leases.begin(key, state.node, state.fence, lease_s)
        return (state.node, state.fence) == (node, fence)

    async def orphans(self, limit: int) -> Sequence[StreamKey]:
        """Open streams whose lease is over, as far as this node has seen."""
        found: list[StreamKey] = []
        for lease in self._leases.overdue():
            if len(found) >= limit:
                break
            key = key_of(lease.path)
            last = await self._log.last(key)
            state = State() if last is None else last.body.state
            if last is None or last.body.kind == GONE:
                await self._leases.close(key)
            elif state.outcome:
                await self._ended(key, last)
            elif (state.node, state.fence) == (lease.node, lease.fence):
                if self._leases.is_overdue(lease.path):  # it may have been heard of while this waited
                    found.append(key)
            else:
                self._leases.forget(lease.path)
                self._leases.begin(key, state.node, state.fence, lease.lease_s)
        return found

    # ── news ──

    async def tell(self, key: StreamKey, wish: Wish) -> None:
        """Has the holder of the lease told."""
        holder = self._leases.holder(key)
        if holder is None:
            last = await self._log.last(key)
            holder = None if last is None else (last.body.state.node, last.body.state.fence)
        if holder is not None and holder[0]:
            await self._tell_node(holder[0], key, wish)

    async def _tell_node(self, node: str, key: StreamKey, said: Wish | TakenOver | Deleted) -> None:
        await self._connection.tell(self._subjects.node(node), encode_wish(key, said))

    async def attend(self, node: str, listener: HolderListener) -> Unwatch:
        """Has `listener` told what others do to streams that are leased to `node`."""
        return await self._newsroom.attend(node, listener)

    async def watch(self, key: StreamKey, listener: Listener) -> Unwatch:
        """Has `listener` told what happens to a stream from now on."""
        return await self._newsroom.watch(key, listener)

    # ── ends ──

    async def delete(self, key: StreamKey, *, trace: bool = True) -> None:
        """Forgets a stream; its trace stays for a day."""
        await self._delete(key, trace, None)

    async def _delete(self, key: StreamKey, trace: bool, over_s: float | None) -> bool:
        stream = self._subjects.meta_stream
        newest = await self._connection.get(stream, last_by_subj=f"{self._subjects.prefix}.meta.>")
        last = await self._log.end(key, trace, over_s)
        if last is None:
            return False
        below = 1 if newest is None else newest.sequence + 1  # what comes later is of a stream of the same name
        epoch = StreamKey(key.tenant, last.body.state.epoch)
        await asyncio.gather(
            *(
                self._connection.purge(stream, self._subjects.meta(kind, key), below)
                for kind in ("rec", "over", "open")
            ),
            self._connection.purge(stream, self._subjects.meta("epoch", epoch), below),
        )
        self._leases.forget(path_of(key))
        if last.body.state.node:
            await self._tell_node(last.body.state.node, key, Deleted())
        return True

    async def sweep(self, now_s: float, limit: int) -> int:
        """Deletes ended streams whose time to live is over; looks at so many at a time, and then goes on there."""
        gone = looked_at = 0
        while gone < limit and looked_at < _SWEPT_AT_ONCE:
            page = await self._connection.page(
                self._subjects.meta_stream, self._subjects.all_meta("over"), self._sweep_from, _PAGE
            )
            for found in page:
                if gone >= limit:
                    return gone
                self._sweep_from = found.sequence + 1
                if float(found.data) <= now_s:
                    gone += await self._delete(_key_at(found.subject), True, now_s)
            looked_at += len(page)
            if len(page) < _PAGE:
                self._sweep_from = 1
                break
        return gone


def _key_at(subject: str) -> StreamKey:
    tenant, id_ = subject.split(".")[-2:]
    return StreamKey(name_of(tenant), name_of(id_))
