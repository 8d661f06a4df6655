"""The index: what finds a stream without its key, in a hash slot of its own.

It is written before a stream is made and after it has changed, so in the slot of the stream and here things are not
changed in one step. Every stream that is here is among the leases or among the ends, so whatever a crash leaves between
the two comes up in `overdue` or `over`, and is put right by what the record says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from patinox.core.keys import StreamKey
from patinox.errors import StoreError
from patinox.stores.encoding import key_of, path_of
from patinox.stores.redis import scripts
from patinox.stores.redis.engine import Call, Engine
from patinox.stores.redis.wire import Layout, milliseconds, slices

_KEYS_A_CALL = 256


class Index:
    """Order of creation, leases, ends and epochs."""

    def __init__(self, engine: Engine, layout: Layout) -> None:
        self._engine = engine
        self._layout = layout

    def __repr__(self) -> str:
        return f"<Index in {self._engine!r}>"

    async def check_version(self, version: int) -> None:
        """Marks a new database with `version`. Raises `StoreError` for one of a newer version."""
        await self._engine.do("SET", self._layout.schema, version, "NX")
        found = int(await self._engine.do("GET", self._layout.schema))
        if found > version:
            raise StoreError(
                f"the streams in Redis at {self._engine.address} are of version {found}, and this Patinox knows "
                f"{version}: run a newer one, or take another prefix (?prefix=…)"
            )

    async def enrol(self, key: StreamKey, epoch: str, lease_s: float) -> bool:
        """Before a stream is made. True where its epoch is new."""
        layout = self._layout
        keys = [layout.order, layout.all, layout.tenant(key.tenant), layout.leases, layout.epoch(key.tenant, epoch)]
        (is_new,) = await self._engine.run(scripts.ENROL, (keys, [path_of(key), milliseconds(lease_s)]))
        return bool(is_new)

    async def drop_epoch(self, key: StreamKey, epoch: str) -> None:
        """An epoch of no stream."""
        await self._engine.do("DEL", self._layout.epoch(key.tenant, epoch))

    async def locate(self, tenant: str, epoch: str) -> StreamKey | None:
        """Whose epoch it is."""
        path = await self._engine.do("GET", self._layout.epoch(tenant, epoch))
        return None if path is None else key_of(path.decode())

    async def page(self, tenant: str | None, begin: str, limit: int) -> tuple[list[StreamKey], str]:
        """Up to `limit` keys by creation, and where the next page begins. The first begins at `-inf`."""
        index = self._layout.all if tenant is None else self._layout.tenant(tenant)
        page = await self._engine.do("ZRANGE", index, begin, "+inf", "BYSCORE", "LIMIT", 0, limit)
        if not page:
            return [], begin
        return [key_of(path.decode()) for path in page], await self._after(index, page[-1])

    async def begin_after(self, tenant: str | None, key: StreamKey) -> str:
        """Where the page after `key` begins: at the start where it is not known."""
        return await self._after(self._layout.all if tenant is None else self._layout.tenant(tenant), path_of(key))

    async def _after(self, index: str, path: str | bytes) -> str:
        score = await self._engine.do("ZSCORE", index, path)
        return "-inf" if score is None else f"({int(float(score))}"

    # ── leases ──

    async def hold(self, keys: Sequence[StreamKey], lease_s: float) -> None:
        """Their leases last for another `lease_s`."""
        paths = [path_of(key) for key in keys]
        calls: list[Call] = [
            ([self._layout.leases], [milliseconds(lease_s), *some]) for some in slices(paths, _KEYS_A_CALL)
        ]
        await self._engine.run(scripts.HOLD, *calls)

    async def overdue(self, limit: int) -> list[tuple[StreamKey, float]]:
        """Open streams whose lease is over by the engine's clock, and how long it was; the rest is put right."""
        (paths,) = await self._engine.run(scripts.OVERDUE, ([self._layout.leases], [limit]))
        keys = [key_of(path.decode()) for path in paths]
        found = []
        for key, (word, *facts) in zip(keys, await self._states(keys), strict=True):
            if word == b"over":
                found.append((key, int(facts[0]) / 1000))
            elif word == b"held":
                await self.hold([key], int(facts[0]) / 1000)
            elif word == b"ended":
                await self.end([key])
            elif word != b"wait":
                await self.drop(key)
        return found

    async def _states(self, keys: Sequence[StreamKey]) -> list[Any]:
        size = 1 if self._engine.is_cluster else _KEYS_A_CALL
        calls: list[Call] = [([self._layout.of(key).record for key in some], []) for some in slices(keys, size)]
        return [state for states in await self._engine.run(scripts.LEASE_STATE, *calls) for state in states]

    # ── ends ──

    async def end(self, keys: Sequence[StreamKey]) -> None:
        """Takes streams that have ended from the leases to the ends."""
        commands: list[tuple[Any, ...]] = []
        for key, (word, *facts) in zip(keys, await self._states(keys), strict=True):
            if word == b"ended":
                commands.append(("ZADD", self._layout.ends, _over_s(facts), path_of(key)))
                commands.append(("ZREM", self._layout.leases, path_of(key)))
        await self._engine.do_all(commands)

    async def over(self, now_s: float, limit: int) -> list[StreamKey]:
        """Streams whose time to live is over, by what is here."""
        page = await self._engine.do("ZRANGE", self._layout.ends, "-inf", repr(now_s), "BYSCORE", "LIMIT", 0, limit)
        return [key_of(path.decode()) for path in page]

    async def keep(self, key: StreamKey, facts: Sequence[bytes]) -> None:
        """An ended stream whose time is not over yet; `facts` are its end in seconds and its time to live in ms."""
        await self._engine.do("ZADD", self._layout.ends, _over_s(facts), path_of(key))

    async def reopen(self, key: StreamKey) -> None:
        """A stream that was ended, deleted and made again."""
        await self._engine.do("ZREM", self._layout.ends, path_of(key))

    async def drop(self, key: StreamKey) -> None:
        """A stream that is no more."""
        path, layout = path_of(key), self._layout
        sets = (layout.all, layout.tenant(key.tenant), layout.ends, layout.leases)
        await self._engine.do_all([("ZREM", name, path) for name in sets])


def _over_s(facts: Sequence[bytes]) -> str:
    return repr(float(facts[0]) + int(facts[1]) / 1000)
