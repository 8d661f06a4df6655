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
    if kind == "chunk" and hasattr(item, "chunk"):
        return item.chunk
    if not isinstance(kind, str):
        return item
    if kind.startswith(_RETOLD):
        return None
    return _bare(item) if kind.startswith("response.") else item


def _bare(item: Any) -> Any:
    """A frame of Responses without what the helper of `openai` adds to it: the text so far, and what it parsed."""
    if not (hasattr(item, "snapshot") or hasattr(item, "parsed_arguments") or hasattr(item, "parsed")):
        return item
    body = item.model_dump(mode="json", exclude_unset=True)
    return {key: value for key, value in body.items() if key not in ("snapshot", "parsed", "parsed_arguments")}


def _is_chat(item: Any) -> bool:
    return getattr(frame_of(item), "object", None) == "chat.completion.chunk"


def _is_responses(item: Any) -> bool:
    kind = getattr(item, "type", None)
    return isinstance(kind, str) and (kind.startswith("response.") or kind == "error") and _has_number(item)


def _has_number(item: Any) -> bool:
    return isinstance(getattr(item, "sequence_number", None), int)


_DIALECTS: Mapping[str, Callable[[Any], bool]] = {
    "openai-chat": _is_chat,
    "openai-responses": _is_responses,
    "anthropic": lambda item: getattr(item, "type", None) in _MESSAGES,
    "gemini": lambda item: hasattr(item, "candidates") and hasattr(item, "usage_metadata"),
    "ollama": lambda item: hasattr(item, "done") and hasattr(item, "message"),
}
