"""The connection to Redis or Valkey: commands and scripts, whichever way the engine is set up.

A call is tried once more where its connection was found dead (a restarted engine closes them all): every script of ours
may run twice. What then fails is a `StoreError`, within `timeout_s` or so.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ConstantBackoff, NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from patinox.errors import StoreError
from patinox.stores.redis.address import Address

Call = tuple[Sequence[str | bytes], Sequence[Any]]
"""The keys and the arguments of one script."""

_CONNECTIONS = 32
"""To each server. redis-py refuses what goes beyond, so there are no more calls at a time: the others wait."""


class Engine:
    """One set-up of Redis or Valkey. Opened before use, closed at the end.

    `failed_s` is when (of the loop's clock) it last did not answer.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._sentinel: Sentinel | None = None
        self._client: Any = None
        self._shas: dict[str, str] = {}
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self.failed_s = -float("inf")

    def __repr__(self) -> str:
        return f"<Engine {self.address.kind} {self.address}>"

    @property
    def is_cluster(self) -> bool:
        """Whether the keys of one script have to lie in one hash slot."""
        return self.address.kind == "cluster"

    async def open(self) -> None:
        """Connects. Raises `StoreError`."""
        if self._client is None:
            self._client = self._connect(Retry(ConstantBackoff(0.02), 1))
        await self.do("PING")

    async def aclose(self) -> None:
        """Closes every connection. Idempotent."""
        client, self._client = self._client, None
        sentinel, self._sentinel = self._sentinel, None
        if client is not None:
            await client.aclose()
        for each in sentinel.sentinels if sentinel is not None else ():
            await each.aclose()

    def _connect(self, retry: Retry) -> Any:
        address = self.address
        options = self._options(retry)
        if address.kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in address.hosts]
            return RedisCluster(startup_nodes=nodes, max_connections=_CONNECTIONS, **options)
        if address.kind == "sentinel":
            if self._sentinel is None:
                plain = {"socket_timeout": address.timeout_s, "socket_connect_timeout": address.timeout_s}
                self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
                    list(address.hosts), sentinel_kwargs={**plain, "protocol": 2}
                )
            return self._sentinel.master_for(address.service, db=address.db, **options)
        host, port = address.hosts[0]
        return Redis(host=host, port=port, db=address.db, **options)

    def _options(self, retry: Retry) -> dict[str, Any]:
        address = self.address
        return {
            "username": address.username, "password": address.password, "ssl": address.tls, **address.tls_options,
            "socket_timeout": address.timeout_s, "socket_connect_timeout": address.timeout_s,
            "retry": retry, "protocol": 2, "client_name": "patinox",
        }  # fmt: skip

    def listener(self, channel: str) -> Any:
        """A client of the server whose subscribers are told on `channel`; it does not reconnect by itself."""
        once = Retry(NoBackoff(), 0)
        if not self.is_cluster:
            return self._connect(once)
        node = self._client.get_node_from_key(channel)
        return Redis(host=node.host, port=node.port, **self._options(once))

    def home(self, channel: str) -> str:
        """The name of the server whose subscribers are told on `channel`."""
        return str(self._client.get_node_from_key(channel).name) if self.is_cluster else ""

    async def refresh(self) -> None:
        """Asks anew which server has which slots."""
        if self.is_cluster:
            await self._asked(self._client.nodes_manager.initialize)

    # ── commands ──

    async def do(self, *words: Any) -> Any:
        """One command's answer."""
        return await self._asked(lambda: self._opened().execute_command(*words))

    async def do_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Several commands' answers, in one round trip where one server has all keys."""
        if self.is_cluster:
            return list(await asyncio.gather(*(self.do(*words) for words in commands)))
        return await self._pipelined(commands)

    async def run(self, script: str, *calls: Call) -> list[Any]:
        """What a script answered to each call; calls with the same first key run in order."""
        sha = self._shas.get(script)
        if sha is None:
            sha = self._shas[script] = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        commands = [("EVALSHA", sha, len(keys), *keys, *args) for keys, args in calls]
        if self.is_cluster:
            return await self._run_in_cluster(script, commands)
        said = await self._pipelined(commands, raising=False)
        return [await self._unless_known(script, *pair) for pair in zip(commands, said, strict=True)]

    async def _unless_known(self, script: str, command: Sequence[Any], said: Any) -> Any:
        """Runs a script by its text where an engine that was restarted does not know it by its digest."""
        if isinstance(said, NoScriptError):
            return await self.do("EVAL", script, *command[2:])
        if isinstance(said, Exception):
            raise self._failed(said)
        return said

    async def _run_in_cluster(self, script: str, commands: Sequence[Sequence[Any]]) -> list[Any]:
        said: list[Any] = [None] * len(commands)
        chains: dict[Any, list[int]] = {}
        for index, command in enumerate(commands):
            chains.setdefault(command[3], []).append(index)

        async def follow(chain: list[int]) -> None:
            for index in chain:
                said[index] = await self._run_one(script, commands[index])

        await asyncio.gather(*(follow(chain) for chain in chains.values()))
        return said

    async def _run_one(self, script: str, command: Sequence[Any]) -> Any:
        try:
            return await self._in_turn(lambda: self._opened().execute_command(*command))
        except NoScriptError:
            return await self.do("EVAL", script, *command[2:])
        except (RedisError, OSError, TimeoutError) as error:
            raise self._failed(error) from error

    async def _pipelined(self, commands: Sequence[Sequence[Any]], *, raising: bool = True) -> list[Any]:
        if not commands:
            return []
        pipeline = self._opened().pipeline(transaction=False)
        for words in commands:
            pipeline.execute_command(*words)
        said: list[Any] = await self._asked(lambda: pipeline.execute(raise_on_error=raising))
        return said

    async def _asked(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        self._opened()
        try:
            return await self._in_turn(ask)
        except (RedisError, OSError, TimeoutError) as error:
            raise self._failed(error) from error

    def _opened(self) -> Any:
        if self._client is None:
            raise StoreError("the Redis store is not open")
        return self._client

    async def _in_turn(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(self.address.timeout_s):
            await self._turns.acquire()
        try:
            return await ask()
        finally:
            self._turns.release()

    def _failed(self, error: Exception) -> StoreError:
        if not isinstance(error, ResponseError):
            self.failed_s = asyncio.get_running_loop().time()
        return StoreError(f"Redis at {self.address}: {str(error) or type(error).__name__}")
