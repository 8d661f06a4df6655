"""Counts words and tokens as they pass. The text is left as it is, and nothing is held back.

    words = Words()
    pipeline = Pipeline([Tokens([words])])
    ...
    words.count

Each block is counted for itself, so that a word does not go on in the next; `count` is the sum.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from patinox.incremental.deadlines import is_quick

_WORD = re.compile(r"\S+")
_STRETCH = re.compile(r"\s*\S+(?=\s)")
_LONGEST = 4096


class _Total:
    """What all blocks add to."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Words:
    """Counts words: runs of characters between white space."""

    __slots__ = ("_in_word", "_total")
    held = 0
    only_counts = True
    is_quick = True

    def __init__(self, total: _Total | None = None) -> None:
        self._total = total if total is not None else _Total()
        self._in_word = False

    @property
    def count(self) -> int:
        """How many words have begun."""
        return self._total.count

    def fresh(self) -> Words:
        """One that adds to the same count."""
        return Words(self._total)

    def feed(self, text: str) -> str:
        """As in `Processor`."""
        if text:
            goes_on = self._in_word and not text[0].isspace()
            self._total.count += len(_WORD.findall(text)) - goes_on
            self._in_word = not text[-1].isspace()
        return text

    def close(self) -> str:
        """As in `Processor`."""
        return ""


class TokenCount:
    """Counts tokens with a tokenizer's own function, such as `lambda text: len(encoding.encode(text))`.

    It is asked once for each stretch between white space, each with the white space before it, as most tokenizers
    part text themselves, so that the count does not depend on how the text came.
    """

    __slots__ = ("_count_of", "_open", "_total")
    held = 0
    only_counts = True

    def __init__(self, count_of: Callable[[str], int], total: _Total | None = None) -> None:
        self._count_of = count_of
        self._total = total if total is not None else _Total()
        self._open = ""

    @property
    def is_quick(self) -> bool:
        """As the function it was given."""
        return is_quick(self._count_of)

    @property
    def count(self) -> int:
        """How many tokens there were; those of a block's last word are added when the block ends."""
        return self._total.count

    def fresh(self) -> TokenCount:
        """One that adds to the same count."""
        return TokenCount(self._count_of, self._total)

    def feed(self, text: str) -> str:
        """As in `Processor`."""
        self._open += text
        place = 0
        while (end := self._stretch(place)) is not None:
            self._total.count += self._count_of(self._open[place:end])
            place = end
        self._open = self._open[place:]
        return text

    def close(self) -> str:
        """As in `Processor`."""
        if self._open:
            self._total.count += self._count_of(self._open)
        self._open = ""
        return ""

    def _stretch(self, start: int) -> int | None:
        found = _STRETCH.match(self._open, start, start + _LONGEST)
        if found is not None:
            return found.end()
        return start + _LONGEST if len(self._open) - start >= _LONGEST else None
