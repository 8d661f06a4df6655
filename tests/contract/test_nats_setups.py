"""NATS: what is special to it (large appends, positions by halving, replicas), its URLs, what it says of itself."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from patinox.core.chunks import Binary, End, StreamChunk, Text
from patinox.core.codec import encode_data
from patinox.core.keys import StreamKey
from patinox.errors import ConfigError, StoreError
from patinox.stores.base import Append, StreamFacts
from patinox.stores.nats import NatsStore
from patinox.stores.nats.address import parse_address
from patinox.stores.nats.connection import Connection
from patinox.testing import StoreCheck, store_checks
from patinox.testing.servers import NatsServer, free_port

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("engines")]


@asynccontextmanager
async def opened(store: NatsStore) -> AsyncIterator[NatsStore]:
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


def facts() -> StreamFacts:
    return StreamFacts(StreamKey("", secrets.token_hex(6)), secrets.token_hex(6), 1000.0, 3600.0)


def chunk(sequence: int, epoch: str, data: object = None) -> StreamChunk:
    value = Text(f"chunk {sequence}") if data is None else data
    return StreamChunk(sequence, value, 1000.0, isinstance(value, End), epoch, encode_data(value))


async def test_an_append_larger_than_a_message_is_one_append_all_the_same(nats: NatsServer) -> None:
    async with opened(NatsStore(nats.url)) as store, opened(NatsStore(nats.url)) as other:
        made = facts()
        await store.create(made, "one", 600.0)
        large = [chunk(n, made.epoch, Binary(secrets.token_bytes(700_000))) for n in (1, 2, 3)]
        append = Append(made.key, 1, 0, large)
        assert await store.append([append]) == [None]
        assert await other.append([append]) == [None]  # known as what is there
        last = chunk(4, made.epoch)
        assert await other.append([Append(made.key, 1, 3, [last])]) == [None]
        for after in range(5):
            assert await other.read(made.key, after, 9) == [*large, last][after:]


async def test_parts_of_an_append_that_was_never_finished_are_no_chunks(nats: NatsServer) -> None:
    async with opened(NatsStore(nats.url)) as store:
        made = facts()
        await store.create(made, "one", 600.0)
        log = store._log
        large = [chunk(1, made.epoch, Binary(secrets.token_bytes(1_500_000)))]
        write = log.write
        calls: list[object] = []

        async def dies_before_the_last(*args: object, **more: object) -> object:
            if calls:
                raise StoreError("killed")
            calls.append(args)
            return await write(*args, **more)  # type: ignore[arg-type]

        log.write = dies_before_the_last  # type: ignore[method-assign, assignment]
        with pytest.raises(StoreError, match="killed"):
            await store.append([Append(made.key, 1, 0, large)])
        log.write = write  # type: ignore[method-assign]
        assert await store.read(made.key, 0, 9) == []
        assert (await store.load(made.key)).head == 0
        small = [chunk(1, made.epoch), chunk(2, made.epoch)]
        assert await store.append([Append(made.key, 1, 0, small)]) == [None]
        assert await store.read(made.key, 0, 9) == small


async def test_any_position_is_found_among_messages_of_other_streams(nats: NatsServer) -> None:
    async with opened(NatsStore(nats.url)) as store, opened(NatsStore(nats.url)) as other:
        made, between = facts(), facts()
        await store.create(made, "one", 600.0)
        await store.create(between, "one", 600.0)
        head = 0
        whole: list[StreamChunk] = []
        for step in range(40):
            some = [chunk(head + n + 1, made.epoch) for n in range(step % 5 + 1)]
            await store.append(
                [Append(made.key, 1, head, some), Append(between.key, 1, step, [chunk(step + 1, between.epoch)])]
            )
            head, whole = head + len(some), whole + some
            if step % 10 == 0:
                record = await other.take_over(between.key, "two", 600.0)
                await other.append([Append(between.key, record.fence, step + 1, [])])
                await store.delete(between.key, trace=False)
                between = facts()
                await store.create(between, "one", 600.0)
                await store.append([Append(between.key, 1, 0, [chunk(n + 1, between.epoch) for n in range(step + 1)])])
        for after in range(0, head, 7):
            assert await other.read(made.key, after, 5) == whole[after : after + 5]


async def test_a_replica_that_has_not_caught_up_hides_nothing(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(NatsStore(nats.url)) as store:
        made = facts()
        await store.create(made, "one", 600.0)
        whole = [chunk(n, made.epoch) for n in range(1, 9)]
        for one in whole:
            await store.append([Append(made.key, 1, one.sequence - 1, [one])])
        page = Connection.page

        async def behind(self: Connection, stream: str, subject: str, begin: int, limit: int) -> object:
            return (await page(self, stream, subject, begin, limit))[:2] if begin < 4 else []

        monkeypatch.setattr(Connection, "page", behind)
        assert await store.read(made.key, 0, 9) == whole


# ── three servers ──


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of three; the store's URL asks for as many replicas."""
    folder = tmp_path_factory.mktemp("three")
    routes = [free_port() for _ in range(3)]
    urls = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
    with ExitStack() as exits:
        servers = []
        for number, port in enumerate(routes):
            settings = (
                f'server_name: "n{number}"\ncluster {{ name: "three", listen: "127.0.0.1:{port}", routes: [{urls}] }}'
            )
            servers.append(exits.enter_context(NatsServer(folder / str(number), settings=settings)))
        yield "nats://" + ",".join(f"127.0.0.1:{server.port}" for server in servers) + "?replicas=3"


@pytest.mark.parametrize("check", store_checks(durable=True), ids=str)
async def test_the_store_on_three_replicas_passes(check: StoreCheck, three: str) -> None:
    @asynccontextmanager
    async def make() -> AsyncIterator[NatsStore]:
        store = NatsStore(three)
        while True:  # the servers elect a leader first
            try:
                await store.open()
                break
            except StoreError:
                continue
        try:
            yield store
        finally:
            await store.aclose()

    await check(make)


# ── what it says, and what it is told ──


@pytest.mark.parametrize(("query", "said"), [("", "file storage, 1 replica"), ("?storage=memory", "are lost when")])
async def test_the_durability_is_what_the_stream_is_set_to(query: str, said: str, tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:
        async with opened(NatsStore(server.url + query)) as store:
            assert store.durability.startswith(f"NATS 2.15.1 at 127.0.0.1:{server.port}: ")
            assert said in store.durability
        with pytest.raises(StoreError, match="edit it"):
            async with opened(NatsStore(server.url + ("?storage=memory" if not query else "?storage=file"))):
                pass


async def test_streams_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:
        connection = Connection(parse_address(server.url), lambda: None)
        await connection.open()
        made = {"name": "patinox_log", "subjects": ["patinox.log.>"], "metadata": {"patinox-schema": "2"}}
        assert "error" not in await connection.ask("$JS.API.STREAM.CREATE.patinox_log", made)
        await connection.aclose()
        with pytest.raises(StoreError, match="version 2, and this Patinox knows 1"):
            async with opened(NatsStore(server.url)):
                pass


async def test_a_server_without_jetstream_is_refused(tmp_path: Path) -> None:
    class Plain(NatsServer):
        def command(self) -> tuple[str, ...]:
            return (super().command()[0], "-a", "127.0.0.1", "-p", str(self.port))

    with Plain(tmp_path) as server, pytest.raises(StoreError, match="JetStream"):
        async with opened(NatsStore(server.url)):
            pass


def test_urls_are_read() -> None:
    address = parse_address("nats+tls://ann:pw@a,b:4333?replicas=3&storage=memory&prefix=px&timeout=2&credentials=/c")
    assert address.servers == ("tls://ann:pw@a", "tls://ann:pw@b:4333")
    assert (address.replicas, address.storage, address.prefix) == (3, "memory", "px")
    assert (address.timeout_s, address.credentials, str(address)) == (2.0, "/c", "a,b:4333")


@pytest.mark.parametrize(
    "url", ["http://a", "nats://a?colour=blue", "nats://a?replicas=x", "nats://a?storage=tape", "nats://a?prefix=a.b"]
)
def test_urls_that_cannot_be_meant_are_refused_without_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url.replace("://", "://u:secret@"))
    assert "secret" not in str(caught.value)
