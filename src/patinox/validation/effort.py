"""How much work a regular expression may make at one place of a text, whatever the text: an upper bound.

An engine that backtracks tries every way to match before it says no. Counted along the parts of the expression, with
`ways` for how many ways there are and `steps` for what it takes to try them all:

    one character    ways 1,           steps 1
    a b              ways a · b,       steps a + ways(a) · steps(b)
    a | b            ways a + b,       steps a + b + 1
    e{m,n}           ways Σ ways(e)ᵏ,  steps Σ ways(e)ᵏ · steps(e)
    (?>e) e++ (?=e)  ways 1,           steps e

It is a bound, and a coarse one: it does not see that after `[a-z]*` a digit can only stand in one place.
"""

from __future__ import annotations

from typing import Any, Final

MOST: Final = 10**9
"""Beyond this nobody counts any more."""

_Effort = tuple[int, int]


def effort(tree: Any, span: int) -> int:
    """The most steps at one place, `MOST` where it may be more; no match sees more than `span` characters."""
    return _row(list(tree), span)[1]


def _row(nodes: list[Any], span: int) -> _Effort:
    ways, steps = 1, 0
    for operation, argument in nodes:
        more_ways, more_steps = _one(str(operation), argument, span)
        ways, steps = min(ways * more_ways, MOST), min(steps + ways * more_steps, MOST)
    return ways, steps


def _one(operation: str, argument: Any, span: int) -> _Effort:
    match operation:
        case "BRANCH":
            branches = [_row(list(branch), span) for branch in argument[1]]
            return _capped(sum(ways for ways, _ in branches), sum(steps for _, steps in branches) + 1)
        case "SUBPATTERN":
            return _row(list(argument[3]), span)
        case "MAX_REPEAT" | "MIN_REPEAT":
            return _repeat(argument, span)
        case "POSSESSIVE_REPEAT":
            return 1, _repeat(argument, span)[1]
        case "ATOMIC_GROUP":
            return 1, _row(list(argument), span)[1]
        case "ASSERT" | "ASSERT_NOT":
            return 1, _row(list(argument[1]), span)[1] + 1
    return 1, 1


def _repeat(argument: Any, span: int) -> _Effort:
    least, most, sub = argument
    turns = min(int(most), span // max(1, sub.getwidth()[0]) + 1)
    ways, steps = _row(list(sub), span)
    if ways == 1:
        return _capped(max(1, turns - least + 1), (turns + 1) * (steps + 1))
    all_ways = all_steps = 0
    power = 1
    for turn in range(turns + 1):
        all_steps += power * (steps + 1)
        all_ways += power if turn >= least else 0
        power *= ways
        if all_steps > MOST:
            return MOST, MOST
    return _capped(max(1, all_ways), all_steps)


def _capped(ways: int, steps: int) -> _Effort:
    return min(ways, MOST), min(steps, MOST)
