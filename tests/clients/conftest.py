"""The official JavaScript clients, installed once into a folder that git ignores."""

import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NODE = Path(__file__).parent / "node"
INSTALL_S = 100
JUDGE_S = 100

Judge = Callable[[list[dict[str, str]]], list[dict[str, Any]]]


@contextmanager
def _alone() -> Iterator[None]:
    """One test process at a time: two installations into one folder remove each other's files."""
    with (NODE / ".installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(npm: str) -> None:
    """`npm ci`, unless what it would install is there."""
    wanted = hashlib.sha256((NODE / "package-lock.json").read_bytes()).hexdigest()
    stamp = NODE / "node_modules" / ".installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=20000"]
    try:
        done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not install the JavaScript clients within {INSTALL_S} s")
    if done.returncode:
        pytest.skip(f"npm could not install the JavaScript clients: {done.stderr.strip().splitlines()[-1:]}")
    stamp.write_text(wanted)


@pytest.fixture(scope="session")
def judge() -> Judge:
    """Reads streams with the JavaScript clients; its tests are skipped where node, npm or the packages are missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("no node and npm on PATH")
    with _alone():
        _install(npm)

    def ask(streams: list[dict[str, str]]) -> list[dict[str, Any]]:
        done = subprocess.run(
            [node, str(NODE / "judge.mjs"), str(NODE)],
            input=json.dumps(streams),
            capture_output=True,
            text=True,
            timeout=JUDGE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        verdicts: list[dict[str, Any]] = json.loads(done.stdout)
        return verdicts

    return ask
