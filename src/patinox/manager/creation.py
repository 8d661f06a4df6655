"""What a stream is created with, checked: its id, its metadata, and what it decides for itself."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Mapping
from typing import Any

import msgspec

from patinox.config.choices import OnAbandon, Retain
from patinox.config.streaming import StreamingConfig
from patinox.core.keys import StreamKey
from patinox.errors import InputError
from patinox.manager.stream import StreamOptions

_ALPHABET = string.ascii_letters + string.digits
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}\Z")
_MAX_METADATA_BYTES = 64 * 1024


def is_name(text: str) -> bool:
    """Whether a stream or a channel may be called so."""
    return _NAME.match(text) is not None


def new_key(tenant: str, wanted: str | None) -> StreamKey:
    """The key of a new stream: 131 random bits where no id is wanted. Raises `InputError` for one that won't do."""
    if wanted is None:
        return StreamKey(tenant, random_word(22))
    if not is_name(wanted):
        raise InputError("a stream id has 1 to 128 of A-Z a-z 0-9 . _ ~ - and begins with a letter or a digit")
    return StreamKey(tenant, wanted)


def stream_options(
    config: StreamingConfig, ttl_s: float | None, retain: Retain | str | None, on_abandon: OnAbandon | str | None
) -> StreamOptions:
    """What the stream decides, and the configuration where it doesn't. Raises `InputError`."""
    try:
        kept = config.retain if retain is None else Retain(retain)
    except ValueError:
        raise InputError(f"retain is one of {', '.join(Retain)}, not {str(retain)[:40]!r}") from None
    try:
        abandoned = OnAbandon.parse(on_abandon) if isinstance(on_abandon, str) else on_abandon
    except ValueError as error:
        raise InputError(f"on_abandon {str(on_abandon)[:40]!r} {error}") from error
    if ttl_s is not None and not 0 < ttl_s < 10**9:
        raise InputError("ttl is a positive number of seconds")
    return StreamOptions(kept, abandoned or config.on_abandon, config.ttl_s if ttl_s is None else ttl_s)


def random_word(length: int) -> str:
    """Letters and digits that nobody can guess: 5.95 bits each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def plain(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of the metadata that nobody can change, checked to be JSON of a sensible size. Raises `InputError`."""
    try:
        encoded = msgspec.json.encode({} if metadata is None else metadata)
        copy = msgspec.json.decode(encoded, type=dict[str, Any])
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InputError(f"metadata is a JSON object: {error}") from error
    if len(encoded) > _MAX_METADATA_BYTES:
        raise InputError(f"metadata has {len(encoded)} bytes; at most {_MAX_METADATA_BYTES} are kept")
    return copy
