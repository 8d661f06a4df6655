"""Watching a stream, and attending to those that a node holds."""

from __future__ import annotations

import asyncio
from typing import Any

from patinox.core.chunks import StreamChunk
from patinox.core.keys import StreamKey
from patinox.stores.base import CancelAsked, Deleted, Grown, News, Store, TakenOver, Unsure, Watched
from patinox.testing.contract.bench import LONG_S, Bench, Told, holds, same, stored


def _reached(head: int) -> Any:
    return lambda news: any(isinstance(one, Grown) and one.head >= head for one in news)


def _told(kind: type) -> Any:
    return lambda news: any(isinstance(one[1] if isinstance(one, tuple) else one, kind) for one in news)


class _Follower:
    """A reader on another node: takes the chunks that news bring where they follow, and reads where they don't."""

    def __init__(self, store: Store, key: StreamKey) -> None:
        self.store = store
        self.key = key
        self.chunks: list[StreamChunk] = []
        self._queue: asyncio.Queue[News] = asyncio.Queue()

    def hear(self, news: News) -> None:
        self._queue.put_nowait(news)

    async def read_on(self) -> None:
        while page := await self.store.read(self.key, len(self.chunks), 64):
            self.chunks += page

    async def follow(self) -> None:
        unwatch = await self.store.watch(self.key, self.hear)
        try:
            await self.read_on()
            while not (self.chunks and self.chunks[-1].is_final):
                news = await self._queue.get()
                if isinstance(news, Grown) and news.chunks and news.chunks[0].sequence == len(self.chunks) + 1:
                    self.chunks += news.chunks
                elif isinstance(news, Unsure) or (isinstance(news, Grown) and news.head > len(self.chunks)):
                    await self.read_on()
        finally:
            unwatch()


async def tells_watchers_of_growth(bench: Bench) -> None:
    """Who watches a stream is told, on any node, that it has grown; what is told is what can be read."""
    writer = await bench.create()
    await writer.write("before")
    told = Told()
    async with bench.another() as other:
        unwatch = await other.watch(writer.key, told)
        await writer.write("a", "b")
        await writer.end()
        await told.until(_reached(4), "the watcher is told of every chunk")
        unwatch()
        chunks = await stored(other, writer.key)
    for news in told.news:
        if isinstance(news, Grown) and news.chunks:
            first, last = news.chunks[0].sequence, news.chunks[-1].sequence
            same(last, news.head, "the last chunk that is told of is at the head")
            same(list(news.chunks), chunks[first - 1 : last], "the chunks that are told of")


async def joins_reading_and_watching_without_a_seam(bench: Bench) -> None:
    """Whoever watches first and reads then has every chunk once and in order, however the two overlap."""
    writer = await bench.create()
    async with bench.another() as other:
        followers = [_Follower(other, writer.key) for _ in range(3)]
        async with asyncio.timeout(LONG_S), asyncio.TaskGroup() as tasks:
            for number, follower in enumerate(followers):
                await writer.write(*(f"{number}.{step}" for step in range(30)))
                tasks.create_task(follower.follow())
                await writer.write("one more")
            for number in range(50):
                await writer.write(f"{number}")
            await writer.end()
    for follower in followers:
        same(follower.chunks, writer.written, "the chunks of a follower")


async def tells_watchers_of_their_own_stream_alone(bench: Bench) -> None:
    """News of other streams, and of the same id of another tenant, are not told."""
    watched, other = await bench.create("watched"), await bench.create("other")
    twin = await bench.store.create(bench.facts(bench.key("watched", f"{bench.tenant}-b")), "one", LONG_S)
    told = Told()
    unwatch = await bench.store.watch(watched.key, told)
    await other.write("x", "y", "z")
    await bench.store.delete(twin.facts.key)
    await watched.write("mine")
    await told.until(_reached(1), "the watcher is told of its own stream")
    unwatch()
    strays = [n for n in told.news if isinstance(n, Deleted | TakenOver) or (isinstance(n, Grown) and n.head > 1)]
    same(strays, [], "news of other streams")


async def tells_watchers_who_writes_now_and_that_it_is_gone(bench: Bench) -> None:
    """A take-over and a deletion are told, with the new node and its fence."""
    writer = await bench.create()
    told = Told()
    async with bench.another() as other:
        unwatch = await other.watch(writer.key, told)
        record = await bench.store.take_over(writer.key, bench.node("two"), LONG_S)
        await told.until(_told(TakenOver), "the watcher is told of the take-over")
        await bench.store.delete(writer.key)
        await told.until(_told(Deleted), "the watcher is told of the deletion")
        unwatch()
    holds(TakenOver(bench.node("two"), record.fence) in told.news, "the news name the new node and its fence")


async def tells_each_watcher_until_it_leaves(bench: Bench) -> None:
    """Several may watch one stream; one that has left is told nothing more."""
    writer = await bench.create()
    left = Told()
    stays = Told()
    leave = await bench.store.watch(writer.key, left)
    stay = await bench.store.watch(writer.key, stays)
    await writer.write("to both")
    await asyncio.gather(left.until(_reached(1), "the first is told"), stays.until(_reached(1), "the second is told"))
    leave()
    before = list(left.news)
    await writer.write("to one")
    await stays.until(_reached(2), "who stays is told")
    stay()
    same(left.news, before, "what is told to one who has left")


async def carries_wishes_to_the_holder(bench: Bench) -> None:
    """What others want of a stream reaches the node that holds it, and no other."""
    writer = await bench.create(node="one")
    holder = Told()
    bystander = Told()
    async with bench.another() as other:
        ends = [await bench.store.attend(bench.node("one"), holder), await other.attend(bench.node("two"), bystander)]
        await other.tell(writer.key, Watched(30.0))
        await holder.until(_told(Watched), "the holder is told that somebody watches")
        await other.tell(writer.key, CancelAsked("enough"))
        await other.tell(bench.key("unknown"), CancelAsked())
        await holder.until(_told(CancelAsked), "the holder is asked to cancel")
        for end in ends:
            end()
    holds((writer.key, Watched(30.0)) in holder.news, "the wish says for how long")
    holds((writer.key, CancelAsked("enough")) in holder.news, "the wish says why")
    same(bystander.news, [], "what a node is told that holds nothing")


async def carries_wishes_to_the_new_holder(bench: Bench) -> None:
    """After a take-over the old holder is told of it, and wishes go to the new one."""
    writer = await bench.create(node="one")
    old = Told()
    new = Told()
    async with bench.another() as other:
        ends = [await bench.store.attend(bench.node("one"), old), await other.attend(bench.node("two"), new)]
        record = await other.take_over(writer.key, bench.node("two"), LONG_S)
        await old.until(_told(TakenOver), "the old holder is told of the take-over")
        await bench.store.tell(writer.key, CancelAsked("stop"))
        await new.until(_told(CancelAsked), "the new holder is asked to cancel")
        for end in ends:
            end()
    same(old.news, [(writer.key, TakenOver(bench.node("two"), record.fence))], "what the old holder is told")


async def tells_the_holder_that_its_stream_is_gone(bench: Bench) -> None:
    """Whoever deletes a stream, the node that holds it is told; of its own appends it is not."""
    writer = await bench.create(node="one")
    holder = Told()
    async with bench.another() as other:
        end = await bench.store.attend(bench.node("one"), holder)
        await writer.write("my own")
        await other.delete(writer.key)
        await holder.until(_told(Deleted), "the holder is told")
        end()
    same(set(holder.news), {(writer.key, Deleted())}, "what the holder is told")


CHECKS = (
    tells_watchers_of_growth, joins_reading_and_watching_without_a_seam, tells_watchers_of_their_own_stream_alone,
    tells_watchers_who_writes_now_and_that_it_is_gone, tells_each_watcher_until_it_leaves,
    carries_wishes_to_the_holder, carries_wishes_to_the_new_holder, tells_the_holder_that_its_stream_is_gone,
)  # fmt: skip
