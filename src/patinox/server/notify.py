"""systemd's notification socket (sd_notify(3)): ready, reloading, stopping, and the watchdog that a busy loop misses.

Without `NOTIFY_SOCKET` in the environment nothing is said.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Says to the service manager how the server is. `environment` is the process's own, as systemd has set it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._interval_s = _watchdog_s(environment)
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Notifier {self._address or 'of nobody'}>"

    def ready(self, status: str) -> None:
        """The server takes work, or has done with reloading. `status` is for people."""
        self._say("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The settings are being read again; `ready` says when that is done (Type=notify-reload)."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The server is leaving."""
        self._say("STOPPING=1", "STATUS=sending readers away")

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gives a sign of life twice as often as `WatchdogSec=` asks, for as long as the loop turns."""
        if self._interval_s:
            self._say("WATCHDOG=1")
            self._timer = loop.call_later(self._interval_s, self.watch, loop)

    def stop(self) -> None:
        """Gives no more signs of life. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass  # nobody listens, or not now: no reason to serve any worse


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Half of what systemd waits for at most; 0 where it does not watch this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 2_000_000 if text.isascii() and text.isdigit() else 0.0
