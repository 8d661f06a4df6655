"""Patinox in somebody's application: one endpoint that streams and resumes, and the application itself."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp, sse_response
from patinox.config import SseConfig
from patinox.formats.framing import EventStreamParser, ServerSentEvent
from patinox.testing.fakes import AsgiClient, turns

SSE = {"accept": "text/event-stream"}


class Model:
    """A model of which every call is counted, and so is what was read and closed of each."""

    def __init__(self, words: int = 5) -> None:
        self.words = words
        self.calls = 0
        self.begun = 0
        self.closed = 0
        self.go = asyncio.Event()
        self.go.set()

    async def generate(self) -> AsyncIterator[str]:
        self.begun += 1
        try:
            for number in range(1, self.words + 1):
                await self.go.wait()
                yield f"w{number} "
        finally:
            self.closed += 1

    async def create(self) -> AsyncIterator[str]:
        """As an SDK's `create(stream=True)`: a coroutine that asks, and gives what streams."""
        self.calls += 1
        return self.generate()


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
        yield manager


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture(params=["generator", "coroutine"])
def client(request: pytest.FixtureRequest, manager: StreamManager, model: Model) -> AsgiClient:
    """A FastAPI application with one endpoint, over either kind of source."""
    app = FastAPI()

    @app.get("/answer")
    async def answer(request: FastAPIRequest) -> Response:
        return await sse_response(request, manager.relay(source()), headers={"x-own": "yes"})

    def source() -> Any:
        return model.generate() if request.param == "generator" else model.create()

    return AsgiClient(app)


def events(body: bytes) -> list[ServerSentEvent]:
    return EventStreamParser().feed(body)


class TestSseResponse:
    async def test_an_answer_is_streamed(self, client: AsgiClient, model: Model) -> None:
        answer = await client.request("GET", "/answer", headers=SSE)
        assert answer.status == 200
        assert answer.headers["x-own"] == "yes"
        assert "content-length" not in answer.headers
        assert [event.event for event in events(answer.body)] == ["position", *["text"] * 5, "end"]
        assert (model.begun, model.closed) == (1, 1)

    async def test_it_is_resumed_without_asking_the_model_again(self, client: AsgiClient, model: Model) -> None:
        whole = events((await client.request("GET", "/answer", headers=SSE)).body)
        calls = model.calls
        for k, event in enumerate(whole[:-1]):
            rest = await client.request("GET", "/answer", headers={**SSE, "last-event-id": event.id or ""})
            assert events(rest.body)[1:] == whole[max(k, 0) + 1 :]
        gc.collect()  # a coroutine that nobody awaited would warn here
        assert (model.begun, model.calls) == (1, calls)

    async def test_it_is_resumed_while_it_runs(self, client: AsgiClient, model: Model, manager: StreamManager) -> None:
        model.go.clear()
        async with client.open("GET", "/answer", headers=SSE) as first:
            await first.until(lambda: first.body)
            (position,) = events(first.body)
        (stream,) = manager
        assert (stream.feed.readers, stream.is_open) == (0, True)
        async with client.open("GET", "/answer", headers={**SSE, "last-event-id": position.id or ""}) as second:
            await second.until(lambda: second.body)
            model.go.set()
            await second.finished()
            assert [event.event for event in events(second.body)] == ["position", *["text"] * 5, "end"]
        assert model.begun == 1

    async def test_after_in_the_query_resumes_as_well(self, client: AsgiClient, model: Model) -> None:
        whole = events((await client.request("GET", "/answer", headers=SSE)).body)
        rest = await client.request("GET", f"/answer?after={whole[3].id}", headers=SSE)
        assert events(rest.body)[1:] == whole[4:]
        assert model.begun == 1

    async def test_at_the_end_there_is_no_content(self, client: AsgiClient, model: Model) -> None:
        whole = events((await client.request("GET", "/answer", headers=SSE)).body)
        answer = await client.request("GET", "/answer", headers={**SSE, "last-event-id": whole[-1].id or ""})
        assert (answer.status, model.begun) == (204, 1)

    async def test_an_id_of_a_stream_that_is_gone_starts_anew_and_says_so(
        self, client: AsgiClient, model: Model
    ) -> None:
        answer = await client.request("GET", "/answer", headers={**SSE, "last-event-id": "gone-3"})
        assert answer.headers["patinox-outcome"] == "reset"
        assert events(answer.body)[-1].event == "end"
        assert model.begun == 1

    @pytest.mark.parametrize(
        ("target", "headers", "status"),
        [("/answer", {"last-event-id": "nonsense"}, 400), ("/answer?after=x", {}, 400),
         ("/answer?format=nonsense", {}, 406), ("/answer", {"accept": "image/png"}, 406)],
    )  # fmt: skip
    async def test_what_cannot_be_answered_asks_nothing(
        self, client: AsgiClient, model: Model, manager: StreamManager, target: str, headers: Any, status: int
    ) -> None:
        answer = await client.request("GET", target, headers=headers)
        gc.collect()
        assert answer.status == status
        assert answer.json()["error"]["code"]
        assert (model.begun, model.calls, len(manager)) == (0, 0, 0)

    async def test_a_full_server_asks_nothing(self, model: Model) -> None:
        config = StreamingConfig(drain_timeout_s=0, sse=SseConfig(max_connections=1))
        async with StreamManager(config) as manager:

            async def endpoint(request: Request) -> Response:
                return await sse_response(request, manager.relay(model.create()))

            app = Starlette(routes=[Route("/", endpoint)])
            model.go.clear()
            async with AsgiClient(app).open("GET", "/") as first:
                await first.until(lambda: first.body)
                await turns()
                refused = await AsgiClient(app).request("GET", "/")
                assert refused.status == 503
        assert model.calls == 1

    @pytest.mark.parametrize("accept", ["text/html,*/*;q=0.8", None, "text/event-stream"])
    async def test_a_browser_that_opens_it_sees_the_stream(self, client: AsgiClient, accept: str | None) -> None:
        answer = await client.request("GET", "/answer", headers={} if accept is None else {"accept": accept})
        assert answer.headers["content-type"].startswith("text/event-stream")

    async def test_other_formats_are_there_for_the_asking(self, client: AsgiClient) -> None:
        text = await client.request("GET", "/answer", headers={"accept": "text/plain"})
        lines = await client.request("GET", "/answer?format=ndjson")
        chat = await client.request("GET", "/answer?format=openai-chat")
        assert text.text == "w1 w2 w3 w4 w5 "
        assert len(lines.body.splitlines()) == 7
        assert chat.body.endswith(b"data: [DONE]\n\n")

    async def test_the_snapshot_is_to_be_had(self, client: AsgiClient) -> None:
        answer = await client.request("GET", "/answer", headers={"accept": "application/json"})
        assert answer.json()["state"] == "open"

    async def test_leaving_does_not_stop_the_model(
        self, client: AsgiClient, model: Model, manager: StreamManager
    ) -> None:
        model.go.clear()
        async with client.open("GET", "/answer", headers=SSE) as exchange:
            await exchange.until(lambda: exchange.body)
        model.go.set()
        await turns()
        (stream,) = manager
        assert stream.state == "complete"
        assert stream.assembly.content == "w1 w2 w3 w4 w5 "

    async def test_a_stream_by_itself_can_be_answered_with(self, manager: StreamManager) -> None:
        stream = await manager.create()
        await stream.write("a")
        await stream.finish()

        async def endpoint(request: Request) -> Response:
            return await sse_response(request, stream, format="ndjson")

        answer = await AsgiClient(Starlette(routes=[Route("/", endpoint)])).request("GET", "/")
        assert [msgspec.json.decode(line)["event"] for line in answer.body.splitlines()] == ["position", "text", "end"]


class TestPatinoxApp:
    async def test_it_makes_and_closes_its_own_manager_with_the_lifespan(self) -> None:
        app = PatinoxApp()
        asked: asyncio.Queue[Any] = asyncio.Queue()
        answered: asyncio.Queue[Any] = asyncio.Queue()
        serving = asyncio.ensure_future(app({"type": "lifespan"}, asked.get, answered.put))
        asked.put_nowait({"type": "lifespan.startup"})
        assert (await answered.get())["type"] == "lifespan.startup.complete"
        client = AsgiClient(app)
        assert (await client.request("POST", "/v1/streams", json={"id": "a"})).status == 201
        asked.put_nowait({"type": "lifespan.shutdown"})
        assert (await answered.get())["type"] == "lifespan.shutdown.complete"
        await serving
        assert app.manager.get("a").state == "interrupted"
        refused = await client.request("POST", "/v1/streams")
        assert (refused.status, refused.json()["error"]["code"]) == (503, "shutting_down")

    async def test_it_leaves_a_manager_that_was_given_to_it_alone(self, manager: StreamManager) -> None:
        app = PatinoxApp(manager)
        asked: asyncio.Queue[Any] = asyncio.Queue()
        answered: asyncio.Queue[Any] = asyncio.Queue()
        for message in ("lifespan.startup", "lifespan.shutdown"):
            asked.put_nowait({"type": message})
        await app({"type": "lifespan"}, asked.get, answered.put)
        assert (await manager.create()).is_open

    async def test_it_is_mounted_anywhere(self, manager: StreamManager) -> None:
        app = Starlette(routes=[Mount("/live", PatinoxApp(manager))])
        client = AsgiClient(app)
        made = await client.request("POST", "/live/v1/streams", json={"id": "a"})
        assert made.headers["location"] == "/live/v1/streams/a"
        appended = await client.request(
            "POST", "/live/v1/streams/a/chunks?final=1", headers={"content-type": "text/plain"}, body=b"x"
        )
        assert appended.status == 200
        read = await client.request("GET", made.headers["location"], headers={"accept": "text/plain"})
        assert read.text == "x"

    async def test_a_mount_that_cuts_its_prefix_off_and_adds_a_slash_is_understood(
        self, manager: StreamManager
    ) -> None:
        async def mount(scope: Any, receive: Any, send: Any) -> None:  # as Litestar hands a request on
            cut = scope["path"].removeprefix("/live") + "/"
            raw = scope["path"].encode()
            await PatinoxApp(manager)({**scope, "path": cut, "raw_path": raw, "root_path": ""}, receive, send)

        client = AsgiClient(mount)
        made = await client.request("POST", "/live/v1/streams", json={"id": "s"})
        assert (made.status, made.headers["location"]) == (201, "/live/v1/streams/s")
        read = await client.request("GET", "/live/v1/streams/s", headers={"accept": "application/json"})
        assert read.json()["id"] == "s"

    async def test_a_path_that_is_not_there_is_an_error_like_all_others(self, manager: StreamManager) -> None:
        answer = await AsgiClient(PatinoxApp(manager)).request("GET", "/nosuch")
        assert (answer.status, answer.json()["error"]["code"]) == (404, "no_such_path")

    async def test_two_hundred_viewers_that_attach_at_different_times_see_the_same_text(
        self, manager: StreamManager
    ) -> None:
        stream = await manager.create(id="s")
        client = AsgiClient(PatinoxApp(manager))
        accepts = ("text/event-stream", "application/x-ndjson", "text/plain")
        viewers = []
        for number in range(200):
            exchange = client.open("GET", "/v1/streams/s", headers={"accept": accepts[number % 3]})
            viewers.append(await exchange.__aenter__())
            stream.write_nowait(f"word{number} ")
            await turns(1)
        await stream.finish()
        expected = "".join(f"word{number} " for number in range(200))
        for number, viewer in enumerate(viewers):
            await viewer.finished()
            body = viewer.body
            if number % 3 == 0:
                parts = [msgspec.json.decode(event.data) for event in events(body) if event.event == "text"]
                text = "".join(part["text"] for part in parts)
            elif number % 3 == 1:
                lines = [msgspec.json.decode(line) for line in body.splitlines()]
                text = "".join(line["data"]["text"] for line in lines if line["event"] == "text")
            else:
                text = viewer.text
            assert text == expected
            assert viewer.is_whole
        assert stream.feed.readers == 0
