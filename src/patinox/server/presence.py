"""What the world outside is told of a server's life: the service manager, the load balancer, whoever sends a signal.

started ─▶ READY        SIGHUP ─▶ RELOADING ─▶ READY        SIGTERM ─▶ STOPPING, not ready ─▶ drain_delay ─▶ leaving
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from patinox.config import Config, ConfigError
from patinox.config.reloading import reload
from patinox.manager import StreamManager
from patinox.server import logs
from patinox.server.health import Health
from patinox.server.notify import Notifier

Load = Callable[[], Config]
Say = Callable[[str], None]


class Presence:
    """One server's. `load` reads the settings anew; `check` raises `ConfigError` for ones that cannot be run with."""

    def __init__(
        self, config: Config, manager: StreamManager, health: Health, notifier: Notifier, say: Say,
        *, load: Load | None = None, check: Callable[[Config], None] = lambda config: None,
    ) -> None:  # fmt: skip
        self.config = config
        self._manager = manager
        self._health = health
        self._notifier = notifier
        self._say = say
        self._load = load
        self._check = check

    def __repr__(self) -> str:
        return f"<Presence {self._notifier!r}>"

    def started(self) -> None:
        """It listens: says so, and listens to SIGHUP."""
        loop = asyncio.get_running_loop()
        if self._load is not None and hasattr(signal, "SIGHUP"):  # before anybody is told that it can be sent
            loop.add_signal_handler(signal.SIGHUP, self.reload)
        self._notifier.ready("serving")
        self._notifier.watch(loop)

    async def leaving(self, *, at_once: bool) -> None:
        """It has been told to end: not ready from now on, and open until whoever watches that has noticed."""
        self._notifier.stopping()
        self._health.is_leaving = True
        if self.config.server.drain_delay_s and not at_once:
            await asyncio.sleep(self.config.server.drain_delay_s)

    def left(self) -> None:
        """It has ended."""
        self._notifier.stop()
        if self._load is not None and hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)

    def reload(self) -> None:
        """Reads the settings again, and takes over what can be; says what was, and what needs a restart."""
        if self._load is None:
            return
        self._notifier.reloading()
        try:
            found = reload(self.config, self._load())
            self._check(found.config)
        except ConfigError as error:
            self._say(f"the settings stay as they are: {error.message}")
        else:
            self.config = found.config
            self._manager.configure(found.config.streaming)
            logs.set_level(found.config.server.log_level)
            self._say(f"settings taken over: {', '.join(found.taken) or 'none has changed that could be'}")
            if found.waiting:
                self._say(f"settings that need a restart: {', '.join(found.waiting)}")
        self._notifier.ready("serving")
