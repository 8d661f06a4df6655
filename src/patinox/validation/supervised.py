"""A validator of somebody's own: each step of it, and of its scanners, under a deadline.

To the stage it is a validator like any other, and one that hangs or dies is one that raises: `Policy.on_error` says
what that means. What its scanners say is taken over at the end of a step: one that was left behind says nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from patinox.incremental.deadlines import Supervisor, is_quick, positive
from patinox.validation.base import Finding, LaneInfo, Policy, Scanner, Validator


def under_deadlines(validators: Iterable[Validator], deadline_s: float, supervisor: Supervisor) -> list[Validator]:
    """The validators, those supervised that are not known to come back at once."""
    return [
        validator if is_quick(validator) else SupervisedValidator(validator, deadline_s, supervisor)
        for validator in validators
    ]


class _Said(msgspec.Struct, frozen=True):
    """What a scanner has said in one step."""

    findings: tuple[Finding, ...]
    frontier: int
    asking: bool


class SupervisedValidator:
    """The validator `of`, whose steps may take its policy's `deadline_s`, or else the stage's."""

    def __init__(self, of: Validator, deadline_s: float, supervisor: Supervisor) -> None:
        self.name = of.name
        self.policy: Policy = of.policy
        self._of, self._supervisor = of, supervisor
        self._deadline_s = positive(self.policy.deadline_s or deadline_s)

    def __repr__(self) -> str:
        return f"<SupervisedValidator {self.name}>"

    def scanner(self, lane: LaneInfo) -> SupervisedScanner | None:
        """As in `Validator`. Raises what the validator does, `DeadlinePassed` or `TooManyLeft`."""
        made = self.call(_begun, self._of, lane)
        return None if made is None else SupervisedScanner(self, *made)

    def call(self, step: Any, *arguments: Any) -> Any:
        """One step, in a thread of its own."""
        return self._supervisor.call(f"the validator {self.name}", self._deadline_s, step, *arguments)


class SupervisedScanner:
    """A scanner that is only touched within steps."""

    __slots__ = ("_of", "_validator", "asking", "frontier", "reads_source")

    def __init__(self, validator: SupervisedValidator, of: Scanner, frontier: int, reads_source: bool) -> None:
        self._validator, self._of = validator, of
        self.frontier, self.reads_source = frontier, reads_source
        self.asking = False

    def feed(self, text: str) -> Sequence[Finding]:
        """As in `Scanner`."""
        return self._heard(self._validator.call(_fed, self._of, text))

    def close(self) -> Sequence[Finding]:
        """As in `Scanner`."""
        return self._heard(self._validator.call(_closed, self._of))

    def _heard(self, said: _Said) -> Sequence[Finding]:
        self.frontier, self.asking = said.frontier, said.asking
        return said.findings


def _begun(validator: Validator, lane: LaneInfo) -> tuple[Scanner, int, bool] | None:
    scanner = validator.scanner(lane)
    return None if scanner is None else (scanner, scanner.frontier, bool(getattr(scanner, "reads_source", False)))


def _fed(scanner: Scanner, text: str) -> _Said:
    return _said(scanner, scanner.feed(text))


def _closed(scanner: Scanner) -> _Said:
    return _said(scanner, scanner.close())


def _said(scanner: Scanner, findings: Iterable[Finding]) -> _Said:
    told = tuple(findings)
    if not all(isinstance(finding, Finding) for finding in told) or not isinstance(scanner.frontier, int):
        raise TypeError("a scanner tells findings, and its frontier is a number of characters")
    return _Said(told, scanner.frontier, bool(getattr(scanner, "asking", False)))
