"""The chunker: what leaves when, and in which pieces."""

from typing import Any

import pytest

from patinox.core.chunks import Json, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Event,
    MessageEnd,
    Metadata,
    RunEnd,
    Usage,
)
from patinox.errors import InputError
from patinox.incremental.chunker import Chunker

FAMILY = "👩‍👩‍👧"
FLAG = "🇫🇷"


def pieces(chunker: Chunker, *texts: str, close: bool = True) -> list[str]:
    """The text of the chunks that leave for these chunks of text."""
    out = [data for text in texts for data in chunker.feed([Text(text)])]
    return [data.text for data in (out + chunker.close() if close else out)]


def said(text: str, block: int = 0, message: int = 0, **more: Any) -> BlockDelta:
    return BlockDelta(text=text, block=block, message=message, **more)


# ── units ──


def test_tokens_leave_as_they_come_and_untouched() -> None:
    delta = said("Hel", ext={"openai-chat": {"once": {}}}, provider_id="x")
    assert Chunker().feed([delta])[0] is delta


def test_a_word_leaves_with_the_white_space_that_ends_it() -> None:
    chunker = Chunker("word")
    assert pieces(chunker, "Hel", close=False) == []
    assert chunker.held
    assert pieces(chunker, "lo wor", close=False) == ["Hello "]
    assert pieces(chunker, "ld") == ["world"]


def test_a_sentence_ends_with_what_it_closes() -> None:
    assert pieces(Chunker("sentence"), 'He said "no." Then 3.14 more... Yes! ', "End") == [
        'He said "no." ', "Then 3.14 more... ", "Yes! ", "End",
    ]  # fmt: skip


def test_a_sentence_without_white_space_ends_with_its_own_stop() -> None:
    assert pieces(Chunker("sentence"), "今日は。元気？！はい") == ["今日は。", "元気？！", "はい"]


@pytest.mark.parametrize("text", ["a\nb\r\nc\rd", "\n\n", "\r\r\n\n"])
def test_a_line_ends_with_any_line_break_however_it_comes(text: str) -> None:
    assert pieces(Chunker("line"), text) == text.splitlines(keepends=True) == pieces(Chunker("line"), *text)


def test_a_carriage_return_waits_for_its_line_feed() -> None:
    chunker = Chunker("line")
    assert pieces(chunker, "a\r", close=False) == []
    assert pieces(chunker, "\nb", close=False) == ["a\r\n"]


def test_a_block_ends_at_a_blank_line_but_not_inside_code() -> None:
    text = "Look:\n\n```py\na = 1\n\nb = 2\n```\nSo\nit is.\n\nEnd"
    assert pieces(Chunker("block"), text) == [
        "Look:\n\n", "```py\na = 1\n\nb = 2\n```\n", "So\nit is.\n\n", "End",
    ]  # fmt: skip


def test_code_that_had_to_be_cut_is_still_code() -> None:
    text = "```\n" + "x\n" * 20 + "\n\ny\n```\nz"
    cut = pieces(Chunker("block", max_chars=30), text)
    assert "".join(cut) == text
    assert cut[-1] == "z"
    assert "\n\ny\n```\n" in cut[-2]


def test_bytes_are_counted_in_utf_8() -> None:
    assert pieces(Chunker("bytes", size_bytes=4), "aéé", "a€b") == ["aé", "éa", "€b"]


def test_a_character_larger_than_the_bytes_asked_for_leaves_whole() -> None:
    assert pieces(Chunker("bytes", size_bytes=1), "a€") == ["a", "€"]


def test_a_piece_is_never_longer_than_it_may_be() -> None:
    assert pieces(Chunker("line", max_chars=3), "abcdefgh\n") == ["abc", "def", "gh\n"]


# ── what is never cut ──


def test_a_grapheme_waits_for_all_that_belongs_to_it() -> None:
    chunker = Chunker(graphemes=True)
    assert pieces(chunker, "a", *FAMILY, close=False) == ["a"]
    assert pieces(chunker, "b") == [FAMILY, "b"]


def test_flags_are_cut_between_and_not_within() -> None:
    assert pieces(Chunker("bytes", size_bytes=20, graphemes=True), FLAG * 5) == [FLAG * 2, FLAG * 2, FLAG]


def test_a_flush_leaves_an_unfinished_grapheme_behind() -> None:
    chunker = Chunker("sentence", graphemes=True)
    chunker.feed([Text("ab" + FAMILY[:2])])
    assert [data.text for data in chunker.flush()] == ["ab"]
    assert chunker.close() == [Text(FAMILY[:2])]


def test_a_cluster_without_end_does_not_hold_for_ever() -> None:
    chunker = Chunker(graphemes=True)
    out = pieces(chunker, "a", *(["\u0301"] * 1000), close=False)
    assert len("".join(out)) > 500


@pytest.mark.parametrize("token", ["**", "[a](http://x/y(z))", "![a](b)", "[a][b]", "```", "[note]"])
def test_a_token_of_markdown_leaves_whole(token: str) -> None:
    out = pieces(Chunker(whole_tokens=True), *f"Say {token} it")
    assert out == ["S", "a", "y", " ", f"{token} ", "i", "t"]  # the space is what tells that it is whole


def test_a_bracket_that_is_no_link_does_not_hold_beyond_its_line() -> None:
    assert "".join(pieces(Chunker(whole_tokens=True), *"a [b\ncd", close=False)) == "a [b\ncd"


def test_a_token_of_json_leaves_whole() -> None:
    chunker = Chunker(whole_tokens=True)
    text = '{"a\\"b": -1.5e3, "c": [true]}'
    out = chunker.feed([said(character, op="json.append") for character in text]) + chunker.close()
    assert [data.text for data in out] == [
        "{", '"a\\"b"', ":", " ", "-1.5e3,", " ", '"c"', ":", " ", "[", "true]", "}",
    ]  # fmt: skip


def test_arguments_are_not_cut_into_sentences() -> None:
    delta = said('{"a": "b. c', op="json.append")
    assert Chunker("sentence").feed([delta]) == [delta]


# ── among other records ──


def test_the_end_of_a_block_lets_go_of_its_text_first() -> None:
    chunker = Chunker("line")
    assert chunker.feed([said("Hel"), said("lo"), BlockEnd(block=0)]) == [said("Hello"), BlockEnd(block=0)]
    assert not chunker.held


@pytest.mark.parametrize("beside", [Usage(output_tokens=1), said("", op="logprobs.add", value=[1]), Metadata(name="x")])
def test_what_stands_beside_text_waits_for_it_and_does_not_cut_it(beside: Event) -> None:
    chunker = Chunker("word")
    assert chunker.feed([said("Hel"), beside]) == []
    assert chunker.feed([said("lo wor")]) == [said("Hello "), beside]


def test_a_record_of_the_applications_own_keeps_its_place() -> None:
    assert Chunker("line").feed([Text("a"), Json(1), Text("b\n")]) == [Text("a"), Json(1), Text("b\n")]


def test_choices_that_alternate_are_cut_each_for_itself() -> None:
    chunker = Chunker("word")
    assert chunker.feed([said("Hel"), said("Bon", message=1), said("lo ")]) == [said("Hello ")]
    assert chunker.feed([MessageEnd()]) == [MessageEnd()]
    assert chunker.feed([said("jour ", message=1), RunEnd()]) == [said("Bonjour ", message=1), RunEnd()]


def test_a_block_that_begins_behind_a_waiting_record_does_not_overtake_it() -> None:
    chunker = Chunker("word")
    start, usage = BlockStart(message=1, block=0), Usage(message=1, output_tokens=1)
    assert chunker.feed([said("Hel"), usage, start, said("Bon ", message=1)]) == []
    assert chunker.feed([said("lo ")]) == [said("Hello "), usage, start, said("Bon ", message=1)]


def test_what_waits_is_bounded() -> None:
    chunker = Chunker("word")
    out = chunker.feed([said("Hel"), *(Usage(output_tokens=count) for count in range(2000))])
    assert out[0] == said("Hel")
    assert len(out) > 900


def test_a_delta_made_of_others_does_not_speak_of_their_frames() -> None:
    out = Chunker("word").feed([said("Hel", ext={"x": {"text": "Hel"}}, more=True), said("lo ", ext={"x": {}})])
    assert out == [said("Hello ")]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="by token, word, sentence, line, block, bytes, not by 'page'"):
        Chunker("page")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 1"):
        Chunker("bytes", size_bytes=0)
