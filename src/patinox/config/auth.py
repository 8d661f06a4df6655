"""`[auth]`: who is let in, and by what.

AuthConfig            auth                cookies, tickets, a hook of one's own
├── JwtConfig         auth.jwt            tokens that somebody else signs
└── KeyConfig         auth.keys.NAME      keys of one's own, by their hash

No secret stands in a file: what signs tokens comes from the environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from patinox.config.kinds import Kind, Names, Text
from patinox.config.quantities import Duration
from patinox.config.schema import NAME, Problem, Settings
from patinox.config.units import HOUR_S

SECRET_VARIABLE = "PATINOX_JWT_SECRET"  # noqa: S105  # the variable's name, not a secret
TICKET_VARIABLE = "PATINOX_TICKET_SECRET"

_RIGHTS = ("read", "write", "cancel", "delete", "create", "models", "admin")
_OPTIONAL_LINE = r"[^\x00-\x1f]*"


class RightNames(Names):
    """Names of rights."""

    def allowed(self) -> str:
        """As in Kind."""
        return "an array of distinct words out of " + ", ".join(f'"{right}"' for right in _RIGHTS)

    def check(self, value: object) -> tuple[str, ...]:
        """As in Kind."""
        names = super().check(value)
        if unknown := [name for name in names if name not in _RIGHTS]:
            raise ValueError(f"has no right {unknown[0]!r} in it that there is")
        return names


class JwtConfig(Settings, frozen=True, kw_only=True):
    """JSON Web Tokens (RFC 7519), verified by one source of keys: a secret, a public key, or a JWKS (RFC 7517)."""

    table: ClassVar[str] = "auth.jwt"
    misplaced: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("secret", "key", "private_key"), f"secrets stand in no file: put it into the environment as {SECRET_VARIABLE}"
    )

    algorithms: Annotated[
        tuple[str, ...],
        Names("The algorithms that are taken: HS256, HS384, HS512 with a secret; RS256, PS256, ES256, EdDSA, … else."),
    ] = ()
    public_key_file: Annotated[
        str, Text("A file with the public key that tokens are verified by, in PEM.", "a path, or empty", _OPTIONAL_LINE)
    ] = ""
    jwks_url: Annotated[
        str, Text("Where the issuer publishes its keys.", "an http:// or https:// URL, or empty", r"(https?://\S+)?")
    ] = ""
    audience: Annotated[
        str, Text("What `aud` must name; empty: tokens must have none.", "a string, or empty", _OPTIONAL_LINE)
    ] = ""
    issuer: Annotated[str, Text("What `iss` must be; empty: anything.", "a string, or empty", _OPTIONAL_LINE)] = ""
    leeway_s: Annotated[
        float, Duration("How far the issuer's clock and ours may be apart.", most=HOUR_S, zero="not at all")
    ] = 30.0
    tenant_claim: Annotated[
        str,
        Text("The claim that says whose streams are meant; without it, the empty tenant's.", "a name", r"[\w.:/-]+"),
    ] = "tenant"
    rights_claim: Annotated[
        str, Text("The claim with the rights: words in an array, or between spaces.", "a name", r"[\w.:/-]+")
    ] = "scope"
    default_rights: Annotated[tuple[str, ...], RightNames("The rights of a token that has no such claim.")] = (
        "read",
        "write",
        "cancel",
        "delete",
        "create",
        "models",
    )

    @property
    def is_on(self) -> bool:
        """Whether tokens are taken at all."""
        return bool(self.algorithms)

    @classmethod
    def conflicts(cls, at: Mapping[str, Any]) -> Iterator[Problem]:
        """Algorithms and keys that do not fit each other: a public key must never verify an HMAC."""
        path = "auth.jwt.algorithms" if "auth.jwt.algorithms" in at else "algorithms"
        algorithms = at[path]
        sources = [key for key in ("public_key_file", "jwks_url") if at[path.replace("algorithms", key)]]
        symmetric = [name for name in algorithms if name.startswith("HS")]
        known = {"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
                 "ES512", "EdDSA"}  # fmt: skip
        if unknown := [name for name in algorithms if name not in known]:
            yield Problem((path,), f"{path}: {unknown[0]!r} is none of {', '.join(sorted(known))}.")
        elif symmetric and (sources or len(symmetric) < len(algorithms)):
            yield Problem((path,), f"{path}: HMAC ({symmetric[0]}) goes with the secret alone, not with public keys.")
        elif algorithms and not symmetric and len(sources) != 1:
            yield Problem((path,), f"{path} needs one of auth.jwt.public_key_file and auth.jwt.jwks_url.")
        elif sources and not algorithms:
            yield Problem((path,), f"{path} is to say which algorithms are taken.")


class KeyConfig(Settings, frozen=True, kw_only=True):
    """A key of one's own, `Authorization: Bearer patinox_…`. `patinox key NAME` makes one, with its table."""

    table: ClassVar[str] = f"auth.keys.{NAME}"
    name_kind: ClassVar[Kind | None] = Text(
        "Who has the key: the owner of what is created with it.",
        "lower-case letters and digits, with single hyphens between them",
        "[a-z0-9]+(-[a-z0-9]+)*",
    )
    misplaced: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("key", "token", "secret"), "only its SHA-256 stands here: make one with `patinox key NAME`"
    )

    name: str
    sha256: Annotated[str, Text("The SHA-256 of the key, in hex.", "64 hexadecimal digits", r"[0-9a-f]{64}")]
    tenant: Annotated[str, Text("Whose streams are meant.", "a name, or empty", r"[A-Za-z0-9._-]{0,64}")] = ""
    rights: Annotated[tuple[str, ...], RightNames("What it may be used for.")] = (
        "read",
        "write",
        "cancel",
        "delete",
        "create",
        "models",
    )
    streams: Annotated[
        tuple[str, ...],
        Names("The streams of others that it is good for: ids, or `prefix*`; `*` is all."),
    ] = ()
    channels: Annotated[
        tuple[str, ...], Names("The channels that it is good for: names, or `prefix*`; `*` is all.")
    ] = ()


class AuthConfig(Settings, frozen=True, kw_only=True):
    """Who is let in. Nobody is asked where neither keys nor tokens are configured."""

    table: ClassVar[str] = "auth"

    cookie: Annotated[
        str, Text("The cookie that may hold a token or a key; empty: none.", "a cookie's name, or empty", r"[\w-]*")
    ] = ""
    hook: Annotated[
        str,
        Text(
            "A function of your own, `package.module:name`, asked with (caller, right, stream or channel or None): "
            "True lets in, False does not, None leaves it to the rules.",
            "module:function, or empty",
            r"([\w.]+:\w+)?",
        ),
    ] = ""
    ticket_s: Annotated[float, Duration("How long a ticket may wait for its one use.", least=1, most=30)] = 30.0
    grant_s: Annotated[
        float,
        Duration(
            "How long whoever came with a ticket may read the stream, and come back to it.", least=1, most=24 * HOUR_S
        ),
    ] = HOUR_S
    jwt: JwtConfig = msgspec.field(default_factory=JwtConfig)
    keys: tuple[KeyConfig, ...] = ()

    @property
    def is_on(self) -> bool:
        """Whether anybody is asked who they are."""
        return bool(self.keys) or self.jwt.is_on
