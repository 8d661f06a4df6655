"""The official Python clients, on each provider's own routes: they judge what is told of recorded answers.

Each reads every recording of every dialect, with heartbeats between, fresh and attached in the middle. What a client
makes of its own dialect is held against what it makes of the recording's very bytes; of another, against what the
recording said. Warnings are errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import msgspec
import ollama
import openai
import pytest
from google import genai
from google.genai import types as genai_types
from tests.callers import arguments
from tests.live_server import live
from tests.recordings import recorded

from patinox.core.events import ToolReady
from patinox.testing.replay import ReplayApp, replay_app
from patinox.transports.endpoint import Reply


class Heard(msgspec.Struct):
    """What a client made of a stream: its text, its calls, and the tokens that were put out."""

    text: str = ""
    calls: list[tuple[str, Any]] = []
    output_tokens: int | None = None
    error: str | None = None


# ── the clients; `after` is where to attach ──


async def chat(url: str, after: str | None = None) -> Heard:
    heard, calls = Heard(), dict[int, list[str]]()
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="m", messages=[], stream=True, extra_query={"after": after} if after else None
        )
        try:
            async for chunk in answer:
                for choice in [choice for choice in chunk.choices if not choice.index]:
                    heard.text += str(choice.delta.content or "")  # one provider has lists there
                    for call in choice.delta.tool_calls or ():
                        parts = calls.setdefault(call.index, ["", ""])
                        parts[0] += (call.function and call.function.name) or ""
                        parts[1] += (call.function and call.function.arguments) or ""
                if chunk.usage is not None:
                    heard.output_tokens = chunk.usage.completion_tokens
        except openai.APIError as error:
            heard.error = error.message
    heard.calls = [(name, arguments(text)) for name, text in calls.values()]
    return heard


async def responses(url: str, after: str | None = None) -> Heard:
    heard = Heard()
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        query = {"after": after} if after else None
        answer = await client.responses.create(model="m", input="?", stream=True, extra_query=query)
        return await _read_response(answer, heard)


async def _read_response(answer: openai.AsyncStream[Any], heard: Heard) -> Heard:
    async for event in answer:
        if event.type == "response.output_text.delta":
            heard.text += event.delta
        elif event.type == "error":
            heard.error = event.message
        elif event.type == "response.output_item.done" and event.item.type == "function_call":
            heard.calls.append((event.item.name, arguments(event.item.arguments)))
        elif event.type in ("response.completed", "response.incomplete") and event.response.usage is not None:
            heard.output_tokens = event.response.usage.output_tokens
    return heard


async def messages(url: str, after: str | None = None) -> Heard:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client:
        query = {"after": after} if after else None
        asked: Any = {"model": "m", "max_tokens": 9, "messages": [], "extra_query": query}
        async with client.messages.stream(**asked) as stream:
            try:
                message = await stream.get_final_message()
            except anthropic.APIError as error:
                return Heard(error=str(error.body or error))
        texts = [part.text for part in message.content if part.type == "text"]
        calls = [(part.name, part.input) for part in message.content if part.type == "tool_use"]
        return Heard("".join(texts), calls, message.usage.output_tokens)


async def gemini(url: str, after: str | None = None) -> Heard:
    heard = Heard()
    async with httpx2.AsyncClient(params={"after": after} if after else None) as http:
        options = genai_types.HttpOptions(base_url=url, api_version="v1beta", httpx_async_client=http)
        client = genai.Client(api_key="none", http_options=options)
        try:
            async for part in await client.aio.models.generate_content_stream(model="m", contents="?"):
                _read_gemini(part, heard)
        except (genai.errors.APIError, genai.errors.UnknownApiResponseError) as error:
            heard.error = str(error)
        finally:
            client.close()
    return heard


def _read_gemini(part: genai_types.GenerateContentResponse, heard: Heard) -> None:
    candidate = part.candidates[0] if part.candidates else None
    for piece in (candidate and candidate.content and candidate.content.parts) or ():
        if piece.text and not piece.thought:
            heard.text += piece.text
        if piece.function_call:
            heard.calls.append((piece.function_call.name or "", piece.function_call.args or {}))
    counts = part.usage_metadata
    if counts is not None and counts.candidates_token_count is not None:
        heard.output_tokens = counts.candidates_token_count + (counts.thoughts_token_count or 0)


async def lines(url: str, after: str | None = None) -> Heard:
    heard = Heard()

    async def hook(request: Any) -> None:
        if after:
            request.url = request.url.copy_add_param("after", after)

    client = ollama.AsyncClient(host=url, event_hooks={"request": [hook]})
    try:
        async for part in await client.chat(model="m", messages=[], stream=True):
            heard.text += part.message.content or ""
            heard.calls += [(call.function.name, call.function.arguments) for call in part.message.tool_calls or ()]
            heard.output_tokens = part.eval_count if part.eval_count is not None else heard.output_tokens
    except ollama.ResponseError as error:
        heard.error = error.error
    finally:
        await client._client.aclose()
    return heard


Client = Callable[..., Coroutine[Any, Any, Heard]]
CLIENTS: dict[str, Client] = {
    "openai-chat": chat, "openai-responses": responses, "anthropic": messages, "gemini": gemini, "ollama": lines,
}  # fmt: skip
DIALECTS = ("openai-chat", "openai-responses", "anthropic", "gemini")
UNREADABLE = {
    # a call that never ended, and the next message begun within it
    "anthropic-spliced-message-start": tuple(CLIENTS),
    # the client of Ollama cannot read images as Ollama writes them
    "azure-image-generation-tool.1": ("ollama",),
    "xai-image-generation-tool.1": ("ollama",),
}


SMALL_BYTES = 10_000


def cases(*, own: bool) -> list[Any]:
    """A client, a dialect and a recording: of the client's own dialect, or of the others."""
    return [
        pytest.param(client, dialect, *param.values, id=f"{client}-reads-{param.id}", marks=_marks(param))
        for client in CLIENTS
        for dialect in DIALECTS
        for param in recorded(dialect)
        if (client == dialect) is own and (own or client not in UNREADABLE.get(str(param.id), ()))
    ]


def _marks(param: Any) -> Any:
    path = param.values[0]
    return (*param.marks, *([pytest.mark.slow] if path.is_file() and path.stat().st_size > SMALL_BYTES else ()))


@asynccontextmanager
async def replayed(dialect: str, recording: bytes) -> AsyncIterator[tuple[ReplayApp, str]]:
    async with replay_app(recording, format=dialect, heartbeats=True) as app, live(app) as port:
        yield app, f"http://127.0.0.1:{port}"


async def heard_of(client: Client, recording: bytes, media_type: str = "text/event-stream") -> Heard:
    """What a client makes of the recording as it is."""
    reply = Reply(recording, headers={"content-type": media_type})

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await reply(scope, receive, send)

    async with live(app) as port:
        return await client(f"http://127.0.0.1:{port}")


def said(app: ReplayApp) -> Heard:
    """What the recording said."""
    stream = app.stream
    ready = [chunk.data for chunk in stream.log.slice(0, stream.log.head) if isinstance(chunk.data, ToolReady)]
    calls = {(call.message, call.block): call.arguments or {} for call in ready}
    heard = Heard(stream.assembly.content, [], (stream.assembly.usage or {}).get("output_tokens"))
    for place, block in stream.assembly.blocks.items():
        if block.kind == "custom" and block.call_id is not None:
            heard.calls.append((block.name or "", block.text))
        elif block.kind == "tool_call" and not block.choice and place in calls:
            heard.calls.append((block.name or "", calls[place]))
    return heard


def with_plain_input(heard: Heard, custom: set[str]) -> Heard:
    """The same, with the text that a custom tool is called with as it was, however the dialect wraps it."""
    calls = [
        (name, given["input"]) if name in custom and isinstance(given, dict) else (name, given)
        for name, given in heard.calls
    ]
    return msgspec.structs.replace(heard, calls=calls)


@pytest.mark.parametrize(("client", "dialect", "path"), cases(own=True))
async def test_a_client_hears_its_own_dialect_as_from_the_provider(client: str, dialect: str, path: Path) -> None:
    recording = content(path)
    expected = await heard_of(CLIENTS[client], recording)

    async with replayed(dialect, recording) as (_, url):
        assert await CLIENTS[client](url) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("client", "dialect", "path"), cases(own=False))
async def test_a_client_hears_another_providers_answer(client: str, dialect: str, path: Path) -> None:
    async with replayed(dialect, content(path)) as (app, url):
        heard = await CLIENTS[client](url)

        # Ollama has no word for an answer that was withheld, and must not tell it as an empty success.
        is_withheld = client == "ollama" and path.stem == "anthropic-refusal"
        if app.stream.feed.went_wrong or is_withheld:
            assert heard.error
        else:
            custom = {block.name or "" for block in app.stream.assembly.blocks.values() if block.kind == "custom"}
            assert with_plain_input(heard, custom) == said(app)


SAMPLE = [
    pytest.param(client, dialect, *param.values, id=f"{client}-reads-{param.id}", marks=param.marks)
    for client in CLIENTS
    for dialect in DIALECTS
    for param in recorded(dialect, max_bytes=12_000)[:3]
    if client not in UNREADABLE.get(str(param.id), ())
]


@pytest.mark.parametrize(("client", "dialect", "path"), SAMPLE)
async def test_a_fresh_client_may_attach_anywhere(client: str, dialect: str, path: Path) -> None:
    async with replayed(dialect, content(path)) as (app, url):
        whole = await CLIENTS[client](url)
        head, epoch = app.stream.log.head, app.stream.epoch
        for sequence in range(1, head, max(1, head // 6)):
            heard = await CLIENTS[client](url, f"{epoch}-{sequence}")

            assert heard.error == whole.error
            assert whole.text.endswith(heard.text)
            names = {name for name, _ in heard.calls}
            assert names <= {name for name, _ in whole.calls}
            if client != "openai-chat":  # where a call that is under way goes on without what it had
                assert all(call in whole.calls for call in heard.calls)


@pytest.mark.parametrize(("client", "dialect", "path"), SAMPLE)
async def test_a_connection_that_was_cut_goes_on_to_the_same(client: str, dialect: str, path: Path) -> None:
    """No client of these resumes by itself: the pieces are put together as a proxy would, and the client reads them."""
    posts = {
        "openai-chat": "/v1/chat/completions", "openai-responses": "/v1/responses", "anthropic": "/v1/messages",
        "gemini": "/v1beta/models/m:streamGenerateContent", "ollama": "/api/chat",
    }  # fmt: skip
    media = "application/x-ndjson" if client == "ollama" else "text/event-stream"
    async with replayed(dialect, content(path)) as (app, url), httpx2.AsyncClient(base_url=url) as http:
        whole = await CLIENTS[client](url)
        head, epoch = app.stream.log.head, app.stream.epoch
        everything = (await http.post(posts[client], json={"stream": True})).content
        for sequence in range(1, head, max(1, head // 4)):
            resumed = {"last-event-id": f"{epoch}-{sequence}"}
            rest = (await http.post(posts[client], json={"stream": True}, headers=resumed)).content
            seen = everything[: len(everything) - len(rest)]

            assert everything == seen + rest
            assert await heard_of(CLIENTS[client], seen + rest, media) == whole


@pytest.mark.parametrize("path", recorded("openai-responses", max_bytes=40_000)[:6])
async def test_openais_client_resumes_by_itself_from_any_event(path: Path) -> None:
    async with (
        replayed("openai-responses", content(path)) as (app, url),
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        response_id = f"resp_{app.stream.id}"
        asked = await client.responses.create(model="m", input="?", stream=True)
        events = [event async for event in asked]
        for place in range(0, len(events) - 1, max(1, len(events) // 8)):
            after = events[place].sequence_number
            answer = await client.responses.retrieve(response_id, stream=True, starting_after=after)
            assert [event async for event in answer] == events[place + 1 :]


def content(path: Path) -> bytes:
    """A recording's bytes."""
    return path.read_bytes()
