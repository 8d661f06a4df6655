"""A settings struct knows its own keys: where each stands in TOML, what it means and what it accepts.

A key is an annotated field of a `Settings` struct. Its name in TOML is the field's name, without the `_s`
that a duration carries in Python, since in TOML the unit stands in the value. A field that is itself a
`Settings` is a table below; a tuple of them is a table of tables, one for each name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

import msgspec

from patinox.config.kinds import Kind, mask_credentials
from patinox.config.quantities import Duration
from patinox.errors import ConfigError

NAME = "NAME"  # stands in a path for whatever a user names an upstream


class Problem(msgspec.Struct, frozen=True):
    """Something wrong with the settings at `keys` (dotted), in a sentence."""

    keys: tuple[str, ...]
    message: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the settings. Each is validated when built; ConfigError tells all that is wrong with it."""

    table: ClassVar[str] = ""
    name_kind: ClassVar[Kind | None] = None  # for a table whose name the user chooses: what it accepts
    misplaced: ClassVar[Mapping[str, str]] = {}  # keys that people look for here, and where they are instead

    @classmethod
    def conflicts(cls, at: Mapping[str, Any]) -> Iterator[Problem]:
        """Settings that are fine by themselves and contradict each other; `at` maps dotted keys to values."""
        yield from ()

    def __post_init__(self) -> None:
        problems = [*_settle_name(self), *_settle_keys(self), *_wrong_tables(self)]
        refuse(problems or self.conflicts(flatten(self)))


class Key(msgspec.Struct, frozen=True):
    """One setting: `path` is its dotted name in TOML, `attribute` its field; required = no default."""

    path: str
    attribute: str
    kind: Kind
    default: Any
    required: bool

    @property
    def name(self) -> str:
        """The last part of the path: the key within its table."""
        return self.path.rpartition(".")[2]

    def problem(self, value: object, reason: ValueError, *, at: str = "") -> Problem:
        """What is wrong with the value, what the key means and what it accepts."""
        path = at or self.path
        shown = mask_credentials(str(value) if isinstance(value, int | float | list) else repr(value))
        text = f"{path} = {_shortened(shown)} {reason}; allowed: {self.kind.allowed()}. Meaning: {self.kind.doc}"
        return Problem((path,), text)


@cache
def keys_of(cls: type[Settings]) -> tuple[Key, ...]:
    """The keys of one table, in the order of the fields."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(
        _key(cls.table, field, kind)
        for field in msgspec.structs.fields(cls)
        for kind in get_args(hints[field.name])[1:]
        if isinstance(kind, Kind)
    )


@cache
def tables_of(cls: type[Settings]) -> dict[str, type[Settings]]:
    """The fields that are tables below, in order."""
    hints = get_type_hints(cls)
    found = {field.name: hints[field.name] for field in msgspec.structs.fields(cls)}
    return {name: hint for name, hint in found.items() if isinstance(hint, type) and issubclass(hint, Settings)}


@cache
def named_tables_of(cls: type[Settings]) -> dict[str, type[Settings]]:
    """The fields that hold a table for each name a user chose."""
    hints = get_type_hints(cls)
    found = {field.name: get_args(hints[field.name])[:1] for field in msgspec.structs.fields(cls)}
    tuples = {name: args[0] for name, args in found.items() if get_origin(hints[name]) is tuple}
    return {name: item for name, item in tuples.items() if issubclass(item, Settings)}


def walk(cls: type[Settings]) -> Iterator[type[Settings]]:
    """The struct and all the tables below it, depth first."""
    yield cls
    for below in (*tables_of(cls).values(), *named_tables_of(cls).values()):
        yield from walk(below)


def flatten(settings: Settings) -> dict[str, Any]:
    """Every key below with its value, under dotted paths; named tables with the name they have."""
    flat = {key.path: getattr(settings, key.attribute) for key in keys_of(type(settings))}
    for attribute in tables_of(type(settings)):
        flat |= flatten(getattr(settings, attribute))
    for attribute in named_tables_of(type(settings)):
        for item in getattr(settings, attribute):
            flat |= {path_with_name(path, item.name): value for path, value in flatten(item).items()}
    return flat


def name_problems(cls: type[Settings], name: object) -> list[Problem]:
    """What is wrong with the name of a named table, if anything."""
    if cls.name_kind is None:
        return []
    try:
        cls.name_kind.check(name)
    except ValueError:
        path = path_with_name(cls.table, str(name))
        reason = f"the name {_shortened(repr(name))} is not allowed; allowed: {cls.name_kind.allowed()}"
        return [Problem((path,), f"{path}: {reason}. Meaning: {cls.name_kind.doc}")]
    return []


def path_with_name(path: str, name: str) -> str:
    """The path with the place of the name filled in."""
    return path.replace(NAME, name)


def refuse(problems: Iterable[Problem]) -> None:
    """Raises one ConfigError that says all of them, if there are any."""
    messages = [problem.message for problem in problems]
    if len(messages) == 1:
        raise ConfigError(messages[0])
    if messages:
        raise ConfigError(
            "\n".join([f"{len(messages)} problems in the settings:", *(f"- {text}" for text in messages)])
        )


def _key(table: str, field: msgspec.structs.FieldInfo, kind: Kind) -> Key:
    name = field.name.removesuffix("_s") if isinstance(kind, Duration) else field.name
    path = f"{table}.{name}" if table else name
    return Key(path, field.name, kind, None if field.required else field.default, field.required)


def _settle_name(settings: Settings) -> list[Problem]:
    return [] if settings.name_kind is None else name_problems(type(settings), getattr(settings, "name", None))


def _settle_keys(settings: Settings) -> list[Problem]:
    """Puts every value into its canonical form, and tells of those that have none."""
    problems = []
    for key in keys_of(type(settings)):
        value = getattr(settings, key.attribute)
        try:
            msgspec.structs.force_setattr(settings, key.attribute, key.kind.check(value))
        except ValueError as error:
            problems.append(key.problem(value, error, at=path_with_name(key.path, getattr(settings, "name", NAME))))
    return problems


def _wrong_tables(settings: Settings) -> list[Problem]:
    """Fields that don't hold the structs they should."""
    single, many = tables_of(type(settings)), named_tables_of(type(settings))
    wrong = [
        (name, f"a {cls.__name__}") for name, cls in single.items() if not isinstance(getattr(settings, name), cls)
    ] + [
        (name, f"a tuple of {cls.__name__}")
        for name, cls in many.items()
        if not isinstance(items := getattr(settings, name), tuple) or not all(isinstance(item, cls) for item in items)
    ]
    return [
        Problem((name,), f"{name} is to be {wanted}, not {_shortened(repr(getattr(settings, name)))}")
        for name, wanted in wrong
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
