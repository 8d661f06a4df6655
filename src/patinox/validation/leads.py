"""How a rule's matches begin: up to four characters, as an expression of the standard library's `re`.

Few places of a text begin anything, and `re` passes over the others several times faster than a search that also
minds the end of the text. A lead may be too wide, never too narrow: what it finds is still put to the rule. It also
finds the beginning of a lead that the text's end cuts off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from patinox.validation.expressions import parse

_DEPTH = 4
_MOST = 64
"""A rule with more beginnings than this is searched for as it is."""
_ANY = r"[\s\S]"

_Lead = tuple[str, ...]


def leads(patterns: Iterable[str]) -> re.Pattern[str] | None:
    """One expression for the beginnings of all patterns, None where the beginning of one cannot be told."""
    patterns = list(patterns)
    if not patterns:
        return re.compile("(?!)")
    whole: dict[str, set[_Lead]] = {}
    for pattern in patterns:
        found = _leads(pattern)
        if found is None:
            return None
        guard, beginnings = found
        whole.setdefault(guard, set()).update(beginnings)
    return re.compile("|".join(guard + _tree(beginnings) for guard, beginnings in whole.items()))


def _leads(pattern: str) -> tuple[str, set[_Lead]] | None:
    tree = parse(pattern)
    if tree.state.flags & re.IGNORECASE:
        return None
    beginnings = {lead[:_DEPTH] for lead, _ in _walk(list(tree), {((), True)})}
    # A rule that may begin with anything has no lead, nor has one that would make too long an expression.
    if len(beginnings) > _MOST or any(not lead or lead[0] == _ANY for lead in beginnings):
        return None
    return _guard(list(tree)), beginnings


def _walk(nodes: list[Any], states: set[tuple[_Lead, bool]]) -> set[tuple[_Lead, bool]]:
    """The leads after `nodes`; the flag says whether a lead goes on."""
    for operation, argument in nodes:
        open_states = {state for state in states if state[1] and len(state[0]) < _DEPTH}
        if not open_states or len(states) > _MOST:
            break
        states = (states - open_states) | _step(str(operation), argument, open_states)
    return states


def _step(operation: str, argument: Any, states: set[tuple[_Lead, bool]]) -> set[tuple[_Lead, bool]]:
    if operation in ("LITERAL", "IN", "ANY", "NOT_LITERAL"):
        one = _class(operation, argument)
        return {((*lead, one), True) for lead, _ in states}
    if operation in ("ASSERT", "ASSERT_NOT", "AT"):
        return states
    if operation == "SUBPATTERN" and not argument[1] & re.IGNORECASE:
        return _walk(list(argument[3]), states)
    if operation == "ATOMIC_GROUP":
        return _walk(list(argument), states)
    if operation == "BRANCH":
        return {end for branch in argument[1] for end in _walk(list(branch), states)}
    if operation in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return _repeat(argument, states)
    return {(lead, False) for lead, _ in states}


def _repeat(argument: Any, states: set[tuple[_Lead, bool]]) -> set[tuple[_Lead, bool]]:
    least, most, sub = argument
    ends = states if least == 0 else set()
    for turn in range(1, min(most, _DEPTH) + 1):
        states = _walk(list(sub), states)
        if turn >= least:
            ends = ends | states
    return ends | ({(lead, False) for lead, _ in states} if most > _DEPTH else set())


def _class(operation: str, argument: Any) -> str:
    if operation == "LITERAL":
        return re.escape(chr(argument))
    # A category would make no lead narrow.
    if operation != "IN" or any(str(kind) not in ("LITERAL", "RANGE") for kind, _ in argument):
        return _ANY
    return "[" + "".join(_member(str(kind), value) for kind, value in argument) + "]"


def _member(kind: str, value: Any) -> str:
    low, high = (value, value) if kind == "LITERAL" else value
    return f"\\U{low:08x}-\\U{high:08x}"


def _guard(nodes: list[Any]) -> str:
    """The lookbehind before everything else, with which most rules begin: for a literal, or against one character."""
    if not nodes or str(nodes[0][0]) not in ("ASSERT", "ASSERT_NOT") or nodes[0][1][0] > 0:
        return ""
    inner = list(nodes[0][1][1])
    if str(nodes[0][0]) == "ASSERT" and all(str(operation) == "LITERAL" for operation, _ in inner):
        return "(?<=" + "".join(re.escape(chr(code)) for _, code in inner) + ")"
    if str(nodes[0][0]) == "ASSERT_NOT" and len(inner) == 1 and (one := _class(str(inner[0][0]), inner[0][1])) != _ANY:
        return f"(?<!{one})"
    return ""


def _tree(beginnings: set[_Lead]) -> str:
    """`{("s", "k", "-"), ("s", "x")}` as `(?:s(?:\\Z|k(?:\\Z|-)|x))`."""
    branches: dict[str, set[_Lead]] = {}
    for lead in sorted(beginnings):
        branches.setdefault(lead[0], set()).add(lead[1:])
    parts = []
    for one, rests in branches.items():
        # Where one beginning is over, it is found whatever the longer ones say.
        parts.append(one if () in rests else rf"{one}(?:\Z|{_tree(rests)})")
    return "(?:" + "|".join(parts) + ")"
