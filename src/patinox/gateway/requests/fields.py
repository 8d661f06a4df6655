"""Reads an object of a request field by field: what was not taken at the end could not be translated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from patinox.errors import InputError


class Fields:
    """One object, and where in the request it stands. `refused` is where names of what is left over go.

    Every method that takes a field gives None where it is absent or null, and raises `InputError` where it is of the
    wrong type.
    """

    def __init__(self, value: Any, at: str, refused: list[str]) -> None:
        if not isinstance(value, dict):
            raise InputError(f"{at or 'the body'} is an object, not {_kind(value)}")
        self.at = at
        self.refused = refused
        self._left: dict[str, Any] = dict(value)

    def __repr__(self) -> str:
        return f"<Fields {self.at or 'body'}: {', '.join(self._left)}>"

    def path(self, key: str) -> str:
        """Where a field of this object stands."""
        return f"{self.at}.{key}" if self.at else key

    def take(self, key: str) -> Any:
        """Whatever it is."""
        return self._left.pop(key, None)

    def text(self, key: str) -> str | None:
        """A string."""
        value: str | None = self._typed(key, str, "a string")
        return value

    def need(self, key: str) -> str:
        """A string that has to be there."""
        value = self.text(key)
        if value is None:
            raise InputError(f"{self.path(key)} is required")
        return value

    def number(self, key: str) -> float | None:
        """A number; a whole one stays whole."""
        value: float | None = self._typed(key, (int, float), "a number")
        return value

    def whole(self, key: str) -> int | None:
        """A whole number."""
        value: int | None = self._typed(key, int, "a whole number")
        return value

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self.take(key)
        if value is not None and not isinstance(value, bool):
            raise InputError(f"{self.path(key)} is true or false, not {_kind(value)}")
        return value

    def items(self, key: str) -> list[Any] | None:
        """A list."""
        value: list[Any] | None = self._typed(key, list, "a list")
        return value

    def schema(self, key: str) -> dict[str, Any] | None:
        """An object that goes on as it is."""
        value: dict[str, Any] | None = self._typed(key, dict, "an object")
        return value

    def object(self, key: str) -> Fields | None:
        """An object, to be read field by field."""
        value = self.take(key)
        return None if value is None else Fields(value, self.path(key), self.refused)

    def objects(self, key: str) -> Iterator[Fields]:
        """A list of objects; nothing where it is absent."""
        for place, item in enumerate(self.items(key) or ()):
            yield Fields(item, f"{self.path(key)}[{place}]", self.refused)

    def content(self, key: str) -> str | list[Fields]:
        """What is said: a string, or a list of parts; an empty list where there is nothing."""
        value = self.take(key)
        if isinstance(value, str):
            return value
        if value is not None and not isinstance(value, list):
            raise InputError(f"{self.path(key)} is a string or a list, not {_kind(value)}")
        return [Fields(item, f"{self.path(key)}[{place}]", self.refused) for place, item in enumerate(value or ())]

    def refuse(self, what: str) -> None:
        """Says that this object cannot be translated, and what it is; nothing of it is left over then."""
        self.refused.append(f"{self.at} ({what})")
        self._left.clear()

    def close(self, *passed: str, idle: Mapping[str, tuple[Any, ...]] | None = None) -> None:
        """Refuses what was not taken. `passed` ask nothing of a model; nor do values that are empty or `idle`."""
        for key, value in self._left.items():
            if value and key not in passed and value not in (idle or {}).get(key, ()):
                self.refused.append(self.path(key))

    def _typed(self, key: str, kind: type | tuple[type, ...], named: str) -> Any:
        value = self.take(key)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise InputError(f"{self.path(key)} is {named}, not {_kind(value)}")
        return value


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
