"""Code of somebody's own under a deadline: what comes back, what does not, and what is left of it."""

import asyncio
import threading
from collections.abc import Iterator
from typing import NoReturn

import pytest

from patinox.errors import InputError
from patinox.incremental.deadlines import (
    DeadlinePassed,
    Died,
    Supervisor,
    TooManyLeft,
    is_failure,
    is_quick,
    positive,
    quick,
)

AT_ONCE_S = 0.01
LONG_S = 60.0


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hanging code waits for; set when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def ended(supervisor: Supervisor) -> None:
    """Waits until no thread is left behind."""
    for thread in threading.enumerate():
        if thread in supervisor._left:
            thread.join(LONG_S)
    assert supervisor.left == 0


def test_a_step_that_comes_back_is_answered() -> None:
    supervisor = Supervisor()
    assert supervisor.call("mine", LONG_S, pow, 2, 5) == 32
    assert supervisor.call("mine", LONG_S, pow, 2, 6) == 64
    assert supervisor.stats() == {"idle": 1, "left": 0}


def test_a_step_that_raises_is_heard() -> None:
    with pytest.raises(ZeroDivisionError):
        Supervisor().call("mine", LONG_S, divmod, 1, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
def test_what_would_stop_the_caller_is_a_failure_where_the_code_raises_it_itself(error: BaseException) -> None:
    def dying() -> NoReturn:
        raise error

    with pytest.raises(Died, match=type(error).__name__):
        Supervisor().call("mine", LONG_S, dying)


def test_a_step_that_does_not_come_back_is_left_behind_and_said(
    release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = Supervisor()
    with pytest.raises(DeadlinePassed, match=r"mine did not come back within 0\.01 s"):
        supervisor.call("mine", AT_ONCE_S, release.wait)
    assert supervisor.left == 1
    assert "mine did not come back" in caplog.text
    release.set()
    ended(supervisor)


def test_python_code_that_goes_round_for_ever_is_stopped() -> None:
    def spinning() -> NoReturn:
        while True:
            pass

    supervisor = Supervisor()
    with pytest.raises(DeadlinePassed):
        supervisor.call("mine", AT_ONCE_S, spinning)
    ended(supervisor)


def test_a_thread_that_was_left_behind_is_not_given_work_again(release: threading.Event) -> None:
    supervisor = Supervisor()
    with pytest.raises(DeadlinePassed):
        supervisor.call("mine", AT_ONCE_S, release.wait)
    (left,) = supervisor._left
    release.set()
    ended(supervisor)
    assert supervisor.call("mine", LONG_S, threading.current_thread) is not left


def test_so_many_steps_of_one_owner_may_be_left_behind_and_others_go_on(
    release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = Supervisor(most_left_of_one=2)
    for _ in range(2):
        with pytest.raises(DeadlinePassed):
            supervisor.call("mine", AT_ONCE_S, release.wait)
    with pytest.raises(TooManyLeft):
        supervisor.call("mine", LONG_S, pow, 1, 1)
    assert "mine is not called: 2 of its steps" in caplog.text
    assert supervisor.call("another", LONG_S, pow, 1, 1) == 1


def test_so_many_may_be_left_behind_in_all_and_no_more_once_they_ended(release: threading.Event) -> None:
    supervisor = Supervisor(most_left=2)
    for owner in ("one", "two"):
        with pytest.raises(DeadlinePassed):
            supervisor.call(owner, AT_ONCE_S, release.wait)
    with pytest.raises(TooManyLeft):
        supervisor.call("three", LONG_S, pow, 1, 1)
    release.set()
    ended(supervisor)
    assert supervisor.call("three", LONG_S, pow, 1, 1) == 1


async def test_the_loop_turns_while_a_step_runs() -> None:
    release = threading.Event()
    waiting = asyncio.ensure_future(Supervisor().run(release.wait))
    await asyncio.sleep(0)
    release.set()  # by the loop, which therefore is not what waits
    assert await waiting


async def test_a_step_may_raise_what_no_future_can_hold() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await Supervisor().run(next, iter(()))


def test_code_says_that_it_is_quick_and_methods_of_str_are() -> None:
    def mine() -> None: ...

    assert not is_quick(mine)
    assert is_quick(quick(mine))
    assert is_quick(str.upper)
    assert not is_quick(object())


@pytest.mark.parametrize(
    ("error", "failure"),
    [(ValueError(), True), (SystemExit(), True), (KeyboardInterrupt(), False), (asyncio.CancelledError(), False)],
)
def test_what_is_the_code_s_failure_and_what_its_caller_s_end(error: BaseException, failure: bool) -> None:
    assert is_failure(error) is failure


@pytest.mark.parametrize("deadline_s", [0, -1, float("nan")])
def test_a_deadline_that_is_none_is_refused(deadline_s: float) -> None:
    with pytest.raises(InputError, match="positive"):
        positive(deadline_s)
