"""The dialects that come with Patinox, by name. An application adds its own to the mapping it gives its manager."""

from __future__ import annotations

from typing import Any

from patinox.formats.ag_ui import AG_UI
from patinox.formats.ai_sdk import AI_SDK
from patinox.formats.anthropic import ANTHROPIC
from patinox.formats.base import Format
from patinox.formats.gemini import GEMINI
from patinox.formats.ollama import OLLAMA
from patinox.formats.openai_chat import OPENAI_CHAT
from patinox.formats.openai_responses import OPENAI_RESPONSES
from patinox.formats.patinox import NDJSON, PATINOX
from patinox.formats.text import TEXT


def builtin() -> dict[str, Format[Any]]:
    """A new mapping of all of them; yours to add to."""
    formats = (PATINOX, NDJSON, TEXT, OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC, GEMINI, AI_SDK, AG_UI, OLLAMA)
    return {format_.name: format_ for format_ in formats}
