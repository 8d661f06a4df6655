"""N nodes, M streams, random kills: what is done to them, and what must be true afterwards.

Three node processes share one engine. Producers append to whichever node answers, with producer numbers; readers
reconnect to any node with the id of the last event they have. Meanwhile nodes and the engine are killed with -9 and
started again, nodes are stopped for longer than their leases and go on as zombies, and connections are cut, delayed
and chopped between everybody. Everything random comes from one seed.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from patinox.testing.proxy import Fault, FaultProxy
from patinox.testing.servers import ServerProcess

ROOT = Path(__file__).parents[1]
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=8)
_SETTLE_S = 45.0
_TRY_AGAIN = ("fenced", "elsewhere", "store_conflict")
_HONEST = ("complete", "interrupted")


class NodeProcess(ServerProcess):
    """A node of ours as a process of its own."""

    scheme = "http"

    def __init__(self, folder: Path, store_url: str, lease_s: float) -> None:
        super().__init__(folder)
        self._words = (str(self.port), store_url, str(lease_s))

    def command(self) -> tuple[str, ...]:
        return (sys.executable, "-m", "tests.store_node", *self._words)

    def start(self) -> NodeProcess:
        """Starts it, and does not wait: the engine may be away."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT)
        return self

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None


class Produced(msgspec.Struct):
    """What the producer of one stream knows."""

    name: str
    acknowledged: int = 0
    sent: int = 0
    ended: str = ""


class Read(msgspec.Struct):
    """What one reader was sent."""

    stream: str
    chunks: list[tuple[int, str]] = []
    outcomes: list[str] = []
    told: list[Any] = []  # gaps and resets
    last_id: str = ""
    connections: int = 0
    url: str = ""


class Arena:
    """Everything there is, and the clients of it."""

    def __init__(
        self, engine: ServerProcess, folder: Path, seed: int, *, lease_s: float, streams: int, chunks: int
    ) -> None:
        self.random = random.Random(seed)
        self.engine = engine
        self.folder = folder
        self.lease_s = lease_s
        self.chunks = chunks
        self.produced = [Produced(f"s{number}") for number in range(streams)]
        self.reads = [Read(one.name) for one in self.produced for _ in range(2)]
        self.nodes: list[NodeProcess] = []
        self.to_nodes: list[FaultProxy] = []
        self.to_engine: list[FaultProxy] = []
        self.done: dict[str, int] = {}
        self.client: aiohttp.ClientSession
        self.until_s = 0.0
        self.checked = 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Arena]:
        """The processes run and proxies stand before them; all are gone afterwards."""
        async with AsyncExitStack() as exits:
            self.client = await exits.enter_async_context(aiohttp.ClientSession(timeout=_TIMEOUT))
            for number in range(3):
                engine = await exits.enter_async_context(FaultProxy("127.0.0.1", self.engine.port))
                url = f"{self.engine.scheme}://127.0.0.1:{engine.port}?timeout=2"
                node = NodeProcess(self.folder / f"node{number}", url, self.lease_s).start()
                exits.callback(node.kill)
                to_node = await exits.enter_async_context(FaultProxy("127.0.0.1", node.port))
                self.nodes.append(node)
                self.to_engine.append(engine)
                self.to_nodes.append(to_node)
            for node in self.nodes:
                await asyncio.to_thread(_wait_for, node.port)
            yield self

    def url(self, path: str) -> str:
        return self.random.choice(self.to_nodes).url + path

    # ── what clients do ──

    async def produce(self, one: Produced, draw: random.Random) -> None:
        """Creates a stream, appends in pieces of random size, each until it is acknowledged, and finishes."""
        await self._until_said("/v1/streams", {"json": {"id": one.name}}, (201, 409))
        while one.acknowledged < self.chunks and not one.ended:
            size = min(draw.randint(1, 5), self.chunks - one.acknowledged)
            texts = [f"{one.name}:{one.acknowledged + k}" for k in range(size)]
            one.sent = max(one.sent, one.acknowledged + size)
            headers = {"Producer-Id": one.name, "Producer-Seq": str(one.acknowledged)}
            words = {"json": texts, "headers": headers}
            status = await self._until_said(f"/v1/streams/{one.name}/chunks", words, (200, 409))
            if status == 409:
                one.ended = "interrupted"
            else:
                one.acknowledged += size
                await asyncio.sleep(draw.random() * 0.08)
        if not one.ended:
            await self._until_said(f"/v1/streams/{one.name}/finish", {"json": {}}, (200, 409))
            one.ended = "finished"

    async def _until_said(self, path: str, words: dict[str, Any], wanted: tuple[int, ...]) -> int:
        while True:
            try:
                async with asyncio.timeout(8), self.client.post(self.url(path), **words) as answer:
                    body = await answer.json(content_type=None)
                    code = (body or {}).get("error", {}).get("code") if isinstance(body, dict) else None
                    if answer.status in wanted and code not in (
                        "fenced",
                        "elsewhere",
                        "store_conflict",
                        "producer_gap",
                    ):
                        return answer.status
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                pass
            await asyncio.sleep(0.05)

    async def read(self, one: Read) -> None:
        """Reads from any node, and goes on from the last event on another whenever it is cut, until the end."""
        while not one.outcomes:
            headers = {"Accept": "application/x-ndjson"} | ({"Last-Event-ID": one.last_id} if one.last_id else {})
            one.url = self.url(f"/v1/streams/{one.stream}")
            try:
                async with self.client.get(one.url, headers=headers) as answer:
                    if answer.status == 204:
                        one.outcomes.append("204")
                    elif answer.status == 200:
                        one.connections += 1
                        async for line in answer.content:
                            _take(one, line)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                pass
            await asyncio.sleep(0.03)

    # ── what is done to them ──

    async def torment(self) -> None:
        """One thing after the other, until the time is over; then everything is put right."""
        acts = [
            self._kill_node, self._kill_node, self._stop_node, self._cut_readers, self._cut_readers, self._cut_engine,
            self._chop, self._kill_engine,
        ]  # fmt: skip
        while time.monotonic() < self.until_s:
            act = self.random.choice(acts)
            self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
            await act()
            await asyncio.sleep(self.random.uniform(0.2, 0.9))
        for node in self.nodes:
            if not node.is_alive():
                node.start()

    async def _kill_node(self) -> None:
        node = self.random.choice(self.nodes)
        await asyncio.to_thread(node.kill)
        await asyncio.sleep(self.random.uniform(0, 2 * self.lease_s))
        node.start()

    async def _stop_node(self) -> None:
        node = self.random.choice(self.nodes)
        if node.is_alive():
            node.pause()
            await asyncio.sleep(1.5 * self.lease_s)
            node.go_on()

    async def _kill_engine(self) -> None:
        await asyncio.to_thread(self.engine.kill)
        await asyncio.sleep(self.random.uniform(0, self.lease_s))
        await asyncio.to_thread(self.engine.start)

    async def _cut_readers(self) -> None:
        await self.random.choice(self.to_nodes).cut_all()

    async def _cut_engine(self) -> None:
        await self.random.choice(self.to_engine).cut_all()

    async def _chop(self) -> None:
        for proxy in (self.random.choice(self.to_nodes), self.random.choice(self.to_engine)):
            proxy.script(
                Fault(chop_bytes=self.random.randint(1, 200), delay_s=0.001),
                Fault(cut_after_bytes=self.random.randint(1, 4000), reset=True),
                Fault(refuse=True),
            )

    # ── all of it ──

    async def run(self, duration_s: float) -> list[str]:
        """Does it all; what was not true afterwards, a sentence each. `checked` counts what was looked at."""
        self.until_s = time.monotonic() + duration_s
        seeds = [random.Random(self.random.random()) for _ in self.produced]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.torment())
            clients = [tasks.create_task(self.produce(*pair)) for pair in zip(self.produced, seeds, strict=True)]
            clients += [tasks.create_task(self.read(one)) for one in self.reads]
            _, late = await asyncio.wait(clients, timeout=duration_s + _SETTLE_S)
            for client in late:
                client.cancel()
        wholes = [await self._whole(one.name) for one in self.produced]
        found = self.invariants(wholes, len(late))
        self.checked = len(found)
        return [broken for broken, is_true in found if not is_true]

    async def _whole(self, name: str) -> list[Read]:
        """The stream as each node has it."""
        found = []
        for proxy in self.to_nodes:
            one = Read(name)
            self_url = proxy.url + f"/v1/streams/{name}"
            for _ in range(100):
                try:
                    headers = {"Accept": "application/x-ndjson"}
                    async with asyncio.timeout(5), self.client.get(self_url, headers=headers) as answer:
                        one = Read(name)
                        async for line in answer.content:
                            _take(one, line)
                        if one.outcomes:
                            break
                except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                    pass
                await asyncio.sleep(0.1)
            found.append(one)
        return found

    def invariants(self, wholes: list[list[Read]], late: int) -> list[tuple[str, bool]]:
        """What must be true: a sentence, and whether it is."""
        found = [("every producer and reader came to an end", late == 0)]
        for one, nodes in zip(self.produced, wholes, strict=True):
            first, texts = nodes[0], [text for _, text in nodes[0].chunks]
            count = len(texts)
            found += [
                (
                    f"{one.name}: no acknowledged chunk is lost ({count} of {one.acknowledged})",
                    count >= one.acknowledged,
                ),
                (f"{one.name}: nothing is there that was not sent", count <= one.sent),
                (f"{one.name}: in order, and once", texts == [f"{one.name}:{n}" for n in range(count)]),
                (f"{one.name}: numbers are dense", [n for n, _ in first.chunks] == list(range(1, count + 1))),
                (f"{one.name}: every node has the same", all(node.chunks == first.chunks for node in nodes)),
                (f"{one.name}: one outcome, {first.outcomes}", all(node.outcomes == first.outcomes for node in nodes)),
                (f"{one.name}: an honest outcome", first.outcomes in [[end] for end in _HONEST]),
            ]
            for reader in (reader for reader in self.reads if reader.stream == one.name):
                found += [
                    (f"{one.name}: a reader had all of it, once", reader.chunks == first.chunks),
                    (f"{one.name}: a reader was told no gap, no reset: {reader.told}", not reader.told),
                    (f"{one.name}: a reader saw the outcome", reader.outcomes in (first.outcomes, ["204"])),
                ]
        return found


def _take(one: Read, line: bytes) -> None:
    if not line.endswith(b"\n") or not line.strip():
        return
    said = json.loads(line)
    event, data = said["event"], said["data"]
    if event == "position":
        if data.get("outcome") == "reset":
            one.told.append(("reset", one.last_id, said, one.url, time.time()))
    elif event == "gap":
        one.told.append(("gap", data))
    elif "id" in said:
        one.last_id = said["id"]
        if event == "end":
            one.outcomes.append(data["outcome"])
        elif event == "error":
            one.outcomes.append("failed")
        elif event == "text":
            one.chunks.append((int(said["id"].rpartition("-")[2]), data["text"]))


def _wait_for(port: int) -> None:
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("a node did not start")
