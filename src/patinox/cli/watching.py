"""What `chat` and `tail` share: reading a stream onto a screen, and the last word on it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

from patinox.cli.client import Refused, Server, Unreachable
from patinox.cli.exits import Exit, Failure, WrongInput, of_outcome
from patinox.cli.following import Backoff, Ending, Follower
from patinox.cli.meter import Meter
from patinox.cli.screen import PlainScreen, Screen, make_screen
from patinox.cli.transcript import Transcript
from patinox.core.chunks import Outcome
from patinox.errors import InputError, PatinoxError
from patinox.formats.patinox import PATINOX
from patinox.formats.text import TEXT

_WRONG_INPUT = (400, 406, 413, 422)


def screen_for(format_name: str | None, *, events: bool) -> Screen:
    """Bytes that were asked for are written as they are, also to a terminal."""
    return make_screen(events=events) if format_name is None else PlainScreen()


class Watch:
    """Reads one stream onto a screen."""

    def __init__(
        self, server: Server, stream_id: str, screen: Screen, *, after: str | None = None,
        format_name: str | None = None, patient: bool = False, backoff: Backoff | None = None,
        meter: Meter | None = None,
    ) -> None:  # fmt: skip
        self._as_text = format_name in (None, TEXT.name)
        self._verbatim = format_name is not None
        self._server = server
        self._screen = screen
        self._seeds = after not in (None, "start", "snapshot")
        self._meter = meter if meter is not None else Meter()
        self.transcript = Transcript()
        self.follower = Follower(
            server, stream_id, after=after, format_name=PATINOX.name if self._as_text else str(format_name),
            backoff=backoff, patient=patient, on_cut=self._say_cut,
        )  # fmt: skip

    async def run(self) -> Ending:
        """Shows everything up to the end. Raises `Failure`, which says how to go on where that makes sense."""
        try:
            return await self._run()
        except PatinoxError as error:
            lost = isinstance(error, Unreachable) and self.follower.reached
            raise failure_of(error, f"\nIt may go on there: {self._way_back()}" if lost else "") from error
        except asyncio.CancelledError:
            self._screen.note(f"left; to go on: {self._way_back()}")
            raise

    async def _run(self) -> Ending:
        async with aclosing(self.follower.events()) as events:
            async for event in events:
                if not self._as_text:
                    self._screen.raw(event.raw)
                    continue
                if self._seeds:
                    await self._seed()
                for piece in self.transcript.take(event):
                    if piece.kind in ("text", "reasoning"):
                        self._meter.piece()
                    self._screen.show(piece)
        ending = self.follower.ending
        assert ending is not None, "events() goes on until there is an ending"
        return ending

    async def _seed(self) -> None:
        """Learns what the blocks are that had begun; only once attached, so that none can begin between the two."""
        with suppress(Unreachable):  # the next event is as good a moment
            self.transcript.seed(await self._server.snapshot(self.follower.stream_id))
            self._seeds = False

    def conclude(self, ending: Ending) -> Exit:
        """Says how it ended, where that is not as one would hope, and what it took."""
        if not self._verbatim:
            self._screen.end_line()
        if self.transcript.hidden and not self._screen.is_terminal:
            count = self.transcript.hidden
            several = "1 record is" if count == 1 else f"{count} records are"
            self._screen.note(f"{several} no text; --format ndjson shows what there is")
        if ending.outcome is not Outcome.COMPLETE:
            self._screen.note(_sentence(ending))
        if self._as_text:
            self._screen.status(self._figures(ending))
        return of_outcome(ending.outcome)

    def _way_back(self) -> str:
        follower = self.follower
        after = f" --after {follower.last_event_id}" if follower.last_event_id else ""
        return f"patinox tail {follower.stream_id}{after} --server {self._server.url}"

    def _figures(self, ending: Ending) -> str:
        count = self.follower.reconnects
        parts = [ending.outcome.value, self._meter.line(self.transcript.usage)]
        if count:
            parts.append(f"{count} reconnect{'' if count == 1 else 's'}")
        return " · ".join([*parts, self.follower.stream_id])

    def _say_cut(self, reason: str, delay_s: float) -> None:
        self._screen.note(f"{reason}; reconnecting in {delay_s:.1f} s")


def failure_of(error: PatinoxError, hint: str = "") -> Failure:
    """A sentence for an error of the server's, and a hint; what it could not understand is the caller's doing."""
    wrong = isinstance(error, InputError) or (isinstance(error, Refused) and error.http_status in _WRONG_INPUT)
    return WrongInput(error.message) if wrong else Failure(error.message + hint)


def _sentence(ending: Ending) -> str:
    said = {
        Outcome.INCOMPLETE: "the answer is incomplete",
        Outcome.CANCELLED: "the stream was cancelled",
        Outcome.INTERRUPTED: "the stream was interrupted",
        Outcome.FAILED: "the stream failed",
    }[ending.outcome]
    return f"{said}: {ending.reason}" if ending.reason else said
