"""Citations: where a text has something from, in one form for all dialects.

The neutral form, the `value` of `annotation.add`, is flat:

    {"type": "url_citation", "url": "https://…", "title"?: "…", "start_index"?: 0, "end_index"?: 9, "cited_text"?: "…"}

`start_index` and `end_index` count characters of the block's text. Readers bring what they can to that form, writers
bring it to their own; a value of any other type is a dialect's own (a page of a document, a whole object of grounding
metadata) and kept as it is. `citations` finds the neutral ones in either.
"""

from __future__ import annotations

from typing import Any

URL_CITATION = "url_citation"

_KEPT = ("title", "start_index", "end_index", "cited_text")


def citations(value: Any) -> list[dict[str, Any]]:
    """The neutral citations that an annotation's value tells: none, one, or as many as it has web pages."""
    if not isinstance(value, dict):
        return []
    if isinstance(chunks := value.get("groundingChunks"), list):
        return _grounded(chunks)
    inner = value.get("url_citation", value)
    if not isinstance(inner, dict):
        return []
    url = inner.get("url", inner.get("source"))
    if not isinstance(url, str) or not (url.startswith(("http://", "https://")) or "url" in inner):
        return []
    if inner.get("type") == URL_CITATION:
        return [inner]
    cited_text = inner.get("cited_text", inner.get("content"))
    known = {**inner, "cited_text": cited_text or None}
    return [{"type": URL_CITATION, "url": url} | {key: known[key] for key in _KEPT if known.get(key) is not None}]


def flat(value: Any) -> Any:
    """A citation as Chat Completions nests it, `{"type", "url_citation": {…}}`, in the neutral form; others as is."""
    inner = value.get(URL_CITATION) if isinstance(value, dict) and value.keys() == {"type", URL_CITATION} else None
    if not isinstance(inner, dict) or inner.keys() & {"type", URL_CITATION} or value["type"] != URL_CITATION:
        return value
    return {"type": URL_CITATION, **inner}


def nested(value: Any) -> Any:
    """The way back from `flat`."""
    if not isinstance(value, dict) or value.get("type") != URL_CITATION or URL_CITATION in value:
        return value
    return {"type": URL_CITATION, URL_CITATION: {key: each for key, each in value.items() if key != "type"}}


def _grounded(chunks: list[Any]) -> list[dict[str, Any]]:
    """The web pages among Gemini's grounding chunks."""
    pages = [page for chunk in chunks if isinstance(chunk, dict) and isinstance(page := chunk.get("web"), dict)]
    return [
        {"type": URL_CITATION, "url": page["uri"]}
        | ({"title": title} if isinstance(title := page.get("title"), str) else {})
        for page in pages
        if isinstance(page.get("uri"), str)
    ]
