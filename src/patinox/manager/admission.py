"""Admission: how many may come in. Each refusal says which limit it is, and when to try again.

max_connections               readers of the server, whatever they read    503
max_connections_per_stream    readers of one stream                        429
max_connections_per_address   readers from one network address             429
max_connections_per_user      readers of one user                          429
max_connections_per_tenant    readers of one tenant                        429
max_streams                   streams held                                 503
max_streams_per_producer      open streams of one producer                 429
max_streams_per_tenant        open streams of one tenant                   429
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from patinox.config.streaming import StreamingConfig
from patinox.delivery.feed import Feed
from patinox.errors import LimitExceeded


class Account(NamedTuple):
    """On whose account something is: a network address, and where it is known whose, a user of a tenant.

    Each is empty where it is not known: then its limits don't apply.
    """

    address: str = ""
    tenant: str = ""
    user: str = ""


class Admission:
    """Counts what has come in, for one manager."""

    def __init__(self, config: StreamingConfig) -> None:
        self._config = config
        self.connections = 0
        self.refused: Counter[str] = Counter()
        self._readers: Counter[tuple[str, ...]] = Counter()
        self._writers: Counter[tuple[str, ...]] = Counter()

    def __repr__(self) -> str:
        return f"<Admission {self.connections} connections>"

    def configure(self, config: StreamingConfig) -> None:
        """Goes by other limits from now on; whoever was let in stays."""
        self._config = config

    def enter(self, feed: Feed | None, account: Account) -> None:
        """Lets a reader in, to be let out with `leave`. Raises `LimitExceeded`."""
        self.check(feed, account)
        self.connections += 1
        for _, _, holder in self._of_readers(account):
            self._readers[holder] += 1

    def check(self, feed: Feed | None, account: Account) -> None:
        """Whether a reader would be let in: to be asked before something is begun for it. Raises `LimitExceeded`."""
        most = self._config.sse.max_connections
        if self.connections >= most:
            raise self._refusal("max_connections", most, status=503)
        if feed is not None:
            self.check_feed(feed)
        for limit, value, holder in self._of_readers(account):
            if self._readers[holder] >= value:
                raise self._refusal(limit, value)

    def check_feed(self, feed: Feed) -> None:
        """Whether one more reader of this stream would be let in, over a connection that already was."""
        per_stream = self._config.max_connections_per_stream
        if 0 < per_stream <= feed.readers:
            raise self._refusal("max_connections_per_stream", per_stream)

    def leave(self, account: Account) -> None:
        """Lets a reader out."""
        self.connections -= 1
        for _, _, holder in self._of_readers(account):
            _count_down(self._readers, holder)

    def begin_stream(self, held: int, account: Account) -> None:
        """Lets a stream begin while `held` are held; `end_stream` is told of its end. Raises `LimitExceeded`."""
        if held >= self._config.max_streams:
            raise self._refusal("max_streams", self._config.max_streams, status=503)
        for limit, value, holder in self._of_writers(account):
            if self._writers[holder] >= value:
                raise self._refusal(limit, value)
        for _, _, holder in self._of_writers(account):
            self._writers[holder] += 1

    def end_stream(self, account: Account) -> None:
        """A stream has ended."""
        for _, _, holder in self._of_writers(account):
            _count_down(self._writers, holder)

    def _of_readers(self, account: Account) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        config, (address, tenant, user) = self._config, account
        if config.max_connections_per_address:
            yield "max_connections_per_address", config.max_connections_per_address, ("address", address)
        if config.max_connections_per_user and user:
            yield "max_connections_per_user", config.max_connections_per_user, ("user", tenant, user)
        if config.max_connections_per_tenant and tenant:
            yield "max_connections_per_tenant", config.max_connections_per_tenant, ("tenant", tenant)

    def _of_writers(self, account: Account) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        config, (address, tenant, user) = self._config, account
        if config.max_streams_per_producer and (user or address):
            producer = ("user", tenant, user) if user else ("address", address)
            yield "max_streams_per_producer", config.max_streams_per_producer, producer
        if config.max_streams_per_tenant and tenant:
            yield "max_streams_per_tenant", config.max_streams_per_tenant, ("tenant", tenant)

    def _refusal(self, limit: str, value: int, status: int = 429) -> LimitExceeded:
        self.refused[limit] += 1
        error = LimitExceeded(f"{limit} = {value} is reached; try again in a moment", retry_after_s=5)
        error.http_status = status
        return error


def _count_down(counter: Counter[tuple[str, ...]], holder: tuple[str, ...]) -> None:
    counter[holder] -= 1
    if counter[holder] <= 0:
        del counter[holder]
