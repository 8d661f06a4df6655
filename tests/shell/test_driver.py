"""Awaitables driven by hand: done at once, or finished by whoever awaits what is left."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from patinox.delivery.driver import Driver


class Sends:
    """What was sent, and a gate that it may have to wait at."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def at_once(self, text: str) -> None:
        self.sent.append(text)

    async def after_gate(self, text: str) -> None:
        await self.gate
        self.sent.append(text)


async def test_what_needs_not_wait_is_done_when_start_returns() -> None:
    driver, sends = Driver(), Sends()
    assert [driver.start(sends.at_once(text)) for text in "abc"] == [None, None, None]
    assert sends.sent == ["a", "b", "c"]


async def test_what_waits_is_finished_by_whoever_awaits_it_while_others_go_on() -> None:
    driver, sends = Driver(), Sends()
    pending = driver.start(sends.after_gate("late"))
    assert pending is not None
    assert driver.start(sends.at_once("early")) is None
    finishing = asyncio.ensure_future(pending)
    sends.gate.set_result(None)
    await finishing
    assert sends.sent == ["early", "late"]


async def test_an_error_is_raised_by_start_and_the_next_one_is_driven() -> None:
    driver, sends = Driver(), Sends()

    async def breaks() -> None:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"):
        driver.start(breaks())
    assert driver.start(sends.at_once("next")) is None
    assert sends.sent == ["next"]


async def test_an_error_after_waiting_is_raised_where_it_is_awaited() -> None:
    driver, sends = Driver(), Sends()
    pending = driver.start(sends.after_gate("never"))
    assert pending is not None
    sends.gate.set_exception(ConnectionResetError("gone"))
    with pytest.raises(ConnectionResetError, match="gone"):
        await pending


async def test_a_cancellation_reaches_what_waits() -> None:
    driver, sends = Driver(), Sends()
    pending = driver.start(sends.after_gate("never"))
    assert pending is not None
    finishing = asyncio.ensure_future(pending)
    await asyncio.sleep(0)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    assert sends.gate.cancelled()


async def test_one_may_be_started_from_within_another() -> None:
    driver, sends = Driver(), Sends()

    async def outer() -> None:
        assert driver.start(sends.at_once("inner")) is None
        sends.sent.append("outer")

    assert driver.start(outer()) is None
    assert driver.start(sends.at_once("after")) is None
    assert sends.sent == ["inner", "outer", "after"]


async def test_any_awaitable_will_do() -> None:
    class Awaitable:
        is_awaited = False

        def __await__(self) -> Generator[Any, Any, None]:
            self.is_awaited = True
            yield from ()

    driver, one = Driver(), Awaitable()
    assert driver.start(one) is None
    assert one.is_awaited
