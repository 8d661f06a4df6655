"""Images in requests: by address or as data, which some dialects write as a `data:` URL (RFC 2397)."""

from __future__ import annotations

from patinox.gateway.requests.neutral import Image


def from_url(url: str, at: str, detail: str | None = None) -> Image:
    """An image by its address; base64 in a `data:` URL is taken out of it. Detail `auto` is what is done anyway."""
    detail = None if detail == "auto" else detail
    head, comma, data = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        return Image(at=at, base64=data, media_type=head[5:-7].partition(";")[0] or "image/png", detail=detail)
    return Image(at=at, url=url, detail=detail)


def to_url(image: Image) -> str:
    """Its address, or a `data:` URL."""
    return image.url or f"data:{image.media_type};base64,{image.base64}"
