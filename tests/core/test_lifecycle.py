"""The lifecycle table is total, and ends a stream once."""

import pytest

from patinox.core.chunks import Error, Outcome
from patinox.core.lifecycle import ENDED, SIGNAL_OF, TRANSITIONS, Signal, State, outcome_of, step
from patinox.errors import InputError, StreamClosed

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


@pytest.mark.parametrize(
    ("said", "error", "meant"),
    [(None, None, Outcome.COMPLETE), (None, Error("c", "m"), Outcome.FAILED), ("failed", None, Outcome.FAILED),
     ("incomplete", Error("c", "m"), Outcome.INCOMPLETE), (Outcome.COMPLETE, None, Outcome.COMPLETE)],
)  # fmt: skip
def test_an_ending_means_what_is_said_of_it(said: Outcome | str | None, error: Error | None, meant: Outcome) -> None:
    assert outcome_of(said, error) is meant


@pytest.mark.parametrize(("said", "error"), [("won", None), ("", None), ("complete", Error("c", "m"))])
def test_an_ending_that_contradicts_itself_is_refused(said: str, error: Error | None) -> None:
    with pytest.raises(InputError, match="complete"):
        outcome_of(said, error)
