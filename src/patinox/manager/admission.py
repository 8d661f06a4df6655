"""Admission: how many may come in. Each refusal says which limit it is, and when to try again.

max_connections               readers of the server, whatever they read    503
max_connections_per_stream    readers of one stream                        429
max_connections_per_address   readers from one network address             429
max_streams                   streams held                                 503
max_streams_per_producer      open streams of one producer                 429
"""

from __future__ import annotations

from collections import Counter

from patinox.config.streaming import StreamingConfig
from patinox.delivery.feed import Feed
from patinox.errors import LimitExceeded


class Admission:
    """Counts what has come in, for one manager."""

    def __init__(self, config: StreamingConfig) -> None:
        self._config = config
        self.connections = 0
        self.refused: Counter[str] = Counter()
        self._by_address: Counter[str] = Counter()
        self._by_producer: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Admission {self.connections} connections>"

    def enter(self, feed: Feed | None, address: str) -> None:
        """Lets a reader in, to be let out with `leave`. Raises `LimitExceeded`."""
        self.check(feed, address)
        self.connections += 1
        if self._config.max_connections_per_address:
            self._by_address[address] += 1

    def check(self, feed: Feed | None, address: str) -> None:
        """Whether a reader would be let in: to be asked before something is begun for it. Raises `LimitExceeded`."""
        config = self._config
        if self.connections >= config.sse.max_connections:
            raise self._refusal("max_connections", config.sse.max_connections, status=503)
        if feed is not None:
            self.check_feed(feed)
        per_address = config.max_connections_per_address
        if 0 < per_address <= self._by_address[address]:
            raise self._refusal("max_connections_per_address", per_address)

    def check_feed(self, feed: Feed) -> None:
        """Whether one more reader of this stream would be let in, over a connection that already was."""
        per_stream = self._config.max_connections_per_stream
        if 0 < per_stream <= feed.readers:
            raise self._refusal("max_connections_per_stream", per_stream)

    def leave(self, address: str) -> None:
        """Lets a reader out."""
        self.connections -= 1
        if self._config.max_connections_per_address:
            self._count_down(self._by_address, address)

    def begin_stream(self, held: int, producer: str | None) -> None:
        """Lets a stream begin while `held` are held; `end_stream` is told of its end. Raises `LimitExceeded`."""
        if held >= self._config.max_streams:
            raise self._refusal("max_streams", self._config.max_streams, status=503)
        per_producer = self._config.max_streams_per_producer
        if producer is None or not per_producer:
            return
        if self._by_producer[producer] >= per_producer:
            raise self._refusal("max_streams_per_producer", per_producer)
        self._by_producer[producer] += 1

    def end_stream(self, producer: str | None) -> None:
        """A stream has ended."""
        if producer is not None and self._config.max_streams_per_producer:
            self._count_down(self._by_producer, producer)

    def _count_down(self, counter: Counter[str], key: str) -> None:
        counter[key] -= 1
        if counter[key] <= 0:
            del counter[key]

    def _refusal(self, limit: str, value: int, status: int = 429) -> LimitExceeded:
        self.refused[limit] += 1
        error = LimitExceeded(f"{limit} = {value} is reached; try again in a moment", retry_after_s=5)
        error.http_status = status
        return error
