"""What proves who somebody is: keys, tokens, tickets, and a hook of the application's own. Made before the server is.

Raises `ConfigError` for what cannot be: tokens without a key to verify them by, a hook that is no function.
"""

from __future__ import annotations

import importlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from patinox.config.auth import TICKET_VARIABLE, AuthConfig
from patinox.errors import ConfigError, Unauthenticated
from patinox.manager import ActiveStream
from patinox.manager.channels import Channel
from patinox.server.auth.keys import PREFIX, Keys
from patinox.server.auth.tickets import Tickets
from patinox.transports.access import Caller, Right

if TYPE_CHECKING:
    from patinox.server.auth.tokens import Tokens

Hook = Callable[[Caller, Right, ActiveStream | Channel | None], bool | None]


class Identities:
    """Knows callers by what they show. `clock` gives Unix time in seconds."""

    def __init__(self, config: AuthConfig, env: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> None:
        self.cookie = config.cookie
        self.clock = clock
        self.hook = load_hook(config.hook)
        self.keys = Keys(config.keys)
        self.tokens = _tokens(config, env)
        secret = env.get(TICKET_VARIABLE, "").encode() or secrets.token_bytes(32)
        self.tickets = Tickets(secret, ticket_s=config.ticket_s, grant_s=config.grant_s, clock=clock)

    def __repr__(self) -> str:
        return f"<Identities {self.keys!r} {self.tokens!r}>"

    async def bearer(self, text: str) -> Caller:
        """Who has this key or token. Raises `Unauthenticated`."""
        if text.startswith(PREFIX):
            return self.keys.caller(text)
        if self.tokens is None:
            raise Unauthenticated("there is no such key, and tokens are not taken here")
        return await self.tokens.caller(text)

    async def aclose(self) -> None:
        """Gives back what asks for keys."""
        if self.tokens is not None:
            await self.tokens.aclose()


def load_hook(path: str) -> Hook | None:
    """The function that `package.module:name` names; None for an empty path. Raises `ConfigError`."""
    if not path:
        return None
    module, _, name = path.partition(":")
    try:
        hook: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"auth.hook = {path!r} cannot be had: {error}") from error
    if not callable(hook):
        raise ConfigError(f"auth.hook = {path!r} is no function")
    return hook  # type: ignore[no-any-return]


def _tokens(config: AuthConfig, env: Mapping[str, str]) -> Tokens | None:
    if not config.jwt.is_on:
        return None
    try:
        from patinox.server.auth.tokens import Tokens
    except ModuleNotFoundError as error:
        raise ConfigError('auth.jwt needs PyJWT: pip install "patinox[auth]"') from error
    return Tokens(config.jwt, env)
