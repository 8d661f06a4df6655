"""`/metrics` of a running server, read as Prometheus reads it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from tests.serving import ASK, serving

from patinox import StreamManager
from patinox.manager import ActiveStream
from patinox.server.loop_delay import LoopDelay
from patinox.server.metrics.endpoint import Metrics
from patinox.testing.fakes import ManualClock, turns
from patinox.testing.upstream import ScriptedUpstream
from patinox.transports.websocket.hub import WebSocketHandler

MARKER = "tenant-7f3a"
DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana-dashboard.json"
LABELS = {"state", "transport", "format", "outcome", "reason", "limit", "producer", "le", "version", "python"}

JSON = {"Content-Type": "application/json"}
NAME = re.compile(r"\b(?:patinox|process)_\w+")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scrape(http: aiohttp.ClientSession, url: str) -> Samples:
    async with http.get(f"{url}/metrics") as answer:
        assert answer.status == 200
        return samples(await answer.text())


def samples(text: str) -> Samples:
    found = {}
    for family in plain(text):
        for sample in family.samples:
            assert family.documentation, family.name
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


async def read_until(answer: aiohttp.ClientResponse, text: bytes) -> None:
    await answer.content.readuntil(text)


async def test_what_happens_is_counted(http: aiohttp.ClientSession, upstream: ScriptedUpstream) -> None:
    async with serving({"fake": upstream.url}) as server, aiohttp.ClientSession() as reader:
        before = await scrape(http, server.url)
        assert value(before, "patinox_attaches_total", outcome="resumed") == 0
        async with http.post(f"{server.url}/v1/streams", json={"id": "a"}):
            pass
        async with http.post(f"{server.url}/v1/streams/a/chunks", data=b'["x", "y"]', headers=JSON):
            pass
        async with http.post(server.calls, json=ASK) as asked:
            assert asked.status == 200
        async with (
            reader.get(f"{server.url}/v1/streams/a") as events,
            reader.get(f"{server.url}/v1/streams/a", headers={"Accept": "application/x-ndjson"}) as lines,
            reader.ws_connect(f"{server.url}/v1/ws", protocols=("patinox.v1",)),
        ):
            await read_until(events, b"y")
            await read_until(lines, b"y")
            found = await scrape(http, server.url)
    assert value(found, "patinox_connections", transport="sse") == 1
    assert value(found, "patinox_connections", transport="ndjson") == 1
    assert value(found, "patinox_connections", transport="websocket") == 1
    assert value(found, "patinox_connections", transport="raw") == 0
    assert value(found, "patinox_subscriptions", transport="sse", format="patinox") == 1
    assert value(found, "patinox_streams", state="open") == 1
    assert value(found, "patinox_streams", state="complete") == 1
    assert value(found, "patinox_streams_created_total") == 2
    assert value(found, "patinox_streams_ended_total", outcome="complete") == 1
    assert value(found, "patinox_chunks_total") > 2
    assert value(found, "patinox_chunk_bytes_total") > 2 * len(b'{"text":"x"}')
    assert value(found, "patinox_attaches_total", outcome="start") == 2
    assert value(found, "patinox_first_chunk_seconds_count", producer="pulled") == 1
    assert value(found, "patinox_first_chunk_seconds_count", producer="pushed") == 1
    assert value(found, "patinox_draining") == 0
    assert value(found, "process_open_fds") > 0


async def test_openmetrics_where_it_is_asked_for(http: aiohttp.ClientSession) -> None:
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    async with serving({}) as server, http.get(f"{server.url}/metrics", headers=accept) as answer:
        assert answer.content_type == "application/openmetrics-text"
        names = {family.name for family in openmetrics(await answer.text())}  # type: ignore[no-untyped-call]
    assert {"patinox_build", "patinox_streams", "patinox_chunks", "patinox_event_loop_delay_seconds"} <= names


async def test_there_is_none_where_it_is_turned_off(http: aiohttp.ClientSession) -> None:
    async with serving({}, server__metrics__enabled=False) as server, http.get(f"{server.url}/metrics") as answer:
        assert answer.status == 404


@pytest.fixture
async def manager() -> Any:
    async with StreamManager() as manager:
        yield manager


def metrics_of(manager: StreamManager, loop_delay: LoopDelay | None = None) -> Metrics:
    return Metrics(manager, WebSocketHandler(manager), loop_delay or LoopDelay())


async def test_no_name_of_a_stream_a_channel_or_a_user_gets_into_it(manager: StreamManager) -> None:
    for number in range(50):
        name = f"{MARKER}-{number}"
        stream = await manager.create(id=name, metadata={"user": MARKER}, channel=MARKER, producer=MARKER)
        await stream.write(MARKER)
        await stream.cancel(MARKER)
    text, _ = await metrics_of(manager).exposition("")
    assert MARKER.encode() not in text
    assert {label for _, labels in samples(text.decode()) for label, _ in labels} <= LABELS


async def test_lag_and_what_was_dropped(manager: StreamManager) -> None:
    stream = await manager.create(retain="window")
    manager.counters.drop("too_slow")
    manager.counters.gap("evicted")
    manager.admission.refused["max_streams"] += 3
    with pytest.raises(StopAsyncIteration):
        await anext(await ended_reader(stream))
    found = samples((await metrics_of(manager).exposition(""))[0].decode())
    assert value(found, "patinox_dropped_total", reason="too_slow") == 1
    assert value(found, "patinox_dropped_total", reason="write_deadline") == 0
    assert value(found, "patinox_gaps_total", reason="evicted") == 1
    assert value(found, "patinox_refused_total", limit="max_streams") == 3
    assert value(found, "patinox_streams_ended_total", outcome="complete") == 1


async def ended_reader(stream: ActiveStream) -> Any:
    await stream.finish()
    return stream.subscribe(stream.position)


async def test_managers_share_nothing(manager: StreamManager) -> None:
    async with StreamManager() as other:
        mine, its = metrics_of(manager), metrics_of(other)
        await manager.create()
        assert isinstance(mine.registry, CollectorRegistry)
        assert mine.registry is not its.registry
        found = [samples((await each.exposition(""))[0].decode()) for each in (mine, its)]
    assert [value(each, "patinox_streams", state="open") for each in found] == [1, 0]


async def test_the_loops_delay_is_how_much_too_late_a_timer_came() -> None:
    clock = ManualClock()
    loop = asyncio.get_running_loop()
    clock.install(loop)
    delay = LoopDelay()
    delay.start(loop)
    await clock.advance(0.5)
    await clock.advance(0.7)
    delay.stop()
    await clock.advance(5)
    assert delay.seconds.count == 2
    assert delay.seconds.total == pytest.approx(0.2)
    buckets = dict(delay.seconds.cumulative())
    assert (buckets[0.001], buckets[0.1], buckets[0.25]) == (1, 1, 2)


async def test_a_scrape_leaves_the_loop_to_others(manager: StreamManager) -> None:
    for _ in range(1200):
        await manager.create()
    scraping = asyncio.ensure_future(metrics_of(manager).exposition(""))
    await asyncio.sleep(0)
    assert not scraping.done()
    await turns()
    assert scraping.done()


def queries(panel: Any) -> Iterator[str]:
    if isinstance(panel, dict):
        if isinstance(panel.get("expr"), str):
            yield panel["expr"]
        for inner in panel.values():
            yield from queries(inner)
    elif isinstance(panel, list):
        for inner in panel:
            yield from queries(inner)


async def test_the_dashboard_asks_for_what_there_is(manager: StreamManager) -> None:
    text, _ = await metrics_of(manager).exposition("")
    there = {name for name, _ in samples(text.decode())}
    asked = [name for query in queries(json.loads(DASHBOARD.read_text())) for name in NAME.findall(query)]
    assert len(asked) > 10
    assert set(asked) - there == set()
