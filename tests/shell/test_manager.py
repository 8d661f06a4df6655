"""StreamManager and ActiveStream: who owns what, and how it ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from patinox import StreamingConfig, StreamManager
from patinox.config import OnAbandon
from patinox.core.chunks import Binary, ChunkData, End, Error, EventId, Json, Outcome, StreamChunk, Text
from patinox.core.producers import Producer
from patinox.errors import (
    InputError,
    InvalidChunk,
    LimitExceeded,
    ProducerGap,
    ShuttingDown,
    StreamClosed,
    StreamExists,
    StreamGone,
    StreamNotFound,
    TooLarge,
    UnknownFormat,
    UpstreamRefused,
)
from patinox.manager import ActiveStream
from patinox.manager.stream import error_of
from patinox.testing.fakes import ManualClock, turns


@pytest.fixture
async def clock() -> ManualClock:
    clock = ManualClock()
    clock.install(asyncio.get_running_loop())
    return clock


@pytest.fixture
async def manager(clock: ManualClock) -> AsyncIterator[StreamManager]:
    config = StreamingConfig(max_chunk_bytes=1000, max_stream_bytes=5000, max_streams=10, drain_timeout_s=0, ttl_s=60)
    async with StreamManager(config, clock=clock) as manager:
        yield manager


async def all_of(stream: ActiveStream) -> list[StreamChunk]:
    return [chunk async for chunk in stream.subscribe()]


class TestStreams:
    async def test_ids_are_made_long_and_unlike(self, manager: StreamManager) -> None:
        ids = {(await manager.create()).id for _ in range(5)}
        assert {len(id_) for id_ in ids} == {22}
        assert len(ids) == len(manager) == 5
        assert {stream.id for stream in manager} == ids

    async def test_an_id_is_taken_once(self, manager: StreamManager) -> None:
        stream = await manager.create(id="mine")
        assert manager.get("mine") is stream
        with pytest.raises(StreamExists):
            await manager.create(id="mine")

    @pytest.mark.parametrize("id_", ["", "-a", "a b", "a/b", "a\n", "é", "x" * 129, ".."])
    async def test_an_id_that_will_not_do_is_refused(self, manager: StreamManager, id_: str) -> None:
        with pytest.raises(InputError):
            await manager.create(id=id_)

    @pytest.mark.parametrize(
        "settings",
        [{"ttl_s": 0}, {"ttl_s": -1}, {"ttl_s": float("nan")}, {"retain": "some"}, {"on_abandon": "maybe"},
         {"on_abandon": "cancel_after=soon"}, {"metadata": [1]}, {"metadata": []}, {"metadata": "x"},
         {"metadata": {"a": object()}}, {"metadata": {"a": "x" * 70_000}}],
    )  # fmt: skip
    async def test_options_that_make_no_sense_are_refused(
        self, manager: StreamManager, settings: dict[str, Any]
    ) -> None:
        with pytest.raises(InputError):
            await manager.create(**settings)
        assert len(manager) == 0

    async def test_metadata_is_a_copy(self, manager: StreamManager) -> None:
        metadata = {"a": [1]}
        stream = await manager.create(metadata=metadata)
        metadata["a"].append(2)
        assert stream.metadata == {"a": [1]}

    async def test_there_are_only_so_many(self, manager: StreamManager) -> None:
        for _ in range(10):
            await manager.create()
        with pytest.raises(LimitExceeded) as refusal:
            await manager.create()
        assert refusal.value.http_status == 503

    async def test_an_unknown_stream_and_a_deleted_one_are_told_apart(self, manager: StreamManager) -> None:
        stream = await manager.create(id="a")
        await manager.delete("a")
        assert stream.state == "cancelled"
        assert await manager.find(EventId(stream.epoch, 1)) is None
        with pytest.raises(StreamGone):
            manager.get("a")
        with pytest.raises(StreamNotFound):
            manager.get("b")

    async def test_a_finished_stream_is_forgotten_after_its_time(
        self, manager: StreamManager, clock: ManualClock
    ) -> None:
        short, long, open_ = await manager.create(ttl_s=10), await manager.create(), await manager.create(ttl_s=1)
        for stream in (short, long):
            await stream.finish()
        clock.now_s += 11
        assert await manager.sweep() == 1
        with pytest.raises(StreamGone):
            manager.get(short.id)
        assert {stream.id for stream in manager} == {long.id, open_.id}
        for _ in range(10):
            await clock.advance(15)
        assert {stream.id for stream in manager} == {open_.id}

    async def test_figures(self, manager: StreamManager) -> None:
        stream = await manager.create()
        await stream.write("a")
        assert stream.stats()["head"] == 1
        assert manager.stats()["streams"] == manager.stats()["open"] == 1
        assert stream.describe()["position"] == f"{stream.epoch}-1"
        assert stream.snapshot()["content"] == "a"
        assert stream.id in repr(stream)
        assert "1 streams" in repr(manager)
        assert stream.created_s == pytest.approx(manager._clock())

    async def test_formats_are_found_by_name(self, manager: StreamManager) -> None:
        assert manager.format("text").name == "text"
        with pytest.raises(UnknownFormat, match="text") as refusal:
            manager.format("nonsense")
        assert "openai-chat" in refusal.value.as_dict()["known"]


class TestWriting:
    async def test_what_is_written_is_read(self, manager: StreamManager) -> None:
        stream = await manager.create()
        data: list[ChunkData] = [Text("a"), Json({"b": 1}), Binary(b"c")]
        await stream.write("bare")
        for item in data:
            await stream.write(item)
        await stream.write(StreamChunk(99, Text("again"), 0.0))
        end = await stream.finish()
        assert [chunk.data for chunk in await all_of(stream)] == [Text("bare"), *data, Text("again"), end.data]
        assert end.data == End(Outcome.COMPLETE)

    @pytest.mark.parametrize("data", [None, 1, {}, End(Outcome.COMPLETE), object()])
    async def test_what_is_no_chunk_is_refused(self, manager: StreamManager, data: Any) -> None:
        stream = await manager.create()
        with pytest.raises(InputError):
            await stream.write(data)
        assert stream.log.head == 0

    async def test_what_json_cannot_say_leaves_the_stream_as_it_was(self, manager: StreamManager) -> None:
        stream = await manager.create()
        with pytest.raises(InvalidChunk):
            await stream.write("\ud800")
        with pytest.raises(InvalidChunk):
            await stream.fail(Error("x", "\ud800"))
        assert stream.is_open
        await stream.finish()
        assert (await all_of(stream))[-1].data == End(Outcome.COMPLETE)

    async def test_a_chunk_over_its_limit_is_refused(self, manager: StreamManager) -> None:
        stream = await manager.create()
        with pytest.raises(TooLarge):
            await stream.write("x" * 1000)
        assert stream.is_open

    async def test_a_stream_over_its_limit_ends_incomplete(self, manager: StreamManager) -> None:
        stream = await manager.create()
        for _ in range(5):
            await stream.write("x" * 900)
        with pytest.raises(TooLarge):
            await stream.write("x" * 900)
        assert stream.state == "incomplete"
        assert (await all_of(stream))[-1].data.error.code == "max_stream_bytes"

    async def test_a_stream_that_keeps_its_window_only_has_no_such_limit(self, manager: StreamManager) -> None:
        stream = await manager.create(retain="window")
        for _ in range(20):
            await stream.write("x" * 900)
        assert stream.is_open

    async def test_an_error_is_final(self, manager: StreamManager) -> None:
        stream = await manager.create()
        chunk = await stream.write(Error("boom", "it broke"))
        assert chunk.is_final
        assert stream.state == "failed"
        with pytest.raises(StreamClosed):
            await stream.write("more")

    @pytest.mark.parametrize("outcome", list(Outcome))
    async def test_a_stream_ends_once(self, manager: StreamManager, outcome: Outcome) -> None:
        stream = await manager.create()
        await stream.finish(outcome)
        assert stream.state == outcome.value
        for again in Outcome:
            with pytest.raises(StreamClosed):
                await stream.finish(again)
        with pytest.raises(StreamClosed):
            await stream.write("a")
        assert await stream.cancel() is False
        assert stream.interrupt_nowait("x") is False
        chunks = await all_of(stream)
        assert [chunk.is_final for chunk in chunks] == [True]
        assert stream.state == outcome.value

    async def test_an_unknown_outcome_is_refused(self, manager: StreamManager) -> None:
        stream = await manager.create()
        with pytest.raises(InputError, match="complete"):
            await stream.finish("won")
        assert stream.is_open

    async def test_cancelling_says_why(self, manager: StreamManager) -> None:
        stream = await manager.create()
        assert await manager.cancel(stream.id, "enough") is True
        assert (await all_of(stream))[-1].data == End(Outcome.CANCELLED, Error("cancelled", "enough"))

    async def test_a_busy_producer_gives_others_their_turn(self, manager: StreamManager) -> None:
        stream = await manager.create()
        had_a_turn = asyncio.ensure_future(asyncio.sleep(0))
        for _ in range(200):
            await stream.write("x")
        assert had_a_turn.done()

    async def test_a_repeated_chunk_of_a_producer_is_skipped(self, manager: StreamManager) -> None:
        stream = await manager.create()
        assert [await stream.produce("a", Producer("p", 0, seq)) for seq in (0, 1, 1, 0)] == [True, True, False, False]
        with pytest.raises(ProducerGap):
            await stream.produce("a", Producer("p", 0, 5))
        assert stream.log.head == 2

    async def test_a_retry_on_the_heels_of_its_first_attempt_is_skipped(self, manager: StreamManager) -> None:
        stream = await manager.create()
        for number in range(200):
            await asyncio.gather(*(stream.produce(f"{number}", Producer("p", 0, number)) for _ in range(2)))
        assert stream.log.head == 200

    async def test_a_refused_chunk_of_a_producer_is_not_remembered(self, manager: StreamManager) -> None:
        stream = await manager.create()
        with pytest.raises(TooLarge):
            await stream.produce("x" * 2000, Producer("p"))
        assert await stream.produce("x", Producer("p"))

    def test_of_a_foreign_error_only_the_name_gets_out(self) -> None:
        assert "secret" not in error_of(ValueError("secret")).message
        own = error_of(UpstreamRefused("no", status=429, body={"why": "quota"}))
        assert (own.status, own.provider) == (429, {"why": "quota"})


class TestAbandoned:
    async def test_nothing_happens_by_default(self, manager: StreamManager, clock: ManualClock) -> None:
        stream = await manager.create()
        await stream.subscribe().aclose()
        await clock.advance(10**6)
        assert stream.is_open

    async def test_it_is_cancelled_when_nobody_came_back(self, manager: StreamManager, clock: ManualClock) -> None:
        stream = await manager.create(on_abandon="cancel_after=30s")
        await clock.advance(100)
        assert stream.is_open, "nobody has watched it yet"
        async with stream.subscribe():
            await clock.advance(100)
        await clock.advance(29)
        assert stream.is_open
        await clock.advance(2)
        assert stream.state == "cancelled"

    async def test_it_goes_on_when_somebody_comes_back(self, manager: StreamManager, clock: ManualClock) -> None:
        stream = await manager.create(on_abandon=OnAbandon(30.0))
        await stream.subscribe().aclose()
        await clock.advance(20)
        async with stream.subscribe(), stream.subscribe() as other:
            await other.aclose()
            await clock.advance(100)
            assert stream.is_open

    async def test_an_ended_stream_is_not_cancelled(self, manager: StreamManager, clock: ManualClock) -> None:
        stream = await manager.create(on_abandon="cancel_after=30s")
        await stream.subscribe().aclose()
        await stream.finish()
        await stream.subscribe().aclose()
        await clock.advance(100)
        assert stream.state == "complete"


class TestShutdown:
    async def test_running_streams_end_as_interrupted(self) -> None:
        async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
            stream, finished = await manager.create(), await manager.create()
            await finished.finish()
        assert (stream.state, finished.state) == ("interrupted", "complete")
        assert stream.log.slice(0)[-1].data.error.retryable

    async def test_a_closed_manager_takes_nothing_new_and_closes_again(self) -> None:
        manager = StreamManager(StreamingConfig(drain_timeout_s=0))
        stream = await manager.create()
        await manager.aclose()
        await manager.aclose()
        with pytest.raises(ShuttingDown):
            await manager.create()
        with pytest.raises(ShuttingDown):
            manager.subscribe(stream.id)

    async def test_a_manager_that_was_never_used_closes(self) -> None:
        manager = StreamManager()
        await manager.aclose()
        with pytest.raises(ShuttingDown):
            _ = manager.fanout

    async def test_readers_are_told_the_end(self) -> None:
        async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
            stream = await manager.create()
            reading = asyncio.ensure_future(all_of(stream))
            await turns()
        assert (await reading)[-1].data.outcome is Outcome.INTERRUPTED

    async def test_no_task_outlives_the_manager(self) -> None:
        before = asyncio.all_tasks()
        async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
            await manager.relay(endless())
            assert len(asyncio.all_tasks()) > len(before)
            await turns()
        assert asyncio.all_tasks() == before

    def test_managers_of_several_loops_live_in_one_process(self) -> None:
        async def use(name: str) -> str:
            async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
                stream = await manager.create(id=name)
                await stream.write(name)
                await stream.finish()
                return "".join([c.data.text async for c in stream.subscribe() if isinstance(c.data, Text)])

        assert [asyncio.run(use(name)) for name in ("a", "b")] == ["a", "b"]


async def endless() -> AsyncIterator[str]:
    while True:
        yield "x"
        await asyncio.sleep(0)
