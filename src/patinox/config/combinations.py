"""Which settings of overflow, strategy and pace make sense together: the published table.

Two settings can make a producer wait for its readers: `strategy = "pause"` at the high mark, and
`overflow_strategy = "block"` at a full window. `pace_to` says for whom it waits, and nothing else. `retain`
takes part in no contradiction, since each stream may choose its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import msgspec

from patinox.config.choices import BackpressureStrategy, OverflowStrategy, PaceTo

_O, _B, _P = OverflowStrategy, BackpressureStrategy, PaceTo


class Refusal(msgspec.Struct, frozen=True):
    """A set of combinations that contradict themselves, the reason, and what to write instead."""

    overflow: frozenset[OverflowStrategy]
    strategy: frozenset[BackpressureStrategy]
    pace_to: frozenset[PaceTo]
    reason: str
    instead: str

    def covers(self, overflow: OverflowStrategy, strategy: BackpressureStrategy, pace_to: PaceTo) -> bool:
        """Whether the combination is one of these."""
        return overflow in self.overflow and strategy in self.strategy and pace_to in self.pace_to


# The first that covers a combination speaks; what none covers is accepted.
REFUSALS = (
    Refusal(
        frozenset({_O.BLOCK}),
        frozenset({_B.DROP}),
        frozenset(_P),
        "drop moves a laggard on before it can hold up a full window, so block would never wait",
        'set overflow_strategy = "drop_oldest", or strategy = "buffer" to lose nothing',
    ),
    Refusal(
        frozenset({_O.DROP_NEWEST}),
        frozenset({_B.DROP}),
        frozenset(_P),
        "for the same laggard, drop_newest gives up what is new and drop gives up what is old",
        'set overflow_strategy = "drop_oldest", or strategy = "buffer"',
    ),
    Refusal(
        frozenset(_O),
        frozenset({_B.PAUSE}),
        frozenset({_P.NONE}),
        "pause makes the producer wait for its readers, and none says that it waits for nobody",
        'set pace_to = "fastest", or strategy = "buffer"',
    ),
    Refusal(
        frozenset({_O.BLOCK}),
        frozenset(_B),
        frozenset({_P.NONE}),
        "block makes the producer wait for its readers, and none says that it waits for nobody",
        'set pace_to = "fastest", or overflow_strategy = "drop_oldest"',
    ),
    Refusal(
        frozenset({_O.DROP_OLDEST, _O.DROP_NEWEST}),
        frozenset({_B.DROP, _B.BUFFER}),
        frozenset({_P.SLOWEST}),
        "only pause and block make the producer wait, so it cannot keep the pace of the slowest reader",
        'set strategy = "pause", or pace_to = "none"',
    ),
)

AT_HIGH_MARK = {
    _B.PAUSE: "the producer waits, as `pace_to` says; a reader not waited for may lag to the hard bound",
    _B.DROP: "the laggard's cursor jumps to the head, and it is told the `gap`; the producer never waits",
    _B.BUFFER: "nothing, up to the hard bound; there the reader is disconnected and can resume",
}
AT_FULL_WINDOW = {
    _O.DROP_OLDEST: "the oldest chunk leaves; a reader that still needed it gets it from the store, "
    "or with `retain` = `window` is told the `gap`",
    _O.DROP_NEWEST: "while a reader has yet to read the oldest chunk, the append is refused: "
    "503 `buffer_full` for a push, counted for a pull",
    _O.BLOCK: "while a reader that `pace_to` counts has yet to read the oldest chunk, the append waits",
}


def refusal(overflow: OverflowStrategy, strategy: BackpressureStrategy, pace_to: PaceTo) -> Refusal | None:
    """Why the combination makes no sense, or None if it does."""
    return next((entry for entry in REFUSALS if entry.covers(overflow, strategy, pace_to)), None)


def combinations() -> Iterator[tuple[OverflowStrategy, BackpressureStrategy, PaceTo, Refusal | None]]:
    """All 27, in the order of the words, each with its refusal or None."""
    for overflow, strategy, pace_to in product(_O, _B, _P):
        yield overflow, strategy, pace_to, refusal(overflow, strategy, pace_to)
