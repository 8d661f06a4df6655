"""Streams in Redis or Valkey, for many nodes at once. Needs the `redis` extra."""

from patinox.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
