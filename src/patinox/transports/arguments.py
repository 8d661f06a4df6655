"""What a client says of a stream in JSON, alike over HTTP and WebSocket: how long it lives, and what it failed by."""

from __future__ import annotations

from typing import Any

import msgspec

from patinox.config.units import parse_duration
from patinox.core.chunks import Error
from patinox.errors import InputError, InvalidChunk


def ttl_of(value: Any) -> float | None:
    """Seconds, from a number of them or a duration such as `"24h"`. Raises `InputError` for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError('ttl is a number of seconds or a duration such as "24h"')
    try:
        return parse_duration(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError) as error:
        raise InputError(f"ttl {str(value)[:40]!r} {error}") from error


def error_of(value: Any) -> Error | None:
    """An error, from its message or from `{code, message, …}`. Raises `InvalidChunk` for anything else."""
    if value is None or isinstance(value, Error):
        return value
    if isinstance(value, str):
        return Error("failed", value)
    try:
        return msgspec.convert(value, Error)
    except msgspec.ValidationError as error:
        raise InvalidChunk(f"error is {{code, message}}: {error}") from error
