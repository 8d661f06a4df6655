"""What a check works on: a store of its own names, the chunks it writes, and a listener that can be waited for.

Expectations raise `AssertionError` with a sentence, so that a failure can be read without pytest too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self

from patinox.core.chunks import End, Error, Outcome, StreamChunk, Text
from patinox.core.codec import encode_data
from patinox.core.keys import StreamKey
from patinox.errors import PatinoxError, StreamError
from patinox.stores.base import Acknowledged, Append, Store, StreamFacts, StreamRecord

MakeStore = Callable[[], AbstractAsyncContextManager[Store]]
"""Opens the store that is checked: the same place each time, as another process would, or the same one later."""

DEADLINE_S = 20.0
"""What is waited for comes within this, on the slowest machine; a store that needs longer fails the check."""
LONG_S = 600.0
"""A lease that does not run out during a check."""
AGES_AGO_S = 1000.0
"""When the chunks of a check are written: so long ago that no other stream's time to live is over by then."""


class Bench:
    """One opened store, and names of streams that no other check has. `another` opens it a second time."""

    def __init__(self, make: MakeStore) -> None:
        self._make = make
        self._exits = AsyncExitStack()
        self._keys: set[StreamKey] = set()
        self.word = secrets.token_hex(6)
        self.tenant = f"check-{self.word}"
        self.store: Store

    def __repr__(self) -> str:
        return f"<Bench {self.tenant} of {self.store!r}>"

    async def __aenter__(self) -> Self:
        self.store = await self._exits.enter_async_context(self._make())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        with suppress(PatinoxError):
            for key in self._keys:
                await self.store.delete(key, trace=False)
        await self._exits.aclose()

    async def reopen(self) -> None:
        """Closes the store, and opens it anew."""
        await self._exits.aclose()
        self.store = await self._exits.enter_async_context(self._make())

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Store]:
        """The store as another node has it; the very same where processes cannot share it."""
        if not self.store.is_shared:
            yield self.store
            return
        async with self._make() as store:
            yield store

    def key(self, name: str = "a", tenant: str | None = None) -> StreamKey:
        """The key of a stream of this check, which is deleted after it."""
        key = StreamKey(self.tenant if tenant is None else tenant, name)
        self._keys.add(key)
        return key

    def facts(self, key: StreamKey, **fields: Any) -> StreamFacts:
        """Facts of a new stream."""
        given: dict[str, Any] = {"epoch": secrets.token_hex(6), "created_s": AGES_AGO_S, "ttl_s": 3600.0, **fields}
        return StreamFacts(key=key, **given)

    async def create(self, name: str = "a", *, node: str = "one", lease_s: float = LONG_S, **fields: Any) -> Writer:
        """A new stream, and what writes to it."""
        record = await self.store.create(self.facts(self.key(name), **fields), self.node(node), lease_s)
        return Writer(self.store, record)

    def node(self, name: str) -> str:
        """The name of a node of this check."""
        return f"{name}-{self.word}"


class Writer:
    """Writes to one stream under a lease, and remembers what it wrote."""

    def __init__(self, store: Store, record: StreamRecord) -> None:
        self.store = store
        self.record = record
        self.key = record.facts.key
        self.fence = record.fence
        self.written: list[StreamChunk] = []

    def chunks(self, data: Iterable[Any], *, after: int | None = None) -> list[StreamChunk]:
        """What would be appended next, or `after` another position."""
        begin = (len(self.written) if after is None else after) + 1
        return [chunk(sequence, value, self.record.facts.epoch) for sequence, value in enumerate(data, begin)]

    def append(
        self, chunks: Sequence[StreamChunk], *, after: int | None = None, fence: int | None = None,
        producers: Mapping[str, Acknowledged] | None = None,
    ) -> Append:  # fmt: skip
        """An append of these chunks."""
        follows = chunks[0].sequence - 1 if after is None else after
        return Append(self.key, self.fence if fence is None else fence, follows, chunks, producers or {})

    async def write(self, *data: Any, producers: Mapping[str, Acknowledged] | None = None) -> list[StreamChunk]:
        """Appends, and expects that it is acknowledged."""
        return await self._commit(self.chunks(data), producers)

    async def end(self, data: Any = None) -> StreamChunk:
        """Appends the last record."""
        last = End(Outcome.COMPLETE) if data is None else data
        return (await self._commit(self.chunks([last]), None))[0]

    async def _commit(
        self, chunks: list[StreamChunk], producers: Mapping[str, Acknowledged] | None
    ) -> list[StreamChunk]:
        acknowledged(await self.store.append([self.append(chunks, producers=producers)]))
        self.written += chunks
        return chunks


def chunk(sequence: int, data: Any, epoch: str) -> StreamChunk:
    """A chunk as a log makes it. Text for a string; an `Error` and an `End` are final."""
    value = Text(data) if isinstance(data, str) else data
    return StreamChunk(
        sequence, value, AGES_AGO_S + sequence / 8, isinstance(value, End | Error), epoch, encode_data(value)
    )


class Told:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.news: list[Any] = []
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Told {self.news}>"

    def __call__(self, *news: Any) -> None:
        """Hears news, or a key and its news."""
        self.news.append(news[0] if len(news) == 1 else news)
        self._changed.set()

    async def until(self, condition: Callable[[list[Any]], Any], what: str) -> None:
        """Waits until `condition` holds of what was told."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not condition(self.news):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{what}; told so far: {self.news!r}") from None


async def eventually(ask: Callable[[], Awaitable[Any]], what: str) -> None:
    """Asks again and again until the answer is true."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await ask():  # noqa: ASYNC110 - it happens elsewhere, and tells nobody
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(what) from None


def same(got: object, want: object, what: str) -> None:
    """Expects two values to be equal."""
    if got != want:
        raise AssertionError(f"{what}: {got!r}, where {want!r} was expected")


def holds(condition: object, what: str) -> None:
    """Expects a condition."""
    if not condition:
        raise AssertionError(what)


def acknowledged(answers: Sequence[PatinoxError | None]) -> None:
    """Expects that every append is there."""
    same(list(answers), [None] * len(answers), "answers to the appends")


def refused(answers: Sequence[PatinoxError | None], kind: type[PatinoxError], what: str) -> None:
    """Expects that the only append was refused with exactly this error."""
    same([type(answer) for answer in answers], [kind], what)


async def raises(call: Awaitable[object], kind: type[StreamError], what: str) -> None:
    """Expects an error."""
    try:
        answer = await call
    except kind:
        return
    except StreamError as error:
        raise AssertionError(f"{what}: {error!r}, where {kind.__name__} was expected") from error
    raise AssertionError(f"{what}: {answer!r}, where {kind.__name__} was expected")


async def stored(store: Store, key: StreamKey) -> list[StreamChunk]:
    """All chunks of a stream, in pages."""
    chunks: list[StreamChunk] = []
    while page := await store.read(key, len(chunks), 500):
        chunks += page
    return chunks
