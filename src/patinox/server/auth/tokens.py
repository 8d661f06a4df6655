"""JSON Web Tokens: verified by PyJWT, under the algorithms that the settings name and no others.

The settings tie algorithms to one source of keys (`config/auth.py`), so a public key is never taken for an HMAC's
secret (RFC 8725 §2.1). `exp` is required; `aud` and `iss` are checked as configured.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt

from patinox.config.auth import SECRET_VARIABLE, JwtConfig
from patinox.errors import ConfigError, Unauthenticated
from patinox.server.auth.jwks import Jwks
from patinox.transports.access import Caller, Right

_MIN_SECRET_BYTES = 32  # RFC 7518 §3.2, for HS256


class Tokens:
    """Verifies tokens, and reads from their claims who calls. Raises `ConfigError` where its key cannot be had."""

    def __init__(self, config: JwtConfig, env: Mapping[str, str]) -> None:
        self._config = config
        self._jwks = Jwks(config.jwks_url) if config.jwks_url else None
        self._key: Any = None if self._jwks is not None else _fixed_key(config, env)
        self._default = frozenset(map(Right, config.default_rights))

    def __repr__(self) -> str:
        return f"<Tokens {', '.join(self._config.algorithms)}>"

    async def aclose(self) -> None:
        """Gives back what asks for keys."""
        if self._jwks is not None:
            await self._jwks.aclose()

    async def caller(self, token: str) -> Caller:
        """Who calls with this token. Raises `Unauthenticated`, with why."""
        try:
            key = self._key if self._jwks is None else await self._jwks.key(jwt.get_unverified_header(token))
            claims = jwt.decode(
                token, key, algorithms=list(self._config.algorithms), audience=self._config.audience or None,
                issuer=self._config.issuer or None, leeway=self._config.leeway_s,
                options={"require": ["exp", "sub"], "verify_aud": True},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not valid: {error}") from error
        return self._caller(claims)

    def _caller(self, claims: dict[str, Any]) -> Caller:
        config = self._config
        tenant = claims.get(config.tenant_claim, "")
        if not isinstance(tenant, str) or not claims["sub"]:
            raise Unauthenticated(f"the claims sub and {config.tenant_claim} are strings")
        return Caller(
            tenant, claims["sub"], self._rights(claims.get(config.rights_claim)),
            _names(claims, "streams"), _names(claims, "channels"), float(claims["exp"]) + config.leeway_s,
        )  # fmt: skip

    def _rights(self, claimed: Any) -> frozenset[Right]:
        if claimed is None:
            return self._default
        words = claimed.split() if isinstance(claimed, str) else claimed if isinstance(claimed, list) else ()
        # A scope may hold other services' words too; ours may have our name before them.
        ours = {word.removeprefix("patinox:") for word in words if isinstance(word, str)}
        return frozenset(right for right in Right if right in ours)


def _names(claims: dict[str, Any], key: str) -> tuple[str, ...]:
    names = claims.get(key, ())
    return tuple(name for name in names if isinstance(name, str) and name) if isinstance(names, list) else ()


def _fixed_key(config: JwtConfig, env: Mapping[str, str]) -> Any:
    if config.public_key_file:
        try:
            text = Path(config.public_key_file).read_bytes()
            return jwt.get_algorithm_by_name(config.algorithms[0]).prepare_key(text)
        except (OSError, ValueError, TypeError, jwt.PyJWTError) as error:
            raise ConfigError(
                f"auth.jwt.public_key_file = {config.public_key_file!r} cannot be used: {error}"
            ) from error
    secret = env.get(SECRET_VARIABLE, "")
    if len(secret.encode()) < _MIN_SECRET_BYTES:
        raise ConfigError(
            f"auth.jwt.algorithms = {list(config.algorithms)} needs a secret of {_MIN_SECRET_BYTES} bytes or more in "
            f"{SECRET_VARIABLE}; there {'is none' if not secret else f'are {len(secret.encode())}'}."
        )
    return secret
