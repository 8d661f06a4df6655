"""The objects that SDKs and frameworks stream, told by the wire types they carry: nothing of theirs is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from patinox.formats.base import Format, Reader
from patinox.manager.agents import langchain, pydantic_ai

_MESSAGES = frozenset({
    "message_start", "message_delta", "message_stop", "content_block_start", "content_block_delta",
    "content_block_stop", "ping",
})  # fmt: skip

_ADDED_ANYWHERE = ("snapshot", "parsed", "parsed_arguments")
_ADDED = {"message_stop": ("message",), "content_block_stop": ("content_block",)}
_RETOLD = ("content.", "refusal.", "tool_calls.", "logprobs.")  # by the helper of `openai` for chat


def is_object(item: Any) -> bool:
    """Whether it is an object of an SDK's (a pydantic model) or a framework's."""
    return hasattr(item, "model_dump") or pydantic_ai.is_event(item) or langchain.is_event(item)


def reader_of(item: Any, formats: Mapping[str, Format[Any]]) -> Reader | None:
    """A reader for a stream that this object is of; None for an object nobody knows."""
    if pydantic_ai.is_event(item):
        return pydantic_ai.PydanticAIReader()
    if langchain.is_event(item):
        return langchain.LangChainReader()
    for name, is_of in _DIALECTS.items():
        if hasattr(item, "model_dump") and is_of(item):
            return formats[name].reader()
    return None


def frame_of(item: Any) -> Any:
    """The frame in an object: some SDKs have helpers that wrap it, and tell the same again in events of their own.

    None for such an event.
    """
    kind = getattr(item, "type", None)
    if isinstance(kind, str) and kind.startswith(_RETOLD):
        return None
    if kind == "chunk" and hasattr(item, "chunk"):
        item = item.chunk
    return _dumped(item) if _is_chat(item) or _is_responses(item) or _is_messages(item) else item


def _dumped(item: Any) -> dict[str, Any]:
    """What is in a model that came from the wire, without what helpers add: what there was so far, parsed.

    Providers send what the models of their SDKs do not foresee; of that no warnings are wanted.
    """
    body: dict[str, Any] = item.model_dump(mode="json", exclude_unset=True, warnings=False)
    added = _ADDED.get(body.get("type", ""), _ADDED_ANYWHERE)
    return {key: value for key, value in body.items() if key not in added}


def _is_chat(item: Any) -> bool:
    if getattr(item, "type", None) == "chunk":
        item = getattr(item, "chunk", None)
    named = getattr(item, "object", None)
    return named == "chat.completion.chunk" or (named == "" and hasattr(item, "choices"))  # one provider's first frame


def _is_responses(item: Any) -> bool:
    kind = getattr(item, "type", None)
    return isinstance(kind, str) and (kind.startswith("response.") or kind == "error") and _has_number(item)


def _is_messages(item: Any) -> bool:
    return hasattr(item, "model_dump") and getattr(item, "type", None) in _MESSAGES


def _has_number(item: Any) -> bool:
    return isinstance(getattr(item, "sequence_number", None), int)


_DIALECTS: Mapping[str, Callable[[Any], bool]] = {
    "openai-chat": _is_chat,
    "openai-responses": _is_responses,
    "anthropic": _is_messages,
    "gemini": lambda item: hasattr(item, "candidates") and hasattr(item, "usage_metadata"),
    "ollama": lambda item: hasattr(item, "done") and hasattr(item, "message"),
}
