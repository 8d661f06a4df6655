"""A server's life as a process: what signals do to it, what it says to systemd, and what it logs."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.processes import ended, running
from tests.serving import ASK

from patinox.testing.upstream import DONE, Answer, Gate, ScriptedUpstream, role, said, stopped

pytestmark = [pytest.mark.server, pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="POSIX signals")]

MARKER = "marker-51f0"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def line(process: Process, beginning: str) -> str:
    """The next line on stdout that begins so."""
    assert process.stdout is not None
    while text := (await process.stdout.readline()).decode():
        if text.startswith(beginning):
            return text
    raise AssertionError(f"no line begins with {beginning!r}")


async def status(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as answer:
        return answer.status


async def until_status(http: aiohttp.ClientSession, url: str, wanted: int) -> None:
    while await status(http, url) != wanted:
        pass


async def test_told_to_end_it_is_not_ready_at_once_and_open_for_as_long_as_was_said(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    file = tmp_path / "patinox.toml"
    file.write_text('[server]\ndrain_delay = "3s"\n')
    async with running("--config", str(file)) as (process, url):
        assert await status(http, f"{url}/readyz") == 200
        process.send_signal(signal.SIGTERM)
        await until_status(http, f"{url}/readyz", 503)
        assert await status(http, f"{url}/healthz") == 200
        async with http.post(f"{url}/v1/streams", json={"id": "late"}) as created:
            assert created.status == 201
        assert await ended(process, 20) == ""
    assert process.returncode == 0


async def test_ctrl_c_does_not_wait_for_a_load_balancer(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    file = tmp_path / "patinox.toml"
    file.write_text('[server]\ndrain_delay = "10m"\n')
    async with running("--config", str(file)) as (process, _):
        process.send_signal(signal.SIGINT)
        assert await ended(process, 20) == ""
    assert process.returncode == 0


async def test_settings_are_read_again(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    file = tmp_path / "patinox.toml"
    file.write_text("[streaming]\nmax_streams = 1\n")
    async with running("--config", str(file)) as (process, url):
        assert await created(http, url, "a") == 201
        assert await created(http, url, "b") == 503
        file.write_text('[streaming]\nmax_streams = 2\n[server]\nlog_level = "info"\nmetrics = { enabled = false }\n')
        process.send_signal(signal.SIGHUP)
        taken = await line(process, "settings taken over")
        waiting = await line(process, "settings that need a restart")
        assert sorted(taken.partition(": ")[2].strip().split(", ")) == ["server.log_level", "streaming.max_streams"]
        assert waiting == "settings that need a restart: server.metrics.enabled\n"
        assert await created(http, url, "b") == 201
        assert await status(http, f"{url}/metrics") == 200
        file.write_text("[streaming]\nmax_streams = -1\n")
        process.send_signal(signal.SIGHUP)
        assert "max_streams" in await line(process, "the settings stay as they are")
        assert await created(http, url, "c") == 503
        process.send_signal(signal.SIGTERM)
        complaints = await ended(process)
    assert process.returncode == 0
    assert "a stream began (stream=b)" in complaints


async def created(http: aiohttp.ClientSession, url: str, id: str) -> int:
    async with http.post(f"{url}/v1/streams", json={"id": id}) as answer:
        return answer.status


async def test_systemd_hears_ready_reloading_ready_stopping(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)

        async def heard() -> str:
            return (await asyncio.get_running_loop().sock_recv(manager, 4096)).decode().split("\n")[0]

        async with running(NOTIFY_SOCKET=str(tmp_path / "notify")) as (process, _):
            assert await heard() == "READY=1"
            process.send_signal(signal.SIGHUP)
            assert [await heard(), await heard()] == ["RELOADING=1", "READY=1"]
            process.send_signal(signal.SIGTERM)
            assert await heard() == "STOPPING=1"
            await ended(process)


async def test_json_logs_have_stream_and_trace_and_no_token_prompt_or_answer(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    file = tmp_path / "patinox.toml"
    file.write_text('[server]\nlog_level = "debug"\nlog_format = "json"\n')
    asked: Any = {**ASK, "messages": [{"role": "user", "content": MARKER}]}
    trace = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "Authorization": f"Bearer {MARKER}"}
    gate = Gate()
    answers = [
        Answer(role(), said(MARKER), stopped(), DONE),
        Answer(role(), said(MARKER), b"data: {" + MARKER.encode() + b"\n\n"),
        Answer(json.dumps({"error": {"message": MARKER}}).encode(), status=400, content_type="application/json"),
        Answer(role(), said(MARKER), gate),
    ]
    async with (
        ScriptedUpstream(*answers) as upstream,
        running("--config", str(file), "--upstream", f"fake={upstream.url}", PATINOX_FAKE_KEY=MARKER) as (process, url),
    ):
        for number in range(3):
            headers = {**trace, "Patinox-Stream-Id": f"call-{number}"}
            async with http.post(f"{url}/v1/chat/completions", json=asked, headers=headers) as answer:
                await answer.read()
        body = {"metadata": {"prompt": MARKER}, "id": "pushed"}
        async with http.post(f"{url}/v1/streams", json=body):
            pass
        async with http.post(
            f"{url}/v1/streams/pushed/finish",
            json={"outcome": "failed", "error": {"code": f"{MARKER} and more", "message": MARKER}},
        ):
            pass
        async with http.post(f"{url}/v1/streams/pushed/chunks", data=MARKER):
            pass
        running_call = asyncio.ensure_future(http.post(f"{url}/v1/chat/completions", json=asked, headers=trace))
        await gate.reached()
        process.send_signal(signal.SIGTERM)
        complaints = await ended(process)
        running_call.cancel()
        await asyncio.wait([running_call])
    assert MARKER not in complaints
    lines = [json.loads(text) for text in complaints.splitlines()]
    ends = {told["stream"]: told for told in lines if told["message"] == "a stream ended"}
    assert ends["call-0"]["outcome"] == "complete"
    assert ends["call-0"]["trace_id"] == TRACE
    assert ends["pushed"]["outcome"] == "failed"
    assert "interrupted" in [told["outcome"] for told in ends.values()]
