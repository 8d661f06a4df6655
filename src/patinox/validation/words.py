"""Lists of literal words and phrases, thousands of them at the cost of one.

Matches are found by the Aho-Corasick automaton of `ahocorasick_rs`. Where one may yet come, a set of all beginnings of
all words tells. With `whole_words`, a match has no letter, digit or underscore before or after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import ahocorasick_rs

from patinox.errors import ConfigError
from patinox.validation.base import Finding, LaneInfo, Policy

_WORD = re.compile(r"\w")


class Words:
    """A validator for a list of words. Verdicts name the list, `rule`, never the word."""

    is_quick = True

    def __init__(
        self,
        words: Iterable[str],
        *,
        name: str = "words",
        policy: Policy | None = None,
        whole_words: bool = True,
        ignore_case: bool = True,
    ) -> None:
        self.name = name
        self.policy = policy or Policy()
        self._list = _List({_folded(word) if ignore_case else word for word in words}, whole_words, ignore_case)

    def scanner(self, lane: LaneInfo) -> WordScanner | None:
        """A scanner where the policy names the lane's channel."""
        return WordScanner(self._list, self.name) if lane.channel in self.policy.channels else None


class _List:
    __slots__ = ("automaton", "beginnings", "ignore_case", "longest", "whole_words")

    def __init__(self, words: set[str], whole_words: bool, ignore_case: bool) -> None:
        if not words or "" in words:
            raise ConfigError("a word list needs at least one word, and no empty one")
        self.whole_words, self.ignore_case = whole_words, ignore_case
        self.longest = max(map(len, words))
        self.automaton: Any = ahocorasick_rs.AhoCorasick(sorted(words))
        self.beginnings = {word[:length] for word in words for length in range(1, len(word))}
        if whole_words:  # a word that ends where the text does may go on as a longer one, which is none
            self.beginnings |= words


class WordScanner:
    """Every match, overlapping ones too."""

    __slots__ = ("_base", "_list", "_rule", "_text", "_told", "frontier")

    def __init__(self, words: _List, rule: str) -> None:
        self._list, self._rule = words, rule
        self._text, self._base = "", 0  # what is kept of the lane, and where in the lane it starts
        self._told = 0  # matches that end here or before are told
        self.frontier = 0

    def feed(self, text: str) -> Sequence[Finding]:
        """See `Scanner`."""
        self._text += _folded(text) if self._list.ignore_case else text
        return self._scan(False)

    def close(self) -> Sequence[Finding]:
        """See `Scanner`."""
        return self._scan(True)

    def _scan(self, closed: bool) -> Sequence[Finding]:
        text, base = self._text, self._base
        decided = len(text) if closed or not self._list.whole_words else len(text) - 1
        found = [
            Finding(base + start, base + end, self._rule)
            for _, start, end in self._list.automaton.find_matches_as_indexes(text, overlapping=True)
            if self._told < base + end <= base + decided and self._stands_alone(start, end)
        ]
        self._told = max(self._told, base + decided)
        hold = len(text) if closed else self._hold(text)
        self.frontier = base + hold
        cut = min(hold, len(text)) - self._list.longest - 1
        if cut > 0:
            self._text, self._base = text[cut:], base + cut
        return found

    def _stands_alone(self, start: int, end: int) -> bool:
        return not self._list.whole_words or (
            (start == 0 or not _WORD.match(self._text, start - 1) or not _WORD.match(self._text, start))
            and (end == len(self._text) or not _WORD.match(self._text, end) or not _WORD.match(self._text, end - 1))
        )

    def _hold(self, text: str) -> int:
        """Where the first match may begin that is not told yet."""
        beginnings = self._list.beginnings
        for start in range(max(0, self.frontier - self._base, len(text) - self._list.longest), len(text)):
            if text[start:] in beginnings and self._may_begin(text, start):
                return start
        return len(text)

    def _may_begin(self, text: str, start: int) -> bool:
        whole = self._list.whole_words and start > 0
        return not (whole and _WORD.match(text, start - 1) and _WORD.match(text, start))


def _folded(text: str) -> str:
    """Lower case, one character for each: positions stay."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(small if len(small := character.lower()) == 1 else character for character in text)
