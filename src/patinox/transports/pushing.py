"""What one request's body appends to a stream: chunk by chunk as they come, numbered where a producer numbers them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from patinox.core.chunks import Outcome
from patinox.core.producers import Producer
from patinox.delivery.feed import Feed
from patinox.errors import StoreError, StreamClosed
from patinox.manager import ActiveStream
from patinox.manager.tail import Burst


class Push:
    """Appends what a body holds; `accepted` counts what went in."""

    def __init__(self, stream: ActiveStream, producer: Producer | None) -> None:
        self.accepted = 0
        self._stream = stream
        self._producer = producer

    def __repr__(self) -> str:
        return f"<Push to {self._stream.id}, {self.accepted} accepted>"

    async def take(self, body: AsyncIterator[Any]) -> None:
        """Appends all of it, and returns once the store has it. Raises what the body or the stream does.

        What was accepted stays; where the store is away it is not known what that is, and none of it is called so.
        """
        burst = self._stream.burst()
        try:
            await self._take(body, burst)
        finally:
            try:
                await burst.flush()
            except StoreError:
                self.accepted = 0
                raise

    async def _take(self, body: AsyncIterator[Any], burst: Burst) -> None:
        number = 0
        async for data in body:
            if self._producer is None:
                await burst.write(data)
                self.accepted += 1
            else:
                numbered = msgspec.structs.replace(self._producer, seq=self._producer.seq + number)
                self.accepted += await burst.produce(data, numbered)
            number += 1
        if not number and not self._stream.is_open:
            raise self._closed()

    async def take_until_stopped(self, body: AsyncIterator[Any]) -> None:
        """The same for a body that may go on for hours: a stop reaches its producer at once, not with its next chunk.

        Raises `StreamClosed` then.
        """
        loop = asyncio.get_running_loop()
        taking, stopping = loop.create_task(self.take(body)), loop.create_task(_stopped(self._stream.feed))
        try:
            await asyncio.wait((taking, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not taking.done() and stopping.result():
                raise self._closed()
            await taking
        finally:
            for task in (taking, stopping):
                task.cancel()
            await asyncio.wait((taking, stopping))

    def _closed(self) -> StreamClosed:
        return StreamClosed(f"the stream has ended ({self._stream.state})")


async def _stopped(feed: Feed) -> bool:
    """Waits for the end; whether somebody else than the stream's producer meant it."""
    await feed.end()
    return feed.outcome in (Outcome.CANCELLED, Outcome.INTERRUPTED)
