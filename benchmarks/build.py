"""Compiles the two C programs of the benchmark into a folder that git ignores."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
BUILD = HERE / "build"
PROGRAMS = ("load", "rawsend")


class NoCompiler(Exception):
    """There is no C compiler, or it refused; the message is for people."""


def build() -> None:
    """Compile what is older than its source; raise `NoCompiler`."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise NoCompiler("the benchmark's load client is written in C: install a C compiler (cc) to run it")
    BUILD.mkdir(exist_ok=True)
    newest = max(source.stat().st_mtime for source in (HERE / "client").iterdir())
    for name in PROGRAMS:
        target = BUILD / name
        if not target.exists() or target.stat().st_mtime < newest:
            _compile(compiler, HERE / "client" / f"{name}.c", target)


def _compile(compiler: str, source: Path, target: Path) -> None:
    done = subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", target, source], capture_output=True, text=True)
    if done.returncode:
        raise NoCompiler(f"{compiler} could not compile {source.name}:\n{done.stderr}")
