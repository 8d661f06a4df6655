"""The line between client and server: cut at a byte, or silent but for heartbeats. No answer is lost to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest
from tests.serving import ASK, Serving, official, serving

from patinox.testing.proxy import Fault, FaultProxy
from patinox.testing.upstream import DONE, Answer, Gate, ScriptedUpstream, role, said, stopped, usage

NAMED = {"Patinox-Stream-Id": "cut"}
WORDS = [f"word{number} " for number in range(40)]


@pytest.fixture
async def server(upstream: ScriptedUpstream) -> AsyncIterator[Serving]:
    upstream.script(Answer(role(), *map(said, WORDS), stopped(), usage(7, len(WORDS)), DONE))
    async with serving({"fake": upstream.url}) as running:
        yield running


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_a_cut_is_an_error_for_the_official_client_and_its_stream_is_read_to_the_end(
    upstream: ScriptedUpstream, server: Serving, http: aiohttp.ClientSession, reset: bool
) -> None:
    told = ""
    async with (
        FaultProxy("127.0.0.1", server.port, [Fault(cut_after_bytes=3000, reset=reset)]) as proxy,
        official(proxy.url) as client,
        await client.chat.completions.create(**ASK, stream=True, extra_headers=NAMED) as stream,
    ):
        try:
            async for chunk in stream:
                told += chunk.choices[0].delta.content or ""
        except openai.APIConnectionError:
            pass
        else:
            pytest.fail("the cut went unnoticed")
    assert len(told) < len("".join(WORDS))
    async with http.get(f"{server.url}/v1/streams/cut", headers={"Accept": "text/plain"}) as answer:
        assert await answer.text() == "".join(WORDS)
    assert len(upstream.asked) == 1


async def test_a_client_that_retries_under_the_id_gets_the_whole_answer_and_nobody_pays_twice(
    upstream: ScriptedUpstream, server: Serving
) -> None:
    # Cut within the head of the answer: the client's own retry is what reads it.
    async with (
        FaultProxy("127.0.0.1", server.port, [Fault(cut_after_bytes=40), Fault(refuse=True)]) as proxy,
        openai.AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key="none", max_retries=3) as client,
        await client.chat.completions.create(**ASK, stream=True, extra_headers=NAMED) as stream,
    ):
        told = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert told == "".join(WORDS)
    assert proxy.cuts == 2
    assert len(upstream.asked) == 1


async def test_heartbeats_before_and_between_tokens_do_not_disturb_the_official_client(
    upstream: ScriptedUpstream,
) -> None:
    first, second = Gate(), Gate()
    upstream.script(Answer(first, role(), said("Hel"), second, said("lo"), stopped(), usage(7, 2), DONE))
    async with (
        serving({"fake": upstream.url}, streaming__sse__heartbeat_interval="20ms") as server,
        HeartbeatWatch("127.0.0.1", server.port) as watch,
        official(watch.url) as client,
        await client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}) as stream,
    ):
        await watch.beats(2)
        first.open()
        told = [await anext(stream), await anext(stream)]
        await watch.beats(4)
        second.open()
        told += [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in told if chunk.choices) == "Hello"
    assert told[-1].usage is not None


class HeartbeatWatch:
    """Passes one connection on and counts the heartbeats in what comes back."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._seen = 0
        self._grown = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def beats(self, count: int) -> None:
        """Waits until so many heartbeats have passed."""
        async with self._grown:
            await self._grown.wait_for(lambda: self._seen >= count)

    async def __aenter__(self) -> HeartbeatWatch:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        loop = asyncio.get_running_loop()
        self._tasks += [
            loop.create_task(self._pass(reader, far_writer)),
            loop.create_task(self._pass(far_reader, writer)),
        ]

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                async with self._grown:
                    self._seen += data.count(b": \n")
                    self._grown.notify_all()
        finally:
            writer.transport.abort()
