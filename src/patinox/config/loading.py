"""From layers of what users wrote to one valid struct, or to one error that says everything wrong with them.

    file, environment, overrides → Layer (what is given, and where)
    → resolve: match with the keys, read, merge, look for contradictions → the struct

Every layer is read in full, also where a later one overrides it: a mistake that hides today hurts tomorrow.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from patinox.config.lines import Lines
from patinox.config.outline import Outline, outline_of
from patinox.config.schema import (
    Problem,
    Settings,
    flatten,
    keys_of,
    named_tables_of,
    path_with_name,
    refuse,
    tables_of,
    walk,
)

S = TypeVar("S", bound=Settings)


class Given(msgspec.Struct, frozen=True):
    """A value that somebody gave: its path, the place it stands at in words, and whether it is mere text."""

    path: tuple[str, ...]
    value: Any
    where: str
    is_text: bool = False


class Layer(msgspec.Struct, frozen=True):
    """What one source gives, tables not yet taken apart, and what prevented reading it."""

    given: tuple[Given, ...] = ()
    problems: tuple[str, ...] = ()
    lines: Lines | None = None
    label: str = ""

    def where(self, path: tuple[str, ...], otherwise: str) -> str:
        """The place of a path in words: the line, where there are lines."""
        line = self.lines.of(path) if self.lines is not None else None
        return otherwise if line is None else f"{self.label}{', ' if self.label else ''}line {line}"


def from_file(path: Path) -> Layer:
    """The settings of a TOML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return Layer(problems=(f"{path} cannot be read: {error.strerror}",))
    except UnicodeDecodeError:
        return Layer(problems=(f"{path} is not UTF-8, which TOML has to be",))
    return from_toml(text, str(path))


def from_toml(text: str, label: str) -> Layer:
    """The settings of a TOML text; `label` names it in errors."""
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return Layer(problems=(f"{label or 'the text'} is not TOML: {error}",))
    return Layer(given=(Given((), tree, label),), lines=Lines(text), label=label)


def from_overrides(overrides: Mapping[str, object]) -> Layer:
    """Values under dotted keys, as of a command line; None stands for "not given"."""
    return Layer(
        given=tuple(
            Given(tuple(path.split(".")), value, f"override {path}", is_text=isinstance(value, str))
            for path, value in overrides.items()
            if value is not None
        )
    )


def resolve(cls: type[S], layers: list[Layer]) -> S:
    """The struct that the layers give, later ones over earlier ones. Raises ConfigError with all problems."""
    reader = _Reader(outline_of(cls))
    for layer in layers:
        reader.read(layer)
    reader.look_for_missing()
    reader.look_for_conflicts(cls)
    refuse(Problem((), message) for message in reader.problems)
    return _build(cls, reader.values)


class _Reader:
    """Collects values by dotted key, and every problem met on the way."""

    def __init__(self, outline: Outline) -> None:
        self.values: dict[str, Any] = {}
        self.problems: list[str] = []
        self._outline = outline
        self._bad: set[str] = set()
        self._where: dict[str, str] = {}
        self._named: set[tuple[str, ...]] = set()

    def read(self, layer: Layer) -> None:
        self.problems += layer.problems
        for given in layer.given:
            for leaf in self._leaves(given, layer):
                self._take(leaf)

    def look_for_missing(self) -> None:
        """Keys without a default in the named tables that there are."""
        for table in sorted(self._named):
            for key in self._outline.required_in(table):
                path = ".".join((*table, key.name))
                if path not in self.values and path not in self._bad:
                    missing = f"{path} is missing; allowed: {key.kind.allowed()}. Meaning: {key.kind.doc}"
                    self._complain(self._where.get(".".join(table), ""), missing)

    def look_for_conflicts(self, cls: type[Settings]) -> None:
        """Contradictions among values that are fine by themselves."""
        at = {**dict.fromkeys(self._bad), **flatten(cls()), **self.values}
        for table in walk(cls):
            for problem in table.conflicts(at):
                if not self._bad.intersection(problem.keys):
                    places = dict.fromkeys(self._where[key] for key in problem.keys if key in self._where)
                    self._complain("; ".join(places), problem.message)

    def _leaves(self, given: Given, layer: Layer) -> Iterator[Given]:
        """The keys in what is given, tables taken apart; complains of unknown names and misshapen tables."""
        path = given.path
        where = layer.where(path, given.where)
        dotted = ".".join(path)
        if named := self._outline.name_problems(path):
            self._complain(where, named[0].message)
        elif self._outline.key(path) is not None:
            yield Given(path, given.value, where, is_text=given.is_text)
        elif not self._outline.is_table(path):
            self._complain(where, self._outline.unknown(path).message)
        elif not isinstance(given.value, Mapping):
            self._complain(where, f"{dotted} is a table: its keys go under [{dotted}]")
        else:
            self._where.setdefault(dotted, where)
            self._note_name(path)
            for name, value in given.value.items():
                yield from self._leaves(
                    Given(
                        (*path, str(name)),
                        value,
                        given.where,
                        is_text=layer.lines is None and isinstance(value, str),
                    ),
                    layer,
                )

    def _take(self, leaf: Given) -> None:
        key = self._outline.key(leaf.path)
        if key is None:
            return
        path = ".".join(leaf.path)
        self._where[path] = leaf.where
        self._note_name(leaf.path[:-1])
        try:
            self.values[path] = key.kind.read_text(leaf.value) if leaf.is_text else key.kind.read(leaf.value)
        except ValueError as error:
            self._bad.add(path)
            self._complain(leaf.where, key.problem(leaf.value, error, at=path).message)

    def _note_name(self, path: tuple[str, ...]) -> None:
        if self._outline.takes_names(path[:-1]):
            self._named.add(path)

    def _complain(self, where: str, message: str) -> None:
        self.problems.append(f"{where}: {message}" if where else message)


def _build(cls: type[S], values: Mapping[str, Any], name: str = "") -> S:
    """The struct from the values by dotted key, built from the innermost tables outwards."""
    fields: dict[str, Any] = {"name": name} if name else {}
    for key in keys_of(cls):
        path = path_with_name(key.path, name)
        if path in values:
            fields[key.attribute] = values[path]
    for attribute, below in tables_of(cls).items():
        fields[attribute] = _build(below, values)
    for attribute, item in named_tables_of(cls).items():
        fields[attribute] = tuple(
            _build(item, values, found) for found in _names_under(f"{cls.table}.{attribute}.".lstrip("."), values)
        )
    return cls(**fields)


def _names_under(prefix: str, values: Mapping[str, Any]) -> list[str]:
    return list(
        dict.fromkeys(path.removeprefix(prefix).partition(".")[0] for path in values if path.startswith(prefix))
    )
