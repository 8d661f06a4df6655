"""Where a JSON value stands in the text of its frame, so that frames that only differ in it need not be parsed."""

from __future__ import annotations

import msgspec

_encode = msgspec.json.Encoder().encode


def only_place(text: str, value: str | int, key: str = "") -> tuple[int, int]:
    """From where to where the value stands as that of a key; (-1, -1) if that is nowhere, or not certain.

    A `key` says which. A number may be the beginning of a longer one: who asks for one has to try what it found.
    """
    literal = _encode(value).decode()
    name = f'"{key}"' if key else ""
    for colon in (f"{name}:", f"{name}: "):
        at = text.find(colon + literal)
        if at >= 0 and text.find(colon + literal, at + 1) < 0:
            return at + len(colon), at + len(colon) + len(literal)
    return -1, -1
