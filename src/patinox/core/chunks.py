"""What a log is made of: the four kinds of chunk data, the record that ends a log, and the numbered chunk.

`Text`, `Json`, `Binary` and `Error` are chunks in their own right, for streams that have nothing to do with
models; a model's or agent's run is told in the events of `events.py`. Every data type names its `kind`, the word
that stands after `event:` on the wire; `codec.py` turns it into JSON and back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

import msgspec


class Outcome(StrEnum):
    """How a stream ended. A stream ends in exactly one of these; end of file alone is never success."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class Text(msgspec.Struct, frozen=True):
    """A piece of text, of any length."""

    kind: ClassVar[str] = "text"
    text: str


class Json(msgspec.Struct, frozen=True):
    """A value of the application's own: anything JSON can say."""

    kind: ClassVar[str] = "json"
    value: Any


class Binary(msgspec.Struct, frozen=True):
    """Bytes; base64 on text transports."""

    kind: ClassVar[str] = "binary"
    data: bytes


class Error(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failure. It is final: as a record of a log it ends the stream as `failed`.

    `provider` is the upstream's own error body where there was one; `status` the HTTP status that goes with it.
    """

    kind: ClassVar[str] = "error"
    code: str
    message: str
    retryable: bool | None = None
    status: int | None = None
    provider: Any = None


class End(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last record of a log that did not fail; says the outcome and, where there is one, the reason."""

    kind: ClassVar[str] = "end"
    outcome: Outcome
    error: Error | None = None


class EventId(msgspec.Struct, frozen=True):
    """`<epoch>-<sequence>`, or `<epoch>-<sequence>.<part>` for an earlier frame of a record that made several.

    `sequence` counts from 1; 0 means that nothing was read yet.
    """

    epoch: str
    sequence: int
    part: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}-{self.sequence}" + (f".{self.part}" if self.part else "")

    @property
    def whole(self) -> int:
        """The sequence of the last record that was read whole; what the id means in another format."""
        return self.sequence - 1 if self.part else self.sequence


class StreamChunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of a log.

    `sequence` is dense and counts from 1; `timestamp` is in seconds since 1970-01-01T00:00:00Z; `payload` is the data
    as JSON, encoded once when the chunk was appended (empty on a chunk that was made by hand).
    """

    sequence: int
    data: Any  # a ChunkData, an Event or End; typed Any so that a dialect may register kinds of its own
    timestamp: float
    is_final: bool = False
    epoch: str = ""
    payload: bytes = b""

    @property
    def id(self) -> str:
        """The event id, `<epoch>-<sequence>`: short and URL-safe."""
        return f"{self.epoch}-{self.sequence}"

    @property
    def kind(self) -> str:
        """The word after `event:` on the wire."""
        kind: str = self.data.kind
        return kind

    @property
    def time(self) -> datetime:
        """`timestamp` as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.timestamp, UTC)


ChunkData = Text | Json | Binary | Error
