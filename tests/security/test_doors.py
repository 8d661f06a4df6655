"""Authentication as a client meets it: tickets and cookies, expiry in the middle of a stream, what looks alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import aiohttp
import jwt
import pytest
from tests.serving import Serving, serving

from patinox.config.auth import SECRET_VARIABLE

SECRET = "x" * 32
ENV = {SECRET_VARIABLE: SECRET}
KEY = "patinox_service"
SETTINGS: dict[str, Any] = {
    "auth.jwt.algorithms": ["HS256"],
    "auth.jwt.leeway": "0s",
    "auth.cookie": "session",
    "auth.keys.service.sha256": sha256(KEY.encode()).hexdigest(),
    "auth.keys.service.rights": ["admin"],
}
SSE = {"accept": "text/event-stream"}


def token(sub: str = "ada", *, lasts_s: float = 600, **claims: Any) -> str:
    return jwt.encode({"sub": sub, "exp": time.time() + lasts_s, **claims}, SECRET)


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


@asynccontextmanager
async def server(**more: Any) -> AsyncIterator[tuple[Serving, aiohttp.ClientSession]]:
    settings = {**SETTINGS, "gateway.idle_timeout": "5s", **more}
    async with (
        serving({}, env=ENV, **settings) as running,
        aiohttp.ClientSession(running.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        yield running, session


async def adas(running: Serving, id: str = "s") -> Any:
    stream = await running.manager.create(id=id, owner="ada")
    await stream.write("Hello")
    return stream


class TestTickets:
    async def test_a_link_with_a_ticket_reads_and_comes_back_by_cookie(self) -> None:
        async with server() as (running, session):
            stream = await adas(running)
            async with session.post("/v1/tickets", json={"stream": "s"}, headers=bearer(token())) as answer:
                made = await answer.json()
                assert (answer.status, made["url"]) == (201, f"/v1/streams/s?ticket={made['ticket']}")
                assert 0 < made["expires_in"] <= 30
            async with session.get(made["url"], headers=SSE) as answer:
                assert answer.status == 200
                cookie = answer.headers["set-cookie"]
                for attribute in ("HttpOnly", "SameSite=Strict", "Path=/v1/streams/s;", "Max-Age=3600"):
                    assert attribute in cookie
            await stream.finish()
            async with session.get("/v1/streams/s", headers=SSE) as answer:  # as EventSource reconnects
                assert answer.status == 200
                assert b"Hello" in await answer.read()

    async def test_ticket_reuse_is_refused(self) -> None:
        async with server() as (running, session):
            await (await adas(running)).finish()
            async with session.post("/v1/tickets", json={"stream": "s"}, headers=bearer(token())) as answer:
                url = (await answer.json())["url"]
            async with session.get(url) as answer:
                assert answer.status == 200
            async with aiohttp.ClientSession(running.url) as thief, thief.get(url) as answer:
                assert answer.status == 401

    async def test_a_grant_reads_its_stream_and_does_nothing_else(self) -> None:
        async with server() as (running, session):
            await adas(running)
            await adas(running, "other")
            async with session.post("/v1/tickets", json={"stream": "s"}, headers=bearer(token())) as answer:
                url = (await answer.json())["url"]
            async with session.get(url, headers={"accept": "application/json"}) as answer:
                grant = {"cookie": answer.headers["set-cookie"].partition(";")[0]}
            for method, path, status in (
                ("GET", "/v1/streams/s/facts", 200), ("GET", "/v1/streams/other", 404),
                ("POST", "/v1/streams/s/cancel", 404), ("POST", "/v1/streams/s/chunks", 404),
                ("POST", "/v1/streams", 403), ("POST", "/v1/chat/completions", 403),
            ):  # fmt: skip
                async with session.request(method, path, headers=grant, json={}) as answer:
                    assert answer.status == status, path

    async def test_nobody_gets_a_ticket_for_what_they_may_not_read(self) -> None:
        async with server() as (running, session):
            await adas(running)
            for body in ({"stream": "s"}, {"channel": "c"}, {"stream": "unknown"}):
                async with session.post("/v1/tickets", json=body, headers=bearer(token("eve"))) as answer:
                    assert answer.status == 404

    @pytest.mark.parametrize("body", [{}, {"stream": 1}, {"stream": "s", "channel": "c"}, {"stream": "s", "x": 1}])
    async def test_a_ticket_is_for_one_thing(self, body: Any) -> None:
        async with (
            server() as (_, session),
            session.post("/v1/tickets", json=body, headers=bearer(token())) as answer,
        ):
            assert answer.status == 400


class TestExpiry:
    async def test_a_reader_is_let_go_when_its_token_expires_and_comes_back_with_another(self) -> None:
        async with server() as (running, session):
            stream = await adas(running)
            short = bearer(token(lasts_s=2.5))
            async with session.get("/v1/streams/s", headers={**SSE, **short}) as answer:
                assert answer.status == 200
                with pytest.raises(aiohttp.ClientError):
                    await answer.read()
            assert stream.stats()["dropped"] == {"expired": 1}
            await stream.finish()
            again = {**SSE, **bearer(token()), "last-event-id": f"{stream.epoch}-1"}
            async with session.get("/v1/streams/s", headers=again) as answer:
                assert b"event: end" in await answer.read()

    async def test_a_socket_is_closed_when_its_token_expires(self) -> None:
        async with server() as (running, session):
            await adas(running)
            async with session.ws_connect("/v1/ws", headers=bearer(token(lasts_s=2.5))) as socket:
                await socket.send_json({"op": "subscribe", "stream": "s"})
                while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
                assert (message.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, 1008)

    async def test_a_body_that_outlasts_its_token_is_cut_and_keeps_what_was_accepted(self) -> None:
        async with server() as (running, session):
            stream = await adas(running)
            may_go_on = asyncio.Event()

            async def lines() -> AsyncIterator[bytes]:
                yield b'"one"\n'
                await may_go_on.wait()
                yield b'"two"\n'

            loop = asyncio.get_running_loop()
            loop.call_later(2.6, may_go_on.set)
            headers = {**bearer(token(lasts_s=2.5)), "content-type": "application/x-ndjson"}
            async with session.post("/v1/streams/s/chunks", headers=headers, data=lines()) as answer:
                assert answer.status == 401
                assert (await answer.json())["error"]["accepted"] == 1
            assert stream.log.head == 2


class TestWhatLooksAlike:
    async def test_unknown_forbidden_and_deleted_are_told_in_the_same_words(self) -> None:
        async with server() as (running, session):
            await adas(running, "private")
            await adas(running, "deleted")
            await running.manager.delete("deleted")
            told = set()
            for name in ("private", "deleted", "unknown"):
                async with session.get(f"/v1/streams/{name}", headers=bearer(token("eve"))) as answer:
                    told.add((answer.status, (await answer.text()).replace(name, "NAME")))
            assert len(told) == 1
            assert next(iter(told))[0] == 404

    async def test_a_taken_id_looks_unknown_to_who_may_not_know(self) -> None:
        async with server() as (running, session):
            await adas(running)
            for who, status in (("eve", 404), ("ada", 409)):
                async with session.post("/v1/streams", json={"id": "s"}, headers=bearer(token(who))) as answer:
                    assert answer.status == status

    async def test_tenants_may_use_the_same_ids(self) -> None:
        async with server() as (running, session):
            for tenant in ("a", "b"):
                mine = bearer(token(tenant=tenant))
                async with session.post("/v1/streams", json={"id": "same"}, headers=mine) as answer:
                    assert answer.status == 201
            assert len(running.manager) == 2

    async def test_who_may_know_is_told_that_a_stream_is_gone(self) -> None:
        async with server() as (running, session):
            await adas(running)
            await running.manager.delete("s")
            async with session.get("/v1/streams/s", headers=bearer(KEY)) as answer:
                assert answer.status == 410


class TestCookies:
    async def test_a_session_cookie_is_as_good_as_a_header(self) -> None:
        async with server() as (running, session):
            await adas(running)
            async with session.get("/v1/streams/s/facts", headers={"cookie": f"session={token()}"}) as answer:
                assert answer.status == 200

    async def test_cross_site_websocket_hijack_a_foreign_page_is_refused_whatever_cookies_it_brings(self) -> None:
        async with server() as (_, session):
            headers = {"cookie": f"session={token()}", "origin": "https://evil.example"}
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect("/v1/ws", headers=headers)
            assert refused.value.status == 403

    async def test_cross_site_requests_change_nothing_whatever_cookies_they_bring(self) -> None:
        async with server() as (running, session):
            await adas(running)
            headers = {"cookie": f"session={token()}", "origin": "https://evil.example"}
            async with session.post("/v1/streams/s/cancel", headers=headers) as answer:
                assert answer.status == 403
            assert running.only_stream().is_open


class TestQuotas:
    async def test_a_user_who_asks_too_often_is_told_and_others_are_not(self) -> None:
        async with server(**{"quotas.requests_per_user": 1, "quotas.burst": "1s"}) as (_, session):
            answers = []
            for who in ("ada", "ada", "eve"):
                async with session.get("/v1/streams", headers=bearer(token(who))) as answer:
                    answers.append((answer.status, answer.headers.get("retry-after")))
            assert answers == [(200, None), (429, "1"), (200, None)]

    async def test_a_user_has_so_many_readers_and_open_streams(self) -> None:
        limits = {"streaming.max_connections_per_user": 1, "streaming.max_streams_per_producer": 1}
        async with server(**limits) as (running, session):
            await adas(running)
            mine = bearer(token())
            async with session.get("/v1/streams/s", headers={**SSE, **mine}) as first:
                assert first.status == 200
                async with session.get("/v1/streams/s", headers={**SSE, **mine}) as second:
                    assert second.status == 429
            async with session.post("/v1/streams", json={}, headers=mine) as answer:
                assert answer.status == 429


async def test_the_pages_and_health_ask_nobody() -> None:
    async with server() as (_, session):
        for path in ("/", "/web/style.css", "/healthz", "/readyz"):
            async with session.get(path) as answer:
                assert answer.status == 200, path


async def test_a_hook_of_ones_own_decides_within_the_tenant() -> None:
    async with server(**{"auth.hook": "tests.security.hooks:only_poems"}) as (running, session):
        await adas(running, "poem-1")
        await adas(running, "diary-1")
        answers = []
        for name in ("poem-1", "diary-1"):
            for who in ("ada", "eve"):
                async with session.get(f"/v1/streams/{name}/facts", headers=bearer(token(who))) as answer:
                    answers.append(answer.status)
        assert answers == [200, 200, 200, 404]
        async with session.get("/v1/streams/poem-1/facts", headers=bearer(token(tenant="other"))) as answer:
            assert answer.status == 404
