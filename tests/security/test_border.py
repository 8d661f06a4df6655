"""What is looked at before anything else: Host, Origin, and how often somebody asks."""

from typing import Any

import aiohttp
import pytest
from tests.serving import serving

from patinox.config.quotas import QuotaConfig
from patinox.server.border import Border
from patinox.server.quotas import Quotas
from patinox.testing.fakes import AsgiClient, AsgiExchange, ManualClock
from patinox.transports.endpoint import Reply
from patinox.transports.origins import Door

APP = "https://app.example.com"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}


async def inside(scope: Any, receive: Any, send: Any) -> None:
    await Reply({"inside": True})(scope, receive, send)


async def ask(method: str = "GET", **headers: str) -> AsgiExchange:
    border = Border(inside, hosts=("stream.example.com",), origins=(APP,))
    named = {name.replace("_", "-"): value for name, value in {"host": "localhost:8787", **headers}.items()}
    return await AsgiClient(border).request(method, "/v1/streams", headers=named)


class TestHost:
    @pytest.mark.parametrize(
        "host",
        ["localhost", "LOCALHOST:1", "127.0.0.1:8787", "[::1]:8787", "stream.example.com", "STREAM.example.com:443",
         "10.1.2.3", "a.localhost"],
    )  # fmt: skip
    async def test_own_names_and_addresses_are_answered(self, host: str) -> None:
        assert (await ask(host=host)).status == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "localhost.evil.example", "stream.example.com.evil.example", "127.0.0.1.nip.example",
                 "", "a b", "user@localhost", "localhost/x"],
    )  # fmt: skip
    async def test_dns_rebinding_a_name_that_is_not_ours_is_refused(self, host: str) -> None:
        answer = await ask(host=host)
        assert (answer.status, answer.json()["error"]["code"]) == (421, "misdirected")

    async def test_a_refusal_says_what_to_set(self) -> None:
        assert "server.allowed_hosts" in (await ask(host="evil.example")).json()["error"]["message"]


class TestOrigin:
    @pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH"])
    async def test_a_foreign_page_changes_nothing(self, method: str) -> None:
        answer = await ask(method, origin="https://evil.example")
        assert (answer.status, answer.json()["error"]["code"]) == (403, "forbidden")

    @pytest.mark.parametrize(
        "origin",
        ["null", "https://app.example.com.evil.example", "http://app.example.com", "https://app.example.com:444",
         "file://", "https://app.example.com/path"],
    )  # fmt: skip
    async def test_what_only_looks_like_a_listed_origin_is_none(self, origin: str) -> None:
        assert (await ask("POST", origin=origin)).status == 403

    @pytest.mark.parametrize("origin", ["http://localhost:8787", APP])
    async def test_own_and_listed_pages_may_change_things(self, origin: str) -> None:
        assert (await ask("POST", origin=origin)).status == 200

    async def test_who_is_no_page_may(self) -> None:
        assert (await ask("POST")).status == 200

    async def test_two_origins_are_none(self) -> None:
        door = Door(strict=True)
        headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"origin", b"https://evil.example")]
        assert door.origin_refusal({"headers": headers}) == "Origin is given once"


class TestCors:
    async def test_a_listed_page_may_read_with_credentials(self) -> None:
        headers = (await ask(origin=APP)).headers
        assert headers["access-control-allow-origin"] == APP
        assert headers["access-control-allow-credentials"] == "true"
        assert "patinox-stream-id" in headers["access-control-expose-headers"]
        assert headers["vary"] == "Origin"

    async def test_another_page_may_read_nothing(self) -> None:
        headers = (await ask(origin="https://evil.example")).headers
        assert "access-control-allow-origin" not in headers
        assert headers["vary"] == "Origin"

    async def test_a_preflight_is_answered_for_a_listed_page(self) -> None:
        answer = await ask("OPTIONS", origin=APP, **PREFLIGHT)
        assert answer.status == 204
        assert answer.headers["access-control-allow-headers"] == "authorization"
        assert "DELETE" in answer.headers["access-control-allow-methods"]

    async def test_a_preflight_of_another_page_allows_nothing(self) -> None:
        answer = await ask("OPTIONS", origin="https://evil.example", **PREFLIGHT)
        assert "access-control-allow-origin" not in answer.headers

    async def test_nothing_is_said_of_origins_where_none_is_listed(self) -> None:
        headers = {"host": "localhost", "origin": "http://localhost"}
        assert "vary" not in (await AsgiClient(Border(inside)).request("GET", "/", headers=headers)).headers

    async def test_an_answer_is_what_its_type_says(self) -> None:
        assert (await ask()).headers["x-content-type-options"] == "nosniff"


async def test_an_address_that_asks_too_often_is_told_when_to_come_back() -> None:
    quotas = Quotas(QuotaConfig(requests_per_address=1, burst_s=1), ManualClock())
    client = AsgiClient(Border(inside, quotas=quotas))
    assert (await client.request("GET", "/")).status == 200
    answer = await client.request("GET", "/")
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")


async def test_the_server_judges_every_door_alike() -> None:
    async with serving({}, server__http2_port=0) as running, aiohttp.ClientSession() as session:
        for method, path in (("GET", "/v1/streams"), ("GET", "/"), ("GET", "/healthz"), ("POST", "/v1/streams")):
            async with session.request(method, running.url + path, headers={"host": "evil.example"}) as answer:
                assert answer.status == 421, path
        for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{running.url}/v1/ws", headers=headers)
            assert refused.value.status == 403
