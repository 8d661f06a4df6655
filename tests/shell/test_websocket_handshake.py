"""Who may open a socket, and what the others are told."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from fastapi import FastAPI, WebSocket
from starlette.routing import WebSocketRoute
from tests.sockets import AsgiSocket

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp, WebSocketHandler, websocket_endpoint
from patinox.config import SseConfig, WebSocketConfig
from patinox.testing.fakes import AsgiClient

REMOTE = ("203.0.113.7", 80)


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    config = StreamingConfig(
        drain_timeout_s=0, sse=SseConfig(max_connections=1),
        websocket=WebSocketConfig(allowed_origins=("https://listed.example",)),
    )  # fmt: skip
    async with StreamManager(config) as manager:
        yield manager


def headers(host: str = "", origin: str = "") -> dict[str, str]:
    return {"host": host, "origin": origin}


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8787", ""),
        ("localhost:8787", "http://localhost:8787"),
        ("LOCALHOST", "http://localhost"),
        ("127.0.0.1:8787", "http://127.0.0.1:8787"),
        ("[::1]:8787", "http://[::1]:8787"),
        ("app.localhost", "https://app.localhost"),
        ("127.0.0.1", "https://listed.example"),
        ("", ""),
    ],
)
async def test_these_are_let_in_on_a_loopback_address(manager: StreamManager, host: str, origin: str) -> None:
    async with AsgiSocket(PatinoxApp(manager), headers=headers(host, origin)) as socket:
        assert socket.is_accepted


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8787", "http://localhost:9999"),
        ("localhost", "https://evil.example"),
        ("localhost", "null"),
        ("localhost", "file://"),
        ("localhost", "https://listed.example:444"),
        ("localhost", "https://listed.example/path"),
        ("localhost", "https://localhost@evil.example"),
        ("evil.example", "http://evil.example"),
        ("evil.example", ""),
        ("local host", ""),
        ("localhost:99999", ""),
        ("localhost", "http://[::1"),
    ],
)
async def test_these_are_refused_with_a_403_that_says_why(manager: StreamManager, host: str, origin: str) -> None:
    async with AsgiSocket(PatinoxApp(manager), headers=headers(host, origin)) as socket:
        await socket.finished()
        assert socket.status == 403
        assert msgspec.json.decode(socket.messages[1]["body"])["error"]["code"] == "forbidden"
    assert manager.admission.connections == 0


async def test_behind_tls_the_page_has_the_port_that_the_host_leaves_out(manager: StreamManager) -> None:
    named = headers("chat.example", "https://chat.example")
    async with AsgiSocket(PatinoxApp(manager), headers=named, server=REMOTE) as socket:
        assert socket.is_accepted


async def test_listed_hosts_are_the_only_ones(manager: StreamManager) -> None:
    app = websocket_endpoint(manager, allowed_hosts=["chat.example"])
    async with AsgiSocket(app, headers=headers("chat.example:443"), server=REMOTE) as socket:
        assert socket.is_accepted
    async with AsgiSocket(app, headers=headers("other.example"), server=REMOTE) as socket:
        assert socket.status == 403


async def test_any_origin_may_be_let_in(manager: StreamManager) -> None:
    app = websocket_endpoint(manager, allowed_origins=["*"])
    async with AsgiSocket(app, headers=headers("localhost", "https://anywhere.example")) as socket:
        assert socket.is_accepted


async def test_without_the_extension_a_refusal_closes_before_accepting(manager: StreamManager) -> None:
    async with AsgiSocket(PatinoxApp(manager), headers=headers("localhost", "null"), denial=False) as socket:
        await socket.finished()
        assert [message["type"] for message in socket.messages] == ["websocket.close"]


async def test_an_unknown_subprotocol_is_refused(manager: StreamManager) -> None:
    async with AsgiSocket(PatinoxApp(manager), subprotocols=("graphql-ws",)) as socket:
        assert socket.status == 400


async def test_a_socket_takes_one_connection_however_much_it_reads(manager: StreamManager) -> None:
    app = PatinoxApp(manager)
    for number in range(2):
        await manager.create(id=f"s{number}")
    async with AsgiSocket(app) as socket:
        for number in range(2):
            assert (await socket.ask("subscribe", stream=f"s{number}"))["op"] == "subscribed"
        async with AsgiSocket(app) as other:
            assert other.status == 503
            assert dict(other.messages[0]["headers"])[b"retry-after"] == b"5"
    async with AsgiSocket(app) as socket:
        assert socket.is_accepted


async def test_a_plain_request_is_told_to_upgrade(manager: StreamManager) -> None:
    answer = await AsgiClient(PatinoxApp(manager)).request("GET", "/v1/ws")
    assert answer.status == 426
    assert answer.headers["upgrade"] == "websocket"


async def test_a_client_that_leaves_before_it_is_let_in_leaves_nothing(manager: StreamManager) -> None:
    socket = AsgiSocket(PatinoxApp(manager))
    socket.leave()
    socket._task = None
    await PatinoxApp(manager)(socket.scope, socket._receive, socket._send)
    assert manager.admission.connections == 0


async def test_it_is_routed_to_in_fastapi(manager: StreamManager) -> None:
    app = FastAPI()
    app.router.routes.append(WebSocketRoute("/live", websocket_endpoint(manager)))
    async with AsgiSocket(app, "/live") as socket:
        assert (await socket.ask("ping"))["op"] == "ok"


async def test_an_endpoint_hands_its_websocket_over_under_a_name_of_its_own(manager: StreamManager) -> None:
    app, hub = FastAPI(), WebSocketHandler(manager)

    @app.websocket("/live/{user}")
    async def live(websocket: WebSocket, user: str) -> None:
        await hub.handle_connection(websocket, connection_id=user)

    async with AsgiSocket(app, "/live/ada") as socket:
        await socket.ask("ping")
        async with AsgiSocket(app, "/live/ada") as twin:
            assert twin.status == 400
        stream = await hub.stream_response("ada", iter(["Hel", "lo"]))
        await socket.told(lambda said: said["op"] == "end")
        assert [data["text"] for data in socket.data(stream.id)] == ["Hel", "lo"]
    assert hub.connections == {}
