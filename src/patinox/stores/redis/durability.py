"""What an acknowledgement survives, asked of the engine itself."""

from __future__ import annotations

from typing import Any

from patinox.errors import StoreError
from patinox.stores.redis.engine import Engine

_UNKNOWN = "the server does not tell (CONFIG is not allowed), so ask whoever runs it"
_FSYNC = {
    "always": "survives a crash of the engine and power loss",
    "everysec": "survives a crash of the engine's process; power loss may take the last second",
    "no": "survives a crash of the engine's process; power loss may take what the system had not written yet",
}


async def describe(engine: Engine) -> str:
    """One sentence for people, true of the server that was asked."""
    info = await _info(engine)
    return f"{_name(info)} at {engine.address}: {await _promise(engine)}{await _replicas(engine)}"


async def _promise(engine: Engine) -> str:
    found = await _config(engine, "append*", "maxmemory-policy", "maxmemory")
    if found is None:
        return f"what an acknowledged chunk survives is unknown: {_UNKNOWN}"
    if found.get("appendonly") == "yes":
        fsync = found.get("appendfsync", "")
        said = f"appendonly yes, appendfsync {fsync}: an acknowledged chunk {_FSYNC.get(fsync, 'survives what it may')}"
    else:
        said = "appendonly no: acknowledged chunks since the last snapshot are lost when the engine's process ends"
    policy = found.get("maxmemory-policy", "noeviction")
    if found.get("maxmemory", "0") != "0" and policy != "noeviction":
        said += f"; maxmemory-policy {policy} may evict streams (set noeviction)"
    return said


async def _replicas(engine: Engine) -> str:
    if engine.address.kind == "single":
        return ""
    return "; a failover may lose what was not yet copied to the replica that takes over"


def _name(info: dict[str, Any] | None) -> str:
    if info is None:
        return "Redis"
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info.get('redis_version', '')}".strip()


async def _info(engine: Engine) -> dict[str, Any] | None:
    try:
        said = await engine.do("INFO", "server")
    except StoreError:
        return None
    if isinstance(said, dict):
        one = next(iter(said.values()), None) if engine.is_cluster else None
        return one if isinstance(one, dict) else said
    return None


async def _config(engine: Engine, *patterns: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    try:
        for pattern in patterns:
            said = await engine.do("CONFIG GET", pattern)
            found |= {_text(name): _text(value) for name, value in said.items()}
    except StoreError:
        return None
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
