"""From `validators = [{ use = "secrets", action = "block" }]` to a stage that validates.

Every table takes `name`, `action`, `replacement`, `on_error` and `channels`; the rest is the validator's own. Needs the
`validation` extra (`pip install "patinox[validation]"`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from patinox.errors import ConfigError
from patinox.validation.base import Policy, Validator
from patinox.validation.frontier import ValidationStage
from patinox.validation.patterns import Patterns, Rule
from patinox.validation.personal import personal
from patinox.validation.secrets import secrets

Table = dict[str, Any]
_POLICY = ("action", "replacement", "on_error", "channels")


def stage_maker(tables: Sequence[Table]) -> Callable[[], ValidationStage]:
    """What makes the stage, for each stream anew. Raises `ConfigError` for a table that makes no validator."""
    validators = [validator(table) for table in tables]
    ValidationStage(validators)  # refuses two of one name
    return lambda: ValidationStage(validators)


def validator(table: Table) -> Validator:
    """One validator, which serves any number of streams."""
    rest = dict(table)
    use = rest.pop("use")
    build = _BUILDERS.get(use)
    if build is None:
        raise ConfigError(f"there is no validator {use!r}; there are {', '.join(_BUILDERS)}")
    try:
        name = str(rest.pop("name", use))
        policy = msgspec.convert({key: rest.pop(key) for key in _POLICY if key in rest}, Policy)
        return build(name, policy, rest)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the validator {use!r}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"the validator {use!r}: {error.message}") from error


class _RuleTable(msgspec.Struct, forbid_unknown_fields=True):
    """One rule: `max_span`, in characters, where the pattern itself has no longest match."""

    name: str
    pattern: str
    max_span: int | None = None


class _Rules(msgspec.Struct, forbid_unknown_fields=True):
    """The options of `patterns`, and of `secrets` for more shapes."""

    rules: list[_RuleTable] = []


class _Kinds(msgspec.Struct, forbid_unknown_fields=True):
    """The options of `personal`."""

    kinds: list[str] = []


def _patterns(name: str, policy: Policy, rest: Table) -> Validator:
    rules = _rules(rest)
    if not rules:
        raise ConfigError("rules is to hold at least one table with name and pattern")
    return Patterns(rules, name=name, policy=policy)


def _secrets(name: str, policy: Policy, rest: Table) -> Validator:
    return secrets(name=name, policy=policy, extra=tuple(_rules(rest)))


def _personal(name: str, policy: Policy, rest: Table) -> Validator:
    return personal(*msgspec.convert(rest, _Kinds).kinds, name=name, policy=policy)


def _rules(rest: Table) -> list[Rule]:
    return [Rule(rule.name, rule.pattern, max_span=rule.max_span) for rule in msgspec.convert(rest, _Rules).rules]


_BUILDERS: dict[str, Callable[[str, Policy, Table], Validator]] = {
    "secrets": _secrets,
    "personal": _personal,
    "patterns": _patterns,
}
"""By the word after `use`."""
