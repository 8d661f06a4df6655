"""An application's own events: to one connection, to many, to all; and what those get who come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp, SSEEvent, SSEFormatter, SSEHandler
from patinox.errors import InputError, InvalidEventId, StreamClosed
from patinox.formats.framing import EventStreamParser
from patinox.testing.fakes import AsgiClient, AsgiExchange, turns

WINDOW = 8


class Request(NamedTuple):
    """All that the handler asks of a request."""

    headers: dict[str, str]


class Page:
    """A browser page: an EventSource that keeps what it got, and comes back with the last id it saw."""

    def __init__(self, handler: SSEHandler, name: str | None) -> None:
        self.name = name
        self.got: list[tuple[str, str]] = []
        self.gaps: list[tuple[int, int]] = []
        self.exchange: Any = None
        self.status = 0
        self._handler = handler
        self._last_event_id = ""
        self._stack = AsyncExitStack()

    async def connect(self) -> Page:
        headers = {"last-event-id": self._last_event_id} if self._last_event_id else {}
        answer = await self._handler.create_stream(Request(headers), connection_id=self.name)
        self.exchange = await self._stack.enter_async_context(AsgiClient(answer).open("GET", "/events"))
        await turns()
        self.status = self.exchange.status
        return self

    async def leave(self) -> None:
        """Reads what has arrived, and leaves."""
        self.read()
        await self._stack.aclose()
        self.exchange = None

    def read(self) -> list[tuple[str, str]]:
        for event in EventStreamParser().feed(self.exchange.body if self.exchange is not None else b""):
            if event.event == "gap":
                gap = msgspec.json.decode(event.data)
                self.gaps.append((gap["from"], gap["to"]))
            elif event.event != "position":
                self.got.append((event.event, event.data))
            self._last_event_id = event.id or self._last_event_id
        if self.exchange is not None:
            del self.exchange.messages[1:]
        return self.got


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    async with StreamManager(StreamingConfig(buffer_size=WINDOW, drain_timeout_s=0)) as manager:
        yield manager


@pytest.fixture
def handler(manager: StreamManager) -> SSEHandler:
    return SSEHandler(manager)


@pytest.fixture
async def pages(handler: SSEHandler) -> AsyncIterator[dict[str, Page]]:
    found = {name: await Page(handler, name).connect() for name in ("ann", "bob", "cid")}
    yield found
    for page in found.values():
        if page.exchange is not None:
            await page.leave()


class TestSending:
    async def test_to_one(self, handler: SSEHandler, pages: dict[str, Page]) -> None:
        await handler.send_event("ann", SSEEvent("42 unread", event="inbox"))
        await turns()
        assert [page.read() for page in pages.values()] == [[("inbox", "42 unread")], [], []]

    async def test_to_many(self, handler: SSEHandler, pages: dict[str, Page]) -> None:
        await handler.send_event(["ann", "cid", "nobody"], "hello")
        await turns()
        assert [page.read() for page in pages.values()] == [[("message", "hello")], [], [("message", "hello")]]

    async def test_to_all(self, handler: SSEHandler, pages: dict[str, Page]) -> None:
        await handler.broadcast(SSEEvent("at noon", event="notice"))
        await turns()
        assert [page.read() for page in pages.values()] == [[("notice", "at noon")]] * 3

    async def test_in_the_order_it_was_sent(self, handler: SSEHandler, pages: dict[str, Page]) -> None:
        for number in range(6):  # all in one turn of the loop
            await (handler.send_event("bob", str(number)) if number % 2 else handler.broadcast(str(number)))
        await turns()
        texts = {name: [data for _, data in page.read()] for name, page in pages.items()}
        assert texts == {"ann": ["0", "2", "4"], "bob": ["0", "1", "2", "3", "4", "5"], "cid": ["0", "2", "4"]}

    async def test_one_id_may_have_several_connections(self, handler: SSEHandler, pages: dict[str, Page]) -> None:
        phone = await Page(handler, "ann").connect()
        await handler.send_event("ann", "hello")
        await turns()
        assert pages["ann"].read() == phone.read() == [("message", "hello")]
        assert handler.connections == 4
        await phone.leave()
        assert handler.connections == 3

    async def test_a_connection_without_an_id_gets_what_is_for_all(self, handler: SSEHandler) -> None:
        page = await Page(handler, None).connect()
        await handler.send_event("", "not for you")
        await handler.broadcast("for all")
        await turns()
        assert page.read() == [("message", "for all")]
        await page.leave()

    async def test_lines_of_any_kind_arrive_as_line_feeds(self, handler: SSEHandler, pages: dict[str, Page]) -> None:
        await handler.broadcast("one\r\ntwo\rthree\n\nfive\u2028 still five")
        await turns()
        assert pages["ann"].read() == [("message", "one\ntwo\nthree\n\nfive\u2028 still five")]

    @pytest.mark.parametrize("event", ["a\nid: 1", "a\rb", "a\0b", "\n"])
    async def test_a_name_that_forges_a_field_is_refused(
        self, handler: SSEHandler, pages: dict[str, Page], event: str
    ) -> None:
        with pytest.raises(InputError):
            await handler.broadcast(SSEEvent("x", event=event))
        with pytest.raises(InputError):
            await handler.send_event("ann", SSEEvent("x", event=event))
        await turns()
        assert pages["ann"].read() == []

    @pytest.mark.parametrize("event", ["position", "gap", "snapshot", "end", "error"])
    async def test_the_transports_own_names_are_refused(self, handler: SSEHandler, event: str) -> None:
        with pytest.raises(InputError, match="transport"):
            await handler.broadcast(SSEEvent("x", event=event))

    async def test_an_event_is_made_once_however_many_get_it(
        self, handler: SSEHandler, pages: dict[str, Page], manager: StreamManager
    ) -> None:
        (stream,) = manager
        (view,) = stream.feed.views.values()
        made = 0
        record = view.wire.record

        def counted(event_id: str, frames: Any) -> bytes:
            nonlocal made
            made += 1
            return record(event_id, frames)

        view.wire.record = counted  # type: ignore[method-assign]
        await handler.broadcast("for all")
        await handler.send_event(["ann", "bob"], "for two")
        await turns()
        assert made == 2
        assert len(pages["ann"].read()) == 2

    async def test_what_is_for_one_costs_the_others_no_write(self, handler: SSEHandler, pages: dict[str, Page]) -> None:
        for page in pages.values():
            page.read()
        await handler.send_event("ann", "hello")
        await turns()
        assert [len(page.exchange.messages) for page in pages.values()] == [2, 1, 1]

    async def test_the_first_events_come_before_any_connection(
        self, handler: SSEHandler, manager: StreamManager
    ) -> None:
        await asyncio.gather(handler.broadcast("before"), handler.send_event("ann", "before"))
        assert len(manager) == 1, "one log, however many begin at once"
        page = await Page(handler, "ann").connect()
        await handler.broadcast("after")
        await turns()
        assert page.read() == [("message", "after")]
        await page.leave()


class TestComingBack:
    async def test_what_was_missed_is_sent(self, handler: SSEHandler, pages: dict[str, Page]) -> None:
        ann, bob = pages["ann"], pages["bob"]
        await ann.leave()
        await bob.leave()
        await handler.broadcast("for all")
        await handler.send_event("ann", "for ann")
        await ann.connect()
        await bob.connect()
        assert ann.read() == [("message", "for all"), ("message", "for ann")]
        assert bob.read() == [("message", "for all")]

    async def test_somebody_elses_last_id_opens_nothing_of_theirs(self, handler: SSEHandler) -> None:
        await handler.send_event("ann", "secret")
        (stream,) = handler._manager
        for name in (None, "bob", "", "ANN", "ann "):
            thief = Page(handler, name)
            thief._last_event_id = f"{stream.epoch}-0"
            await thief.connect()
            assert thief.read() == []
            await thief.leave()

    async def test_the_log_itself_tells_nobody_what_is_addressed(
        self, handler: SSEHandler, manager: StreamManager
    ) -> None:
        await handler.send_event("ann", "secret")
        await handler.broadcast("public")
        (stream,) = manager
        await handler.aclose()
        client = AsgiClient(PatinoxApp(manager))
        for accept in ("text/event-stream", "application/x-ndjson", "application/json", "text/plain"):
            for query in ("", "?after=snapshot", f"?after={stream.epoch}-0"):
                answer = await client.request("GET", f"/v1/streams/{stream.id}{query}", headers={"accept": accept})
                assert answer.status == 200
                assert "secret" not in answer.text
        listed = await client.request("GET", "/v1/streams")
        assert "secret" not in listed.text

    async def test_who_missed_more_than_is_kept_is_told_a_gap(
        self, handler: SSEHandler, pages: dict[str, Page]
    ) -> None:
        ann = pages["ann"]
        await handler.broadcast("seen")
        await turns()
        await ann.leave()
        for number in range(2 * WINDOW):
            await handler.broadcast(str(number))
        await ann.connect()
        assert ann.gaps == []
        ann.read()
        assert ann.gaps == [(2, 1 + WINDOW)]
        assert [data for _, data in ann.got] == ["seen", *map(str, range(WINDOW, 2 * WINDOW))]

    async def test_a_slow_one_is_told_a_gap_and_goes_on(self, handler: SSEHandler, pages: dict[str, Page]) -> None:
        ann, bob = pages["ann"], pages["bob"]
        exchange: AsgiExchange = ann.exchange
        exchange.suspend()
        for number in range(4 * WINDOW):
            await handler.broadcast(str(number))
            await turns(3)
        assert [data for _, data in bob.read()] == [str(number) for number in range(4 * WINDOW)]
        exchange.resume()
        await turns()
        ann.read()
        assert len(ann.gaps) == 1
        first, last = ann.gaps[0]
        kept = [*range(first - 1), *range(last, 4 * WINDOW)]
        assert [data for _, data in ann.got] == [str(number) for number in kept]

    @pytest.mark.parametrize("last_event_id", ["nonsense", "a-b-c", "e-1.0"])
    async def test_an_id_that_is_none_is_refused(self, handler: SSEHandler, last_event_id: str) -> None:
        with pytest.raises(InvalidEventId):
            await handler.create_stream(Request({"last-event-id": last_event_id}))

    async def test_an_id_of_another_server_starts_anew(self, handler: SSEHandler) -> None:
        await handler.broadcast("kept")
        page = Page(handler, "ann")
        page._last_event_id = "elsewhere-7"
        await page.connect()
        assert page.exchange.headers["patinox-outcome"] == "reset"
        assert page.read() == [("message", "kept")]
        await page.leave()


class TestEnding:
    async def test_closing_ends_every_connection(self, handler: SSEHandler, pages: dict[str, Page]) -> None:
        await handler.aclose()
        await turns()
        for page in pages.values():
            assert page.exchange.is_whole
            assert page.read()[-1][0] == "end"
        with pytest.raises(StreamClosed):
            await handler.broadcast("too late")
        await handler.aclose()

    async def test_who_comes_back_after_the_end_is_told_to_stop(
        self, handler: SSEHandler, pages: dict[str, Page]
    ) -> None:
        await handler.aclose()
        await turns()
        await pages["ann"].leave()
        await pages["ann"].connect()
        assert pages["ann"].status == 204

    async def test_nothing_is_left(self, handler: SSEHandler, manager: StreamManager, pages: dict[str, Page]) -> None:
        for page in pages.values():
            await page.leave()
        assert handler.connections == 0
        assert repr(handler) == "<SSEHandler 0 connections>"
        assert manager.stats()["connections"] == manager.stats()["subscriptions"] == 0

    async def test_a_handler_that_nobody_used_has_nothing_to_close(
        self, handler: SSEHandler, manager: StreamManager
    ) -> None:
        await handler.aclose()
        assert (len(manager), handler.connections) == (0, 0)


def test_the_formatter_writes_what_browsers_read() -> None:
    block = SSEFormatter(2.5).format(SSEEvent("one\ntwo", event="news", id="7"))
    (event,) = EventStreamParser().feed(block.encode())
    assert (event.event, event.data, event.id) == ("news", "one\ntwo", "7")
    assert "retry: 2500\n" in block
    assert repr(SSEFormatter()) == "<SSEFormatter retry 5.0 s>"
    with pytest.raises(InputError):
        SSEFormatter().format(SSEEvent("x", id="1\n2"))


NAMES = ("ann", "bob", "cid")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.frozensets(st.sampled_from(NAMES), min_size=1)),
        st.tuples(st.just("broadcast"), st.just(frozenset[str]())),
        st.tuples(st.just("leave"), st.sampled_from(NAMES)),
        st.tuples(st.just("come"), st.sampled_from(NAMES)),
        st.tuples(st.just("stall"), st.sampled_from(NAMES)),
        st.tuples(st.just("turn"), st.just("")),
    ),
    max_size=40,
)


@given(steps=steps)
@settings(max_examples=60, deadline=None)
def test_everybody_gets_what_is_theirs_once_and_nothing_else(steps: list[Any]) -> None:
    """Whatever happens meanwhile, but for what a gap says was missed."""
    asyncio.run(_everybody(steps))


async def _everybody(steps: list[Any]) -> None:
    async with StreamManager(StreamingConfig(buffer_size=WINDOW, drain_timeout_s=0)) as manager:
        handler = SSEHandler(manager)
        pages = {name: await Page(handler, name).connect() for name in NAMES}
        sent: list[frozenset[str]] = []
        for what, whom in steps:
            if what in ("send", "broadcast"):
                text = str(len(sent) + 1)
                await (handler.send_event(whom, text) if what == "send" else handler.broadcast(text))
                sent.append(whom or frozenset(NAMES))
            elif what == "turn":
                await turns()
            elif what == "stall" and pages[whom].exchange is not None:
                pages[whom].exchange.suspend()
            elif what == "leave" and pages[whom].exchange is not None:
                await pages[whom].leave()
            elif what == "come" and pages[whom].exchange is None:
                await pages[whom].connect()
        for name, page in pages.items():
            if page.exchange is None:
                await page.connect()
            page.exchange.resume()
            await turns()
            page.read()
            numbers = [int(data) for _, data in page.got]
            missed = {number for first, last in page.gaps for number in range(first, last + 1)}
            theirs = [number for number, whom in enumerate(sent, 1) if name in whom]
            assert numbers == sorted(set(numbers))
            assert set(numbers) <= set(theirs)
            assert set(theirs) - set(numbers) <= missed
            await page.leave()
