"""`GET /metrics`, in Prometheus's text format or, where it is asked for, OpenMetrics 1.0."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.routing import Route

from patinox.manager import StreamManager
from patinox.server.loop_delay import LoopDelay
from patinox.server.metrics.families import families
from patinox.server.metrics.observation import Observation, observe
from patinox.transports.endpoint import Asgi, Endpoint, Reply
from patinox.transports.websocket.hub import WebSocketHandler


class Metrics:
    """The metrics of one manager, in a registry of their own. As a collector it tells the latest observation."""

    def __init__(self, manager: StreamManager, websockets: WebSocketHandler, loop_delay: LoopDelay) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._manager = manager
        self._websockets = websockets
        self._loop_delay = loop_delay
        self._latest: Observation | None = None
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def __repr__(self) -> str:
        return f"<Metrics of {self._manager!r}>"

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        if self._latest is not None:
            yield from families(self._latest)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics as they are now, and their media type."""
        self._latest = await observe(self._manager, self._websockets, self._loop_delay.seconds)
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type

    def routes(self) -> list[Route]:
        """For a Starlette router."""
        return [Route("/metrics", Endpoint(self._answer), methods=["GET", "HEAD"])]

    async def _answer(self, request: Request) -> Asgi:
        body, media_type = await self.exposition(request.headers.get("accept", ""))
        return Reply(body, headers={"content-type": media_type})
