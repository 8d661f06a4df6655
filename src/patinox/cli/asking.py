"""An answer, asked for once however often the request is sent, watched to its end, and stopped by Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from patinox.cli.client import Refused, Server, Unreachable, new_stream_id
from patinox.cli.exits import Exit, WrongInput
from patinox.cli.following import Backoff
from patinox.cli.meter import Meter
from patinox.cli.screen import Screen
from patinox.cli.watching import Watch
from patinox.errors import PatinoxError


async def answer(
    server: Server,
    body: Mapping[str, Any],
    screen: Screen,
    *,
    format_name: str | None = None,
    backoff: Backoff | None = None,
) -> Exit:
    """Asks, shows the answer, and says how it ended."""
    pace, meter = backoff if backoff is not None else Backoff(), Meter()
    async with Stopper(server, new_stream_id(), screen.note) as stopper:
        stopper.stream_id = await _ask(server, body, stopper, screen, pace)
        stopper.asked.set()
        watch = Watch(
            server, stopper.stream_id, screen, format_name=format_name, patient=True, backoff=pace, meter=meter
        )
        try:
            return watch.conclude(await watch.run())
        except WrongInput:  # such as a format that there is not: nobody will read the answer, so let it cost no more
            with suppress(PatinoxError):
                await server.cancel(stopper.stream_id, "it was asked for in a way that it cannot be read")
            raise


async def _ask(server: Server, body: Mapping[str, Any], stopper: Stopper, screen: Screen, pace: Backoff) -> str:
    """Sends the request until it is answered, always under the same stream id, so that it is carried out once."""
    failures = 0
    while True:
        at_least_s = None
        try:
            return await server.ask(body, stopper.stream_id)
        except Refused as error:
            if not error.is_passing or failures >= pace.attempts or stopper.wanted:
                raise
            reason, at_least_s = error.message, error.retry_after_s or None
        except asyncio.CancelledError:
            screen.note(f"left; if the request got through, it is answered in the stream {stopper.stream_id}")
            raise
        except Unreachable as error:
            if (not error.connected and not failures) or failures >= pace.attempts or stopper.wanted:
                raise
            reason = error.message
        delay_s = pace.delay_s(failures, at_least_s)
        failures += 1
        screen.note(f"{reason}; asking again in {delay_s:.1f} s")
        await pace.sleep(delay_s)


class Stopper:
    """Stops the answer at the server on the first Ctrl-C, and this program on the second.

    After the first one the stream is still read on, up to the end record that says it was cancelled. Set `asked` when
    the stream exists: there is nothing to stop before.
    """

    def __init__(self, server: Server, stream_id: str, note: Callable[[str], None]) -> None:
        self.stream_id = stream_id
        self.asked = asyncio.Event()
        self._server = server
        self._note = note
        self._stopping: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[Any] | None = None

    @property
    def wanted(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._stopping is not None

    async def __aenter__(self) -> Stopper:
        self._watching = asyncio.current_task()
        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; a thread that is not the main one
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.press)
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        if self._stopping is not None:
            self._stopping.cancel()
            await asyncio.wait([self._stopping])

    def press(self) -> None:
        """What Ctrl-C does."""
        if self._stopping is None:
            self._note("stopping the answer; Ctrl-C again leaves at once")
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
        else:
            self._leave()

    async def _stop(self) -> None:
        await self.asked.wait()
        try:
            await self._server.cancel(self.stream_id, "stopped with Ctrl-C")
        except PatinoxError as error:
            self._note(f"it could not be stopped: {error.message}")
            self._leave()

    def _leave(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
