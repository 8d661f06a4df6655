"""Regular expressions on a text that is still being written.

Two searches decide everything: one for a rule's matches, and one for the places from which the rule would have to
read beyond the end to know (`expressions.py`). A match that starts before the first such place is final, whatever
comes; nothing that is yet to be found starts before it.

The text held back is as long as what a match may depend on, so a rule must have a longest match: `max_span` gives one
to a rule whose own is unbounded. Such a rule is tried at each place on the `max_span` characters from there on, and on
no more.

A rule that some text could make slow (`effort.py`) is searched for under a deadline, and in a thread (`engines.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec

from patinox.errors import ConfigError
from patinox.incremental.deadlines import DEADLINE_S, is_quick
from patinox.validation.base import Finding, LaneInfo, Policy
from patinox.validation.engines import Engine, TimedPattern, always_quick
from patinox.validation.expressions import Expression, expression
from patinox.validation.leads import leads

Check = Callable[[str, int, int], int]
"""Of the match `text[start:end]`, how many characters are really one: 0 for none. A card number's Luhn sum, for one.

It may look at the match, and before it as far as the rule's own lookbehinds do, and nowhere else.
"""


_ENOUGH_CHARS = 500
"""Clean text is thrown away in stretches of this size, not with every piece."""


class Rule(msgspec.Struct, frozen=True):
    """One regular expression, as the standard library's `re` writes them. `name` is what verdicts say.

    `max_span` is in characters; it is needed where a match could be of any length. `check` looks at a match and may
    shorten or refuse it. `is_quick` says of a rule that no text makes it slow, where that cannot be told from it.
    """

    name: str
    pattern: str
    max_span: int | None = None
    check: Check | None = None
    is_quick: bool = False


class Patterns:
    """A validator made of rules. Raises `ConfigError` for a rule that cannot be decided on a bounded text.

    It `is_quick` where all its rules are, and their checks.
    """

    def __init__(self, rules: Iterable[Rule], *, name: str = "patterns", policy: Policy | None = None) -> None:
        self.name = name
        self.policy = policy or Policy()
        self._rules = tuple(_Compiled(rule) for rule in rules)
        self.is_quick = all(rule.is_quick for rule in self._rules)
        engine = _engine(self.is_quick, self.policy)
        for rule in self._rules:
            rule.compile(engine)
        self._joined = _Joined([rule for rule in self._rules if rule.span is None], engine)
        self._context = max((rule.parts.behind for rule in self._rules), default=0)

    def scanner(self, lane: LaneInfo) -> PatternScanner | None:
        """A scanner where the policy names the lane's channel."""
        if lane.channel not in self.policy.channels:
            return None
        return PatternScanner(self._rules, self._joined, self._context)


def _engine(is_quick: bool, policy: Policy) -> Callable[[str], Engine]:
    return re.compile if is_quick else partial(TimedPattern, deadline_s=policy.deadline_s or DEADLINE_S)


class _Compiled:
    """A rule and its two expressions."""

    __slots__ = ("check", "is_quick", "match", "name", "parts", "pattern", "span", "undecided")
    match: Engine
    undecided: Engine

    def __init__(self, rule: Rule) -> None:
        self.name, self.check, self.pattern = rule.name, rule.check, rule.pattern
        self.parts: Expression = expression(rule.pattern)
        if not self.parts.shortest:
            raise ConfigError(f"rule {rule.name!r} can match the empty text, so it would match everywhere")
        self.span = _span(rule, self.parts)
        sees = self.span if self.span is not None else self.parts.reach
        assert sees is not None, "_span refuses a rule without a bound"
        checked = rule.check is None or is_quick(rule.check)
        self.is_quick = rule.is_quick or (checked and always_quick(self.parts, sees))

    def compile(self, engine: Callable[[str], Engine]) -> None:
        """Makes the expressions ready for searching."""
        self.match = engine(self.parts.match)
        self.undecided = engine(self.parts.undecided)

    def open_at(self, text: str, at: int, end: int, closed: bool) -> int:
        """The first place from `at` on that cannot be decided on what is there; `end` where there is none."""
        if not closed and (touching := self.undecided.search(text, at, end)):
            return touching.start()
        return end

    def decide(self, text: str, at: int, closed: bool, open_at: int) -> tuple[int, int, int | None]:
        """`(start, end, None)` for a match that is final, else `(-1, -1, hold)`: nothing starts below `hold`."""
        if self.span is not None:
            return self._decide_in_windows(text, at, closed, self.span)
        return self._decide(text, at, len(text), closed, open_at)

    def _decide(self, text: str, at: int, end: int, closed: bool, open_at: int) -> tuple[int, int, int | None]:
        found = self.match.search(text, at, end)
        if found is not None and (closed or found.start() < open_at):
            return found.start(), found.end(), None
        return -1, -1, open_at

    def _decide_in_windows(self, text: str, at: int, closed: bool, span: int) -> tuple[int, int, int | None]:
        # No search sees more than `span` characters from where it starts, so that a place which cannot be decided
        # within its window is treated alike whether the text after it is here already or not.
        while True:
            window = min(len(text), at + span)
            is_end = closed and window == len(text)
            start, end, hold = self._decide(text, at, window, is_end, self.open_at(text, at, window, is_end))
            if hold is None:
                return start, end, None
            if hold > at:
                at = hold
                if at >= len(text):
                    return -1, -1, len(text)
            elif window < at + span:
                return -1, -1, at
            elif (found := self.match.match(text, at, window)) is not None:
                return at, found.end(), None
            else:
                at += 1


def _span(rule: Rule, parts: Expression) -> int | None:
    """The window of a rule, None where what its matches depend on is bounded by itself."""
    if rule.max_span is not None:
        if rule.max_span < 1:
            raise ConfigError(f"max_span of rule {rule.name!r} must be at least 1 character, not {rule.max_span}")
        return rule.max_span
    if parts.reach is None:
        raise ConfigError(
            f"a match of rule {rule.name!r} may be of any length, so text might be held back for ever; "
            "bound its repetitions ({1,64} for +) or give it max_span"
        )
    return None


class _Joined:
    """All bounded rules at once: most text has nothing in it, and one look says so."""

    __slots__ = ("_match", "_undecided", "leads")

    def __init__(self, rules: Sequence[_Compiled], engine: Callable[[str], Engine]) -> None:
        self.leads = leads(rule.pattern for rule in rules)
        self._match = engine("|".join(rule.parts.match for rule in rules) or "(?!)")
        self._undecided = engine("|".join(rule.parts.undecided for rule in rules) or "(?!)")

    def first(self, text: str, at: int, closed: bool) -> int:
        """The first place from `at` on where a match of one of the rules begins or may begin; else the end."""
        if self.leads is not None:
            return self._first_led(self.leads, text, at, closed)
        found = self._match.search(text, at)
        first = found.start() if found else len(text)
        if not closed and (touching := self._undecided.search(text, at)):
            first = min(first, touching.start())
        return first

    def _first_led(self, leads: re.Pattern[str], text: str, at: int, closed: bool) -> int:
        # Only where a lead is the rules are put to the text: to search for them all is twenty times as slow.
        lead = leads.search(text, at)
        while lead is not None:
            at = lead.start()
            if self._match.match(text, at) or (not closed and self._undecided.match(text, at)):
                return at
            lead = leads.search(text, at + 1)
        return len(text)


class PatternScanner:
    """Each rule's matches, left to right and without overlap, as `re.finditer` has them on the whole text."""

    __slots__ = ("_base", "_context", "_joined", "_leads", "_marks", "_rules", "_text", "_windows", "frontier")

    def __init__(self, rules: Sequence[_Compiled], joined: _Joined, context: int) -> None:
        self._rules, self._joined, self._context = rules, joined, context
        self._text, self._base = "", 0  # what is kept of the lane, and where in the lane it starts
        self._marks: list[int] | None = None  # where each rule goes on, if not all at the frontier
        self._windows = any(rule.span is not None for rule in rules)
        self._leads = None if self._windows else joined.leads
        self.frontier = 0

    def feed(self, text: str) -> Sequence[Finding]:
        """See `Scanner`."""
        kept = self._text = self._text + text
        # Most pieces begin nothing, and this is all there is to say about them.
        if self._marks is None and self._leads is not None and not self._leads.search(kept, self.frontier - self._base):
            self.frontier = self._base + len(kept)
            if len(kept) > _ENOUGH_CHARS:
                self._trim(len(kept))
            return ()
        return self._scan(False)

    def close(self) -> Sequence[Finding]:
        """See `Scanner`."""
        return self._scan(True)

    def _scan(self, closed: bool) -> Sequence[Finding]:
        text, base = self._text, self._base
        first = self._joined.first(text, self.frontier - base, closed)
        if first == len(text) and not self._windows:
            self._marks = None
            self.frontier = base + first
            self._trim(first)
            return ()
        if self._marks is None:
            self._marks = [self.frontier] * len(self._rules)
        findings: list[Finding] = []
        for number, rule in enumerate(self._rules):
            mark = self._marks[number] - base
            if rule.span is None and first > mark:
                mark = first
            self._marks[number] = base + self._advance(rule, mark, closed, findings)
        self.frontier = min(self._marks)
        self._trim(self.frontier - base)
        return findings

    def _advance(self, rule: _Compiled, at: int, closed: bool, findings: list[Finding]) -> int:
        """Finds what can be found from `at` on; where the rule goes on next time."""
        text = self._text
        open_at = -1
        while at < len(text):
            if open_at < at and rule.span is None:  # looked for once, not after each match, which would be quadratic
                open_at = rule.open_at(text, at, len(text), closed)
            start, end, hold = rule.decide(text, at, closed, open_at)
            if hold is not None:
                return hold
            if rule.check is not None:
                end = start + rule.check(text, start, end)
            if end > start:
                findings.append(Finding(self._base + start, self._base + end, rule.name))
            at = max(end, start + 1)
        return at

    def _trim(self, frontier: int) -> None:
        # One character stays even where no rule looks behind: the text's start must not seem to come again.
        cut = frontier - self._context - 1
        if cut > 0:
            self._text, self._base = self._text[cut:], self._base + cut
