"""What systemd is told, by a socket that the test listens to."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from patinox.server.notify import Notifier
from patinox.testing.fakes import ManualClock

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd's socket is a Unix one")


@pytest.fixture
def manager_socket(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def heard(listener: socket.socket) -> list[str]:
    said = []
    while True:
        try:
            said.append(listener.recv(4096).decode())
        except BlockingIOError:
            return said


def notifier(listener: socket.socket, **more: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": listener.getsockname(), **more})


def test_ready_and_stopping(manager_socket: socket.socket) -> None:
    told = notifier(manager_socket)
    told.ready("serving")
    told.stopping()
    assert heard(manager_socket) == ["READY=1\nSTATUS=serving", "STOPPING=1\nSTATUS=sending readers away"]


def test_reloading_says_when_by_the_monotonic_clock(manager_socket: socket.socket) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier(manager_socket).reloading()
    (said,) = heard(manager_socket)
    first, second = said.split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


async def test_the_watchdog_hears_of_it_twice_an_interval(manager_socket: socket.socket) -> None:
    clock, loop = ManualClock(), asyncio.get_running_loop()
    clock.install(loop)
    told = notifier(manager_socket, WATCHDOG_USEC="10000000", WATCHDOG_PID=str(os.getpid()))
    told.watch(loop)
    for _ in range(4):
        await clock.advance(5)
    assert heard(manager_socket) == ["WATCHDOG=1"] * 5
    told.stop()
    await clock.advance(50)
    assert heard(manager_socket) == []


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}])
async def test_no_watchdog_that_was_not_asked_for(manager_socket: socket.socket, environment: dict[str, str]) -> None:
    told = notifier(manager_socket, **environment)
    told.watch(asyncio.get_running_loop())
    assert heard(manager_socket) == []


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="abstract addresses are Linux's")
def test_an_abstract_address() -> None:
    name = f"patinox-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.setblocking(False)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready("x")
        assert heard(listener) == ["READY=1\nSTATUS=x"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_nobody_who_listens_is_no_trouble(environment: dict[str, str]) -> None:
    told = Notifier(environment)
    told.ready("x")
    told.stopping()
