"""All calls of the gateway."""

from __future__ import annotations

from starlette.routing import Route

from patinox.gateway import messages_api, openai_api, responses_api
from patinox.gateway.calls import Calls
from patinox.gateway.client import UpstreamClient
from patinox.gateway.exchange import Exchange
from patinox.gateway.upstreams import Upstreams
from patinox.transports.access import Access


def gateway_routes(access: Access, upstreams: Upstreams, client: UpstreamClient) -> list[Route]:
    """The routes, for a Starlette router."""
    calls = Calls(upstreams, Exchange(access, client))
    return [*openai_api.routes(calls, client), *responses_api.routes(calls), *messages_api.routes(calls)]
