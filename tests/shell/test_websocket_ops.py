"""`patinox.v1` op by op, over a plain ASGI socket."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.sockets import AsgiSocket

from patinox import BackpressureConfig, Retain, StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.config import SseConfig, WebSocketConfig
from patinox.core.chunks import Binary, Error, Json
from patinox.testing.fakes import AsgiClient, turns


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    config = StreamingConfig(
        drain_timeout_s=0, sse=SseConfig(heartbeat_interval_s=0), websocket=WebSocketConfig(max_subscriptions=3)
    )
    async with StreamManager(config) as manager:
        yield manager


@pytest.fixture
async def socket(manager: StreamManager) -> AsyncIterator[AsgiSocket]:
    async with AsgiSocket(PatinoxApp(manager), subprotocols=("patinox.v1",)) as socket:
        yield socket


async def test_the_subprotocol_that_is_offered_is_accepted(socket: AsgiSocket) -> None:
    assert socket.messages[0]["subprotocol"] == "patinox.v1"


async def test_a_plain_client_that_offers_no_subprotocol_is_let_in(manager: StreamManager) -> None:
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        assert socket.is_accepted
        assert socket.messages[0]["subprotocol"] is None


async def test_subscribing_tells_the_position_and_then_every_record(socket: AsgiSocket, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await stream.write("Hel")
    answer = await socket.ask("subscribe", stream="s")
    await stream.write(Json({"a": 1}))
    await stream.finish()
    end = await socket.told(lambda said: said["op"] == "end")
    assert answer["position"] == f"{stream.epoch}-0"
    assert answer["outcome"] == "start"
    assert socket.of("chunk") == [
        {"op": "chunk", "stream": "s", "id": f"{stream.epoch}-1", "event": "text", "data": {"text": "Hel"}},
        {"op": "chunk", "stream": "s", "id": f"{stream.epoch}-2", "event": "json", "data": {"a": 1}},
    ]
    assert end == {"op": "end", "stream": "s", "id": f"{stream.epoch}-3", "outcome": "complete"}


async def test_a_failed_stream_says_why(socket: AsgiSocket, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await socket.ask("subscribe", stream="s")
    await stream.fail(Error("broken", "it broke"))
    end = await socket.told(lambda said: said["op"] == "end")
    assert end["outcome"] == "failed"
    assert end["error"] == {"code": "broken", "message": "it broke"}


async def test_subscribing_after_an_id_continues_there(socket: AsgiSocket, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    for word in "abc":
        await stream.write(word)
    answer = await socket.ask("subscribe", stream="s", after=f"{stream.epoch}-2")
    await socket.told(lambda said: said["op"] == "chunk")
    assert answer["outcome"] == "resumed"
    assert socket.data("s") == [{"text": "c"}]


async def test_subscribing_after_the_end_answers_complete_and_nothing_follows(
    socket: AsgiSocket, manager: StreamManager
) -> None:
    stream = await manager.create(id="s")
    await stream.finish()
    answer = await socket.ask("subscribe", stream="s", after=stream.position)
    await turns()
    assert answer["outcome"] == "complete"
    assert socket.ops == [answer]


async def test_an_unknown_epoch_is_a_reset(socket: AsgiSocket, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await stream.write("a")
    answer = await socket.ask("subscribe", stream="s", after="elsewhere-7")
    await socket.told(lambda said: said["op"] == "chunk")
    assert answer["outcome"] == "reset"
    assert socket.data("s") == [{"text": "a"}]


async def test_a_snapshot_stands_for_what_was_written(socket: AsgiSocket, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await stream.write("Hel")
    await stream.write("lo")
    answer = await socket.ask("subscribe", stream="s", after="snapshot")
    snapshot = await socket.told(lambda said: said["op"] == "snapshot")
    assert answer["outcome"] == "snapshot"
    assert snapshot["id"] == stream.position
    assert snapshot["data"]["content"] == "Hello"


async def test_an_evicted_range_is_told_as_a_gap() -> None:
    config = StreamingConfig(buffer_size=2, retain=Retain.WINDOW, drain_timeout_s=0)
    async with StreamManager(config) as manager, AsgiSocket(PatinoxApp(manager)) as socket:
        stream = await manager.create(id="s")
        for number in range(5):
            stream.write_nowait(Json(number))
        answer = await socket.ask("subscribe", stream="s")
        await socket.told(lambda said: said.get("data") == 4)
        assert answer["outcome"] == "gap"
        assert socket.of("gap") == [{"op": "gap", "stream": "s", "from": 1, "to": 3}]
        assert socket.data("s") == [3, 4]


async def test_a_foreign_dialect_comes_as_strings_and_says_its_end_twice(
    socket: AsgiSocket, manager: StreamManager
) -> None:
    stream = await manager.create(id="s")
    await stream.write("Hel")
    await stream.finish()
    await socket.ask("subscribe", stream="s", format="openai-chat")
    end = await socket.told(lambda said: said["op"] == "end")
    data = socket.data("s")
    assert all(isinstance(payload, str) for payload in data)
    assert '"Hel"' in "".join(data)
    assert data[-1] == "[DONE]"
    assert end == {"op": "end", "stream": "s", "id": stream.position, "outcome": "complete"}


async def test_text_is_the_bare_text(socket: AsgiSocket, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await stream.write("Hel")
    await stream.cancel()
    await socket.ask("subscribe", stream="s", format="text")
    end = await socket.told(lambda said: said["op"] == "end")
    assert socket.data("s") == ["Hel"]
    assert (end["outcome"], end["error"]["code"]) == ("cancelled", "cancelled")


async def test_an_error_of_a_dialect_comes_without_its_framing(socket: AsgiSocket, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await stream.fail(Error("c", "m"))
    await socket.ask("subscribe", stream="s", format="gemini")
    end = await socket.told(lambda said: said["op"] == "end")
    (payload,) = socket.data("s")
    assert payload == '{"error":{"code":500,"message":"m","status":"INTERNAL"}}'
    assert end["error"] == {"code": "c", "message": "m"}


async def test_a_gap_ends_a_foreign_dialect_with_its_error(manager: StreamManager) -> None:
    config = StreamingConfig(buffer_size=2, retain=Retain.WINDOW, drain_timeout_s=0)
    async with StreamManager(config) as manager, AsgiSocket(PatinoxApp(manager)) as socket:
        stream = await manager.create(id="s")
        await stream.write("a")
        await socket.ask("subscribe", stream="s", format="openai-chat")
        await turns()
        socket.suspend()
        for number in range(9):
            stream.write_nowait(f"t{number}")
            await turns()
        socket.resume()
        end = await socket.told(lambda said: said["op"] == "end")
        assert end["outcome"] == "interrupted"
        assert end["error"]["code"] == "gap"
        assert "[DONE]" not in socket.data("s")


async def test_many_streams_share_a_socket(socket: AsgiSocket, manager: StreamManager) -> None:
    streams = [await manager.create(id=f"s{number}") for number in range(3)]
    for stream in streams:
        await socket.ask("subscribe", stream=stream.id)
    for stream in streams:
        await stream.write(stream.id)
        await stream.finish()
    await socket.until(lambda: len(socket.of("end")) == 3)
    assert {said["stream"]: said["data"]["text"] for said in socket.of("chunk")} == {"s0": "s0", "s1": "s1", "s2": "s2"}


async def test_subscriptions_are_limited_and_told_with_the_ref(socket: AsgiSocket, manager: StreamManager) -> None:
    for number in range(4):
        await manager.create(id=f"s{number}")
    answers = [await socket.ask("subscribe", stream=f"s{number}") for number in range(4)]
    assert [answer["op"] for answer in answers] == ["subscribed"] * 3 + ["error"]
    assert answers[3]["code"] == "limit"


async def test_an_ended_stream_gives_its_place_back(socket: AsgiSocket, manager: StreamManager) -> None:
    for number in range(6):
        stream = await manager.create(id=f"s{number}")
        await stream.finish()
        assert (await socket.ask("subscribe", stream=stream.id))["op"] == "subscribed"
        await turns()
        assert len(socket.of("end")) == number + 1


async def test_the_same_stream_twice_is_refused(socket: AsgiSocket, manager: StreamManager) -> None:
    await manager.create(id="s")
    await socket.ask("subscribe", stream="s")
    assert (await socket.ask("subscribe", stream="s"))["code"] == "exists"


async def test_after_unsubscribing_nothing_comes(socket: AsgiSocket, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await socket.ask("subscribe", stream="s")
    answer = await socket.ask("unsubscribe", stream="s")
    await stream.write("unseen")
    await turns()
    assert answer["op"] == "ok"
    assert socket.of("chunk") == []
    assert stream.feed.readers == 0
    assert (await socket.ask("unsubscribe", stream="s"))["code"] == "not_found"


async def test_create_write_and_finish_make_a_stream(socket: AsgiSocket, manager: StreamManager) -> None:
    made = await socket.ask("create", metadata={"who": "me"}, retain="full", ttl="1h")
    stream = manager.get(made["stream"])
    written = await socket.ask("write", stream=stream.id, chunk="Hel")
    await socket.ask("write", stream=stream.id, chunk={"event": "binary", "data": {"base64": "AAE="}})
    finished = await socket.ask("finish", stream=stream.id, outcome="incomplete")
    assert written["position"] == f"{stream.epoch}-1"
    assert finished["state"] == "incomplete"
    assert stream.metadata == {"who": "me"}
    assert [chunk.data for chunk in stream.log.slice(0)][:2][1] == Binary(b"\0\1")


async def test_a_numbered_write_is_taken_once(socket: AsgiSocket, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    answers = [await socket.ask("write", stream="s", chunk="a", seq=0) for _ in range(2)]
    assert [answer["accepted"] for answer in answers] == [1, 0]
    assert stream.log.head == 1
    assert (await socket.ask("write", stream="s", chunk="c", seq=2))["expected"] == 1


async def test_a_producer_is_known_over_http_and_websocket_alike(socket: AsgiSocket, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await socket.ask("write", stream="s", chunk="a", producer={"id": "p", "epoch": 1, "seq": 0})
    headers = {"producer-id": "p", "producer-epoch": "1", "producer-seq": "0", "content-type": "text/plain"}
    again = await AsgiClient(PatinoxApp(manager)).request("POST", "/v1/streams/s/chunks", headers=headers, body=b"a")
    stale = await socket.ask("write", stream="s", chunk="b", producer={"id": "p", "epoch": 0, "seq": 1})
    assert again.json()["accepted"] == 0
    assert stale["code"] == "producer_fenced"
    assert stream.log.head == 1


async def test_cancel_stops_a_stream_from_any_socket(socket: AsgiSocket, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    first = await socket.ask("cancel", stream="s", reason="enough")
    again = await socket.ask("cancel", stream="s")
    assert (first["state"], again["state"]) == ("cancelled", "cancelled")
    assert not stream.is_open


async def test_writing_after_the_end_is_refused_with_the_ref(socket: AsgiSocket, manager: StreamManager) -> None:
    stream = await manager.create(id="s")
    await stream.finish()
    refused = await socket.ask("write", stream="s", chunk="late")
    assert (refused["op"], refused["code"], refused["stream"]) == ("error", "closed", "s")


async def test_ack_is_kept_for_the_figures_and_answered_when_asked(socket: AsgiSocket, manager: StreamManager) -> None:
    app = PatinoxApp(manager)
    stream = await manager.create(id="s")
    async with AsgiSocket(app) as socket:
        await socket.ask("subscribe", stream="s")
        answer = await socket.ask("ack", stream="s", id=f"{stream.epoch}-4")
        socket.send("ack", stream="s", id=f"{stream.epoch}-5")
        await socket.ask("ping")
        (connection,) = app.websockets.connections.values()
        assert answer["op"] == "ok"
        assert connection.stats()["subscriptions"][0]["acked"] == f"{stream.epoch}-5"
        assert len(socket.ops) == 3


async def test_ping_is_answered(socket: AsgiSocket) -> None:
    socket.send("ping", ref=7)
    assert await socket.told(lambda said: True) == {"op": "ok", "ref": 7}


async def test_leaving_never_stops_a_producer(manager: StreamManager) -> None:
    async with AsgiSocket(PatinoxApp(manager)) as socket:
        made = await socket.ask("create")
        await socket.ask("subscribe", stream=made["stream"])
    stream = manager.get(made["stream"])
    assert stream.is_open
    assert stream.feed.readers == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "bad_request"),
        ("[]", "bad_request"),
        ("null", "bad_request"),
        ('"x"', "bad_request"),
        ('{"op":1}', "bad_request"),
        ('{"op":"dance"}', "bad_request"),
        ('{"op":"subscribe"}', "bad_request"),
        ('{"op":"subscribe","stream":"a","channel":"b"}', "bad_request"),
        ('{"op":"subscribe","stream":7}', "bad_request"),
        ('{"op":"subscribe","stream":"none"}', "not_found"),
        ('{"op":"subscribe","channel":"no such name"}', "bad_request"),
        ('{"op":"subscribe","stream":"s","after":"?"}', "invalid_event_id"),
        ('{"op":"subscribe","stream":"s","format":"klingon"}', "unknown_format"),
        ('{"op":"subscribe","channel":"c","format":"text"}', "bad_request"),
        ('{"op":"subscribe","stream":"s","colour":"red"}', "bad_request"),
        ('{"op":"write","stream":"s"}', "bad_request"),
        ('{"op":"write","stream":"s","chunk":7}', "invalid_chunk"),
        ('{"op":"write","stream":"s","chunk":{"event":"text"}}', "invalid_chunk"),
        ('{"op":"write","stream":"s","chunk":"a","seq":-1}', "bad_request"),
        ('{"op":"write","stream":"s","chunk":"a","producer":{"id":""}}', "bad_request"),
        ('{"op":"finish","stream":"s","outcome":"splendid"}', "bad_request"),
        ('{"op":"finish","stream":"s","error":7}', "invalid_chunk"),
        ('{"op":"create","id":"s"}', "exists"),
        ('{"op":"create","id":"no such id"}', "bad_request"),
        ('{"op":"create","ttl":"soon"}', "bad_request"),
        ('{"op":"ack","stream":"s","id":"x"}', "invalid_event_id"),
        ("[" * 5000, "bad_request"),
        ('{"op":"ping","ref":{}}', "bad_request"),
    ],
)
async def test_nonsense_is_answered_and_the_socket_goes_on(
    socket: AsgiSocket, manager: StreamManager, text: str, code: str
) -> None:
    await manager.create(id="s")
    socket.send_text(text)
    refused = await socket.told(lambda said: said["op"] == "error")
    assert refused["code"] == code
    assert (await socket.ask("ping"))["op"] == "ok"


async def test_the_ref_of_nonsense_comes_back(socket: AsgiSocket) -> None:
    socket.send("dance", ref="r1")
    socket.send("subscribe", ref=2, stream=[])
    await socket.until(lambda: len(socket.ops) == 2)
    assert [said["ref"] for said in socket.ops] == ["r1", 2]


async def test_a_binary_message_is_answered_with_an_error(socket: AsgiSocket) -> None:
    socket.send_bytes(b"\0")
    assert (await socket.told(lambda said: True))["code"] == "bad_request"
    assert (await socket.ask("ping"))["op"] == "ok"


async def test_a_paced_write_holds_up_nothing_but_its_stream(manager: StreamManager) -> None:
    config = StreamingConfig(drain_timeout_s=0, backpressure=BackpressureConfig(threshold=2, stall_s=3600.0))
    async with StreamManager(config) as manager, AsgiSocket(PatinoxApp(manager)) as socket:
        await manager.create(id="other")
        stream = await manager.create(id="s")
        reader = manager.subscribe("s")
        for number in range(4):
            socket.send("write", stream="s", chunk=str(number), ref=number)
        await socket.told(lambda said: said.get("ref") == 1)
        await turns()
        assert stream.log.head == 2
        assert (await socket.ask("write", stream="other", chunk="x"))["op"] == "ok"
        got = [await anext(reader) for _ in range(2)]
        got += [await anext(reader) for _ in range(2)]
        await socket.told(lambda said: said.get("ref") == 3)
        assert [chunk.data.text for chunk in got] == ["0", "1", "2", "3"]
        assert len(asyncio.all_tasks()) < 8
