"""The kinds of value that are measured: counts, sizes, durations and fractions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from patinox.config.choices import OnAbandon
from patinox.config.kinds import Kind
from patinox.config.units import DAY_S, format_duration, format_size, parse_duration, parse_size


@dataclass(frozen=True)
class Count(Kind):
    """A whole number between `least` and `most`; and 0, meaning `zero`, where that is given."""

    least: int = 0
    most: int = 1_000_000_000
    zero: str = ""

    def allowed(self) -> str:
        """As in Kind."""
        return f"a whole number from {self.least} to {self.most}" + _zero("0", self.zero)

    def check(self, value: object) -> int:
        """As in Kind."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("is not a whole number")
        _within(value, self.least, self.most, str, self.zero)
        return value

    def read_text(self, text: str) -> int:
        """As in Kind."""
        return self.check(_whole(text))


@dataclass(frozen=True)
class Port(Kind):
    """A TCP port, 0 for any free one, or none at all: in Python None, elsewhere "off"."""

    def allowed(self) -> str:
        """As in Kind."""
        return 'a whole number from 1 to 65535; 0 = any free one; "off" = none'

    def check(self, value: object) -> int | None:
        """As in Kind."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("is not a whole number")
        _within(value, 0, 65_535, str, "")
        return value

    def read(self, raw: object) -> int | None:
        """As in Kind."""
        return None if raw == "off" else self.check(raw)

    def read_text(self, text: str) -> int | None:
        """As in Kind."""
        return self.read(_whole(text))

    def write(self, value: Any) -> str:
        """As in Kind."""
        return super().write("off" if value is None else value)


@dataclass(frozen=True)
class Size(Kind):
    """A number of bytes: in Python an int, in TOML an integer or a string such as "16MiB"."""

    least: int = 1
    most: int = 1 << 50
    zero: str = ""

    def allowed(self) -> str:
        """As in Kind."""
        bounds = f"from {format_size(self.least)} to {format_size(self.most)}"
        return f'a size {bounds}: bytes as an integer, or with a unit as in "64KB", "16MiB"' + _zero("0", self.zero)

    def check(self, value: object) -> int:
        """As in Kind."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("is not a number of bytes")
        _within(value, self.least, self.most, format_size, self.zero)
        return value

    def read(self, raw: object) -> int:
        """As in Kind."""
        return self.check(parse_size(raw) if isinstance(raw, str) else raw)

    def write(self, value: Any) -> str:
        """As in Kind."""
        return super().write(format_size(value)) if value else "0"


@dataclass(frozen=True)
class Duration(Kind):
    """A time span: in Python float seconds, in TOML a string such as "250ms"."""

    least: float = 0.001
    most: float = 3650 * DAY_S
    zero: str = ""

    def allowed(self) -> str:
        """As in Kind."""
        bounds = f"from {format_duration(self.least)} to {format_duration(self.most)}"
        return f'a duration {bounds}, with its unit (ms, s, m, h, d), as in "250ms", "5s", "1.5h"' + _zero(
            '"0s"', self.zero
        )

    def check(self, value: object) -> float:
        """As in Kind."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("is not a number of seconds")
        _within(value, self.least, self.most, format_duration, self.zero)
        return float(value)

    def read(self, raw: object) -> float:
        """As in Kind."""
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            raise ValueError('has no unit: write it as "5s", "250ms", "1.5h"')
        if not isinstance(raw, str):
            raise ValueError("is not a duration")
        return self.check(parse_duration(raw))

    def write(self, value: Any) -> str:
        """As in Kind."""
        return super().write(format_duration(value))


@dataclass(frozen=True)
class Fraction(Kind):
    """A number strictly between 0 and 1."""

    def allowed(self) -> str:
        """As in Kind."""
        return "a number between 0 and 1, neither of them included"

    def check(self, value: object) -> float:
        """As in Kind."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("is not a number")
        if not 0 < value < 1:
            raise ValueError("is not between 0 and 1")
        return float(value)

    def read_text(self, text: str) -> float:
        """As in Kind."""
        try:
            number = float(text)
        except ValueError:
            raise ValueError("is not a number") from None
        return self.check(number)


@dataclass(frozen=True)
class Abandon(Kind):
    """`keep` or `cancel_after=<duration>`; in Python an `OnAbandon`."""

    def allowed(self) -> str:
        """As in Kind."""
        return '"keep" or "cancel_after=<duration>", as in "cancel_after=30s"'

    def check(self, value: object) -> OnAbandon:
        """As in Kind."""
        if not isinstance(value, OnAbandon):
            raise ValueError("is not an OnAbandon")
        if value.cancel_after_s is not None:
            _within(value.cancel_after_s, 0, 3650 * DAY_S, format_duration, "")
        return value

    def read(self, raw: object) -> OnAbandon:
        """As in Kind."""
        if not isinstance(raw, str):
            raise ValueError("is not a string")
        return self.check(OnAbandon.parse(raw))

    def write(self, value: Any) -> str:
        """As in Kind."""
        return super().write(str(value))


def _within(value: Any, least: Any, most: Any, spell: Any, zero: str) -> None:
    """ValueError unless least <= value <= most, or value is 0 and 0 has a meaning. NaN is never within."""
    if (zero and value == 0) or least <= value <= most:
        return
    if value != value:
        raise ValueError("is not a number")
    if value < least:
        below = "is negative" if value < 0 else f"is below {spell(least)}"
        raise ValueError(below)
    raise ValueError(f"is above {spell(most)}")


def _zero(literal: str, meaning: str) -> str:
    return f"; {literal} = {meaning}" if meaning else ""


def _whole(text: str) -> int | str:
    """The integer that the text spells in ASCII digits, or the text itself, which `check` then refuses."""
    return int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text) else text
