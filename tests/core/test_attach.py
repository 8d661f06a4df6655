"""Where an attaching reader stands: every row of the table."""

import pytest

from patinox.core.attach import After, Attachment, AttachOutcome, Gap, LogFacts, attach
from patinox.core.chunks import EventId

O = AttachOutcome  # noqa: E741
OPEN = LogFacts("e", 10)
ENDED = LogFacts("e", 10, ended=True)
WITH = LogFacts("e", 10, has_snapshot=True)
ENDED_WITH = LogFacts("e", 10, ended=True, has_snapshot=True)
CUT = LogFacts("e", 10, oldest=6)
CUT_WITH = LogFacts("e", 10, oldest=6, has_snapshot=True)
CUT_ENDED = LogFacts("e", 10, oldest=10, ended=True)
CUT_ENDED_WITH = LogFacts("e", 10, oldest=10, ended=True, has_snapshot=True)


def at(sequence: int, part: int = 0) -> EventId:
    return EventId("e", sequence, part)


ROWS: list[tuple[str, After, LogFacts, Attachment]] = [
    ("start", "start", OPEN, Attachment(O.START, at(0), 0)),
    ("start, ended", "start", ENDED, Attachment(O.START, at(0), 0)),
    ("start, empty log", "start", LogFacts("e", 0), Attachment(O.START, at(0), 0)),
    ("start, evicted", "start", CUT, Attachment(O.GAP, at(0), 5, gap=Gap(1, 5))),
    ("start, evicted, snapshot", "start", CUT_WITH, Attachment(O.SNAPSHOT, at(0), 10, gap=Gap(1, 5), snapshot=True)),
    ("now", "now", OPEN, Attachment(O.START, at(10), 10)),
    ("now, ended", "now", ENDED, Attachment(O.COMPLETE, at(10), 10)),
    ("now, evicted", "now", CUT, Attachment(O.START, at(10), 10)),
    ("snapshot", "snapshot", WITH, Attachment(O.SNAPSHOT, at(0), 10, snapshot=True)),
    ("snapshot, ended", "snapshot", ENDED_WITH, Attachment(O.SNAPSHOT, at(0), 9, snapshot=True)),
    ("snapshot, empty log", "snapshot", LogFacts("e", 0, has_snapshot=True),
     Attachment(O.SNAPSHOT, at(0), 0, snapshot=True)),
    ("snapshot, none", "snapshot", OPEN, Attachment(O.START, at(0), 0)),
    ("snapshot, none, evicted", "snapshot", CUT, Attachment(O.GAP, at(0), 5, gap=Gap(1, 5))),
    ("id", at(4), OPEN, Attachment(O.RESUMED, at(4), 4)),
    ("id of nothing read", at(0), OPEN, Attachment(O.RESUMED, at(0), 0)),
    ("id at the head", at(10), OPEN, Attachment(O.RESUMED, at(10), 10)),
    ("id at the end", at(10), ENDED, Attachment(O.COMPLETE, at(10), 10)),
    ("id before the end", at(9), ENDED, Attachment(O.RESUMED, at(9), 9)),
    ("part", at(4, 2), OPEN, Attachment(O.RESUMED, at(4, 2), 3, 2)),
    ("part of the end", at(10, 1), ENDED, Attachment(O.RESUMED, at(10, 1), 9, 1)),
    ("part just evicted", at(6, 1), CUT, Attachment(O.RESUMED, at(6, 1), 5, 1)),
    ("part evicted", at(5, 1), CUT, Attachment(O.GAP, at(4), 5, gap=Gap(5, 5))),
    ("id just kept", at(5), CUT, Attachment(O.RESUMED, at(5), 5)),
    ("id evicted", at(2), CUT, Attachment(O.GAP, at(2), 5, gap=Gap(3, 5))),
    ("id evicted, snapshot", at(2), CUT_WITH, Attachment(O.SNAPSHOT, at(2), 10, gap=Gap(3, 5), snapshot=True)),
    ("id evicted, only the end is left", at(2), CUT_ENDED, Attachment(O.GAP, at(2), 9, gap=Gap(3, 9))),
    ("id evicted, only the end is left, snapshot", at(2), CUT_ENDED_WITH,
     Attachment(O.SNAPSHOT, at(2), 9, gap=Gap(3, 9), snapshot=True)),
    ("beyond the head", at(11), OPEN, Attachment(O.RESET, at(0), 0)),
    ("part beyond the head", at(11, 1), OPEN, Attachment(O.RESET, at(0), 0)),
    ("beyond the end", at(11), ENDED, Attachment(O.RESET, at(0), 0)),
    ("another epoch", EventId("x", 3), OPEN, Attachment(O.RESET, at(0), 0)),
    ("another epoch, ended", EventId("x", 10), ENDED, Attachment(O.RESET, at(0), 0)),
    ("another epoch, evicted", EventId("x", 3), CUT, Attachment(O.RESET, at(0), 5, gap=Gap(1, 5))),
    ("another epoch, evicted, snapshot", EventId("x", 3), CUT_WITH,
     Attachment(O.RESET, at(0), 10, gap=Gap(1, 5), snapshot=True)),
]  # fmt: skip


@pytest.mark.parametrize(("after", "facts", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_row(after: After, facts: LogFacts, expected: Attachment) -> None:
    assert attach(after, facts) == expected


@pytest.mark.parametrize("facts", [OPEN, ENDED, WITH, ENDED_WITH, CUT, CUT_WITH, CUT_ENDED, CUT_ENDED_WITH])
@pytest.mark.parametrize("after", ["start", "now", "snapshot", *(at(n) for n in range(12)), EventId("x", 1)])
def test_whatever_is_not_sent_was_asked_for_or_is_told(after: After, facts: LogFacts) -> None:
    answer = attach(after, facts)
    asked_from = facts.head if after == "now" else after.sequence if isinstance(after, EventId) else 0
    if answer.outcome is AttachOutcome.RESET or asked_from > facts.head:
        asked_from = 0
    skipped = range(asked_from + 1, answer.cursor + 1)
    told = set() if answer.gap is None else set(range(answer.gap.first, answer.gap.last + 1))
    assert answer.snapshot or set(skipped) == told
    assert facts.oldest - 1 <= answer.cursor <= facts.head or after == "now"
