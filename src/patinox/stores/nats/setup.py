"""The two JetStream streams of a store: made where they are missing, checked where they are there."""

from __future__ import annotations

from typing import Any

from patinox.errors import StoreError
from patinox.stores.nats.connection import Connection
from patinox.stores.nats.wire import Subjects

SCHEMA_VERSION = 1
_OLDEST = (2, 11)
_VERSION_KEY = "patinox-schema"


async def prepare(connection: Connection, subjects: Subjects) -> str:
    """Makes or checks the streams; what an acknowledgement survives, in words. Raises `StoreError`."""
    version = connection.server_version
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise StoreError(f"NATS at {connection.address} is version {version}; 2.11 or newer is needed")
    await _stream(connection, subjects.meta_stream, _meta(subjects))
    config = await _stream(connection, subjects.log_stream, _log(subjects))
    return f"NATS {version} at {connection.address}: {_promise(config)}"


def _log(subjects: Subjects) -> dict[str, Any]:
    every = f"{subjects.prefix}.log.>"
    return {
        "name": subjects.log_stream,
        "subjects": [every],
        "republish": {"src": every, "dest": subjects.live(every)},
    }


def _meta(subjects: Subjects) -> dict[str, Any]:
    every = f"{subjects.prefix}.meta.>"
    return {
        "name": subjects.meta_stream,
        "subjects": [every],
        "max_msgs_per_subject": 1,
        "republish": {"src": every, "dest": subjects.live(every)},
    }


async def _stream(connection: Connection, name: str, special: dict[str, Any]) -> dict[str, Any]:
    address = connection.address
    said = await connection.ask(f"$JS.API.STREAM.INFO.{name}", {})
    if _code(said) == 404:
        said = await connection.ask(
            f"$JS.API.STREAM.CREATE.{name}",
            {
                "retention": "limits", "discard": "old", "max_age": 0, "max_msgs": -1, "max_bytes": -1,
                "storage": address.storage or "file", "num_replicas": address.replicas or 1,
                "allow_direct": True, "allow_msg_ttl": True, "metadata": {_VERSION_KEY: str(SCHEMA_VERSION)}, **special,
            },
        )  # fmt: skip
        if _code(said) is not None:  # another node may have been quicker
            said = await connection.ask(f"$JS.API.STREAM.INFO.{name}", {})
    if _code(said) is not None:
        raise StoreError(f"NATS at {address}: {said['error'].get('description')}")
    config: dict[str, Any] = said["config"]
    _check(connection, name, config)
    return config


def _check(connection: Connection, name: str, config: dict[str, Any]) -> None:
    address = connection.address
    found = int((config.get("metadata") or {}).get(_VERSION_KEY, "0"))
    if found > SCHEMA_VERSION:
        raise StoreError(
            f"the JetStream stream {name} at {address} is of version {found}, and this Patinox knows "
            f"{SCHEMA_VERSION}: run a newer one, or take another prefix (?prefix=…)"
        )
    asked = {"storage": address.storage, "num_replicas": address.replicas}
    for word, wanted in asked.items():
        if wanted is not None and config.get(word) != wanted:
            raise StoreError(
                f"the JetStream stream {name} at {address} is there with {word} {config.get(word)}, not {wanted}: "
                "edit it with the nats tool, or leave that out of the URL"
            )


def _code(said: dict[str, Any]) -> int | None:
    error = said.get("error")
    return None if error is None else int(error.get("code", 500))


def _promise(config: dict[str, Any]) -> str:
    replicas = int(config.get("num_replicas", 1))
    if config.get("storage") == "memory":
        if replicas == 1:
            return "memory storage, 1 replica: acknowledged chunks are lost when the server ends"
        return f"memory storage, {replicas} replicas: an acknowledged chunk survives while most of them run"
    if replicas == 1:
        return (
            "file storage, 1 replica: an acknowledged chunk survives a crash of the server's process; power loss may "
            "take what is younger than its sync_interval (2 minutes where it is not set; `always` for nothing)"
        )
    return (
        f"file storage, {replicas} replicas: an acknowledged chunk is with most of them; power loss of most at once "
        "may take what is younger than their sync_interval (2 minutes where it is not set; `always` for nothing)"
    )
