"""`/healthz` and `/readyz`: whether the process lives, and whether it should be sent work.

Ready means: not about to leave, the store answers, and the embedded model, where there is one, has started. Upstreams
are never asked: a provider's bad day is no reason to restart us.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.routing import Route

from patinox.errors import StoreError, UpstreamError, UpstreamStarting
from patinox.gateway.upstreams import LocalUpstream, Upstreams
from patinox.manager import StreamManager
from patinox.transports.endpoint import ApiRoute, Asgi, Endpoint, Reply

PROBE_S = 2.0
"""How long the store may take for a sign of life."""


class Health:
    """The two endpoints. `is_leaving` is set as soon as the server has been told to end."""

    def __init__(self, manager: StreamManager, upstreams: Upstreams) -> None:
        self.is_leaving = False
        self._manager = manager
        self._local = next((upstream for upstream in upstreams if isinstance(upstream, LocalUpstream)), None)

    def routes(self) -> list[Route]:
        """For a Starlette router."""
        table = (("/healthz", self.alive), ("/readyz", self.ready))
        return [ApiRoute(path, Endpoint(handler), methods=["GET", "HEAD"]) for path, handler in table]

    async def alive(self, request: Request) -> Asgi:
        """`GET /healthz`: 200 while the event loop turns."""
        return Reply({"status": "ok"})

    async def ready(self, request: Request) -> Asgi:
        """`GET /readyz`: 200, or 503 with what is missing. A model that failed for good leaves the server ready."""
        is_leaving = self.is_leaving or self._manager.is_closing
        checks = {"store": await self._store(), "accepting": "shutting down" if is_leaving else "ok"}
        if self._local is not None:
            checks["local_model"] = _state(self._local)
        is_ready = checks["store"] == checks["accepting"] == "ok" and checks.get("local_model") != "starting"
        return Reply({"status": "ready" if is_ready else "not ready", **checks}, 200 if is_ready else 503)

    async def _store(self) -> str:
        try:
            async with asyncio.timeout(PROBE_S):
                await self._manager.store.probe()
        except (StoreError, TimeoutError):
            return "does not answer"
        return "ok"


def _state(local: LocalUpstream) -> str:
    try:
        local.check()
    except UpstreamStarting:
        return "starting"
    except UpstreamError:
        return "failed"
    return "ok"
