"""Idempotent producers: which part of a repeated append is new.

A producer names itself, its incarnation (`epoch`) and numbers its chunks from 0. Whatever it sends again after a
lost answer is recognised: a known prefix is skipped, a hole is refused, and an older incarnation may not write any
more once a newer one has (the scheme of Kafka's idempotent producer, KIP-98).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from patinox.errors import InputError, ProducerFenced, ProducerGap

MAX_PRODUCERS = 64


class Producer(msgspec.Struct, frozen=True):
    """Who appends: `seq` numbers the first chunk of the request, the k-th after it is `seq + k`."""

    id: str
    epoch: int = 0
    seq: int = 0


class ProducerLedger:
    """What each producer of one stream has been acknowledged; the longest silent one is forgotten beyond 64."""

    def __init__(self) -> None:
        self._next: dict[str, tuple[int, int]] = {}

    def __repr__(self) -> str:
        return f"<ProducerLedger {self._next}>"

    def is_known(self, producer: Producer) -> bool:
        """Whether the chunk numbered `producer.seq` was appended before.

        Raises `ProducerGap` when one before it is missing, `ProducerFenced` when a newer incarnation has written.
        """
        epoch, expected = self._next.get(producer.id, (producer.epoch, 0))
        if producer.epoch < epoch:
            raise ProducerFenced(f"producer {producer.id!r} has a newer epoch, {epoch}; epoch {producer.epoch} is over")
        if producer.epoch > epoch:
            expected = 0
        if producer.seq > expected:
            raise ProducerGap(
                f"producer {producer.id!r} sent {producer.seq}, but {expected} is next", expected=expected
            )
        return producer.seq < expected

    def appended(self, producer: Producer) -> tuple[int, int]:
        """Remembers that the chunk numbered `producer.seq` is in the log; its epoch and the number that is next."""
        self._next.pop(producer.id, None)
        acknowledged = self._next[producer.id] = (producer.epoch, producer.seq + 1)
        if len(self._next) > MAX_PRODUCERS:
            del self._next[next(iter(self._next))]
        return acknowledged

    def restore(self, acknowledged: Mapping[str, tuple[int, int]]) -> None:
        """Knows what a store knows, and nothing else."""
        self._next = dict(acknowledged)


def parse_producer(id_: str | None, epoch: str | None, seq: str | None) -> Producer | None:
    """Reads the `Producer-Id`, `Producer-Epoch` and `Producer-Seq` headers; None without an id."""
    if id_ is None:
        if epoch is not None or seq is not None:
            raise InputError("Producer-Epoch and Producer-Seq need a Producer-Id")
        return None
    if not 0 < len(id_) <= 128:
        raise InputError("a Producer-Id has 1 to 128 characters")
    return Producer(id_, _whole_number("Producer-Epoch", epoch or "0"), _whole_number("Producer-Seq", seq or "0"))


def _whole_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InputError(f"{name} is a whole number, not {text[:40]!r}")
    return int(text)
