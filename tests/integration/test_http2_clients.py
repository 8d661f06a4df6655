"""Clients that others wrote, over HTTP/2: curl, nghttp, h2load and httpx stream and resume."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.certificates import SelfSigned, self_signed
from tests.serving import Serving, serving

from patinox.manager import ActiveStream

NDJSON = "application/x-ndjson"
WORDS = ("The sea ", "remembers ", "every ", "ship.")
IN_THE_CLEAR: dict[str, Any] = {"server__http2_port": 0}


def over_tls(made: SelfSigned) -> dict[str, Any]:
    return {**IN_THE_CLEAR, "server__tls_cert": str(made.certificate), "server__tls_key": str(made.key)}


@pytest.fixture
def certificate(tmp_path: Path) -> SelfSigned:
    return self_signed(tmp_path)


@pytest.fixture(params=["clear", "tls"])
async def server(request: pytest.FixtureRequest, certificate: SelfSigned) -> AsyncIterator[Serving]:
    async with serving({}, **(over_tls(certificate) if request.param == "tls" else IN_THE_CLEAR)) as server:
        yield server


@pytest.fixture
async def http(certificate: SelfSigned) -> AsyncIterator[httpx.AsyncClient]:
    trusting = ssl.create_default_context(cafile=str(certificate.certificate))
    async with httpx.AsyncClient(http1=False, http2=True, verify=trusting, timeout=None) as http:
        yield http


async def output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


async def answered(server: Serving) -> str:
    """Makes a stream with an answer in it; returns its URL over HTTP/2."""
    stream = await server.manager.create()
    for word in WORDS:
        await stream.write(word)
    await stream.finish()
    return f"{server.http2_url}/v1/streams/{stream.id}"


async def said_of(stream: ActiveStream, word: str, lines: AsyncIterator[str]) -> Any:
    """Writes a word, and waits for what a reader is sent of it."""
    await stream.write(word)
    return json.loads(await anext(lines))


async def test_curl_streams_and_resumes(server: Serving, certificate: SelfSigned) -> None:
    curl = (
        program("curl"), "--http2-prior-knowledge", "-sSN", "--cacert", str(certificate.certificate),
        "-H", f"Accept: {NDJSON}",
    )  # fmt: skip
    url = await answered(server)
    whole = (await output(*curl, url)).splitlines()
    assert [json.loads(line)["event"] for line in whole] == ["position", *["text"] * len(WORDS), "end"]
    after = json.loads(whole[2])["id"]
    assert (await output(*curl, "-H", f"Last-Event-ID: {after}", url)).splitlines()[1:] == whole[3:]
    assert await output(*curl, "-o", "/dev/null", "-w", "%{http_version}", url) == "2"


async def test_nghttp_reads_a_stream(server: Serving) -> None:
    url = await answered(server)
    said = await output(program("nghttp"), "--no-verify-peer", "-H", f"accept: {NDJSON}", url)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert "".join(line["data"]["text"] for line in lines if line["event"] == "text") == "".join(WORDS)


async def test_h2load_multiplexes_and_nothing_fails(server: Serving) -> None:
    url = await answered(server)
    said = await output(program("h2load"), "-n", "400", "-c", "2", "-m", "100", url)
    assert "400 succeeded, 0 failed, 0 errored" in said


async def test_httpx_streams_while_it_is_written_and_resumes(server: Serving, http: httpx.AsyncClient) -> None:
    stream = await server.manager.create()
    url = f"{server.http2_url}/v1/streams/{stream.id}"
    async with http.stream("GET", url, headers={"accept": NDJSON}) as answer:
        assert answer.http_version == "HTTP/2"
        lines = answer.aiter_lines()
        assert json.loads(await anext(lines))["data"]["outcome"] == "start"
        first, last = [await said_of(stream, word, lines) for word in WORDS[:2]]
    assert [first["data"], last["data"]] == [{"text": word} for word in WORDS[:2]]
    for word in WORDS[2:]:
        await stream.write(word)
    await stream.finish()
    resumed = await http.get(url, headers={"accept": NDJSON, "last-event-id": last["id"]})
    rest = [json.loads(line) for line in resumed.text.splitlines()]
    assert rest[0]["data"]["outcome"] == "resumed"
    assert [line["data"].get("text") for line in rest[1:]] == [*WORDS[2:], None]
    assert rest[-1]["data"] == {"outcome": "complete"}


async def test_httpx_hears_how_its_stream_ended_when_the_server_ends(server: Serving, http: httpx.AsyncClient) -> None:
    stream = await server.manager.create()
    url = f"{server.http2_url}/v1/streams/{stream.id}"
    async with http.stream("GET", url, headers={"accept": NDJSON}) as answer:
        lines = answer.aiter_lines()
        await anext(lines)
        await server.end()
        rest = [json.loads(line) async for line in lines]
    assert rest[-1]["data"]["outcome"] == "interrupted"


async def test_a_client_without_http2_is_served_over_tls(certificate: SelfSigned) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate.certificate))
    async with serving({}, **over_tls(certificate)) as server, httpx.AsyncClient(verify=trusting) as http:
        answer = await http.get(await answered(server), headers={"accept": "text/plain"})
    assert (answer.http_version, answer.text) == ("HTTP/1.1", "".join(WORDS))
