"""The server's ASGI application: streams, gateway, playground and health on one router."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any, Self

from starlette.requests import Request
from starlette.routing import BaseRoute, Route, Router

from patinox.config import ServerConfig
from patinox.core.trace import CURRENT, parse_traceparent
from patinox.delivery.sink import Send
from patinox.errors import PatinoxError
from patinox.gateway.client import UpstreamClient
from patinox.gateway.routes import gateway_routes
from patinox.gateway.upstreams import Upstreams
from patinox.manager import StreamManager
from patinox.server.auth import tickets_api
from patinox.server.auth.guard import Guard
from patinox.server.border import Border
from patinox.server.health import Health
from patinox.server.loop_delay import LoopDelay
from patinox.server.openapi import document as openapi
from patinox.server.quotas import Quotas
from patinox.transports import channels_api, streams_api
from patinox.transports.access import Access
from patinox.transports.endpoint import ApiRoute, Asgi, Endpoint, Reply, not_found
from patinox.transports.http import Receive
from patinox.transports.websocket import routing as websocket
from patinox.transports.websocket.hub import WebSocketHandler
from patinox.web import CONTENT_SECURITY_POLICY, Asset, load_assets


class NotInstalled(PatinoxError):
    """What would do this is an extra that was not installed."""

    code = "not_installed"
    http_status = 501


class ServerApp:
    """What `patinox serve` serves. The manager, the client and the model are entered and closed by `run.py`.

    Entered itself while it serves, it measures how late the event loop is.
    """

    def __init__(
        self,
        manager: StreamManager,
        upstreams: Upstreams,
        client: UpstreamClient,
        access: Access | None = None,
        config: ServerConfig | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self.manager = manager
        self.access = access if access is not None else Access(manager)
        self.health = Health(manager, upstreams)
        self.loop_delay = LoopDelay()
        config = config if config is not None else ServerConfig()
        hosts, origins = config.allowed_hosts, config.allowed_origins
        self.websockets = WebSocketHandler(
            manager, access=self.access, allowed_hosts=hosts, allowed_origins=origins, strict=True
        )
        self.routes: list[BaseRoute] = [
            *streams_api.routes(self.access, playground="/"),
            *channels_api.routes(self.access),
            *websocket.routes(self.websockets),
            *gateway_routes(self.access, upstreams, client),
            *(tickets_api.routes(self.access) if isinstance(self.access, Guard) else ()),
            *self.health.routes(),
            *(self._metrics() if config.metrics.enabled else ()),
            *_pages(),
        ]
        self.routes.append(openapi.route(self.routes))
        router = Router(self.routes, default=not_found, redirect_slashes=False)
        self._border = Border(router, hosts=hosts, origins=origins, quotas=quotas)

    def __enter__(self) -> Self:
        self.loop_delay.start(asyncio.get_running_loop())
        return self

    def __exit__(self, *_: object) -> None:
        self.loop_delay.stop()

    def _metrics(self) -> list[Route]:
        try:
            from patinox.server.metrics.endpoint import Metrics
        except ModuleNotFoundError:
            return [Route("/metrics", Endpoint(_no_metrics), methods=["GET", "HEAD"])]
        return Metrics(self.manager, self.websockets, self.loop_delay).routes()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serves one request, on behalf of the trace that it belongs to."""
        told = [value for name, value in scope.get("headers", ()) if name == b"traceparent"]
        # Without one, too: a request on a connection that is kept alive may run in the context of the one before it.
        CURRENT.set(parse_traceparent(told[0].decode("latin-1")) if told else None)
        await self._border(scope, receive, send)


async def _no_metrics(request: Request) -> Asgi:
    raise NotInstalled('prometheus-client is not installed: pip install "patinox[metrics]"')


def _pages() -> list[Route]:
    assets = load_assets()
    pages = {"/": assets["index.html"], **{f"/web/{name}": asset for name, asset in assets.items()}}
    return [ApiRoute(path, Endpoint(_page(asset)), methods=["GET", "HEAD"]) for path, asset in pages.items()]


def _page(asset: Asset) -> Any:
    headers = {
        "content-type": asset.content_type,
        "etag": asset.etag,
        "cache-control": "no-cache",
        "content-security-policy": CONTENT_SECURITY_POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }

    async def page(request: Request) -> Asgi:
        if request.headers.get("if-none-match") == asset.etag:
            return Reply(status=304, headers=headers)
        return Reply(asset.body, headers=headers)

    return page
