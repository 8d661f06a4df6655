"""The moderation stage: windows, answers, failures, and what is taken back. Hooks are fakes; nothing sleeps."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from patinox.core.chunks import Error, Text
from patinox.core.events import BlockDelta, BlockStart, MessageEnd, Retract, Verdict
from patinox.errors import ConfigError
from patinox.validation.base import Action, Policy
from patinox.validation.moderation import Flag, ModerationStage

REDACT = Policy(action=Action.REDACT, channels=frozenset({"text", "arguments"}))


class Hook:
    """Objects to a word; remembers what it was asked, and answers when it may."""

    def __init__(self, word: str = "bad", *, open_gate: bool = True) -> None:
        self.word, self.asked = word, list[str]()
        self.most, self._now = 0, 0
        self.gate = asyncio.Event()
        if open_gate:
            self.gate.set()

    async def __call__(self, text: str) -> Sequence[Flag]:
        self.asked.append(text)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)  # as every request does, it lets others go on
        finally:
            self._now -= 1
        at = text.find(self.word)
        return [] if at < 0 else [Flag("rude", at, at + len(self.word))]


def shown(records: Sequence[Any]) -> str:
    return "".join(record.text for record in records if isinstance(record, Text | BlockDelta))


async def passed(stage: ModerationStage, text: str, size: int) -> list[Any]:
    out: list[Any] = []
    for at in range(0, len(text), size):
        out += await stage.feed([Text(text[at : at + size])])
    return out + await stage.close()


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_windows_overlap_and_are_the_same_for_every_cut(size: int) -> None:
    hook = Hook()
    stage = ModerationStage(hook, policy=REDACT, window_chars=10, overlap_chars=4)
    out = await passed(stage, "0123456789abcdefghijklmn", size)
    assert hook.asked == ["0123456789", "6789abcdef", "cdefghijkl", "ijklmn"]
    assert shown(out) == "0123456789abcdefghijklmn"


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_what_lies_across_two_windows_is_withheld(size: int) -> None:
    stage = ModerationStage(Hook(), policy=REDACT, window_chars=10, overlap_chars=4)
    assert shown(await passed(stage, "12345678bad and on it goes", size)) == "12345678[redacted] and on it goes"


async def test_text_waits_for_its_answer_and_leaves_when_it_is_there() -> None:
    hook = Hook(open_gate=False)
    stage = ModerationStage(hook, policy=REDACT, window_chars=10, overlap_chars=4)
    assert await stage.feed([Text("0123456789")]) == []
    assert stage.held
    hook.gate.set()
    await stage.wait()
    assert shown(await stage.feed([])) == "012345"
    await stage.aclose()


async def test_block_ends_the_stream_and_asks_no_more() -> None:
    stage = ModerationStage(Hook(), window_chars=10, overlap_chars=4)
    out = await passed(stage, "fine. bad. more", 100)
    assert [type(record) for record in out] == [Text, Verdict, Error]
    assert shown(out) == "fine. "
    assert not stage.held


async def test_no_more_are_asked_at_a_time_than_may_be() -> None:
    hook = Hook()
    stage = ModerationStage(hook, policy=REDACT, window_chars=10, overlap_chars=0, max_in_flight=2)
    await passed(stage, "x" * 100, 100)
    assert (len(hook.asked), hook.most) == (10, 2)


async def failing(_: str) -> Sequence[Flag]:
    raise ValueError("what it was asked: secret")


async def hanging(_: str) -> Sequence[Flag]:
    await asyncio.Event().wait()
    return []


@pytest.mark.parametrize(("hook", "what"), [(failing, "ValueError"), (hanging, "TimeoutError")])
async def test_a_hook_that_fails_or_hangs_ends_closed_with_nothing_leaked(hook: Any, what: str) -> None:
    stage = ModerationStage(hook, deadline_s=0.001)
    out = await passed(stage, "some text", 100)
    assert [record.code for record in out] == ["validator_failed"]
    assert what in out[0].message
    assert "secret" not in repr(out)


@pytest.mark.parametrize("hook", [failing, hanging])
async def test_or_open_with_a_verdict_and_a_count(hook: Any) -> None:
    policy = Policy(on_error="open", channels=frozenset({"text"}))
    stage = ModerationStage(hook, policy=policy, deadline_s=0.001)
    out = await passed(stage, "some text", 100)
    assert shown(out) == "some text"
    assert [record.action for record in out if isinstance(record, Verdict)] == ["open"]
    assert stage.failures == 1


def block(*deltas: str) -> list[Any]:
    return [BlockStart(block=0), *(BlockDelta(block=0, text=delta) for delta in deltas)]


async def test_optimistic_text_leaves_at_once_and_is_taken_back() -> None:
    hook = Hook(open_gate=False)
    stage = ModerationStage(hook, policy=REDACT, window_chars=10, overlap_chars=4, optimistic=True)
    assert shown(await stage.feed(block("so bad a day"))) == "so bad a day"
    assert await stage.feed([MessageEnd()]) == []
    hook.gate.set()
    out = await stage.close()
    verdict, retract, end = out
    assert (verdict.rule, verdict.start, verdict.end) == ("rude", 3, 6)
    assert retract == Retract(block=0, start=3, count=3, replacement="[redacted]")
    assert end == MessageEnd()


async def test_places_of_later_retractions_count_earlier_ones_in() -> None:
    hook = Hook(open_gate=False)
    stage = ModerationStage(hook, policy=REDACT, window_chars=8, overlap_chars=0, optimistic=True)
    await stage.feed(block("a bad b.", "c bad d."))
    hook.gate.set()
    retracts = [record for record in await stage.close() if isinstance(record, Retract)]
    text = "a bad b.c bad d."
    for retract in retracts:
        text = text[: retract.start] + retract.replacement + text[retract.start + retract.count :]
    assert text == "a [redacted] b.c [redacted] d."


async def test_optimistic_blocking_takes_back_and_then_ends() -> None:
    stage = ModerationStage(Hook(), window_chars=10, overlap_chars=4, optimistic=True)
    out = [*await stage.feed(block("so bad a day")), *await stage.close()]
    kinds = [record.kind for record in out]
    assert kinds[-3:] == ["verdict", "block.delta", "error"] or kinds[-3:] == ["verdict", "retract", "error"]


async def test_arguments_wait_even_where_text_does_not() -> None:
    hook = Hook(open_gate=False)
    stage = ModerationStage(hook, policy=REDACT, window_chars=10, overlap_chars=4, optimistic=True)
    call = [BlockStart(block=0, of="tool_call"), BlockDelta(block=0, op="json.append", text='{"a": "bad"}')]
    assert [record.kind for record in await stage.feed(call)] == ["block.start"]
    hook.gate.set()
    assert shown(await stage.close()) == '{"a": "[redacted]"}'


async def test_closing_early_ends_what_is_asked() -> None:
    hook = Hook(open_gate=False)
    stage = ModerationStage(hook, policy=REDACT, window_chars=10, overlap_chars=4)
    await stage.feed([Text("0123456789")])
    await stage.aclose()
    assert stage.stats()["in_flight"] == 0
    assert not stage.held


@pytest.mark.parametrize(
    "settings",
    [{"overlap_chars": 400}, {"deadline_s": 0.0}, {"max_in_flight": 0}],
)
def test_settings_that_make_no_sense_are_refused(settings: Any) -> None:
    with pytest.raises(ConfigError):
        ModerationStage(failing, **settings)
