"""However a stream is cut, the same leaves, and nothing that was planted does.

`PATINOX_FRONTIER_CASES` sets the number of cases: 100 by default.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from patinox.core.chunks import Error, Json, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    RunEnd,
    ToolReady,
    Verdict,
)
from patinox.validation.base import Action, LaneInfo, Policy
from patinox.validation.frontier import ValidationStage
from patinox.validation.patterns import Check, Patterns, Rule
from patinox.validation.personal import personal
from patinox.validation.secrets import secrets
from patinox.validation.words import Words

LANE = LaneInfo()
CASES = int(os.environ.get("PATINOX_FRONTIER_CASES", "100"))
FEWER = max(50, CASES // 4)

SECRETS = (
    "AKIAIOSFODNN7EXAMPLE",
    "sk-" + "aB3dE6gH" * 4,
    "ghp_" + "Ab1" * 12,
    "4111 1111 1111 1111",
    "GB82 WEST 1234 5698 7654 32",
    "+44 20 7946 0958",
    "blabbermouth",
)
"""None is a part of another, and no filler below holds any."""
MARK = "[redacted]"
# Pieces of prose that begin like something, end like something, or look like an escape.
FILLERS = st.sampled_from(
    [
        "a ", "s ", " sk-", "AK", "The ", "4", "41 ", "12, ", "+", "\n", "\\", "\\u00", "\\n",
        '"', "{", "blab", "é", "😀", "-", "eyJ", ". ",
    ]
)  # fmt: skip
PLANTED = st.sampled_from(SECRETS).map(lambda secret: f" {secret}; ")
PROSE = st.lists(FILLERS | PLANTED, max_size=6).map("".join)
CUTS = st.lists(st.integers(0, 400), max_size=12)


def validators(action: Action = Action.REDACT) -> list[Any]:
    policy = Policy(action=action)
    return [secrets(policy=policy), personal(policy=policy), Words(["blabbermouth", "blabber"], policy=policy)]


def escaped(text: str, draw: int) -> str:
    """JSON of a string, with every `draw`-th character as `\\uXXXX`, pairs for what lies beyond U+FFFF."""
    whole = json.dumps(text)
    if not draw:
        return json.dumps(text, ensure_ascii=False)
    out = []
    for number, character in enumerate(re.findall(r"\\u[0-9a-f]{4}|\\.|.", whole, re.S)):
        plain = len(character) == 1 and character != '"' and number % draw == 0
        out.append(f"\\u{ord(character):04x}" if plain else character)
    return "".join(out)


class Spoken(msgspec.Struct, frozen=True):
    """A block to be sent: its kind and its text; a call's text is JSON, of the string `said`."""

    kind: str
    text: str
    said: str = ""


PLAIN_BLOCKS = st.builds(Spoken, st.sampled_from(["text", "reasoning", "refusal", "bare"]), PROSE)
CALLS = st.builds(
    lambda text, number, every: Spoken("tool_call", f'{{"a": {escaped(text, every)}, "n": {number}}}', text),
    PROSE,
    st.integers(0, 999),
    st.integers(0, 3),
)
# A secret that two blocks share, with whatever between them.
SPLIT = st.builds(
    lambda kind, secret, at, between: [
        Spoken(kind, f" {secret[: at % len(secret)]}"),
        *between,
        Spoken(kind, f"{secret[at % len(secret) :]}; "),
    ],
    st.sampled_from(["text", "reasoning"]),
    st.sampled_from(SECRETS),
    st.integers(1, 40),
    st.lists(CALLS | PLAIN_BLOCKS.filter(lambda block: block.kind == "refusal"), max_size=1),
)
MESSAGES = st.lists(st.lists(PLAIN_BLOCKS | CALLS, min_size=1, max_size=3) | SPLIT, max_size=2).map(
    lambda parts: [block for part in parts for block in part]
)
STREAMS = st.lists(MESSAGES, min_size=1, max_size=2)


def pieces(text: str, cuts: Sequence[int]) -> Iterator[str]:
    places = sorted({cut for cut in cuts if 0 < cut < len(text)})
    for start, stop in zip([0, *places], [*places, len(text)], strict=True):
        yield text[start:stop]


def records(stream: list[list[Spoken]], cuts: Sequence[int]) -> Iterator[Any]:
    for message, blocks in enumerate(stream):
        yield MessageStart(message=message)
        for block, spoken in enumerate(blocks):
            yield from told(message, block, spoken, cuts)
        yield MessageEnd(message=message, ext={"x": {"whole": [spoken.text for spoken in blocks]}})
    yield RunEnd()


def told(message: int, block: int, spoken: Spoken, cuts: Sequence[int]) -> Iterator[Any]:
    if spoken.kind == "bare":
        yield from (Text(piece) for piece in pieces(spoken.text, cuts))
        return
    op: Any = "json.append" if spoken.kind == "tool_call" else "text.append"
    kind: Any = spoken.kind
    yield BlockStart(message=message, block=block, of=kind, name="tool" if kind == "tool_call" else None)
    for piece in pieces(spoken.text, cuts):
        yield BlockDelta(message=message, block=block, op=op, text=piece, ext={"x": {"again": piece}})
    yield BlockEnd(message=message, block=block, value=spoken.text if kind != "tool_call" else None)
    if kind == "tool_call":
        yield ToolReady(message=message, block=block, name="tool", arguments=json.loads(spoken.text))


def passed(stage: ValidationStage, items: Sequence[Any]) -> list[Any]:
    """Everything that leaves, one record at a time."""
    out: list[Any] = []
    for item in items:
        out += stage.feed([item])
    return out + stage.close()


def said(out: Sequence[Any]) -> tuple[dict[Any, str], list[Any], list[Any]]:
    """The text of each place, the verdicts, and the order of everything else."""
    texts: dict[Any, str] = {}
    verdicts: list[Any] = []
    others: list[Any] = []
    for record in out:
        if isinstance(record, Verdict):
            verdicts.append(record)
        elif isinstance(record, Text):
            texts["bare"] = texts.get("bare", "") + record.text
        elif isinstance(record, BlockDelta):
            place = record.message, record.block
            texts[place] = texts.get(place, "") + record.text
        else:
            others.append(record)
    return texts, verdicts, others


def visible(out: Sequence[Any]) -> str:
    """All that a reader could get out of it, with escapes undone and nothing in between; names and marks too."""
    texts, _, others = said(out)
    whole = "\0".join([*texts.values(), *(msgspec.json.encode(other).decode() for other in others)])
    joined = "".join(text for place, text in texts.items() if place != "bare")
    return re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), f"{whole}\0{joined}")


@settings(max_examples=CASES, deadline=None)
@given(STREAMS, CUTS, CUTS)
def test_whatever_the_cuts_the_same_leaves(stream: list[list[Spoken]], first: list[int], second: list[int]) -> None:
    whole = said(passed(ValidationStage(validators()), list(records(stream, ()))))
    for cuts in (first, second, range(400)):
        assert said(passed(ValidationStage(validators()), list(records(stream, cuts)))) == whole


@settings(max_examples=CASES, deadline=None)
@given(STREAMS, CUTS)
def test_nothing_that_was_planted_leaves(stream: list[list[Spoken]], cuts: list[int]) -> None:
    out = passed(ValidationStage(validators()), list(records(stream, cuts)))
    assert [secret for secret in SECRETS if secret in visible(out)] == []


@settings(max_examples=CASES, deadline=None)
@given(st.lists(FILLERS, max_size=4), st.sampled_from(SECRETS), PROSE, CUTS, st.booleans())
def test_no_prefix_holds_a_character_of_a_secret(
    before: list[str], secret: str, after: str, cuts: list[int], every: bool
) -> None:
    # No word, number or escape of the text before runs into the secret, which so has to be found where it is.
    lead = "".join(before) + " ; "
    shown = f"GB{MARK}" if secret.startswith("GB") else MARK  # an IBAN's country stays
    expected = said(passed(ValidationStage(validators()), [Text(f"{lead}{shown}; {after}")]))[0].get("bare", "")
    stage = ValidationStage(validators())
    left = ""
    for piece in pieces(f"{lead}{secret}; {after}", range(400) if every else cuts):
        left += "".join(record.text for record in stage.feed([Text(piece)]) if isinstance(record, Text))
        assert expected.startswith(left)
    left += "".join(record.text for record in stage.close() if isinstance(record, Text))
    assert left == expected


@settings(max_examples=FEWER, deadline=None)
@given(st.lists(PROSE, min_size=1, max_size=3), st.integers(0, 3), CUTS)
def test_arguments_stay_json_and_are_parsed_from_what_left(texts: list[str], every: int, cuts: list[int]) -> None:
    document = {"list": texts, "card": 4111111111111111, "small": 41, "deep": {"sk-" + "aB3dE6gH" * 4: True}}
    parts = ", ".join(escaped(text, every) for text in texts)
    source = json.dumps({**document, "list": "@"}).replace('"@"', f"[{parts}]")
    items = list(told(0, 0, Spoken("tool_call", source), cuts))
    texts_out, _, others = said(passed(ValidationStage(validators()), items))
    ready = next(record for record in others if isinstance(record, ToolReady))
    assert json.loads(texts_out[0, 0]) == ready.arguments
    assert ready.arguments["card"] == MARK
    assert ready.arguments["small"] == 41
    assert ready.arguments["deep"] == {MARK: True}
    assert len(ready.arguments["list"]) == len(texts)
    for secret in SECRETS:
        assert not any(secret in text for text in ready.arguments["list"])


@settings(max_examples=FEWER, deadline=None)
@given(STREAMS, CUTS)
def test_a_blocked_stream_ends_at_the_same_character(stream: list[list[Spoken]], cuts: list[int]) -> None:
    whole = passed(ValidationStage(validators(Action.BLOCK)), list(records(stream, ())))
    cut = passed(ValidationStage(validators(Action.BLOCK)), list(records(stream, cuts)))
    assert said(cut) == said(whole)
    assert all(not isinstance(record, Error) for record in cut[:-1])
    assert [secret for secret in SECRETS if secret in visible(cut)] == []


@settings(max_examples=FEWER, deadline=None)
@given(
    st.recursive(
        PROSE | st.integers(0, 99),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PROSE, inner, max_size=2),
        max_leaves=6,
    )
)
def test_values_are_looked_at_unescaped_and_stay_values(value: Any) -> None:  # fmt: skip
    out = passed(ValidationStage(validators()), [Json(value)])
    shown = msgspec.json.encode(out[-1].value).decode()
    assert isinstance(out[-1], Json)
    assert [secret for secret in SECRETS if secret in shown] == []
    if value == out[-1].value:
        assert len(out) == 1


OVERLAPPING = (
    ("first", "ab{1,3}", Action.REDACT),
    ("second", "b{1,2}c{1,3}", Action.REPLACE),
    ("third", "ca{1,2}", Action.PASS),
    ("fourth", "c{2}b", Action.REDACT),
)


@settings(max_examples=CASES, deadline=None)
@given(st.text("abc", max_size=14), CUTS)
def test_findings_that_overlap_are_grouped_alike_for_every_cut(text: str, cuts: list[int]) -> None:
    stages = [
        ValidationStage(
            Patterns([Rule(name, pattern)], name=name, policy=Policy(action=action, replacement=f"<{name}>"))
            for name, pattern, action in OVERLAPPING
        )
        for _ in range(3)
    ]
    ways: list[Sequence[int]] = [(), cuts, range(14)]
    outs = [
        said(passed(stage, [Text(piece) for piece in pieces(text, places)]))
        for stage, places in zip(stages, ways, strict=True)
    ]
    assert outs[0] == outs[1] == outs[2]
    withheld = {
        at
        for _, pattern, action in OVERLAPPING
        if action is not Action.PASS
        for match in re.finditer(pattern, text)
        for at in range(*match.span())
    }
    kept = "".join(character for at, character in enumerate(text) if at not in withheld)
    assert re.sub("<[a-z]+>", "", outs[0][0].get("bare", "")) == kept


# --- regular expressions, against the standard library's on the whole text

ATOMS = st.sampled_from(
    ["a", "b", "[ab]", r"\w", ".", "[^a]", " ", "(?=a)", "(?!b)", "(?<!a)", "(?<=b)", r"\b", r"\B", "$", "^"]
)
EXPRESSIONS = st.recursive(
    st.lists(ATOMS, min_size=1, max_size=3).map("".join),
    lambda inner: st.one_of(
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("(?:{}){}".format, inner, st.sampled_from(["?", "{1,3}", "{0,2}", "{2}", "{1,3}?", "{1,2}+"])),
        st.builds("(?>{})".format, inner),
        st.builds("{}{}".format, inner, inner),
    ),
    max_leaves=4,
)  # fmt: skip
SHORT = st.text("ab \n", max_size=12)


def all_of_it(text: str, start: int, end: int) -> int:
    """A check that refuses nothing, but is not known to be quick: its rule is searched for by `regex`."""
    return end - start


def compiled(pattern: str, max_span: int | None = None, check: Check | None = None) -> Patterns | None:
    try:
        return Patterns([Rule("rule", pattern, max_span, check)])
    except ValueError:
        return None


@settings(max_examples=CASES, deadline=None)
@given(EXPRESSIONS, SHORT, CUTS, st.none() | st.integers(1, 5), st.sampled_from([None, all_of_it]))
def test_a_pattern_finds_what_it_finds_in_the_whole_text(
    pattern: str, text: str, cuts: list[int], max_span: int | None, check: Check | None
) -> None:
    validator = compiled(f"{pattern}[ab]", max_span, check)
    assert validator is not None
    found: list[list[tuple[int, int | None]]] = []
    for places in (cuts, (), range(12)):
        found.append([])
        scanner: Any = validator.scanner(LANE)
        for piece in [*pieces(text, places), None]:
            frontier = scanner.frontier
            told = scanner.close() if piece is None else scanner.feed(piece)
            assert all(frontier <= finding.start for finding in told)
            found[-1] += [(finding.start, finding.end) for finding in told]
        assert scanner.frontier == len(text)
    assert found[0] == found[1] == found[2]
    if max_span is None:
        assert found[0] == [match.span() for match in re.finditer(f"{pattern}[ab]", text)]
