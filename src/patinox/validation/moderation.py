"""Asking a model or an HTTP endpoint about the text, window by window, while it is being written.

`ModerationStage` is a pipeline's stage of its own, after the others: what they withheld is not sent anywhere. Text
waits for the answers about it; with `optimistic` it leaves at once, and a `retract` follows where it should not have.
Tool arguments always wait, since a call that was made cannot be taken back, and so does everything after text that
waits.

A hook that raises, or has no answer within `deadline_s`, has failed: with `on_error = "closed"` the stream does too,
with `"open"` the window passes and is counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NoReturn

import msgspec

from patinox.core.chunks import Error
from patinox.core.events import BlockDelta, Retract, Verdict
from patinox.errors import ConfigError
from patinox.incremental.deadlines import Died
from patinox.validation.base import EVERY_CHANNEL, Action, Finding, LaneInfo, Policy
from patinox.validation.frontier import MAX_HELD_CHARS, ValidationStage
from patinox.validation.lanes import Group, Lane
from patinox.validation.windows import Window, WindowScanner


class Flag(msgspec.Struct, frozen=True):
    """What a hook objects to: `rule` names it; `start` and `end` are characters of the window, all of it by default."""

    rule: str
    start: int = 0
    end: int | None = None


Ask = Callable[[str], Awaitable[Sequence[Flag]]]
"""A hook: what is wrong with this text; nothing where nothing is."""

_DEFAULT: Final = Policy(action=Action.BLOCK, channels=EVERY_CHANNEL - {"value"})


class _Moderator:
    """The validator inside: hands out scanners that put their windows into one queue."""

    is_quick = True

    def __init__(self, name: str, policy: Policy, *, size_chars: int, overlap_chars: int, optimistic: bool) -> None:
        self.name, self.policy = name, policy
        self._sizes = {"size_chars": size_chars, "overlap_chars": overlap_chars}
        self._optimistic = optimistic
        self.asked: deque[Window] = deque()

    def scanner(self, lane: LaneInfo) -> WindowScanner | None:
        if lane.channel not in self.policy.channels:
            return None
        optimistic = self._optimistic and lane.channel != "arguments"
        return WindowScanner(lane, self.asked, optimistic=optimistic, **self._sizes)


class _Gate(ValidationStage):
    """The release frontier, which may learn of findings after their text has left: it takes them back."""

    def _release(self, out: list[Any]) -> None:
        for lane in self._open_lanes():
            for group in lane.late:
                self._take_back(lane, group, out)
            lane.late.clear()
        super()._release(out)

    def _take_back(self, lane: Lane, group: Group, out: list[Any]) -> None:
        if self._over:
            return
        end = lane.passed if group.end is None else min(group.end, lane.passed)
        blocks = sorted(lane.starts.items(), key=lambda item: item[1])
        stops = [start for _, start in blocks[1:]] + [lane.fed]
        spans = [(block, start, stop) for (block, start), stop in zip(blocks, stops, strict=True)]
        at = next((block for block, start, stop in spans if start <= group.start < stop), None)
        self._tell_late(lane, group, at, out)
        blocked = bool(out) and type(out[-1]) is Error
        last = [out.pop()] if blocked else []
        replacement = "" if blocked else group.replacement
        for block, start, stop in spans:
            for first, after in _uncovered(lane.adjusted, max(start, group.start), min(stop, end)):
                shift = sum(now - (b - a) for a, b, now in lane.adjusted if start <= a < first)
                lane.adjusted.append((first, after, len(replacement)))
                out.append(
                    Retract(
                        message=lane.info.message,
                        block=block,
                        start=first - start + shift,
                        count=after - first,
                        replacement=replacement,
                    )
                )
                replacement = ""
        out += last
        self._over = blocked

    def _tell_late(self, lane: Lane, group: Group, block: int | None, out: list[Any]) -> None:
        record = BlockDelta(message=lane.info.message, block=block)
        self._announce(lane, record, group, out, None)

    def fail(self, error: Error) -> list[Any]:
        """Ends the stream: what is held stays here."""
        self._failure = error
        return self.poll()

    def note(self, verdict: Verdict) -> list[Any]:
        """Says something about the text that is held now."""
        return self.feed([verdict])


def _uncovered(covered: Sequence[tuple[int, int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """The parts of `[start, end)` that were not taken back yet."""
    parts = [(start, end)] if start < end else []
    for a, b, _ in covered:
        parts = [
            piece for low, high in parts for piece in ((low, min(high, a)), (max(low, b), high)) if piece[0] < piece[1]
        ]
    return sorted(set(parts))


class ModerationStage:
    """An `AsyncStage` that asks `ask` about every window of the text; one for each stream.

    Windows have `window_chars` characters and overlap by `overlap_chars`; at most `max_in_flight` are asked at a time,
    and a source that is faster waits. `aclose` ends what is still being asked.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        name: str = "moderation",
        policy: Policy = _DEFAULT,
        window_chars: int = 400,
        overlap_chars: int = 80,
        deadline_s: float = 5.0,
        max_in_flight: int = 4,
        optimistic: bool = False,
        max_held_chars: int = MAX_HELD_CHARS,
    ) -> None:
        if not 0 <= overlap_chars < window_chars or deadline_s <= 0 or max_in_flight < 1:
            raise ConfigError("moderation needs 0 <= overlap_chars < window_chars, deadline_s > 0, max_in_flight >= 1")
        if optimistic and "value" in policy.channels:
            raise ConfigError("values leave as a whole and cannot be taken back; leave them out of the channels")
        self._ask, self._policy, self._name = ask, policy, name
        self._deadline_s, self._max_in_flight = deadline_s, max_in_flight
        sizes = {"size_chars": window_chars, "overlap_chars": overlap_chars}
        self._moderator = _Moderator(name, policy, optimistic=optimistic, **sizes)
        self._gate = _Gate([self._moderator], max_held_chars=max_held_chars, allow_binary=True)
        self._asking: dict[asyncio.Task[Sequence[Finding]], Window] = {}
        self._over = False
        self.failures = 0
        """Windows that passed unseen because the hook had failed."""

    def __repr__(self) -> str:
        return f"<ModerationStage {self._name}; {len(self._asking)} asked, {len(self._moderator.asked)} waiting>"

    @property
    def held(self) -> bool:
        """Whether text waits, or answers are still to come about text that has left."""
        return not self._over and (self._gate.held or bool(self._asking or self._moderator.asked))

    def stats(self) -> dict[str, int]:
        """Windows in flight and waiting, failures, and what is held."""
        own = {"in_flight": len(self._asking), "waiting": len(self._moderator.asked), "failures": self.failures}
        return {**self._gate.stats(), **own}

    async def feed(self, batch: Sequence[Any]) -> list[Any]:
        """As `AsyncStage.feed`. Waits only while there is more to be asked than may be in flight."""
        out: list[Any] = []
        await self._keep(out, self._gate.feed(batch))
        self._start()
        while self._moderator.asked and not self._over:
            await self._one_answer()
            await self._collect(out)
        await self._collect(out)
        return out

    async def close(self) -> list[Any]:
        """As `AsyncStage.close`: waits for all answers, each for `deadline_s` at most."""
        out: list[Any] = []
        await self._keep(out, self._gate.close())
        self._start()
        while self._asking and not self._over:
            await self._one_answer()
            await self._collect(out)
        await self.aclose()
        return out

    @property
    def waits(self) -> bool:
        """As `WaitingStage.waits`: whether a window is being asked about."""
        return bool(self._asking)

    async def wait(self) -> None:
        """As `WaitingStage.wait`: returns when a window was answered."""
        if self._asking:
            await self._one_answer()

    async def aclose(self) -> None:
        """Ends what is still being asked. Nothing leaves after it."""
        self._over = True
        asking = list(self._asking)
        self._asking.clear()
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def _start(self) -> None:
        waiting = self._moderator.asked
        while waiting and len(self._asking) < self._max_in_flight and not self._over:
            window = waiting.popleft()
            self._asking[asyncio.create_task(self._answer(window))] = window

    async def _answer(self, window: Window) -> Sequence[Finding]:
        async with asyncio.timeout(self._deadline_s):
            flags = await _survived(self._ask(window.text))
        length = len(window.text)
        return [
            Finding(
                window.start + max(0, flag.start),
                window.start + (length if flag.end is None else min(length, flag.end)),
                flag.rule,
            )
            for flag in flags
        ]

    async def _one_answer(self) -> None:
        await asyncio.wait(self._asking, return_when=asyncio.FIRST_COMPLETED)

    async def _collect(self, out: list[Any]) -> None:
        """Takes the answers that are there, and starts asking about what waited."""
        for task in [task for task in self._asking if task.done()]:
            window = self._asking.pop(task)
            if (error := task.exception()) is None:
                window.findings = task.result()
            elif not isinstance(error, Exception):
                raise error
            else:
                await self._keep(out, self._failed(error, window))
            if self._over:
                return
        self._start()
        await self._keep(out, self._gate.poll())

    def _failed(self, error: Exception, window: Window) -> list[Any]:
        what = type(error).__name__
        if self._policy.on_error == "open":
            self.failures += 1
            window.findings = ()  # only now: a window without an answer has not passed
            return self._gate.note(
                Verdict(message=window.lane.message, validator=self._name, action="open", details={"error": what})
            )
        message = f"the validator {self._name} failed ({what}), and what it has not passed may not leave"
        return self._gate.fail(Error("validator_failed", message, retryable=True, status=503))

    async def _keep(self, out: list[Any], items: Sequence[Any]) -> None:
        out += items
        if out and type(out[-1]) is Error:
            await self.aclose()


async def _survived(asked: Awaitable[Sequence[Flag]]) -> Sequence[Flag]:
    """The answer. A hook that gives up in a way that would end its task, or the loop, has failed like any other."""
    try:
        return await asked
    except SystemExit as error:
        raise Died("SystemExit") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # ours: the deadline, or nobody wants to know any more
        raise Died("CancelledError") from error


class HttpModeration:
    """A hook that posts `{"input": text}` and reads what OpenAI's moderation endpoint answers.

    Anything with `results[].flagged` and `results[].categories` will do. Needs aiohttp (`patinox[server]`). Raises on
    any other status than 200, and on an answer that is not of this shape. `headers` carry the key.
    """

    def __init__(self, url: str, *, headers: dict[str, str] | None = None, model: str | None = None) -> None:
        self._url, self._headers, self._model = url, headers or {}, model
        self._session: Any = None

    async def __call__(self, text: str) -> Sequence[Flag]:
        """Asks about one window."""
        body = {"input": text} if self._model is None else {"input": text, "model": self._model}
        async with self._opened().post(self._url, data=msgspec.json.encode(body)) as response:
            if response.status != 200:
                _refuse(f"the moderation endpoint answered with status {response.status}")
            answer = msgspec.json.decode(await response.read(), type=_Answer)
        return [Flag(_categories(result)) for result in answer.results if result.flagged]

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> Any:
        if self._session is None:
            import aiohttp

            headers = {"content-type": "application/json", **self._headers}
            self._session = aiohttp.ClientSession(headers=headers)
        return self._session


class _Result(msgspec.Struct):
    flagged: bool
    categories: dict[str, bool] = {}


class _Answer(msgspec.Struct):
    results: list[_Result]


def _categories(result: _Result) -> str:
    return ", ".join(sorted(name for name, flagged in result.categories.items() if flagged)) or "flagged"


def _refuse(message: str) -> NoReturn:
    raise ConnectionError(message)
