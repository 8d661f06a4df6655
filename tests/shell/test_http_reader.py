"""Readers over HTTP, driven without sockets: what they are told, how they leave, and what stands in between."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from tests.tally import tally

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.config import SseConfig
from patinox.core.chunks import Error, Json
from patinox.delivery.subscription import MAX_WRITE_BYTES
from patinox.formats.framing import EventStreamParser, ServerSentEvent
from patinox.formats.registry import builtin
from patinox.manager import ActiveStream
from patinox.testing.fakes import App, AsgiClient, AsgiExchange, ManualClock, turns

SSE = {"accept": "text/event-stream"}
NDJSON = {"accept": "application/x-ndjson"}
TEXT = {"accept": "text/plain"}


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    formats = {**builtin(), "tally": tally()}
    config = StreamingConfig(buffer_size=20, drain_timeout_s=0, sse=SseConfig(retry_interval_s=2.0))
    async with StreamManager(config, formats=formats) as manager:
        yield manager


@pytest.fixture
def client(manager: StreamManager) -> AsgiClient:
    return AsgiClient(PatinoxApp(manager))


@pytest.fixture
async def stream(manager: StreamManager) -> ActiveStream:
    return await manager.create(id="s")


def events(body: bytes) -> list[ServerSentEvent]:
    return EventStreamParser().feed(body)


def kinds(body: bytes) -> list[str]:
    return [event.event for event in events(body)]


async def written(stream: ActiveStream, count: int, *, end: str | None = "complete") -> ActiveStream:
    for number in range(1, count + 1):
        stream.write_nowait(f"t{number} ")
    if end is not None:
        await stream.finish(end)
    return stream


class TestAnswers:
    async def test_an_event_stream_has_the_headers_that_keep_it_flowing(self, client: AsgiClient, stream: Any) -> None:
        await written(stream, 2)
        answer = await client.request("GET", "/v1/streams/s", headers=SSE)
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["patinox-position"] == f"{stream.epoch}-0"
        assert answer.headers["patinox-outcome"] == "start"
        assert answer.body.startswith(b"retry: 2000\n\n")
        assert kinds(answer.body) == ["position", "text", "text", "end"]
        assert answer.is_whole

    async def test_the_position_comes_before_anything_else_happens(self, client: AsgiClient, stream: Any) -> None:
        async with client.open("GET", "/v1/streams/s", headers=SSE) as exchange:
            await exchange.until(lambda: exchange.body)
            (position,) = events(exchange.body)
            assert (position.event, position.id) == ("position", f"{stream.epoch}-0")
            assert msgspec.json.decode(position.data)["outcome"] == "start"

    async def test_lines_carry_the_same_records(self, client: AsgiClient, stream: Any) -> None:
        await written(stream, 2)
        answer = await client.request("GET", "/v1/streams/s", headers=NDJSON)
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        lines = [msgspec.json.decode(line) for line in answer.body.splitlines()]
        assert [line["event"] for line in lines] == ["position", "text", "text", "end"]
        assert lines[1] == {"id": f"{stream.epoch}-1", "event": "text", "data": {"text": "t1 "}}

    async def test_plain_text_is_the_text(self, client: AsgiClient, stream: Any) -> None:
        await written(stream, 3)
        answer = await client.request("GET", "/v1/streams/s", headers=TEXT)
        assert (answer.text, answer.is_whole) == ("t1 t2 t3 ", True)

    async def test_text_over_sse_has_bare_text(self, client: AsgiClient, stream: Any) -> None:
        await written(stream, 2)
        answer = await client.request("GET", "/v1/streams/s?format=text", headers=SSE)
        assert [event.data for event in events(answer.body)][1:3] == ["t1 ", "t2 "]
        assert kinds(answer.body)[-1] == "end"

    async def test_a_format_that_is_named_has_its_own_type(self, client: AsgiClient, stream: Any) -> None:
        await written(stream, 2)
        for accept in ({}, {"accept": "*/*"}, TEXT):
            answer = await client.request("GET", "/v1/streams/s?format=text", headers=accept)
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            assert answer.text == "t1 t2 "

    @pytest.mark.parametrize("outcome", ["failed", "cancelled", "interrupted"])
    async def test_plain_text_that_went_wrong_is_cut(self, client: AsgiClient, stream: Any, outcome: str) -> None:
        async with client.open("GET", "/v1/streams/s", headers=TEXT) as exchange:
            await exchange.until(lambda: exchange.messages)
            await written(stream, 2, end=outcome)
            await exchange.finished()
            assert (exchange.text, exchange.is_whole) == ("t1 t2 ", False)

    @pytest.mark.parametrize("outcome", ["failed", "cancelled", "interrupted", "incomplete"])
    async def test_native_readers_are_told_every_ending(self, client: AsgiClient, stream: Any, outcome: str) -> None:
        await written(stream, 1, end=outcome)
        answer = await client.request("GET", "/v1/streams/s", headers=SSE)
        last = events(answer.body)[-1]
        assert last.event == ("error" if outcome == "failed" else "end")
        assert answer.is_whole
        if outcome != "failed":
            assert msgspec.json.decode(last.data)["outcome"] == outcome

    async def test_a_foreign_dialect_is_bare_and_its_position_in_the_headers(
        self, client: AsgiClient, stream: Any
    ) -> None:
        await written(stream, 9)
        answer = await client.request("GET", f"/v1/streams/s?format=tally&after={stream.epoch}-4")
        assert answer.headers["patinox-position"] == f"{stream.epoch}-4"
        assert answer.headers["patinox-outcome"] == "resumed"
        for word in (b"id:", b"retry:", b": ", b"position"):
            assert not any(line.startswith(word) for line in answer.body.splitlines())
        assert answer.body.startswith(b"data: open ")

    @pytest.mark.parametrize(("query", "headers"), [("&ids=1", {}), ("", {"patinox-ids": "1"})])
    async def test_ids_in_a_foreign_dialect_are_there_for_the_asking(
        self, client: AsgiClient, stream: Any, query: str, headers: dict[str, str]
    ) -> None:
        await written(stream, 5)
        answer = await client.request("GET", f"/v1/streams/s?format=tally{query}", headers=headers)
        ids = [event.id for event in events(answer.body)]
        epoch = stream.epoch
        assert ids == [f"{epoch}-{n}" for n in ("1.1", "1.2", "1", "2.1", "2", "3", "5.1", "5.2", "5", "6")]

    async def test_openers_can_be_declined(self, client: AsgiClient, stream: Any) -> None:
        await written(stream, 5)
        target = f"/v1/streams/s?format=tally&after={stream.epoch}-2"
        fresh = await client.request("GET", target)
        bare = await client.request("GET", f"{target}&openers=false")
        resumed = await client.request(
            "GET", "/v1/streams/s?format=tally", headers={"last-event-id": f"{stream.epoch}-2"}
        )
        assert b"open" not in bare.body
        assert resumed.body == bare.body
        assert fresh.body.endswith(bare.body)
        assert fresh.body != bare.body

    async def test_head_answers_without_a_body_and_at_once(self, client: AsgiClient, stream: Any) -> None:
        answer = await client.request("HEAD", "/v1/streams/s", headers=SSE)
        assert (answer.status, answer.body) == (200, b"")
        assert stream.feed.readers == 0


class TestResuming:
    async def test_last_event_id_goes_on_exactly(self, client: AsgiClient, stream: Any) -> None:
        await written(stream, 50)
        whole = await client.request("GET", "/v1/streams/s", headers=SSE)
        for sequence in (0, 1, 25, 49, 50):
            headers = {**SSE, "last-event-id": f"{stream.epoch}-{sequence}"}
            rest = await client.request("GET", "/v1/streams/s", headers=headers)
            assert events(rest.body)[1:] == events(whole.body)[1 + sequence :]
            assert rest.headers["patinox-outcome"] == "resumed"

    async def test_last_event_id_wins_over_after(self, client: AsgiClient, stream: Any) -> None:
        await written(stream, 3)
        headers = {**SSE, "last-event-id": f"{stream.epoch}-2"}
        answer = await client.request("GET", "/v1/streams/s?after=start", headers=headers)
        assert kinds(answer.body) == ["position", "text", "end"]

    @pytest.mark.parametrize("accept", [SSE, NDJSON, TEXT])
    async def test_at_the_end_there_is_no_content(
        self, client: AsgiClient, stream: Any, accept: dict[str, str]
    ) -> None:
        await written(stream, 3)
        answer = await client.request("GET", "/v1/streams/s", headers={**accept, "last-event-id": stream.position})
        assert (answer.status, answer.body) == (204, b"")
        assert stream.feed.readers == 0

    @pytest.mark.parametrize("id_", ["other-3", "{epoch}-99"])
    async def test_an_id_that_means_nothing_here_is_a_reset(self, client: AsgiClient, stream: Any, id_: str) -> None:
        await written(stream, 3)
        headers = {**SSE, "last-event-id": id_.format(epoch=stream.epoch)}
        answer = await client.request("GET", "/v1/streams/s", headers=headers)
        assert answer.status == 200
        assert answer.headers["patinox-outcome"] == "reset"
        assert kinds(answer.body) == ["position", "text", "text", "text", "end"]

    @pytest.mark.parametrize("where", ["header", "query"])
    @pytest.mark.parametrize("id_", ["nonsense", "e-", "e-1.0", "e-01", "-1", "e--1"])
    async def test_a_malformed_id_is_refused(self, client: AsgiClient, stream: Any, id_: str, where: str) -> None:
        headers = {"last-event-id": id_} if where == "header" else {}
        query = f"?after={id_}" if where == "query" else ""
        answer = await client.request("GET", f"/v1/streams/s{query}", headers=headers)
        assert answer.status == 400
        assert answer.json()["error"]["code"] == "invalid_event_id"
        assert stream.feed.readers == 0

    async def test_now_skips_what_was(self, client: AsgiClient, stream: Any) -> None:
        await written(stream, 3, end=None)
        async with client.open("GET", "/v1/streams/s?after=now", headers=SSE) as exchange:
            await exchange.until(lambda: exchange.body)
            assert events(exchange.body)[0].id == f"{stream.epoch}-3"
            stream.write_nowait("new")
            await stream.finish()
            await exchange.finished()
            assert kinds(exchange.body) == ["position", "text", "end"]

    async def test_now_on_an_ended_stream_is_complete(self, client: AsgiClient, stream: Any) -> None:
        await written(stream, 3)
        answer = await client.request("GET", "/v1/streams/s?after=now", headers=SSE)
        assert answer.status == 200
        assert answer.headers["patinox-outcome"] == "complete"
        assert (kinds(answer.body), answer.is_whole) == (["position"], True)

    async def test_snapshot_is_everything_so_far_and_then_the_rest(self, client: AsgiClient, stream: Any) -> None:
        await written(stream, 30, end=None)
        async with client.open("GET", "/v1/streams/s?after=snapshot", headers=SSE) as exchange:
            await exchange.until(lambda: b"event: snapshot" in exchange.body)
            stream.write_nowait("new")
            await stream.finish()
            await exchange.finished()
            assert kinds(exchange.body) == ["position", "snapshot", "text", "end"]
            snapshot = events(exchange.body)[1]
            assert snapshot.id == f"{stream.epoch}-30"
            assert msgspec.json.decode(snapshot.data)["content"].endswith("t30 ")

    async def test_a_snapshot_that_stops_being_possible_while_it_is_sent_loses_nothing(
        self, client: AsgiClient, stream: Any
    ) -> None:
        await written(stream, 3, end=None)
        exchange = client.open("GET", "/v1/streams/s?after=snapshot", headers=SSE)
        exchange.suspend()
        async with exchange:
            await turns()
            stream.write_nowait(Json("the application's own"))
            await stream.finish()
            exchange.resume()
            await exchange.finished()
            assert kinds(exchange.body) == ["position", "snapshot", "json", "end"]
            assert b"t1 t2 t3 " in exchange.body

    async def test_a_stream_with_data_of_its_own_starts_instead(self, client: AsgiClient, stream: Any) -> None:
        stream.write_nowait(Json(1))
        await stream.finish()
        answer = await client.request("GET", "/v1/streams/s?after=snapshot", headers=SSE)
        assert kinds(answer.body) == ["position", "json", "end"]

    async def test_what_was_evicted_is_told(self, client: AsgiClient, manager: StreamManager) -> None:
        stream = await manager.create(id="w", retain="window")
        for number in range(50):
            stream.write_nowait(Json(number))
        await stream.finish()
        headers = {**SSE, "last-event-id": f"{stream.epoch}-5"}
        answer = await client.request("GET", "/v1/streams/w", headers=headers)
        assert answer.headers["patinox-outcome"] == "gap"
        assert answer.headers["patinox-gap"] == "6-31"
        assert kinds(answer.body)[:3] == ["position", "gap", "json"]
        foreign = await client.request(
            "GET", "/v1/streams/w?format=tally", headers={"last-event-id": headers["last-event-id"]}
        )
        assert foreign.headers["patinox-gap"] == "6-31"

    async def test_a_part_resumes_within_its_record(self, client: AsgiClient, stream: Any) -> None:
        await written(stream, 9)
        target = "/v1/streams/s?format=tally&ids=1"
        whole = events((await client.request("GET", target)).body)
        for k, event in enumerate(whole[:-1]):
            rest = await client.request("GET", target, headers={"last-event-id": event.id or ""})
            assert events(rest.body) == whole[k + 1 :]


class TestLeaving:
    async def test_leaving_before_the_first_token_frees_everything_and_stops_nobody(
        self, client: AsgiClient, stream: Any, manager: StreamManager
    ) -> None:
        before = asyncio.all_tasks()
        async with client.open("GET", "/v1/streams/s", headers=SSE) as exchange:
            await exchange.until(lambda: exchange.body)
            assert stream.feed.readers == 1
            exchange.disconnect()
            await exchange.finished()
        assert stream.feed.readers == 0
        assert len(manager.fanout) == 0
        assert asyncio.all_tasks() == before
        assert stream.is_open
        await written(stream, 1)

    async def test_leaving_before_anything_was_sent(self, client: AsgiClient, stream: Any) -> None:
        exchange = client.open("GET", "/v1/streams/s", headers=SSE)
        exchange.disconnect()
        async with exchange:
            await exchange.finished()
        assert stream.feed.readers == 0

    async def test_leaving_while_a_write_waits(self, client: AsgiClient, stream: Any, manager: StreamManager) -> None:
        async with client.open("GET", "/v1/streams/s", headers=SSE) as exchange:
            await exchange.until(lambda: exchange.body)
            exchange.suspend()
            await written(stream, 5, end=None)
            await turns()
        assert (stream.feed.readers, len(manager.fanout)) == (0, 0)

    async def test_a_reader_that_suspends_gets_the_rest_when_it_takes_again(
        self, client: AsgiClient, stream: Any
    ) -> None:
        async with client.open("GET", "/v1/streams/s", headers=SSE) as slow:
            await slow.until(lambda: slow.body)
            slow.suspend()
            for _ in range(10):
                await written(stream, 5, end=None)
                await turns(3)
            await stream.finish()
            slow.resume()
            await slow.finished()
            assert [event.id for event in events(slow.body)[1:]] == [f"{stream.epoch}-{n}" for n in range(1, 52)]

    async def test_a_server_that_raises_for_a_lost_connection_is_understood(
        self, manager: StreamManager, stream: Any
    ) -> None:
        class Lost(OSError):
            pass

        app = PatinoxApp(manager)

        async def losing(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
            async def send_or_raise(message: Any) -> None:
                if b"t1 " in message.get("body", b""):  # not in an epoch that happens to have it
                    raise Lost
                await send(message)

            await app(scope, receive, send_or_raise)

        async with AsgiClient(losing).open("GET", "/v1/streams/s", headers=SSE) as exchange:
            await exchange.until(lambda: exchange.body)
            await written(stream, 3, end=None)
            await exchange.finished()
        assert stream.feed.readers == 0

    async def test_a_connection_lost_at_the_opening_frees_everything(self, manager: StreamManager, stream: Any) -> None:
        app = PatinoxApp(manager)

        async def losing(scope: Any, receive: Any, send: Any) -> None:
            async def send_or_raise(message: Any) -> None:
                if message["type"] == "http.response.body":
                    raise ConnectionResetError

            await app(scope, receive, send_or_raise)

        with pytest.raises(ConnectionResetError):
            await AsgiClient(losing).request("GET", "/v1/streams/s", headers=SSE)
        assert stream.feed.readers == 0

    async def test_a_client_that_never_takes_the_first_bytes_is_let_go(
        self, client: AsgiClient, stream: Any, manager: StreamManager
    ) -> None:
        clock = ManualClock()
        clock.install(asyncio.get_running_loop())
        exchange = client.open("GET", "/v1/streams/s", headers=SSE)
        exchange.suspend()
        async with exchange:
            await turns()
            await clock.advance(manager.config.write_deadline_s + 1)
            assert exchange.is_finished
        assert stream.feed.readers == 0

    async def test_connections_are_limited_before_anything_is_sent(self) -> None:
        config = StreamingConfig(drain_timeout_s=0, sse=SseConfig(max_connections=2))
        async with StreamManager(config) as manager:
            client = AsgiClient(PatinoxApp(manager))
            await manager.create(id="s")
            async with client.open("GET", "/v1/streams/s") as one, client.open("GET", "/v1/streams/s") as two:
                await one.until(lambda: one.body)
                await two.until(lambda: two.body)
                await turns()
                refused = await client.request("GET", "/v1/streams/s")
        assert refused.status == 503
        assert refused.json()["error"]["code"] == "limit"
        assert int(refused.headers["retry-after"]) > 0


class TestMiddlewares:
    """Streams are whole and in order behind whatever stands between."""

    async def _live(self, app: App, stream: ActiveStream, headers: dict[str, str]) -> AsgiExchange:
        async with AsgiClient(app).open("GET", "/v1/streams/s", headers=headers) as exchange:
            await exchange.until(lambda: exchange.messages)
            for _ in range(10):
                await written(stream, 3, end=None)
                await turns(3)
            stream.write_nowait("x" * 3 * MAX_WRITE_BYTES)
            await turns(3)
            await written(stream, 2)
            return await exchange.finished()

    def _wrapped(self, manager: StreamManager, *middleware: Any, **options: Any) -> Starlette:
        app = Starlette()
        app.mount("/", PatinoxApp(manager))
        for kind in middleware:
            app.add_middleware(kind, **options)
        return app

    def _assert_whole(self, body: bytes, stream: ActiveStream) -> None:
        assert [event.id for event in events(body)] == [f"{stream.epoch}-{n}" for n in range(35)]

    async def test_base_http_middleware(self, manager: StreamManager, stream: Any) -> None:
        class Passing(BaseHTTPMiddleware):
            async def dispatch(self, request: Request, call_next: Any) -> Response:
                response: Response = await call_next(request)
                response.headers["x-seen"] = "yes"
                return response

        answer = await self._live(self._wrapped(manager, Passing), stream, SSE)
        assert answer.headers["x-seen"] == "yes"
        self._assert_whole(answer.body, stream)
        assert answer.is_whole

    async def test_leaving_through_base_http_middleware(self, manager: StreamManager, stream: Any) -> None:
        class Passing(BaseHTTPMiddleware):
            async def dispatch(self, request: Request, call_next: Any) -> Response:
                response: Response = await call_next(request)
                return response

        app = self._wrapped(manager, Passing)
        async with AsgiClient(app).open("GET", "/v1/streams/s", headers=SSE) as exchange:
            await exchange.until(lambda: exchange.body)
        assert stream.feed.readers == 0

    @pytest.mark.parametrize("accept", [SSE, NDJSON, TEXT])
    async def test_gzip_of_several_readers_at_once(
        self, manager: StreamManager, stream: Any, accept: dict[str, str]
    ) -> None:
        app = self._wrapped(manager, GZipMiddleware, minimum_size=1)
        headers = {**accept, "accept-encoding": "gzip"}
        answers = await asyncio.gather(
            self._live(app, stream, headers), *(self._attend(app, headers) for _ in range(3))
        )
        bodies = [self._unpacked(answer) for answer in answers]
        assert all(body == bodies[0] for body in bodies)
        if accept is SSE:
            self._assert_whole(bodies[0], stream)
        assert bodies[0].count(b"t1 ") == 11

    async def test_gzip_with_a_large_snapshot_first(self, manager: StreamManager, stream: Any) -> None:
        stream.write_nowait("é" * 100_000)
        await stream.finish()
        app = self._wrapped(manager, GZipMiddleware)
        headers = {**NDJSON, "accept-encoding": "gzip"}
        answer = await AsgiClient(app).request("GET", "/v1/streams/s?after=snapshot", headers=headers)
        lines = [msgspec.json.decode(line) for line in self._unpacked(answer).splitlines()]
        assert [line["event"] for line in lines] == ["position", "snapshot", "end"]

    async def _attend(self, app: App, headers: dict[str, str]) -> AsgiExchange:
        return await AsgiClient(app).request("GET", "/v1/streams/s", headers=headers)

    def _unpacked(self, answer: AsgiExchange) -> bytes:
        if answer.headers.get("content-encoding") != "gzip":
            return answer.body
        assert zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(answer.bodies[0]) is not None
        return gzip.decompress(answer.body)

    @pytest.mark.parametrize("accept", [SSE, TEXT])
    async def test_a_middleware_that_needs_a_task_around_send(
        self, manager: StreamManager, stream: Any, accept: dict[str, str]
    ) -> None:
        app = PatinoxApp(manager)

        async def timed(scope: Any, receive: Any, send: Any) -> None:
            async def send_in_time(message: Any) -> None:
                async with asyncio.timeout(30):
                    await send(message)

            await app(scope, receive, send_in_time)

        answer = await self._live(timed, stream, accept)
        assert answer.is_whole
        if accept is SSE:
            self._assert_whole(answer.body, stream)
        else:
            assert answer.text.count("t1 ") == 11

    async def test_a_server_whose_send_returns_no_coroutine(self, manager: StreamManager, stream: Any) -> None:
        app = PatinoxApp(manager)

        async def foreign(scope: Any, receive: Any, send: Any) -> None:
            def send_soon(message: Any) -> asyncio.Future[None]:
                later: asyncio.Future[None] = asyncio.ensure_future(send(message))
                return later

            await app(scope, receive, send_soon)

        answer = await self._live(foreign, stream, SSE)
        self._assert_whole(answer.body, stream)
        assert kinds(answer.body).count("position") == 1

    async def test_a_send_that_always_takes_a_turn(self, manager: StreamManager, stream: Any) -> None:
        app = PatinoxApp(manager)

        async def dawdling(scope: Any, receive: Any, send: Any) -> None:
            async def send_later(message: Any) -> None:
                await asyncio.sleep(0)
                await send(message)
                await asyncio.sleep(0)

            await app(scope, receive, send_later)

        answer = await self._live(dawdling, stream, SSE)
        self._assert_whole(answer.body, stream)

    async def test_an_error_of_the_producer_passes_too(self, manager: StreamManager, stream: Any) -> None:
        class Passing(BaseHTTPMiddleware):
            async def dispatch(self, request: Request, call_next: Any) -> Response:
                response: Response = await call_next(request)
                return response

        app = self._wrapped(manager, Passing)
        async with AsgiClient(app).open("GET", "/v1/streams/s", headers=SSE) as exchange:
            await exchange.until(lambda: exchange.body)
            stream.write_nowait(Error("boom", "it broke"))
            await exchange.finished()
            assert kinds(exchange.body) == ["position", "error"]
