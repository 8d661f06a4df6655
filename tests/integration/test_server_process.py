"""`patinox serve` as a process: what it prints, what it exits with, and how it ends."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from tests.processes import ADDRESS, ended, running, start
from tests.serving import ASK

from patinox.testing.upstream import Answer, Gate, ScriptedUpstream, role, said

pytestmark = pytest.mark.server

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])


async def test_it_prints_its_address_and_answers_there(upstream: ScriptedUpstream, http: aiohttp.ClientSession) -> None:
    async with running("--upstream", f"fake={upstream.url}") as (_, url):
        for path in ("/healthz", "/readyz", "/", "/v1/streams"):
            async with http.get(url + path) as answer:
                assert answer.status == 200
        async with http.get(f"{url}/nosuch") as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (404, "no_such_path")


async def test_a_taken_port_is_a_sentence_and_exit_3() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await start("--port", str(port), "--no-local-model")
        complaints = await ended(process, 30)
    assert process.returncode == 3
    assert (
        complaints
        == f"patinox: cannot listen on 127.0.0.1:{port}: Address already in use. Choose another with --port.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said_of_it"),
    [
        (("--host", "192.0.2.1", "--insecure", "--no-local-model"), "cannot listen on 192.0.2.1"),
        (("--host", "0.0.0.0", "--no-local-model"), "lets other machines in, and nobody would be asked"),
        (("--store", "nosuch://x", "--no-local-model"), "nosuch://x"),
    ],
)
async def test_what_it_cannot_start_with_is_exit_3(arguments: tuple[str, ...], said_of_it: str) -> None:
    process = await start("--port", "0", *arguments)
    complaints = await ended(process, 30)
    assert process.returncode == 3
    assert said_of_it in complaints
    assert "Traceback" not in complaints


async def test_settings_that_are_wrong_are_exit_2(tmp_path: Path) -> None:
    file = tmp_path / "patinox.toml"
    file.write_text('[streaming]\nbuffer_sise = 5\nttl = "soon"\n')
    process = await start("--config", str(file))
    complaints = await ended(process, 30)
    assert process.returncode == 2
    assert "buffer_sise" in complaints
    assert "ttl" in complaints
    assert "Traceback" not in complaints


async def first_event(reader: aiohttp.StreamReader) -> bytes:
    return await reader.readuntil(b"\n\n")


async def rest(answer: aiohttp.ClientResponse) -> list[tuple[str, dict[str, object]]]:
    """The events up to the end of the body, which has to be a proper one."""
    events = []
    for block in (await answer.read()).decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "data" in fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events


@SIGNALS
async def test_a_signal_ends_50_open_streams_and_tells_each_viewer(number: signal.Signals) -> None:
    silent = Answer(role(), said("Hel"), Gate())
    async with (
        ScriptedUpstream(silent) as upstream,
        running("--upstream", f"fake={upstream.url}") as (process, url),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):

        async def view(viewer: int) -> aiohttp.ClientResponse:
            named = {"Patinox-Stream-Id": f"stream-{viewer}"}
            async with http.post(f"{url}/v1/chat/completions?detached=true", json=ASK, headers=named) as asked:
                assert asked.status == 202
            answer = await http.get(f"{url}/v1/streams/stream-{viewer}")
            await answer.content.readuntil(b"Hel")
            return answer

        answers = await asyncio.gather(*(view(viewer) for viewer in range(50)))
        process.send_signal(number)
        told = [await rest(answer) for answer in answers]
        complaints = await ended(process)
        await asyncio.gather(*(asked.hung_up.wait() for asked in upstream.asked))
    assert process.returncode == 0
    assert complaints == ""
    assert len(upstream.asked) == 50
    for events in told:
        event, data = events[-1]
        assert (event, data["outcome"]) == ("end", "interrupted")


@SIGNALS
async def test_a_signal_ends_calls_that_have_no_token_yet(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, number: signal.Signals
) -> None:
    gate = Gate()
    upstream.script(Answer(gate))
    async with running("--upstream", f"fake={upstream.url}") as (process, url):
        call = asyncio.ensure_future(http.post(f"{url}/v1/chat/completions", json={**ASK, "stream": True}))
        await gate.reached()
        process.send_signal(number)
        async with await call as answer:
            assert answer.status == 503
            assert (await answer.json())["error"]["code"] == "interrupted"
        assert await ended(process) == ""
    assert process.returncode == 0


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/plain"])
async def test_a_signal_ends_producers_in_the_middle_of_a_body(http: aiohttp.ClientSession, kind: str) -> None:
    async with running("--no-local-model") as (process, url):
        async with http.post(f"{url}/v1/streams", json={"id": "s"}) as made:
            assert made.status == 201
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        head = f"POST /v1/streams/s/chunks HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 99\r\n\r\n"
        writer.write(head.encode() + b'"a"\n')
        async with http.post(f"{url}/v1/streams/s/chunks", data=b"b", headers={"Content-Type": "text/plain"}) as other:
            assert other.status == 200
        process.send_signal(signal.SIGINT)
        await reader.read()
        writer.close()
        assert await ended(process) == ""
    assert process.returncode == 0


@asynccontextmanager
async def stalled(http: aiohttp.ClientSession, url: str) -> AsyncIterator[None]:
    """A reader with more to take than any buffer holds, which takes nothing: a shutdown has something to wait for."""
    async with http.post(f"{url}/v1/streams", json={"id": "big"}):
        pass
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        reader.sendall(b"GET /v1/streams/big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert reader.recv(12) == b"HTTP/1.1 200"
        text = {"Content-Type": "text/plain"}
        for _ in range(12):
            async with http.post(f"{url}/v1/streams/big/chunks", data=b"x" * 900_000, headers=text) as appended:
                assert appended.status == 200
        yield


async def test_a_reader_that_takes_nothing_is_waited_for_no_longer_than_was_said(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    file = tmp_path / "patinox.toml"
    file.write_text('[streaming]\ndrain_timeout = "200ms"\nbackpressure = { stall = "10ms" }\n')
    async with running("--config", str(file)) as (process, url), stalled(http, url):
        process.send_signal(signal.SIGINT)
        assert await ended(process) == ""
    assert process.returncode == 0


async def test_a_second_signal_leaves_at_once(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    file = tmp_path / "patinox.toml"
    file.write_text('[streaming]\ndrain_timeout = "10m"\nbackpressure = { stall = "10ms" }\n')
    async with running("--config", str(file)) as (process, url), stalled(http, url):
        process.send_signal(signal.SIGINT)
        await refusing(http, url)
        process.send_signal(signal.SIGINT)
        assert await ended(process) == ""
    assert process.returncode == 1


async def refusing(http: aiohttp.ClientSession, url: str) -> None:
    """Waits until the server takes no more connections: the first signal has arrived."""
    while True:
        try:
            async with http.get(f"{url}/healthz"):
                pass
        except aiohttp.ClientConnectionError:
            return


async def test_http2_has_an_address_and_ends_with_the_server(tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("needs curl")
    async with running("--http2-port", "0") as (process, _):
        assert process.stdout is not None
        found = ADDRESS.search((await process.stdout.readline()).decode())
        assert found is not None
        url = f"{found.group()}/v1/streams"
        command = (curl, "--http2-prior-knowledge", "-sSN")
        made = await asyncio.create_subprocess_exec(*command, url, "-d", '{"id": "a"}', stdout=PIPE)
        await made.communicate()
        reader = await asyncio.create_subprocess_exec(*command, f"{url}/a", stdout=PIPE, stderr=PIPE)
        assert reader.stdout is not None
        await reader.stdout.readuntil(b"event: position")
        process.send_signal(signal.SIGTERM)
        told, complaints = await reader.communicate()
        assert await ended(process) == ""
    assert (process.returncode, reader.returncode, complaints) == (0, 0, b"")
    assert b'"outcome":"interrupted"' in told


async def test_a_taken_http2_port_is_a_sentence_and_exit_3() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await start("--port", "0", "--http2-port", str(port), "--no-local-model")
        complaints = await ended(process, 30)
    assert process.returncode == 3
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use. Choose another with --http2-port" in complaints


@pytest.mark.parametrize(
    ("certificate", "said_of_it"), [("", "No such file"), ("nonsense", "cannot use the certificate")]
)
async def test_a_certificate_that_is_none_is_a_sentence_and_exit_3(
    tmp_path: Path, certificate: str, said_of_it: str
) -> None:
    file = tmp_path / "cert.pem"
    if certificate:
        file.write_text(certificate)
    process = await start("--http2-port", "0", "--tls-cert", str(file), "--tls-key", str(file), "--no-local-model")
    complaints = await ended(process, 30)
    assert process.returncode == 3
    assert said_of_it in complaints
    assert "Traceback" not in complaints
