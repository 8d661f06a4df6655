"""The house rules that no linter knows: which room may import which, what the sans-I/O rooms may not touch,
and how long a module may grow.

The rules are the tables below. The checkers are plain functions from a module's source to complaints, so they
are themselves tested on made-up sources, whatever the house holds today.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "patinox"
PACKAGE = "patinox"
ANYTHING = "*"
MAX_LINES = 400
GENERATED = "transports/grpc/generated/"  # by `make proto`; nobody reads it

_GROUND = {"errors", "config"}
_CORE = _GROUND | {"core"}
_MIDDLE = _CORE | {"stores", "incremental", "validation", "formats"}
_DELIVERY = _MIDDLE | {"delivery"}
_MANAGER = _DELIVERY | {"manager"}
_TRANSPORTS = _MANAGER | {"transports", "asgi"}
_GATEWAY = _TRANSPORTS | {"gateway"}
_SERVER = _GATEWAY | {"server"}

# What each room may import besides itself. A dotted entry lets in that one module and no other of its room.
# `web` holds assets for the server, `testing` is used by tests alone, so neither is in anybody's list.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "config": {"errors"},
    "core": _GROUND,
    "stores": _CORE,
    "incremental": _CORE,
    "validation": _CORE | {"incremental"},
    "formats": _CORE | {"incremental.assembler"},
    "delivery": _MIDDLE,
    "manager": _DELIVERY,
    "transports": _MANAGER | {"asgi"},
    "asgi": _MANAGER | {"transports"},
    "grpc": _MANAGER | {"transports"},
    "gateway": _TRANSPORTS,
    "server": _GATEWAY | {"web"},
    "web": _GROUND,
    "cli": _SERVER | {"web"},
    "testing": {ANYTHING},
    "__init__": {ANYTHING},
    "__main__": {ANYTHING},
}

SANS_IO_ROOMS = {"core", "incremental", "validation", "formats"}
# Files of those rooms that do I/O or own a task, and why they may.
DOES_IO = {
    "incremental/deadlines.py": "runs in threads what may never come back",
    "incremental/handler.py": "drives a source, which is awaited",
    "validation/moderation.py": "asks an asynchronous moderation hook",
}
FORBIDDEN_MODULES = {
    "aiohttp",
    "anyio",
    "asyncio",
    "concurrent",
    "multiprocessing",
    "select",
    "selectors",
    "socket",
    "sqlite3",
    "ssl",
    "starlette",
    "subprocess",
    "threading",
    "uvicorn",
    "uvloop",
}
_CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
FORBIDDEN_NAMES = (
    {f"time.{clock}{unit}" for clock in _CLOCKS for unit in ("", "_ns")}
    | {f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")}
    | {"time.sleep", "time.localtime", "time.gmtime", "datetime.date.today"}
)
# A view's writer is a fold that must give the same bytes on every node and after every restart.
RANDOM_MODULES = {"random", "secrets"}
RANDOM_NAMES = {"uuid.uuid1", "uuid.uuid4", "os.urandom"}


def room_of(path: str) -> str:
    """The room of a path relative to the package: its folder, or its own name at the top."""
    return path.split("/", 1)[0].removesuffix(".py")


def _package_of(path: str) -> list[str]:
    return [PACKAGE, *path.split("/")[:-1]]


def _imports(path: str, tree: ast.AST) -> Iterator[tuple[int, str, list[str]]]:
    """Yield (line, module, names) for each import anywhere in the module, relative ones made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, []
        elif isinstance(node, ast.ImportFrom):
            package = _package_of(path)
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, module, [alias.name for alias in node.names]


def _may_import(room: str, target: str) -> bool:
    inside = target.removeprefix(f"{PACKAGE}.")
    return any(inside == entry or inside.startswith(f"{entry}.") for entry in ALLOWED[room] | {room})


def import_violations(path: str, source: str) -> list[str]:
    """Imports in `source`, found at `path` under the package, that run against the order of the house."""
    room = room_of(path)
    if room not in ALLOWED:
        return [f"{path}: the room '{room}' is not in the house; add it to ALLOWED with what it may import"]
    if ANYTHING in ALLOWED[room]:
        return []
    found = []
    for line, module, names in _imports(path, ast.parse(source, path)):
        if module.split(".")[0] != PACKAGE or _may_import(room, module):
            continue
        # `from patinox.incremental import assembler` names a module by its last word.
        bad = [name for name in names if not _may_import(room, f"{module}.{name}")]
        if bad or not names:
            found.append(f"{path}:{line}: {room} may not import {', '.join(bad)} from {module}".replace("  from", ""))
    return found


def _bindings(path: str, tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for: `{"dt": "datetime.datetime"}`."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                bound[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return bound


def _dotted(node: ast.AST, bound: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return bound.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, bound)
        return f"{owner}.{node.attr}" if owner else None
    return None


def sans_io_violations(path: str, source: str) -> list[str]:
    """Modules and clocks that a sans-I/O room may not use, if `path` is in one."""
    room = room_of(path)
    if room not in SANS_IO_ROOMS or path in DOES_IO:
        return []
    modules = FORBIDDEN_MODULES | (RANDOM_MODULES if room == "formats" else set())
    names = FORBIDDEN_NAMES | (RANDOM_NAMES if room == "formats" else set())
    tree = ast.parse(source, path)
    bound = _bindings(path, tree)
    imported = ((line, module) for line, module, _ in _imports(path, tree) if module.split(".")[0] in modules)
    used = (
        (node.lineno, dotted)
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute) and (dotted := _dotted(node, bound)) in names
    )
    return [f"{path}:{line}: {room} is sans-I/O and may not use {what}" for line, what in [*imported, *used]]


def length_violations(path: str, source: str) -> list[str]:
    """The module itself, where it is longer than `MAX_LINES`."""
    lines = len(source.splitlines())
    return [f"{path}: {lines} lines, {MAX_LINES} is the limit; split it"] if lines > MAX_LINES else []


def modules() -> Iterator[tuple[str, str]]:
    """Yield (path relative to the package, source) for every module of the house."""
    for file in sorted(SOURCE.rglob("*.py")):
        if file.relative_to(SOURCE).as_posix().startswith(GENERATED):
            continue
        yield file.relative_to(SOURCE).as_posix(), file.read_text(encoding="utf-8")


# --- the house as it stands


def test_the_house_is_found() -> None:
    assert "__init__.py" in dict(modules())


def test_no_import_runs_against_the_order() -> None:
    assert [found for path, source in modules() for found in import_violations(path, source)] == []


def test_sans_io_rooms_touch_no_io_and_no_clock() -> None:
    assert [found for path, source in modules() for found in sans_io_violations(path, source)] == []


def test_no_module_is_over_its_length() -> None:
    assert [found for path, source in modules() for found in length_violations(path, source)] == []


# --- the checkers


def test_allowed_imports_have_no_circle() -> None:
    # The public face and the transports it mounts are one floor; every other pair runs one way.
    graph = {
        room: {entry.split(".")[0] for entry in entries - {ANYTHING}} - ({"asgi"} if room == "transports" else set())
        for room, entries in ALLOWED.items()
    }
    settled: set[str] = set()
    while ready := {room for room, needs in graph.items() if room not in settled and needs <= settled}:
        settled |= ready
    assert settled == set(ALLOWED)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/log.py", "from patinox.errors import PatinoxError"),
        ("core/log.py", "from patinox.core.chunks import StreamChunk"),
        ("core/log.py", "from .chunks import StreamChunk"),
        ("core/log.py", "import json"),
        ("core/log.py", "import patinoxious"),
        ("formats/sse.py", "from patinox.incremental.assembler import Assembler"),
        ("formats/sse.py", "from patinox.incremental import assembler"),
        ("formats/openai/chat.py", "from ..neutral import writer"),
        ("validation/pii.py", "import patinox.incremental.chunker"),
        ("cli/main.py", "from patinox.server.app import app"),
        ("cli/main.py", "from patinox import config, errors"),
        ("testing/stores.py", "from patinox import StreamManager"),
        ("__init__.py", "from patinox.server.app import app"),
    ],
)
def test_import_with_the_order_is_let_through(path: str, source: str) -> None:
    assert import_violations(path, source) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("errors.py", "from patinox.config import Settings"),
        ("core/log.py", "from patinox.stores.memory import MemoryStore"),
        ("core/log.py", "import patinox.manager"),
        ("core/log.py", "from ..stores import memory"),
        ("core/log.py", "from .. import manager"),
        ("core/log.py", "from patinox import StreamManager"),
        ("core/log.py", "import patinox"),
        ("core/log.py", "def late():\n    from patinox.manager import StreamManager"),
        ("core/log.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import patinox.manager"),
        ("stores/sqlite.py", "from patinox.formats.sse import SSE"),
        ("formats/sse.py", "from patinox.incremental import handler"),
        ("formats/sse.py", "from patinox.incremental import assembler, handler"),
        ("formats/sse.py", "from patinox.incremental.assembler_tools import x"),
        ("incremental/chunker.py", "from patinox.validation.frontier import Frontier"),
        ("delivery/view.py", "from patinox.manager import StreamManager"),
        ("transports/sse.py", "from patinox.gateway.openai import Upstream"),
        ("server/app.py", "from patinox.cli.main import main"),
        ("manager.py", "from patinox.testing.fakes import FakeStore"),
        ("utils.py", ""),
    ],
)
def test_import_against_the_order_is_found(path: str, source: str) -> None:
    assert len(import_violations(path, source)) == 1


def test_a_complaint_names_file_line_and_import() -> None:
    complaint = "core/log.py:2: core may not import MemoryStore from patinox.stores.memory"
    assert import_violations("core/log.py", "\nfrom patinox.stores.memory import MemoryStore") == [complaint]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/log.py", "import asyncio"),
        ("core/log.py", "from asyncio import Event"),
        ("core/log.py", "import asyncio.locks as locks"),
        ("core/log.py", "from socket import socket"),
        ("core/log.py", "def late():\n    import threading"),
        ("core/log.py", "import time\ntime.time()"),
        ("core/log.py", "import time as t\nt.monotonic()"),
        ("core/log.py", "from time import time_ns\ntime_ns()"),
        ("core/log.py", "import time\ndef f(clock=time.time): ..."),
        ("incremental/chunker.py", "from datetime import datetime\ndatetime.now()"),
        ("incremental/chunker.py", "import datetime as dt\ndt.datetime.now(dt.UTC)"),
        ("validation/pii.py", "import concurrent.futures"),
        ("formats/openai_chat.py", "import random"),
        ("formats/openai_chat.py", "from uuid import uuid4\nuuid4()"),
    ],
)
def test_io_and_clocks_are_found_in_sans_io_rooms(path: str, source: str) -> None:
    assert len(sans_io_violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("delivery/fanout.py", "import asyncio, time\ntime.time()"),
        ("incremental/handler.py", "import asyncio"),
        ("validation/moderation.py", "import asyncio"),
        ("core/chunks.py", "def stamp(record):\n    return record.time.time()"),
        ("core/chunks.py", "from datetime import datetime\ndatetime.fromtimestamp(0)"),
        ("core/chunks.py", "from collections.abc import AsyncIterator"),
        ("core/chunks.py", "from .time import time\ntime()"),
        ("core/chunks.py", "import secrets"),
    ],
)
def test_what_is_no_io_is_let_through(path: str, source: str) -> None:
    assert sans_io_violations(path, source) == []


@pytest.mark.parametrize(("lines", "complaints"), [(MAX_LINES, 0), (MAX_LINES + 1, 1)])
def test_length_is_counted_in_lines(lines: int, complaints: int) -> None:
    assert len(length_violations("core/log.py", "x = 1\n" * lines)) == complaints
