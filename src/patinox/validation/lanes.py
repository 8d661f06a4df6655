"""One lane: its view, its scanners, and what they found, in the order of the text.

Findings that overlap become one group, so that nothing of what was found is left between two marks. A group is told
only when no scanner can find anything more that overlaps it; what lies before the first untold one, and below every
scanner's frontier, is decided.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from patinox.core.events import Verdict
from patinox.incremental.deadlines import is_failure
from patinox.validation.base import Action, Finding, LaneInfo, Scanner, Validator
from patinox.validation.views import JsonView, Piece, View

OnFailure = Callable[[Validator, BaseException], bool]
"""Told of a validator that raised; whether the lane goes on without it."""


class Found(msgspec.Struct, frozen=True):
    """A finding and whose it is; `order` is the validator's place in the list."""

    order: int
    validator: Validator
    finding: Finding

    @property
    def action(self) -> Action:
        """What becomes of it."""
        return self.validator.policy.action

    @property
    def sort_key(self) -> tuple[int, int, float]:
        """By place, then by validator, the longest first."""
        return self.finding.start, self.order, -_end(self.finding.end)

    def verdict(self, message: int, block: int | None, start: int, field: str | None) -> Verdict:
        """What is told of it: its place from `start` of the lane on, or within a record's `field`; never the text."""
        finding = self.finding
        return Verdict(
            message=message,
            block=block,
            validator=self.validator.name,
            action=self.action.value,
            rule=finding.rule,
            start=finding.start - start,
            end=None if finding.end is None else finding.end - start,
            details={"field": field} if field else None,
        )


class Group(msgspec.Struct):
    """Overlapping findings. `[start, end)` in visible characters of the lane, `end` None for all the rest of it."""

    start: int
    end: int | None
    found: list[Found]
    announced: bool = False
    marked: bool = False

    @property
    def blocker(self) -> Found | None:
        """The first finding that ends the stream."""
        return next((found for found in self.found if found.action is Action.BLOCK), None)

    @property
    def replacement(self) -> str:
        """What stands in the place of what is withheld: the first withholding validator's."""
        return next((f.validator.policy.replacement for f in self.found if f.action is not Action.PASS), "")


class Lane:
    """What is known about one text that somebody will read as one."""

    __slots__ = (
        "_broken", "_closed", "_failed", "_found", "_reads_source", "_scanners", "_view", "adjusted", "dropping",
        "fed", "groups", "info", "key", "last", "late", "limit", "passed", "starts",
    )  # fmt: skip

    def __init__(
        self, info: LaneInfo, key: Any, validators: Sequence[Validator], view: View | JsonView, failed: OnFailure
    ) -> None:
        self.info, self.key, self._view, self._failed = info, key, view, failed
        self._scanners: list[tuple[int, Validator, Scanner]] = []
        self._reads_source = False
        self._found: list[Found] = []
        self._broken = self._closed = False
        self.groups: deque[Group] = deque()  # told, and not yet passed by what leaves
        self.late: list[Group] = []  # told after what they are about had left (optimistic scanners only)
        self.fed = 0  # visible characters so far
        self.limit = 0  # those below it may leave, or are in `groups`
        self.passed = 0  # those below it have left, or were withheld
        self.starts: dict[int | None, int] = {}  # where in the lane each block starts
        self.adjusted: list[tuple[int, int, int]] = []  # (start, end, characters that stand there now)
        self.dropping = False  # within a JSON number whose beginning was withheld
        self.last = ""  # the last character that was sent, and its class, for the JSON that is cut there
        for order, validator in enumerate(validators):
            self._begin(order, validator)

    def _begin(self, order: int, validator: Validator) -> None:
        try:
            scanner = validator.scanner(self.info)
        except BaseException as error:
            self._fail(validator, error)
        else:
            if scanner is not None:
                self._scanners.append((order, validator, scanner))
                self._reads_source = self._reads_source or getattr(scanner, "reads_source", False)

    @property
    def watched(self) -> bool:
        """Whether anybody looks at this lane."""
        return bool(self._scanners) or self._broken

    @property
    def settled(self) -> bool:
        """Whether all that was fed is decided."""
        return self.limit >= self.fed and not self._found and not self._broken

    @property
    def asking(self) -> bool:
        """Whether somebody is still asked about text that may have left."""
        return any(getattr(scanner, "asking", False) for _, _, scanner in self._scanners)

    def feed(self, text: str) -> Piece:
        """Takes the next piece of what is sent."""
        piece, visible = self._view.feed(text)
        self._scan(visible, text)
        return piece

    def poll(self) -> None:
        """Asks the scanners whether anything was decided meanwhile."""
        self._scan("", "")

    def close(self) -> None:
        """The lane is over."""
        if self._closed:
            return
        if rest := self._view.close():
            self._scan(rest, "")
        self._closed = True
        for order, validator, scanner in self._scanners:
            try:
                self._found += [Found(order, validator, finding) for finding in scanner.close()]
            except BaseException as error:
                self._fail(validator, error)
        self._settle()

    def leave_out(self, validator: Validator) -> None:
        """Goes on without a validator; what it found stays found."""
        self._scanners = [entry for entry in self._scanners if entry[1] is not validator]
        self._settle()

    def _scan(self, visible: str, sent: str) -> None:
        self.fed += len(visible)
        for order, validator, scanner in self._scanners:
            try:
                reads = sent if self._reads_source and getattr(scanner, "reads_source", False) else visible
                findings = scanner.feed(reads)
            except BaseException as error:
                self._fail(validator, error)
            else:
                if findings:
                    self._found += [Found(order, validator, finding) for finding in findings]
        self._settle()

    def _fail(self, validator: Validator, error: BaseException) -> None:
        if not is_failure(error):
            raise error
        # Not asked again, not even for its frontier: this lane may be one that `leave_out` does not reach.
        self._scanners = [entry for entry in self._scanners if entry[1] is not validator]
        self._broken = not self._failed(validator, error) or self._broken

    def _settle(self) -> None:
        if self._broken:
            return  # the limit stays where it was: what a validator hasn't passed stays here
        frontier = self.fed
        for _, _, scanner in self._scanners:
            if scanner.frontier < frontier:
                frontier = scanner.frontier
        self.limit = frontier
        if self._found:
            self._group(frontier, done=self._closed and frontier >= self.fed)

    def _group(self, frontier: int, *, done: bool) -> None:
        self._found.sort(key=lambda found: found.sort_key)
        first = 0
        while first < len(self._found):
            group, after = _cluster(self._found, first)
            if not done and not _is_final(group, frontier):
                break
            first = after
            (self.late if group.start < self.passed else self.groups).append(group)
        del self._found[:first]
        if self._found:
            self.limit = min(self.limit, self._found[0].finding.start)


def _end(end: int | None) -> float:
    return float("inf") if end is None else end


def _cluster(found: Sequence[Found], first: int) -> tuple[Group, int]:
    """The group that `found[first]` begins, and the place after its last finding. What passes takes no room."""
    start = found[first].finding.start
    end: float = start
    after = first
    while after < len(found) and (after == first or found[after].finding.start < end):
        if found[after].action is not Action.PASS:
            end = max(end, _end(found[after].finding.end))
        after += 1
    told: list[Found] = []
    for one in found[first:after]:
        if not any(one.order == other.order and _within(one.finding, other.finding) for other in told):
            told.append(one)
    return Group(start, None if end == float("inf") else int(end), told), after


def _within(inner: Finding, outer: Finding) -> bool:
    return outer.start <= inner.start and _end(inner.end) <= _end(outer.end)


def _is_final(group: Group, frontier: int) -> bool:
    """Whether nothing can be found any more that begins before the group's end."""
    if group.end is None or group.end == group.start:
        return group.start < frontier
    return group.end <= frontier
