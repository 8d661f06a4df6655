"""The stores that many nodes share pass the suite that every store passes, on real servers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from patinox.stores.base import Store
from patinox.stores.nats import NatsStore
from patinox.stores.redis import RedisStore
from patinox.testing import StoreCheck, store_checks
from patinox.testing.servers import NatsServer, ValkeyServer

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("engines")]


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


@pytest.mark.parametrize("check", store_checks(durable=True), ids=str)
async def test_the_store_in_valkey_passes(check: StoreCheck, valkey: ValkeyServer) -> None:
    await check(lambda: opened(RedisStore(valkey.url)))


@pytest.mark.parametrize("check", store_checks(durable=True), ids=str)
async def test_the_store_in_nats_passes(check: StoreCheck, nats: NatsServer) -> None:
    await check(lambda: opened(NatsStore(nats.url)))
