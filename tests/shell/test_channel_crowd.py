"""Twenty agents stream into one channel while a hundred members come, go and come back."""

import asyncio
import random
from collections import defaultdict
from functools import partial

import pytest
from tests.sockets import AsgiSocket, Json

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.config import SseConfig

AGENTS, STREAMS, MEMBERS = 20, 50, 100
CHUNKS = 3


class Member:
    """Somebody who reads the channel, is cut off now and then, and goes on from the last position it saw."""

    def __init__(self, app: PatinoxApp, seed: int) -> None:
        self.heard: dict[str, list[str]] = defaultdict(list)
        self.ended: dict[str, str] = {}
        self.connections = 0
        self.taken = 0
        self._app = app
        self._random = random.Random(seed)
        self._position: str | None = None

    async def read(self) -> None:
        """Reads until every stream has ended."""
        while len(self.ended) < AGENTS * STREAMS:
            self.connections += 1
            self.taken = 0
            async with AsgiSocket(self._app) as socket:
                socket.send("subscribe", channel="room", **({"after": self._position} if self._position else {}))
                if self._random.random() < 0.2:
                    await self._stall(socket)
                await socket.until(partial(self._has_enough, socket, self._random.randrange(4000)))
            self._hear_all(socket)

    async def _stall(self, socket: AsgiSocket) -> None:
        socket.suspend()
        for _ in range(self._random.randrange(60)):
            await asyncio.sleep(0)
        socket.resume()

    def _has_enough(self, socket: AsgiSocket, patience: int) -> bool:
        """What it has heard it takes in at once; what was still to come when it leaves is lost."""
        self._hear_all(socket)
        return self.taken >= patience or len(self.ended) == AGENTS * STREAMS

    def _hear_all(self, socket: AsgiSocket) -> None:
        for said in socket.ops:
            self._hear(said)
        self.taken += len(socket.ops)
        socket.ops.clear()

    def _hear(self, said: Json) -> None:
        if said["op"] == "subscribed":
            assert said["outcome"] in ("start", "resumed")
            return
        self._position = said["position"]
        if said["op"] == "end":
            self.ended[said["stream"]] = said["outcome"]
            self.heard[said["stream"]].append(said["id"])
        else:
            assert said["op"] == "chunk"
            self.heard[said["stream"]].append(said["id"])


async def agent(manager: StreamManager, name: str, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(STREAMS):
        stream = await manager.create(id=f"{name}-{number}", channel="room", metadata={"agent": name})
        for k in range(CHUNKS):
            await stream.write(f"{name} says {k}")
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        await stream.finish()


@pytest.mark.slow
async def test_every_member_ends_with_every_stream_complete_and_in_order() -> None:
    config = StreamingConfig(drain_timeout_s=0, buffer_size=200, sse=SseConfig(heartbeat_interval_s=0))
    async with StreamManager(config) as manager:
        app = PatinoxApp(manager)
        members = [Member(app, seed) for seed in range(MEMBERS)]
        async with asyncio.TaskGroup() as group:
            for member in members:
                group.create_task(member.read())
            for number in range(AGENTS):
                group.create_task(agent(manager, f"a{number}", number))
        expected = {stream.id: [f"{stream.epoch}-{sequence}" for sequence in range(CHUNKS + 2)] for stream in manager}
        assert len(expected) == AGENTS * STREAMS
        for member in members:
            assert member.heard == expected
            assert set(member.ended.values()) == {"complete"}
        assert sum(member.connections for member in members) > 2 * MEMBERS
        assert manager.channel("room").feed.readers == 0
