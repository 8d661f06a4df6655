"""Requests to Ollama (docs/api.md, "Generate a chat completion"), written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patinox.gateway.requests.neutral import (
    AnyPart,
    Ask,
    Call,
    Image,
    Message,
    Output,
    Result,
    Setting,
    Text,
    Thought,
    Tool,
    Written,
    arguments_of,
    named,
    plain,
)
from patinox.gateway.requests.openai_chat import shown, write_function
from patinox.gateway.requests.settings import Put, effort_of, only, write_settings

_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


def write(ask: Ask, model: str) -> Written:
    """The request."""
    names = {part.id: part.name for message in ask.messages for part in message.parts if isinstance(part, Call)}
    messages = [said for message in ask.messages for said in _say(ask, message, names)]
    body: dict[str, Any] = {"model": model, "messages": messages}
    choice = ask.choice
    if choice is not None and choice.mode not in ("auto", "none"):
        ask.refuse(f"{choice.at} ({choice.name or choice.mode})")
    if ask.tools and (choice is None or choice.mode != "none"):  # a tool that is not told of is not called
        body["tools"] = [_write_tool(ask, tool) for tool in ask.tools]
    write_settings(ask, body, _PUT)
    return Written("/api/chat", {**body, "stream": True})


def _write_tool(ask: Ask, tool: Tool) -> dict[str, Any]:
    body = write_function(tool)
    if body.pop("strict", False):
        ask.refuse(f"{tool.at} (strict)")
    return {"type": "function", "function": body}


def _put_effort(value: str, body: dict[str, Any], _ask: Ask) -> str | None:
    body["think"] = _LEVELS.get(value, False)
    return None


def _put_budget(value: int, body: dict[str, Any], ask: Ask) -> str | None:
    return _put_effort(effort_of(value), body, ask) if "effort" not in ask.settings else None


def _put_output(value: Output, body: dict[str, Any], _ask: Ask) -> str | None:
    body["format"] = "json" if value.schema is None else value.schema
    return None


_PUT: Mapping[Setting, str | Put] = {
    "max_tokens": "options.num_predict",
    "stop": "options.stop",
    "temperature": "options.temperature",
    "top_p": "options.top_p",
    "top_k": "options.top_k",
    "seed": "options.seed",
    "presence_penalty": "options.presence_penalty",
    "frequency_penalty": "options.frequency_penalty",
    "effort": _put_effort,
    "thinking_tokens": _put_budget,
    "show_thoughts": shown,
    "output": _put_output,
    "candidates": only(1),
    "parallel_calls": only(True),
}


def _say(ask: Ask, message: Message, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """A message; results of tools are messages of their own."""
    out: list[dict[str, Any]] = []
    rest: list[AnyPart] = []
    for part in message.parts:
        if isinstance(part, Result):
            name = names.get(part.call_id)
            if name is None:
                ask.refuse(f"{part.at} (the result of a call that is not there)")
            out.append({"role": "tool", "content": plain(ask, part), "tool_name": name})
        else:
            rest.append(part)
    return [*out, _message(ask, message.role, rest)] if rest or not out else out


def _message(ask: Ask, role: str, parts: list[AnyPart]) -> dict[str, Any]:
    text = "".join(part.text for part in parts if isinstance(part, Text))
    body: dict[str, Any] = {"role": role, "content": text}
    images, calls, thoughts = [], [], []
    for part in parts:
        match part:
            case Image(base64=data) if data and role == "user" and part.detail is None:
                images.append(data)
            case Image():
                why = "by its address" if part.url else f"detail {part.detail}"
                ask.refuse(f"{part.at} (image {why})")
            case Call():
                calls.append({"function": {"name": part.name, "arguments": arguments_of(ask, part)}})
            case Thought() if part.text:
                thoughts.append(part.text)
            case Thought():
                ask.refuse(named(part))
    more = {"images": images, "tool_calls": calls, "thinking": "".join(thoughts)}
    return body | {key: value for key, value in more.items() if value}
