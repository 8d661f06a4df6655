"""Requests in OpenAI's Chat Completions (API reference, "Create chat completion"), read and written."""

from __future__ import annotations

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
    ToolChoice,
    Written,
    named,
    plain,
)
from patinox.gateway.requests.pictures import from_url, to_url
from patinox.gateway.requests.settings import Put, effort_of_tokens, read_settings, write_settings

_SETTINGS: Mapping[str, Setting] = {
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",  # over the other one, which it took the place of
    "stop": "stop",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "n": "candidates",
    "safety_identifier": "user",
    "user": "user",
    "reasoning_effort": "effort",
    "parallel_tool_calls": "parallel_calls",
    "verbosity": "verbosity",
}
_PASSED = ("model", "stream", "stream_options", "store")
_IDLE: Mapping[str, tuple[Any, ...]] = {"service_tier": ("auto", "default"), "modalities": (["text"],)}


def read(body: dict[str, Any]) -> Ask:
    """The request. Raises `InputError` where it is malformed."""
    refused: list[str] = []
    fields = Fields(body, "", refused)
    messages = tuple(_message(message) for message in fields.objects("messages"))
    tools = tuple(tool for item in fields.objects("tools") if (tool := _tool(item)) is not None)
    found = read_settings(fields, _SETTINGS)
    output = fields.object("response_format")
    if output is not None and (shape := _output(output)) is not None:
        found["output"] = (shape, "response_format")
    choice = read_choice(fields, "function")
    fields.close(*_PASSED, idle=_IDLE)
    settings = {setting: value for setting, (value, _) in found.items()}
    names = {setting: name for setting, (_, name) in found.items()}
    return Ask(messages, tools, choice, settings, names, refused)


def _message(fields: Fields) -> Message:
    role = fields.need("role")
    parts = tuple(_parts(fields, "content"))
    if role == "tool":
        call_id = fields.need("tool_call_id")
        content = tuple(part for part in parts if isinstance(part, Text | Image))
        parts = (Result(at=fields.at, call_id=call_id, content=content),)
    elif role == "assistant":
        parts = (*_thoughts(fields), *parts, *_refusal(fields), *_calls(fields))
    elif role not in ("system", "developer", "user"):
        fields.refuse(f"role {role}")
    fields.close()
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
    kind = fields.need("type")
    part: AnyPart | None = None
    match kind:
        case "text":
            part = Text(at=fields.at, text=fields.need("text"))
        case "refusal":
            part = Text(at=fields.at, text=fields.need("refusal"))
        case "image_url" if (image := fields.object("image_url")) is not None:
            part = from_url(image.need("url"), fields.at, image.text("detail"))
            image.close()
        case _:
            fields.refuse(kind)
    fields.close()
    return part


def _thoughts(fields: Fields) -> list[AnyPart]:
    said = fields.text("reasoning_content") or fields.text("reasoning")
    fields.take("reasoning")
    return [Thought(at=fields.path("reasoning_content"), text=said)] if said else []


def _refusal(fields: Fields) -> list[AnyPart]:
    said = fields.text("refusal")
    return [Text(at=fields.path("refusal"), text=said)] if said else []


def _calls(fields: Fields) -> list[AnyPart]:
    calls: list[AnyPart] = []
    for item in fields.objects("tool_calls"):
        function = item.object("function")
        if (kind := item.text("type") or "function") != "function" or function is None:
            item.refuse(kind)
        else:
            name, arguments = function.need("name"), function.text("arguments") or ""
            calls.append(Call(at=item.at, id=item.need("id"), name=name, arguments=arguments))
            function.close()
        item.take("index")  # in what was put together from a stream
        item.close()
    return calls


def _tool(fields: Fields) -> Tool | None:
    kind, function = fields.need("type"), fields.object("function")
    if kind != "function" or function is None:
        fields.refuse(kind)
        return None
    tool = read_function(function)
    fields.close()
    return tool


def read_function(fields: Fields) -> Tool:
    """A function as OpenAI describes it."""
    tool = Tool(
        name=fields.need("name"),
        description=fields.text("description"),
        parameters=fields.schema("parameters"),
        strict=bool(fields.flag("strict")),
        at=fields.at,
    )
    fields.close()
    return tool


def read_choice(fields: Fields, within: str) -> ToolChoice | None:
    """OpenAI's `tool_choice`: a word, or a function that is named `within` an object, or in the object itself."""
    at, value = fields.path("tool_choice"), fields.take("tool_choice")
    match value:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(value, at)
        case {"type": "function"}:
            choice = Fields(value, at, fields.refused)
            choice.take("type")
            inner = choice.object(within) if within else choice
            name = None if inner is None else inner.text("name")
            if inner is not None and name is not None:
                choice.close()
                if inner is not choice:
                    inner.close()
                return ToolChoice("named", at, name)
    fields.refused.append(f"{at} ({value.get('type') if isinstance(value, dict) else value})")
    return None


def _output(fields: Fields) -> Output | None:
    kind, shape = fields.need("type"), fields.object("json_schema")
    if kind == "json_schema" and shape is not None:
        output = read_schema(shape)
        fields.close()
        return output
    if kind not in ("text", "json_object"):
        fields.refuse(kind)
    fields.close()
    return Output() if kind == "json_object" else None


def read_schema(fields: Fields) -> Output:
    """A schema of the answer as OpenAI describes it."""
    output = Output(fields.schema("schema"), fields.text("name"), fields.flag("strict"), fields.text("description"))
    fields.close()
    return output


# written


def write(ask: Ask, model: str, *, new_limit: bool = False) -> Written:
    """The request. `new_limit`: the server wants `max_completion_tokens`, as OpenAI's own does."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [said for message in ask.messages for said in _say(ask, message)],
    }
    if ask.tools:
        body["tools"] = [{"type": "function", "function": write_function(tool)} for tool in ask.tools]
    if ask.choice is not None:
        body["tool_choice"] = write_choice(ask.choice, "function")
    write_settings(ask, body, _PUT | {"max_tokens": "max_completion_tokens" if new_limit else "max_tokens"})
    return Written("/chat/completions", {**body, "stream": True, "stream_options": {"include_usage": True}})


def _put_output(value: Output, body: dict[str, Any], _ask: Ask) -> str | None:
    if value.schema is None:
        body["response_format"] = {"type": "json_object"}
    else:
        body["response_format"] = {"type": "json_schema", "json_schema": write_schema(value)}
    return None


def shown(value: str | bool, _body: dict[str, Any], _ask: Ask) -> str | None:
    """Thoughts are shown as the server pleases; asking for more than that cannot be said."""
    return None if value in (True, "auto") else f"{value}"


_PUT: dict[Setting, str | Put] = {
    "stop": "stop",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "candidates": "n",
    "user": "user",
    "effort": "reasoning_effort",
    "thinking_tokens": effort_of_tokens("reasoning_effort"),
    "parallel_calls": "parallel_tool_calls",
    "verbosity": "verbosity",
    "output": _put_output,
    "show_thoughts": shown,
}


def _say(ask: Ask, message: Message) -> list[dict[str, Any]]:
    """A message; results of tools are messages of their own."""
    out: list[dict[str, Any]] = []
    rest: list[AnyPart] = []
    for part in message.parts:
        if isinstance(part, Result):
            out.append({"role": "tool", "tool_call_id": part.call_id, "content": plain(ask, part)})
        else:
            rest.append(part)
    if rest or not out:
        out.append(_assistant(ask, rest) if message.role == "assistant" else _other(ask, message.role, rest))
    return out


def _other(ask: Ask, role: str, parts: list[AnyPart]) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
        elif isinstance(part, Image) and role == "user":
            detail = {"detail": part.detail} if part.detail else {}
            content.append({"type": "image_url", "image_url": {"url": to_url(part), **detail}})
        else:
            ask.refuse(named(part))
    if all(item["type"] == "text" for item in content):  # which every server reads
        return {"role": role, "content": "\n\n".join(item["text"] for item in content)}
    return {"role": role, "content": content}


def _assistant(ask: Ask, parts: list[AnyPart]) -> dict[str, Any]:
    text = "".join(part.text for part in parts if isinstance(part, Text))
    thoughts = [part for part in parts if isinstance(part, Thought)]
    calls = [
        {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments or "{}"}}
        for part in parts
        if isinstance(part, Call)
    ]
    # A thought that cannot be read is of use to none but whom it came from.
    ask.refuse(*(named(part) for part in thoughts if not part.text))
    ask.refuse(*(named(part) for part in parts if isinstance(part, Image)))
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    if thought := "".join(part.text for part in thoughts):
        message["reasoning_content"] = thought
    return {**message, "tool_calls": calls} if calls else message


def write_function(tool: Tool) -> dict[str, Any]:
    """A function as OpenAI describes it."""
    body: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        body["description"] = tool.description
    body["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return {**body, "strict": True} if tool.strict else body


def write_choice(choice: ToolChoice, within: str) -> Any:
    """OpenAI's `tool_choice`."""
    if choice.mode != "named":
        return choice.mode
    name = {"name": choice.name}
    return {"type": "function", within: name} if within else {"type": "function", **name}


def write_schema(output: Output) -> dict[str, Any]:
    """A schema of the answer as OpenAI describes it, which wants a name."""
    body: dict[str, Any] = {"name": output.name or "answer", "schema": output.schema}
    if output.description is not None:
        body["description"] = output.description
    return body if output.strict is None else {**body, "strict": output.strict}
