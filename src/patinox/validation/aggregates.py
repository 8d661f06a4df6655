"""Values that come whole (an application's JSON, a provider's own frame, a tool's result), and what repeats text.

A value is looked at as the JSON text it is: strings unescaped, numbers and keys too. What was found is withheld so
that JSON remains.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from patinox.core.chunks import Error, Json
from patinox.core.events import EVENTS, BlockDelta, BlockEnd, MessageEnd, RunEnd, ToolReady
from patinox.errors import InvalidChunk

# Words that a provider or Patinox chose from a list, and ids by which one record finds another.
_NAMES: Final = {
    "run", "step", "message", "choice", "block", "provider_id", "call_id", "more", "role", "of", "op", "mode",
    "outcome", "finish_reason", "validator", "action", "dialect",
}  # fmt: skip
# The rest of a frame that ends something may repeat all of its text, cut up in ways that no validator has seen.
_REPEATS: Final = (BlockDelta, BlockEnd, MessageEnd, RunEnd, ToolReady)

# What is opaque in a block of these is a signature, or is encrypted: nobody reads it but its maker. In all others it
# is the block itself (a search, a picture's address, whatever a provider's own block holds), which readers do read.
_SIGNED: Final = frozenset(
    {"text", "refusal", "reasoning", "reasoning_summary", "reasoning_opaque", "tool_call", "compaction"}
)
_MEDIA: Final = frozenset({"image", "audio", "file"})

CHECKED: Final[dict[type, tuple[str, ...]]] = {
    Json: ("value",),
    Error: ("code", "message", "provider"),
    **{
        event: tuple(
            name for name in event.__struct_fields__ if name not in _NAMES and not (name == "ext" and event in _REPEATS)
        )
        for event in EVENTS
    },
}
"""The fields of each kind of record that are looked at as values."""


def without_ext(record: Any) -> Any:
    """The record without the rest of its frame, where that may repeat text."""
    if isinstance(record, _REPEATS) and record.ext is not None:
        return msgspec.structs.replace(record, ext=None)
    return record


def is_sealed(delta: BlockDelta, kind: str) -> bool:
    """Whether a delta of a block of this kind carries a signature, or what only its maker can decrypt."""
    return delta.op in ("opaque.set", "opaque.append") and kind in _SIGNED and isinstance(delta.value, str)


def is_binary(delta: BlockDelta, kind: str) -> bool:
    """Whether a delta carries bytes that no validator can read, a picture within a `data:` URL included."""
    if delta.op == "bytes.append" or (delta.op == "opaque.append" and kind not in _SIGNED):
        return True
    return delta.op == "opaque.set" and kind in _MEDIA and _has_data_url(delta.value)


def _has_data_url(value: Any) -> bool:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str) and one.lstrip()[:5].lower() == "data:":
            return True
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
    return False


def values(record: Any) -> list[tuple[str, Any]]:
    """The (field, value) pairs of a record that have something to look at."""
    fields = CHECKED.get(type(record), ())
    found = ((name, getattr(record, name)) for name in fields)
    return [(name, value) for name, value in found if value not in (None, "", b"", 0) and not isinstance(value, bool)]


def as_json(value: Any) -> str:
    """The JSON text of a value. Raises `InvalidChunk` for one JSON cannot say."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidChunk(f"a value that JSON cannot say cannot be validated: {type(error).__name__}") from error


def parsed(text: str) -> tuple[bool, Any]:
    """Whether `text` is JSON, and what it says."""
    try:
        return True, msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False, None
