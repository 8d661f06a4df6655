"""All the keys and tables below one settings struct, and what to say about a name that is none of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache

from patinox.config.schema import (
    NAME,
    Key,
    Problem,
    Settings,
    keys_of,
    name_problems,
    named_tables_of,
    path_with_name,
    tables_of,
    walk,
)

_CUTOFF = 0.6  # difflib's own notion of "close"


class Outline:
    """The keys and tables below `root`, found by the path a user wrote."""

    __slots__ = ("_named", "_tables", "keys", "root")

    def __init__(self, root: type[Settings]) -> None:
        self.root = root
        self.keys: dict[str, Key] = {key.path: key for cls in walk(root) for key in keys_of(cls)}
        self._tables: dict[str, type[Settings]] = {cls.table: cls for cls in walk(root)}
        self._named: dict[str, type[Settings]] = {
            item.table.removesuffix(f".{NAME}"): item for cls in walk(root) for item in named_tables_of(cls).values()
        }

    def key(self, path: Sequence[str]) -> Key | None:
        """The key at the path."""
        return self.keys.get(self._pattern(path))

    def is_table(self, path: Sequence[str]) -> bool:
        """Whether a table stands at the path."""
        pattern = self._pattern(path)
        return not path or pattern in self._tables or pattern in self._named

    def name_problems(self, path: Sequence[str]) -> list[Problem]:
        """What is wrong with the last part of the path where it is a name of the user's choosing."""
        item = self._named.get(".".join(path[:-1]))
        return [] if item is None else name_problems(item, path[-1])

    def takes_names(self, path: Sequence[str]) -> bool:
        """Whether the tables below the path have names of the user's choosing."""
        return ".".join(path) in self._named

    def required_in(self, path: Sequence[str]) -> list[Key]:
        """The keys without a default in the table at the path."""
        cls = self._tables.get(self._pattern(path))
        return [] if cls is None else [key for key in keys_of(cls) if key.required]

    def unknown(self, path: Sequence[str]) -> Problem:
        """There is no setting at the path; the nearest that there is, what that means and accepts."""
        dotted = ".".join(path)
        table = self._tables.get(self._pattern(path[:-1]))
        if table is not None and path[-1] in table.misplaced:
            return Problem((dotted,), f"{dotted} is not a setting: {table.misplaced[path[-1]]}")
        return Problem((dotted,), f"{dotted} is not a setting; {self._advice(path)}")

    def _advice(self, path: Sequence[str]) -> str:
        nearest = self._nearest(path)
        if nearest is None:
            return f"known here are {', '.join(self._siblings(path))}"
        shown = nearest.split(".")
        if NAME in shown and len(path) > shown.index(NAME):
            nearest = path_with_name(nearest, path[shown.index(NAME)])
        key = self.key(nearest.split("."))
        if key is None:
            return f"the nearest is the table [{nearest}]"
        return f"the nearest is {nearest}; allowed: {key.kind.allowed()}. Meaning: {key.kind.doc}"

    def _nearest(self, path: Sequence[str]) -> str | None:
        """The key or table that was probably meant: one beside it, of the same name elsewhere, or alike."""
        pattern = self._pattern(path)
        table, _, name = pattern.rpartition(".")
        everything = [*self.keys, *filter(None, self._tables), *self._named]
        beside = {known.rpartition(".")[2]: known for known in everything if known.rpartition(".")[0] == table}
        if close := get_close_matches(name, beside, 1, _CUTOFF):
            return beside[close[0]]
        elsewhere = [known for known in everything if known.rpartition(".")[2] == name]
        return next(iter(elsewhere or get_close_matches(pattern, everything, 1, _CUTOFF)), None)

    def _siblings(self, path: Sequence[str]) -> Iterator[str]:
        """The keys and tables that the table around the path has, or the outermost ones."""
        cls = self._tables.get(self._pattern(path[:-1]), self.root)
        yield from (key.name for key in keys_of(cls))
        yield from (f"[{name}]" for name in (*tables_of(cls), *named_tables_of(cls)))

    def _pattern(self, path: Sequence[str]) -> str:
        """The dotted path, with the user's own names replaced by NAME."""
        parts: list[str] = []
        for part in path:
            parts.append(NAME if ".".join(parts) in self._named else part)
        return ".".join(parts)


@cache
def outline_of(root: type[Settings]) -> Outline:
    """The outline of a struct; made once, as it never changes."""
    return Outline(root)
