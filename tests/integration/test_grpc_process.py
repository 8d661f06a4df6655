"""gRPC of `patinox serve` as a process, and its readers beside those of the other transports."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from tests.certificates import self_signed
from tests.grpc_peer import events, kinds, text
from tests.processes import ended, running, start
from tests.serving import Serving, serving

from patinox.transports.grpc.generated import streams_pb2 as pb
from patinox.transports.grpc.generated.streams_pb2_grpc import StreamsStub

ADDRESS = re.compile(r"gRPC +(127\.0\.0\.1:\d+) \((.*)\)")


def stub_of(channel: grpc.aio.Channel) -> Any:
    return StreamsStub(channel)  # type: ignore[no-untyped-call]


async def printed(process: asyncio.subprocess.Process) -> tuple[str, str]:
    """Where gRPC is, and how, as the server said it."""
    assert process.stdout is not None
    found = ADDRESS.search((await process.stdout.readline()).decode())
    assert found is not None
    return found[1], found[2]


# --- the process


@pytest.mark.server
async def test_the_server_prints_where_grpc_is_and_its_readers_are_told_of_its_end() -> None:
    async with running("--grpc-port", "0") as (process, _):
        address, how = await printed(process)
        assert how == "in the clear"
        async with grpc.aio.insecure_channel(address) as channel:
            stub = stub_of(channel)
            stream = (await stub.Create(pb.CreateRequest())).stream.id
            call = events(stub.Subscribe(pb.SubscribeRequest(stream=stream)))
            await stub.Append(iter([pb.AppendRequest(stream=stream, events=[text("Hello")])]))
            assert [(await anext(call)).WhichOneof("data") for _ in range(2)] == ["position", "text"]
            process.send_signal(signal.SIGTERM)
            rest = [event async for event in call]
            assert kinds(rest) == ["goaway", "end"]
            assert rest[-1].end.outcome == pb.OUTCOME_INTERRUPTED
        assert await ended(process) == ""
        assert process.returncode == 0


@pytest.mark.server
async def test_it_speaks_tls_with_the_servers_certificate(tmp_path: Path) -> None:
    files = self_signed(tmp_path)
    arguments = ("--grpc-port", "0", "--tls-cert", str(files.certificate), "--tls-key", str(files.key))
    async with running(*arguments) as (process, _):
        address, how = await printed(process)
        assert how == "TLS"
        trusting = grpc.ssl_channel_credentials(files.certificate.read_bytes())
        async with grpc.aio.secure_channel(address, trusting) as channel:
            stub = stub_of(channel)
            stream = (await stub.Create(pb.CreateRequest())).stream
            assert (await stub.Get(pb.GetRequest(stream=stream.id))).stream == stream
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub_of(channel).Get(pb.GetRequest(stream=stream.id))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.server
async def test_a_taken_port_is_a_sentence_and_exit_3() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await start("--port", "0", "--no-local-model", "--grpc-port", str(port))
        complaints = await ended(process, 30)
    assert process.returncode == 3
    assert complaints == (
        f"patinox: cannot listen on 127.0.0.1:{port}: Address already in use. Choose another with --grpc-port.\n"
    )


# --- beside the other transports


@pytest.fixture
async def server() -> AsyncIterator[Serving]:
    async with serving({}, server__grpc_port=0) as server:
        yield server


async def test_a_stream_goes_from_transport_to_transport(server: Serving) -> None:
    """Made over gRPC, read over SSE, written over HTTP, resumed over WebSocket, and again over gRPC: one stream."""
    async with grpc.aio.insecure_channel(server.grpc_address) as channel, aiohttp.ClientSession(server.url) as http:
        stub = stub_of(channel)
        await stub.Create(pb.CreateRequest(id="s"))
        await stub.Append(iter([pb.AppendRequest(stream="s", events=[text("one "), text("two ")])]))
        epoch = server.manager.get("s").epoch

        async with http.get("/v1/streams/s", headers={"last-event-id": f"{epoch}-1"}) as sse:
            lines = [await sse.content.readuntil(b"\n\n") for _ in range(3)]
        assert b"event: position" in lines[1]
        assert f"id: {epoch}-2".encode() in lines[2]

        body = '{"event":"text","data":{"text":"three "}}\n{"event":"json","data":{"big":18014398509481985}}\n'
        ndjson = {"content-type": "application/x-ndjson"}
        async with http.post("/v1/streams/s/chunks?final=true", data=body, headers=ndjson) as written:
            assert (await written.json())["accepted"] == 2

        async with http.ws_connect("/v1/ws", protocols=("patinox.v1",)) as socket:
            await socket.send_json({"op": "subscribe", "stream": "s", "after": f"{epoch}-2"})
            ops = [json.loads((await socket.receive()).data) for _ in range(4)]
        assert [op.get("id") for op in ops[1:]] == [f"{epoch}-3", f"{epoch}-4", f"{epoch}-5"]

        call = events(stub.Subscribe(pb.SubscribeRequest(stream="s", after=ops[1]["id"])))
        rest = [event async for event in call]
        assert kinds(rest) == ["position", "json", "end"]
        assert json.loads(rest[1].json.value.exact) == {"big": 18014398509481985}


async def test_a_cancel_over_grpc_ends_a_stream_for_all(server: Serving) -> None:
    async with grpc.aio.insecure_channel(server.grpc_address) as channel, aiohttp.ClientSession(server.url) as http:
        await server.manager.create(id="s")
        async with http.get("/v1/streams/s") as sse:
            await stub_of(channel).Cancel(pb.CancelRequest(stream="s", reason="enough"))
            assert b'"outcome":"cancelled"' in await sse.read()
