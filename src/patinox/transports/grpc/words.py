"""Our words and the enums of streams.proto: `text.append` is `DELTA_OP_TEXT_APPEND`."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin

from google.protobuf.descriptor import EnumDescriptor

from patinox.errors import InvalidChunk


class Words:
    """The words of one enum. Raises KeyError, when it is made, for a word that the enum lacks.

    A value without a word of ours is `UNSPECIFIED`, which is None.
    """

    def __init__(self, descriptor: EnumDescriptor, words: Iterable[str]) -> None:
        prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", descriptor.name).upper()
        by_name = descriptor.values_by_name
        self._name = descriptor.name
        self._numbers = {word: by_name[f"{prefix}_{word.upper().replace('.', '_')}"].number for word in words}
        self._words: dict[int, str | None] = {value.number: None for value in descriptor.values}
        self._words.update({number: word for word, number in self._numbers.items()})

    def __repr__(self) -> str:
        return f"<Words {self._name}>"

    def number(self, word: str) -> Any:
        """The number of a word, as a field of this enum takes it. Raises ValueError for one that there is not."""
        number = self._numbers.get(word)
        if number is None:
            raise ValueError(f"{self._name} has no {word!r}")
        return number

    def word(self, number: int) -> str | None:
        """The word of a number. Raises `InvalidChunk` for one that only a newer client knows."""
        if number not in self._words:
            raise InvalidChunk(f"{self._name} has no value {number}")
        return self._words[number]


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types of a union; the type itself where it is none."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def choices(hint: Any) -> tuple[str, ...]:
    """The words that a field of this type may have, where it is a choice of some; empty otherwise."""
    found: list[str] = []
    for one in alternatives(hint):
        if get_origin(one) is Literal:
            found += get_args(one)
        elif isinstance(one, type) and issubclass(one, StrEnum):
            found += list(one)
    return tuple(found)
