"""What the shared stores do when their engine is killed (-9), is silent, or comes back: with real servers."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from patinox.core.chunks import StreamChunk, Text
from patinox.core.codec import encode_data
from patinox.core.keys import StreamKey
from patinox.errors import PatinoxError, StoreError
from patinox.stores.base import Append, Grown, Store, StreamFacts, Unsure
from patinox.stores.nats import NatsStore
from patinox.stores.redis import RedisStore
from patinox.testing.servers import NatsServer, ServerProcess, ValkeyServer

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("engines")]

ENGINES: dict[str, tuple[type[ServerProcess], Callable[[str], Store]]] = {
    "valkey": (ValkeyServer, RedisStore),
    "nats": (NatsServer, NatsStore),
}


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[ServerProcess, Callable[[], Store]]]:
    """A server that the test may kill, and what makes a store in it that gives up soon."""
    kind, make = ENGINES[request.param]
    with kind(tmp_path / request.param) as server:
        yield server, lambda: make(server.url + "?timeout=1")


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


def facts(name: str = "a") -> StreamFacts:
    return StreamFacts(StreamKey("t", name), secrets.token_hex(6), 1000.0, 3600.0)


def chunk(sequence: int, epoch: str) -> StreamChunk:
    data = Text(f"chunk {sequence}")
    return StreamChunk(sequence, data, 1000.0, False, epoch, encode_data(data))


class Told:
    """A listener that can be waited for."""

    def __init__(self) -> None:
        self.news: list[Any] = []
        self._changed = asyncio.Event()

    def __call__(self, news: Any) -> None:
        self.news.append(news)
        self._changed.set()

    async def until(self, condition: Callable[[Any], bool]) -> None:
        while not any(condition(one) for one in self.news):
            self._changed.clear()
            await self._changed.wait()


async def retried(call: Callable[[], Any]) -> Any:
    """The answer of a store whose engine is coming back."""
    while True:
        try:
            return await call()
        except StoreError:
            await asyncio.sleep(0.02)


async def test_what_was_acknowledged_is_there_after_the_engine_was_killed(
    engine: tuple[ServerProcess, Callable[[], Store]],
) -> None:
    server, make = engine
    async with opened(make()) as store:
        created = facts()
        await store.create(created, "one", 600.0)
        acknowledged = 0
        killer: asyncio.Task[None] | None = None
        while killer is None or not killer.done():
            append = Append(
                created.key, 1, acknowledged, [chunk(acknowledged + 1, created.epoch)], {"p": (0, acknowledged)}
            )
            assert await retried(partial(store.append, [append])) == [None]
            acknowledged += 1
            if acknowledged == 50:
                killer = asyncio.create_task(asyncio.to_thread(_kill_and_start, server))
        await killer
        assert await store.read(created.key, 0, acknowledged + 10) == [
            chunk(sequence, created.epoch) for sequence in range(1, acknowledged + 1)
        ]
        record = await store.load(created.key)
        assert (record.head, record.producers) == (acknowledged, {"p": (0, acknowledged - 1)})


def _kill_and_start(server: ServerProcess) -> None:
    server.kill()
    server.start()


async def test_everything_fails_within_its_bound_while_the_engine_is_away_and_goes_on_when_it_is_back(
    engine: tuple[ServerProcess, Callable[[], Store]],
) -> None:
    server, make = engine
    async with opened(make()) as store:
        created = facts()
        await store.create(created, "one", 600.0)
        await asyncio.to_thread(server.kill)
        for call in (
            store.probe, lambda: store.load(created.key), lambda: store.read(created.key, 0, 9),
            lambda: store.append([Append(created.key, 1, 0, [chunk(1, created.epoch)])]),
            lambda: store.renew({created.key: 1}, "one", 9.0), lambda: store.create(facts("b"), "one", 9.0),
        ):  # fmt: skip
            with pytest.raises(StoreError):
                await call()
        await asyncio.to_thread(server.start)
        await retried(store.probe)
        assert (await retried(lambda: store.load(created.key))).facts == created


async def test_a_silent_engine_is_no_reason_to_wait_for_ever(
    engine: tuple[ServerProcess, Callable[[], Store]],
) -> None:
    server, make = engine
    async with opened(make()) as store:
        server.pause()
        try:
            with pytest.raises(StoreError):
                await store.probe()
        finally:
            server.go_on()
        await retried(store.probe)


async def test_watchers_are_told_to_look_after_the_engine_was_away_and_hear_what_comes_then(
    engine: tuple[ServerProcess, Callable[[], Store]],
) -> None:
    server, make = engine
    async with opened(make()) as store, opened(make()) as writer:
        created = facts()
        await writer.create(created, "one", 600.0)
        told = Told()
        await store.watch(created.key, told)
        await asyncio.to_thread(_kill_and_start, server)
        await told.until(lambda news: isinstance(news, Unsure))
        append = Append(created.key, 1, 0, [chunk(1, created.epoch)])
        assert await retried(lambda: writer.append([append])) == [None]
        await told.until(lambda news: isinstance(news, Grown) and news.head == 1)


async def test_nobody_is_orphaned_because_the_engine_was_away(
    engine: tuple[ServerProcess, Callable[[], Store]],
) -> None:
    server, make = engine
    async with opened(make()) as holder, opened(make()) as other:
        created = facts()
        await holder.create(created, "one", 2.0)
        await other.watch(created.key, Told())
        while await other.orphans(10) == []:  # noqa: ASYNC110 - as if it were down for longer than the lease
            await asyncio.sleep(0.1)
        await asyncio.to_thread(_kill_and_start, server)
        assert await retried(lambda: other.orphans(10)) == []
        assert await retried(lambda: holder.renew({created.key: 1}, "one", 600.0)) == set()
        assert await other.orphans(10) == []


async def test_a_store_that_was_closed_says_so(engine: tuple[ServerProcess, Callable[[], Store]]) -> None:
    _, make = engine
    store = make()
    async with opened(store):
        created = facts()
        await store.create(created, "one", 600.0)
    for call in (store.probe, lambda: store.load(created.key), lambda: store.renew({created.key: 1}, "one", 9.0)):
        with pytest.raises(StoreError):
            await call()


@pytest.mark.parametrize("name", list(ENGINES))
async def test_an_engine_that_is_not_there_is_said_at_once(name: str, tmp_path: Path) -> None:
    kind, make = ENGINES[name]
    server = kind(tmp_path)
    with pytest.raises(StoreError, match=str(server.port)):
        await make(server.url + "?timeout=0.5").open()


async def test_a_node_that_was_asleep_cannot_write_when_another_has_taken_over(
    engine: tuple[ServerProcess, Callable[[], Store]],
) -> None:
    _, make = engine
    async with opened(make()) as sleeper, opened(make()) as other:
        created = facts()
        await sleeper.create(created, "one", 600.0)
        assert await sleeper.append([Append(created.key, 1, 0, [chunk(1, created.epoch)])]) == [None]
        await other.take_over(created.key, "two", 600.0)
        (answer,) = await sleeper.append([Append(created.key, 1, 1, [chunk(2, created.epoch)])])
        assert isinstance(answer, PatinoxError)
        assert answer.code == "fenced"
        assert len(await other.read(created.key, 0, 10)) == 1
