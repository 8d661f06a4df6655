"""`/openapi.json`: it says all that there is, and what is made by it never breaks the server."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from tests.serving import serving

from patinox import StreamManager
from patinox.config import Config
from patinox.gateway.client import UpstreamClient
from patinox.gateway.upstreams import configured
from patinox.server.app import ServerApp
from patinox.server.openapi.calls import CALLS, Call
from patinox.server.openapi.document import document_of, pairs
from patinox.server.openapi.schemas import SCHEMAS
from patinox.testing.upstream import ScriptedUpstream, words

_PAGES = ("/web/", "/v1/ws")
ASKED = [call for call in CALLS if call.path != "/v1/tickets"]


async def test_every_call_of_the_server_is_in_it_and_none_that_there_is_not() -> None:
    config = Config()
    async with StreamManager() as manager:
        app = ServerApp(manager, configured(config, {}, None), UpstreamClient(config.gateway))
        there = {(method, path) for method, path in pairs(app.routes) if path != "/" and not path.startswith(_PAGES)}
    told = {(call.method, call.path) for call in CALLS}
    assert there - told == set()
    assert told - there == {("POST", "/v1/tickets")}  # where callers are asked who they are


async def test_it_is_served_and_says_only_what_is_there(http: aiohttp.ClientSession) -> None:
    async with serving({}, server__metrics__enabled=False) as server, http.get(f"{server.url}/openapi.json") as answer:
        document = await answer.json()
    assert document["openapi"] == "3.1.0"
    assert "/metrics" not in document["paths"]
    assert set(document["paths"]["/v1/streams/{id}"]) == {"get", "delete"}
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


def test_its_schemas_are_schemas() -> None:
    document = document_of({(call.method, call.path) for call in CALLS})
    for name in SCHEMAS:
        jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


@pytest.mark.slow
@pytest.mark.parametrize("call", ASKED, ids=lambda call: f"{call.method} {call.path}")
async def test_no_call_made_by_it_breaks_the_server(call: Call) -> None:
    async with ScriptedUpstream(words("Hel", "lo")) as upstream, serving({"fake": upstream.url}) as server:
        await server.manager.create(id="a", channel="c")
        await asyncio.to_thread(fuzz, server.url, call)


def fuzz(url: str, call: Call) -> None:
    """Calls of one operation, well-formed and not: each is answered as the document says, and by no failure of ours."""
    operation = schemathesis.openapi.from_url(f"{url}/openapi.json")[call.path][call.method]
    told = {*call.answers, *call.refusals}

    @settings(
        max_examples=15, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy())
    def once(case: Any) -> None:
        sent = {**case.as_transport_kwargs(base_url=url), "stream": True, "timeout": 20, "allow_redirects": False}
        with requests.request(**sent) as answer:
            assert answer.status_code in told
            if answer.status_code >= 400:
                assert answer.json()["error"]["message"]
                assert answer.json()["error"].get("code") != "internal"

    once()
