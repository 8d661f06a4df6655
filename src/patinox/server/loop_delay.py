"""How late the event loop runs what is due: the one figure that shows whatever holds it up."""

from __future__ import annotations

import asyncio

from patinox.delivery.counters import Histogram

INTERVAL_S = 0.5
_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class LoopDelay:
    """A timer that notes by how much it came too late. `start` it in the loop that is to be measured, and `stop` it."""

    def __init__(self) -> None:
        self.seconds = Histogram(_BOUNDS_S)
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<LoopDelay {self.seconds!r}>"

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Measures twice a second from now on."""
        self._timer = loop.call_later(INTERVAL_S, self._tick, loop, loop.time() + INTERVAL_S)

    def stop(self) -> None:
        """Measures no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        self.seconds.observe(max(0.0, loop.time() - due_s))
        self.start(loop)
