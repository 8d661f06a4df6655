"""The embedded model, asked by Anthropic's client and by OpenAI's for Responses: real answers of llama.cpp."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anthropic
import openai
import pytest
from tests.serving import Serving, serving

from patinox.gateway.local_model import LocalModel

pytestmark = [
    pytest.mark.model,
    pytest.mark.xdist_group("model"),  # two at a time would fight for the cores
    pytest.mark.skipif(LocalModel.available() is not None, reason=str(LocalModel.available())),
]

PROMPT = "Tell me about the sea."


@pytest.fixture
async def server() -> AsyncIterator[Serving]:
    async with LocalModel() as model:
        await model.wait_ready()
        async with serving({}, local=model) as running:
            yield running


async def test_anthropics_client_streams_an_answer_and_gets_a_whole_one(server: Serving) -> None:
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="none", max_retries=0) as client:
        async with client.messages.stream(
            model="default", max_tokens=16, system="Be brief.", messages=[{"role": "user", "content": PROMPT}]
        ) as stream:
            pieces = [text async for text in stream.text_stream]
            message = await stream.get_final_message()
        whole = await client.messages.create(
            model="default", max_tokens=4, messages=[{"role": "user", "content": PROMPT}]
        )

    assert len(pieces) > 3
    assert [part.text for part in message.content if part.type == "text"] == ["".join(pieces)]
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 16)
    assert message.usage.input_tokens > 0
    assert whole.stop_reason == "max_tokens"


async def test_openais_client_streams_a_response_and_resumes_it(server: Serving) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        stream = await client.responses.create(
            model="default", input=PROMPT, instructions="Be brief.", max_output_tokens=16, stream=True
        )
        events = [event async for event in stream]
        last = events[-1]
        assert last.type == "response.incomplete"
        resumed = await client.responses.retrieve(last.response.id, stream=True, starting_after=5)
        rest = [event async for event in resumed]
        whole = await client.responses.retrieve(last.response.id)

    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said.strip()
    assert last.response.output_text == said == whole.output_text
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == 16
    assert rest == events[6:]
