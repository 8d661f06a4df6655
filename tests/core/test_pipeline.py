"""The pipeline: stages in a row, and an error that is final."""

from collections.abc import Sequence
from typing import Any

import pytest

from patinox.core.chunks import Error, Text
from patinox.core.events import BlockDelta, BlockEnd, Usage
from patinox.errors import TooLarge
from patinox.incremental.chunker import Chunker
from patinox.incremental.deadlines import quick
from patinox.incremental.pipeline import AsyncPipeline, Pipeline, PipelineFailed, pipeline_of
from patinox.incremental.tokens import Newlines, Tokens

BLOCKED = Error("blocked", "Something that must not leave was about to.")


class Hold:
    """Holds the last record back, and notes what it saw."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.closed = 0
        self._kept: list[Any] = []

    @property
    def held(self) -> bool:
        return bool(self._kept)

    def feed(self, batch: Sequence[Any]) -> list[Any]:
        self.seen += batch
        self._kept += batch
        out, self._kept = self._kept[:-1], self._kept[-1:]
        return out

    def close(self) -> list[Any]:
        self.closed += 1
        out, self._kept = self._kept, []
        return out


class Block(Hold):
    """Blocks at the text it is told, at once or when the text is over."""

    def __init__(self, word: str, *, late: bool = False) -> None:
        super().__init__()
        self._word = word
        self._late = late

    def feed(self, batch: Sequence[Any]) -> list[Any]:
        self.seen += batch
        for place, data in enumerate(batch):
            if not self._late and data == Text(self._word):
                return [*batch[:place], BLOCKED]
        return list(batch)

    def close(self) -> list[Any]:
        return [*super().close(), BLOCKED] if self._late else super().close()


class Broken(Hold):
    def feed(self, batch: Sequence[Any]) -> list[Any]:
        raise KeyError("the secret itself")


class Refusing(Hold):
    def feed(self, batch: Sequence[Any]) -> list[Any]:
        raise TooLarge("too much")


class AsyncHold:
    """`Hold`, but it has to be awaited."""

    def __init__(self) -> None:
        self._hold = Hold()

    @property
    def held(self) -> bool:
        return self._hold.held

    async def feed(self, batch: Sequence[Any]) -> list[Any]:
        return self._hold.feed(batch)

    async def close(self) -> list[Any]:
        return self._hold.close()


def texts(*words: str) -> list[Text]:
    return [Text(word) for word in words]


def test_a_batch_goes_through_all_stages_in_their_order() -> None:
    pipeline = Pipeline([Tokens([str.upper]), Tokens([lambda text: text + "a"])])
    assert pipeline.feed(texts("x")) == texts("Xa")


def test_what_is_held_leaves_at_the_end() -> None:
    pipeline = Pipeline([Hold(), Hold()])
    assert pipeline.feed(texts("a", "b", "c")) == texts("a")
    assert pipeline.held
    assert pipeline.close() == texts("b", "c")
    assert not pipeline.held


def test_a_pipeline_without_stages_lets_everything_through() -> None:
    assert Pipeline([]).feed(texts("a")) == texts("a")


def test_an_error_of_a_stage_is_the_last_record_and_final() -> None:
    before, block, after = Hold(), Block("b"), Hold()
    pipeline = Pipeline([before, block, after])
    assert pipeline.feed(texts("a", "b", "c", "d")) == [*texts("a"), BLOCKED]
    assert pipeline.is_over
    assert pipeline.feed(texts("e")) == pipeline.close() == []
    assert (before.closed, after.closed) == (0, 1)
    assert after.seen == texts("a")


def test_a_stage_may_block_when_the_source_is_over() -> None:
    assert Pipeline([Block("", late=True), Hold()]).close() == [BLOCKED]


def test_an_error_of_the_source_lets_every_stage_decide() -> None:
    pipeline = Pipeline([Hold(), Chunker("word")])
    error = Error("upstream", "It broke.")
    assert pipeline.feed([*texts("a b", "c"), error, *texts("d")]) == [*texts("a ", "bc"), error]
    assert pipeline.is_over


def test_the_first_of_two_errors_is_the_one_that_counts() -> None:
    pipeline = Pipeline([Block("b"), Block("a")])
    assert pipeline.feed(texts("a", "b")) == [BLOCKED]


def test_a_stage_that_raises_lets_nothing_leave_and_says_only_what_kind_of_error() -> None:
    pipeline = Pipeline([Hold(), Broken()])
    with pytest.raises(PipelineFailed, match="KeyError") as raised:
        pipeline.feed(texts("a", "b"))
    assert "secret" not in str(raised.value)
    assert pipeline.is_over
    assert pipeline.feed(texts("c")) == []


def test_our_own_errors_keep_their_code() -> None:
    with pytest.raises(TooLarge):
        Pipeline([Refusing()]).feed(texts("a"))


def test_the_chunker_at_the_end_can_be_flushed() -> None:
    pipeline = Pipeline([Tokens([Newlines()]), Chunker("sentence")])
    pipeline.feed(texts("Hello"))
    assert pipeline.flush() == texts("Hello")
    assert pipeline.flush() == []
    assert not pipeline.flushable


def test_a_validator_at_the_end_cannot() -> None:
    pipeline = Pipeline([Hold()])
    pipeline.feed(texts("a"))
    assert not pipeline.flushable


async def test_stages_that_wait_and_stages_that_do_not_make_one_row() -> None:
    pipeline = AsyncPipeline([Tokens([str.upper]), AsyncHold(), Hold()])
    assert await pipeline.feed(texts("a", "b", "c")) == texts("A")
    assert await pipeline.close() == texts("B", "C")


async def test_an_async_stage_that_raises_ends_the_pipeline() -> None:
    class Raising(AsyncHold):
        async def feed(self, batch: Sequence[Any]) -> list[Any]:
            raise ValueError("the secret itself")

    pipeline = AsyncPipeline([Raising()])
    with pytest.raises(PipelineFailed, match="ValueError"):
        await pipeline.feed(texts("a"))
    assert await pipeline.feed(texts("b")) == []


def test_a_pipeline_waits_only_where_a_stage_does() -> None:
    assert type(pipeline_of([quick(Hold()), Chunker("word")])) is Pipeline
    assert type(pipeline_of([quick(Hold()), AsyncHold()])) is AsyncPipeline
    assert type(pipeline_of([Hold()])) is AsyncPipeline


def test_records_stay_behind_the_text_before_them() -> None:
    pipeline = Pipeline([Tokens([str.upper]), Chunker("word")])
    usage = Usage(output_tokens=1)
    batch = [BlockDelta(text="a b", block=0), usage, BlockEnd(block=0)]
    out = [BlockDelta(text="A ", block=0), BlockDelta(text="B", block=0), usage, BlockEnd(block=0)]
    assert pipeline.feed(batch) == out
