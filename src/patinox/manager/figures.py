"""What is counted, and logged, of streams: those that began, how they ended, how soon they said something."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from patinox.core.chunks import End, Error, Outcome
from patinox.delivery.counters import Histogram

if TYPE_CHECKING:
    from patinox.manager.stream import ActiveStream

_log = logging.getLogger("patinox.streams")
FIRST_CHUNK_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class StreamFigures:
    """Counts since the manager was made.

    `pulled_s` and `pushed_s` are the times from a stream's creation to its first chunk: of streams that the manager
    fills from a source, where that is a model's time to first token, and of those that others write.
    """

    __slots__ = ("created", "ended", "pulled_s", "pushed_s")

    def __init__(self) -> None:
        self.created = 0
        self.ended: Counter[Outcome] = Counter()
        self.pulled_s = Histogram(FIRST_CHUNK_BOUNDS_S)
        self.pushed_s = Histogram(FIRST_CHUNK_BOUNDS_S)

    def __repr__(self) -> str:
        return f"<StreamFigures {self.created} created, {self.ended.total()} ended>"

    def begun(self, stream: ActiveStream) -> None:
        """A stream was created."""
        self.created += 1
        _log.info("a stream began", extra={"stream": stream.id, "channel": stream.channel})

    def ended_as(self, outcome: Outcome, stream: ActiveStream, record: End | Error) -> None:
        """A stream ended with this record. No word of its content is logged."""
        self.ended[outcome] += 1
        if _log.isEnabledFor(logging.INFO):
            _log.info("a stream ended", extra=_ending(outcome, stream, record))

    def as_dict(self) -> dict[str, Any]:
        """The counts, without the times."""
        return {"created": self.created, "ended": {outcome.value: count for outcome, count in self.ended.items()}}


def _ending(outcome: Outcome, stream: ActiveStream, record: End | Error) -> dict[str, Any]:
    error = record if isinstance(record, Error) else record.error
    began_s, first_s, ended_s = stream.created_s, stream.first_chunk_s, stream.ended_s
    return {
        "stream": stream.id, "outcome": outcome.value, "code": None if error is None else error.code,
        "chunks": stream.log.head, "bytes": stream.log.size_bytes, "readers": stream.feed.readers,
        "duration_s": None if ended_s is None else round(ended_s - began_s, 3),
        "first_chunk_s": None if first_s is None else round(first_s - began_s, 3),
    }  # fmt: skip
