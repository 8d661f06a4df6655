"""The HTTP calls on streams: what they answer, and that bad input gets a clear error and loses nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from starlette.routing import Router

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.core.chunks import Binary, Json, Text
from patinox.testing.fakes import AsgiClient, AsgiExchange, ManualClock, turns
from patinox.transports.access import Access
from patinox.transports.endpoint import ApiRoute, Endpoint
from patinox.transports.streams_api import routes

LINES = {"content-type": "application/x-ndjson"}
TEXT = {"content-type": "text/plain; charset=utf-8"}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CALLS = (("GET", ""), ("POST", "/chunks"), ("POST", "/finish"), ("POST", "/cancel"), ("DELETE", ""))


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    config = StreamingConfig(max_chunk_bytes=1000, max_body_bytes=5000, max_streams=20, drain_timeout_s=0)
    async with StreamManager(config) as manager:
        yield manager


@pytest.fixture
def client(manager: StreamManager) -> AsgiClient:
    return AsgiClient(PatinoxApp(manager))


@pytest.fixture
async def stream(manager: StreamManager) -> Any:
    return await manager.create(id="s")


def error(answer: AsgiExchange) -> dict[str, Any]:
    body = answer.json()["error"]
    assert isinstance(body["message"], str)
    return dict(body)


def data_of(stream: Any) -> list[Any]:
    return [chunk.data for chunk in stream.log.slice(0, 10_000)]


class TestCreating:
    async def test_a_stream_is_made_and_located(self, client: AsgiClient, manager: StreamManager) -> None:
        answer = await client.request("POST", "/v1/streams")
        body = answer.json()
        assert answer.status == 201
        assert answer.headers["location"] == f"/v1/streams/{body['id']}"
        assert (body["state"], body["position"]) == ("open", f"{body['epoch']}-0")
        assert manager.get(body["id"]).epoch == body["epoch"]

    async def test_all_options_are_taken(self, client: AsgiClient, manager: StreamManager) -> None:
        options = {
            "id": "mine",
            "metadata": {"a": 1},
            "ttl": "24h",
            "retain": "window",
            "on_abandon": "cancel_after=30s",
        }
        body = (await client.request("POST", "/v1/streams", json=options)).json()
        assert (body["id"], body["metadata"], body["retain"]) == ("mine", {"a": 1}, "window")
        assert body["on_abandon"] == "cancel_after=30s"
        assert manager.get("mine").options.ttl_s == 86400

    async def test_an_id_that_exists_is_409(self, client: AsgiClient, stream: Any) -> None:
        answer = await client.request("POST", "/v1/streams", json={"id": "s"})
        assert (answer.status, error(answer)["code"]) == (409, "exists")

    @pytest.mark.parametrize(
        "body",
        [b"{", b"[]", b'"a"', b"\xff", b'{"id":"\xff"}', b'{"id":"a b"}', b'{"id":7}', b'{"nonsense":1}',
         b'{"ttl":"soon"}', b'{"ttl":0}', b'{"ttl":true}', b'{"ttl":[]}', b'{"ttl":1' + b"0" * 400 + b"}",
         b'{"ttl":1e999}',
         b'{"metadata":[]}', b'{"metadata":"a"}', b'{"metadata":7}', b'{"retain":"some"}', b'{"retain":1}',
         b'{"on_abandon":"maybe"}', b"[" * 100_000],
    )  # fmt: skip
    async def test_what_makes_no_sense_is_400(self, client: AsgiClient, manager: StreamManager, body: bytes) -> None:
        answer = await client.request("POST", "/v1/streams", body=body)
        assert answer.status == 400
        assert error(answer)["code"] == "bad_request"
        assert len(manager) == 0

    async def test_a_command_has_a_size(self, client: AsgiClient) -> None:
        body = msgspec.json.encode({"metadata": {"a": "x" * 300_000}})
        answer = await client.request("POST", "/v1/streams", body=body)
        assert (answer.status, error(answer)["code"]) == (413, "too_large")

    async def test_too_many_streams_are_503(self, client: AsgiClient) -> None:
        answers = [await client.request("POST", "/v1/streams") for _ in range(21)]
        assert {answer.status for answer in answers[:20]} == {201}
        assert answers[20].status == 503
        assert "max_streams" in error(answers[20])["message"]
        assert answers[20].headers["retry-after"]

    async def test_a_mounted_application_locates_streams_where_it_is(self, manager: StreamManager) -> None:
        async def mounted(scope: Any, receive: Any, send: Any) -> None:
            await PatinoxApp(manager)({**scope, "root_path": "/live", "path": "/live" + scope["path"]}, receive, send)

        answer = await AsgiClient(mounted).request("POST", "/v1/streams", json={"id": "a"})
        assert answer.headers["location"] == "/live/v1/streams/a"


class TestAppending:
    async def test_plain_text_is_one_chunk(self, client: AsgiClient, stream: Any) -> None:
        answer = await client.request("POST", "/v1/streams/s/chunks", headers=TEXT, body="grüße\n\n".encode())
        assert answer.status == 200
        assert (answer.json()["accepted"], answer.json()["next"]) == (1, 2)
        assert data_of(stream) == [Text("grüße\n\n")]

    async def test_octets_are_one_chunk(self, client: AsgiClient, stream: Any) -> None:
        await client.request(
            "POST", "/v1/streams/s/chunks", headers={"content-type": "application/octet-stream"}, body=b"\0\xff"
        )
        assert data_of(stream) == [Binary(b"\0\xff")]

    @pytest.mark.parametrize(
        ("body", "data"),
        [(b'"a"', [Text("a")]), (b'["a", {"event":"json","data":[1]}]', [Text("a"), Json([1])]), (b"", []), (b" ", []),
         (b"[]", []), (b'{"event":"text","data":{"text":"b"},"id":"x-1"}', [Text("b")])],
    )  # fmt: skip
    async def test_json_is_one_chunk_or_a_list(
        self, client: AsgiClient, stream: Any, body: bytes, data: list[Any]
    ) -> None:
        headers = {"content-type": "application/json"}
        answer = await client.request("POST", "/v1/streams/s/chunks", headers=headers, body=body)
        assert answer.json()["accepted"] == len(data)
        assert data_of(stream) == data

    async def test_lines_are_appended_as_they_arrive(self, client: AsgiClient, stream: Any) -> None:
        async with client.open("POST", "/v1/streams/s/chunks", headers=LINES, keep_open=True) as exchange:
            exchange.feed(b'"a"\n"b')
            await turns()
            assert data_of(stream) == [Text("a")]
            exchange.feed(b'"\n')
            await turns()
            assert data_of(stream) == [Text("a"), Text("b")]
            exchange.feed(b'"c"', more=False)
            await exchange.finished()
            assert exchange.json()["accepted"] == 3
        assert data_of(stream)[-1] == Text("c")

    async def test_a_client_that_leaves_in_the_middle_loses_only_its_unfinished_line(
        self, client: AsgiClient, stream: Any
    ) -> None:
        async with client.open("POST", "/v1/streams/s/chunks", headers=LINES, keep_open=True) as exchange:
            exchange.feed(b'"a"\n"b')
            await turns()
        assert data_of(stream) == [Text("a")]
        assert stream.is_open

    @pytest.mark.parametrize("line", [b"nonsense", b"{}", b"[]", b"1", b'{"event":"nonsense","data":1}', b'"\xff"',
                                      b'{"event":"end","data":{"outcome":"complete"}}', b'"\\ud800"'])  # fmt: skip
    async def test_a_line_that_is_no_chunk_is_named_and_the_earlier_ones_are_kept(
        self, client: AsgiClient, stream: Any, line: bytes
    ) -> None:
        answer = await client.request(
            "POST", "/v1/streams/s/chunks", headers=LINES, body=b'"a"\n"b"\n' + line + b'\n"d"\n'
        )
        assert answer.status == 400
        refusal = error(answer)
        assert (refusal["code"], refusal["line"], refusal["accepted"]) == ("invalid_chunk", 3, 2)
        assert "line 3" in refusal["message"]
        assert refusal["position"] == stream.position
        assert data_of(stream) == [Text("a"), Text("b")]
        assert stream.is_open

    async def test_a_list_goes_in_whole_or_not_at_all(self, client: AsgiClient, stream: Any) -> None:
        answer = await client.request("POST", "/v1/streams/s/chunks", json=["a", "b", 3])
        assert answer.status == 400
        assert "item 3" in error(answer)["message"]
        assert data_of(stream) == []

    @pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 4000])
    async def test_json_that_is_none_is_400(self, client: AsgiClient, stream: Any, body: bytes) -> None:
        headers = {"content-type": "application/json"}
        answer = await client.request("POST", "/v1/streams/s/chunks", headers=headers, body=body)
        assert (answer.status, error(answer)["code"]) == (400, "invalid_chunk")

    async def test_text_that_is_no_utf8_is_400(self, client: AsgiClient, stream: Any) -> None:
        answer = await client.request("POST", "/v1/streams/s/chunks", headers=TEXT, body=b"a\xff")
        assert answer.status == 400

    @pytest.mark.parametrize("headers", [{}, {"content-type": "text/html"}])
    async def test_other_types_are_415(self, client: AsgiClient, stream: Any, headers: dict[str, str]) -> None:
        answer = await client.request("POST", "/v1/streams/s/chunks", headers=headers, body=b"a")
        assert answer.status == 415
        assert "application/x-ndjson" in error(answer)["message"]

    async def test_a_body_over_the_limit_is_413_and_its_first_lines_are_kept(
        self, client: AsgiClient, stream: Any
    ) -> None:
        body = [b'"%b"\n' % (b"x" * 900) for _ in range(6)]
        answer = await client.request("POST", "/v1/streams/s/chunks", headers=LINES, body=body)
        assert (answer.status, error(answer)["code"], error(answer)["accepted"]) == (413, "too_large", 5)
        assert len(data_of(stream)) == 5

    async def test_a_body_that_says_that_it_is_over_the_limit_is_413_before_it_is_read(
        self, client: AsgiClient, stream: Any
    ) -> None:
        headers = {**TEXT, "content-length": "5001"}
        async with client.open("POST", "/v1/streams/s/chunks", headers=headers, keep_open=True) as exchange:
            await exchange.finished()
            assert (exchange.status, error(exchange)["code"]) == (413, "too_large")

    async def test_a_stop_reaches_a_producer_that_is_silent(self, client: AsgiClient, stream: Any) -> None:
        async with client.open("POST", "/v1/streams/s/chunks", headers=LINES, keep_open=True) as exchange:
            exchange.feed(b'"a"\n')
            await turns()
            await stream.cancel()
            await exchange.finished()
            assert (exchange.status, error(exchange)["code"], error(exchange)["accepted"]) == (409, "closed", 1)

    async def test_a_body_whose_own_error_ends_the_stream_is_taken_whole(self, client: AsgiClient, stream: Any) -> None:
        async with client.open("POST", "/v1/streams/s/chunks", headers=LINES, keep_open=True) as exchange:
            exchange.feed(b'"a"\n{"event":"error","data":{"code":"c","message":"m"}}\n')
            await turns()
            exchange.feed(b"", more=False)
            await exchange.finished()
            assert (exchange.status, exchange.json()["accepted"]) == (200, 2)

    @pytest.mark.parametrize(
        ("chunk", "named"),
        [({"event": "metadata", "data": {"a": 1}}, "a"), ({"event": "usage", "data": {"input": 5}}, "input"),
         ({"event": "text", "data": {"text": "a"}, "final": True}, "final")],
    )  # fmt: skip
    async def test_a_field_that_would_be_lost_is_refused(
        self, client: AsgiClient, stream: Any, chunk: dict[str, Any], named: str
    ) -> None:
        answer = await client.request("POST", "/v1/streams/s/chunks", json=chunk)
        assert (answer.status, error(answer)["code"]) == (400, "invalid_chunk")
        assert f"has no {named};" in error(answer)["message"]
        assert data_of(stream) == []

    async def test_a_chunk_over_the_limit_is_413(self, client: AsgiClient, stream: Any) -> None:
        answer = await client.request("POST", "/v1/streams/s/chunks", headers=TEXT, body=b"x" * 1001)
        assert (answer.status, error(answer)["code"]) == (413, "too_large")
        assert stream.is_open

    async def test_final_finishes(self, client: AsgiClient, stream: Any) -> None:
        answer = await client.request("POST", "/v1/streams/s/chunks?final=true", headers=TEXT, body=b"a")
        assert answer.json()["next"] == 3
        assert stream.state == "complete"

    async def test_after_the_end_it_is_409(self, client: AsgiClient, stream: Any) -> None:
        await stream.finish()
        for body in (b"a", b""):
            answer = await client.request("POST", "/v1/streams/s/chunks", headers=TEXT, body=body)
            assert (answer.status, error(answer)["code"]) == (409, "closed")
        assert stream.log.head == 1


class TestProducers:
    @staticmethod
    def headers(seq: int, epoch: int = 0) -> dict[str, str]:
        return {**LINES, "producer-id": "p", "producer-epoch": str(epoch), "producer-seq": str(seq)}

    async def test_what_is_sent_again_is_skipped_and_the_rest_appended(self, client: AsgiClient, stream: Any) -> None:
        target = "/v1/streams/s/chunks"
        first = await client.request("POST", target, headers=self.headers(0), body=b'"a"\n"b"\n')
        again = await client.request("POST", target, headers=self.headers(0), body=b'"a"\n"b"\n"c"\n')
        assert (first.json()["accepted"], again.json()["accepted"]) == (2, 1)
        assert data_of(stream) == [Text("a"), Text("b"), Text("c")]

    async def test_a_hole_is_409_and_says_what_is_next(self, client: AsgiClient, stream: Any) -> None:
        target = "/v1/streams/s/chunks"
        await client.request("POST", target, headers=self.headers(0), body=b'"a"\n')
        answer = await client.request("POST", target, headers=self.headers(2), body=b'"c"\n')
        assert (answer.status, error(answer)["code"], error(answer)["expected"]) == (409, "producer_gap", 1)

    async def test_a_stale_epoch_is_403(self, client: AsgiClient, stream: Any) -> None:
        target = "/v1/streams/s/chunks"
        await client.request("POST", target, headers=self.headers(0, epoch=2), body=b'"a"\n')
        answer = await client.request("POST", target, headers=self.headers(1, epoch=1), body=b'"b"\n')
        assert (answer.status, error(answer)["code"]) == (403, "producer_fenced")

    async def test_a_final_append_can_be_repeated(self, client: AsgiClient, stream: Any) -> None:
        for _ in range(2):
            answer = await client.request(
                "POST", "/v1/streams/s/chunks?final=true", headers=self.headers(0), body=b'"a"\n'
            )
            assert answer.status == 200
        assert stream.log.head == 2

    async def test_a_retry_that_overtakes_its_first_attempt_is_skipped(self, client: AsgiClient, stream: Any) -> None:
        target, body = "/v1/streams/s/chunks", b"".join(b'"%d"\n' % n for n in range(200))
        answers = await asyncio.gather(
            *(client.request("POST", target, headers=self.headers(0), body=body) for _ in range(3))
        )
        assert sum(answer.json()["accepted"] for answer in answers) == 200
        assert data_of(stream) == [Text(str(n)) for n in range(200)]

    async def test_a_producer_without_a_name_is_400(self, client: AsgiClient, stream: Any) -> None:
        answer = await client.request("POST", "/v1/streams/s/chunks", headers={**LINES, "producer-seq": "1"}, body=b"")
        assert answer.status == 400


class TestEnding:
    @pytest.mark.parametrize(
        ("body", "state"),
        [(None, "complete"), ({}, "complete"), ({"outcome": "incomplete"}, "incomplete"),
         ({"outcome": "failed", "error": "why"}, "failed"), ({"outcome": "failed"}, "failed"),
         ({"error": "why"}, "failed"), ({"error": {"code": "c", "message": "m"}}, "failed"),
         ({"outcome": "interrupted", "error": {"code": "c", "message": "m"}}, "interrupted")],
    )  # fmt: skip
    async def test_finish_ends_as_it_is_told(self, client: AsgiClient, stream: Any, body: Any, state: str) -> None:
        answer = await client.request("POST", "/v1/streams/s/finish", json=body)
        assert (answer.status, answer.json()["state"]) == (200, state)

    @pytest.mark.parametrize("outcome", ["complete", "incomplete", "cancelled", "interrupted", "failed"])
    async def test_finish_after_the_end_is_409_and_adds_nothing(
        self, client: AsgiClient, stream: Any, outcome: str
    ) -> None:
        await stream.finish()
        answer = await client.request("POST", "/v1/streams/s/finish", json={"outcome": outcome})
        assert (answer.status, error(answer)["code"]) == (409, "closed")
        assert (stream.log.head, stream.state) == (1, "complete")

    @pytest.mark.parametrize(
        "body",
        [{"outcome": "won"}, {"outcome": 1}, {"error": 5}, {"error": {"code": 1}}, {"x": 1},
         {"outcome": "complete", "error": "why"}],
    )  # fmt: skip
    async def test_finish_with_nonsense_is_400(self, client: AsgiClient, stream: Any, body: Any) -> None:
        assert (await client.request("POST", "/v1/streams/s/finish", json=body)).status == 400
        assert stream.is_open

    async def test_cancel_is_idempotent_and_told_to_every_reader(self, client: AsgiClient, stream: Any) -> None:
        async with client.open("GET", "/v1/streams/s") as reader:
            await reader.until(lambda: reader.body)
            for _ in range(2):
                answer = await client.request("POST", "/v1/streams/s/cancel", json={"reason": "enough"})
                assert (answer.status, answer.json()["state"]) == (200, "cancelled")
            await reader.finished()
            assert b'"outcome":"cancelled"' in reader.body
            assert b"enough" in reader.body
        assert stream.log.head == 1

    async def test_cancel_from_anywhere_stops_and_closes_the_upstream(
        self, client: AsgiClient, manager: StreamManager
    ) -> None:
        closed = asyncio.Event()

        async def source() -> AsyncIterator[str]:
            try:
                while True:
                    yield "a"
                    await asyncio.sleep(0)
            finally:
                closed.set()

        stream = await manager.relay(source(), id="live")
        await turns()
        answer = await client.request("POST", "/v1/streams/live/cancel")
        assert answer.status == 200
        await turns(5)
        assert closed.is_set()
        assert stream.state == "cancelled"

    async def test_a_deleted_stream_is_410(self, client: AsgiClient, stream: Any) -> None:
        assert (await client.request("DELETE", "/v1/streams/s")).status == 204
        for method, path in (
            ("GET", ""),
            ("POST", "/chunks"),
            ("POST", "/finish"),
            ("POST", "/cancel"),
            ("DELETE", ""),
        ):
            answer = await client.request(method, f"/v1/streams/s{path}", headers=TEXT)
            assert (answer.status, error(answer)["code"]) == (410, "gone")

    async def test_readers_of_a_deleted_stream_are_told(self, client: AsgiClient, stream: Any) -> None:
        async with client.open("GET", "/v1/streams/s") as reader:
            await reader.until(lambda: reader.body)
            await client.request("DELETE", "/v1/streams/s")
            await reader.finished()
            assert b"the stream was deleted" in reader.body
            assert reader.is_whole

    async def test_an_abandoned_stream_is_cancelled(self, client: AsgiClient, manager: StreamManager) -> None:
        clock = ManualClock()
        clock.install(asyncio.get_running_loop())
        await client.request("POST", "/v1/streams", json={"id": "a", "on_abandon": "cancel_after=30s"})
        async with client.open("GET", "/v1/streams/a") as reader:
            await reader.until(lambda: reader.body)
            await clock.advance(100)
        await clock.advance(29)
        assert manager.get("a").is_open
        await clock.advance(2)
        assert manager.get("a").state == "cancelled"


class TestReading:
    async def test_an_unknown_stream_is_404(self, client: AsgiClient) -> None:
        for method, path in (
            ("GET", ""),
            ("POST", "/chunks"),
            ("POST", "/finish"),
            ("POST", "/cancel"),
            ("DELETE", ""),
        ):
            answer = await client.request(method, f"/v1/streams/none{path}", headers=TEXT)
            assert (answer.status, error(answer)["code"]) == (404, "not_found")

    async def test_the_snapshot_is_json(self, client: AsgiClient, stream: Any) -> None:
        stream.write_nowait("Hello")
        answer = await client.request("GET", "/v1/streams/s", headers={"accept": "application/json"})
        body = answer.json()
        assert answer.headers["content-type"] == "application/json"
        assert {key: body[key] for key in ("id", "state", "content", "error", "usage", "blocks")} == {
            "id": "s", "state": "open", "content": "Hello", "error": None, "usage": None, "blocks": [],
        }  # fmt: skip
        assert (body["epoch"], body["position"]) == (stream.epoch, f"{stream.epoch}-1")

    async def test_the_snapshot_of_a_failed_stream_says_why(self, client: AsgiClient, stream: Any) -> None:
        await stream.finish("failed")
        body = (await client.request("GET", "/v1/streams/s", headers={"accept": "application/json"})).json()
        assert (body["state"], body["error"]["code"]) == ("failed", "failed")

    async def test_a_browser_is_sent_to_the_page_where_there_is_one(self, manager: StreamManager, stream: Any) -> None:
        served = AsgiClient(Router(routes(Access(manager), playground="/play/")))
        answer = await served.request("GET", "/v1/streams/s", headers={"accept": BROWSER})
        assert (answer.status, answer.headers["location"]) == (303, "/play/?stream=s")

    async def test_a_browser_sees_the_stream_where_there_is_no_page(self, client: AsgiClient, stream: Any) -> None:
        await stream.finish()
        answer = await client.request("GET", "/v1/streams/s", headers={"accept": BROWSER})
        assert answer.headers["content-type"].startswith("text/event-stream")

    async def test_an_unknown_format_is_406_with_the_list(self, client: AsgiClient, stream: Any) -> None:
        answer = await client.request("GET", "/v1/streams/s?format=nonsense")
        assert (answer.status, error(answer)["code"]) == (406, "unknown_format")
        assert {"patinox", "ndjson", "text", "openai-chat"} <= set(error(answer)["known"])

    async def test_an_unknown_media_type_is_406_with_the_list(self, client: AsgiClient, stream: Any) -> None:
        answer = await client.request("GET", "/v1/streams/s", headers={"accept": "image/png, text/plain;q=0"})
        assert (answer.status, error(answer)["code"]) == (406, "not_acceptable")
        assert "text/event-stream" in error(answer)["message"]

    @pytest.mark.parametrize(
        ("accept", "kind"),
        [(None, "text/event-stream"), ("", "text/event-stream"), ("*/*", "text/event-stream"),
         ("text/*", "text/event-stream"), ("application/*", "application/json"), ("TEXT/PLAIN", "text/plain"),
         ("application/json;q=0.5, application/x-ndjson", "application/x-ndjson"),
         ("*/*;q=0.1, application/json", "application/json"), ("*/*, text/plain", "text/plain"),
         ("text/plain;q=nonsense, application/json;q=0.1", "application/json"),
         ("text/plain; charset=x", "text/plain")],
    )  # fmt: skip
    async def test_accept_is_understood(self, client: AsgiClient, stream: Any, accept: str | None, kind: str) -> None:
        await stream.finish()
        headers = {} if accept is None else {"accept": accept}
        answer = await client.request("GET", "/v1/streams/s", headers=headers)
        assert answer.headers["content-type"].partition(";")[0] == kind

    @pytest.mark.parametrize(
        ("target", "accept", "kind"),
        [("patinox", "*/*", "text/event-stream"), ("patinox", "application/x-ndjson", "application/x-ndjson"),
         ("ndjson", "text/event-stream", "application/x-ndjson"), ("openai-chat", "*/*", "text/event-stream"),
         ("text", "text/event-stream", "text/event-stream"), ("text", "*/*", "text/plain")],
    )  # fmt: skip
    async def test_formats_have_their_framing(
        self, client: AsgiClient, stream: Any, target: str, accept: str, kind: str
    ) -> None:
        await stream.finish()
        answer = await client.request("GET", f"/v1/streams/s?format={target}", headers={"accept": accept})
        assert answer.headers["content-type"].partition(";")[0] == kind

    async def test_streams_are_listed_in_pages(self, client: AsgiClient, manager: StreamManager) -> None:
        for number in range(5):
            await manager.create(id=f"s{number}")
        page = (await client.request("GET", "/v1/streams?limit=2")).json()
        assert ([item["id"] for item in page["streams"]], page["next"]) == (["s0", "s1"], "s1")
        rest = (await client.request("GET", "/v1/streams?limit=3&after=s1")).json()
        assert [item["id"] for item in rest["streams"]] == ["s2", "s3", "s4"]
        assert "next" not in rest

    async def test_a_page_after_a_stream_that_has_gone_is_no_end_of_the_list(
        self, client: AsgiClient, stream: Any
    ) -> None:
        answer = await client.request("GET", "/v1/streams?after=unknown")
        assert (answer.status, error(answer)["code"]) == (404, "not_found")

    @pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "1.5", "٣"])
    async def test_a_limit_that_is_none_is_400(self, client: AsgiClient, limit: str) -> None:
        assert (await client.request("GET", f"/v1/streams?limit={limit}")).status == 400


class TestRoutes:
    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [("PUT", "/v1/streams/s", "DELETE, GET, HEAD"), ("DELETE", "/v1/streams", "GET, HEAD, POST"),
         ("GET", "/v1/streams/s/cancel", "POST")],
    )  # fmt: skip
    async def test_a_method_that_is_not_taken_is_405_with_those_that_are(
        self, client: AsgiClient, stream: Any, method: str, path: str, allowed: str
    ) -> None:
        answer = await client.request(method, path)
        assert (answer.status, error(answer)["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == allowed

    async def test_what_breaks_in_a_handler_is_500_and_in_the_log_only(self, caplog: pytest.LogCaptureFixture) -> None:
        async def broken(request: Any) -> Any:
            raise ZeroDivisionError("a secret")

        answer = await AsgiClient(Router([ApiRoute("/", Endpoint(broken))])).request("GET", "/")
        assert (answer.status, error(answer)["code"]) == (500, "internal")
        assert "secret" not in answer.text
        assert "a secret" in caplog.text
