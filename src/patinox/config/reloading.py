"""What a running server takes over from settings that were read again, and what needs a restart.

A setting is taken over where it is looked at when it is used: limits, what new streams and new connections get, how a
shutdown goes, how much is logged. What a socket, a pipeline or a store was made with needs a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from patinox.config.schema import Settings, flatten, keys_of, tables_of
from patinox.config.whole import Config

RELOADABLE = frozenset(
    {
        "server.log_level",
        "server.drain_delay",
        "streaming.buffer_size",
        "streaming.buffer_bytes",
        "streaming.overflow_strategy",
        "streaming.retain",
        "streaming.max_stream_bytes",
        "streaming.max_chunk_bytes",
        "streaming.max_body_bytes",
        "streaming.max_streams",
        "streaming.max_streams_per_producer",
        "streaming.ttl",
        "streaming.on_abandon",
        "streaming.max_connections_per_stream",
        "streaming.max_connections_per_address",
        "streaming.max_connections_per_user",
        "streaming.max_connections_per_tenant",
        "streaming.max_streams_per_tenant",
        "streaming.drain_timeout",
        "streaming.drain_window",
        "streaming.sse.retry_interval",
        "streaming.sse.max_connections",
        "streaming.sse.compression",
        "streaming.websocket.max_subscriptions",
        "streaming.websocket.message_rate",
        "streaming.backpressure.threshold",
        "streaming.backpressure.threshold_bytes",
        "streaming.backpressure.low_mark",
        "streaming.backpressure.strategy",
        "streaming.backpressure.pace_to",
        "streaming.backpressure.stall",
        "streaming.backpressure.max_lag",
        "streaming.backpressure.max_lag_bytes",
    }
)
"""Dotted keys. Of streams, those that begin from now on; of connections too."""

S = TypeVar("S", bound=Settings)


class Reloaded(NamedTuple):
    """The settings to go on with; the keys that were taken over, and those that wait for a restart."""

    config: Config
    taken: tuple[str, ...]
    waiting: tuple[str, ...]


def reload(running: Config, read: Config) -> Reloaded:
    """`running` with what of `read` can be taken over. Raises ConfigError where that contradicts itself."""
    before, after = flatten(running), flatten(read)
    changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    taken = {path: after[path] for path in changed if path in RELOADABLE}
    waiting = tuple(path for path in changed if path not in RELOADABLE)
    return Reloaded(_changed(running, taken), tuple(taken), waiting)


def _changed(settings: S, values: Mapping[str, Any]) -> S:
    below = {name: _changed(getattr(settings, name), values) for name in tables_of(type(settings))}
    own = {key.attribute: values[key.path] for key in keys_of(type(settings)) if key.path in values}
    return msgspec.structs.replace(settings, **below, **own)
