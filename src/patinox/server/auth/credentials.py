"""Where a request says who makes it: read from an ASGI scope, without I/O.

    Authorization: Bearer …                     (RFC 6750 §2.1)
    ?ticket=…                                   one use, for links and for EventSource, which can set no header
    Cookie: patinox_grant=…                     what a ticket was redeemed into, for one stream's path
    Cookie: NAME=…                              where `auth.cookie` names one
    Sec-WebSocket-Protocol: patinox.v1, patinox.token.…     a browser's WebSocket can set no header either

A token never stands in a URL: those are logged, shared and sent on as `Referer`.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import parse_qs

from patinox.errors import Unauthenticated

GRANT_COOKIE = "patinox_grant"
TOKEN_SUBPROTOCOL = "patinox.token."  # noqa: S105  # how it begins
MAX_CREDENTIAL = 16 * 1024


class Credential(NamedTuple):
    """What somebody has shown, and how: `bearer`, `ticket`, `grant` or `cookie`."""

    kind: str
    text: str


def credential_of(scope: Any, cookie: str = "") -> Credential | None:
    """The credential of a request; the most explicit one where there are several. None where there is none.

    Raises `Unauthenticated` for one that cannot be read, or stands where tokens must not.
    """
    query = parse_qs(scope.get("query_string", b"").decode("latin-1")) if scope.get("query_string") else {}
    if any(name in query for name in ("token", "access_token", "api_key")):
        raise Unauthenticated("a token must not stand in a URL; use the Authorization header, or a ticket")
    found = _authorization(scope) or _subprotocol(scope) or _ticket(query) or _cookies(scope, cookie)
    if found is not None and len(found.text) > MAX_CREDENTIAL:
        raise Unauthenticated(f"a credential has at most {MAX_CREDENTIAL} characters")
    return found


def _authorization(scope: Any) -> Credential | None:
    values = _values(scope, b"authorization")
    if not values:
        return None
    scheme, _, text = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not text.strip():
        raise Unauthenticated("Authorization is given once, as: Bearer TOKEN")
    return Credential("bearer", text.strip())


def _subprotocol(scope: Any) -> Credential | None:
    offered = [name for name in scope.get("subprotocols") or () if name.startswith(TOKEN_SUBPROTOCOL)]
    if len(offered) > 1:
        raise Unauthenticated(f"{TOKEN_SUBPROTOCOL}… is offered once")
    return Credential("bearer", offered[0].removeprefix(TOKEN_SUBPROTOCOL)) if offered else None


def _ticket(query: dict[str, list[str]]) -> Credential | None:
    tickets = query.get("ticket", [])
    if len(tickets) > 1:
        raise Unauthenticated("there is one ticket in a URL")
    return Credential("ticket", tickets[0]) if tickets else None


def _cookies(scope: Any, name: str) -> Credential | None:
    found: dict[str, str] = {}
    for header in _values(scope, b"cookie"):
        for pair in header.split(";"):
            key, _, value = pair.partition("=")
            found.setdefault(key.strip(), value.strip())  # the first is the most specific path (RFC 6265 §5.4)
    if GRANT_COOKIE in found:
        return Credential("grant", found[GRANT_COOKIE])
    return Credential("cookie", found[name]) if name and name in found else None


def _values(scope: Any, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope.get("headers", ()) if key == name]
