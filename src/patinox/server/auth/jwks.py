"""The keys that an issuer publishes (RFC 7517): fetched when needed, kept, and fetched again when one is unknown.

An issuer rotates its keys by publishing the new one before it signs with it. So a key that is not known here is looked
for once more, but not more often than every few seconds: who sends tokens with made-up names must not make us ask at
each. While the issuer does not answer, the keys that are known go on being good.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import jwt

from patinox.errors import PatinoxError, Unauthenticated

_FRESH_S = 600.0
_PAUSE_S = 10.0
_TIMEOUT_S = 5.0
_MAX_BYTES = 1 << 20

_log = logging.getLogger("patinox.auth")


class KeysUnavailable(PatinoxError):
    """The issuer's keys cannot be had, and without them nobody can be let in."""

    code = "keys_unavailable"
    http_status = 503


class Jwks:
    """`fetch` gives the document of a URL; `clock` seconds, of a clock that never goes back."""

    def __init__(
        self,
        url: str,
        *,
        fetch: Callable[[str], Awaitable[bytes]] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._url = url
        self._fetch = fetch if fetch is not None else _fetch
        self._clock = clock
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._asked_s: float | None = None
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Jwks {self._url} {len(self._keys)} keys>"

    async def aclose(self) -> None:
        """Waits for a fetch that is under way."""
        async with self._turn:
            self._keys.clear()

    async def key(self, header: dict[str, Any]) -> jwt.PyJWK:
        """The key that a token's header names. Raises `Unauthenticated`, or `KeysUnavailable`."""
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise Unauthenticated("the token is not valid: kid is a string")
        if kid not in self._keys or self._age_s() > _FRESH_S:
            await self._refresh(kid)
        found = self._keys.get(kid)
        if found is None and kid is None and len(self._keys) == 1:
            (found,) = self._keys.values()
        if found is not None:
            return found
        if not self._keys:
            raise KeysUnavailable("the issuer's keys cannot be had; try again in a moment")
        raise Unauthenticated("the token is not valid: the issuer has no such key")

    async def _refresh(self, kid: str | None) -> None:
        async with self._turn:
            age_s = self._age_s()
            if age_s < _PAUSE_S or (kid in self._keys and age_s < _FRESH_S):
                return
            self._asked_s = self._now_s()
            try:
                document = await self._fetch(self._url)
                self._keys = {key.key_id: key for key in jwt.PyJWKSet.from_json(document.decode()).keys}
            except (OSError, TimeoutError, ValueError, jwt.PyJWTError) as error:
                _log.warning("the keys of %s cannot be had: %s", self._url, error)

    def _age_s(self) -> float:
        return float("inf") if self._asked_s is None else self._now_s() - self._asked_s

    def _now_s(self) -> float:
        return self._clock() if self._clock is not None else asyncio.get_running_loop().time()


async def _fetch(url: str) -> bytes:
    import aiohttp

    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)) as session,
            session.get(url, allow_redirects=False, headers={"accept": "application/json"}) as answer,
        ):
            body = await answer.content.read(_MAX_BYTES + 1)
    except aiohttp.ClientError as error:
        raise OSError(str(error) or type(error).__name__) from error
    if answer.status != 200 or len(body) > _MAX_BYTES:
        raise OSError(f"it answered {answer.status} with {len(body)} bytes")
    return body
