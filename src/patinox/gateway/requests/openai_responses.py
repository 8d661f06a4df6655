"""Requests in OpenAI's Responses (API reference, "Create a model response"), read and written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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
    Written,
    merged,
    named,
    plain,
)
from patinox.gateway.requests.openai_chat import (
    read_choice,
    read_function,
    read_schema,
    write_choice,
    write_function,
    write_schema,
)
from patinox.gateway.requests.pictures import from_url, to_url
from patinox.gateway.requests.settings import Put, effort_of_tokens, only, read_settings, write_settings

_SETTINGS: Mapping[str, Setting] = {
    "max_output_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "safety_identifier": "user",
    "user": "user",
    "parallel_tool_calls": "parallel_calls",
}
_PASSED = ("model", "stream", "stream_options", "store", "background")
_IDLE: Mapping[str, tuple[Any, ...]] = {
    "service_tier": ("auto", "default"),
    "truncation": ("disabled",),
    "include": (["reasoning.encrypted_content"],),  # a thought comes with its signature, where it has one
}
_ITEM = ("id", "status", "phase")  # what an item of an answer has when it is sent back
_PART = ("annotations", "logprobs")


def read(body: dict[str, Any]) -> Ask:
    """The request. Raises `InputError` where it is malformed."""
    refused: list[str] = []
    fields = Fields(body, "", refused)
    # What the model said and called in one answer are items here, and one message everywhere else.
    messages = merged([*_instructions(fields), *_input(fields)], "assistant")
    tools = tuple(tool for item in fields.objects("tools") if (tool := _tool(item)) is not None)
    found = read_settings(fields, _SETTINGS)
    found |= _reasoning(fields) | _text(fields)
    choice = read_choice(fields, "")
    fields.close(*_PASSED, idle=_IDLE)
    settings = {setting: value for setting, (value, _) in found.items()}
    names = {setting: name for setting, (_, name) in found.items()}
    return Ask(tuple(messages), tools, choice, settings, names, refused)


def _instructions(fields: Fields) -> list[Message]:
    said = fields.text("instructions")
    return [Message("system", (Text(at="instructions", text=said),), "instructions")] if said else []


def _input(fields: Fields) -> list[Message]:
    value = fields.content("input")
    if isinstance(value, str):
        return [Message("user", (Text(at="input", text=value),), "input")]
    return [message for item in value if (message := _item(item)) is not None]


def _item(fields: Fields) -> Message | None:
    message: Message | None = None
    match kind := fields.text("type") or "message":
        case "message":
            message = _message(fields)
        case "function_call":
            call_id, arguments = fields.need("call_id"), fields.text("arguments") or ""
            call = Call(at=fields.at, id=call_id, name=fields.need("name"), arguments=arguments)
            message = Message("assistant", (call,), fields.at)
        case "function_call_output":
            parts = tuple(part for part in _parts(fields, "output") if isinstance(part, Text | Image))
            result = Result(at=fields.at, call_id=fields.need("call_id"), content=parts)
            message = Message("user", (result,), fields.at)
        case "reasoning":
            message = _thought(fields)
        case _:
            fields.refuse(kind)
    fields.close(*_ITEM)
    return message


def _message(fields: Fields) -> Message:
    role = fields.need("role")
    if role not in ("user", "assistant", "system", "developer"):
        fields.refuse(f"role {role}")
    parts = tuple(_parts(fields, "content"))
    match role:
        case "system" | "developer":
            return Message("system", parts, fields.at)
        case "assistant":
            return Message("assistant", parts, fields.at)
    return Message("user", parts, fields.at)


def _parts(fields: Fields, key: str) -> list[AnyPart]:
    content = fields.content(key)
    if isinstance(content, str):
        return [Text(at=fields.path(key), text=content)]
    return [part for item in content if (part := _part(item)) is not None]


def _part(fields: Fields) -> AnyPart | None:
    part: AnyPart | None = None
    match kind := fields.need("type"):
        case "input_text" | "output_text" | "text":
            part = Text(at=fields.at, text=fields.need("text"))
        case "refusal":
            part = Text(at=fields.at, text=fields.need("refusal"))
        case "input_image" if (url := fields.text("image_url")) is not None:
            part = from_url(url, fields.at, fields.text("detail"))
        case _:
            fields.refuse(kind)
    fields.close(*_PART)
    return part


def _thought(fields: Fields) -> Message | None:
    said: list[str] = []
    for key in ("summary", "content"):
        for part in fields.objects(key):
            said.append(part.need("text"))
            part.close("type")
    signature = fields.text("encrypted_content")
    if not said and signature is None:
        return None  # an item of which only the id is left says nothing to anybody else
    return Message("assistant", (Thought(at=fields.at, text="\n\n".join(said), signature=signature),), fields.at)


def _tool(fields: Fields) -> Tool | None:
    kind = fields.need("type")
    if kind == "function":
        return read_function(fields)
    fields.refuse(kind)
    return None


def _reasoning(fields: Fields) -> dict[Setting, tuple[Any, str]]:
    reasoning = fields.object("reasoning")
    if reasoning is None:
        return {}
    found = read_settings(reasoning, {"effort": "effort"})
    summary = reasoning.text("summary") or reasoning.text("generate_summary")
    if summary is not None:
        found["show_thoughts"] = (summary, "reasoning.summary")
    reasoning.close("generate_summary", idle={"context": ("auto",)})
    return found


def _text(fields: Fields) -> dict[Setting, tuple[Any, str]]:
    text = fields.object("text")
    if text is None:
        return {}
    found = read_settings(text, {"verbosity": "verbosity"})
    output = text.object("format")
    if output is not None:
        match kind := output.need("type"):
            case "json_schema":
                found["output"] = (read_schema(output), "text.format")
            case "json_object":
                found["output"] = (Output(), "text.format")
            case "text":
                pass
            case _:
                output.refuse(kind)
    text.close()
    return found


# written


def write(ask: Ask, model: str) -> Written:
    """The request. Nothing is kept there: what an answer is come back to for is its log here."""
    body: dict[str, Any] = {"model": model, "input": [item for message in ask.messages for item in _say(ask, message)]}
    if ask.tools:
        body["tools"] = [{"type": "function", "strict": False, **write_function(tool)} for tool in ask.tools]
    if ask.choice is not None:
        body["tool_choice"] = write_choice(ask.choice, "")
    write_settings(ask, body, _PUT)
    signed = any(isinstance(part, Thought) for message in ask.messages for part in message.parts)
    if signed or "show_thoughts" in ask.settings:
        body["include"] = ["reasoning.encrypted_content"]
    return Written("/responses", {**body, "store": False, "stream": True})


def _put_output(value: Output, body: dict[str, Any], _ask: Ask) -> str | None:
    kind = "json_object" if value.schema is None else "json_schema"
    shape = {"type": kind} if value.schema is None else {"type": kind, **write_schema(value)}
    body.setdefault("text", {})["format"] = shape
    return None


def _put_shown(value: str | bool, body: dict[str, Any], _ask: Ask) -> str | None:
    body.setdefault("reasoning", {})["summary"] = "auto" if value is True else value
    return None


_PUT: Mapping[Setting, str | Put] = {
    "max_tokens": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "user": "safety_identifier",
    "effort": "reasoning.effort",
    "thinking_tokens": effort_of_tokens("reasoning.effort"),
    "verbosity": "text.verbosity",
    "parallel_calls": "parallel_tool_calls",
    "output": _put_output,
    "show_thoughts": _put_shown,
    "candidates": only(1),
    "presence_penalty": only(0),
    "frequency_penalty": only(0),
}


def _say(ask: Ask, message: Message) -> list[dict[str, Any]]:
    """The items of a message; what is said between calls stays where it was."""
    items: list[dict[str, Any]] = []
    spoken: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Text | Image):
            spoken.append(_content(ask, message.role, part))
            continue
        items += _spoken(message.role, spoken)
        spoken = []
        items.append(_item_of(ask, part))
    return items + _spoken(message.role, spoken)


def _spoken(role: str, content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "message", "role": role, "content": content}] if content else []


def _content(ask: Ask, role: str, part: Text | Image) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "output_text" if role == "assistant" else "input_text", "text": part.text}
    if role == "assistant":
        ask.refuse(named(part))
    return {"type": "input_image", "image_url": to_url(part), "detail": part.detail or "auto"}


def _item_of(ask: Ask, part: Thought | Call | Result) -> dict[str, Any]:
    match part:
        case Call():
            call = {"call_id": part.id, "name": part.name, "arguments": part.arguments or "{}"}
            return {"type": "function_call", **call}
        case Result():
            return {"type": "function_call_output", "call_id": part.call_id, "output": _output(ask, part)}
    summary = [{"type": "summary_text", "text": part.text}] if part.text else []
    signed = {"encrypted_content": part.signature} if part.signature is not None else {}
    place = "_".join(re.findall(r"\w+", part.at))  # an item has an id, and no two the same
    return {"type": "reasoning", "id": f"rs_{place}", "summary": summary, **signed}


def _output(ask: Ask, result: Result) -> Any:
    if any(isinstance(part, Image) for part in result.content) and not result.is_error:
        return [_content(ask, "user", part) for part in result.content]
    return plain(ask, result)
