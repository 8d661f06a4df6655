"""Who is told what: listeners in this process, behind subscriptions of the connection."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from patinox.core.keys import StreamKey
from patinox.errors import StoreError
from patinox.stores.base import Deleted, Grown, HolderListener, Listener, News, TakenOver, Unsure, Unwatch
from patinox.stores.nats.connection import Connection
from patinox.stores.nats.wire import APPENDED, GONE, TAKEN, Subjects, decode, decode_chunks, decode_wish


class Newsroom:
    """Listeners, each with a subscription of its own."""

    def __init__(self, connection: Connection, subjects: Subjects) -> None:
        self._connection = connection
        self._subjects = subjects
        self._watchers: set[_Watcher] = set()
        self._leaving: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Newsroom {len(self._watchers)} watchers>"

    def clear(self) -> None:
        """Tells nobody any more."""
        self._watchers.clear()

    def missed(self) -> None:
        """The connection was away."""
        for watcher in tuple(self._watchers):
            watcher.listener(Unsure())

    async def watch(self, key: StreamKey, listener: Listener) -> Unwatch:
        """Has `listener` told of a stream from when this returns. Raises `StoreError`."""
        watcher = _Watcher(listener)
        subscription = await self._connection.subscribe(self._subjects.live_log(key), watcher.hear)
        self._watchers.add(watcher)
        return partial(self._leave, subscription, watcher)

    async def attend(self, node: str, listener: HolderListener) -> Unwatch:
        """Has `listener` told what `node` is told. Raises `StoreError`."""

        async def hear(message: Msg) -> None:
            said = decode_wish(message.data)
            if said is not None:
                listener(*said)

        return partial(self._leave, await self._connection.subscribe(self._subjects.node(node), hear), None)

    def _leave(self, subscription: Subscription, watcher: _Watcher | None) -> None:
        if watcher is not None:
            watcher.is_deaf = True
            self._watchers.discard(watcher)
        leaving = asyncio.get_running_loop().create_task(_unsubscribe(subscription))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)


class _Watcher:
    """One listener, and the last message it was told of: a message that does not follow it tells of a loss."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.is_deaf = False
        self._last = ""

    async def hear(self, message: Msg) -> None:
        if self.is_deaf:
            return
        headers = message.headers or {}
        before, self._last = self._last, headers.get("Nats-Sequence", "")
        if before and headers.get("Nats-Last-Sequence", before) != before:
            self.listener(Unsure())
        news = _news(message.data)
        if news is not None:
            self.listener(news)


def _news(data: bytes) -> News | None:
    try:
        body = decode(data)
        state = body.state
        if body.kind == APPENDED:
            return Grown(state.head, () if body.part else decode_chunks(body.data, state))
    except StoreError:
        return Unsure()  # of a version that is not ours: reading the store says what is wrong
    if body.kind == TAKEN:
        return TakenOver(state.node, state.fence)
    return Deleted() if body.kind == GONE else None


async def _unsubscribe(subscription: Subscription) -> None:
    with suppress(NatsError, OSError, ValueError):
        await subscription.unsubscribe()
