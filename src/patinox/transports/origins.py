"""Who may ask from where: the `Origin` and `Host` of a request or handshake, judged without I/O (RFC 6455 §10.2).

A browser sends cookies with a handshake from any page and lets that page read the socket, so a server must look at the
`Origin` itself; other clients send none, and are let in. Being of the same origin says nothing where a foreign name was
made to point at this machine (DNS rebinding): a loopback address therefore answers to its own names only, unless hosts
are listed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_LOCAL_NAMES = ("localhost", "localhost.localdomain")

Address = tuple[str, int | None]


class Door:
    """Judges handshakes.

    `origins` are those of pages, such as `https://app.example.com`, let in beside the server's own; `*` is any.
    `hosts` are the names that the server answers to, without a port; empty is any, but on a loopback address its own.
    `strict` is for a server of one's own: it answers to loopback names, to addresses, and to `hosts`, and to no others.
    """

    def __init__(self, origins: Iterable[str] = (), hosts: Iterable[str] = (), *, strict: bool = False) -> None:
        self._strict = strict
        self._any = "*" in (listed := tuple(origins))
        self._origins = {parsed for origin in listed if (parsed := _origin(origin)) is not None}
        self._hosts = {host.lower().strip("[]") for host in hosts}

    def __repr__(self) -> str:
        return f"<Door {'any origin' if self._any else sorted(self._origins)}, hosts {sorted(self._hosts)}>"

    @property
    def has_listed(self) -> bool:
        """Whether pages of other origins are let in."""
        return self._any or bool(self._origins)

    def is_listed(self, origin: str) -> bool:
        """Whether an `Origin` is one of those listed."""
        return self._any or _origin(origin) in self._origins

    def refusal(self, scope: Any) -> str | None:
        """Why this handshake (an ASGI scope) is refused; None where it is let in."""
        return self.host_refusal(scope) or self.origin_refusal(scope)

    def host_refusal(self, scope: Any) -> str | None:
        """Why the server does not answer to the name it is called by; None where it does."""
        hosts = _values(scope, b"host")
        if len(hosts) > 1:
            return "Host is given once"
        host = _host(hosts[0]) if hosts else None
        if hosts and host is None:
            return "the Host cannot be read"
        if not self._is_served(host, scope.get("server")):
            return f"this server does not answer to the name {hosts[0][:80] if hosts else ''!r}"
        return None

    def origin_refusal(self, scope: Any) -> str | None:
        """Why pages of this `Origin` may not ask; None where they may, and for who is no page."""
        hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
        if len(origins) > 1:
            return "Origin is given once"
        if not origins or self._any or self._is_allowed(origins[0], _host(hosts[0]) if hosts else None):
            return None
        return f"pages of {origins[0][:80]!r} may not ask here"

    def _is_served(self, host: Address | None, server: Any) -> bool:
        if self._strict:
            return host is None or host[0] in self._hosts or _is_own(host[0])
        if self._hosts:
            return host is not None and host[0] in self._hosts
        if host is None or not server or not is_loopback(str(server[0])):
            return True
        return _is_own(host[0])

    def _is_allowed(self, text: str, host: Address | None) -> bool:
        origin = _origin(text)
        if origin is None:
            return False
        scheme, name, port = origin
        if origin in self._origins:
            return True
        # TLS may end before us, so the page's own scheme says which port a Host without one means.
        return host is not None and name == host[0] and port == (host[1] if host[1] is not None else _PORTS[scheme])


def origin_of(scope: Any) -> str | None:
    """The `Origin` of a request, where a page makes it."""
    values = _values(scope, b"origin")
    return values[0] if values else None


def _is_own(name: str) -> bool:
    """A name that needs no look-up, so that nobody can have made it point here."""
    return name in _LOCAL_NAMES or name.endswith(".localhost") or _is_address(name)


def _values(scope: Any, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope.get("headers", ()) if key == name]


def _origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of a web page's origin; None for `null` and whatever is none."""
    try:
        parts = urlsplit(text.strip().lower())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return None
    return parts.scheme, parts.hostname, port if port is not None else _PORTS[parts.scheme]


def _host(text: str) -> Address | None:
    """Name and port of a `Host` (RFC 9110 §7.2)."""
    if not text or any(character in text for character in "/?#@\\ \t"):
        return None
    try:
        parts = urlsplit(f"//{text.lower()}")
        port = parts.port
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None


def is_loopback(text: str) -> bool:
    """Whether a host is this machine, and reached from nowhere else."""
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return text in _LOCAL_NAMES


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def chosen_subprotocol(offered: Collection[str], wanted: str) -> str | None:
    """The subprotocol to answer with: none for a plain client that offers none. Raises ValueError if none fits."""
    if not offered:
        return None
    if wanted in offered:
        return wanted
    raise ValueError(f"the subprotocol here is {wanted}")
