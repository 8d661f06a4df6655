"""Requests in Anthropic's Messages (API reference, "Create a Message"), read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from patinox.gateway.requests.fields import Fields
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
    ToolChoice,
    Written,
    arguments_of,
    led,
    merged,
    named,
)
from patinox.gateway.requests.settings import Put, only, read_settings, write_settings

MAX_TOKENS = 8_192
"""What is asked for where the client names no limit: this dialect requires one."""

_SETTINGS: Mapping[str, Setting] = {
    "max_tokens": "max_tokens",
    "stop_sequences": "stop",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
}
_PASSED = ("model", "stream")
_IDLE: Mapping[str, tuple[Any, ...]] = {"service_tier": ("auto", "standard_only"), "speed": ("standard",)}
_MODES = {"auto": "auto", "any": "required", "none": "none", "tool": "named"}


def read(body: dict[str, Any]) -> Ask:
    """The request. Raises `InputError` where it is malformed."""
    refused: list[str] = []
    fields = Fields(body, "", refused)
    system = tuple(_parts(fields, "system"))
    messages = [Message("system", system, "system")] if system else []
    messages += [_message(message) for message in fields.objects("messages")]
    tools = tuple(tool for item in fields.objects("tools") if (tool := _tool(item)) is not None)
    found = read_settings(fields, _SETTINGS)
    if (metadata := fields.object("metadata")) is not None:
        found |= {setting: (value, "metadata.user_id") for setting, (value, _) in _user(metadata).items()}
    found |= _thinking(fields) | _output(fields)
    choice = _choice(fields, found)
    fields.close(*_PASSED, idle=_IDLE)
    settings = {setting: value for setting, (value, _) in found.items()}
    names = {setting: name for setting, (_, name) in found.items()}
    return Ask(tuple(messages), tools, choice, settings, names, refused)


Found = dict[Setting, tuple[Any, str]]


def _user(metadata: Fields) -> Found:
    found = read_settings(metadata, {"user_id": "user"})
    metadata.close()
    return found


def _message(fields: Fields) -> Message:
    role, parts = fields.need("role"), tuple(_parts(fields, "content"))
    if role not in ("user", "assistant", "system"):
        fields.refuse(f"role {role}")
    fields.close()
    match role:
        case "assistant":
            return Message("assistant", parts, fields.at)
        case "system":
            return Message("system", parts, fields.at)
    return Message("user", parts, fields.at)


def _parts(fields: Fields, key: str) -> list[AnyPart]:
    content = fields.content(key)
    if isinstance(content, str):
        return [Text(at=fields.path(key), text=content)] if content else []
    return [part for item in content if (part := _part(item)) is not None]


def _part(fields: Fields) -> AnyPart | None:
    part: AnyPart | None = None
    at = fields.at
    match kind := fields.need("type"):
        case "text":
            part = Text(at=at, text=fields.need("text"))
        case "image":
            part = _image(fields)
        case "thinking":
            part = Thought(at=at, text=fields.text("thinking") or "", signature=fields.text("signature") or None)
        case "redacted_thinking":
            part = Thought(at=at, signature=fields.need("data"))
        case "tool_use":
            arguments = msgspec.json.encode(fields.schema("input") or {}).decode()
            part = Call(at=at, id=fields.need("id"), name=fields.need("name"), arguments=arguments)
        case "tool_result":
            content = tuple(part for part in _parts(fields, "content") if isinstance(part, Text | Image))
            is_error = bool(fields.flag("is_error"))
            part = Result(at=at, call_id=fields.need("tool_use_id"), content=content, is_error=is_error)
        case _:
            fields.refuse(kind)
    fields.close("citations", idle={"caller": ({"type": "direct"},)})
    return part


def _image(fields: Fields) -> Image | None:
    source = fields.object("source")
    if source is None:
        fields.refuse("image without a source")
        return None
    match kind := source.need("type"):
        case "base64":
            image = Image(at=fields.at, base64=source.need("data"), media_type=source.need("media_type"))
        case "url":
            image = Image(at=fields.at, url=source.need("url"))
        case _:
            fields.refuse(f"image of a {kind}")
            return None
    source.close()
    return image


def _tool(fields: Fields) -> Tool | None:
    kind = fields.text("type") or "custom"
    if kind != "custom":
        fields.refuse(kind)
        return None
    name, description = fields.need("name"), fields.text("description")
    tool = Tool(name, description, fields.schema("input_schema"), bool(fields.flag("strict")), fields.at)
    fields.close(idle={"allowed_callers": (["direct"],)})
    return tool


def _choice(fields: Fields, found: Found) -> ToolChoice | None:
    choice = fields.object("tool_choice")
    if choice is None:
        return None
    kind, name = choice.need("type"), choice.text("name") or ""
    if choice.flag("disable_parallel_tool_use"):
        found["parallel_calls"] = (False, "tool_choice.disable_parallel_tool_use")
    choice.close()
    match _MODES.get(kind):
        case "auto" | "required" | "none" | "named" as mode:
            return ToolChoice(mode, "tool_choice", name)
    choice.refuse(kind)
    return None


def _thinking(fields: Fields) -> Found:
    thinking = fields.object("thinking")
    if thinking is None:
        return {}
    found: Found = {}
    kind, budget, display = thinking.need("type"), thinking.whole("budget_tokens"), thinking.text("display")
    if kind not in ("enabled", "adaptive", "disabled"):
        thinking.refuse(kind)
    elif kind != "disabled" and display != "omitted":
        found["show_thoughts"] = (True, "thinking")
    if kind == "enabled" and budget is not None:
        found["thinking_tokens"] = (budget, "thinking.budget_tokens")
    thinking.close()
    return found


def _output(fields: Fields) -> Found:
    config = fields.object("output_config")
    if config is None:
        return {}
    found = read_settings(config, {"effort": "effort"})
    shape = config.object("format")
    if shape is not None:
        kind = shape.need("type")
        if kind == "json_schema":
            found["output"] = (Output(shape.schema("schema"), strict=True), shape.at)
        else:
            shape.refuse(kind)
        shape.close()
    config.close()
    return found


# written


def write(ask: Ask, model: str) -> Written:
    """The request. A limit of tokens is set where there is none, since it is required."""
    system, rest = led(ask)
    body: dict[str, Any] = {"model": model, "max_tokens": MAX_TOKENS}
    if system:
        body["system"] = "\n\n".join(part.text for part in system)
    body["messages"] = [_say(ask, message) for message in merged(rest)]
    if ask.tools:
        body["tools"] = [_write_tool(tool) for tool in ask.tools]
    if ask.choice is not None:
        words = {mode: word for word, mode in _MODES.items()}
        name = {"name": ask.choice.name} if ask.choice.mode == "named" else {}
        body["tool_choice"] = {"type": words[ask.choice.mode], **name}
    write_settings(ask, body, _PUT)
    return Written("/messages", {**body, "stream": True})


def _write_tool(tool: Tool) -> dict[str, Any]:
    body: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        body["description"] = tool.description
    body["input_schema"] = tool.parameters or {"type": "object", "properties": {}}
    return {**body, "strict": True} if tool.strict else body


def _put_temperature(value: float, body: dict[str, Any], _ask: Ask) -> str | None:
    if value > 1:
        return f"{value}, and 1 is the most here"
    body["temperature"] = value
    return None


def _put_effort(value: str, body: dict[str, Any], _ask: Ask) -> str | None:
    if value == "none":
        body["thinking"] = {"type": "disabled"}
    else:
        body["thinking"] = {"type": "adaptive"}
        body.setdefault("output_config", {})["effort"] = "low" if value == "minimal" else value
    return None


def _put_parallel(value: bool, body: dict[str, Any], ask: Ask) -> str | None:
    if not value and ask.tools:
        body.setdefault("tool_choice", {"type": "auto"})
        if body["tool_choice"]["type"] != "none":
            body["tool_choice"]["disable_parallel_tool_use"] = True
    return None


def _put_output(value: Output, body: dict[str, Any], _ask: Ask) -> str | None:
    if value.schema is None:
        return "JSON without a schema"
    body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": value.schema}
    return None


def _put_shown(value: str | bool, _body: dict[str, Any], _ask: Ask) -> str | None:
    return None if value in (True, "auto") else f"{value}"


_PUT: Mapping[Setting, str | Put] = {
    "max_tokens": "max_tokens",
    "stop": "stop_sequences",
    "temperature": _put_temperature,
    "top_p": "top_p",
    "top_k": "top_k",
    "user": "metadata.user_id",
    "effort": _put_effort,
    "parallel_calls": _put_parallel,
    "output": _put_output,
    "show_thoughts": _put_shown,
    "candidates": only(1),
    "presence_penalty": only(0),
    "frequency_penalty": only(0),
}


def _say(ask: Ask, message: Message) -> dict[str, Any]:
    content = [said for part in message.parts if (said := _write_part(ask, message.role, part)) is not None]
    # Results of tools stand first in the message that follows the calls.
    content.sort(key=lambda item: item["type"] != "tool_result")
    return {"role": message.role, "content": content}


def _write_part(ask: Ask, role: str, part: AnyPart) -> dict[str, Any] | None:
    match part:
        case Text():
            return {"type": "text", "text": part.text} if part.text else None  # which this dialect does not allow
        case Image() if role == "user":
            return _write_image(ask, part)
        case Call():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments_of(ask, part)}
        case Result():
            content = [said for inner in part.content if (said := _write_part(ask, "user", inner)) is not None]
            flag = {"is_error": True} if part.is_error else {}
            return {"type": "tool_result", "tool_use_id": part.call_id, "content": content, **flag}
        case Thought() if part.signature is not None:
            if not part.text:
                return {"type": "redacted_thinking", "data": part.signature}
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    ask.refuse(f"{named(part)[:-1]} without a signature)" if isinstance(part, Thought) else named(part))
    return None


def _write_image(ask: Ask, image: Image) -> dict[str, Any]:
    if image.detail is not None:
        ask.refuse(f"{image.at} (detail {image.detail})")
    if image.url:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.base64}}
