"""Requests, from the client's dialect into the upstream's. No I/O.

neutral.py            what a request asks, in no dialect
fields.py             reads an object field by field; what is left over is refused by its name
settings.py           temperature and its like, by tables
pictures.py           images by address and as data
openai_chat.py, openai_responses.py, anthropic.py      read and written
gemini.py, ollama.py                                   written: there are no calls of theirs to answer

Where both dialects are one, nothing is translated: the body goes on as it came, but for `model` and `stream`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from patinox.gateway.requests import anthropic, gemini, ollama, openai_chat, openai_responses
from patinox.gateway.requests.neutral import Ask, Untranslatable, Written

__all__ = ["Ask", "Untranslatable", "Written", "translate"]

_READ: Mapping[str, Callable[[dict[str, Any]], Ask]] = {
    "openai-chat": openai_chat.read,
    "openai-responses": openai_responses.read,
    "anthropic": anthropic.read,
}
_WRITE: Mapping[str, Callable[[Ask, str], Written]] = {
    "openai-responses": openai_responses.write,
    "anthropic": anthropic.write,
    "gemini": gemini.write,
    "ollama": ollama.write,
}


def translate(body: dict[str, Any], from_: str, to: str, model: str, base_url: str = "") -> Written:
    """The request of a client in the dialect of the upstream (at `base_url`), always for a stream.

    Raises `Untranslatable` with the names of all that the upstream's dialect has no place for, `InputError` for a
    request that is malformed.
    """
    ask = _READ[from_](body)
    if to == "openai-chat":
        written = openai_chat.write(ask, model, new_limit=urlsplit(base_url).hostname == "api.openai.com")
    else:
        written = _WRITE[to](ask, model)
    if ask.refused:
        raise Untranslatable(list(dict.fromkeys(ask.refused)), to)
    return written
