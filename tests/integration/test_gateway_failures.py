"""Everything that goes wrong with an upstream ends in the right status, or in the stream, and in the log."""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

import aiohttp
import openai
import pytest
from tests.serving import ASK, Serving, official, serving

from patinox.gateway.local_model import LocalModel
from patinox.testing.upstream import CUT, DONE, Answer, Cut, Gate, ScriptedUpstream, event, refusal, role, said, words

STREAMED = {**ASK, "stream": True}
BOTH = pytest.mark.parametrize("call", [ASK, STREAMED], ids=["whole", "streamed"])


async def refused(http: aiohttp.ClientSession, server: Serving, body: Any, **headers: str) -> tuple[int, Any]:
    """The status and the error of a call that fails before it begins."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with http.post(server.calls, data=sent, headers=headers) as answer:
        return answer.status, (await answer.json())["error"]


def nothing_is_left(server: Serving) -> bool:
    return not list(server.manager) and not server.manager.stats()["running"]


async def read_until_error(client: openai.AsyncOpenAI) -> tuple[str, openai.APIError]:
    """The text of a streamed call, and the error that ended it."""
    text = ""
    async with await client.chat.completions.create(**ASK, stream=True) as stream:
        try:
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
        except openai.APIError as error:
            return text, error
    pytest.fail("the stream ended as if all were well")


# ── before the first token ──


@BOTH
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_a_refusal_keeps_its_status_and_its_error(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, call: Any, status: int
) -> None:
    error = {"message": "No.", "type": "some_type", "param": "top_p", "code": "some_code", "detail": [1]}
    upstream.script(refusal(status, error))
    assert await refused(http, server, call) == (status, error)
    assert nothing_is_left(server)


async def test_the_official_client_sees_the_upstreams_own_exception(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    upstream.script(refusal(401, {"message": "Bad key.", "type": "invalid_request_error", "code": "invalid_api_key"}))
    with pytest.raises(openai.AuthenticationError) as raised:
        await client.chat.completions.create(**ASK, stream=True)
    assert (raised.value.code, raised.value.type) == ("invalid_api_key", "invalid_request_error")


async def test_a_refusal_that_is_no_json_is_told_as_it_is(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    upstream.script(Answer(b"<h1>Too ", b"many</h1>", status=429, content_type="text/html"))
    status, error = await refused(http, server, STREAMED)
    assert (status, error["code"], error["upstream"]) == (429, "upstream_refused", "<h1>Too many</h1>")


async def test_retry_after_is_passed_on(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    upstream.script(refusal(429, {"message": "Slow down."}, Retry_After="7"))
    async with http.post(server.calls, json=STREAMED) as answer:
        assert answer.headers["Retry-After"] == "7"


async def test_a_redirect_is_not_followed(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession
) -> None:
    upstream.script(Answer(b"", status=307, headers={"Location": upstream.url + "/elsewhere"}))
    status, error = await refused(http, server, STREAMED)
    assert (status, error["code"], len(upstream.asked)) == (502, "upstream_refused", 1)


@BOTH
async def test_an_upstream_that_is_down_is_502(http: aiohttp.ClientSession, call: Any) -> None:
    async with serving({"fake": "http://127.0.0.1:1/v1"}) as server:
        status, error = await refused(http, server, call)
        assert (status, error["code"]) == (502, "upstream_unavailable")
        assert "fake cannot be reached" in error["message"]
        assert nothing_is_left(server)


@BOTH
@pytest.mark.parametrize("cut", [CUT, Cut(gently=True)], ids=["reset", "closed"])
@pytest.mark.parametrize("before", [(), (b"",), (b": still thinking\n\n",)], ids=["head", "body", "token"])
async def test_a_connection_that_breaks_before_the_first_token_is_502(
    upstream: ScriptedUpstream,
    server: Serving,
    http: aiohttp.ClientSession,
    call: Any,
    cut: Cut,
    before: tuple[bytes, ...],
) -> None:
    upstream.script(Answer(*before, cut))
    status, error = await refused(http, server, call)
    assert (status, error["code"]) in [(502, "upstream_unavailable"), (502, "interrupted")]
    assert nothing_is_left(server)


@BOTH
async def test_an_empty_answer_is_502(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, call: Any
) -> None:
    upstream.script(Answer())
    assert (await refused(http, server, call))[0] == 502
    assert nothing_is_left(server)


@BOTH
async def test_silence_before_the_first_byte_is_504(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, call: Any
) -> None:
    upstream.script(Answer(Gate()))
    async with serving({"fake": upstream.url}, gateway__first_token_timeout="50ms") as server:
        status, error = await refused(http, server, call)
        assert (status, error["code"]) == (504, "upstream_timeout")
        await upstream.asked[0].hung_up.wait()
        assert nothing_is_left(server)


async def test_silence_between_the_first_byte_and_the_first_token_is_504(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    upstream.script(Answer(b": thinking\n\n", Gate()))
    async with serving({"fake": upstream.url}, gateway__idle_timeout="50ms") as server:
        assert (await refused(http, server, STREAMED))[0] == 504
        await upstream.asked[0].hung_up.wait()


async def test_connecting_has_a_deadline_of_its_own(http: aiohttp.ClientSession) -> None:
    with socket.socket() as deaf:  # listens, but its queue is full: a connection is never made
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        with socket.create_connection(address):
            async with serving(
                {"fake": f"http://127.0.0.1:{address[1]}/v1"}, gateway__connect_timeout="50ms"
            ) as server:
                status, error = await refused(http, server, STREAMED)
    assert (status, error["code"]) == (504, "upstream_timeout")
    assert "connecting" in error["message"]


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"data: {nonsense\n\n", DONE),
        Answer(b"<html></html>", content_type="text/html"),
        Answer(b'{"id": "chatcmpl-1", "object": "chat.completion"}', content_type="application/json"),
    ],
    ids=["frame", "page", "no stream"],
)
async def test_nonsense_instead_of_an_answer_is_502(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, call: Any, answer: Answer
) -> None:
    upstream.script(answer)
    status, error = await refused(http, server, call)
    assert (status, error["code"]) == (502, "upstream_malformed")
    assert nothing_is_left(server)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b'data: {"error": {"message": "Out of memory.", "code": "oom"}}\n\n'),
        Answer(b'{"error": {"message": "Out of memory.", "code": "oom"}}', content_type="application/json"),
    ],
    ids=["event", "body"],
)
async def test_an_error_with_the_status_200_is_no_success(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, answer: Answer
) -> None:
    upstream.script(answer)
    status, error = await refused(http, server, STREAMED)
    assert (status, error["code"], error["message"]) == (502, "oom", "Out of memory.")


async def test_a_model_that_is_still_loading_is_503_and_the_server_is_not_ready(http: aiohttp.ClientSession) -> None:
    never_ready = (sys.executable, "-c", "import sys; sys.stdin.read()")
    async with LocalModel(command=never_ready) as local, serving({}, local=local) as server:
        async with http.post(server.calls, json={**ASK, "model": "local"}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert (await answer.json())["error"]["code"] == "upstream_starting"
        async with http.get(f"{server.url}/readyz") as ready, http.get(f"{server.url}/healthz") as alive:
            assert (ready.status, alive.status) == (503, 200)
            assert (await ready.json())["local_model"] == "starting"
        assert nothing_is_left(server)


# ── after the first token ──


BEFORE = (role(), said("Hel"), said("lo"))


@pytest.mark.parametrize(
    ("ending", "state", "code"),
    [
        ((CUT,), "interrupted", "interrupted"),
        ((Cut(gently=True),), "interrupted", "interrupted"),
        ((), "interrupted", "interrupted"),
        ((b"data: {nonsense\n\n", said("never")), "failed", "upstream_malformed"),
        ((event(error={"message": "Out of memory.", "code": "oom"}),), "failed", "oom"),
    ],
    ids=["reset", "closed", "no end", "malformed", "error"],
)
async def test_what_breaks_after_the_first_token_is_told_in_the_stream_and_in_the_log(
    upstream: ScriptedUpstream, server: Serving, client: openai.AsyncOpenAI, ending: Any, state: str, code: str
) -> None:
    gate = Gate()
    upstream.script(Answer(*BEFORE, gate, *ending))
    gate.open()
    text, error = await read_until_error(client)
    assert (text, error.code) == ("Hello", code)
    stream = server.only_stream()
    assert stream.state == state
    assert stream.snapshot()["content"] == "Hello"


async def test_a_malformed_frame_takes_nothing_with_it_that_came_in_the_same_packet(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    upstream.script(Answer(b"".join([*BEFORE, b"data: {nonsense\n\n"])))
    assert (await read_until_error(client))[0] == "Hello"


async def test_silence_after_the_first_token_is_told_in_the_stream(upstream: ScriptedUpstream) -> None:
    upstream.script(Answer(*BEFORE, Gate()))
    async with serving({"fake": upstream.url}, gateway__idle_timeout="50ms") as server, official(server.url) as client:
        text, error = await read_until_error(client)
        assert (text, error.code) == ("Hello", "upstream_timeout")
        assert server.only_stream().state == "failed"
        await upstream.asked[0].hung_up.wait()


@pytest.mark.parametrize(
    ("ending", "status"),
    [((CUT,), 502), ((b"data: {nonsense\n\n",), 502), ((Gate(),), 504)],
    ids=["cut", "malformed", "silent"],
)
async def test_an_answer_that_is_not_streamed_is_whole_or_an_error(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, ending: Any, status: int
) -> None:
    upstream.script(Answer(*BEFORE, *ending))
    async with serving({"fake": upstream.url}, gateway__idle_timeout="50ms") as server:
        assert (await refused(http, server, ASK))[0] == status
        assert server.only_stream().snapshot()["content"] == "Hello"


# ── the client's own mistakes ──


@pytest.mark.parametrize("model", ["nosuch/model", "fake/nosuch", "nosuch"])
async def test_a_model_that_is_not_there_is_404_with_those_that_are(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, model: str
) -> None:
    async with serving({"fake": upstream.url}, gateway__upstreams__fake__models=["a", "b"]) as server:
        status, error = await refused(http, server, {**ASK, "model": model})
    assert (status, error["code"], error["known"]) == (404, "model_not_found", ["fake/a", "fake/b"])
    assert upstream.asked == []


async def test_without_an_upstream_the_answer_says_how_to_get_one(http: aiohttp.ClientSession) -> None:
    async with serving({}) as server:
        status, error = await refused(http, server, ASK)
    assert (status, error["code"]) == (503, "no_upstream")
    assert "--upstream NAME=URL" in error["message"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{nonsense", 400, "bad_request"),
        (b"[1]", 400, "bad_request"),
        (b"", 400, "bad_request"),
        (b"\xff\xfe", 400, "bad_request"),
        (b"[" * 100_000, 400, "bad_request"),
        (b'{"model": "m"}', 400, "bad_request"),
        (b'{"model": 7, "messages": []}', 400, "bad_request"),
        (b'{"messages": ["' + b"x" * 2000 + b'"]}', 413, "too_large"),
    ],
    ids=["no JSON", "no object", "nothing", "no UTF-8", "too deep", "no messages", "no name", "too large"],
)
async def test_a_body_that_will_not_do_is_refused_before_anybody_is_asked(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, body: bytes, status: int, code: str
) -> None:
    limit = "1KiB" if status == 413 else "16MiB"
    async with serving({"fake": upstream.url}, streaming__max_body_bytes=limit) as server:
        got, error = await refused(http, server, body)
        assert (got, error["code"]) == (status, code)
        assert nothing_is_left(server)
    assert upstream.asked == []


@pytest.mark.parametrize(
    "headers", [{"Patinox-Stream-Id": "no spaces"}, {"Patinox-Stream-Id": "x" * 129}, {"Patinox-On-Abandon": "maybe"}]
)
async def test_a_header_that_will_not_do_is_400(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    assert (await refused(http, server, ASK, **headers))[0] == 400
    assert nothing_is_left(server)
    assert upstream.asked == []


async def test_the_gateway_answers_again_after_every_failure(
    upstream: ScriptedUpstream, client: openai.AsyncOpenAI
) -> None:
    upstream.script(refusal(500, {"message": "No."}), Answer(CUT), Answer(*BEFORE, CUT), words("fine"))
    for _ in range(3):
        with pytest.raises(openai.APIError):
            await client.chat.completions.create(**ASK)
    assert (await client.chat.completions.create(**ASK)).choices[0].message.content == "fine"
