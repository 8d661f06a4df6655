"""Gzip for streams: any decoder reads each event when it is sent, and what is sent was compressed once for all."""

import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.live_server import live
from tests.readers import PushedReader

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.config import SseConfig
from patinox.delivery.gzip import GzipSink
from patinox.formats.framing import EventStreamParser
from patinox.manager import ActiveStream
from patinox.server.connection import StreamingHttpProtocol
from patinox.testing.fakes import AsgiClient, FakeSink, turns

ACCEPTS = {"accept": "text/event-stream", "accept-encoding": "gzip"}


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    config = StreamingConfig(buffer_size=20, drain_timeout_s=0, sse=SseConfig(compression=True))
    async with StreamManager(config) as manager:
        yield manager


@pytest.fixture
async def stream(manager: StreamManager) -> ActiveStream:
    return await manager.create(id="s")


@pytest.fixture
def client(manager: StreamManager) -> AsgiClient:
    return AsgiClient(PatinoxApp(manager))


def kinds(body: bytes) -> list[str]:
    return [event.event for event in EventStreamParser().feed(body)]


class TestDecoding:
    async def test_each_event_can_be_read_when_it_is_sent(self, client: AsgiClient, stream: ActiveStream) -> None:
        decoder, read, taken = zlib.decompressobj(16 + zlib.MAX_WBITS), b"", 0
        async with client.open("GET", "/v1/streams/s", headers=ACCEPTS) as exchange:
            await exchange.until(lambda: exchange.body)
            await turns()
            for number in range(1, 20):
                stream.write_nowait(f"t{number}")
                await turns()
                read += decoder.decompress(exchange.body[taken:])
                taken = len(exchange.body)
                assert read.endswith(b'data: {"text":"t%d"}\n\n' % number)
            await stream.finish()
            await exchange.finished()
            read += decoder.decompress(exchange.body[taken:])
            assert (decoder.eof, decoder.unused_data) == (True, b"")
            assert kinds(read) == ["position", *["text"] * 19, "end"]
            assert gzip.decompress(exchange.body) == read, "which checks length and checksum"

    @pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson", "text/plain"])
    async def test_it_is_the_same_as_without(self, client: AsgiClient, stream: ActiveStream, accept: str) -> None:
        for number in range(50):
            stream.write_nowait(f"t{number} " * 50)
        await stream.finish()
        plain = await client.request("GET", "/v1/streams/s", headers={"accept": accept})
        packed = await client.request("GET", "/v1/streams/s", headers={"accept": accept, "accept-encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
        assert len(packed.body) < len(plain.body) // 4

    @pytest.mark.parametrize("after", [0, 1, 25, 49])
    async def test_resumed_and_late_readers_get_a_right_checksum(
        self, client: AsgiClient, stream: ActiveStream, after: int
    ) -> None:
        for number in range(50):  # most of it from the store: the window has twenty
            stream.write_nowait(f"t{number}")
        headers = {**ACCEPTS, "last-event-id": f"{stream.epoch}-{after}"}
        async with client.open("GET", "/v1/streams/s", headers=headers) as exchange:
            await exchange.until(lambda: exchange.body)
            await turns()
            stream.write_nowait("live")
            await stream.finish()
            await exchange.finished()
            assert kinds(gzip.decompress(exchange.body)) == ["position", *["text"] * (51 - after), "end"]

    async def test_a_snapshot_first(self, client: AsgiClient, stream: ActiveStream) -> None:
        stream.write_nowait("x" * 200_000)
        await stream.finish()
        answer = await client.request("GET", "/v1/streams/s?after=snapshot", headers=ACCEPTS)
        assert kinds(gzip.decompress(answer.body)) == ["position", "snapshot", "end"]

    async def test_a_stream_that_went_wrong_has_no_trailer_in_plain_text(
        self, client: AsgiClient, stream: ActiveStream
    ) -> None:
        headers = {"accept": "text/plain", "accept-encoding": "gzip"}
        async with client.open("GET", "/v1/streams/s", headers=headers) as exchange:
            await exchange.until(lambda: exchange.messages)
            stream.write_nowait("half")
            await stream.cancel()
            await exchange.finished()
            decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
            assert (decoder.decompress(exchange.body), decoder.eof, exchange.is_whole) == (b"half", False, False)

    @pytest.mark.parametrize("http", ["httptools", StreamingHttpProtocol], ids=["httptools", "own"])
    async def test_httpx_reads_event_by_event(self, manager: StreamManager, stream: ActiveStream, http: Any) -> None:
        async with (
            live(PatinoxApp(manager), http=http) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
            client.stream("GET", "/v1/streams/s", headers=ACCEPTS) as answer,
        ):
            assert answer.headers["content-encoding"] == "gzip"
            body = b""
            number = 0
            async for piece in answer.aiter_bytes():
                body += piece
                if number == 0 or f'"t{number}"'.encode() in body:
                    number += 1
                    await (stream.write(f"t{number}") if number <= 10 else _finished(stream))
            assert kinds(body) == ["position", *["text"] * 10, "end"]


async def _finished(stream: ActiveStream) -> None:
    if stream.is_open:
        await stream.finish()


class TestSharing:
    async def test_a_message_is_compressed_once_for_all_readers(
        self, stream: ActiveStream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = 0
        compressobj = zlib.compressobj

        def counted(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            return compressobj(*arguments)

        monkeypatch.setattr(zlib, "compressobj", counted)
        inner = [FakeSink() for _ in range(50)]
        readers = [PushedReader(stream, sink=GzipSink(sink)) for sink in inner]
        await turns()
        for number in range(10):
            stream.write_nowait(f"t{number}")
            await turns()
        await stream.finish()
        await turns()
        assert calls == 11
        assert all(sink.data == inner[0].data for sink in inner)
        assert kinds(gzip.decompress(inner[0].data)) == [*["text"] * 10, "end"]
        for reader in readers:
            await reader.leave()

    async def test_what_is_shared_is_the_same_object(self) -> None:
        inner = [FakeSink(), FakeSink()]
        sinks = [GzipSink(sink) for sink in inner]
        assert sinks[0].kind == sinks[1].kind == "gzip+fake"
        first, second = (sinks[0].pack(data, final=False) for data in (b"one", b"two"))
        for sink in sinks:
            sink.push(first)
            sink.push(second)
        assert inner[0].messages[1] is inner[1].messages[1]

    async def test_heartbeats_and_nothing_at_all_can_be_sent(self) -> None:
        inner = FakeSink()
        sink = GzipSink(inner)
        for data, final in ((b": \n\n", False), (b"", True)):
            sink.push(sink.pack(data, final=final))
        assert gzip.decompress(inner.data) == b": \n\n"
        assert inner.finals == 1
        empty = FakeSink()
        sink = GzipSink(empty)
        sink.push(sink.pack(b"", final=True))
        assert gzip.decompress(empty.data) == b""


@given(messages=st.lists(st.binary(max_size=300), max_size=12), joins_at=st.integers(0, 12))
def test_any_messages_from_any_point_on_are_a_gzip_file(messages: list[bytes], joins_at: int) -> None:
    """Two readers of the same messages, of whom one came later."""

    class Kept:
        kind = "kept"

        def __init__(self) -> None:
            self.data = b""

        def pack(self, data: bytes, *, final: bool) -> bytes:
            return data

        def push(self, message: bytes) -> None:
            self.data += message

    early, late = Kept(), Kept()
    sinks = GzipSink(early), GzipSink(late)
    for number, data in enumerate([*messages, b"end"]):
        message = sinks[0].pack(data, final=number == len(messages))
        sinks[0].push(message)
        if number >= min(joins_at, len(messages)):
            sinks[1].push(message)
    assert gzip.decompress(early.data) == b"".join(messages) + b"end"
    assert gzip.decompress(late.data) == b"".join(messages[joins_at:]) + b"end"


class TestAsking:
    async def test_it_is_off_by_default(self) -> None:
        async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
            stream = await manager.create(id="s")
            await stream.finish()
            answer = await AsgiClient(PatinoxApp(manager)).request("GET", "/v1/streams/s", headers=ACCEPTS)
        assert "content-encoding" not in answer.headers
        assert "vary" not in answer.headers
        assert kinds(answer.body) == ["position", "end"]

    @pytest.mark.parametrize(
        ("asked", "compressed"),
        [
            ("gzip", True),
            ("br, GZIP", True),
            ("gzip;q=0.5, identity", True),
            ("gzip; q=0.001", True),
            ("x-gzip", True),
            ("deflate,gzip ; q=1.0", True),
            ("gzip;q=0", False),
            ("gzip; q=0.000, br", False),
            ("identity", False),
            ("br, deflate", False),
            ("", False),
            (None, False),
        ],
    )
    async def test_accept_encoding_is_honoured(
        self, client: AsgiClient, stream: ActiveStream, asked: str | None, compressed: bool
    ) -> None:
        await stream.finish()
        headers = {"accept": "text/event-stream"} | ({} if asked is None else {"accept-encoding": asked})
        answer = await client.request("GET", "/v1/streams/s", headers=headers)
        assert ("content-encoding" in answer.headers) is compressed
        assert answer.headers["vary"] == "accept-encoding", "whatever it was: a cache must know"
