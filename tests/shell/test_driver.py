"""ASGI `send`s driven by hand: done at once, or finished by whoever awaits what is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, MutableMapping
from typing import Any

import pytest

from patinox.delivery.driver import Driver, Events
from patinox.testing.fakes import turns


def events(*texts: str) -> Events:
    return [{"text": text} for text in texts]


class Wire:
    """Connections that write down what they were sent; one of them waits at a gate, one is broken."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.gate = asyncio.Event()
        self.stopped = 0
        self.fault: Exception | None = None

    def connection(self, name: str = "") -> Any:
        async def send(event: MutableMapping[str, Any]) -> None:
            self.sent.append(name + event["text"])

        return send

    async def gated(self, event: MutableMapping[str, Any]) -> None:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if self.fault is not None:
            raise self.fault
        self.sent.append("gated " + event["text"])

    async def broken(self, event: MutableMapping[str, Any]) -> None:
        raise ConnectionResetError("gone")


async def test_what_needs_not_wait_is_done_when_start_returns() -> None:
    driver, wire = Driver(), Wire()
    assert driver.start(wire.connection(), events("a", "b")) is None
    assert driver.start(wire.connection(), events("c")) is None
    assert wire.sent == ["a", "b", "c"]


async def test_no_event_is_no_wait() -> None:
    assert Driver().start(Wire().gated, events()) is None


async def test_what_waits_is_finished_by_whoever_awaits_it_while_others_go_on() -> None:
    driver, wire = Driver(), Wire()
    pending = driver.start(wire.gated, events("1", "2"))
    assert pending is not None
    assert driver.start(wire.connection(), events("early")) is None
    finishing = asyncio.ensure_future(pending)
    wire.gate.set()
    await finishing
    assert wire.sent == ["early", "gated 1", "gated 2"]


async def test_an_error_is_raised_by_start_and_the_next_one_is_driven() -> None:
    driver, wire = Driver(), Wire()
    with pytest.raises(ConnectionResetError, match="gone"):
        driver.start(wire.broken, events("a"))
    assert driver.start(wire.connection(), events("next")) is None
    assert wire.sent == ["next"]


async def test_an_error_after_waiting_is_raised_where_it_is_awaited() -> None:
    driver, wire = Driver(), Wire()
    pending = driver.start(wire.gated, events("never"))
    assert pending is not None
    wire.fault = ConnectionResetError("gone")
    wire.gate.set()
    with pytest.raises(ConnectionResetError, match="gone"):
        await pending


async def test_a_cancellation_reaches_what_waits() -> None:
    driver, wire = Driver(), Wire()
    pending = driver.start(wire.gated, events("never"))
    assert pending is not None
    finishing = asyncio.ensure_future(pending)
    await asyncio.sleep(0)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    assert wire.stopped == 1


async def test_one_may_be_started_from_within_another() -> None:
    driver, wire = Driver(), Wire()

    async def outer(event: MutableMapping[str, Any]) -> None:
        assert driver.start(wire.connection(), events("inner")) is None
        wire.sent.append(event["text"])

    assert driver.start(outer, events("outer")) is None
    assert driver.start(wire.connection(), events("after")) is None
    assert wire.sent == ["inner", "outer", "after"]


async def test_any_awaitable_will_do() -> None:
    class Once:
        is_awaited = False

        def __await__(self) -> Generator[Any, Any, None]:
            self.is_awaited = True
            yield from ()

    one = Once()

    def send(event: MutableMapping[str, Any]) -> Awaitable[None]:
        return one

    assert Driver().start(send, events("a")) is None
    assert one.is_awaited


async def test_each_connection_is_given_events_of_its_own() -> None:
    async def rewrites(event: MutableMapping[str, Any]) -> None:
        event["text"] = "rewritten"

    driver, wire = Driver(), Wire()
    assert driver.start_all([rewrites, wire.connection()], events("a")) == {}
    assert wire.sent == ["a"]


async def test_of_many_those_that_wait_and_those_that_broke_are_told_by_their_places() -> None:
    driver, wire = Driver(), Wire()
    sends = [wire.connection("0 "), wire.broken, wire.gated, wire.connection("3 "), wire.broken, wire.gated]
    left = driver.start_all(sends, events("x"))
    assert wire.sent == ["0 x", "3 x"]
    assert {at: type(outcome) is ConnectionResetError for at, outcome in left.items()} == {
        1: True, 2: False, 4: True, 5: False
    }  # fmt: skip
    wire.gate.set()
    for at in (5, 2):
        outcome = left[at]
        assert not isinstance(outcome, Exception)
        await outcome
    assert wire.sent == ["0 x", "3 x", "gated x", "gated x"]


async def test_of_many_one_that_breaks_after_waiting_tells_whoever_awaits_it_alone() -> None:
    driver, wire = Driver(), Wire()
    left = driver.start_all([wire.broken, wire.gated, wire.connection()], events("x"))
    wire.fault = BrokenPipeError("later")
    wire.gate.set()
    outcome = left[1]
    assert not isinstance(outcome, Exception)
    with pytest.raises(BrokenPipeError, match="later"):
        await outcome
    assert driver.start(wire.connection(), events("y")) is None
    assert wire.sent == ["x", "y"]


async def test_what_is_no_error_ends_the_round() -> None:
    driver, wire = Driver(), Wire()

    async def leaves(event: MutableMapping[str, Any]) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        driver.start_all([leaves, wire.connection()], events("x"))
    assert driver.start(wire.connection(), events("y")) is None
    assert wire.sent == ["y"]


async def test_a_send_that_finishes_at_once_can_be_driven() -> None:
    driver, wire = Driver(), Wire()
    assert await driver.try_out(wire.connection(), events("a"))
    assert wire.sent == ["a"]


async def test_a_send_that_waits_is_left_to_tasks_once_it_has_sent() -> None:
    driver, wire = Driver(), Wire()
    trying = asyncio.ensure_future(driver.try_out(wire.gated, events("a")))
    await turns()
    wire.gate.set()
    assert not await trying
    assert wire.sent == ["gated a"]


async def test_a_send_that_needs_a_task_is_called_again_in_one() -> None:
    driver, wire = Driver(), Wire()

    async def send(event: MutableMapping[str, Any]) -> None:
        if asyncio.current_task() is None:
            raise RuntimeError("no running task")
        wire.sent.append(event["text"])

    assert not await driver.try_out(send, events("a"))
    assert wire.sent == ["a"]


async def test_a_connection_that_is_gone_is_said_by_trying() -> None:
    with pytest.raises(ConnectionResetError, match="gone"):
        await Driver().try_out(Wire().broken, events("a"))


async def test_nothing_is_sent_for_one_who_left_before_the_try() -> None:
    driver, wire = Driver(), Wire()
    trying = asyncio.ensure_future(driver.try_out(wire.connection(), events("a")))
    asyncio.get_running_loop().call_soon(trying.cancel)
    with pytest.raises(asyncio.CancelledError):
        await trying
    assert wire.sent == []
