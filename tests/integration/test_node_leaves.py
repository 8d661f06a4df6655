"""One of two nodes on one engine is told to leave, with 1,000 readers and 100 running streams: all go on at the other.

The producers push over HTTP, as idempotent ones do: what was not acknowledged is sent again, to the node that is left.
That they don't come back all at once is proven of the schedule, in `tests/shell/test_departure.py`.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.processes import ended, running

from patinox.formats.eventstream import EventStreamParser
from patinox.testing.servers import ValkeyServer

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="POSIX")]

STREAMS, READERS, CHUNKS = 100, 1000, 12
WINDOW_S = 4.0
SETTINGS = {"PATINOX_STREAMING__DRAIN_WINDOW": f"{WINDOW_S:g}s"}


class Nodes:
    """The addresses of the nodes that take work, the first first; and one session for all."""

    def __init__(self, urls: list[str], session: aiohttp.ClientSession) -> None:
        self.urls = urls
        self.session = session

    async def post(self, path: str, **body: Any) -> None:
        """Posts until a node has said that it has it."""
        for turn in range(10_000):
            url = self.urls[turn % len(self.urls)]
            try:
                async with self.session.post(url + path, **body) as answer:
                    if answer.status < 300:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.02)
        raise AssertionError(f"nobody took {path}")


class Reader:
    """Follows one stream to its end, over as many connections as that takes, as an EventSource does."""

    def __init__(self, number: int) -> None:
        self.stream = f"s{number % STREAMS}"
        self.texts: list[str] = []
        self.came_back = 0
        self.has_half = asyncio.Event()
        self._last_id = ""

    async def follow(self, nodes: Nodes) -> None:
        while True:
            url = nodes.urls[-1] if self._last_id else nodes.urls[0]
            self.came_back += bool(self._last_id)
            headers = {"accept": "text/event-stream", **({"last-event-id": self._last_id} if self._last_id else {})}
            try:
                async with nodes.session.get(f"{url}/v1/streams/{self.stream}", headers=headers) as answer:
                    if answer.status == 200 and await self._read(answer.content.iter_any()):
                        return
            except aiohttp.ClientError:
                pass

    async def _read(self, pieces: AsyncIterator[bytes]) -> bool:
        """Whether the end was told."""
        parser = EventStreamParser()
        async for piece in pieces:
            for event in parser.feed(piece):
                self._last_id = event.id or self._last_id
                if event.event == "text":
                    self.texts.append(json.loads(event.data)["text"])
                    if len(self.texts) == CHUNKS // 2:
                        self.has_half.set()
                if event.event == "end":
                    return True
        return False


async def produce(nodes: Nodes, stream: str, may_go_on: asyncio.Event) -> None:
    for number in range(CHUNKS):
        if number == CHUNKS // 2:
            await may_go_on.wait()
        headers = {"producer-id": "p", "producer-seq": str(number), "content-type": "text/plain"}
        await nodes.post(f"/v1/streams/{stream}/chunks", data=f"{number} ".encode(), headers=headers)
    await nodes.post(f"/v1/streams/{stream}/finish", json={})


@pytest.mark.timeout(180)
async def test_all_go_on_at_the_other_node_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path) as valkey:
        arguments = ("--store", valkey.url)
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            running(*arguments, **SETTINGS) as (leaving, first),
            running(*arguments, **SETTINGS) as (_, second),
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session,
        ):
            nodes = Nodes([first, second], session)
            for number in range(STREAMS):
                await nodes.post("/v1/streams", json={"id": f"s{number}"})
            may_go_on = asyncio.Event()
            readers = [Reader(number) for number in range(READERS)]
            following = [asyncio.create_task(reader.follow(nodes)) for reader in readers]
            producing = [asyncio.create_task(produce(nodes, f"s{n}", may_go_on)) for n in range(STREAMS)]
            for reader in readers:
                await reader.has_half.wait()
            leaving.send_signal(signal.SIGTERM)
            nodes.urls = [second]
            assert await ended(leaving, 60) == ""
            may_go_on.set()
            await asyncio.gather(*producing, *following)
    assert leaving.returncode == 0
    whole = [f"{number} " for number in range(CHUNKS)]
    assert all(reader.texts == whole for reader in readers)
    assert all(reader.came_back == 1 for reader in readers)
