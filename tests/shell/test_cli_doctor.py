"""`patinox doctor`: what it concludes, and what it measures before a real server with and without a bad proxy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner
from tests.serving import serving

from patinox.cli.doctor_findings import Finding, Measured, Reading, judge
from patinox.cli.doctor_probe import Plan, measure
from patinox.cli.main import main
from patinox.config import SseConfig, StreamingConfig

CHUNKS = 6
SENT_S = tuple(0.3 * n for n in range(CHUNKS))
STEADY = {n: at_s + 0.02 for n, at_s in enumerate(SENT_S)}
AT_THE_END = dict.fromkeys(range(CHUNKS), SENT_S[-1] + 0.1)
HEADERS = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
GZIP = {**HEADERS, "content-encoding": "gzip"}
FINE = Reading(headers=HEADERS, numbers=tuple(range(CHUNKS)), arrived_s=STEADY, outcome="start")
HEALTHY = Measured(
    ready="", answered_by="", http_version=(1, 1), sent_s=SENT_S, answered_s=tuple(at_s + 0.01 for at_s in SENT_S),
    plain=FINE, packed=FINE, resumed=msgspec.structs.replace(FINE, outcome="resumed"),
)  # fmt: skip


def reading(**changes: Any) -> Reading:
    return msgspec.structs.replace(FINE, **changes)


def judged(what: str, **changes: Any) -> Finding:
    """The one finding about `what`, for a healthy path with these changes."""
    [finding] = (each for each in judge(msgspec.structs.replace(HEALTHY, **changes)) if each.what == what)
    return finding


def test_a_healthy_path_needs_no_change() -> None:
    assert {finding.what: finding.verdict for finding in judge(HEALTHY)} == {
        "reach": "ok", "http": "ok", "first chunk": "ok", "buffering": "ok", "heartbeat": "skipped",
        "compression": "ok", "resume": "ok", "headers": "ok",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("what", "changes", "advice"),
    [
        ("reach", {"ready": "answered 503"}, "become ready"),
        ("http", {"http_version": (1, 0)}, "proxy_http_version 1.1"),
        ("first chunk", {"plain": reading(arrived_s={n: at_s + 0.4 for n, at_s in STEADY.items()})}, "tcp_nodelay"),
        (
            "first chunk",
            {"plain": reading(arrived_s={n: at_s + 0.2 * (n > 0) for n, at_s in STEADY.items()})},
            "no-delay",
        ),
        ("first chunk", {"plain": reading(arrived_s=AT_THE_END)}, "see buffering"),
        ("first chunk", {"plain": reading(arrived_s={}, broke="timed out")}, "(timed out)"),
        ("buffering", {"plain": reading(arrived_s=AT_THE_END)}, "proxy_buffering off"),
        ("buffering", {"plain": reading(arrived_s={0: 0.1}, broke="the connection broke")}, "(the connection broke)"),
        ("heartbeat", {"quiet_s": 5.0}, "--quiet"),
        ("heartbeat", {"quiet_s": 90.0, "plain": reading(broke="the connection broke")}, "proxy_read_timeout"),
        ("compression", {"packed": reading(headers=GZIP, arrived_s=AT_THE_END)}, "gzip_types"),
        ("compression", {"packed": reading(headers=GZIP, arrived_s={})}, "gzip_types"),
        ("compression", {"plain": reading(headers=GZIP)}, "Accept-Encoding"),
        ("resume", {"resumed": reading(numbers=(0, 1, 2, 0, 1, 2, 3, 4, 5), outcome="start")}, "Last-Event-ID"),
        ("resume", {"resumed": reading(numbers=(0, 1, 2, 4, 5), outcome="gap")}, "`gap`"),
        ("headers", {"plain": reading(headers={"cache-control": "no-cache"})}, "Cache-Control"),
        ("delete", {"undeleted": "405 Method Not Allowed"}, "DELETE"),
    ],
)
def test_each_trouble_comes_with_what_to_change(what: str, changes: dict[str, Any], advice: str) -> None:
    finding = judged(what, **changes)
    assert (finding.verdict, advice in finding.change) == ("change", True)


def test_a_slow_path_is_no_buffer() -> None:
    assert judged("buffering", plain=reading(arrived_s={n: at_s + 2.0 for n, at_s in STEADY.items()})).verdict == "ok"


def test_chunks_that_come_two_by_two_are_buffered() -> None:
    pairs = {n: SENT_S[n | 1] + 0.02 for n in range(CHUNKS)}
    assert judged("buffering", plain=reading(arrived_s=pairs)).verdict == "change"


def test_one_hiccup_is_no_buffer() -> None:
    hiccup = {**STEADY, 2: STEADY[3]}
    assert judged("buffering", plain=reading(arrived_s=hiccup)).verdict == "ok"


def test_compression_that_is_flushed_is_fine() -> None:
    assert judged("compression", packed=reading(headers=GZIP)).verdict == "ok"


def test_nginx_may_take_its_own_header() -> None:
    finding = judged("headers", plain=reading(headers={"cache-control": "no-transform"}))
    assert (finding.verdict, "as nginx does" in finding.seen) == ("ok", True)


def test_a_heartbeat_that_came_is_told() -> None:
    assert judged("heartbeat", quiet_s=35.0, heartbeat_s=30.04).seen == "one came after 30.0 s of silence"


# --- measured

PLAN = Plan(chunks=4, spacing_s=0.05, head_s=0.05)


async def test_everything_arrives_once_from_a_server_itself() -> None:
    async with serving({}) as served:
        measured = await measure(served.url, PLAN)
        assert list(served.manager) == []
    whole = tuple(range(PLAN.chunks))
    readings = (measured.plain, measured.packed, measured.resumed)
    assert [each.numbers for each in readings] == [whole, whole, whole]
    assert [each.outcome for each in readings] == ["start", "start", "resumed"]
    assert (measured.ready, measured.undeleted, measured.http_version) == ("", "", (1, 1))
    assert judged("headers", plain=measured.plain).seen == "Cache-Control: no-transform came through"


async def test_a_heartbeat_is_heard() -> None:
    streaming = StreamingConfig(sse=SseConfig(heartbeat_interval_s=0.02))
    async with serving({}, streaming=streaming) as served:
        measured = await measure(served.url, msgspec.structs.replace(PLAN, quiet_s=30.0))
    assert measured.heartbeat_s is not None


async def test_compression_by_the_server_itself_is_seen() -> None:
    async with serving({}, streaming=StreamingConfig(sse=SseConfig(compression=True))) as served:
        measured = await measure(served.url, PLAN)
    encodings = [each.headers.get("content-encoding") for each in (measured.plain, measured.packed)]
    assert encodings == [None, "gzip"]
    assert measured.packed.numbers == tuple(range(PLAN.chunks))


@asynccontextmanager
async def collecting(target: str) -> AsyncIterator[str]:
    """A proxy that passes an answer on when it has all of it; gives its URL."""

    async def whole(request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
        call = session.request(request.method, target + request.path, headers=headers, data=await request.read())
        async with call as answer:
            kept = {name: answer.headers[name] for name in ("Content-Type", "Cache-Control") if name in answer.headers}
            return web.Response(body=await answer.read(), status=answer.status, headers=kept)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", whole)
    runner = web.AppRunner(app)
    async with aiohttp.ClientSession() as session:
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def test_a_proxy_that_collects_is_found_out() -> None:
    async with serving({}) as served, collecting(served.url) as url:
        result = await asyncio.to_thread(
            CliRunner().invoke, main, ["doctor", url, "--chunks", "4", "--spacing", "0.1"], prog_name="patinox"
        )
    lines = {line.split(":")[0]: line for line in result.stdout.splitlines()}
    assert result.exit_code == 1
    assert "proxy_buffering off" in lines["change  buffering"]
    assert "nothing doubled" in lines["ok      resume"]


# --- the command


def test_where_nobody_listens_it_says_so(unused_tcp_port: int) -> None:
    result = CliRunner().invoke(main, ["doctor", f"http://127.0.0.1:{unused_tcp_port}"])
    assert (result.exit_code, "cannot connect" in result.stderr) == (1, True)


def test_what_is_no_url_is_wrong_input() -> None:
    result = CliRunner().invoke(main, ["doctor", "nonsense"])
    assert (result.exit_code, "is not a server's URL" in result.stderr) == (2, True)
