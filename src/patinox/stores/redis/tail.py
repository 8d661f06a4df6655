"""The live tail: one connection to each server on which channels are followed, kept up.

Sharded pub/sub (Redis 7): in a cluster, what a stream publishes stays on the server that has it. A message is heard at
most once, so after a connection was away, those who follow through it are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from patinox.errors import StoreError
from patinox.stores.redis.engine import Engine
from patinox.stores.tasks import end

_PROBE_S = 2.0
_SILENCE_S = 5.0
_FIRST_WAIT_S = 0.02
_MAX_WAIT_S = 1.0
_FAILURES = (RedisError, OSError, TimeoutError, StoreError)


class Tail:
    """Channels that are followed. `hear(channel, message)` and `missed(channels)` are called in the event loop."""

    def __init__(
        self, engine: Engine, hear: Callable[[str, bytes], None], missed: Callable[[Iterable[str]], None]
    ) -> None:
        self.engine = engine
        self.hear = hear
        self.missed = missed
        self._lines: dict[str, _Line] = {}
        self._homes: dict[str, str] = {}
        self._is_open = True

    def __repr__(self) -> str:
        return f"<Tail {len(self._homes)} channels over {len(self._lines)} connections>"

    async def follow(self, *channels: str) -> None:
        """Returns when what is published from now on will be heard. Raises `StoreError`."""
        if not self._is_open:
            raise StoreError("the Redis store is closed")
        try:
            async with asyncio.timeout(self.engine.address.timeout_s):
                await asyncio.gather(*(self._line_for(channel).add(channel) for channel in channels))
        except (TimeoutError, RedisError, OSError) as error:
            raise StoreError(f"Redis at {self.engine.address}: no answer to a subscription") from error

    def leave(self, *channels: str) -> None:
        """Hears no more of them."""
        for channel in channels:
            line = self._lines.get(self._homes.pop(channel, "?"))
            if line is not None:
                line.remove(channel)

    async def aclose(self) -> None:
        """Ends every connection, for good."""
        self._is_open = False
        lines = list(self._lines.values())
        self._lines.clear()
        self._homes.clear()
        for line in lines:
            await line.aclose()

    def _line_for(self, channel: str) -> _Line:
        home = self._homes.get(channel)
        if home is None:
            home = self._homes[channel] = self.engine.home(channel)
        line = self._lines.get(home)
        if line is None:
            line = self._lines[home] = _Line(self, channel)
        return line

    async def rehome(self, channels: Iterable[str]) -> None:
        """After a failure in a cluster: takes channels that another server has now to that one. Raises `StoreError`."""
        await self.engine.refresh()
        for channel in channels:
            if self.engine.home(channel) != self._homes.get(channel):
                self.leave(channel)
                await self._line_for(channel).add(channel, is_new=False)


class _Line:
    """One connection, and the tasks that read it and see that it lives."""

    def __init__(self, tail: Tail, first: str) -> None:
        self._tail = tail
        self._wanted: dict[str, asyncio.Future[None]] = {}
        self._again: set[str] = set()  # those that were followed before the connection was away
        self._client = tail.engine.listener(first)
        self._unwanted: set[str] = set()  # to be left at the next occasion
        self._connection: Any = None
        loop = asyncio.get_running_loop()
        self._tasks = (loop.create_task(self._keep_up(), name="patinox tail"), loop.create_task(self._probe()))

    async def add(self, channel: str, *, is_new: bool = True) -> None:
        confirmed = self._wanted.get(channel)
        if confirmed is None:
            confirmed = self._wanted[channel] = asyncio.get_running_loop().create_future()
            self._unwanted.discard(channel)
            if not is_new:
                self._again.add(channel)
            if self._connection is not None:
                await self._say("SSUBSCRIBE", channel)
        if is_new:
            await asyncio.shield(confirmed)

    def remove(self, channel: str) -> None:
        confirmed = self._wanted.pop(channel, None)
        self._again.discard(channel)
        if confirmed is not None:
            confirmed.cancel()
            self._unwanted.add(channel)

    async def aclose(self) -> None:
        await end(self._tasks)
        for confirmed in self._wanted.values():
            confirmed.cancel()
        await self._hang_up()
        await self._client.aclose()

    async def _say(self, *words: str) -> None:
        await self._connection.send_command(*words, check_health=False)

    async def _keep_up(self) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                await self._call()
                wait_s = _FIRST_WAIT_S
                await self._listen()
            except _FAILURES:
                await self._hang_up()
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _MAX_WAIT_S)
            if self._tail.engine.is_cluster:
                with suppress(*_FAILURES):
                    await self._tail.rehome(tuple(self._wanted))

    async def _call(self) -> None:
        connection = self._client.connection_pool.make_connection()
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        self._unwanted.clear()
        for channel in tuple(self._wanted):  # one each: a cluster takes no two slots in one
            await self._say("SSUBSCRIBE", channel)

    async def _listen(self) -> None:
        while True:
            said = await self._connection.read_response(timeout=_SILENCE_S)
            if not isinstance(said, list) or len(said) < 3:
                continue  # the answer to a ping
            kind, channel = said[0], said[1].decode()
            if kind == b"smessage":
                if channel in self._wanted:
                    self._tail.hear(channel, said[2])
            elif kind == b"ssubscribe":
                self._confirmed(channel)
            elif kind == b"sunsubscribe" and channel in self._wanted:
                raise OSError(f"the server has {channel} no more")

    def _confirmed(self, channel: str) -> None:
        confirmed = self._wanted.get(channel)
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(None)
        if channel in self._again:
            self._again.discard(channel)
            self._tail.missed((channel,))

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        self._again |= {channel for channel, confirmed in self._wanted.items() if confirmed.done()}
        if connection is not None:
            with suppress(*_FAILURES):
                await connection.disconnect(nowait=True)

    async def _probe(self) -> None:
        """A server that has vanished without a word closes nothing: it is asked, and left when it is silent."""
        while True:
            await asyncio.sleep(_PROBE_S)
            with suppress(*_FAILURES):  # whoever reads it sees it too
                if self._connection is not None:
                    for channel in tuple(self._unwanted):
                        self._unwanted.discard(channel)
                        await self._say("SUNSUBSCRIBE", channel)
                    await self._say("PING")
