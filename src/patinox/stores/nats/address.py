"""Where NATS is, as one URL says it.

nats://[user:password@|token@]host[:4222][,host…][?options]      `nats+tls` for TLS

Options: `prefix` of all subjects and streams (`patinox`), `replicas` (1 to 5) and `storage` (`file`, `memory`) of the
JetStream streams where they are to be made, `timeout` (5, seconds), `credentials` (the path of a .creds file).
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

import msgspec

from patinox.errors import ConfigError

_KNOWN = ("prefix", "replicas", "storage", "timeout", "credentials")


class Address(msgspec.Struct, frozen=True):
    """`servers` are URLs as the client takes them. `replicas` and `storage` are None where the URL doesn't say."""

    servers: tuple[str, ...]
    prefix: str = "patinox"
    replicas: int | None = None
    storage: str | None = None
    timeout_s: float = 5.0
    credentials: str | None = None

    def __str__(self) -> str:
        """Without the password, for people."""
        return ",".join(server.rpartition("@")[2].rpartition("/")[2] for server in self.servers)


def parse_address(url: str) -> Address:
    """Reads such a URL. Raises `ConfigError`, without the password in it."""
    parts = urlsplit(url)
    if parts.scheme not in ("nats", "nats+tls"):
        raise ConfigError(f"a NATS store is nats://… or nats+tls://…, not {parts.scheme}://")
    options = dict(parse_qsl(parts.query))
    unknown = [name for name in options if name not in _KNOWN]
    if unknown:
        raise ConfigError(f"the URL of the NATS store has an unknown option {unknown[0]!r}; known: {', '.join(_KNOWN)}")
    credentials, at, places = parts.netloc.rpartition("@")
    scheme = "tls" if parts.scheme == "nats+tls" else "nats"
    prefix = options.get("prefix", "patinox")
    storage = options.get("storage")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", prefix):
        raise ConfigError(f"the prefix of a NATS store is of letters, digits, - and _, not {prefix!r}")
    if storage not in (None, "file", "memory"):
        raise ConfigError(f"the storage of a NATS store is file or memory, not {storage!r}")
    try:
        replicas = int(options["replicas"]) if "replicas" in options else None
        timeout_s = float(options.get("timeout", "5"))
    except ValueError as error:
        raise ConfigError(f"the URL of the NATS store cannot be read: {error}") from error
    servers = tuple(f"{scheme}://{credentials}{at}{place}" for place in (places or "127.0.0.1:4222").split(","))
    return Address(servers, prefix, replicas, storage, timeout_s, options.get("credentials"))
