"""A store by its URL. What an engine needs is imported when it is asked for.

memory://                               gone with the process
sqlite://                               a file in the user's data directory; one process
sqlite:///var/lib/patinox/streams.db    that file; ?synchronous=normal, ?max_bytes=10GiB
redis://… (+sentinel, +cluster)         Redis or Valkey; any number of processes
nats://…  (+tls)                        NATS JetStream; any number of processes
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from patinox.config.units import parse_size
from patinox.errors import InputError
from patinox.stores.base import Store
from patinox.stores.memory import MemoryStore

SHARED = ("redis", "nats")
"""Beginnings of the schemes whose stores several processes may use."""


def make_store(url: str, env: Mapping[str, str] = os.environ) -> Store:
    """The store that a URL names, not opened yet. Raises `InputError` with what to do."""
    scheme = urlsplit(url).scheme.partition("+")[0]
    make = _MAKERS.get(scheme)
    if make is None:
        known = "memory://, sqlite://, redis:// and nats://"
        raise InputError(f"there is no store for {url!r}; there are {known}")
    try:
        return make(url, env)
    except ModuleNotFoundError as error:
        extra = scheme.removesuffix("s") if scheme == "rediss" else scheme
        raise InputError(f'a store at {scheme}:// needs {error.name}: pip install "patinox[{extra}]"') from error
    except ValueError as error:
        raise InputError(f"this is no address of a {scheme}:// store: {error}") from error


def is_shareable(url: str) -> bool:
    """Whether several processes can use the store of this URL."""
    return url.startswith(SHARED)


def default_path(env: Mapping[str, str], platform: str = sys.platform) -> Path:
    """`streams.db` in the user's data directory, as the platform has it."""
    home = Path(env.get("HOME") or Path.home())
    if platform == "win32":
        base = Path(env.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif platform == "darwin":
        base = home / "Library" / "Application Support"
    else:  # the XDG Base Directory Specification
        base = Path(env.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "patinox" / "streams.db"


def _memory(url: str, env: Mapping[str, str]) -> Store:
    return MemoryStore()


def _sqlite(url: str, env: Mapping[str, str]) -> Store:
    from patinox.stores.sqlite import SqliteStore

    parts = urlsplit(url)
    if parts.netloc:
        raise ValueError("a file has three slashes: sqlite:///streams.db is in the root, sqlite:///./streams.db here")
    written = "/" + unquote(parts.path).lstrip("/") if parts.path else ""
    path = Path(written.removeprefix("/") if written.startswith("/./") else written) if written else default_path(env)
    settings: dict[str, Any] = {}
    for key, value in parse_qsl(parts.query, strict_parsing=bool(parts.query)):
        if key == "synchronous" and value in ("full", "normal"):
            settings["synchronous"] = value
        elif key == "max_bytes":
            settings["max_store_bytes"] = parse_size(value)
        else:
            raise ValueError(f"{key}={value} is not known; synchronous=full or normal, and max_bytes are")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return SqliteStore(path, **settings)


def _redis(url: str, env: Mapping[str, str]) -> Store:
    from patinox.stores.redis import RedisStore

    return RedisStore(url)


def _nats(url: str, env: Mapping[str, str]) -> Store:
    from patinox.stores.nats import NatsStore

    return NatsStore(url)


_MAKERS: Mapping[str, Callable[[str, Mapping[str, str]], Store]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "redis": _redis,
    "rediss": _redis,
    "nats": _nats,
}
