"""Classes of advisories against streaming servers, each as it would be tried here."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from tests.serving import serving

from patinox import SSEEvent, SSEFormatter, StreamManager
from patinox.asgi import PatinoxApp, sse_response
from patinox.core.chunks import EventId
from patinox.errors import InputError
from patinox.formats.eventstream import EventStreamParser
from patinox.testing.fakes import AsgiClient
from patinox.transports.access import Access, Caller, Right


class TestSseFieldInjection:
    @pytest.mark.parametrize("text", ["a\ndata: b", "a\r\ndata: b", "a\rid: x-9", "a\n\nevent: end\ndata: {}\n\n"])
    async def test_text_stays_data_in_every_form(self, text: str) -> None:
        async with StreamManager() as manager:
            stream = await manager.create()
            await stream.write(text)
            await stream.finish()
            for query in ("", "?format=text", "?format=openai-chat", "?format=ai-sdk"):
                path = f"/v1/streams/{stream.id}{query}"
                headers = {"accept": "text/event-stream"}
                answer = await AsgiClient(PatinoxApp(manager)).request("GET", path, headers=headers)
                parser = EventStreamParser()
                events = parser.feed(answer.body)
                assert not any(event.id == "x-9" for event in events)
                ends = sum(1 for event in events if event.event == "end")
                assert ends == (0 if "openai" in query or "ai-" in query else 1)

    @given(st.sampled_from("\r\n\0"), st.text(max_size=5), st.text(max_size=5))
    def test_a_field_that_would_break_out_of_its_line_is_refused(self, breaker: str, before: str, after: str) -> None:
        broken = before + breaker + after
        for event in (SSEEvent("data", event=broken), SSEEvent("data", id=broken)):
            with pytest.raises(InputError):
                SSEFormatter().format(event)


async def test_replay_across_sessions_an_event_id_of_another_tenant_finds_nothing() -> None:
    async with StreamManager() as manager:
        theirs = await manager.create(tenant="theirs", owner="eve")
        await theirs.write("secret")
        access = Access(manager)
        stolen = EventId(theirs.epoch, 1)
        assert await access.find(Caller("ours", "ada"), stolen, Right.READ) is None
        assert await manager.find(stolen) is None


async def test_replay_across_sessions_an_endpoint_resumes_only_its_own_tenants_streams() -> None:
    async def tokens() -> Any:
        yield "fresh"

    async with StreamManager() as manager:
        theirs = await manager.create(tenant="theirs")
        await theirs.write("secret")

        async def endpoint(scope: Any, receive: Any, send: Any) -> None:
            request = Request(scope, receive)
            await (await sse_response(request, manager.relay(tokens())))(scope, receive, send)

        headers = {"last-event-id": f"{theirs.epoch}-0"}
        answer = await AsgiClient(endpoint).request("GET", "/", headers=headers)
        assert b"secret" not in answer.body
        assert b"fresh" in answer.body


async def test_stream_id_guessing_an_id_of_ours_has_128_random_bits() -> None:
    async with StreamManager() as manager:
        ids = {(await manager.create()).id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(id) * math.log2(62) >= 128 and id.isalnum() for id in ids)


class TestHostileSubprotocols:
    @pytest.mark.parametrize(
        "offered",
        [
            "patinox.v1\r\nX-Injected: 1",
            "patinox.v1\x00",
            "\xff\xfe",
            "patinox.v2",
            "," * 5000,
            "patinox.token.",
            "a" * 9000,
        ],
    )
    async def test_they_are_refused_or_answered_and_nothing_breaks(self, offered: str) -> None:
        async with serving({}) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(
                b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Sec-WebSocket-Protocol: " + offered.encode("latin-1") + b"\r\n\r\n"
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.split(b" ", 2)[1] in (b"101", b"400", b"403")
            assert b"\r\nx-injected" not in head.lower().split(b"\r\n\r\n")[0]
            writer.close()
            async with aiohttp.ClientSession() as session, session.get(f"{running.url}/healthz") as answer:
                assert answer.status == 200


async def test_decompression_bomb_a_message_is_unpacked_no_further_than_its_limit() -> None:
    async with (
        serving({}, streaming__websocket__max_frame_size=65536) as running,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{running.url}/v1/ws", compress=15) as socket,
    ):
        assert socket.compress
        await socket.send_str('{"op": "ping", "ref": "' + "a" * 50_000_000 + '"}')
        message = await socket.receive()
        assert (message.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, 1009)


async def test_unauthorised_cancel_and_write_change_nothing() -> None:
    class OnlyAda(Access):
        async def caller(self, scope: Any) -> Caller:
            return Caller(subject=dict(scope["headers"]).get(b"x-user", b"").decode())

    async with StreamManager() as manager:
        client = AsgiClient(PatinoxApp(access=OnlyAda(manager)))
        stream = await manager.create(id="s", owner="ada")
        for path in ("/v1/streams/s/cancel", "/v1/streams/s/finish", "/v1/streams/s/chunks"):
            assert (await client.request("POST", path, headers={"x-user": "eve"})).status == 404
        assert (await client.request("DELETE", "/v1/streams/s", headers={"x-user": "eve"})).status == 404
        assert (stream.is_open, stream.log.head) == (True, 0)
