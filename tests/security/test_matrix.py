"""Who may do what over which transport: one set of rules, and no cell of the table untested.

`ALLOWED` says it once, by hand. Every transport then tries everything that it can do for everybody, and must come to
the same answer: `yes`; `unknown`, which is what a stream that does not exist gets; `forbidden`, for what is done with
no stream; `unauthenticated`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from itertools import count
from typing import Any

import aiohttp
import grpc
import httpx
import pytest
import pytest_asyncio
from tests.serving import ASK, Serving, serving

from patinox.core.keys import StreamKey
from patinox.testing.upstream import ScriptedUpstream, words
from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.generated.streams_pb2_grpc import StreamsStub

USER = ["read", "write", "cancel", "delete", "create", "models"]
KEYS: dict[str, dict[str, Any]] = {
    "owner": {"tenant": "acme", "rights": USER, "channels": ["room"]},
    "reader": {"tenant": "acme", "rights": ["read"], "streams": ["*"], "channels": ["*"]},
    "writer": {"tenant": "acme", "rights": ["read", "write"], "streams": ["its*"], "channels": ["ro*"]},
    "member": {"tenant": "acme", "rights": USER, "channels": ["room"]},
    "stranger": {"tenant": "acme", "rights": USER},
    "nothing": {"tenant": "acme", "rights": [], "streams": ["*"], "channels": ["*"]},
    "admin": {"tenant": "acme", "rights": ["admin"]},
    "other-tenant": {"tenant": "umbrella", "rights": ["admin"], "streams": ["*"], "channels": ["*"]},
}
pytestmark = pytest.mark.asyncio(loop_scope="module")

WHO = (*KEYS, "nobody", "impostor")

ON_A_STREAM = {
    "read": {"owner", "reader", "writer", "member", "admin"},  # a member reads what is in its channel
    "write": {"owner", "writer", "admin"},
    "finish": {"owner", "writer", "admin"},
    "cancel": {"owner", "admin"},
    "delete": {"owner", "admin"},
    # of another tenant's channel of that name nothing is seen: it gets one of its own
    "read channel": {"owner", "reader", "writer", "member", "admin", "other-tenant"},
}
WITHOUT = {
    "create": {"owner", "member", "stranger", "admin", "other-tenant"},
    "ask": {"owner", "member", "stranger", "admin", "other-tenant"},
}
ALLOWED = {**ON_A_STREAM, **WITHOUT}


def key_of(who: str) -> str:
    return f"patinox_{who}"


def expected(who: str, what: str) -> str:
    if who in ("nobody", "impostor"):
        return "unauthenticated"
    if who in ALLOWED[what]:
        return "yes"
    return "forbidden" if what in WITHOUT else "unknown"


def headers_of(who: str) -> dict[str, str]:
    return {} if who == "nobody" else {"authorization": f"Bearer {key_of(who)}"}


def verdict(status: int) -> str:
    said = {401: "unauthenticated", 403: "forbidden", 404: "unknown"}
    return said.get(status, "yes" if status < 400 else str(status))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Serving]:
    """One server for all: each cell of the table gets a stream of its own."""
    settings = {
        f"auth.keys.{who}.{name}": value
        for who, key in KEYS.items()
        for name, value in {"sha256": sha256(key_of(who).encode()).hexdigest(), **key}.items()
    }
    upstream = ScriptedUpstream(*[words("Hello")] * 100)
    async with (
        upstream,
        serving({"fake": upstream.url}, server__http2_port=0, server__grpc_port=0, **settings) as running,
    ):
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def stream(running: Serving) -> str:
    """The id of the owner's stream, in the channel `room`."""
    made = await running.manager.channel("room", "acme").create(id=f"its-{next(_numbers)}", owner="key:owner")
    await made.write("Hello")
    return made.id


_numbers = count()


PATHS = {
    "read": ("GET", "/v1/streams/{stream}"),
    "write": ("POST", "/v1/streams/{stream}/chunks"),
    "finish": ("POST", "/v1/streams/{stream}/finish"),
    "cancel": ("POST", "/v1/streams/{stream}/cancel"),
    "delete": ("DELETE", "/v1/streams/{stream}"),
    "read channel": ("GET", "/v1/channels/room"),
    "create": ("POST", "/v1/streams"),
    "ask": ("POST", "/v1/chat/completions"),
}
ACCEPT = {
    "sse": "text/event-stream", "ndjson": "application/x-ndjson", "text": "text/plain", "snapshot": "application/json",
}  # fmt: skip


def body_of(what: str) -> bytes:
    if what == "write":
        return json.dumps(["more"]).encode()
    return json.dumps(ASK if what == "ask" else {}).encode() if what not in ("read", "read channel") else b""


async def over_http(running: Serving, stream: str, who: str, what: str, accept: str) -> str:
    method, path = PATHS[what][0], PATHS[what][1].format(stream=stream)
    headers = {**headers_of(who), "accept": accept, "content-type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, running.url + path.format(stream=stream), headers=headers, data=body_of(what) or None
        ) as answer,
    ):
        return verdict(answer.status)


async def over_http2(running: Serving, stream: str, who: str, what: str) -> str:
    method, path = PATHS[what][0], PATHS[what][1].format(stream=stream)
    headers = {**headers_of(who), "accept": "text/event-stream", "content-type": "application/json"}
    async with (
        httpx.AsyncClient(http2=True, http1=False, trust_env=False) as client,
        client.stream(
            method, running.http2_url + path.format(stream=stream), headers=headers, content=body_of(what)
        ) as answer,
    ):
        assert answer.http_version == "HTTP/2"
        return verdict(answer.status_code)


OPS: dict[str, dict[str, str]] = {
    "read": {"op": "subscribe", "stream": "{stream}"},
    "write": {"op": "write", "stream": "{stream}", "chunk": "more"},
    "finish": {"op": "finish", "stream": "{stream}"},
    "cancel": {"op": "cancel", "stream": "{stream}"},
    "read channel": {"op": "subscribe", "channel": "room"},
    "create": {"op": "create"},
}
CODES = {"not_found": "unknown", "forbidden": "forbidden"}


async def over_websocket(running: Serving, stream: str, who: str, what: str, *, by_subprotocol: bool = False) -> str:
    headers = {} if by_subprotocol else headers_of(who)
    offered = ["patinox.v1", f"patinox.token.{key_of(who)}"] if by_subprotocol and who != "nobody" else ["patinox.v1"]
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(f"{running.url}/v1/ws", headers=headers, protocols=offered) as socket:
                assert socket.protocol == "patinox.v1"
                op = {key: value.format(stream=stream) for key, value in OPS[what].items()}
                await socket.send_json({**op, "ref": 1})
                answer = await socket.receive_json()
                return CODES[answer["code"]] if answer["op"] == "error" else "yes"
        except aiohttp.WSServerHandshakeError as error:
            return verdict(error.status)


STATUSES = {
    grpc.StatusCode.NOT_FOUND: "unknown",
    grpc.StatusCode.PERMISSION_DENIED: "forbidden",
    grpc.StatusCode.UNAUTHENTICATED: "unauthenticated",
}


async def over_grpc(running: Serving, stream: str, who: str, what: str) -> str:
    metadata = tuple(headers_of(who).items())
    async with grpc.aio.insecure_channel(running.grpc_address) as channel:
        stub: Any = StreamsStub(channel)  # type: ignore[no-untyped-call]
        try:
            if what == "read":
                await stub.Subscribe(pb.SubscribeRequest(stream=stream), metadata=metadata).read()
            elif what == "get":
                await stub.Get(pb.GetRequest(stream=stream), metadata=metadata)
            elif what == "write":
                more = pb.AppendRequest(stream=stream, events=[pb.Event(text=pb.Text(text="more"))])
                await stub.Append(iter([more]), metadata=metadata)
            elif what == "cancel":
                await stub.Cancel(pb.CancelRequest(stream=stream), metadata=metadata)
            else:
                await stub.Create(pb.CreateRequest(), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return STATUSES.get(error.code(), str(error))
        return "yes"


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("what", ALLOWED)
async def test_over_http(running: Serving, stream: str, who: str, what: str) -> None:
    assert await over_http(running, stream, who, what, "text/event-stream") == expected(who, what)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("how", ACCEPT)
async def test_reading_in_every_form(running: Serving, stream: str, who: str, how: str) -> None:
    assert await over_http(running, stream, who, "read", ACCEPT[how]) == expected(who, "read")


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("what", ALLOWED)
async def test_over_http2(running: Serving, stream: str, who: str, what: str) -> None:
    assert await over_http2(running, stream, who, what) == expected(who, what)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("what", OPS)
@pytest.mark.parametrize("by_subprotocol", [False, True])
async def test_over_websocket(running: Serving, stream: str, who: str, what: str, by_subprotocol: bool) -> None:
    assert await over_websocket(running, stream, who, what, by_subprotocol=by_subprotocol) == expected(who, what)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("what", ["read", "get", "write", "cancel", "create"])
async def test_over_grpc(running: Serving, stream: str, who: str, what: str) -> None:
    assert await over_grpc(running, stream, who, what) == expected(who, "read" if what == "get" else what)


@pytest.mark.parametrize("who", WHO)
async def test_attaching_to_an_answer_by_its_id_is_reading_it(running: Serving, stream: str, who: str) -> None:
    await running.manager.held(StreamKey("acme", stream)).finish()  # type: ignore[union-attr]
    wanted = expected(who, "ask")
    if wanted == "yes" and who != "other-tenant":  # for whom this id means nothing, so that a new answer gets it
        wanted = expected(who, "read")
    headers = {**headers_of(who), "patinox-stream-id": stream}
    async with (
        aiohttp.ClientSession() as session,
        session.post(running.calls, headers=headers, json={**ASK, "stream": True}) as answer,
    ):
        assert verdict(answer.status) == wanted


@pytest.mark.parametrize("who", WHO)
async def test_a_list_has_what_its_reader_may_read(running: Serving, stream: str, who: str) -> None:
    address = f"{running.url}/v1/streams?limit=1000"
    async with aiohttp.ClientSession() as session, session.get(address, headers=headers_of(who)) as answer:
        wanted = expected(who, "read")
        assert verdict(answer.status) == ("unauthenticated" if wanted == "unauthenticated" else "yes")
        listed = {told["id"] for told in (await answer.json()).get("streams", ())}
    assert (stream in listed) == (wanted == "yes")
