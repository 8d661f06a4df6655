"""The life of a stream, as a table.

    open ──finish──▶ complete     ──truncate──▶ incomplete    ──cancel──▶ cancelled
         ──lose────▶ interrupted  ──fail──────▶ failed

- `open` takes appends; every other state has its end record in the log, and nothing follows it.
- Exactly one signal ends a stream. Later ones are ignored where the table says so (`cancel` is idempotent, and
  a producer that breaks off after the end has nothing left to lose), and refused otherwise.
- Deleting is not a state of the log: the manager forgets the stream and remembers that it did.
"""

from __future__ import annotations

from enum import StrEnum

from patinox.core.chunks import Error, Outcome
from patinox.errors import InputError, StreamClosed


class State(StrEnum):
    """`open`, or the outcome the stream ended in."""

    OPEN = "open"
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class Signal(StrEnum):
    """What can happen to a stream."""

    APPEND = "append"
    FINISH = "finish"
    TRUNCATE = "truncate"
    CANCEL = "cancel"
    LOSE = "lose"
    FAIL = "fail"


ENDED = tuple(state for state in State if state is not State.OPEN)

TRANSITIONS: dict[tuple[State, Signal], State] = {
    (State.OPEN, Signal.APPEND): State.OPEN,
    (State.OPEN, Signal.FINISH): State.COMPLETE,
    (State.OPEN, Signal.TRUNCATE): State.INCOMPLETE,
    (State.OPEN, Signal.CANCEL): State.CANCELLED,
    (State.OPEN, Signal.LOSE): State.INTERRUPTED,
    (State.OPEN, Signal.FAIL): State.FAILED,
    **{(ended, Signal.CANCEL): ended for ended in ENDED},
    **{(ended, Signal.LOSE): ended for ended in ENDED},
}

SIGNAL_OF: dict[Outcome, Signal] = {
    Outcome.COMPLETE: Signal.FINISH,
    Outcome.INCOMPLETE: Signal.TRUNCATE,
    Outcome.CANCELLED: Signal.CANCEL,
    Outcome.INTERRUPTED: Signal.LOSE,
    Outcome.FAILED: Signal.FAIL,
}


def step(state: State, signal: Signal) -> State:
    """The state after `signal`. Raises `StreamClosed` for what an ended stream does not take."""
    after = TRANSITIONS.get((state, signal))
    if after is None:
        raise StreamClosed(f"the stream has ended ({state}); it takes no {signal}")
    return after


def outcome_of(outcome: Outcome | str | None, error: Error | None) -> Outcome:
    """What a producer means that ends its stream: complete, or failed where there is an `error` and no word of it.

    Raises `InputError` for an outcome that is none, and for a complete stream with an error.
    """
    if outcome is None:
        return Outcome.COMPLETE if error is None else Outcome.FAILED
    try:
        ending = Outcome(outcome)
    except ValueError:
        raise InputError(f"an outcome is one of {', '.join(Outcome)}, not {outcome!r}") from None
    if ending is Outcome.COMPLETE and error is not None:
        raise InputError("what has an error is not complete; leave the outcome out, or say failed")
    return ending
