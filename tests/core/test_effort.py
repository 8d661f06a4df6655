"""Which patterns no text can make slow, and what becomes of the others."""

import pytest

from patinox.incremental.deadlines import quick
from patinox.validation.base import LaneInfo, Policy
from patinox.validation.effort import MOST, effort
from patinox.validation.expressions import parse
from patinox.validation.patterns import Patterns, Rule
from patinox.validation.personal import personal
from patinox.validation.secrets import secrets

NESTED = "(?:a{1,30}){1,30}b"


@pytest.mark.parametrize(
    ("pattern", "steps"),
    [
        ("abc", 3),
        ("ab|cd", 5),
        ("a{3}", 8),
        ("a{0,3}b", 12),
        ("(?>a{0,3})b", 9),
        ("a{0,3}+b", 9),
        ("(?=ab)c", 4),
        ("(?:ab|cd){2}", 42),
        (NESTED, MOST),
        ("a*b", 306),
    ],
)
def test_the_most_steps_at_one_place(pattern: str, steps: int) -> None:
    assert effort(parse(pattern), 100) == steps


@pytest.mark.parametrize("pattern", ["Project (?:Falcon|Osprey)", "[A-Z]{2}[0-9]{6,10}", "(?i)confidential"])
def test_ordinary_rules_are_quick(pattern: str) -> None:
    assert Patterns([Rule("rule", pattern)]).is_quick


def test_a_rule_that_repeats_repetitions_is_not() -> None:
    assert not Patterns([Rule("rule", NESTED)]).is_quick


def test_a_rule_is_as_quick_as_its_check() -> None:
    def check(text: str, start: int, end: int) -> int:
        return end - start

    assert not Patterns([Rule("rule", "abc", check=check)]).is_quick
    assert Patterns([Rule("rule", "abc", check=quick(check))]).is_quick


def test_a_rule_may_say_that_it_is_quick() -> None:
    assert Patterns([Rule("rule", NESTED, is_quick=True)]).is_quick


def test_the_rules_that_are_shipped_are_quick() -> None:
    assert secrets().is_quick
    assert personal("email", "phone", "card", "iban").is_quick


def test_a_search_that_would_go_on_for_years_ends_at_its_deadline() -> None:
    validator = Patterns([Rule("rule", NESTED)], policy=Policy(deadline_s=0.05))
    scanner = validator.scanner(LaneInfo())
    assert scanner is not None
    with pytest.raises(TimeoutError):
        scanner.feed("a" * 400 + "c" * 400)
