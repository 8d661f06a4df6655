"""From `validators = [{ use = "secrets", action = "block" }]` to a stage that validates.

Every table takes `name`, `action`, `replacement`, `on_error`, `deadline_s` and `channels`; the rest is the validator's
own. Needs the `validation` extra (`pip install "patinox[validation]"`).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from patinox.errors import ConfigError
from patinox.manager.recipes import Made, MakeStage
from patinox.validation.base import EVERY_CHANNEL, Policy, Validator
from patinox.validation.frontier import ValidationStage
from patinox.validation.json_schema import JsonSchema
from patinox.validation.length import Length
from patinox.validation.moderation import HttpModeration, ModerationStage
from patinox.validation.patterns import Patterns, Rule
from patinox.validation.personal import personal
from patinox.validation.repetition import Repetition
from patinox.validation.secrets import secrets
from patinox.validation.words import Words

Table = dict[str, Any]
_POLICY = ("action", "replacement", "on_error", "deadline_s", "channels")
# Half a document is none, and what is too long or goes round in circles is not mended by a mark in its place.
_ACTIONS: dict[str, Table] = {use: {"action": "block"} for use in ("json-schema", "length", "repetition")}


def made_of(tables: Sequence[Table], deadline_s: float) -> Made:
    """The stages of some tables. Raises `ConfigError` for a table that makes no validator.

    `deadline_s` is for those that say nothing else. All that decide by themselves are one stage; a moderation endpoint
    is asked after them, about what they let pass.
    """
    tables = [{"deadline_s": deadline_s, **table} for table in tables]
    validators = [validator(table) for table in tables if table["use"] != "moderation"]
    asking = [_moderation(table) for table in tables if table["use"] == "moderation"]
    own: list[MakeStage] = [lambda: ValidationStage(validators)] if validators else []
    return Made([*own, *(make for make, _ in asking)], [close for _, close in asking])


def validator(table: Table) -> Validator:
    """One validator, which serves any number of streams."""
    rest = dict(table)
    use = rest.pop("use")
    build = _BUILDERS.get(use)
    if build is None:
        raise ConfigError(f"there is no validator {use!r}; there are {', '.join((*_BUILDERS, 'moderation'))}")
    try:
        name = str(rest.pop("name", use))
        given = _policy(rest)
        policy = msgspec.convert({**_ACTIONS.get(use, {}), **given}, Policy)
        return build(name, policy, rest)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the validator {use!r}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"the validator {use!r}: {error.message}") from error


class _RuleTable(msgspec.Struct, forbid_unknown_fields=True):
    """One rule: `max_span`, in characters, where the pattern has no longest match; `is_quick` as of `Rule`."""

    name: str
    pattern: str
    max_span: int | None = None
    is_quick: bool = False


class _Rules(msgspec.Struct, forbid_unknown_fields=True):
    """The options of `patterns`, and of `secrets` for more shapes."""

    rules: list[_RuleTable] = []


class _WordList(msgspec.Struct, forbid_unknown_fields=True):
    """The options of `words`."""

    words: list[str]
    whole_words: bool = True
    ignore_case: bool = True


class _MaxChars(msgspec.Struct, forbid_unknown_fields=True):
    """The options of `length`."""

    max_chars: int


class _Loop(msgspec.Struct, forbid_unknown_fields=True):
    """The options of `repetition`."""

    times: int = 0
    max_unit_chars: int = 0
    min_chars: int = 0


class _Schemas(msgspec.Struct, forbid_unknown_fields=True):
    """The options of `json-schema`: a schema by the name of each tool, and one for an answer that is JSON."""

    tools: dict[str, dict[str, Any]] = {}
    answer: dict[str, Any] | None = None
    max_chars: int = 0


class _Endpoint(msgspec.Struct, forbid_unknown_fields=True):
    """Where `moderation` asks. Its key is in the environment variable that `key_variable` names."""

    url: str
    model: str | None = None
    key_variable: str = ""


class _Windows(msgspec.Struct, forbid_unknown_fields=True):
    """The other options of `moderation`."""

    window_chars: int = 0
    overlap_chars: int = 0
    deadline_s: float = 0.0
    max_in_flight: int = 0
    optimistic: bool = False


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
    return [
        Rule(rule.name, rule.pattern, max_span=rule.max_span, is_quick=rule.is_quick)
        for rule in msgspec.convert(rest, _Rules).rules
    ]


def _words(name: str, policy: Policy, rest: Table) -> Validator:
    options = msgspec.convert(rest, _WordList)
    return Words(
        options.words, name=name, policy=policy, whole_words=options.whole_words, ignore_case=options.ignore_case
    )


def _length(name: str, policy: Policy, rest: Table) -> Validator:
    return Length(msgspec.convert(rest, _MaxChars).max_chars, name=name, policy=policy)


def _repetition(name: str, policy: Policy, rest: Table) -> Validator:
    return Repetition(**_known(rest, _Loop), name=name, policy=policy)


def _json_schema(name: str, policy: Policy, rest: Table) -> Validator:
    return JsonSchema(**_known(rest, _Schemas), name=name, policy=policy)


def _moderation(table: Table) -> tuple[Callable[[], ModerationStage], Callable[[], Awaitable[None]]]:
    rest = {key: value for key, value in table.items() if key not in ("use", "url", "model", "key_variable")}
    place = {key: table[key] for key in ("url", "model", "key_variable") if key in table}
    try:
        where = msgspec.convert(place, _Endpoint)
        deadline = {"deadline_s": rest["deadline_s"]} if "deadline_s" in rest else {}
        policy = msgspec.convert({"action": "block", **_policy(rest)}, Policy)
        if "channels" not in table:
            policy = msgspec.structs.replace(policy, channels=EVERY_CHANNEL - {"value"})
        name = str(rest.pop("name", "moderation"))
        options = _known({**rest, **deadline}, _Windows)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the validator 'moderation': {error}") from error
    key = os.environ.get(where.key_variable, "") if where.key_variable else ""
    hook = HttpModeration(where.url, model=where.model, headers={"Authorization": f"Bearer {key}"} if key else None)
    return lambda: ModerationStage(hook, name=name, policy=policy, **options), hook.aclose


def _policy(rest: Table) -> Table:
    return {key: rest.pop(key) for key in _POLICY if key in rest}


def _known(rest: Table, options: type[msgspec.Struct]) -> Table:
    """The options as they were given, once they are known to be such."""
    msgspec.convert(rest, options)
    return rest


_BUILDERS: dict[str, Callable[[str, Policy, Table], Validator]] = {
    "secrets": _secrets,
    "personal": _personal,
    "patterns": _patterns,
    "words": _words,
    "json-schema": _json_schema,
    "length": _length,
    "repetition": _repetition,
}
"""By the word after `use`."""
