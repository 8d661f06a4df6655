"""What the writer of Gemini says of a block besides its text: signatures, pictures, files, sources."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from patinox.core.events import BlockDelta
from patinox.formats.citations import citations
from patinox.formats.gemini.joints import payload_of
from patinox.formats.gemini.state import (
    Alternative,
    GeminiState,
    OpenBlock,
    Written,
    frame,
    place,
    replace,
    with_choice,
)

TEXTS = frozenset({"text", "refusal", "reasoning", "reasoning_summary"})
THOUGHTS = frozenset({"reasoning", "reasoning_summary", "reasoning_opaque"})
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,([A-Za-z0-9+/=]+)")


def _signed(state: GeminiState, data: BlockDelta, block: OpenBlock) -> Written:
    """A signature. That of a call goes with the call."""
    value = data.value
    if not isinstance(value, str) or not is_base64(value):
        return _picture(state, data, block)
    if block.of == "tool_call":
        return replace(state, blocks={**state.blocks, place(data): replace(block, signature=value)}), ()
    if block.of not in TEXTS and block.of not in THOUGHTS:
        return state, ()
    state = begun(state, data.choice)
    part = {"text": "", "thoughtSignature": value} | ({"thought": True} if block.of in THOUGHTS else {})
    return state, (frame(state, data.choice, part),)


def _picture(state: GeminiState, data: BlockDelta, block: OpenBlock) -> Written:
    """A file that is told by its address, or in one."""
    value = data.value
    if block.of not in ("image", "file") or not isinstance(value, dict):
        return state, ()
    state = begun(state, data.choice)
    if "fileUri" in value:
        return state, (frame(state, data.choice, {"fileData": value}),)
    inner = value.get("image_url")
    url = inner.get("url") if isinstance(inner, dict) else None
    match = _DATA_URL.fullmatch(url) if isinstance(url, str) else None
    if match is not None and is_base64(match[2]):
        part = {"inlineData": {"mimeType": match[1], "data": match[2]}}
    elif isinstance(url, str) and url.startswith("http"):
        part = {"fileData": {"fileUri": url}}
    else:
        return state, ()
    return state, (frame(state, data.choice, part),)


def _bytes(state: GeminiState, data: BlockDelta, block: OpenBlock) -> Written:
    if block.of == "muted" or not block.name or "/" not in block.name:
        return state, ()
    state = begun(state, data.choice)
    return state, (frame(state, data.choice, {"inlineData": {"mimeType": block.name, "data": payload_of(data)}}),)


def _sources(state: GeminiState, data: BlockDelta, block: OpenBlock) -> Written:
    """Where a text has it from: the dialect's own as it is, an address as a web page."""
    value = data.value
    if block.of not in TEXTS or not isinstance(value, dict):
        return state, ()
    if value.keys() & {"groundingChunks", "searchEntryPoint", "webSearchQueries"}:
        found = value
    else:
        pages = citations(value)
        if not pages:
            return state, ()
        found = {"groundingChunks": [{"web": _web(page)} for page in pages]}
    state = begun(state, data.choice)
    return state, (frame(state, data.choice, groundingMetadata=found),)


def _web(page: dict[str, Any]) -> dict[str, Any]:
    title = page.get("title")
    return {"uri": page["url"]} | ({"title": title} if isinstance(title, str) else {})


EXTRAS: dict[str, Callable[[GeminiState, BlockDelta, OpenBlock], Written]] = {
    "opaque.set": _signed,
    "bytes.append": _bytes,
    "annotation.add": _sources,
}


def is_base64(value: object) -> bool:
    """Whether this is base64 text, as signatures are."""
    if not isinstance(value, str):
        return False
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return bool(value)


def begun(state: GeminiState, index: int) -> GeminiState:
    """Notes that the candidate has begun."""
    return state if index in state.choices else with_choice(state, index, Alternative())
