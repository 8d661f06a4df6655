"""Each shipped validator: what it finds, what it lets pass, and what it refuses to be."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from patinox.core.chunks import Error, Text
from patinox.core.events import BlockDelta, BlockEnd, BlockStart, MessageEnd, ToolReady, Verdict
from patinox.errors import ConfigError
from patinox.validation.base import Action, LaneInfo, Policy
from patinox.validation.frontier import ValidationStage
from patinox.validation.json_schema import JsonSchema
from patinox.validation.leads import leads
from patinox.validation.length import Length
from patinox.validation.patterns import Patterns, Rule, _Compiled
from patinox.validation.personal import personal
from patinox.validation.repetition import Repetition
from patinox.validation.secrets import SECRET_RULES, secrets
from patinox.validation.words import Words

CUT = Policy(action=Action.REDACT, replacement="")


def rules(validator: Any, text: str, size: int) -> list[tuple[str, str]]:
    """What is found in a text that comes in pieces of this size: (rule, the text found)."""
    scanner = validator.scanner(LaneInfo())
    found = [finding for at in range(0, len(text), size) for finding in scanner.feed(text[at : at + size])]
    found += scanner.close()
    return [(finding.rule, text[finding.start : finding.end]) for finding in found]


def left(validator: Any, *pieces: str) -> str:
    stage = ValidationStage([validator])
    out = [*stage.feed([Text(piece) for piece in pieces]), *stage.close()]
    return "".join(record.text for record in out if isinstance(record, Text))


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ("aws-access-key", "AKIAIOSFODNN7EXAMPLE"),
        ("github-token", "ghp_" + "a1" * 18),
        ("github-token", "github_pat_" + "a1_" * 20),
        ("gitlab-token", "glpat-" + "a1-_" * 5),
        ("sk-key", "sk-ant-api03-" + "a1" * 20),
        ("sk-key", "sk-proj-" + "a1" * 20),
        ("stripe-key", "sk_live_" + "a1" * 12),
        ("google-api-key", "AIza" + "a1-_b" * 7),
        ("slack-token", "xoxb-1234567890-abcdef"),
        ("huggingface-token", "hf_" + "aB" * 17),
        ("npm-token", "npm_" + "aB1" * 12),
        ("pypi-token", "pypi-" + "aB1_" * 20),
        ("sendgrid-key", "SG." + "aB1_" * 5 + "." + "aB1_" * 10),
        ("jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r"),
    ],
)
def test_keys_are_found_whole(rule: str, key: str, size: int) -> None:
    assert rules(secrets(), f'token = "{key}" # and more', size) == [(rule, key)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_private_key_is_withheld_to_its_end_line(size: int) -> None:
    body = "-BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIE+/=\n-----END RSA PRIVATE KEY-----"
    assert rules(secrets(), f"----{body}\nDone.", size) == [("private-key", body)]


def test_the_path_of_a_slack_webhook_is_withheld() -> None:
    url = "https://hooks.slack.com/services/"
    assert left(secrets(), f"{url}T000/B000/" + "x" * 24) == f"{url}[redacted]"


@pytest.mark.parametrize("text", ["the desk-top", "a task-force of risk-averse people", "AKIA", "eyJust", "--- | ---"])
def test_prose_that_begins_like_a_key_passes(text: str) -> None:
    assert rules(secrets(), text, 1) == []


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("card", "pay 4111 1111 1111 1111 now", "4111 1111 1111 1111"),
        ("card", "pay 4111111111111111.", "4111111111111111"),
        ("card", "3782 822463 10005", "3782 822463 10005"),
        ("card", "4111 1111 1111 1111 202 x", "4111 1111 1111 1111"),
        ("iban", "to GB82 WEST 1234 5698 7654 32 today", "82 WEST 1234 5698 7654 32"),
        ("iban", "to DE89370400440532013000.", "89370400440532013000"),
        ("phone", "call +44 20 7946 0958 or", "+44 20 7946 0958"),
        ("phone", "call (212) 555-0147 or", "212) 555-0147"),
        ("email", "mail jo.do+x@example.co.uk.", "jo.do+x@example.co.uk"),
    ],
)
def test_personal_data_is_found(kind: str, text: str, found: str, size: int) -> None:
    assert rules(personal(kind), text, size) == [(kind, found)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("card", "4111 1111 1111 1112"),
        ("card", "in 2024, 4000 of 5000 people"),
        ("iban", "GB82 WEST 1234 5698 7654 33"),
        ("iban", "GB82 WEST 1234"),
        ("phone", "version 1.2.3 of 2024-11-22"),
        ("email", "use @ at home"),
    ],
)
def test_numbers_that_do_not_add_up_pass(kind: str, text: str) -> None:
    assert rules(personal(kind), text, 1) == []


def test_an_unknown_kind_of_personal_data_is_refused() -> None:
    with pytest.raises(ConfigError, match="passport"):
        personal("passport")


# --- patterns


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("a+", "any length"),
        ("<.*>", "any length"),
        ("a(?=b*)", "any length"),
        ("a?", "empty"),
        ("(a)\\1", "back-references"),
        ("(", "not a regular expression"),
    ],
)
def test_a_pattern_that_cannot_be_decided_is_refused_with_a_reason(pattern: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Patterns([Rule("rule", pattern)])


@pytest.mark.parametrize("size", [1, 2, 100])
def test_max_span_bounds_a_pattern_that_has_no_end(size: int) -> None:
    validator = Patterns([Rule("run", "<a+", max_span=4)])
    assert rules(validator, "x<aaaaaaab", size) == [("run", "<aaa")]


def test_max_span_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        Patterns([Rule("run", "a+", max_span=0)])


def test_flags_within_a_pattern_hold_for_it_alone() -> None:
    validator = Patterns([Rule("one", "(?i)abc"), Rule("two", "def")])
    assert rules(validator, "ABC DEF def", 1) == [("one", "ABC"), ("two", "def")]


def test_a_lane_outside_the_policys_channels_is_left_alone() -> None:
    validator = Patterns([Rule("x", "abc")], policy=Policy(channels=frozenset({"reasoning"})))
    assert left(validator, "abc") == "abc"
    with pytest.raises(ConfigError, match="channel"):
        Policy(channels=frozenset({"nowhere"}))  # type: ignore[arg-type]


def test_what_cannot_be_decided_yet_is_looked_for_once_and_not_after_each_match(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    open_at = _Compiled.open_at

    def counted(self: _Compiled, text: str, at: int, end: int, closed: bool) -> int:
        asked.append(at)
        return open_at(self, text, at, end, closed)

    monkeypatch.setattr(_Compiled, "open_at", counted)
    validator = Patterns([Rule("rule", "a[0-9]{1,3}")])
    assert len(rules(validator, "a12 " * 100, 1000)) == 100
    assert len(asked) <= 2  # for the text, and for its end


@pytest.mark.parametrize(("before", "found"), [("-", ["jwt"]), ("a-" * 31, ["jwt"]), ("a-" * 33, [])])
def test_a_token_far_within_a_run_of_its_characters_is_none(before: str, found: list[str]) -> None:
    token = "eyJ" + "a" * 20 + ".eyJ" + "b" * 20 + "." + "c" * 20
    assert [rule for rule, _ in rules(secrets(), before + token, 7)] == found


# --- words


@pytest.mark.parametrize("size", [1, 2, 100])
def test_words_are_found_whole_whatever_their_case(size: int) -> None:
    assert rules(Words(["darn", "dang it"]), "Darn, darned. DANG IT!", size) == [
        ("words", "Darn"),
        ("words", "DANG IT"),
    ]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_parts_of_words_are_found_where_asked_for(size: int) -> None:
    found = rules(Words(["foo", "foobar"], whole_words=False, ignore_case=False), "xfoobar Foo", size)
    assert sorted(found) == [("words", "foo"), ("words", "foobar")]


def test_nothing_clean_waits_beyond_its_word_and_a_piece() -> None:
    stage = ValidationStage([Words(["banana"])])
    assert stage.feed([Text("a bana")]) == [Text("a ")]
    assert stage.feed([Text("l")]) == [Text("bana"), Text("l")]


def test_positions_stay_where_lower_case_is_longer() -> None:
    assert left(Words(["darn"]), "İİ darn!") == "İİ [redacted]!"


@pytest.mark.parametrize("words", [[], ["a", ""]])
def test_a_list_without_words_is_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="word"):
        Words(words)


# --- length and repetition


@pytest.mark.parametrize("pieces", [("hello world",), ("hell", "o wor", "ld"), tuple("hello world")])
def test_length_blocks_at_the_same_character_or_cuts_there(pieces: tuple[str, ...]) -> None:
    assert left(Length(5), *pieces) == "hello"
    assert left(Length(5, policy=CUT), *pieces) == "hello"
    assert left(Length(11), *pieces) == "hello world"


def test_a_length_below_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="negative"):
        Length(-1)


@pytest.mark.parametrize("size", [1, 5, 16, 5000])
def test_a_loop_ends_at_the_same_character(size: int) -> None:
    text = "It began well. " + "And then it said so again. " * 40
    (rule, rest), *more = rules(Repetition(), text, size)
    assert (rule, more) == ("loop", [])
    assert text.index("And") + 8 * 27 <= len(text) - len(rest) <= text.index("And") + 9 * 27 + 16


@pytest.mark.parametrize("text", ["-" * 150, "| a | b |\n" * 15, "Say it twice. " * 7, "abc" * 3])
def test_what_repeats_a_little_passes(text: str) -> None:
    assert rules(Repetition(), f"{text} and it goes on as it should.", 3) == []


# --- JSON Schema

SCHEMA = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}


def called(arguments: str, *, size: int = 3, policy: Policy | None = None) -> Sequence[Any]:
    stage = ValidationStage([JsonSchema(tools={"weather": SCHEMA}, policy=policy)])
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    items = [
        BlockStart(block=0, of="tool_call", name="weather"),
        *(BlockDelta(block=0, op="json.append", text=piece) for piece in pieces),
        BlockEnd(block=0),
        ToolReady(block=0, name="weather"),
        MessageEnd(),
    ]
    return stage.feed(items)


@pytest.mark.parametrize("arguments", ['{"city": "K\\u00f6ln"}', '{"city": "a \\"quoted\\" name"}'])
def test_arguments_that_fit_leave_whole(arguments: str) -> None:
    out = called(arguments)
    assert "".join(record.text for record in out if isinstance(record, BlockDelta)) == arguments
    assert next(record for record in out if isinstance(record, ToolReady)).arguments == json.loads(arguments)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [('{"city": 12345}', "/properties/city/type"), ("{}", "/required"), ('{"city"', "not JSON"), ("", "/required")],
)
def test_arguments_that_do_not_fit_are_blocked_and_nothing_of_them_leaves(arguments: str, rule: str) -> None:
    out = called(arguments) if arguments else called(" ")
    verdict = next(record for record in out if isinstance(record, Verdict))
    assert (verdict.rule, verdict.action) == (rule, "block")
    assert isinstance(out[-1], Error)
    assert not any(isinstance(record, BlockDelta | ToolReady) for record in out)
    assert "12345" not in repr(out)


def test_arguments_that_do_not_fit_may_pass_with_a_verdict() -> None:
    out = called("{}", policy=Policy(action=Action.PASS))
    assert [record.action for record in out if isinstance(record, Verdict)] == ["pass"]
    assert out[-1] == MessageEnd()


def test_a_json_answer_is_held_to_its_end_and_looked_at_once() -> None:
    stage = ValidationStage([JsonSchema(answer=SCHEMA)])
    assert stage.feed([Text('{"city": '), Text('"Bonn"}')]) == []
    assert "".join(record.text for record in stage.close()) == '{"city": "Bonn"}'


def test_a_document_that_is_too_long_is_blocked_before_its_end() -> None:
    stage = ValidationStage([JsonSchema(answer=SCHEMA, max_chars=10)])
    assert [record.kind for record in stage.feed([Text("{" + " " * 20)])] == ["verdict", "error"]


@pytest.mark.parametrize("schema", [{"type": "nothing"}, {"$ref": "https://example.com/schema.json"}])
def test_what_is_no_schema_or_lies_elsewhere_is_refused(schema: Any) -> None:
    with pytest.raises(ConfigError, match="answer"):
        JsonSchema(answer=schema)


def test_half_a_document_is_not_left_so_redacting_is_refused() -> None:
    with pytest.raises(ConfigError, match="block or pass"):
        JsonSchema(answer=SCHEMA, policy=Policy(action=Action.REDACT))


# --- how a scan finds its places


def test_prose_and_encoded_text_hold_no_beginning_of_a_key() -> None:
    beginnings = leads(rule.pattern for rule in SECRET_RULES)
    assert beginnings is not None
    assert (
        beginnings.search("The quick brown fox jumps over 12 lazy dogs. OgG7FvQfi40EPARyZZ7RvzE+Pnyva4hGPdBaKNQn ")
        is None
    )


@pytest.mark.parametrize(
    ("pattern", "text", "at"),
    [
        (r"(?<=key:)[a-z]{4}", "any key:abcd", 8),
        (r"(?<!x)ab{1,3}c", "xabc abc", 5),
        (r"(?:(?<!x)|(?<=y))ab", "xab ab", 1),
        (r"(?<=a|b)cd", "xcd acd", 1),
    ],
)
def test_a_beginning_is_never_passed_over(pattern: str, text: str, at: int) -> None:
    beginnings = leads([pattern])
    assert beginnings is not None
    found = beginnings.search(text)
    assert found is not None
    assert found.start() == at
