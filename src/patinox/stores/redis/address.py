"""Where Redis or Valkey is, as one URL says it.

redis://[user:password@]host[:6379][/db]                        one server, or one that a proxy makes of many
redis+sentinel://[user:password@]host[:26379],host…/service[/db]  the primary that Sentinel names
redis+cluster://[user:password@]host[:6379],host…               a cluster: one hash slot a stream

`rediss` for TLS in each. Options stand in the query: `prefix` of all keys (`patinox:`), `timeout` (5, seconds), and
`ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile` (paths).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from patinox.errors import ConfigError

_SCHEME = re.compile(r"redis(?P<tls>s?)(\+(?P<kind>sentinel|cluster))?")
_PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


class Address(msgspec.Struct, frozen=True):
    """`kind` is `single`, `sentinel` or `cluster`; `hosts` are (host, port)."""

    kind: str
    hosts: tuple[tuple[str, int], ...]
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False
    prefix: str = "patinox:"
    timeout_s: float = 5.0
    tls_options: Mapping[str, str] = {}

    def __str__(self) -> str:
        """Without the password, for people."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{hosts} ({self.service})" if self.service else hosts


def parse_address(url: str) -> Address:
    """Reads such a URL. Raises `ConfigError`, without the password in it."""
    parts = urlsplit(url)
    scheme = _SCHEME.fullmatch(parts.scheme)
    if scheme is None:
        raise ConfigError(f"a Redis store is redis://…, redis+sentinel://… or redis+cluster://…, not {parts.scheme}://")
    kind = scheme["kind"] or "single"
    credentials, _, places = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    options = dict(parse_qsl(parts.query))
    path = [unquote(part) for part in parts.path.split("/") if part]
    service = path.pop(0) if kind == "sentinel" and path else ""
    if kind == "sentinel" and not service:
        raise ConfigError("redis+sentinel://host:26379/NAME needs the name of the service after the hosts")
    try:
        return Address(
            kind,
            tuple(_host(place, _PORTS[kind]) for place in (places or "127.0.0.1").split(",")),
            service,
            int(path[0]) if path else 0,
            unquote(username) or None,
            unquote(password) or None,
            bool(scheme["tls"]),
            options.pop("prefix", "patinox:"),
            float(options.pop("timeout", "5")),
            _rest(options),
        )
    except ValueError as error:
        raise ConfigError(f"the URL of the Redis store cannot be read: {error}") from error


def _rest(options: dict[str, str]) -> dict[str, str]:
    known = {name: options.pop(name) for name in _TLS_OPTIONS if name in options}
    if options:
        raise ConfigError(
            f"the URL of the Redis store has an unknown option {next(iter(options))!r}; known are prefix, timeout, "
            + ", ".join(_TLS_OPTIONS)
        )
    return known


def _host(place: str, port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(\[(?P<v6>[^\]]+)\]|(?P<name>[^:\[\]]+))(:(?P<port>\d+))?", place)
    if match is None:
        raise ValueError(f"{place!r} is not a host and port")
    return match["v6"] or match["name"], int(match["port"] or port)
