"""Keys of one's own: random words whose SHA-256 stands in the settings.

A key has 256 random bits, so a plain hash is enough: there is nothing to guess, and it is checked at every request.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

from patinox.config.auth import KeyConfig
from patinox.errors import Unauthenticated
from patinox.transports.access import Caller, Right

PREFIX = "patinox_"


def new_key() -> tuple[str, str]:
    """A new key, and its SHA-256 in hex."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, _hash(key)


class Keys:
    """The keys that are taken."""

    def __init__(self, configured: Iterable[KeyConfig]) -> None:
        self._callers = {key.sha256: _caller(key) for key in configured}

    def __repr__(self) -> str:
        return f"<Keys {len(self._callers)}>"

    def caller(self, key: str) -> Caller:
        """Who has this key. Raises `Unauthenticated`."""
        known = self._callers.get(_hash(key))  # looked up by hash: how long that takes tells nothing of any key
        if known is None:
            raise Unauthenticated("there is no such key")
        return known


def _caller(key: KeyConfig) -> Caller:
    return Caller(key.tenant, f"key:{key.name}", frozenset(map(Right, key.rights)), key.streams, key.channels)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
