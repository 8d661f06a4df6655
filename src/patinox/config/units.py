"""Durations ("5s", "250ms", "1.5h") and sizes ("16MiB", "64KB") as people write them.

A duration always carries its unit: a bare 5 could be seconds or, as SSE's own `retry:` has it, milliseconds.
A size may leave it out, since bytes are the only reading. Arithmetic is decimal: what was
written comes back.
"""

from __future__ import annotations

import re
from decimal import Decimal

KIB = 1024
MIB = 1024 * KIB

MINUTE_S = 60.0
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S

# Largest first: the order in which a formatted value tries them.
_DURATION_UNITS = {
    "d": Decimal(86400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}
_SIZE_UNITS = {
    "TiB": 1024**4,
    "GiB": 1024**3,
    "MiB": MIB,
    "KiB": KIB,
    "TB": 1000**4,
    "GB": 1000**3,
    "MB": 1000**2,
    "KB": 1000,
    "kB": 1000,
    "B": 1,
    "": 1,
}
_BINARY_UNITS = ("TiB", "GiB", "MiB", "KiB")
_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,40})?) ?([A-Za-z]*)")


def parse_duration(text: str) -> float:
    """Seconds from a number and one of ms, s, m, h, d. Raises ValueError with the reason."""
    number, unit = _split(text)
    if not unit:
        raise ValueError('has no unit: write it as "5s", "250ms", "1.5h"')
    if unit not in _DURATION_UNITS:
        raise ValueError(f"has the unit {unit!r}, which is none of ms, s, m, h, d")
    return float(number * _DURATION_UNITS[unit])


def format_duration(seconds: float) -> str:
    """The shortest exact spelling: `parse_duration(format_duration(s)) == s` for every finite s >= 0."""
    exact = Decimal(repr(float(seconds)))
    if not exact:
        return "0s"
    for unit, factor in _DURATION_UNITS.items():
        count = exact / factor
        if count == count.to_integral_value() and count * factor == exact:
            return f"{count:.0f}{unit}"
    return f"{exact:f}s"


def parse_size(text: str) -> int:
    """Bytes from a number with or without one of B, KB, KiB, MB … TiB. Raises ValueError with the reason."""
    number, unit = _split(text)
    if unit not in _SIZE_UNITS:
        raise ValueError(f"has the unit {unit!r}, which is none of B, KB, KiB, MB, MiB, GB, GiB, TB, TiB")
    size = number * _SIZE_UNITS[unit]
    if size != size.to_integral_value():
        raise ValueError("is not a whole number of bytes")
    return int(size)


def format_size(size_bytes: int) -> str:
    """The shortest exact spelling in binary units; `parse_size` gives the same number back."""
    for unit in _BINARY_UNITS:
        count, rest = divmod(size_bytes, _SIZE_UNITS[unit])
        if count and not rest:
            return f"{count}{unit}"
    return f"{size_bytes}B"


def _split(text: str) -> tuple[Decimal, str]:
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    if match is None:
        raise ValueError("is not a number with a unit")
    return Decimal(match[1]), match[2]
