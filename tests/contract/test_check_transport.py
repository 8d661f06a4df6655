"""`check_transport` fails a transport that breaks a promise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from tests.contract.transports import TRANSPORTS

from patinox.config import StreamingConfig
from patinox.testing import check_transport
from patinox.testing.transport import Reading, Record, Session


class Faulty:
    """NDJSON, with what a reader is told made wrong."""

    def __init__(self, spoil: Callable[[Record], list[Record]]) -> None:
        self._spoil = spoil

    def serve(self, config: StreamingConfig) -> AbstractAsyncContextManager[Session]:
        return self._serve(config)

    @asynccontextmanager
    async def _serve(self, config: StreamingConfig) -> AsyncIterator[Session]:
        async with TRANSPORTS["ndjson"].serve(config) as session:
            yield FaultySession(session, self._spoil)


class FaultySession:
    def __init__(self, session: Session, spoil: Callable[[Record], list[Record]]) -> None:
        self.manager, self.cancel, self.end = session.manager, session.cancel, session.end
        self._session = session
        self._spoil = spoil

    async def attach(self, stream_id: str, after: str | None = None) -> Reading:
        return FaultyReading(await self._session.attach(stream_id, after), self._spoil)


class FaultyReading:
    def __init__(self, reading: Reading, spoil: Callable[[Record], list[Record]]) -> None:
        self.outcome, self.position, self.leave = reading.outcome, reading.position, reading.leave
        self._reading = reading
        self._spoil = spoil
        self._ready: list[Record] = []

    async def next(self) -> Record | None:
        while not self._ready:
            record = await self._reading.next()
            if record is None:
                return None
            self._ready = self._spoil(record)
        return self._ready.pop(0)


def lost(record: Record) -> list[Record]:
    return [] if record.id.endswith("-5") else [record]


def twice(record: Record) -> list[Record]:
    return [record, record] if record.id.endswith("-5") else [record]


def unnamed(record: Record) -> list[Record]:
    return [record._replace(id="")] if record.id.endswith("-5") else [record]


def flattered(record: Record) -> list[Record]:
    ended: Any = {"outcome": "complete"}
    return [record._replace(event="end", data=ended)] if record.event == "error" else [record]


def without_gaps(record: Record) -> list[Record]:
    return [] if record.event == "gap" else [record]


@pytest.mark.parametrize("spoil", [lost, twice, unnamed, flattered, without_gaps], ids=lambda spoil: spoil.__name__)
async def test_a_transport_that_spoils_a_stream_fails(spoil: Callable[[Record], list[Record]]) -> None:
    with pytest.raises(AssertionError):
        await check_transport(Faulty(spoil))
