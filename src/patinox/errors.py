"""Every error Patinox raises, in one tree.

    PatinoxError                      code, http_status, message
    ├── ConfigError                   config             500   a setting is unknown, malformed or contradictory
    ├── InputError                    bad_request        400   what the caller sent cannot be understood
    │   ├── InvalidEventId            invalid_event_id   400
    │   ├── InvalidChunk              invalid_chunk      400   .line (1-based) when it came in a body of lines
    │   ├── FramingError              malformed_stream   400   .offset (bytes) in the stream being parsed
    │   ├── UnknownFormat             unknown_format     406   .known lists the formats there are
    │   └── TooLarge                  too_large          413   a chunk, a body, a line
    ├── StreamError
    │   ├── StreamNotFound            not_found          404
    │   ├── StreamGone                gone               410   deleted, or its time to live is over
    │   ├── StreamExists              exists             409
    │   ├── StreamClosed              closed             409   a write after the end
    │   ├── BufferFull                buffer_full        503   overflow_strategy = "drop_newest" refused an append
    │   ├── ProducerGap               producer_gap       409   .expected (sequence) of an idempotent producer
    │   ├── ProducerFenced            producer_fenced    403   a newer writer has taken over
    │   ├── StreamFenced              fenced             409   another node holds the stream's lease now
    │   ├── StreamElsewhere           elsewhere          409   only the node that created it can write it
    │   └── NotAssembled              not_assembled      503   its content has to be awaited first
    ├── Unauthenticated               unauthenticated    401   no credential, or one that is not valid (any more)
    ├── Forbidden                     forbidden          403   a right that the caller does not have
    ├── ConnectionNotFound            no_such_connection 404   a WebSocket that has left, or never was
    ├── LimitExceeded                 limit              429   .retry_after_s
    ├── ReaderTooSlow                 too_slow           408   the reader fell behind its hard bound; resumable
    ├── ShuttingDown                  shutting_down      503
    ├── StoreError                    store              503   the engine under the log does not answer
    │   └── StoreConflict             store_conflict     409   an append that does not follow the head
    └── UpstreamError                 upstream           502   a model's server refused, broke off or fell silent
        ├── UpstreamUnavailable       upstream_unavailable 502
        ├── UpstreamTimeout           upstream_timeout   504
        ├── UpstreamMalformed         upstream_malformed 502
        ├── UpstreamRefused           (the upstream's own status and body)
        └── UpstreamStarting          upstream_starting  503   the embedded model is not ready yet

Foreign exceptions (of an HTTP client, a database driver) are mapped to these at the edge where they occur.
`code` is stable and meant for programs; `message` is a sentence for people that says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class PatinoxError(Exception):
    """Root of the tree. `str(error)` is the sentence, `code` the stable name, `http_status` what HTTP answers."""

    code: ClassVar[str] = "internal"
    http_status: int = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def as_dict(self) -> dict[str, Any]:
        """The object under `error` in an HTTP answer or an in-band error."""
        return {"code": self.code, "message": self.message}


class ConfigError(PatinoxError):
    """One or more settings are unknown, malformed or contradict each other."""

    code = "config"


class InputError(PatinoxError, ValueError):
    """What the caller sent cannot be understood."""

    code = "bad_request"
    http_status = 400


class InvalidEventId(InputError):
    """An event id that is not `<epoch>-<sequence>` or `<epoch>-<sequence>.<part>`."""

    code = "invalid_event_id"


class InvalidChunk(InputError):
    """A chunk that cannot be read. `line` is its 1-based line in a body of lines."""

    code = "invalid_chunk"

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.line = line

    def as_dict(self) -> dict[str, Any]:
        """Adds `line` where there is one."""
        body = super().as_dict()
        return body if self.line is None else {**body, "line": self.line}


class FramingError(InputError):
    """A byte stream that breaks its framing. `offset` is the position in bytes from the stream's start."""

    code = "malformed_stream"

    def __init__(self, message: str, *, offset: int) -> None:
        super().__init__(f"{message} (at byte {offset})")
        self.offset = offset

    def as_dict(self) -> dict[str, Any]:
        """Adds `offset`."""
        return {**super().as_dict(), "offset": self.offset}


class UnknownFormat(InputError):
    """A format nobody registered. `known` lists those there are."""

    code = "unknown_format"
    http_status = 406

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown format {name!r}; known are {', '.join(known)}")
        self.known = tuple(known)

    def as_dict(self) -> dict[str, Any]:
        """Adds `known`."""
        return {**super().as_dict(), "known": list(self.known)}


class TooLarge(InputError):
    """A chunk, a line or a body over its limit."""

    code = "too_large"
    http_status = 413


class StreamError(PatinoxError):
    """Something about one stream's state forbids the call."""


class StreamNotFound(StreamError):
    """No stream has this id."""

    code = "not_found"
    http_status = 404


class StreamGone(StreamError):
    """The stream was deleted, or outlived its `ttl`."""

    code = "gone"
    http_status = 410


class StreamExists(StreamError):
    """A stream with this id exists already."""

    code = "exists"
    http_status = 409


class StreamClosed(StreamError):
    """The stream has ended; nothing can be appended to it."""

    code = "closed"
    http_status = 409


class BufferFull(StreamError):
    """`overflow_strategy = "drop_newest"` refused an append; nothing was stored."""

    code = "buffer_full"
    http_status = 503


class ProducerGap(StreamError):
    """An idempotent producer skipped a number. `expected` is the one to send next."""

    code = "producer_gap"
    http_status = 409

    def __init__(self, message: str, *, expected: int) -> None:
        super().__init__(message)
        self.expected = expected

    def as_dict(self) -> dict[str, Any]:
        """Adds `expected`."""
        return {**super().as_dict(), "expected": self.expected}


class ProducerFenced(StreamError):
    """A producer with a newer epoch has taken over; this one may not append any more."""

    code = "producer_fenced"
    http_status = 403


class StreamFenced(StreamError):
    """Another node has taken the stream over; this one may not append to it any more."""

    code = "fenced"
    http_status = 409


class Unauthenticated(PatinoxError):
    """It is to be said who asks, and was not, or by something that is not valid (any more)."""

    code = "unauthenticated"
    http_status = 401


class Forbidden(PatinoxError):
    """Something that this caller, or a page of this origin, may not do here.

    What may not be known of a stream is `StreamNotFound` instead.
    """

    code = "forbidden"
    http_status = 403


class StreamElsewhere(StreamError):
    """The stream can be written on another node only: its pipeline is there."""

    code = "elsewhere"
    http_status = 409


class NotAssembled(StreamError):
    """The stream was in the store already, and its content was not put together here yet: await `assemble` first."""

    code = "not_assembled"
    http_status = 503


class ConnectionNotFound(PatinoxError):
    """No WebSocket connection has this id (any more)."""

    code = "no_such_connection"
    http_status = 404


class LimitExceeded(PatinoxError):
    """A limit on connections, streams or requests. `retry_after_s` says when it is worth trying again."""

    code = "limit"
    http_status = 429

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ReaderTooSlow(PatinoxError):
    """A reader fell behind its hard bound and was let go. It can resume from its last event id."""

    code = "too_slow"
    http_status = 408


class ShuttingDown(PatinoxError):
    """The manager is closing and takes nothing new."""

    code = "shutting_down"
    http_status = 503


class StoreError(PatinoxError):
    """The engine under the log does not answer."""

    code = "store"
    http_status = 503


class StoreConflict(StoreError):
    """An append that does not follow the head the store has; nothing was stored."""

    code = "store_conflict"
    http_status = 409


class UpstreamError(PatinoxError):
    """A model's server refused, broke off, fell silent or spoke nonsense."""

    code = "upstream"
    http_status = 502


class UpstreamUnavailable(UpstreamError):
    """The upstream could not be reached."""

    code = "upstream_unavailable"


class UpstreamTimeout(UpstreamError):
    """The upstream stayed silent for longer than it may."""

    code = "upstream_timeout"
    http_status = 504


class UpstreamMalformed(UpstreamError):
    """The upstream sent something its dialect does not allow."""

    code = "upstream_malformed"


class UpstreamStarting(UpstreamError):
    """The embedded model is still loading."""

    code = "upstream_starting"
    http_status = 503


class UpstreamRefused(UpstreamError):
    """The upstream answered with an error status. `body` is its own error, parsed where it was JSON."""

    code = "upstream_refused"

    def __init__(self, message: str, *, status: int, body: Any = None) -> None:
        super().__init__(message)
        self.http_status = status
        self.body = body

    def as_dict(self) -> dict[str, Any]:
        """Adds the upstream's own `status` and `body`."""
        return {**super().as_dict(), "upstream_status": self.http_status, "upstream_body": self.body}
