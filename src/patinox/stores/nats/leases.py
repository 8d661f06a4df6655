"""Who holds which stream, as this node has seen it: by its own clock, from what it has seen change.

Nodes say again and again which leases they hold (`beat`); a lease that nobody has spoken of for as long as it lasts is
over. After the connection was away all of them begin anew: nobody could be heard. The table has the open streams of all
nodes, so it grows with what is running and not with what is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec
from nats.aio.msg import Msg

from patinox.core.keys import StreamKey
from patinox.errors import StoreError
from patinox.stores.encoding import name_of, path_of
from patinox.stores.nats.connection import Connection
from patinox.stores.nats.wire import Subjects

_LEASES_A_BEAT = 2000
_PAGE = 1000
_KEEP_CLOSED_S = 3600  # that a stream is closed is told for so long, to whoever has not heard it yet


class Lease(msgspec.Struct, array_like=True):
    """Of one stream. `seen_s` is when (of this node's clock) it was last spoken of.

    `is_claim`: nothing but its node's own beats tells of it.
    """

    path: str
    node: str
    fence: int
    lease_s: float
    seen_s: float = 0.0
    is_claim: bool = False


class Beat(msgspec.Struct, array_like=True):
    """The leases that a node holds, by path; `number` tells its beats apart."""

    node: str
    number: str
    lease_s: float
    fences: dict[str, int]


_pack = msgspec.msgpack.Encoder().encode
_unpack_lease = msgspec.msgpack.Decoder(Lease).decode
_unpack_beat = msgspec.msgpack.Decoder(Beat).decode


class LeaseTable:
    """What is known of the leases of all nodes. `clock` gives seconds and never goes back."""

    def __init__(self, connection: Connection, subjects: Subjects, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._subjects = subjects
        self._clock = clock
        self._leases: dict[str, Lease] = {}
        self._heard: dict[str, asyncio.Future[None]] = {}
        self._numbers = 0

    def __repr__(self) -> str:
        return f"<LeaseTable {len(self._leases)} open streams>"

    async def open(self) -> None:
        """Listens, and reads what there is."""
        every = self._subjects.live(f"{self._subjects.prefix}.meta.>")  # one subscription, so that order is kept
        await self._connection.subscribe(every, self._hear)
        await self.read_all()

    async def read_all(self) -> None:
        """Every open stream that is kept; their leases begin now."""
        now_s, begin = self._clock(), 1
        for lease in self._leases.values():
            lease.seen_s = now_s
        while True:
            page = await self._connection.page(
                self._subjects.meta_stream, self._subjects.all_meta("open"), begin, _PAGE
            )
            for found in page:
                self._take(found.data)
            if len(page) < _PAGE:
                return
            begin = page[-1].sequence + 1

    def begin_anew(self) -> None:
        """The connection was away: nobody could be heard."""
        now_s = self._clock()
        for lease in self._leases.values():
            lease.seen_s = now_s

    # ── one stream ──

    async def enrol(self, key: StreamKey, node: str, lease_s: float) -> None:
        """Before a stream is made."""
        data = _pack(Lease(path_of(key), node, 1, lease_s))
        if await self._connection.publish(self._subjects.meta("open", key), data, after=0) is None:
            await self._replace_closed(key, data)

    async def _replace_closed(self, key: StreamKey, data: bytes) -> None:
        found = await self._connection.get(self._subjects.meta_stream, last_by_subj=self._subjects.meta("open", key))
        if found is not None and not found.data:
            await self._connection.publish(self._subjects.meta("open", key), data, after=found.sequence)

    async def hold(self, key: StreamKey, node: str, fence: int, lease_s: float) -> None:
        """The lease begins now, here, and wherever it is heard."""
        lease = Lease(path_of(key), node, fence, lease_s, self._clock())
        self.put(lease)
        await self._connection.publish(self._subjects.meta("open", key), _pack(lease))

    def put(self, lease: Lease) -> None:
        """What was learned of a stream, from whatever was read."""
        known = self._leases.get(lease.path)
        if known is None or known.fence <= lease.fence:
            self._leases[lease.path] = lease

    def begin(self, key: StreamKey, node: str, fence: int, lease_s: float) -> None:
        """A lease that begins now, as far as this node knows."""
        self.put(Lease(path_of(key), node, fence, lease_s, self._clock()))

    async def close(self, key: StreamKey) -> None:
        """The stream has ended, or is no more."""
        self._leases.pop(path_of(key), None)
        await self._connection.publish(self._subjects.meta("open", key), b"", ttl_s=_KEEP_CLOSED_S)

    def holder(self, key: StreamKey) -> tuple[str, int] | None:
        """The node and fence of a stream's lease, if it is open and more than a claim."""
        lease = self._leases.get(path_of(key))
        return None if lease is None or lease.is_claim else (lease.node, lease.fence)

    # ── all of them ──

    async def beat(self, leases: Mapping[StreamKey, int], node: str, lease_s: float) -> None:
        """Tells everybody which leases a node holds; returns when all that was told before it has been heard here too.

        Raises `StoreError`.
        """
        paths = [(path_of(key), fence) for key, fence in leases.items()]
        loop = asyncio.get_running_loop()
        heard: list[asyncio.Future[None]] = []
        numbers: list[str] = []
        try:
            for part, begin in enumerate(range(0, len(paths), _LEASES_A_BEAT)):
                self._numbers += 1
                number = f"{id(self):x}-{self._numbers}"
                numbers.append(number)
                heard.append(loop.create_future())
                self._heard[number] = heard[-1]
                beat = Beat(node, number, lease_s, dict(paths[begin : begin + _LEASES_A_BEAT]))
                await self._connection.publish(self._subjects.beat(node, part), _pack(beat))
            async with asyncio.timeout(self._connection.address.timeout_s):
                for future in heard:
                    await future
        except TimeoutError as error:
            raise StoreError(f"NATS at {self._connection.address}: a renewal of leases was not heard") from error
        finally:
            for number in numbers:
                del self._heard[number]

    def overdue(self) -> Sequence[Lease]:
        """Those that nobody has spoken of for as long as they last."""
        return [lease for lease in self._leases.values() if self._is_overdue(lease)]

    def is_overdue(self, path: str) -> bool:
        """Whether it still is one of those."""
        lease = self._leases.get(path)
        return lease is not None and self._is_overdue(lease)

    def _is_overdue(self, lease: Lease) -> bool:
        return self._clock() - lease.seen_s >= lease.lease_s

    def forget(self, path: str) -> None:
        """A stream that is not open."""
        self._leases.pop(path, None)

    # ── hearing ──

    async def _hear(self, message: Msg) -> None:
        kind, tenant, id_ = message.subject.split(".")[-3:]
        if kind == "open":
            if message.data:
                self._take(message.data)
            else:
                self.forget(path_of(StreamKey(name_of(tenant), name_of(id_))))
        elif kind == "beat":
            self._beaten(message.data)

    def _take(self, data: bytes) -> None:
        with suppress(msgspec.MsgspecError):
            if data:
                lease = _unpack_lease(data)
                lease.seen_s = self._clock()
                self.put(lease)

    def _beaten(self, data: bytes) -> None:
        with suppress(msgspec.MsgspecError):
            beat, now_s = _unpack_beat(data), self._clock()
            for path, fence in beat.fences.items():
                known = self._leases.get(path)
                is_claim = known is None or known.is_claim or (known.node, known.fence) != (beat.node, fence)
                self.put(Lease(path, beat.node, fence, beat.lease_s, now_s, is_claim))
            future = self._heard.get(beat.number)
            if future is not None and not future.done():
                future.set_result(None)
