"""Where a reader that attaches will stand, and what it must be told: a pure decision.

    asked for      the log                                     outcome    stands at
    start          nothing was evicted                         start      0
    now            open / ended                                start / complete   head
    snapshot       can be assembled / cannot                   snapshot / as start
    an event id    of another epoch, or beyond the head        reset      0
                   the end record of an ended stream           complete   head
                   nothing after it was evicted                resumed    the id
    any of these   what comes next was evicted: snapshot where there is one, gap otherwise (a reset stays a reset)

`complete` means that nothing will follow. A range that was evicted is always told, as `gap`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from patinox.core.chunks import EventId


class AttachOutcome(StrEnum):
    """What an attaching reader is told first."""

    START = "start"
    RESUMED = "resumed"
    SNAPSHOT = "snapshot"
    GAP = "gap"
    RESET = "reset"
    COMPLETE = "complete"


After = EventId | Literal["start", "now", "snapshot"]
"""Where a reader asks to continue."""


class Gap(msgspec.Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """Records that a reader will not get, `first` to `last` inclusive. On the wire: `{"from": …, "to": …}`."""

    kind = "gap"
    first: int
    last: int


class LogFacts(msgspec.Struct, frozen=True):
    """What the decision needs to know of a log.

    `oldest` is the lowest sequence that can still be read; `has_snapshot` says that the whole text is assembled, and
    that this reader can be told it.
    """

    epoch: str
    head: int
    oldest: int = 1
    ended: bool = False
    has_snapshot: bool = False


class Attachment(msgspec.Struct, frozen=True):
    """The decision.

    `position` is what the reader is told it stands at: resuming from it repeats the whole attach. `cursor` is the last
    sequence it will not be sent; `part` the number of frames of record `cursor + 1` that it has already; `snapshot`
    says that everything up to `cursor` is told by a snapshot.
    """

    outcome: AttachOutcome
    position: EventId
    cursor: int
    part: int = 0
    gap: Gap | None = None
    snapshot: bool = False


def attach(after: After, log: LogFacts) -> Attachment:
    """Decides where a reader stands. Never fails: an id that means nothing here is a `reset`."""
    if after == "now":
        outcome = AttachOutcome.COMPLETE if log.ended else AttachOutcome.START
        return Attachment(outcome, EventId(log.epoch, log.head), log.head)
    if after == "snapshot" and log.has_snapshot:
        return _snapshot(0, None, log)
    if not isinstance(after, EventId):
        return _from(AttachOutcome.START, EventId(log.epoch, 0), log)
    if after.epoch != log.epoch or after.sequence > log.head:
        return _from(AttachOutcome.RESET, EventId(log.epoch, 0), log)
    if log.ended and after.whole >= log.head:
        return Attachment(AttachOutcome.COMPLETE, after, log.head)
    return _from(AttachOutcome.RESUMED, after, log)


def _from(outcome: AttachOutcome, position: EventId, log: LogFacts) -> Attachment:
    cursor = position.whole
    if cursor + 1 >= log.oldest:
        return Attachment(outcome, position, cursor, position.part)
    gap = Gap(cursor + 1, log.oldest - 1)
    if log.has_snapshot:
        return _snapshot(cursor, gap, log, outcome)
    told = AttachOutcome.RESET if outcome is AttachOutcome.RESET else AttachOutcome.GAP
    return Attachment(told, EventId(log.epoch, cursor), log.oldest - 1, gap=gap)


def _snapshot(
    cursor: int, gap: Gap | None, log: LogFacts, outcome: AttachOutcome = AttachOutcome.SNAPSHOT
) -> Attachment:
    # An ended log's last record is still to come: the reader must see how it ended.
    stands_at = log.head - 1 if log.ended else log.head
    told = AttachOutcome.RESET if outcome is AttachOutcome.RESET else AttachOutcome.SNAPSHOT
    return Attachment(told, EventId(log.epoch, cursor), stands_at, gap=gap, snapshot=True)
