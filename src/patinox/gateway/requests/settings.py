"""Settings on their way in and out: a table a dialect, from the neutral name to where it stands in a body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from patinox.gateway.requests.fields import Fields
from patinox.gateway.requests.neutral import EFFORTS, Ask, Effort, Setting

Put = Callable[[Any, dict[str, Any], Ask], str | None]
"""Puts a value into a body; says why it cannot, where it cannot."""

_BUDGETS: tuple[tuple[int, Effort], ...] = (
    (0, "none"),
    (1_024, "minimal"),
    (2_048, "low"),
    (8_192, "medium"),
    (24_576, "high"),
)

NUMBERS: tuple[Setting, ...] = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
WHOLES: tuple[Setting, ...] = ("max_tokens", "top_k", "seed", "candidates", "thinking_tokens")


def read_settings(fields: Fields, table: Mapping[str, Setting]) -> dict[Setting, tuple[Any, str]]:
    """The settings of a body by its table, key → setting: what they are, and what the client calls them."""
    found: dict[Setting, tuple[Any, str]] = {}
    for key, setting in table.items():
        value = _value(fields, key, setting)
        if value is not None:
            found[setting] = (value, fields.path(key))
    return found


def _value(fields: Fields, key: str, setting: Setting) -> Any:
    if setting in NUMBERS:
        return fields.number(key)
    if setting in WHOLES:
        return fields.whole(key)
    if setting == "parallel_calls":
        return fields.flag(key)
    value = fields.take(key)
    if setting == "stop":
        return _stop(fields, key, value)
    if value is not None and (not isinstance(value, str) or (setting == "effort" and value not in EFFORTS)):
        fields.refused.append(f"{fields.path(key)} ({value!r:.40})")
        return None
    return value


def _stop(fields: Fields, key: str, value: Any) -> list[str] | None:
    words = [value] if isinstance(value, str) else value
    if words is None or (isinstance(words, list) and all(isinstance(word, str) for word in words)):
        return words or None
    fields.refused.append(fields.path(key))
    return None


def write_settings(ask: Ask, body: dict[str, Any], table: Mapping[Setting, str | Put]) -> None:
    """Puts all settings into a body by its table, setting → key (`a.b` is within `a`); others are refused."""
    for setting, value in ask.settings.items():
        place = table.get(setting)
        if place is None:
            ask.refuse_setting(setting)
        elif callable(place):
            if why := place(value, body, ask):
                ask.refuse_setting(setting, why)
        else:
            put(body, place, value)


def put(body: dict[str, Any], place: str, value: Any) -> None:
    """Sets `a.b.c` of a body."""
    *outer, last = place.split(".")
    for key in outer:
        body = body.setdefault(key, {})
    body[last] = value


def only(*values: Any) -> Put:
    """For a dialect that has no such setting: these values are what it does anyway."""

    def check(value: Any, _body: dict[str, Any], _ask: Ask) -> str | None:
        return None if value in values else "this dialect has no such setting"

    return check


def effort_of_tokens(place: str) -> Put:
    """For a dialect that says how hard to think in words, and not in tokens; what was said in words goes before."""

    def convert(value: int, body: dict[str, Any], ask: Ask) -> str | None:
        if "effort" not in ask.settings:
            put(body, place, effort_of(value))
        return None

    return convert


def effort_of(tokens: int) -> Effort:
    """The word for a budget of thinking."""
    return next((word for most, word in _BUDGETS if tokens <= most), "high")


def tokens_of(effort: Effort) -> int:
    """The budget of thinking for a word."""
    return next((most for most, word in _BUDGETS if word == effort), 32_768)
