"""Where the dialects' own objects for files and sources keep an address: facts that more than one writer needs."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from patinox.incremental.assembler import AssembledBlock

_DEFAULT_MEDIA = {"image": "image/png", "audio": "audio/wav"}
_MEDIA_KEYS = ("mediaType", "media_type", "mimeType", "mime_type")
_INNER_KEYS = (
    "image_url",
    "url_citation",
    "source",
    "inline_data",
    "inlineData",
    "file_data",
    "fileData",
    "web",
    "file",
)
_ADDRESS_KEYS = ("url", "uri", "file_uri", "fileUri")


def address(value: Any) -> tuple[str | None, str | None]:
    """The http(s) address and the title in an object that stands for a source; None for what is not there."""
    url = title = None
    for each in _objects(value):
        url = url or next((each[k] for k in _ADDRESS_KEYS if _is_web(each.get(k))), None)
        title = title or (each["title"] if isinstance(each.get("title"), str) and each["title"] else None)
    return url, title


def file_url(block: AssembledBlock) -> tuple[str | None, str]:
    """The address (`data:` for bytes) and media type of a block of kind image, audio or file."""
    media = _DEFAULT_MEDIA.get(block.kind, "application/octet-stream")
    if block.kind not in ("image", "audio", "file"):
        return None, media
    objects = list(_objects(block.value))
    named = next((each[k] for each in objects for k in _MEDIA_KEYS if isinstance(each.get(k), str)), None)
    if block.data:
        media = named or media
        return f"data:{media};base64,{base64.b64encode(bytes(block.data)).decode()}", media
    for each in objects:
        for key in _ADDRESS_KEYS:
            url = each.get(key)
            if isinstance(url, str) and url.startswith(("http:", "https:", "data:")):
                return url, named or _declared(url) or media
        data = each.get("data", each.get("b64_json"))
        if isinstance(data, str) and data:
            return f"data:{named or media};base64,{data}", named or media
    return None, media


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """The object itself, and those it keeps its address in."""
    if isinstance(value, dict):
        yield value
        for key in _INNER_KEYS:
            if isinstance(value.get(key), dict):
                yield value[key]
            elif key == "image_url" and isinstance(value.get(key), str):
                yield {"url": value[key]}


def _is_web(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _declared(url: str) -> str | None:
    """The media type that a `data:` address says."""
    media = url[5:].partition(",")[0].partition(";")[0] if url.startswith("data:") else ""
    return media or None
