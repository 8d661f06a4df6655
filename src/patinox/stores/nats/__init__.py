"""Streams in NATS JetStream, for many nodes at once. Needs the `nats` extra."""

from patinox.stores.nats.store import NatsStore

__all__ = ["NatsStore"]
