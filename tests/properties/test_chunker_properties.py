"""Chunker and processors, over generated text and every way of cutting it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from patinox.core.chunks import Text
from patinox.core.events import BlockDelta, BlockEnd, Event, MessageEnd, Usage
from patinox.incremental.chunker import Chunker

UNITS: dict[str, Callable[..., Chunker]] = {
    "word": lambda **more: Chunker("word", **more),
    "sentence": lambda **more: Chunker("sentence", **more),
    "line": lambda **more: Chunker("line", **more),
    "block": lambda **more: Chunker("block", **more),
    "bytes": lambda **more: Chunker("bytes", size_bytes=7, **more),
}
PIECES = st.sampled_from(
    ["a", "b. ", " ", "\n", "\r", "\r\n", "\n\n", "```\n", "~~~", "**", "[a](b)", "[", "](", ")", "!", '"', "。", "é",
     "e\u0301", "👩‍👩‍👧", "🇫🇷", "\u200d", "long" * 5, '{"a": "\\u0041"}', "\\", "1.5e3", "`"]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=30).map("".join)


@st.composite
def cuttings(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A text, and the pieces that one way of cutting it gives; empty ones too."""
    text = draw(TEXTS)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    if draw(st.booleans()):
        places = list(range(len(text)))
    edges = [0, *places, len(text)]
    return text, [text[begin:end] for begin, end in itertools.pairwise(edges)]


def chunked(chunker: Chunker, pieces: list[str], op: str = "") -> list[str]:
    made = [BlockDelta(text=piece, block=0, op=op) if op else Text(piece) for piece in pieces]  # type: ignore[arg-type]
    out = [data for item in made for data in chunker.feed([item])]
    return [data.text for data in out + chunker.close() if data.text]


CHUNKER_SETTINGS = st.fixed_dictionaries(
    {"graphemes": st.booleans(), "whole_tokens": st.booleans(), "max_chars": st.sampled_from([5, 12, 4096])}
)


@settings(deadline=None)
@given(cuttings(), st.sampled_from(sorted(UNITS)), CHUNKER_SETTINGS)
def test_units_do_not_depend_on_how_text_came(cutting: tuple[str, list[str]], by: str, more: dict[str, Any]) -> None:
    text, pieces = cutting
    chunks = chunked(UNITS[by](**more), pieces)
    assert "".join(chunks) == text
    assert chunks == chunked(UNITS[by](**more), [text])


@settings(deadline=None)
@given(cuttings(), CHUNKER_SETTINGS, st.sampled_from(["text.append", "json.append"]))
def test_tokens_lose_nothing(cutting: tuple[str, list[str]], more: dict[str, Any], op: str) -> None:
    text, pieces = cutting
    assert "".join(chunked(Chunker(**more), pieces, op)) == text


@settings(deadline=None)
@given(cuttings(), st.sampled_from(["token", *sorted(UNITS)]))
def test_no_grapheme_is_cut(cutting: tuple[str, list[str]], by: str) -> None:
    text, pieces = cutting
    chunker = Chunker(graphemes=True) if by == "token" else UNITS[by](graphemes=True)
    if by == "bytes":
        chunker = Chunker("bytes", size_bytes=64, graphemes=True)
    whole = set()
    place = 0
    for cluster in regex.findall(r"\X", text):
        place += len(cluster)
        whole.add(place)
    place = 0
    for chunk in chunked(chunker, pieces):
        place += len(chunk)
        assert place in whole


@settings(deadline=None)
@given(cuttings())
def test_no_token_of_json_is_cut(cutting: tuple[str, list[str]]) -> None:
    _, pieces = cutting
    words = [re.sub(r'["\\\s]', "", piece) for piece in pieces]
    text = "[" + ", ".join(f'"{word}", 12.5, true' for word in words) + "]"
    tokens = re.findall(r'"[^"]*"|[^\s",\[\]]+|[\[\],]|\s+', text)
    whole = {sum(map(len, tokens[:count])) for count in range(len(tokens) + 1)}
    place = 0
    for chunk in chunked(Chunker(whole_tokens=True), list(text), "json.append"):
        place += len(chunk)
        assert place in whole


RECORDS = st.lists(
    st.one_of(
        st.builds(BlockDelta, text=PIECES, block=st.integers(0, 1), message=st.integers(0, 1)),
        st.builds(Usage, output_tokens=st.integers(0, 9), message=st.integers(0, 1)),
        st.builds(BlockEnd, block=st.integers(0, 1), message=st.integers(0, 1)),
        st.builds(MessageEnd, message=st.integers(0, 1)),
        st.builds(Text, PIECES),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(RECORDS, st.sampled_from(["token", *sorted(UNITS)]), st.booleans())
def test_records_keep_their_order_and_text_its_block(records: list[Any], by: str, batched: bool) -> None:
    chunker = Chunker(graphemes=True) if by == "token" else UNITS[by]()
    batches = [records] if batched else [[record] for record in records]
    out = [data for batch in batches for data in chunker.feed(batch)] + chunker.close()

    def is_text(data: Any) -> bool:
        return isinstance(data, Text | BlockDelta)

    assert [data for data in out if not is_text(data)] == [data for data in records if not is_text(data)]
    for lane in (None, (0, 0), (0, 1), (1, 0), (1, 1)):
        assert "".join(data.text for data in out if _lane(data) == lane) == "".join(
            data.text for data in records if _lane(data) == lane
        )
    for end in (data for data in records if isinstance(data, BlockEnd)):
        assert _before(out, end) == _before(records, end)


def _lane(data: Any) -> Any:
    if isinstance(data, Text):
        return None
    return (data.message, data.block) if isinstance(data, BlockDelta) else "no text"


def _before(records: list[Any], end: Event) -> list[str]:
    """The text of a block as it stands at each record that ends it."""
    text, seen = "", []
    for data in records:
        if isinstance(data, BlockDelta) and (data.message, data.block) == (end.message, end.block):
            text += data.text
        elif data == end:
            seen.append(text)
    return seen
