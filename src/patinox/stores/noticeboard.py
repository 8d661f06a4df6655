"""News within one process: who watches which stream, and which node listens for what others want of its own."""

from __future__ import annotations

from functools import partial

from patinox.core.keys import StreamKey
from patinox.stores.base import Deleted, HolderListener, Listener, News, TakenOver, Unwatch, Wish


class Noticeboard:
    """Calls listeners, in the event loop and at once."""

    def __init__(self) -> None:
        self._listeners: dict[StreamKey, list[Listener]] = {}
        self._holders: dict[str, HolderListener] = {}

    def __repr__(self) -> str:
        return f"<Noticeboard {len(self._listeners)} streams watched, {len(self._holders)} nodes>"

    @property
    def has_watchers(self) -> bool:
        """Whether anybody watches any stream."""
        return bool(self._listeners)

    def watch(self, key: StreamKey, listener: Listener) -> Unwatch:
        """Has `listener` told of a stream; returns what ends that."""
        self._listeners.setdefault(key, []).append(listener)
        return partial(self._unwatch, key, listener)

    def _unwatch(self, key: StreamKey, listener: Listener) -> None:
        listeners = self._listeners.get(key, [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            self._listeners.pop(key, None)

    def tell(self, key: StreamKey, news: News) -> None:
        """Tells those who watch a stream."""
        for listener in tuple(self._listeners.get(key, ())):
            listener(news)

    def attend(self, node: str, listener: HolderListener) -> Unwatch:
        """Has `listener` told of the streams of a node; returns what ends that."""
        self._holders[node] = listener
        return partial(self._leave, node, listener)

    def _leave(self, node: str, listener: HolderListener) -> None:
        if self._holders.get(node) is listener:
            del self._holders[node]

    def tell_holder(self, node: str, key: StreamKey, news: Wish | TakenOver | Deleted) -> None:
        """Tells the node that holds a stream."""
        listener = self._holders.get(node)
        if listener is not None:
            listener(key, news)
