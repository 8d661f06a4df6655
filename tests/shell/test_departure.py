"""A server that leaves: who is told what and when, on a clock that the test moves, and on the schedule alone."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sockets import AsgiSocket

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.formats.framing import EventStreamParser
from patinox.manager.departure import READERS_PER_S, RETURN_S, spread, window_for
from patinox.stores.memory import MemoryStore
from patinox.testing.fakes import AsgiClient, AsgiExchange, ManualClock, turns

CONFIG = StreamingConfig(drain_window_s=10, drain_timeout_s=1)


class SharedStore(MemoryStore):
    """As if other nodes had it too: what is in it goes on without this one."""

    is_shared = True


def peak_over_mean(moments: Iterable[float], span_s: float) -> float:
    """The most that come in one of ten equal parts of a span, beside the mean."""
    parts = Counter(int(10 * moment / span_s) for moment in moments)
    return max(parts.values()) / (sum(parts.values()) / 10)


class TestTheSchedule:
    @given(st.integers(1, 1000), st.floats(0.01, 600), st.integers())
    def test_has_one_moment_in_each_slot(self, count: int, window_s: float, seed: int) -> None:
        moments = sorted(spread(count, window_s, random.Random(seed)))
        slot_s = window_s / count
        for slot, moment in enumerate(moments):
            assert slot * slot_s * (1 - 1e-9) <= moment <= (slot + 1) * slot_s * (1 + 1e-9)

    @given(st.integers(20, 1000), st.integers())
    def test_has_a_peak_of_at_most_twice_the_mean(self, count: int, seed: int) -> None:
        assert peak_over_mean(spread(count, 10.0, random.Random(seed)), 10.0) <= 2

    def test_is_anothers_order_each_time(self) -> None:
        moments = spread(100, 10.0, random.Random(1))
        assert moments != sorted(moments)
        assert spread(100, 10.0, random.Random(2)) != moments

    def test_of_nobody_is_empty(self) -> None:
        assert spread(0, 10.0, random.Random(1)) == []

    def test_takes_no_longer_than_it_may_and_no_longer_than_it_needs(self) -> None:
        assert window_for(READERS_PER_S, 10.0) == 1.0
        assert window_for(10**6, 10.0) == 10.0
        assert window_for(10**6, 0.0) == 0.0


def goaways(body: bytes) -> list[dict[str, object]]:
    return [msgspec.json.decode(event.data) for event in EventStreamParser().feed(body) if event.event == "goaway"]


async def readers(app: PatinoxApp, path: str, count: int, **headers: str) -> list[AsgiExchange]:
    client = AsgiClient(app)
    made = [client.open("GET", path, headers=headers) for _ in range(count)]
    for reader in made:
        await reader.__aenter__()
    await turns(30)
    return made


async def leave(exchanges: list[AsgiExchange]) -> None:
    for exchange in exchanges:
        await exchange.__aexit__(None, None, None)


class TestWhatGoesOnElsewhere:
    async def test_lets_1000_readers_go_one_after_the_other_over_the_window(self) -> None:
        clock = ManualClock()
        clock.install(asyncio.get_running_loop())
        manager = StreamManager(CONFIG, store=SharedStore())
        async with manager:
            app = PatinoxApp(manager)
            stream = await manager.create(id="s")
            await stream.write("Hel")
            there = await readers(app, "/v1/streams/s", 1000)
            draining = asyncio.ensure_future(manager.drain())
            await turns()
            left: list[int] = []
            for _ in range(10):
                await clock.advance(1.0)
                await turns(100)
                left.append(sum(reader.is_whole for reader in there))
            await draining
            assert stream.is_open
            each_second = [now - before for before, now in zip([0, *left], left, strict=False)]
            assert sum(each_second) == 1000
            assert max(each_second) <= 2 * 1000 / 10
            await leave(there)

    async def test_a_reader_gets_all_there_is_its_position_and_when_to_come_back(self) -> None:
        async with StreamManager(CONFIG, store=SharedStore()) as manager:
            stream = await manager.create(id="s")
            (reader,) = await readers(PatinoxApp(manager), "/v1/streams/s", 1)
            draining = asyncio.ensure_future(manager.drain())
            await stream.write("Hel")
            await draining
            await reader.finished()
            await leave([reader])
            (told,) = goaways(reader.body)
            assert told == {"after_s": RETURN_S, "position": stream.position}
            last = EventStreamParser().feed(reader.body)[-1]
            assert (last.event, last.id) == ("goaway", stream.position)
            assert b"retry: 1000\n" in reader.body
            assert b"Hel" in reader.body
            assert b"event: end" not in reader.body

    async def test_a_reader_of_lines_is_told_in_a_line(self) -> None:
        async with StreamManager(CONFIG, store=SharedStore()) as manager:
            stream = await manager.create(id="s")
            (reader,) = await readers(PatinoxApp(manager), "/v1/streams/s", 1, accept="application/x-ndjson")
            await manager.drain()
            await reader.finished()
            await leave([reader])
            assert msgspec.json.decode(reader.body.splitlines()[-1]) == {
                "id": stream.position,
                "event": "goaway",
                "data": {"after_s": RETURN_S, "position": stream.position},
            }

    @pytest.mark.parametrize("dialect", ["openai-chat", "anthropic", "gemini", "ollama", "ai-sdk", "ag-ui"])
    async def test_a_foreign_reader_is_told_an_error_that_may_be_tried_again(self, dialect: str) -> None:
        async with StreamManager(CONFIG, store=SharedStore()) as manager:
            await manager.create(id="s")
            (reader,) = await readers(PatinoxApp(manager), f"/v1/streams/s?format={dialect}", 1)
            await manager.drain()
            await reader.finished()
            await leave([reader])
            assert b"restarting" in reader.body

    async def test_plain_text_is_cut_without_an_end(self) -> None:
        async with StreamManager(CONFIG, store=SharedStore()) as manager:
            stream = await manager.create(id="s")
            await stream.write("Hel")
            (reader,) = await readers(PatinoxApp(manager), "/v1/streams/s", 1, accept="text/plain")
            await manager.drain()
            await reader.finished()
            await leave([reader])
            assert (reader.body, reader.is_whole) == (b"Hel", False)

    async def test_a_stream_that_is_filled_from_here_ends_here(self) -> None:
        async with StreamManager(CONFIG, store=SharedStore()) as manager:
            never: asyncio.Future[str] = asyncio.get_running_loop().create_future()

            async def source() -> object:
                yield "Hel"
                yield await never

            pushed, pulled = await manager.create(id="pushed"), await manager.relay(source(), id="pulled")
            assert (manager.outlives(pushed), manager.outlives(pulled)) == (True, False)
            await manager.drain()
            assert pushed.is_open
            assert pulled.state == "interrupted"

    async def test_a_socket_is_told_where_each_of_its_readings_stands_and_closed_with_1012(self) -> None:
        async with StreamManager(CONFIG, store=SharedStore()) as manager:
            stream = await manager.create(id="s")
            await stream.write("Hel")
            async with AsgiSocket(PatinoxApp(manager)) as socket:
                await socket.ask("subscribe", stream="s")
                await turns()
                await manager.drain()
                await socket.finished()
                (told,) = socket.of("goaway")
                assert told["after_s"] == RETURN_S
                assert told["positions"] == [{"stream": "s", "position": stream.position}]
                assert socket.of("end") == []
                assert socket.close_code == 1012
            assert stream.is_open


class TestWhatEndsHere:
    async def test_tells_each_reader_another_time_to_come_back_and_then_the_end_at_once(self) -> None:
        async with StreamManager(CONFIG) as manager:
            await manager.create(id="s")
            there = await readers(PatinoxApp(manager), "/v1/streams/s", 600)
            await manager.drain()
            for reader in there:
                await reader.finished()
            waits = [told["after_s"] for reader in there for told in goaways(reader.body)]
            ends = [EventStreamParser().feed(reader.body)[-1].event for reader in there]
            await leave(there)
        assert len(waits) == 600
        assert ends == ["end"] * 600
        moments = [float(str(wait)) - RETURN_S for wait in waits]
        assert min(moments) >= 0
        assert max(moments) < 10
        assert peak_over_mean(moments, 10.0) <= 2

    async def test_the_wait_is_retry_for_an_event_source(self) -> None:
        async with StreamManager(CONFIG) as manager:
            await manager.create(id="s")
            (reader,) = await readers(PatinoxApp(manager), "/v1/streams/s", 1)
            await manager.drain()
            await reader.finished()
            await leave([reader])
        (told,) = goaways(reader.body)
        assert b"retry: %d\n" % round(1000 * float(str(told["after_s"]))) in reader.body
