"""What every test may ask for. Anything narrower lives in the `conftest.py` of its own folder."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded provider streams; its tests are skipped where it is missing."""
    folder = (ROOT / os.environ.get("PATINOX_RECORDINGS", "../shared/recordings")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}; set PATINOX_RECORDINGS")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of an installed Chromium; its tests are skipped where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium on PATH; Debian's package is `chromium`")
