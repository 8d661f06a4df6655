"""A regular expression taken apart: what it matches, where more text could still matter to it, and how far it sees.

For a text that is still being written the question is not only where an expression matches, but from which places on
it would have to read beyond the end to know. That question is a regular expression itself. Written U, with `\\Z` for
"the end is reached here", it follows the expression's parts:

    U(nothing)       never
    U(c rest)        \\Z | c U(rest)                       for anything that reads one character
    U((a|b) rest)    U(a) | U(b) | (a|b) U(rest)
    U(e{m,n} rest)   e{0,n-1} U(e) | e{m,n} U(rest)
    U((?=e) rest)    (?=U(e)) | (?=e) U(rest)             and likewise for (?!e)
    U(\\b rest)       \\Z | \\b U(rest)                      and likewise for \\B, $ and \\Z

It may say yes too often (within an atomic group), never too seldom. The standard library's own parser takes the
expression apart; it has no public face, so everything that touches it is in this module and in `leads.py`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined, unused-ignore]  # there or not, as others have imported it
from typing import Any, Final

import msgspec

from patinox.errors import ConfigError

UNBOUNDED: Final = 1_000_000
"""A match that may be longer than this, in characters, is as good as one without an end."""
NEVER: Final = "(?!)"

_FLAGS: Final = (("i", re.IGNORECASE), ("m", re.MULTILINE), ("s", re.DOTALL), ("a", re.ASCII))
_CATEGORIES: Final = {
    "CATEGORY_DIGIT": r"\d", "CATEGORY_NOT_DIGIT": r"\D", "CATEGORY_SPACE": r"\s", "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w", "CATEGORY_NOT_WORD": r"\W",
}  # fmt: skip
# What is asked of a place, and when the answer depends on what may still come.
_PLACES: Final = {
    "AT_BEGINNING": ("^", NEVER), "AT_BEGINNING_STRING": (r"\A", NEVER), "AT_BOUNDARY": (r"\b", r"\Z"),
    "AT_NON_BOUNDARY": (r"\B", r"\Z"), "AT_END": ("$", r"\n?\Z"), "AT_END_STRING": (r"\Z", r"\Z"),
}  # fmt: skip
_REPEATS: Final = {"MAX_REPEAT": "", "MIN_REPEAT": "?", "POSSESSIVE_REPEAT": "+"}


class Expression(msgspec.Struct, frozen=True):
    """Sources for `re`, without groups and with their flags inside, so that several can be joined with `|`.

    `shortest` and `longest` are of a match, in characters, `longest` None where it has no bound; `reach` is how far
    beyond its start a match may depend on the text (None as for `longest`), `behind` how much of what is before.
    """

    match: str
    undecided: str
    shortest: int
    longest: int | None
    reach: int | None
    behind: int


def parse(pattern: str) -> Any:
    """The standard library's tree of a pattern. Raises `ConfigError` where it is not a regular expression."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"{pattern!r} is not a regular expression: {error}") from error


def expression(pattern: str) -> Expression:
    """Takes a pattern apart. Raises `ConfigError`, also for a back-reference, which cannot be told in advance."""
    tree = parse(pattern)
    flags = "".join(letter for letter, flag in _FLAGS if tree.state.flags & flag)
    head = f"(?{flags}:" if flags else "(?:"
    shortest, longest = tree.getwidth()
    ahead = sum(sub.getwidth()[1] for direction, sub in _looks(tree) if direction > 0)
    return Expression(
        match=f"{head}{_source(tree)})",
        undecided=f"{head}{_undecided(list(tree))})",
        shortest=shortest,
        longest=longest if longest < UNBOUNDED else None,
        reach=longest + ahead + 1 if longest + ahead < UNBOUNDED else None,
        behind=1 + sum(sub.getwidth()[1] for direction, sub in _looks(tree) if direction < 0),
    )


def _looks(tree: Any) -> Iterator[tuple[int, Any]]:
    """Yield (direction, what is looked for) for every lookahead (1) and lookbehind (-1)."""
    for operation, argument in tree:
        if str(operation) in ("ASSERT", "ASSERT_NOT"):
            yield argument
        for sub in _subs(argument):
            yield from _looks(sub)


def _subs(argument: Any) -> Iterator[Any]:
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, tuple | list):
        for part in argument:
            yield from _subs(part)


def _source(nodes: Any) -> str:
    return "".join(_one(str(operation), argument) for operation, argument in nodes)


def _one(operation: str, argument: Any) -> str:
    match operation:
        case "LITERAL":
            return re.escape(chr(argument))
        case "NOT_LITERAL":
            return f"[^{_member('LITERAL', argument)}]"
        case "ANY":
            return "."
        case "IN":
            return "[" + "".join(_member(str(kind), value) for kind, value in argument) + "]"
        case "BRANCH":
            return "(?:" + "|".join(map(_source, argument[1])) + ")"
        case "SUBPATTERN":
            return _scope(argument, _source(argument[3]))
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return f"(?:{_source(argument[2])}){_times(argument[0], argument[1])}{_REPEATS[operation]}"
        case "ATOMIC_GROUP":
            return f"(?>{_source(argument)})"
        case "ASSERT" | "ASSERT_NOT":
            return f"(?{'<' * (argument[0] < 0)}{'=' if operation == 'ASSERT' else '!'}{_source(argument[1])})"
        case "AT":
            return _PLACES[str(argument)][0]
        case "FAILURE":
            return NEVER
    raise ConfigError("back-references and conditions cannot be decided on a text that is still being written")


def _member(kind: str, value: Any) -> str:
    match kind:
        case "NEGATE":
            return "^"
        case "CATEGORY":
            return _CATEGORIES[str(value)]
        case "RANGE":
            return f"\\U{value[0]:08x}-\\U{value[1]:08x}"
    return f"\\U{value:08x}"


def _times(least: int, most: int) -> str:
    return f"{{{least},}}" if most == _parser.MAXREPEAT else f"{{{least},{most}}}"


def _scope(argument: Any, inner: str) -> str:
    """The inside of a group, with the flags it adds and takes away, and without its number."""
    added = "".join(letter for letter, flag in _FLAGS if argument[1] & flag)
    taken = "".join(letter for letter, flag in _FLAGS if argument[2] & flag)
    return f"(?{added}{'-' if taken else ''}{taken}:{inner})"


def _undecided(nodes: list[Any]) -> str:
    """U of a sequence; see the top of the module."""
    rest = NEVER
    for operation, argument in reversed(nodes):
        inside = _touches(str(operation), argument)
        beyond = "" if rest == NEVER else f"|{_one(str(operation), argument)}{rest}"
        rest = f"(?:{inside}{beyond})"
    return rest


def _touches(operation: str, argument: Any) -> str:
    """Whether the end is reached within one part."""
    match operation:
        case "BRANCH":
            return "|".join(_undecided(list(branch)) for branch in argument[1])
        case "SUBPATTERN":
            return _scope(argument, _undecided(list(argument[3])))
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            _, most, sub = argument
            before = f"(?:{_source(sub)}){_times(0, most if most == _parser.MAXREPEAT else max(most - 1, 0))}"
            return f"{before}{_undecided(list(sub))}"
        case "ATOMIC_GROUP":
            return _undecided(list(argument))
        case "ASSERT" | "ASSERT_NOT":
            return f"(?={_undecided(list(argument[1]))})" if argument[0] > 0 else NEVER
        case "AT":
            return _PLACES[str(argument)][1]
        case "FAILURE":
            return NEVER
    return r"\Z"
