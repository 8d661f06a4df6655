"""What `check_transport` asks of a transport.

An adapter is a client of it and the server under it: `serve` starts the server with settings of the check's choice,
`attach` reads a stream by the transport's own means, and a `Reading` gives what came, one record after the other.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from patinox.config import StreamingConfig
from patinox.manager import StreamManager


class Record(NamedTuple):
    """What a reader was sent: a record of the log, or a control event (`gap`, `snapshot`).

    `id` is the event id, empty where there is none; `event` the kind as on the native wire; `data` what JSON makes of
    it, so a text is `{"text": …}` and binary is base64.
    """

    id: str
    event: str
    data: Any


class Refused(Exception):
    """The transport let a reader not in, before anything was sent; `code` is that of our error, such as `not_found`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Broken(Exception):
    """The connection, or this reader's part in it, ended without the end of the stream being told."""


class Reading(Protocol):
    """A reader that is attached. `outcome` and `position` are what it was told first."""

    outcome: str
    position: str

    async def next(self) -> Record | None:
        """What comes next; None at the end that the transport has for a stream whose end was told.

        Takes from the transport what it needs for this and little more: a reader that does not ask is a slow one.
        Raises `Broken`.
        """
        ...

    async def leave(self) -> None:
        """Goes away, as a closed tab does: the stream is not to be stopped by it."""
        ...


class Session(Protocol):
    """A server that runs, and clients of it."""

    manager: StreamManager

    async def attach(self, stream_id: str, after: str | None = None) -> Reading:
        """Reads a stream from its start, or after an event id, `now` or `snapshot`. Raises `Refused`."""
        ...

    async def cancel(self, stream_id: str) -> None:
        """Stops the stream, as the transport's clients do."""
        ...

    async def end(self) -> None:
        """Ends the server as a signal does: `drain` for its readers, then no more."""
        ...


class Transport(Protocol):
    """The transport under test."""

    def serve(self, config: StreamingConfig) -> AbstractAsyncContextManager[Session]:
        """A server of its own with these settings; `manager` is the one it serves, made with them too."""
        ...
