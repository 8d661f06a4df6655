"""Requests to Gemini (API reference, "Generating content"), written."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

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
    led,
    merged,
    named,
    texts,
)
from patinox.gateway.requests.settings import Put, only, put, tokens_of, write_settings

_FOREIGN_SIGNATURE = "skip_thought_signature_validator"
"""What Gemini's documentation has stand where a call was not made by Gemini itself, and so has no signature of its."""
_ROLES = {"assistant": "model", "user": "user"}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}


def write(ask: Ask, model: str) -> Written:
    """The request; the model is a part of its path."""
    system, rest = led(ask)
    ask.refuse(*(f"{late.at} (role system, after the beginning)" for late in rest if late.role == "system"))
    rest = tuple(message for message in rest if message.role != "system")
    names = {part.id: part.name for message in rest for part in message.parts if isinstance(part, Call)}
    body: dict[str, Any] = {"contents": [_say(ask, message, names) for message in merged(rest)]}
    if system:
        body["systemInstruction"] = {"parts": [{"text": part.text} for part in system]}
    if ask.tools:
        body["tools"] = [{"functionDeclarations": [_write_tool(ask, tool) for tool in ask.tools]}]
    if ask.choice is not None:
        allowed = {"allowedFunctionNames": [ask.choice.name]} if ask.choice.mode == "named" else {}
        put(body, "toolConfig.functionCallingConfig", {"mode": _MODES[ask.choice.mode], **allowed})
    write_settings(ask, body, _PUT | {"effort": _by_level if _has_levels(model) else _by_budget})
    return Written(f"/models/{quote(model, safe='')}:streamGenerateContent?alt=sse", body)


def _write_tool(ask: Ask, tool: Tool) -> dict[str, Any]:
    if tool.strict:
        ask.refuse(f"{tool.at} (strict)")
    body: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        body["description"] = tool.description
    return body if tool.parameters is None else {**body, "parametersJsonSchema": tool.parameters}


def _has_levels(model: str) -> bool:
    """Models before Gemini 3 take a budget of thinking only."""
    return not model.removeprefix("models/").startswith(("gemini-1", "gemini-2"))


def _by_level(value: str, body: dict[str, Any], ask: Ask) -> str | None:
    if value == "none":
        return _by_budget(value, body, ask)
    level = {"max": "XHIGH"}.get(value, value.upper())
    put(body, "generationConfig.thinkingConfig.thinkingLevel", level)
    return None


def _by_budget(value: Any, body: dict[str, Any], _ask: Ask) -> str | None:
    put(body, "generationConfig.thinkingConfig.thinkingBudget", tokens_of(value))
    return None


def _put_budget(value: int, body: dict[str, Any], ask: Ask) -> str | None:
    if "effort" not in ask.settings:  # two ways of saying one thing are refused there
        put(body, "generationConfig.thinkingConfig.thinkingBudget", value)
    return None


def _put_shown(value: str | bool, body: dict[str, Any], _ask: Ask) -> str | None:
    if value not in (True, "auto"):
        return f"{value}"
    put(body, "generationConfig.thinkingConfig.includeThoughts", True)
    return None


def _put_output(value: Output, body: dict[str, Any], _ask: Ask) -> str | None:
    put(body, "generationConfig.responseMimeType", "application/json")
    if value.schema is not None:
        put(body, "generationConfig.responseJsonSchema", value.schema)
    return None


_PUT: dict[Setting, str | Put] = {
    "max_tokens": "generationConfig.maxOutputTokens",
    "stop": "generationConfig.stopSequences",
    "temperature": "generationConfig.temperature",
    "top_p": "generationConfig.topP",
    "top_k": "generationConfig.topK",
    "seed": "generationConfig.seed",
    "presence_penalty": "generationConfig.presencePenalty",
    "frequency_penalty": "generationConfig.frequencyPenalty",
    "candidates": "generationConfig.candidateCount",
    "thinking_tokens": _put_budget,
    "show_thoughts": _put_shown,
    "output": _put_output,
    "parallel_calls": only(True),
}


def _say(ask: Ask, message: Message, names: Mapping[str, str]) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    signed = False
    for part in message.parts:
        made = _write_part(ask, message.role, part, names)
        if made is None:
            continue
        if isinstance(part, Call) and not signed:  # of parallel calls the first is signed
            signed = True
            made["thoughtSignature"] = _FOREIGN_SIGNATURE
        parts.append(made)
    return {"role": _ROLES[message.role], "parts": parts}


def _write_part(ask: Ask, role: str, part: AnyPart, names: Mapping[str, str]) -> dict[str, Any] | None:
    match part:
        case Text():
            return {"text": part.text} if part.text else None
        case Image() if role == "user":
            return _write_image(ask, part)
        case Call():
            return {"functionCall": {"id": part.id, "name": part.name, "args": arguments_of(ask, part)}}
        case Result() if part.call_id in names:
            said = "".join(piece.text for piece in texts(ask, part.content))
            response = {"error" if part.is_error else "result": said}
            return {"functionResponse": {"id": part.call_id, "name": names[part.call_id], "response": response}}
        case Thought() if part.text:
            return {"text": part.text, "thought": True}
        case Result():
            ask.refuse(f"{part.at} (the result of a call that is not there)")
        case _:
            ask.refuse(named(part))
    return None


def _write_image(ask: Ask, image: Image) -> dict[str, Any]:
    if image.detail is not None:
        ask.refuse(f"{image.at} (detail {image.detail})")
    if image.base64:
        return {"inlineData": {"mimeType": image.media_type, "data": image.base64}}
    kind, _ = mimetypes.guess_type(image.url.partition("?")[0])
    return {"fileData": {"fileUri": image.url, **({"mimeType": kind} if kind else {})}}
