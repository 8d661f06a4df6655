"""One node as a process, on a store that others share: `python -m tests.store_node PORT URL LEASE_S`."""

import asyncio
import socket
import sys

import uvicorn

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.stores.base import Store
from patinox.stores.nats import NatsStore
from patinox.stores.redis import RedisStore


def shared_store(url: str) -> Store:
    """The store that the URL is of."""
    return NatsStore(url) if url.startswith("nats") else RedisStore(url)


async def serve(port: int, url: str, lease_s: float) -> None:
    config = StreamingConfig(lease_ttl_s=lease_s, store_timeout_s=3.0, drain_timeout_s=0.2)
    async with StreamManager(config, store=shared_store(url)) as manager:
        listener = socket.create_server(("127.0.0.1", port))
        settings = uvicorn.Config(PatinoxApp(manager), log_config=None, lifespan="off", ws="none")
        await uvicorn.Server(settings).serve([listener])


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
