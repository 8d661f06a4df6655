"""What a test that uses `replay_app` relies on."""

from __future__ import annotations

import pytest
from tests.dialects import logged
from tests.flat import AGENT, AGENT_TEXT, COMPLETE

from patinox import StreamManager
from patinox.core.chunks import Error, Outcome, Text
from patinox.errors import InputError
from patinox.testing.fakes import AsgiClient
from patinox.testing.replay import replay_app

ASKED = b'{"stream": true}'
ROUTES = {
    "/v1/chat/completions": b"[DONE]",
    "/v1/responses": b"response.completed",
    "/v1/messages": b"message_stop",
    "/v1beta/models/m:streamGenerateContent?alt=sse": b'"finishReason":"STOP"',
    "/api/chat": b'"done":true',
}


@pytest.mark.parametrize(("path", "end"), ROUTES.items())
async def test_a_log_is_told_on_every_providers_route(path: str, end: bytes) -> None:
    async with replay_app([Text("Hel"), Text("lo")]) as app:
        answer = await AsgiClient(app).request("POST", path, body=ASKED)

    assert answer.status == 200
    assert end in answer.body


@pytest.mark.parametrize("path", ROUTES)
async def test_a_client_that_was_cut_goes_on_where_it_was(path: str) -> None:
    async with replay_app([*AGENT, COMPLETE]) as app:
        client, epoch = AsgiClient(app), app.stream.epoch
        whole = (await client.request("POST", path, body=ASKED)).body
        for sequence in range(app.stream.log.head):
            headers = {"last-event-id": f"{epoch}-{sequence}"}
            rest = (await client.request("POST", path, body=ASKED, headers=headers)).body
            assert whole.endswith(rest)


async def test_heartbeats_stand_between_the_frames() -> None:
    async with replay_app([Text("a"), Text("b")], heartbeats=True) as app:
        answer = await AsgiClient(app).request("POST", "/v1/messages", body=ASKED)

    assert answer.body.count(b"event: ping") == 3


async def test_a_stream_of_somebody_elses_is_served_as_it_grows() -> None:
    async with StreamManager() as manager:
        stream = await manager.create()
        app = replay_app(stream)
        async with AsgiClient(app).open("POST", "/v1/chat/completions", body=ASKED) as exchange:
            await stream.write("Hello")
            await exchange.until(lambda: b"Hello" in exchange.body)
            await stream.finish()
            await exchange.finished()

    assert exchange.body.endswith(b"data: [DONE]\n\n")


async def test_chunks_of_a_log_are_taken_as_they_are() -> None:
    async with replay_app(logged([*AGENT, COMPLETE])) as app:
        assert app.stream.assembly.content == AGENT_TEXT
        assert app.stream.feed.outcome is Outcome.COMPLETE


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
async def test_a_failure_is_an_error_for_who_asked_for_no_stream(path: str) -> None:
    async with replay_app([Text("a"), Error("overloaded", "Too many.", status=529)]) as app:
        answer = await AsgiClient(app).request("POST", path, body=b"{}")

    assert answer.status == 529
    assert answer.json()["error"]["message"] == "Too many."


def test_bytes_need_a_format() -> None:
    with pytest.raises(InputError, match="format"):
        replay_app(b"data: {}\n\n")


def test_there_is_no_log_before_the_application_was_entered() -> None:
    with pytest.raises(RuntimeError, match="entered"):
        _ = replay_app([]).stream


async def test_a_servers_lifespan_enters_it() -> None:
    app = replay_app([Text("a")])
    said: list[str] = []
    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, str]:
        return {"type": next(messages)}

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        said.append(message["type"])

    await app({"type": "lifespan"}, receive, send)

    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert app.stream.assembly.content == "a"
