"""The gateway's three calls, made with the official clients and told in the same words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import anthropic
import msgspec
import openai

Call = tuple[str, Any]


class Told(msgspec.Struct):
    """What a client got: text, calls (name, arguments or their text where they are no JSON), how it ended, usage."""

    text: str = ""
    calls: list[Call] = []
    finish: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None
    status: int | None = None
    stream_id: str | None = None


def arguments(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


class ChatCaller:
    dialect = "openai-chat"
    finishes: Mapping[str | None, str] = {
        "stop": "stop",
        "length": "length",
        "tool_calls": "tools",
        "content_filter": "filter",
    }

    def __init__(self, url: str) -> None:
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)

    async def ask(self, *, stream: bool, **more: Any) -> Told:
        asked: Any = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **more}
        try:
            async with self.client:
                if stream:
                    return await self._streamed(asked)
                return _completion(await self.client.chat.completions.create(**asked))
        except openai.APIStatusError as error:
            return Told(error=error.message, status=error.status_code)

    async def _streamed(self, asked: Any) -> Told:
        told = Told()
        calls: dict[int, list[str]] = {}
        answer = await self.client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        told.stream_id = answer.response.headers["patinox-stream-id"]
        try:
            async for chunk in answer:
                for choice in chunk.choices:
                    told.text += (choice.delta.content or "") + (choice.delta.refusal or "")
                    for call in choice.delta.tool_calls or ():
                        parts = calls.setdefault(call.index, ["", ""])
                        assert call.function is not None
                        parts[0] += call.function.name or ""
                        parts[1] += call.function.arguments or ""
                    told.finish = self.finishes.get(choice.finish_reason, told.finish)
                if chunk.usage:
                    told.input_tokens = chunk.usage.prompt_tokens
                    told.output_tokens = chunk.usage.completion_tokens
        except openai.APIError as error:
            told.error = error.message
        told.calls = [(name, arguments(text)) for name, text in calls.values()]
        return told


def _completion(answer: Any) -> Told:
    (choice,) = answer.choices
    usage = answer.usage
    return Told(
        text=(choice.message.content or "") + (choice.message.refusal or ""),
        calls=[(call.function.name, arguments(call.function.arguments)) for call in choice.message.tool_calls or ()],
        finish=ChatCaller.finishes[choice.finish_reason],
        input_tokens=usage and usage.prompt_tokens,
        output_tokens=usage and usage.completion_tokens,
    )


class ResponsesCaller:
    dialect = "openai-responses"

    def __init__(self, url: str) -> None:
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)

    async def ask(self, *, stream: bool, **more: Any) -> Told:
        asked: Any = {"model": "m", "input": "Hi", **more}
        try:
            async with self.client:
                if stream:
                    return await self._streamed(asked)
                return _response(await self.client.responses.create(**asked))
        except openai.APIStatusError as error:
            return Told(error=error.message, status=error.status_code)

    async def _streamed(self, asked: Any) -> Told:
        text, error, last = "", None, None
        answer = await self.client.responses.create(**asked, stream=True)
        async for event in answer:
            if event.type in ("response.output_text.delta", "response.refusal.delta"):
                text += event.delta
            elif event.type == "error":
                error = event.message
            elif event.type in ("response.completed", "response.incomplete", "response.failed"):
                last = event.response
        told = Told(text=text, error=error)
        if last is not None and last.status != "failed":
            told = _response(last)
            assert told.text == text
        told.error = error or told.error
        told.stream_id = answer.response.headers["patinox-stream-id"]
        return told


def _response(answer: Any) -> Told:
    told = Told()
    for item in answer.output:
        if item.type == "function_call":
            told.calls.append((item.name, arguments(item.arguments)))
        elif item.type == "message":
            told.text += "".join(part.text if part.type == "output_text" else part.refusal for part in item.content)
    reason = answer.incomplete_details and answer.incomplete_details.reason
    told.finish = {"max_output_tokens": "length", "content_filter": "filter"}.get(reason or "", "stop")
    if answer.status == "completed" and any(item.type == "function_call" for item in answer.output):
        told.finish = "tools"
    if answer.usage is not None:
        told.input_tokens, told.output_tokens = answer.usage.input_tokens, answer.usage.output_tokens
    return told


class MessagesCaller:
    dialect = "anthropic"
    finishes: Mapping[str | None, str] = {
        "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tools", "refusal": "filter",
    }  # fmt: skip

    def __init__(self, url: str) -> None:
        self.client = anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0)

    async def ask(self, *, stream: bool, **more: Any) -> Told:
        asked: Any = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **more}
        try:
            async with self.client:
                if stream:
                    return await self._streamed(asked)
                return self._message(await self.client.messages.create(**asked))
        except anthropic.APIStatusError as error:
            return Told(error=error.message, status=error.status_code)

    async def _streamed(self, asked: Any) -> Told:
        text = ""
        told = Told()
        async with self.client.messages.stream(**asked) as answer:
            told.stream_id = answer.response.headers["patinox-stream-id"]
            try:
                async for event in answer:
                    if event.type == "text":
                        text += event.text
                message = await answer.get_final_message()
            except anthropic.APIError as error:
                return Told(text=text, error=str(error.body or error), stream_id=told.stream_id)
        whole = self._message(message)
        assert whole.text == text
        whole.stream_id = told.stream_id
        return whole

    def _message(self, answer: Any) -> Told:
        return Told(
            text="".join(part.text for part in answer.content if part.type == "text"),
            calls=[(part.name, part.input) for part in answer.content if part.type == "tool_use"],
            finish=self.finishes[answer.stop_reason],
            input_tokens=answer.usage.input_tokens,
            output_tokens=answer.usage.output_tokens,
        )


Caller = ChatCaller | ResponsesCaller | MessagesCaller
CALLERS: tuple[type[Caller], ...] = (ChatCaller, ResponsesCaller, MessagesCaller)
