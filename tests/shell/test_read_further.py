"""A reader that comes from another node, and has read further there than has been heard of here."""

from typing import Any

import pytest

from patinox import StreamManager
from patinox.core.attach import AttachOutcome
from patinox.core.chunks import EventId
from patinox.errors import StoreError
from patinox.stores.base import Listener, Unwatch
from patinox.stores.memory import MemoryStore
from patinox.testing.stores import FaultyStore


class Deaf(FaultyStore):
    """Hears nothing of what others write, as a node whose connection is away."""

    async def watch(self, key: Any, listener: Listener) -> Unwatch:
        return lambda: None


async def test_it_resumes_where_it_was_and_is_not_reset() -> None:
    engine = MemoryStore()
    async with StreamManager(store=FaultyStore(engine)) as writing, StreamManager(store=Deaf(engine)) as reading:
        stream = await writing.create(id="a")
        followed = await reading.open("a")
        await stream.write("read elsewhere")
        await stream.flush()
        assert followed.feed.log.head == 0
        after = EventId(stream.epoch, 1)
        await followed.feed.prepare(after, reading.format("patinox"))
        assert followed.feed.attach(after).outcome is AttachOutcome.RESUMED


async def test_where_the_store_cannot_say_it_is_an_error_and_no_reset() -> None:
    engine = MemoryStore()
    deaf = Deaf(engine)
    async with StreamManager(store=FaultyStore(engine)) as writing, StreamManager(store=deaf) as reading:
        stream = await writing.create(id="a")
        followed = await reading.open("a")
        deaf.go_away()
        with pytest.raises(StoreError):
            await followed.feed.prepare(EventId(stream.epoch, 7), reading.format("patinox"))
        deaf.come_back()
        await followed.feed.prepare(EventId(stream.epoch, 7), reading.format("patinox"))
        assert followed.feed.attach(EventId(stream.epoch, 7)).outcome is AttachOutcome.RESET
