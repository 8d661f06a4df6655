"""The store in a SQLite file does what every store does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from patinox.stores.sqlite import SqliteStore
from patinox.testing import StoreCheck, store_checks


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


@pytest.mark.parametrize("check", store_checks(durable=True), ids=str)
async def test_the_store_in_a_file_passes(check: StoreCheck, tmp_path: Path) -> None:
    await check(lambda: opened(tmp_path / "streams.db"))
