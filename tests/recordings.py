"""Finds the recorded provider streams, at collection time, for tests that run once for each file."""

import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = (ROOT / os.environ.get("PATINOX_RECORDINGS", "../shared/recordings")).resolve()
SMALL_BYTES = 4_000
"""Up to this size a test may try every way of cutting a file in two."""


def recorded(dialect: str, *, max_bytes: int | None = None, min_bytes: int = 0) -> list[Any]:
    """The files of a dialect as test parameters, by name; one skipped parameter where there are none."""
    paths = sorted((FOLDER / dialect).glob("*.sse"))
    if not paths:
        reason = f"no recordings at {FOLDER}; set PATINOX_RECORDINGS"
        return [pytest.param(Path(), id="missing", marks=pytest.mark.skip(reason=reason))]
    return [
        pytest.param(path, id=path.stem)
        for path in paths
        if min_bytes <= path.stat().st_size and (max_bytes is None or path.stat().st_size <= max_bytes)
    ]
