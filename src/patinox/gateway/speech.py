"""How an upstream of each dialect is spoken to: its key, what it answers with, where its models are listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

ANTHROPIC_VERSION = "2023-06-01"


class Speech(NamedTuple):
    """One dialect. `listed` takes the models out of the answer at `listing`."""

    media_type: str
    auth: Callable[[str], dict[str, str]]
    headers: Mapping[str, str]
    listing: str
    listed: Callable[[Any], list[dict[str, Any]]]


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}  # RFC 6750


def _data(value: Any) -> list[dict[str, Any]]:
    """OpenAI's list, and Anthropic's: `{"data": [{"id"}]}`."""
    return [model for model in _objects(value, "data") if isinstance(model.get("id"), str)]


def _named(value: Any) -> list[dict[str, Any]]:
    """Gemini's list, and Ollama's: `{"models": [{"name"}]}`, with `models/` before a name at Gemini's."""
    models = _objects(value, "models")
    return [{"id": name.removeprefix("models/")} for model in models if isinstance(name := model.get("name"), str)]


def _objects(value: Any, key: str) -> list[dict[str, Any]]:
    found = value.get(key) if isinstance(value, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


_SSE = "text/event-stream"
_OPENAI = Speech(_SSE, _bearer, {}, "/models", _data)
SPEECHES: Mapping[str, Speech] = {
    "openai-chat": _OPENAI,
    "openai-responses": _OPENAI,
    "anthropic": Speech(
        _SSE, lambda key: {"x-api-key": key}, {"anthropic-version": ANTHROPIC_VERSION}, "/models?limit=1000", _data
    ),
    "gemini": Speech(_SSE, lambda key: {"x-goog-api-key": key}, {}, "/models?pageSize=1000", _named),
    "ollama": Speech("application/x-ndjson", _bearer, {}, "/api/tags", _named),
}
"""By the names of the dialects. Base URLs: `https://api.anthropic.com/v1`,
`https://generativelanguage.googleapis.com/v1beta`, `http://127.0.0.1:11434`."""
