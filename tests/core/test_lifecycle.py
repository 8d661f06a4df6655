"""The lifecycle table is total, and ends a stream once."""

import pytest

from patinox.core.chunks import Outcome
from patinox.core.lifecycle import ENDED, SIGNAL_OF, TRANSITIONS, Signal, State, step
from patinox.errors import StreamClosed

PAIRS = [(state, signal) for state in State for signal in Signal]


@pytest.mark.parametrize(("state", "signal"), PAIRS)
def test_every_pair_of_state_and_signal_has_one_answer(state: State, signal: Signal) -> None:
    if (state, signal) in TRANSITIONS:
        assert step(state, signal) is TRANSITIONS[state, signal]
    else:
        with pytest.raises(StreamClosed, match=str(state)):
            step(state, signal)


@pytest.mark.parametrize("signal", Signal)
def test_an_open_stream_takes_every_signal(signal: Signal) -> None:
    assert (step(State.OPEN, signal) is State.OPEN) == (signal is Signal.APPEND)


@pytest.mark.parametrize("state", ENDED)
def test_no_signal_leads_out_of_an_end(state: State) -> None:
    assert {after for (before, _), after in TRANSITIONS.items() if before is state} == {state}


@pytest.mark.parametrize("state", ENDED)
def test_an_ended_stream_takes_cancel_and_loss_in_silence_and_nothing_else(state: State) -> None:
    assert {signal for before, signal in TRANSITIONS if before is state} == {Signal.CANCEL, Signal.LOSE}


def test_every_outcome_has_the_signal_that_leads_to_the_state_of_its_name() -> None:
    assert {step(State.OPEN, SIGNAL_OF[outcome]) for outcome in Outcome} == set(ENDED)
    for outcome in Outcome:
        assert step(State.OPEN, SIGNAL_OF[outcome]).value == outcome.value
