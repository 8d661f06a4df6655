"""Who is told what: listeners in this process, behind the connections of the tail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from patinox.core.keys import StreamKey
from patinox.errors import StoreError
from patinox.stores.base import HolderListener, Listener, Unsure, Unwatch
from patinox.stores.redis.engine import Engine
from patinox.stores.redis.tail import Tail
from patinox.stores.redis.wire import Layout, news_of, wish_of

_Ear = Callable[[bytes | None], None]
"""Takes a message; None where some may have been missed."""


class Newsroom:
    """Listeners by channel. `missed_s` is when (of the loop's clock) a connection came back that had been away."""

    def __init__(self, engine: Engine, layout: Layout) -> None:
        self.missed_s = -float("inf")
        self._layout = layout
        self._tail = Tail(engine, self._hear, self._missed)
        self._ears: dict[str, list[_Ear]] = {}

    def __repr__(self) -> str:
        return f"<Newsroom {len(self._ears)} channels>"

    async def aclose(self) -> None:
        """Tells nobody any more."""
        await self._tail.aclose()
        self._ears.clear()

    async def watch(self, key: StreamKey, listener: Listener) -> Unwatch:
        """Has `listener` told of a stream from when this returns. Raises `StoreError`."""
        return await self._follow(self._layout.of(key).news, partial(_tell, listener))

    async def attend(self, node: str, listener: HolderListener) -> Unwatch:
        """Has `listener` told what `node` is told. Raises `StoreError`."""
        return await self._follow(self._layout.node(node), partial(_tell_holder, listener))

    async def _follow(self, channel: str, ear: _Ear) -> Unwatch:
        self._ears.setdefault(channel, []).append(ear)
        leave = partial(self._leave, channel, ear)
        try:
            await self._tail.follow(channel)
        except BaseException:
            leave()
            raise
        return leave

    def _leave(self, channel: str, ear: _Ear) -> None:
        ears = self._ears.get(channel, [])
        if ear in ears:
            ears.remove(ear)
        if not ears and self._ears.pop(channel, None) is not None:
            self._tail.leave(channel)

    def _hear(self, channel: str, message: bytes) -> None:
        for ear in tuple(self._ears.get(channel, ())):
            ear(message)

    def _missed(self, channels: Iterable[str]) -> None:
        self.missed_s = asyncio.get_running_loop().time()
        for channel in channels:
            for ear in tuple(self._ears.get(channel, ())):
                ear(None)


def _tell(listener: Listener, message: bytes | None) -> None:
    try:
        news = None if message is None else news_of(message)
    except StoreError:
        news = None  # of a version that is not ours: reading the store says what is wrong
    listener(Unsure() if news is None else news)


def _tell_holder(listener: HolderListener, message: bytes | None) -> None:
    said = None if message is None else wish_of(message)
    if said is not None:
        listener(*said)
