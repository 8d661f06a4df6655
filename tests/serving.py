"""Patinox's server in the test's own process and event loop, on a free loopback port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import openai

from patinox.config import Config, StreamingConfig
from patinox.gateway.client import UpstreamClient
from patinox.gateway.local_model import LocalModel
from patinox.gateway.observing import Observer
from patinox.gateway.upstreams import configured
from patinox.manager import ActiveStream, StreamManager
from patinox.manager.pipelines import Pipelines
from patinox.manager.recipes import configured_pipelines
from patinox.server.app import ServerApp
from patinox.server.auth.guard import Guard
from patinox.server.auth.identities import Identities
from patinox.server.listening import address, bind, open_grpc, open_http2
from patinox.server.quotas import Quotas
from patinox.server.run import Server, grpc_listener, http2_listener, uvicorn_config
from patinox.transports.access import Access

ASK: Any = {"model": "scripted", "messages": [{"role": "user", "content": "Say hello."}]}
"""The body of an ordinary call."""


class Serving(NamedTuple):
    """A running server: where it is, and its manager to look into."""

    url: str
    manager: StreamManager
    client: UpstreamClient
    http2_url: str
    grpc_address: str
    end: Callable[[], Awaitable[None]]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def calls(self) -> str:
        """Where chat completions are asked for."""
        return f"{self.url}/v1/chat/completions"

    def only_stream(self) -> ActiveStream:
        (stream,) = self.manager
        return stream


@asynccontextmanager
async def serving(
    upstreams: Mapping[str, str], env: Mapping[str, str] | None = None, local: LocalModel | None = None,
    pipelines: Pipelines | None = None, streaming: StreamingConfig | None = None,
    observer: Observer | None = None, **settings: Any,
) -> AsyncIterator[Serving]:  # fmt: skip
    """Serves with these upstreams, name → URL. `gateway__idle_timeout="1s"` is a setting, dots written as `__`.

    `pipelines` stand in the place of the configured ones; `server__http2_port=0` serves HTTP/2 too,
    `server__grpc_port=0` gRPC. `end()` ends the server before the block does, as a signal would.
    """
    overrides: dict[str, Any] = {key.replace("__", "."): value for key, value in settings.items()}
    for name, url in upstreams.items():
        overrides[f"gateway.upstreams.{name}.url"] = url
    config = Config.load(overrides={"server.local_model": local is not None, **overrides})
    if streaming is not None:
        config = msgspec.structs.replace(config, streaming=streaming)
    async with AsyncExitStack() as stack:
        made = pipelines if pipelines is not None else configured_pipelines(config.pipelines, config.server.pipeline)
        manager = await stack.enter_async_context(StreamManager(config.streaming, pipelines=made))
        client = await stack.enter_async_context(UpstreamClient(config.gateway, observer))
        upstreams_of = configured(config, env or {}, local)
        quotas = Quotas(config.quotas, time.monotonic)
        access = Access(manager)
        if config.auth.is_on:
            identities = Identities(config.auth, env or {})
            stack.push_async_callback(identities.aclose)
            access = Guard(manager, identities, quotas)
        app = stack.enter_context(ServerApp(manager, upstreams_of, client, access, config.server, quotas))
        listener = stack.enter_context(bind("127.0.0.1", 0))
        server = Server(uvicorn_config(app, config), manager)
        http2 = open_http2(config)
        if http2 is not None:
            stack.enter_context(http2.listener)
            server.beside.append(http2_listener(app, server, http2))
        grpc = open_grpc(config)
        grpc_server = grpc_listener(app, grpc) if grpc is not None else None
        if grpc_server is not None:
            server.beside.append(grpc_server)
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[listener])
        ended: asyncio.Future[None] | None = None

        def end() -> asyncio.Future[None]:
            nonlocal ended
            ended = ended or asyncio.ensure_future(server.shutdown(sockets=[listener]))
            return ended

        try:
            yield Serving(
                address(listener),
                manager,
                client,
                http2.url if http2 is not None else "",
                grpc_server.address if grpc_server is not None else "",
                end,
            )
        finally:
            await end()


def official(url: str) -> openai.AsyncOpenAI:
    """OpenAI's own client pointed at a server, which asks once; to be entered."""
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


async def idle() -> None:
    """Waits until nothing is read from an upstream any more."""
    pumps = [task for task in asyncio.all_tasks() if task.get_name().startswith("patinox pump")]
    if pumps:
        await asyncio.wait(pumps)
