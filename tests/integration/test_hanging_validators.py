"""A validator, processor or stage of somebody's own that raises, hangs or dies: the stream ends as configured."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Literal

import aiohttp
import pytest
from tests.serving import serving

from patinox import IncrementalResponseHandler, StreamManager
from patinox.core.chunks import Error, Json, Outcome, Text
from patinox.core.events import Verdict
from patinox.incremental.deadlines import DeadlinePassed, quick
from patinox.incremental.pipeline import PipelineFailed
from patinox.incremental.tokens import Tokens
from patinox.manager.pipelines import Pipelines
from patinox.validation.base import Action, Finding, LaneInfo, Policy
from patinox.validation.frontier import ValidationStage
from patinox.validation.moderation import Flag, ModerationStage

AT_ONCE_S = 0.01
WORD = "boom"
OnError = Literal["closed", "open"]
Fail = Callable[[], Any]


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hanging code waits for; set when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def fails(error: BaseException) -> Fail:
    def fail() -> Any:
        raise error

    return fail


@pytest.fixture(
    params=["hangs", ValueError(), SystemExit(3), RecursionError(), MemoryError(), KeyboardInterrupt()],
    ids=lambda how: how if isinstance(how, str) else type(how).__name__,
)
def fail(request: pytest.FixtureRequest, release: threading.Event) -> Fail:
    """Every way to fail."""
    return release.wait if request.param == "hangs" else fails(request.param)


class Scanner:
    def __init__(self, fail: Fail) -> None:
        self.frontier, self._fail = 0, fail

    def feed(self, text: str) -> Sequence[Finding]:
        if WORD in text:
            self._fail()
        self.frontier += len(text)
        return ()

    def close(self) -> Sequence[Finding]:
        return ()


class Mine:
    """A validator that fails at a word."""

    name = "mine"

    def __init__(self, fail: Fail, on_error: OnError, deadline_s: float | None = AT_ONCE_S) -> None:
        self.policy, self._fail = Policy(on_error=on_error, deadline_s=deadline_s), fail

    def scanner(self, lane: LaneInfo) -> Scanner:
        return Scanner(self._fail)


class Source:
    """Speaks, then is silent; notes that it was closed."""

    def __init__(self, *texts: str, ends: bool = False) -> None:
        self.closed = asyncio.Event()
        self._texts, self._ends = texts, ends

    async def __aiter__(self) -> AsyncIterator[str]:
        for text in self._texts:
            yield text
        if not self._ends:
            await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed.set()


def validated(fail: Fail, on_error: OnError, deadline_s: float | None = AT_ONCE_S) -> IncrementalResponseHandler:
    return IncrementalResponseHandler(lambda: [ValidationStage([Mine(fail, on_error, deadline_s)])])


def processed(processor: Any, on_error: OnError) -> IncrementalResponseHandler:
    return IncrementalResponseHandler(lambda: [Tokens([processor], on_error=on_error, deadline_s=AT_ONCE_S)])


async def collect(handler: IncrementalResponseHandler, source: Any, out: list[Any] | None = None) -> list[Any]:
    """All that leaves; in `out` too, for what came before an exception."""
    out = [] if out is None else out
    async for data in handler.process_stream(source):
        out.append(data)
    return out


def texts(items: Sequence[Any]) -> str:
    return "".join(data.text for data in items if isinstance(data, Text))


# ── validators ──


async def test_closed_fails_the_stream_leaks_nothing_and_closes_the_source(fail: Fail) -> None:
    source = Source("fine ", f"a {WORD} b", "more")
    out = await collect(validated(fail, "closed"), source)
    assert texts(out) == "fine "
    assert isinstance(out[-1], Error)
    assert out[-1].code == "validator_failed"
    assert source.closed.is_set()


async def test_open_goes_on_without_it_tells_and_counts(fail: Fail) -> None:
    stage = ValidationStage([Mine(fail, "open")])
    handler = IncrementalResponseHandler(lambda: [stage])
    out = await collect(handler, Source("fine ", f"a {WORD} b ", f"{WORD} again", ends=True))
    assert texts(out) == f"fine a {WORD} b {WORD} again"
    assert [data.action for data in out if isinstance(data, Verdict)] == ["open"]
    assert stage.failures == {"mine": 1}


@pytest.mark.parametrize(("on_error", "kinds"), [("closed", ["error"]), ("open", ["verdict", "json"])])
async def test_a_value_is_as_good_a_place_to_fail(fail: Fail, on_error: OnError, kinds: list[str]) -> None:
    out = await collect(validated(fail, on_error), [Json([WORD])])
    assert [data.kind for data in out] == kinds
    assert on_error == "closed" or out[-1] == Json([WORD])


@pytest.mark.parametrize("error", [ValueError(), SystemExit(3)])
@pytest.mark.parametrize(("on_error", "left"), [("closed", "fine "), ("open", f"fine {WORD}")])
def test_a_quick_one_that_dies_where_the_stage_runs_ends_alike(
    error: BaseException, on_error: OnError, left: str
) -> None:
    stage = ValidationStage([quick(Mine(fails(error), on_error))])
    assert texts(stage.feed([Text("fine "), Text(WORD)])) == left
    assert stage.failures == {"mine": 1}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_stops_the_process_or_its_task_is_not_swallowed(error: BaseException) -> None:
    with pytest.raises(type(error)):
        ValidationStage([quick(Mine(fails(error), "open"))]).feed([Text(WORD)])


async def test_a_scanner_that_says_nonsense_has_failed() -> None:
    class Odd(Scanner):
        def feed(self, text: str) -> Any:
            return ["not a finding"]

    class Maker(Mine):
        def scanner(self, lane: LaneInfo) -> Scanner:
            return Odd(self._fail)

    handler = IncrementalResponseHandler(lambda: [ValidationStage([Maker(fails(ValueError()), "open", None)])])
    assert texts(await collect(handler, ["fine"])) == "fine"


async def test_other_streams_flow_while_a_validator_hangs(release: threading.Event) -> None:
    begun = threading.Event()

    def hang() -> None:
        begun.set()
        release.wait()

    async with StreamManager() as manager:
        stuck = await manager.create(pipeline=validated(hang, "closed", 60.0))
        writing = asyncio.ensure_future(stuck.write(WORD))
        assert await asyncio.to_thread(begun.wait, 60)
        plain = await manager.relay(["a", "b"])
        guarded = await manager.relay(["c", "d"], pipeline=validated(hang, "closed", 60.0))
        seen = [[chunk.data async for chunk in stream.subscribe()][:-1] for stream in (plain, guarded)]
        assert seen == [[Text("a"), Text("b")], [Text("c"), Text("d")]]
        assert not writing.done()
        release.set()
        await writing
        await stuck.finish()
        assert stuck.assembly.content == WORD


async def test_a_relay_through_a_hanging_validator_ends_failed_and_closes_its_source(release: threading.Event) -> None:
    source = Source("fine ", WORD)
    async with StreamManager() as manager:
        stream = await manager.relay(source, pipeline=validated(release.wait, "closed"))
        data = [chunk.data async for chunk in stream.subscribe()]
        await source.closed.wait()
        assert texts(data) == "fine "
        assert data[-1].code == "validator_failed"
        assert stream.feed.outcome is Outcome.FAILED


async def test_what_comes_back_too_late_is_not_heard(release: threading.Event) -> None:
    late = threading.Event()

    class Late(Scanner):
        def feed(self, text: str) -> Sequence[Finding]:
            with contextlib.suppress(BaseException):  # being told to end, too
                release.wait()
            late.set()
            return [Finding(0, None, "late")]

    class Maker(Mine):
        def scanner(self, lane: LaneInfo) -> Scanner:
            return Late(self._fail)

    async with StreamManager() as manager:
        handler = IncrementalResponseHandler(lambda: [ValidationStage([Maker(release.wait, "open")])])
        stream = await manager.create(pipeline=handler)
        await stream.write("a")
        release.set()
        assert await asyncio.to_thread(late.wait, 60)
        await stream.write("b")
        await stream.finish()
        assert stream.assembly.content == "ab"


async def test_posted_chunks_meet_a_hanging_validator(release: threading.Event) -> None:
    pipelines = Pipelines({
        "closed": validated(release.wait, "closed"), "open": validated(release.wait, "open"),
    })  # fmt: skip
    async with serving({}, pipelines=pipelines) as server, aiohttp.ClientSession(server.url) as http:
        for name in pipelines:
            await (await http.post("/v1/streams", json={"id": name, "pipeline": name})).read()
            for text in ("fine ", WORD):
                answer = await http.post(
                    f"/v1/streams/{name}/chunks", data=text, headers={"Content-Type": "text/plain"}
                )
                await answer.read()
        closed, opened = server.manager.get("closed"), server.manager.get("open")
        assert (closed.assembly.content, closed.feed.outcome) == ("fine ", Outcome.FAILED)
        assert (opened.assembly.content, opened.is_open) == (f"fine {WORD}", True)


# ── processors and stages ──


async def test_a_closed_processor_that_fails_fails_the_pipeline(fail: Fail) -> None:
    def mine(text: str) -> str:
        if text == WORD:
            fail()
        return text.upper()

    source, out = Source("fine ", WORD), list[Any]()
    with pytest.raises(PipelineFailed):
        await collect(processed(mine, "closed"), source, out)
    assert texts(out) == "FINE "
    assert source.closed.is_set()


async def test_an_open_processor_that_fails_is_left_out_and_what_it_held_passes(fail: Fail) -> None:
    class Keeping:
        """Holds the last character of the text, in upper case."""

        def __init__(self) -> None:
            self._kept = ""

        @property
        def held(self) -> int:
            return len(self._kept)

        def fresh(self) -> Keeping:
            return Keeping()

        def feed(self, text: str) -> str:
            if text == WORD:
                fail()
            text = self._kept + text.upper()
            self._kept = text[-1:]
            return text[:-1]

        def close(self) -> str:
            return self._kept

    stage = Tokens([Keeping()], on_error="open", deadline_s=AT_ONCE_S)
    handler = IncrementalResponseHandler(lambda: [stage])
    assert texts(await collect(handler, ["one", WORD, " two"])) == f"ONe{WORD} two"
    assert sum(stage.failures.values()) == 1


async def test_a_processor_that_is_well_does_in_a_thread_what_it_does_elsewhere() -> None:
    threads = set[str]()

    def mine(text: str) -> str:
        threads.add(threading.current_thread().name)
        return text.upper()

    assert texts(await collect(processed(mine, "open"), ["a", "b"])) == "AB"
    assert texts(await collect(processed(quick(mine), "open"), ["c"])) == "C"
    assert threads == {"patinox step", threading.current_thread().name}


async def test_a_stage_that_fails_fails_the_pipeline(fail: Fail) -> None:
    class Stage:
        held = False

        def feed(self, batch: Sequence[Any]) -> list[Any]:
            fail()
            return list(batch)

        def close(self) -> list[Any]:
            return []

    source = Source("a")
    with pytest.raises(PipelineFailed) as raised:
        await collect(IncrementalResponseHandler(lambda: [Stage()], deadline_s=AT_ONCE_S), source)
    assert isinstance(raised.value.__cause__, Exception | SystemExit)
    assert source.closed.is_set()


async def test_a_stage_that_hangs_is_given_up_at_the_handlers_deadline(release: threading.Event) -> None:
    class Stage:
        held = False

        def feed(self, batch: Sequence[Any]) -> list[Any]:
            return list(batch)

        def close(self) -> list[Any]:
            release.wait()
            return []

    with pytest.raises(PipelineFailed) as raised:
        await collect(IncrementalResponseHandler(lambda: [Stage()], deadline_s=AT_ONCE_S), ["a"])
    assert isinstance(raised.value.__cause__, DeadlinePassed)


# ── hooks ──


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()])
@pytest.mark.parametrize(("on_error", "left"), [("closed", ""), ("open", "hello")])
async def test_a_hook_that_dies_has_failed_like_any_other(error: BaseException, on_error: OnError, left: str) -> None:
    async def hook(text: str) -> Sequence[Flag]:
        raise error

    policy = Policy(action=Action.BLOCK, on_error=on_error, channels=frozenset({"text"}))
    out = await collect(IncrementalResponseHandler(lambda: [ModerationStage(hook, policy=policy)]), ["hello"])
    assert texts(out) == left
