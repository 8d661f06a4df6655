"""One stream, read to its end over as many connections as it takes.

    connect → events … → end record                     the end
                 └─ cut → wait → connect, after the last event id

- Every wait is at least what the server asked for (`retry:`, `Retry-After`), doubles while nothing new comes, and has
  jitter, so that many readers don't come back at once.
- An end of file is no end of the stream: natively only its end record is; for a foreign dialect the server is asked.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from patinox.cli.client import Refused, Server, Unreachable, stream_path
from patinox.cli.pieces import Cutter, LinesCutter, RawCutter, SseCutter, WireEvent
from patinox.core.attach import AttachOutcome
from patinox.core.chunks import End, Error, Outcome
from patinox.core.codec import decode_data
from patinox.errors import FramingError, InvalidChunk
from patinox.formats.patinox import NDJSON, PATINOX

_LASTED_S = 10.0


class Ending(NamedTuple):
    """How a stream ended, and why where that was said."""

    outcome: Outcome
    reason: str = ""


class Backoff:
    """How long to wait before the next try, and when to give up: after `attempts` that brought nothing new."""

    def __init__(
        self,
        *,
        first_s: float = 0.5,
        most_s: float = 30.0,
        attempts: int = 8,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.attempts = attempts
        self.sleep = sleep
        self._first_s = first_s
        self._most_s = most_s
        self._jitter = jitter

    def delay_s(self, failures: int, at_least_s: float | None = None) -> float:
        """Seconds to wait after this many tries in a row that brought nothing."""
        base_s = self._first_s if at_least_s is None else at_least_s
        return min(max(self._most_s, base_s), base_s * 2.0**failures) * (1 + self._jitter() / 4)


class NotResumable(Unreachable):
    """The connection broke, and this dialect has no event ids to come back with."""


class Follower:
    """Reads one stream. Iterate over `events()` once; `ending` is there when it is over.

    `format_name` is `patinox`, `ndjson`, or a foreign dialect. `patient` also waits for a server that cannot be
    reached in the first place. `on_cut` is told the reason and the wait, in seconds, before each reconnection.
    """

    def __init__(
        self,
        server: Server,
        stream_id: str,
        *,
        after: str | None = None,
        format_name: str = PATINOX.name,
        backoff: Backoff | None = None,
        patient: bool = False,
        on_cut: Callable[[str, float], None] = lambda reason, delay_s: None,
    ) -> None:
        self.stream_id = stream_id
        self.last_event_id = ""
        self.reconnects = 0
        self.ending: Ending | None = None
        self._server = server
        self._after = after
        self._format = format_name
        self._native = format_name in (PATINOX.name, NDJSON.name)
        self._backoff = backoff if backoff is not None else Backoff()
        self.reached = patient
        self._cut_before = False
        self._at_end = False
        self._placed = False
        self._retry_s: float | None = None
        self._failures = 0
        self._on_cut = on_cut

    def __repr__(self) -> str:
        return f"<Follower {self.stream_id} at {self.last_event_id or 'nothing'}, {self.reconnects} reconnects>"

    async def events(self) -> AsyncGenerator[WireEvent, None]:
        """Every event once, in order, whatever the connections do.

        Raises `Refused` for what will not get better, `Unreachable` when the server stays away.
        """
        clock = asyncio.get_running_loop().time
        while self.ending is None:
            began_s, reason, at_least_s = clock(), "the server closed the connection", self._retry_s
            try:
                async with aclosing(self._connection()) as events:
                    async for event in events:
                        yield event
            except NotResumable:
                raise
            except Refused as error:
                if not error.is_passing:
                    raise
                reason, at_least_s = error.message, max(error.retry_after_s, at_least_s or 0) or None
            except FramingError as error:
                reason = error.message
            except Unreachable as error:
                if not (error.connected or self.reached):
                    raise
                reason = error.message
            if clock() - began_s > _LASTED_S:  # quiet, but there: not a try that failed
                self._failures = 0
            if self.ending is None:
                await self._wait(reason, at_least_s or self._retry_s)

    async def _wait(self, reason: str, at_least_s: float | None) -> None:
        if self._failures >= self._backoff.attempts:
            raise Unreachable(f"gave up after {self._failures} tries: {reason}")
        self._cut_before = True
        delay_s = self._backoff.delay_s(self._failures, at_least_s)
        self._failures += 1
        self._on_cut(reason, delay_s)
        await self._backoff.sleep(delay_s)

    async def _connection(self) -> AsyncGenerator[WireEvent, None]:
        async with self._server.open(
            "GET", stream_path(self.stream_id), params=self._params(), headers=self._headers()
        ) as response:
            self.reached = True
            self.reconnects += self._cut_before
            if self._after == "now":  # cut before the first event, it must mean what it meant first
                self._after = response.headers.get("Patinox-Position", self._after)
            if response.status == 204:
                await self._ask_for_the_ending()
                return
            cutter = self._cutter(response.content_type)
            try:
                async for data in response.content.iter_any():
                    for event in cutter.feed(data):
                        if self._take(event, cutter):
                            yield event
                        if self.ending is not None:
                            return
            except Exception as error:
                if isinstance(cutter, RawCutter) and not isinstance(error, Refused):
                    raise NotResumable(
                        f"the connection broke, and {self._format} cannot be resumed; `--format ndjson` can"
                    ) from error
                raise
            if not self._native or self._at_end:
                await self._ask_for_the_ending()
                if self.ending is not None and (rest := cutter.close()):
                    yield WireEvent("", b"", raw=rest)

    def _params(self) -> dict[str, str]:
        params = {} if self._native else {"format": self._format, "ids": "1"}
        if not self.last_event_id and self._after is not None:
            params["after"] = self._after
        return params

    def _headers(self) -> dict[str, str]:
        accept = {PATINOX.name: "text/event-stream", NDJSON.name: "application/x-ndjson"}.get(self._format, "*/*")
        return {"Accept": accept, **({"Last-Event-ID": self.last_event_id} if self.last_event_id else {})}

    def _cutter(self, content_type: str) -> Cutter:
        if self._format == NDJSON.name:
            return LinesCutter()
        return SseCutter(ids=self._native) if content_type == "text/event-stream" else RawCutter()

    def _take(self, event: WireEvent, cutter: Cutter) -> bool:
        """Notes where the stream stands; False for what an uninterrupted reader would not have seen."""
        if cutter.retry_s is not None:
            self._retry_s = cutter.retry_s
        if event.id:
            self.last_event_id = event.id
        if not self._native or event.event != "position":
            self._failures = 0
            self.ending = ending_of(event) if self._native else None
            return True
        outcome = _outcome(event)
        self._at_end = outcome == AttachOutcome.COMPLETE
        again, self._placed = self._placed, True
        return not (again and outcome == AttachOutcome.RESUMED)

    async def _ask_for_the_ending(self) -> None:
        """Learns from the snapshot how the stream ended, if it has."""
        state = await self._server.snapshot(self.stream_id)
        if state.get("state") in tuple(Outcome):
            error = state.get("error") or {}
            self.ending = Ending(Outcome(state["state"]), str(error.get("message", "")))


def ending_of(event: WireEvent) -> Ending | None:
    """How the stream ended, if this native event is its last record."""
    if event.event not in (End.kind, Error.kind):
        return None
    try:
        data = decode_data(event.event, event.data)
    except InvalidChunk:
        return Ending(Outcome.FAILED, "the server's end record cannot be read")
    if isinstance(data, Error):
        return Ending(Outcome.FAILED, data.message)
    return Ending(data.outcome, data.error.message if data.error is not None else "")


def _outcome(event: WireEvent) -> Any:
    try:
        return msgspec.json.decode(event.data, type=dict[str, Any]).get("outcome")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
