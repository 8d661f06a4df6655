"""The SQLite store against the one in memory, closed, opened and crashed at any point.

Pages and journal are made so short that every way from one into the other is gone.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule
from tests.store_machine import StoreMachine

from patinox.stores.base import Store
from patinox.stores.sqlite import SqliteStore

_SHORT = {
    "pages.PAGE_CHUNKS": 4, "streams.PAGE_CHUNKS": 4, "pages.PAGE_BYTES": 90, "streams.PAGE_BYTES": 90,
    "journal.MAX_ROWS": 6, "journal._DROP_EVERY": 2, "journal._MOST_AT_ONCE": 1, "room._PAGES_A_STEP": 2,
}  # fmt: skip


class SqliteMachine(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self._patches = [mock.patch(f"patinox.stores.sqlite.{name}", value) for name, value in _SHORT.items()]
        for patch in self._patches:
            patch.start()
        self._folder = Path(tempfile.mkdtemp())
        self._lives = 0

    def _path(self) -> Path:
        return self._folder / f"{self._lives}" / "streams.db"

    async def make(self) -> Store:
        store = SqliteStore(self._path(), synchronous="normal", clock=lambda: 0.0, wall_clock=lambda: 1e6)
        await store.open()
        return store

    @rule()
    def close_and_open(self) -> None:
        self.runner.run(self.subject.aclose())
        self.subject = self.runner.run(self.make())

    @rule()
    def crash(self) -> None:
        """The files as they lie there now are all that the next process has."""
        old = self._path().parent
        self._lives += 1
        shutil.copytree(old, self._path().parent)
        self.runner.run(self.subject.aclose())
        self.subject = self.runner.run(self.make())

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self._folder)
        for patch in self._patches:
            patch.stop()


TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
