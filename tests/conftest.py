"""What every test may ask for. Anything narrower lives in the `conftest.py` of its own folder."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from patinox.testing.servers import NatsServer, ValkeyServer

# No test is about how long an example takes: on a busy machine, one may take any time.
settings.register_profile("untimed", parent=settings(), deadline=None)
settings.load_profile("untimed")

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


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A Valkey server for tests that leave it running and take names of their own."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A NATS server with JetStream, for the same."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server
