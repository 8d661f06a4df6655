"""What a client asks a model, whatever dialect it asks in.

A dialect's module reads a request into an `Ask` and writes one. What it finds and cannot say is not dropped: its name,
as the client wrote it, goes into `Ask.refused`, and the whole call is refused with all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from patinox.errors import InputError

Setting = Literal[
    "max_tokens", "stop", "temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty",
    "candidates", "user", "effort", "thinking_tokens", "show_thoughts", "parallel_calls", "output", "verbosity",
]  # fmt: skip
"""What a request may set besides its messages and tools; absent means that the model's server decides.

`stop` is a list; `effort` one of `EFFORTS`; `thinking_tokens` a budget; `output` an `Output`; `candidates` how many
answers.
"""

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a message. `at` is where the client wrote it, as `messages[1].content[0]`."""

    at: str


class Text(Part, frozen=True):
    """Text."""

    text: str


class Image(Part, frozen=True):
    """An image: an address, or base64 with its media type. `detail`: how closely it is to be looked at."""

    url: str = ""
    base64: str = ""
    media_type: str = ""
    detail: str | None = None


class Thought(Part, frozen=True):
    """What the model thought: readable, or known by its signature alone."""

    text: str = ""
    signature: str | None = None


class Call(Part, frozen=True):
    """A call of a tool by the model. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class Result(Part, frozen=True):
    """What a call gave, for the model to go on with."""

    call_id: str
    content: tuple[Text | Image, ...]
    is_error: bool = False


AnyPart = Text | Image | Thought | Call | Result


class Message(msgspec.Struct, frozen=True):
    """One message. Results of tools are the user's."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[AnyPart, ...]
    at: str


class Tool(msgspec.Struct, frozen=True):
    """A tool of the application's. `parameters` is a JSON schema; `strict` holds the model to it."""

    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool
    at: str


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether the model calls a tool; `name` is which one, where it must be that one."""

    mode: Literal["auto", "none", "required", "named"]
    at: str
    name: str = ""


class Output(msgspec.Struct, frozen=True):
    """The answer is JSON; of a schema, where there is one."""

    schema: dict[str, Any] | None = None
    name: str | None = None
    strict: bool | None = None
    description: str | None = None


class Ask(msgspec.Struct):
    """A request. `names` says what the client calls its settings; `refused` is what could not be translated."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice | None = None
    settings: dict[Setting, Any] = {}
    names: dict[Setting, str] = {}
    refused: list[str] = []

    def refuse(self, *names: str) -> None:
        """Notes what cannot be translated."""
        self.refused += names

    def refuse_setting(self, setting: Setting, why: str = "") -> None:
        """Notes a setting that cannot be translated, under the client's name for it."""
        name = self.names.get(setting, setting)
        self.refuse(f"{name} ({why})" if why else name)


class Written(msgspec.Struct, frozen=True):
    """A request as it goes to an upstream: what comes after its base URL, the body, and headers of its own."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str] = {}


class Untranslatable(InputError):
    """A request with fields that the upstream's dialect has no place for. `fields` are all of them."""

    code = "untranslatable"

    def __init__(self, fields: list[str], dialect: str) -> None:
        super().__init__(f"this cannot be said in {dialect}, which the upstream speaks: {', '.join(fields)}")
        self.fields = fields

    def as_dict(self) -> dict[str, Any]:
        """Adds `fields`."""
        return {**super().as_dict(), "fields": self.fields}


def merged(messages: Iterable[Message], *roles: str) -> Iterator[Message]:
    """The messages, those of one role (any, or one of `roles`) that follow one another as one."""
    last: Message | None = None
    for message in messages:
        if last is not None and last.role == message.role and (not roles or message.role in roles):
            last = Message(last.role, (*last.parts, *message.parts), last.at)
            continue
        if last is not None:
            yield last
        last = message
    if last is not None:
        yield last


def led(ask: Ask) -> tuple[list[Text], tuple[Message, ...]]:
    """What the system says before the conversation, and the conversation."""
    system: list[Text] = []
    for place, message in enumerate(ask.messages):
        if message.role != "system":
            return system, ask.messages[place:]
        system += texts(ask, message.parts)
    return system, ()


def texts(ask: Ask, parts: tuple[AnyPart, ...]) -> list[Text]:
    """The parts that are text; all others are refused."""
    ask.refuse(*(named(part) for part in parts if not isinstance(part, Text)))
    return [part for part in parts if isinstance(part, Text)]


def named(part: Part) -> str:
    """A part under a name that tells where and what it is."""
    return f"{part.at} ({type(part).__name__.lower()})"


def arguments_of(ask: Ask, call: Call) -> dict[str, Any]:
    """A call's arguments as an object; refused where they are none."""
    try:
        value = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    ask.refuse(f"{call.at} (arguments that are no JSON object)")
    return {}


def plain(ask: Ask, result: Result) -> str:
    """A result as text, for dialects that have no other; an error as a JSON object that says so."""
    text = "".join(part.text for part in texts(ask, result.content))
    return msgspec.json.encode({"error": text}).decode() if result.is_error else text
