"""What the reader and the writer of OpenAI Responses share: how a frame comes apart and together.

The reader moves what has a neutral meaning into events; what is left of the frame, with holes where that stood, is
the frame's *shape*. It is kept under `ext["openai-responses"]` of the frame's first event:

    frame    the shape; absent: the shape of the block's last delta
    once     keys of this delta's frame alone (`obfuscation`, an id that rotates)
    set      the response object that a run began with; `response` holes are changes of it
    item     the output index of the item that this frame finishes, for the response object at the end
    seq      the sequence number, where it is not the next one; false: frames have none from here on
    named    whether frames have their type as SSE event name from here on
    event    the SSE event name of this frame alone
    hold     the frame ends the run: it is written when the log's end is known
    raw      the frame is the text in the event's `value`

A hole is an object with the one key `$`: a number k for the k-th payload of the frame (what a `block.delta` or a
`usage` carries), or a list: `["text", message, block]` and its like for what the assembly holds of a block,
`["item", index]` for a finished item, `["response", changes, gone]`, `["with", base, changes]`, `["literal", value]`.
So nothing that was said is kept twice, and what was changed on the way (redacted, say) is changed everywhere.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from patinox.formats.citations import citations
from patinox.incremental.assembler import AssembledBlock, Assembly

DIALECT = "openai-responses"
HOLE = "$"

_NESTED = frozenset({dict, list})
_encode = msgspec.json.Encoder().encode


class Sources(msgspec.Struct, frozen=True):
    """Where holes are filled from."""

    assembly: Assembly
    payloads: Sequence[Any] = ()
    response: Mapping[str, Any] = {}
    items: Mapping[str, Any] = {}


def hole(*what: Any) -> dict[str, Any]:
    """A hole for `what`, as listed above."""
    return {HOLE: list(what)}


def fill(shape: Any, sources: Sources) -> Any:
    """The shape with its holes filled; null for a hole that cannot be filled."""
    if type(shape) is dict:
        if len(shape) == 1 and HOLE in shape:
            return _filled(shape[HOLE], sources)
        return {key: fill(value, sources) if type(value) in _NESTED else value for key, value in shape.items()}
    if type(shape) is list:
        return [fill(value, sources) if type(value) in _NESTED else value for value in shape]
    return shape


def _filled(what: Any, sources: Sources) -> Any:
    if type(what) is int:
        return sources.payloads[what] if 0 <= what < len(sources.payloads) else None
    if not isinstance(what, list) or not what or not isinstance(what[0], str):
        return None
    name, arguments = what[0], what[1:]
    source = _BLOCK.get(name)
    try:
        if source is not None:
            block = sources.assembly.block(*arguments)
            return None if block is None else source(block)
        return _OTHER[name](sources, *arguments)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None  # a hole that our reader did not make: anybody may write events


def joined_logprobs(block: AssembledBlock) -> list[Any]:
    """The token log probabilities of a block's text, one list."""
    joined: list[Any] = []
    for part in block.logprobs:
        tokens = part.get("content") if isinstance(part, dict) else part
        joined += tokens if isinstance(tokens, list) else ()
    return joined


def _arguments(block: AssembledBlock) -> str:
    return block.text or _encode({} if block.arguments is None else block.arguments).decode()


def write_annotations(value: Any) -> list[dict[str, Any]]:
    """Citations as this dialect says them: its own as they are, any other from its address."""
    if isinstance(value, dict) and value.get("type") in ("file_citation", "container_file_citation", "file_path"):
        return [value]
    return [_annotation(citation) for citation in citations(value)]


def _annotation(value: dict[str, Any]) -> dict[str, Any]:
    """The required fields are made up where they are unknown: no title, from 0 to 0."""
    if value.keys() == _ANNOTATION.keys():
        return value
    known = {key: value[key] for key in _ANNOTATION if value.get(key) is not None}
    return {**_ANNOTATION, **known}


_ANNOTATION = {"type": "url_citation", "url": "", "title": "", "start_index": 0, "end_index": 0}


def _citations(block: AssembledBlock) -> list[dict[str, Any]]:
    return [known for value in block.annotations for known in write_annotations(value)]


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else _encode(value).decode()


def _opaque(block: AssembledBlock) -> str | None:
    return None if block.value is None else _text_of(block.value)


def _image(block: AssembledBlock) -> str | None:
    """An image's base64; also that of a `data:` URL, which is how Chat Completions carries one (RFC 2397)."""
    if block.data:
        return base64.b64encode(block.data).decode()
    value = block.value
    url = value.get("image_url", value) if isinstance(value, dict) else value
    url = url.get("url") if isinstance(url, dict) else url
    if not isinstance(url, str) or not url.startswith("data:") or ";base64," not in url:
        return None
    return url.partition(";base64,")[2]


_BLOCK: dict[str, Callable[[AssembledBlock], Any]] = {
    "text": lambda block: block.text,
    "arguments": _arguments,
    "value": lambda block: block.value,
    "opaque": _opaque,
    "result": lambda block: block.text or (None if block.value is None else _text_of(block.value)),
    "image": _image,
    "annotations": lambda block: list(block.annotations),
    "citations": _citations,
    "logprobs": joined_logprobs,
}


def _response(sources: Sources, changes: dict[str, Any], gone: list[str]) -> dict[str, Any]:
    kept = sources.response
    if gone:
        kept = {key: value for key, value in kept.items() if key not in gone}
    return {**kept, **{key: fill(value, sources) for key, value in changes.items()}}


_OTHER: dict[str, Callable[..., Any]] = {
    "literal": lambda _sources, value: value,
    "bare": lambda sources, run: sources.assembly.bare_text(run),
    "item": lambda sources, index: fill(sources.items[str(index)], sources),
    "with": lambda sources, base, changes: {**fill(base, sources), **fill(changes, sources)},
    "response": _response,
}
