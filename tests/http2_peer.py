"""An HTTP/2 client that does as it is told: leaves windows closed, resets, breaks the rules. Over h2."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.errors import ErrorCodes
from h2.settings import SettingCodes


class Answer:
    """What has come on one stream."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        self.reset: int | None = None


class Http2Peer:
    """One connection. `takes` says which streams' windows are opened again; the others stall when theirs is full."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self.answers: dict[int, Answer] = {}
        self.goaways: list[h2.events.ConnectionTerminated] = []
        self.is_closed = False
        self.takes: Callable[[int], bool] = lambda stream_id: True
        self._reader = reader
        self._writer = writer
        self._changed = asyncio.Event()

    # ── doing ──

    def ask(
        self, method: str, path: str, *headers: tuple[str, str], body: bytes | None = None, ends: bool = True
    ) -> int:
        """Sends a request; without `ends` its body may go on."""
        stream_id = self.connection.get_next_available_stream_id()
        self.answers[stream_id] = Answer()
        pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "127.0.0.1")]
        self.connection.send_headers(stream_id, [*pseudo, *headers], end_stream=ends and body is None)
        if body is not None:
            self.connection.send_data(stream_id, body, end_stream=ends)
        self.flush()
        return stream_id

    def cancel(self, stream_id: int) -> None:
        self.connection.reset_stream(stream_id, ErrorCodes.CANCEL)
        self.flush()

    def open_window(self, stream_id: int, size_bytes: int) -> None:
        """Lets the server send so much more on this stream."""
        with suppress(h2.exceptions.ProtocolError, KeyError):  # it has ended
            self.connection.increment_flow_control_window(size_bytes, stream_id)
        self.flush()

    def raw(self, data: bytes) -> None:
        """Sends bytes that h2 would not."""
        self.flush()
        self._writer.write(data)

    def flush(self) -> None:
        self._writer.write(self.connection.data_to_send())

    # ── waiting ──

    async def until(self, happened: Callable[[], Any]) -> None:
        while not happened():
            self._changed.clear()
            await self._changed.wait()

    async def whole(self, stream_id: int) -> Answer:
        """The answer, when it has ended one way or the other."""
        answer = self.answers[stream_id]
        await self.until(lambda: answer.ended or answer.reset is not None or self.is_closed)
        return answer

    async def fetch(self, method: str, path: str, *headers: tuple[str, str], body: bytes | None = None) -> Answer:
        return await self.whole(self.ask(method, path, *headers, body=body))

    async def got(self, stream_id: int, data: bytes) -> None:
        """Waits until these bytes have come on this stream."""
        await self.until(lambda: data in self.answers[stream_id].body)

    async def read_forever(self) -> None:
        with suppress(ConnectionError):
            while data := await self._reader.read(65536):
                with suppress(h2.exceptions.ProtocolError):  # after GOAWAY, h2 takes nothing more
                    for event in self.connection.receive_data(data):
                        self._take(event)
                    self.flush()
                self._changed.set()
        self.is_closed = True
        self._changed.set()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append(event)
            return
        answer = self.answers.get(getattr(event, "stream_id", 0) or 0)
        if answer is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            answer.headers = {str(name): str(value) for name, value in event.headers}
            answer.status = int(answer.headers[":status"])
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            with suppress(h2.exceptions.ProtocolError):  # the stream, or the connection, has ended meanwhile
                if self.takes(event.stream_id):
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif event.flow_controlled_length:  # the connection's window only: siblings are to be served
                    self.connection.increment_flow_control_window(event.flow_controlled_length)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code)


@asynccontextmanager
async def http2_peer(
    url: str, *, tls: ssl.SSLContext | None = None, window_bytes: int = 65_535
) -> AsyncIterator[Http2Peer]:
    """Connects to `http://host:port` or `https://…`; `window_bytes` is what each stream begins with."""
    host, _, port = url.partition("://")[2].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    peer = Http2Peer(reader, writer)
    peer.connection.initiate_connection()
    if window_bytes != 65_535:
        peer.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window_bytes})
    peer.flush()
    reading = asyncio.create_task(peer.read_forever())
    try:
        await peer.until(lambda: peer.connection.remote_settings.max_concurrent_streams < 2**31 or peer.is_closed)
        yield peer
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
