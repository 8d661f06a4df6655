"""A pipeline before a stream: the gateway's, a pushed one, a relayed one. What it withholds is nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from tests.serving import ASK, Serving, idle, official, serving

from patinox import IncrementalResponseHandler, StreamClosed, StreamManager
from patinox.core.chunks import Error, Outcome, StreamChunk, Text
from patinox.core.producers import Producer
from patinox.errors import InputError
from patinox.incremental.chunker import Chunker
from patinox.incremental.links import Links
from patinox.incremental.tokens import Tokens
from patinox.manager.pipelines import Pipelines
from patinox.testing.fakes import ManualClock, turns
from patinox.testing.upstream import Answer, Gate, ScriptedUpstream, role, said, words

SECRET = "sk-hunter2"
BLOCKED = Error("blocked", "A validator objects.", status=422)


class Guard:
    """Holds text that may become the secret, and blocks at it. Text of one lane only: enough here."""

    is_quick = True

    def __init__(self) -> None:
        self._kept: list[Any] = []

    @property
    def held(self) -> bool:
        return bool(self._kept)

    def feed(self, batch: Sequence[Any]) -> list[Any]:
        self._kept += batch
        text = "".join(getattr(data, "text", "") for data in self._kept)
        if SECRET in text:
            return [BLOCKED]
        if any(text.endswith(SECRET[:length]) for length in range(1, len(SECRET))):
            return []
        return self.close()

    def close(self) -> list[Any]:
        out, self._kept = self._kept, []
        return out


class Broken(Guard):
    def feed(self, batch: Sequence[Any]) -> list[Any]:
        raise RuntimeError(f"I saw {batch}")


def handler(name: str, *makers: Any, **more: Any) -> IncrementalResponseHandler:
    return IncrementalResponseHandler(lambda: [make() for make in makers], name=name, **more)


GUARDED = handler("guarded", Guard, lambda: Chunker("word"), description="Blocks secrets.")
PIPELINES = Pipelines({
    "guarded": GUARDED,
    "sentences": handler("sentences", lambda: Tokens([Links()]), lambda: Chunker("sentence"), max_delay_s=1.0),
    "broken": handler("broken", Broken),
})  # fmt: skip


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream(words("Hel", "lo")) as scripted:
        yield scripted


@pytest.fixture
async def server(upstream: ScriptedUpstream) -> AsyncIterator[Serving]:
    async with serving({"fake": upstream.url}, pipelines=PIPELINES) as running:
        yield running


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    async with StreamManager(pipelines=PIPELINES) as made:
        yield made


async def everything(stream: Any) -> list[StreamChunk]:
    return [chunk async for chunk in stream.subscribe()]


async def read_chat(client: openai.AsyncOpenAI, texts: list[str]) -> None:
    stream = await client.chat.completions.create(**ASK, stream=True, extra_headers={"Patinox-Pipeline": "guarded"})
    async for chunk in stream:
        texts.append(chunk.choices[0].delta.content or "")  # noqa: PERF401 - what came before an error counts


async def read_message(client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.stream(
        model="scripted",
        max_tokens=9,
        messages=[{"role": "user", "content": "Hi"}],
        extra_headers={"Patinox-Pipeline": "guarded"},
    ) as stream:
        async for _ in stream:
            pass


# ── in the gateway ──


async def test_a_blocked_answer_is_an_error_to_the_official_client_and_closes_the_upstream(
    upstream: ScriptedUpstream, server: Serving
) -> None:
    upstream.script(Answer(role(), said("My key is "), said("sk-hun"), said("ter2"), Gate()))
    said_so_far: list[str] = []
    async with official(server.url) as client:
        with pytest.raises(openai.APIError) as raised:
            await read_chat(client, said_so_far)
    assert (raised.value.code, "".join(said_so_far)) == ("blocked", "My key is ")
    async with asyncio.timeout(1):
        await upstream.asked[0].hung_up.wait()
    await idle()
    stream = server.only_stream()
    assert stream.feed.outcome is Outcome.FAILED
    assert "sk-" not in str(stream.snapshot())
    assert all(b"sk-" not in chunk.payload for chunk in stream.log.slice(0, 100))


async def test_a_blocked_answer_is_an_error_to_the_other_official_client_too(
    upstream: ScriptedUpstream, server: Serving
) -> None:
    upstream.script(Answer(role(), said("Well, "), said(SECRET), Gate()))
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="none", max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError) as raised:
            await read_message(client)
    assert "A validator objects." in str(raised.value)
    await upstream.asked[0].hung_up.wait()


async def test_a_whole_answer_that_is_blocked_is_refused_with_its_status(
    upstream: ScriptedUpstream, server: Serving
) -> None:
    upstream.script(words("ok ", SECRET))
    async with official(server.url) as client:
        with pytest.raises(openai.UnprocessableEntityError):
            await client.chat.completions.create(**ASK, extra_headers={"Patinox-Pipeline": "guarded"})


async def test_a_clean_answer_is_whole(upstream: ScriptedUpstream, server: Serving) -> None:
    upstream.script(words("Ask ", "s", "k", "y, s", "k-", "hunter"))
    async with official(server.url) as client:
        answer = await client.chat.completions.create(**ASK, extra_headers={"Patinox-Pipeline": "guarded"})
    assert answer.choices[0].message.content == "Ask sky, sk-hunter"
    assert (answer.choices[0].finish_reason, answer.usage and answer.usage.completion_tokens) == ("stop", 6)


async def test_a_validator_that_raises_lets_nothing_out_and_says_nothing(
    upstream: ScriptedUpstream, server: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.script(Answer(role(), said(SECRET), Gate()))
    async with official(server.url) as client:
        with pytest.raises(openai.APIError, match="RuntimeError"):
            await client.chat.completions.create(**ASK, extra_headers={"Patinox-Pipeline": "broken"})
    await upstream.asked[0].hung_up.wait()
    assert SECRET not in caplog.text


async def test_an_upstreams_own_pipeline_is_not_the_clients_to_change(upstream: ScriptedUpstream) -> None:
    upstream.script(words(SECRET))
    settings: Any = {"pipelines__words__chunk": "word", "gateway__upstreams__fake__pipeline": "words"}
    async with serving({"fake": upstream.url}, **settings) as server, official(server.url) as client:
        await client.chat.completions.create(**ASK, extra_headers={"Patinox-Pipeline": "words"})
        assert server.only_stream().describe()["pipeline"] == "words"
        with pytest.raises(openai.BadRequestError, match="cannot be chosen"):
            await client.chat.completions.create(**ASK, extra_headers={"Patinox-Pipeline": "guarded"})


@pytest.mark.parametrize("action", ["redact", "block"])
async def test_a_configured_validator_keeps_a_key_from_every_reader(upstream: ScriptedUpstream, action: str) -> None:
    pytest.importorskip("patinox.manager.validators")
    key = "sk-proj-" + "aB3dE5gH7jK9" * 4
    upstream.script(words("It is ", *key, " there."))
    settings: Any = {
        "pipelines__safe__validators": [{"use": "secrets", "action": action}],
        "gateway__upstreams__fake__pipeline": "safe",
    }
    async with serving({"fake": upstream.url}, **settings) as server, aiohttp.ClientSession(server.url) as http:
        await (await http.post("/v1/chat/completions?detached=true", json=ASK)).read()
        await idle()
        stream = server.only_stream()
        for name in ("text", "openai-chat", "anthropic", "ai-sdk", "patinox"):
            try:
                body = await (await http.get(f"/v1/streams/{stream.id}?format={name}")).text()
            except aiohttp.ClientPayloadError:  # how plain text says that it broke off
                body = ""
            assert key[:12] not in body
        assert key[:12] not in str(stream.snapshot())
    blocked = stream.assembly.error
    assert stream.assembly.content == ("It is " if blocked else "It is [redacted] there.")
    assert (blocked.code if blocked else "redacted") == ("blocked" if action == "block" else "redacted")


@pytest.mark.parametrize("flagged", [False, True])
async def test_a_moderation_endpoint_is_asked_before_anything_leaves(upstream: ScriptedUpstream, flagged: bool) -> None:
    pytest.importorskip("patinox.manager.validators")
    upstream.script(words("Something ", "rude."))
    verdict = b'{"results": [{"flagged": %s, "categories": {"rude": true}}]}' % (b"true" if flagged else b"false")
    async with ScriptedUpstream(Answer(verdict, content_type="application/json")) as moderation:
        table = {"use": "moderation", "url": f"{moderation.url}/moderations", "deadline_s": 30.0}
        settings: Any = {
            "pipelines__safe__validators": [table],
            "gateway__upstreams__fake__pipeline": "safe",
        }
        async with serving({"fake": upstream.url}, **settings) as server, aiohttp.ClientSession(server.url) as http:
            answer = await http.post("/v1/chat/completions", json=ASK)
            body = await answer.text()
        assert moderation.asked[0].body["input"] == "Something rude."
    assert ("rude." in body, answer.status) == ((False, 422) if flagged else (True, 200))


async def test_a_pipeline_that_is_not_there_is_refused_before_the_upstream_is_asked(
    upstream: ScriptedUpstream, server: Serving
) -> None:
    async with official(server.url) as client:
        with pytest.raises(openai.BadRequestError, match="no pipeline 'nosuch'"):
            await client.chat.completions.create(**ASK, extra_headers={"Patinox-Pipeline": "nosuch"})
    assert not upstream.asked


# ── pushed over HTTP ──


async def test_what_is_posted_goes_through_the_pipeline(server: Serving) -> None:
    async with aiohttp.ClientSession(server.url) as http:
        await (await http.post("/v1/streams", json={"id": "s", "pipeline": "sentences"})).read()
        for text in ("Hel", "lo. ![x](https://ev", "il.example) there"):
            answer = await http.post("/v1/streams/s/chunks", data=text, headers={"Content-Type": "text/plain"})
            assert (await answer.json())["accepted"] == 1
        assert [chunk.data for chunk in server.manager.get("s").log.slice(0, 9)] == [Text("Hello. ")]
        facts = await (await http.get("/v1/streams/s/facts")).json()
        assert (facts["pipeline"], facts["held"]) == ("sentences", True)
        await (await http.post("/v1/streams/s/finish")).read()
    assert server.manager.get("s").assembly.content == "Hello. ![x](about:invalid) there"


async def test_what_is_posted_after_a_block_is_refused(server: Serving) -> None:
    async with aiohttp.ClientSession(server.url) as http:
        await (await http.post("/v1/streams", json={"id": "s", "pipeline": "guarded"})).read()
        body = "\n".join(f'"{text}"' for text in ("fine ", "sk-hun", "ter2", "more"))
        answer = await http.post("/v1/streams/s/chunks", data=body, headers={"Content-Type": "application/x-ndjson"})
        assert (answer.status, (await answer.json())["error"]["code"]) == (409, "closed")
        snapshot = await (await http.get("/v1/streams/s", headers={"Accept": "application/json"})).json()
    assert (snapshot["content"], snapshot["state"], snapshot["error"]["code"]) == ("fine ", "failed", "blocked")


async def test_the_servers_pipeline_stands_before_every_stream() -> None:
    settings: Any = {"pipelines__words__chunk": "word", "server__pipeline": "words"}
    async with serving({}, **settings) as server, aiohttp.ClientSession(server.url) as http:
        created = await (await http.post("/v1/streams", json={})).json()
        assert created["pipeline"] == "words"
        refused = await http.post("/v1/streams", json={"pipeline": "other"})
        assert (refused.status, (await refused.json())["error"]["code"]) == (400, "bad_request")


async def test_pipelines_are_listed(server: Serving) -> None:
    async with aiohttp.ClientSession(server.url) as http:
        listed = await (await http.get("/v1/pipelines")).json()
    assert listed["pipelines"][0] == {"name": "guarded", "description": "Blocks secrets."}
    assert "default" not in listed


# ── in Python ──


async def test_a_relay_goes_through_a_pipeline(manager: StreamManager) -> None:
    stream = await manager.relay(["One. Tw", "o. Three"], pipeline="sentences")
    assert [chunk.data for chunk in await everything(stream)][:-1] == [Text("One. "), Text("Two. "), Text("Three")]


async def test_a_relay_that_is_blocked_closes_a_source_that_is_silent(manager: StreamManager) -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        try:
            yield "fine "
            yield SECRET
            await asyncio.Event().wait()
        finally:
            closed.set()

    stream = await manager.relay(source(), pipeline=GUARDED)
    assert [chunk.data for chunk in await everything(stream)] == [Text("fine "), BLOCKED]
    await closed.wait()


async def test_what_a_source_says_as_it_fails_is_not_logged(
    manager: StreamManager, caplog: pytest.LogCaptureFixture
) -> None:
    async def source() -> AsyncIterator[str]:
        yield "fine "
        raise ValueError(f"cannot read {SECRET}")

    stream = await manager.relay(source(), pipeline=GUARDED)
    assert SECRET not in str([chunk.data for chunk in await everything(stream)])
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


async def test_written_text_that_was_held_leaves_with_the_end(manager: StreamManager) -> None:
    stream = await manager.create(pipeline="guarded")
    taken = await stream.write("s")
    assert (taken.sequence, taken.data, stream.log.head) == (0, Text("s"), 0)
    await stream.finish()
    assert stream.assembly.content == "s"


async def test_text_that_is_held_when_the_stream_is_cancelled_never_leaves(manager: StreamManager) -> None:
    stream = await manager.create(pipeline="guarded")
    await stream.write("s")
    await stream.cancel()
    assert stream.assembly.content == ""
    assert not stream.describe()["held"]


async def test_a_producer_that_fails_lets_go_of_what_was_certified(manager: StreamManager) -> None:
    stream = await manager.create(pipeline="guarded")
    await stream.write("s")
    await stream.fail(Error("mine", "It broke."))
    assert [chunk.data for chunk in await everything(stream)] == [Text("s"), Error("mine", "It broke.")]


async def test_an_idempotent_producer_is_heard_once(manager: StreamManager) -> None:
    stream = await manager.create(pipeline="guarded")
    first = Producer("p", 0, 0)
    assert await stream.produce(Text("a "), first)
    assert not await stream.produce(Text("a "), first)
    assert stream.assembly.content == "a "


async def test_writers_at_once_keep_their_order(manager: StreamManager) -> None:
    stream = await manager.create(pipeline="guarded")
    await asyncio.gather(*(stream.write(f"{number} ") for number in range(50)))
    assert stream.assembly.content == "".join(f"{number} " for number in range(50))


async def test_writing_without_waiting_works_where_no_stage_waits(manager: StreamManager) -> None:
    stream = await manager.create(pipeline="guarded")
    stream.write_nowait("a b")
    assert stream.assembly.content == "a "
    stream.write_nowait(SECRET)
    assert stream.feed.outcome is Outcome.FAILED
    with pytest.raises(StreamClosed):
        stream.write_nowait("c")


async def test_held_text_leaves_by_the_clock(manager: StreamManager) -> None:
    clock = ManualClock()
    clock.install(asyncio.get_running_loop())
    stream = await manager.create(pipeline="sentences")
    await stream.write("Hello")
    await clock.advance(0.9)
    assert stream.assembly.content == ""
    await clock.advance(0.2)
    assert stream.assembly.content == "Hello"


class Asking:
    """Holds everything until the test answers, then blocks or not."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.closed = False
        self._kept: list[Any] = []

    @property
    def held(self) -> bool:
        return bool(self._kept)

    @property
    def waits(self) -> bool:
        return bool(self._kept)

    async def aclose(self) -> None:
        self.closed = True

    async def wait(self) -> None:
        await asyncio.wait([self.answer])

    async def feed(self, batch: Sequence[Any]) -> list[Any]:
        self._kept += batch
        if not self.answer.done():
            return []
        if not self.answer.result():
            return [BLOCKED]
        out, self._kept = self._kept, []
        return out

    async def close(self) -> list[Any]:
        await self.wait()
        return await self.feed([])


@pytest.mark.parametrize("passed", [True, False])
async def test_an_answer_is_heeded_though_the_producer_is_silent(manager: StreamManager, passed: bool) -> None:
    asking = Asking()
    stream = await manager.create(pipeline=handler("asking", lambda: asking))
    await stream.write("Hello")
    assert stream.log.head == 0
    with pytest.raises(InputError, match="use write"):
        stream.write_nowait("x")
    asking.answer.set_result(passed)
    await turns()
    assert stream.is_open is passed
    assert [chunk.data for chunk in stream.log.slice(0, 9)] == [Text("Hello") if passed else BLOCKED]
    await stream.cancel()
    await turns()
    assert not [task for task in asyncio.all_tasks() if "intake" in task.get_name()]
    assert asking.closed


async def test_a_writer_that_is_cancelled_in_the_pipeline_ends_the_stream(manager: StreamManager) -> None:
    class Slow(Asking):
        async def feed(self, batch: Sequence[Any]) -> list[Any]:
            await self.wait()
            return []

    stream = await manager.create(pipeline=handler("slow", Slow))
    writing = asyncio.ensure_future(stream.write("a"))
    await turns()
    writing.cancel()
    await asyncio.wait([writing])
    assert stream.feed.outcome is Outcome.FAILED
    assert stream.assembly.error is not None
    assert stream.assembly.error.code == "pipeline_failed"
