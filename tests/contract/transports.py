"""Our own transports for `check_transport`: SSE, NDJSON, WebSocket, both HTTP wires over HTTP/2, and gRPC.

Each takes little from its socket before it is asked, so that a reader that does not ask is a slow one.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from tests.contract.grpc_transport import GrpcTransport
from tests.http2_peer import Http2Peer, http2_peer
from tests.serving import Serving, serving

from patinox.config import StreamingConfig
from patinox.formats.framing import EventStreamParser
from patinox.testing.transport import Broken, Reading, Record, Refused, Session, Transport

ACCEPT = {"sse": "text/event-stream", "ndjson": "application/x-ndjson"}


class Parser:
    """Records of the native wire, out of bytes cut anywhere. `position` comes as a record."""

    def __init__(self, wire: str) -> None:
        self._events = EventStreamParser() if wire == "sse" else None
        self._line = b""

    def feed(self, data: bytes) -> list[Record]:
        if self._events is not None:
            found = self._events.feed(data)
            return [Record(event.id or "", event.event, json.loads(event.data)) for event in found if event.data]
        *lines, self._line = (self._line + data).split(b"\n")
        made = [json.loads(line) for line in lines if line.strip()]
        return [Record(line.get("id", ""), line["event"], line["data"]) for line in made]


class BytesReading:
    """A reader of a body of native SSE or NDJSON, whatever carries it."""

    def __init__(self, wire: str) -> None:
        self.outcome = self.position = ""
        self._parser = Parser(wire)
        self._ready: deque[Record] = deque()
        self._told_end = False

    async def begin(self) -> None:
        """Takes what it is told first."""
        first = await self.next()
        assert first is not None
        assert first.event == "position"
        self.outcome, self.position = first.data["outcome"], first.id

    async def next(self) -> Record | None:
        while not self._ready:
            data = await self._read()
            if not data:
                if not (self._told_end or self.outcome == "complete"):
                    raise Broken
                return None
            self._ready.extend(self._parser.feed(data))
        record = self._ready.popleft()
        assert not self._told_end, f"{record} after the end"
        self._told_end = record.event in ("end", "error")
        return _without_id(record) if record.event == "gap" else record

    async def _read(self) -> bytes:
        """More of the body; nothing at its end. Raises `Broken`."""
        raise NotImplementedError

    async def leave(self) -> None:
        raise NotImplementedError


def _without_id(record: Record) -> Record:
    return record._replace(id="")


def where(after: str | None) -> tuple[str, dict[str, str]]:
    """The query and the headers that ask for it."""
    if after is None:
        return "", {}
    return (f"?after={after}", {}) if after in ("now", "snapshot", "start") else ("", {"last-event-id": after})


class HttpReading(BytesReading):
    def __init__(self, wire: str, answer: aiohttp.ClientResponse) -> None:
        super().__init__(wire)
        self._answer = answer

    async def _read(self) -> bytes:
        try:
            return await self._answer.content.readany()
        except aiohttp.ClientError as error:
            raise Broken from error

    async def leave(self) -> None:
        self._answer.close()


class HttpSession:
    def __init__(self, wire: str, server: Serving, http: aiohttp.ClientSession) -> None:
        self.manager = server.manager
        self._server = server
        self._wire = wire
        self._url = f"{server.url}/v1/streams"
        self._http = http

    async def attach(self, stream_id: str, after: str | None = None) -> Reading:
        query, headers = where(after)
        asked = {**headers, "accept": ACCEPT[self._wire]}
        answer = await self._http.get(f"{self._url}/{stream_id}{query}", headers=asked)
        if answer.status >= 400:
            raise Refused((await answer.json())["error"]["code"])
        reading = HttpReading(self._wire, answer)
        if answer.status == 204:
            reading.outcome, reading.position = "complete", answer.headers["patinox-position"]
        else:
            await reading.begin()
        return reading

    async def end(self) -> None:
        await self._server.end()

    async def cancel(self, stream_id: str) -> None:
        async with self._http.post(f"{self._url}/{stream_id}/cancel") as answer:
            assert answer.status == 200


class HttpTransport:
    """HTTP/1.1, a connection for each reader."""

    def __init__(self, wire: str) -> None:
        self._wire = wire

    def serve(self, config: StreamingConfig) -> AbstractAsyncContextManager[Session]:
        return self._serve(config)

    @asynccontextmanager
    async def _serve(self, config: StreamingConfig) -> AsyncIterator[Session]:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector, read_bufsize=4096) as http,
            serving({}, streaming=config) as server,
        ):
            yield HttpSession(self._wire, server, http)


class Http2Reading(BytesReading):
    """One stream of a connection; its window opens by what is asked for."""

    def __init__(self, wire: str, peer: Http2Peer, stream_id: int) -> None:
        super().__init__(wire)
        self._peer = peer
        self._stream_id = stream_id
        self._answer = peer.answers[stream_id]

    async def _read(self) -> bytes:
        answer = self._answer
        await self._peer.until(lambda: answer.body or answer.ended or answer.reset is not None or self._peer.is_closed)
        data, answer.body = answer.body, b""
        if data:
            self._peer.open_window(self._stream_id, len(data))
        elif not answer.ended:
            raise Broken
        return data

    async def leave(self) -> None:
        self._peer.cancel(self._stream_id)


class Http2Session:
    def __init__(self, wire: str, server: Serving, peer: Http2Peer) -> None:
        self.manager = server.manager
        self._server = server
        self._wire = wire
        self._peer = peer

    async def attach(self, stream_id: str, after: str | None = None) -> Reading:
        query, headers = where(after)
        asked = self._peer.ask(
            "GET", f"/v1/streams/{stream_id}{query}", ("accept", ACCEPT[self._wire]), *headers.items()
        )
        answer = self._peer.answers[asked]
        await self._peer.until(lambda: answer.status)
        if answer.status >= 400:
            raise Refused(json.loads((await self._peer.whole(asked)).body)["error"]["code"])
        reading = Http2Reading(self._wire, self._peer, asked)
        if answer.status == 204:
            reading.outcome, reading.position = "complete", answer.headers["patinox-position"]
        else:
            await reading.begin()
        return reading

    async def end(self) -> None:
        await self._server.end()

    async def cancel(self, stream_id: str) -> None:
        assert (await self._peer.fetch("POST", f"/v1/streams/{stream_id}/cancel")).status == 200


class Http2Transport:
    """HTTP/2, one connection for all readers."""

    def __init__(self, wire: str) -> None:
        self._wire = wire

    def serve(self, config: StreamingConfig) -> AbstractAsyncContextManager[Session]:
        return self._serve(config)

    @asynccontextmanager
    async def _serve(self, config: StreamingConfig) -> AsyncIterator[Session]:
        async with (
            serving({}, streaming=config, server__http2_port=0) as server,
            http2_peer(server.http2_url) as peer,
        ):
            peer.takes = lambda stream_id: False  # the readings do
            yield Http2Session(self._wire, server, peer)
            await server.end()


class WebSocketReading:
    """A stream on a socket of its own: one that does not read holds up all that the socket carries."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, said: dict[str, Any]) -> None:
        self.outcome, self.position = said["outcome"], said["position"]
        self._socket = socket
        self._told_end = False

    async def next(self) -> Record | None:
        if self._told_end or self.outcome == "complete":
            return None
        said = await receive(self._socket)
        while said["op"] == "goaway":
            said = await receive(self._socket)
        if said["op"] == "gap":
            return Record("", "gap", {"from": said["from"], "to": said["to"]})
        if said["op"] == "snapshot":
            return Record(said["id"], "snapshot", said["data"])
        if said["op"] == "end":
            self._told_end = True
            failed = said["outcome"] == "failed"
            ending = {name: said[name] for name in ("outcome", "error") if name in said}
            return Record(said["id"], "error", said["error"]) if failed else Record(said["id"], "end", ending)
        assert said["op"] == "chunk", said
        return Record(said["id"], said["event"], said["data"])

    async def leave(self) -> None:
        await self._socket.close()


class WebSocketSession:
    def __init__(self, server: Serving, http: aiohttp.ClientSession) -> None:
        self.manager = server.manager
        self._server = server
        self._url = f"{server.url}/v1/ws"
        self._http = http

    async def attach(self, stream_id: str, after: str | None = None) -> Reading:
        socket = await self._http.ws_connect(self._url, protocols=("patinox.v1",), max_msg_size=0)
        await socket.send_json({"op": "subscribe", "stream": stream_id, **({"after": after} if after else {})})
        said = await receive(socket)
        if said["op"] == "error":
            await socket.close()
            raise Refused(said["code"])
        return WebSocketReading(socket, said)

    async def end(self) -> None:
        await self._server.end()

    async def cancel(self, stream_id: str) -> None:
        async with self._http.ws_connect(self._url, protocols=("patinox.v1",)) as socket:
            await socket.send_json({"op": "cancel", "stream": stream_id})
            assert (await receive(socket))["op"] == "ok"


async def receive(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise Broken(str(message.extra or message.data))
    said: dict[str, Any] = json.loads(message.data)
    return said


class WebSocketTransport:
    """WebSocket, a socket for each reader."""

    def serve(self, config: StreamingConfig) -> AbstractAsyncContextManager[Session]:
        return self._serve(config)

    @asynccontextmanager
    async def _serve(self, config: StreamingConfig) -> AsyncIterator[Session]:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession(read_bufsize=4096))
            # What is under test is the reader; a socket of its own may have as many as it likes.
            whole = msgspec.structs.replace(
                config, websocket=msgspec.structs.replace(config.websocket, compression=False)
            )
            server = await stack.enter_async_context(serving({}, streaming=whole))
            yield WebSocketSession(server, http)


TRANSPORTS: dict[str, Transport] = {
    "sse": HttpTransport("sse"),
    "ndjson": HttpTransport("ndjson"),
    "websocket": WebSocketTransport(),
    "http2-sse": Http2Transport("sse"),
    "http2-ndjson": Http2Transport("ndjson"),
    "grpc": GrpcTransport(),
}
