"""Redis with Sentinel and as a cluster, on real Valkey servers; its URLs, and what it says of itself."""

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from patinox.core.chunks import StreamChunk, Text
from patinox.core.codec import encode_data
from patinox.core.keys import StreamKey
from patinox.errors import ConfigError, StoreError
from patinox.stores.base import Append, Store, StreamFacts
from patinox.stores.redis import RedisStore
from patinox.stores.redis.address import parse_address
from patinox.testing import StoreCheck, store_checks
from patinox.testing.servers import ServerProcess, ValkeyServer, free_port, valkey_binary

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("engines")]


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


def say(port: int, *words: str) -> str:
    """One command to a server, and the beginning of its answer."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in map(str.encode, words)]
        connection.sendall(b"*%d\r\n" % len(words) + b"".join(parts))
        return connection.recv(65536).decode()


def until(condition: Callable[[], bool]) -> None:
    """Asks a server until it says so."""
    end_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


# ── a cluster ──


def _is_whole(port: int) -> bool:
    said = say(port, "CLUSTER", "INFO")
    return "cluster_state:ok" in said and "cluster_known_nodes:3" in said


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Three servers that share the hash slots; the store's URL."""
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as exits:
        words = [["--cluster-enabled", "yes", "--cluster-port", str(free_port())] for _ in range(3)]
        servers = [exits.enter_context(ValkeyServer(folder / some[-1], words=some)) for some in words]
        bounds = (0, 5461, 10922, 16384)
        for server, low, high in zip(servers, bounds, bounds[1:], strict=False):
            assert say(server.port, "CLUSTER", "ADDSLOTSRANGE", str(low), str(high - 1)).startswith("+OK")
        for server in servers[1:]:
            bus = server.words[-1]
            assert say(servers[0].port, "CLUSTER", "MEET", "127.0.0.1", str(server.port), bus).startswith("+OK")
        for server in servers:
            until(partial(_is_whole, server.port))
        yield f"redis+cluster://127.0.0.1:{servers[0].port},127.0.0.1:{servers[1].port}"


@pytest.mark.parametrize("check", store_checks(durable=True), ids=str)
async def test_the_store_in_a_cluster_passes(check: StoreCheck, cluster: str) -> None:
    await check(lambda: opened(RedisStore(cluster)))


# ── Sentinel ──


class SentinelServer(ServerProcess):
    """A Sentinel that watches one primary, and finds it gone within a second."""

    def __init__(self, folder: Path, primary: int) -> None:
        super().__init__(folder)
        self._primary = primary

    def command(self) -> tuple[str, ...]:
        file = self.folder / "sentinel.conf"
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor streams 127.0.0.1 {self._primary} 1\n"
            "sentinel down-after-milliseconds streams 500\nsentinel failover-timeout streams 2000\n"
        )
        return (valkey_binary(), str(file), "--sentinel")

    def greets(self, connection: socket.socket) -> bool:
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")


async def test_after_a_failover_the_store_goes_on_with_the_new_primary(tmp_path: Path) -> None:
    with ExitStack() as exits:
        primary = exits.enter_context(ValkeyServer(tmp_path / "primary"))
        replica = exits.enter_context(
            ValkeyServer(tmp_path / "replica", words=["--replicaof", "127.0.0.1", str(primary.port)])
        )
        until(lambda: "master_link_status:up" in say(replica.port, "INFO", "replication"))
        sentinel = exits.enter_context(SentinelServer(tmp_path / "sentinel", primary.port))
        until(lambda: told(say(sentinel.port, "SENTINEL", "master", "streams"), "num-slaves") == "1")
        async with opened(RedisStore(f"redis+sentinel://127.0.0.1:{sentinel.port}/streams?timeout=1")) as store:
            key = StreamKey("", "a")
            facts = StreamFacts(key, secrets.token_hex(6), 1000.0, 3600.0)
            await store.create(facts, "one", 600.0)
            assert await store.append([Append(key, 1, 0, [chunk(1, facts.epoch)])]) == [None]
            copied = told(say(primary.port, "INFO", "replication"), "master_repl_offset")
            until(lambda: int(told(say(replica.port, "INFO", "replication"), "slave_repl_offset")) >= int(copied))
            assert "may lose" in store.durability
            primary.kill()
            async with asyncio.timeout(60):
                while True:
                    try:
                        assert await store.append([Append(key, 1, 1, [chunk(2, facts.epoch)])]) == [None]
                        break
                    except StoreError:
                        await asyncio.sleep(0.1)
            assert await store.read(key, 0, 9) == [chunk(1, facts.epoch), chunk(2, facts.epoch)]


def told(said: str, name: str) -> str:
    """The value after a name, in INFO or in a flat list of names and values."""
    rest = said.partition(name)[2]
    lines = rest.lstrip(":").split("\r\n")
    return lines[0] if rest[:1] == ":" else lines[2] if len(lines) > 2 else ""


def chunk(sequence: int, epoch: str) -> StreamChunk:
    data = Text(f"chunk {sequence}")
    return StreamChunk(sequence, data, 1000.0, False, epoch, encode_data(data))


# ── what it says, and what it is told ──


@pytest.mark.parametrize(
    ("appendfsync", "said"),
    [("always", "power loss"), ("everysec", "the last second"), (None, "are lost when the engine's process ends")],
)
async def test_the_durability_is_what_the_server_is_set_to(appendfsync: str | None, said: str, tmp_path: Path) -> None:
    with ValkeyServer(tmp_path, appendfsync=appendfsync) as server:
        async with opened(RedisStore(server.url)) as store:
            assert store.durability.startswith(f"Valkey 9.1.2 at 127.0.0.1:{server.port}: append")
            assert said in store.durability


async def test_where_config_is_forbidden_the_durability_is_unknown(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path, words=["--rename-command", "CONFIG", ""]) as server:
        async with opened(RedisStore(server.url)) as store:
            assert "is unknown" in store.durability


async def test_an_eviction_policy_that_may_take_streams_is_told(tmp_path: Path) -> None:
    words = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]
    with ValkeyServer(tmp_path, words=words) as server:
        async with opened(RedisStore(server.url)) as store:
            assert "allkeys-lru may evict streams" in store.durability


async def test_streams_of_a_newer_version_are_refused(valkey: ValkeyServer) -> None:
    say(valkey.port, "SET", "newer:{index}:schema", "2")
    with pytest.raises(StoreError, match="version 2, and this Patinox knows 1"):
        async with opened(RedisStore(f"{valkey.url}?prefix=newer:")):
            pass


async def test_prefixes_keep_streams_apart(valkey: ValkeyServer) -> None:
    async with (
        opened(RedisStore(f"{valkey.url}?prefix=x:")) as one,
        opened(RedisStore(f"{valkey.url}?prefix=y:")) as two,
    ):
        key = StreamKey("", secrets.token_hex(6))
        for store in (one, two):
            await store.create(StreamFacts(key, "e", 1000.0, 1.0), "n", 9.0)
        await one.delete(key)
        assert (await two.load(key)).facts.key == key


def test_urls_are_read() -> None:
    plain = parse_address("redis://ann:p%40ss@cache:7000/3?prefix=p:&timeout=2")
    assert (plain.hosts, plain.db, plain.username, plain.password) == ((("cache", 7000),), 3, "ann", "p@ss")
    assert (plain.prefix, plain.timeout_s, str(plain)) == ("p:", 2.0, "cache:7000")
    sentinel = parse_address("rediss+sentinel://a,b:2/main/1")
    assert (sentinel.kind, sentinel.hosts, sentinel.service) == ("sentinel", (("a", 26379), ("b", 2)), "main")
    assert (sentinel.db, sentinel.tls) == (1, True)
    assert parse_address("redis+cluster://[::1]:7000").hosts == (("::1", 7000),)


@pytest.mark.parametrize(
    "url",
    ["http://a", "redis+sentinel://a", "redis://a?colour=blue", "redis://a:b:c", "redis://a/x", "redis://a?timeout=x"],
)
def test_urls_that_cannot_be_meant_are_refused_without_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url.replace("://", "://u:secret@"))
    assert "secret" not in str(caught.value)


async def test_a_user_with_the_rights_that_the_documentation_names_is_enough(valkey: ValkeyServer) -> None:
    rights = "~patinox:* &patinox:* +@all -@admin -@dangerous +info"
    say(valkey.port, "ACL", "SETUSER", "streams", "on", ">pw", *rights.split())
    say(valkey.port, "ACL", "SETUSER", "telling", "on", ">pw", *rights.split(), "+config|get")
    url = valkey.url.replace("://", "://{}:pw@")
    async with opened(RedisStore(url.format("streams"))) as store:
        assert "is unknown" in store.durability
        key = StreamKey("acl", secrets.token_hex(6))
        await store.create(StreamFacts(key, secrets.token_hex(6), 1000.0, 1.0), "n", 0.0)
        heard: list[object] = []
        await store.watch(key, heard.append)
        assert await store.append([Append(key, 1, 0, [chunk(1, "e")])]) == [None]
        await store.orphans(100)
        await store.delete(key)
    async with opened(RedisStore(url.format("telling"))) as store:
        assert "appendfsync always" in store.durability
