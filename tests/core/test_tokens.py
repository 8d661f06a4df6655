"""Token processors: what each takes out, and what it leaves alone."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patinox.core.chunks import Json, Text
from patinox.core.events import BlockDelta, BlockEnd, MessageEnd, Usage
from patinox.errors import InputError
from patinox.incremental.counting import TokenCount, Words
from patinox.incremental.links import NOWHERE, Links
from patinox.incremental.terminal import Terminal
from patinox.incremental.tokens import Newlines, Processor, TokenProcessor, Tokens, escape_html


def through(processors: list[TokenProcessor], *texts: str) -> str:
    stage = Tokens(processors)
    out = [data for text in texts for data in stage.feed([Text(text)])]
    return "".join(data.text for data in out + stage.close())


def links(text: str, *hosts: str) -> str:
    """What becomes of a text, which must be the same by the character and at once."""
    whole = through([Links(hosts)], text)
    assert through([Links(hosts)], *text) == whole
    return whole


# ── one by one ──


@pytest.mark.parametrize(
    ("text", "expected"), [("a\r\nb", "a\nb"), ("a\rb\r", "a\nb\n"), ("\r\r\n\n", "\n\n\n"), ("a\nb", "a\nb")]
)
def test_line_breaks_become_line_feeds(text: str, expected: str) -> None:
    assert through([Newlines()], text) == through([Newlines()], *text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;https://x.example\x07link\x1b]8;;\x1b\\!", "link!"),
        ("\x9b31mred\x9d0;title\x9c.", "red."),
        ("\x1bP1$r\x1b\\a\x1b(Bb\x1b7c", "abc"),
        ("bell\x07 back\x08 null\x00 del\x7f c1\x85", "bell back null del c1"),
        ("tab\tfeed\nreturn\r", "tab\tfeed\nreturn\r"),
        ("\x1b]0;never ended\nnext line", "\nnext line"),
        ("\x1b[12é", "é"),
        ("\x1b]" + "x" * 5000, "x" * 905),
        ("\x1b\x1b[mx", "x"),
    ],
)
def test_what_a_terminal_would_obey_is_stripped(text: str, expected: str) -> None:
    assert through([Terminal()], text) == through([Terminal()], *text) == expected


def test_html_is_escaped() -> None:
    assert through([escape_html], '<b a="1">&\'') == "&lt;b a=&quot;1&quot;&gt;&amp;&#x27;"


# ── links ──


@pytest.mark.parametrize(
    "text",
    [
        "![x](https://evil.example/a?d=secret)", "[x](https://evil.example)", "[x]( https://evil.example )",
        "[x](<https://evil.example/a b>)", "[x](\n> https://evil.example)", "[x](//evil.example)",
        "[x](\\\\evil.example)", "[x](https&#58;//evil.example)", "[x](/\\evil.example)", "[x](/&Tab;/evil.example)",
        "[x](javascript:alert(1))", "[x](data:text/html,x)", "[r]: https://evil.example", "[r]:\n  <https://evil.example>",
        "![x][r]\n\n[r]: //evil.example 'title'", "<https://evil.example/x>", "[x](https://ok.example@evil.example)",
        "[x](https://ok.example.evil.example)", "[x](https://ok.example\\.evil.example)",
        "![ [a](b]( https://evil.example)", "![ [a](<b](https://evil.example/x.png)", "[a](b](https://evil.example)",
        "![<https:](//evil.example/x.png)", "[x](https://%65vil.example)", "[x](HTTPS://EVIL.EXAMPLE)",
        "[x](https://evil.example/" + "y" * 3000 + ")", "[x](https://evil.example", "[x](http:evil.example)",
    ],
)  # fmt: skip
def test_an_address_of_a_host_that_is_not_allowed_is_gone(text: str) -> None:
    out = links(text, "ok.example", "*.fine.example")
    assert NOWHERE in out
    assert "evil.example" not in out.lower()


@pytest.mark.parametrize(
    "text",
    [
        "[x](https://ok.example/a?b=c#d)", "![x](http://OK.example:8080/a_(b).png 'title')", "<https://a.fine.example>",
        "[x](/a/b)", "[x](#part)", "[x](a.md)", "[x](?q=a:b)", "[x](mailto:a@b.example)", "[x]()", "[r]: a.md",
        "[x](<a b.md>)", "a[i](x) and d[k]: 'v' and f[a](c[d])", "a < b, 3 <x:y", "[1]: see there", "plain [text] <b>",
        "ends with ]", "ends with <", "ends with [x](", "tall <", "https://evil.example bare",
    ],
)  # fmt: skip
def test_everything_else_is_left_as_it_is(text: str) -> None:
    assert links(text, "ok.example", "*.fine.example") == text


def test_a_long_autolink_is_none_any_more() -> None:
    assert links("<https://evil.example/" + "y" * 3000 + ">").startswith("\\<https")


def test_text_that_is_no_destination_is_not_held_back() -> None:
    stage = Tokens([Links()])
    assert stage.feed([Text("[label] and `code` (x)!")]) == [Text("[label] and `code` (x)!")]
    assert not stage.held
    assert stage.feed([Text("[label](htt")]) == [Text("[label](")]
    assert stage.held


def test_a_host_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="no host name"):
        Links(["https://x.example"])


# ── counting ──


def test_words_are_counted_across_cuts_and_not_across_blocks() -> None:
    words = Words()
    stage = Tokens([words])
    stage.feed([BlockDelta(text=text, block=0) for text in ("Hel", "lo wor", "ld ", "", "x")])
    assert words.count == 3
    stage.feed([BlockEnd(block=0), BlockDelta(text="y", block=1)])
    assert words.count == 4


@pytest.mark.parametrize("text", ["one two  three", "x" * 10_000, " ", "a " * 5000])
def test_tokens_are_counted_however_the_text_came(text: str) -> None:
    counts = []
    for pieces in ([text], list(text)):
        count = TokenCount(lambda stretch: -(-len(stretch) // 4))
        through([count], *pieces)
        counts.append(count.count)
    assert counts[0] == counts[1] >= len(text) // 4


# ── the stage ──


def test_processors_run_in_their_order() -> None:
    assert through([str.upper, lambda text: text.replace("A", "b")], "xa") == "Xb"


def test_arguments_of_tools_are_left_alone() -> None:
    delta = BlockDelta(text='{"a": "<"}', block=0, op="json.append")
    assert Tokens([escape_html]).feed([delta, Json("<")]) == [delta, Json("<")]


def test_text_that_did_not_change_keeps_its_record() -> None:
    delta = BlockDelta(text="Hello", block=0, ext={"x": {}})
    assert Tokens([escape_html, Links(), Newlines()]).feed([delta])[0] is delta


def test_a_changed_delta_does_not_keep_the_text_it_had() -> None:
    delta = BlockDelta(text="a<b", block=0, ext={"x": {"raw": "a<b"}})
    assert Tokens([escape_html]).feed([delta]) == [BlockDelta(text="a&lt;b", block=0)]


def test_a_text_that_is_told_whole_is_processed_whole() -> None:
    stage = Tokens([Links()])
    text = "[x](https://evil.example)"
    assert stage.feed([BlockDelta(block=0, op="replace", text=text)])[0].text == f"[x]({NOWHERE})"
    assert stage.feed([BlockEnd(block=0, value=text)])[0].value == f"[x]({NOWHERE})"


def test_counters_do_not_count_the_aggregate_again() -> None:
    words = Words()
    Tokens([words]).feed([BlockDelta(text="a b", block=0), BlockEnd(block=0, value="a b")])
    assert words.count == 2


def test_a_record_in_the_middle_of_a_destination_hides_nothing() -> None:
    stage = Tokens([Links()])
    usage = Usage(output_tokens=1)
    assert stage.feed([BlockDelta(text="![x](https://ev", block=0), usage]) == [BlockDelta(text="![x](", block=0)]
    out = stage.feed([BlockDelta(text="il.example/x) y", block=0)])
    assert out == [BlockDelta(text=NOWHERE + ") y", block=0), usage]


def test_the_end_of_a_message_ends_its_texts() -> None:
    stage = Tokens([Links()])
    out = stage.feed([BlockDelta(text="[x](https://evil.example", block=0), MessageEnd()])
    assert out[1:] == [BlockDelta(text=NOWHERE, block=0), MessageEnd()]


PARTS = st.sampled_from(
    ["a", " ", "\n", "\r", "[x](", "](", "]:", "]", ")", "<", ">", "(", "https://", "evil.example", "ok.example", "//",
     "\\", "&#47;", ":", "\x1b", "\x1b[", "]", "m", "\x07", "\x9d", "javascript:", "x" * 700, "&"]
)  # fmt: skip
PROCESSORS: dict[str, Any] = {
    "newlines": Newlines, "terminal": Terminal, "links": lambda: Links(["ok.example"]), "html": lambda: escape_html,
}  # fmt: skip


@settings(deadline=None)
@given(st.lists(PARTS | st.text(max_size=3), max_size=25).map("".join), st.data())
def test_what_leaves_does_not_depend_on_how_text_came(text: str, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(PROCESSORS)), min_size=1, max_size=4))
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    edges = [0, *places, len(text)]
    pieces = [text[begin:end] for begin, end in itertools.pairwise(edges)]

    def made() -> list[TokenProcessor]:
        return [PROCESSORS[name]() for name in names]

    assert through(made(), *pieces) == through(made(), text)


@settings(deadline=None)
@given(st.lists(PARTS, max_size=25).map("".join))
def test_stateful_processors_hold_no_more_than_they_were_given(text: str) -> None:
    for make in (Newlines, Terminal, Links):
        processor: Processor = make()
        for fed, character in enumerate(text, 1):
            processor.feed(character)
            assert processor.held <= min(fed, 2002)
