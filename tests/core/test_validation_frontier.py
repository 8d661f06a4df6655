"""The release frontier, one behaviour at a time."""

from collections.abc import Sequence
from typing import Any

import pytest

from patinox.core.chunks import Binary, Error, Json, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    MessageEnd,
    MessageStart,
    Metadata,
    Native,
    RunEnd,
    ToolReady,
    Usage,
    Verdict,
)
from patinox.errors import ConfigError
from patinox.validation.base import Action, Finding, LaneInfo, Policy
from patinox.validation.frontier import ValidationStage
from patinox.validation.patterns import Patterns, Rule

SECRET = "key-123456"
CODE = Rule("code", r"key-[0-9]{6}")


def stage(action: Action = Action.REDACT, **more: Any) -> ValidationStage:
    return ValidationStage([Patterns([CODE], policy=Policy(action=action))], **more)


def text(record: Any) -> str:
    return record.text if isinstance(record, Text | BlockDelta) else ""


def shown(records: Sequence[Any]) -> str:
    return "".join(text(record) for record in records)


class Broken:
    """A validator whose scanners raise at a word."""

    name = "broken"

    def __init__(self, on_error: Any, word: str = "boom", *, at_start: bool = False) -> None:
        self.policy = Policy(on_error=on_error)
        self._word, self._at_start = word, at_start

    def scanner(self, lane: LaneInfo) -> Any:
        if self._at_start:
            raise RuntimeError(self._word)
        return BrokenScanner(self._word)


class BrokenScanner:
    def __init__(self, word: str) -> None:
        self.frontier, self._word = 0, word

    def feed(self, piece: str) -> Sequence[Finding]:
        if self._word in piece:
            raise RuntimeError(f"cannot read {piece}")
        self.frontier += len(piece)
        return ()

    def close(self) -> Sequence[Finding]:
        return ()


# --- text


def test_clean_text_leaves_as_the_very_record_it_came_in() -> None:
    record = Text("nothing here. ")
    out = stage().feed([record])
    assert out[0] is record


def test_what_may_be_the_start_of_a_match_is_held_and_the_rest_leaves() -> None:
    held = stage()
    assert held.feed([Text("see ke")]) == [Text("see ")]
    assert held.held
    assert held.feed([Text("ys")]) == [Text("ke"), Text("ys")]
    assert not held.held


def test_a_match_in_pieces_is_redacted_and_told_before_its_mark() -> None:
    held = stage()
    assert shown([*held.feed([Text("a key-"), Text("12"), Text("345")])]) == "a "
    verdict, mark, rest = held.feed([Text("6 b")])
    assert (verdict.validator, verdict.rule, verdict.action) == ("patterns", "code", "redact")
    assert (verdict.start, verdict.end) == (2, 12)
    assert (mark, rest) == (Text("[redacted]"), Text(" b")) or shown([mark, rest]) == "[redacted] b"


def test_the_end_of_the_source_decides_what_is_held() -> None:
    held = stage()
    assert held.feed([Text("key-12345")]) == []
    assert held.close() == [Text("key-12345")]


def test_pass_tells_and_lets_the_text_go() -> None:
    out = stage(Action.PASS).feed([Text(f"a {SECRET} b")])
    assert shown(out) == f"a {SECRET} b"
    assert [record.action for record in out if isinstance(record, Verdict)] == ["pass"]


def test_replace_puts_the_policys_own_text() -> None:
    policy = Policy(action=Action.REPLACE, replacement="***")
    held = ValidationStage([Patterns([CODE], policy=policy)])
    assert shown(held.feed([Text(f"a {SECRET} b")])) == "a *** b"


def test_block_lets_the_prefix_go_and_nothing_after_the_error() -> None:
    held = stage(Action.BLOCK)
    out = held.feed([Text(f"a {SECRET} b"), Text("c")])
    assert [type(record) for record in out] == [Text, Verdict, Error]
    assert (out[0].text, out[-1].code, out[-1].status) == ("a ", "blocked", 422)
    assert held.feed([Text("d")]) == []
    assert held.close() == []


def test_findings_that_overlap_are_one_mark_and_two_verdicts() -> None:
    first = Patterns([Rule("one", "abcd")], name="first")
    second = Patterns([Rule("two", "cdef")], name="second", policy=Policy(replacement="never"))
    out = ValidationStage([first, second]).feed([Text(".abcdef.")])
    assert shown(out) == ".[redacted]."
    assert [record.rule for record in out if isinstance(record, Verdict)] == ["one", "two"]


def test_a_blocking_finding_in_a_group_blocks_from_the_groups_start() -> None:
    first = Patterns([Rule("one", "abcd")], name="first")
    second = Patterns([Rule("two", "cdef")], name="second", policy=Policy(action=Action.BLOCK))
    out = ValidationStage([first, second]).feed([Text(".abcdef.")])
    assert shown(out) == "."
    assert isinstance(out[-1], Error)


def test_verdicts_hold_nothing_of_what_was_withheld() -> None:
    out = stage(Action.BLOCK).feed([Text(f"a {SECRET} b"), Json({"k": SECRET})])
    assert all("123456" not in repr(record) for record in out)


# --- blocks and messages


def block(number: int, *deltas: str, kind: Any = "text") -> list[Any]:
    op: Any = "json.append" if kind == "tool_call" else "text.append"
    return [
        BlockStart(block=number, of=kind, name="tool" if kind == "tool_call" else None),
        *(BlockDelta(block=number, op=op, text=delta) for delta in deltas),
        BlockEnd(block=number),
    ]


def test_a_hold_goes_on_across_the_end_of_a_block_and_order_stays() -> None:
    held = stage()
    first, second = block(0, "see key-12"), block(1, "3456 done")
    assert shown(held.feed(first)) == "see "
    out = held.feed(second)
    assert shown(out) == "[redacted] done"
    kinds = [record.kind for record in out if not isinstance(record, Verdict)]
    assert kinds == ["block.delta", "block.end", "block.start", "block.delta", "block.end"]


def test_a_tool_call_between_does_not_break_the_lane_of_the_text() -> None:
    held = stage()
    items = [*block(0, "see key-12"), *block(1, "{}", kind="tool_call"), *block(2, "3456 done"), MessageEnd()]
    assert shown(held.feed(items)) == "see [redacted]{} done"


def test_blocks_apart_hold_nothing_beyond_their_end() -> None:
    held = stage(across_blocks=False)
    assert shown(held.feed(block(0, "see key-12"))) == "see key-12"
    assert not held.held
    assert shown(held.feed(block(1, "3456 done"))) == "3456 done"


def test_text_that_begins_ends_the_reasoning_before_it() -> None:
    held = stage()
    assert shown(held.feed(block(0, "so key-12", kind="reasoning"))) == "so "
    assert shown(held.feed(block(1, "Fine.", kind="text"))) == "key-12Fine."


def test_another_message_is_another_text() -> None:
    held = stage()
    first = [BlockDelta(message=0, block=0, text="key-12"), MessageEnd(message=0)]
    assert shown(held.feed([*first, BlockDelta(message=1, block=0, text="3456.")])) == "key-123456."


@pytest.mark.parametrize("last", [MessageEnd(), RunEnd(), Error("upstream", "gone")])
def test_an_ending_decides_what_is_held_and_comes_after_it(last: Any) -> None:
    held = stage()
    held.feed([MessageStart(), BlockDelta(block=0, text="key-")])
    assert held.feed([last]) == [BlockDelta(block=0, text="key-"), last]


def test_usage_waits_behind_what_is_held() -> None:
    held = stage()
    assert held.feed([BlockDelta(block=0, text="key-"), Usage(output_tokens=3)]) == []
    assert [record.kind for record in held.feed([MessageEnd()])] == ["block.delta", "usage", "message.end"]


# --- arguments


def test_escapes_in_arguments_are_seen_through_and_json_stays_json() -> None:
    held = stage()
    call = block(0, '{"a": "\\u006b', "ey-12\\u003", '3456"', ', "b": 1}', kind="tool_call")
    out = held.feed([*call, ToolReady(block=0, arguments={"a": SECRET, "b": 1})])
    assert shown(out) == '{"a": "[redacted]", "b": 1}'
    assert out[-1].arguments == {"a": "[redacted]", "b": 1}


def test_a_number_that_is_withheld_becomes_a_string() -> None:
    held = ValidationStage([Patterns([Rule("n", "4[0-9]{3}")])])
    out = held.feed([*block(0, '{"a": 4', '1234567, "b": -4123, "c": 7}', kind="tool_call"), ToolReady(block=0)])
    assert out[-1].arguments == {"a": "[redacted]", "b": 0, "c": 7}


def test_a_replacement_is_escaped_within_json() -> None:
    policy = Policy(action=Action.REPLACE, replacement='"gone"\n')
    held = ValidationStage([Patterns([CODE], policy=policy)])
    out = held.feed([*block(0, f'{{"a": "{SECRET}"}}', kind="tool_call"), ToolReady(block=0)])
    assert out[-1].arguments == {"a": '"gone"\n'}


def test_arguments_that_came_whole_are_validated_too() -> None:
    out = stage().feed([ToolReady(block=0, name="tool", arguments={"a": [SECRET, 1]})])
    assert out[-1].arguments == {"a": ["[redacted]", 1]}


def test_arguments_that_are_no_json_are_told_as_they_left() -> None:
    out = stage().feed([*block(0, f'{{"a": "{SECRET}', kind="tool_call"), ToolReady(block=0, invalid_raw="…")])
    assert out[-1].invalid_raw == '{"a": "[redacted]'


# --- what else leaves


def test_the_rest_of_a_frame_that_repeats_text_is_left_out() -> None:
    ext = {"x": {"raw": SECRET}}
    items = [BlockDelta(block=0, text="a.", ext=ext), BlockEnd(block=0, value="a.", ext=ext), MessageEnd(ext=ext)]
    out = stage().feed(items)
    assert [record.ext for record in out] == [None, None, None]
    assert out[1].value is None


@pytest.mark.parametrize(
    ("record", "field"),
    [
        (Json({"deep": [SECRET]}), "value"),
        (Native(dialect="x", value={SECRET: 1}), "value"),
        (Metadata(value=SECRET), "value"),
        (MessageStart(ext={"x": SECRET}), "ext"),
        (Error("upstream", f"said {SECRET}"), "message"),
        (BlockDelta(block=0, op="annotation.add", value={"cited": SECRET}), "value"),
        (BlockStart(block=0, of="tool_call", name=SECRET), "name"),
    ],
)
def test_strings_in_values_are_validated(record: Any, field: str) -> None:
    verdict, out = stage().feed([record])
    assert isinstance(verdict, Verdict)
    assert "123456" not in repr(out)
    assert "[redacted]" in repr(getattr(out, field))


def test_a_value_that_blocks_ends_the_stream_instead_of_the_record() -> None:
    assert [record.kind for record in stage(Action.BLOCK).feed([Json([SECRET])])] == ["verdict", "error"]


def test_logprobs_are_dropped_since_they_repeat_the_text_in_pieces() -> None:
    assert stage().feed([BlockDelta(block=0, op="logprobs.add", value=["key-"])]) == []


def test_signatures_leave_unread() -> None:
    record = BlockDelta(block=0, op="opaque.set", value=SECRET)
    assert stage().feed([BlockStart(block=0, of="reasoning"), record])[-1] == record


@pytest.mark.parametrize("kind", ["server_tool_call", "custom", "source", "file", "code"])
def test_what_is_opaque_but_readable_is_validated(kind: Any) -> None:
    value = {"type": "web_search_call", "action": {"query": SECRET}}
    out = stage().feed([BlockStart(block=0, of=kind), BlockDelta(block=0, op="opaque.set", value=value)])
    assert out[-1].value == {"type": "web_search_call", "action": {"query": "[redacted]"}}


def test_a_signature_that_is_no_text_is_validated() -> None:
    record = BlockDelta(block=0, op="opaque.set", value=[SECRET])
    assert stage().feed([BlockStart(block=0, of="reasoning"), record])[-1].value == ["[redacted]"]


def test_the_name_of_a_tool_is_validated_where_it_is_told_again() -> None:
    items = [
        BlockStart(block=0, of="tool_call", name=SECRET),
        BlockDelta(block=0, op="json.append", text="{}"),
        BlockEnd(block=0),
        ToolReady(block=0, name=SECRET, arguments={}),
    ]
    out = stage().feed(items)
    assert [record.name for record in out if isinstance(record, BlockStart | ToolReady)] == ["[redacted]"] * 2
    assert [record.details for record in out if isinstance(record, Verdict)] == [{"field": "name"}]


def test_the_code_of_an_error_is_validated_too() -> None:
    assert stage().feed([Error(SECRET, "it failed")])[-1] == Error("[redacted]", "it failed")


@pytest.mark.parametrize(
    "record",
    [
        Binary(b"x"),
        BlockDelta(block=0, op="bytes.append", data=b"x"),
        BlockDelta(block=0, op="opaque.append", value="eA=="),
        BlockDelta(block=0, op="opaque.set", value={"image_url": {"url": " DATA:image/png;base64,eA=="}}),
    ],
)
def test_binary_data_is_refused_unless_it_is_allowed(record: Any) -> None:
    start = BlockStart(block=0, of="image")
    assert stage().feed([start, record])[-1].code == "blocked"
    assert stage(allow_binary=True).feed([start, record])[-1] == record


def test_the_address_of_a_picture_is_no_binary_data() -> None:
    record = BlockDelta(block=0, op="opaque.set", value={"image_url": {"url": "https://example.org/a.png"}})
    assert stage().feed([BlockStart(block=0, of="image"), record])[-1] == record


def test_a_block_put_anew_is_validated_as_a_new_text() -> None:
    held = stage()
    items = [
        BlockDelta(block=0, text="old key-12"),
        BlockDelta(block=0, op="replace", text=f"new {SECRET}"),
        MessageEnd(),
    ]
    out = held.feed(items)
    replaced = next(record for record in out if getattr(record, "op", "") == "replace")
    assert shown(out) == "old key-12new [redacted]"
    assert replaced.text == "new "


# --- limits and failures


def test_what_waits_is_bounded() -> None:
    held = ValidationStage([Patterns([Rule("long", "<[a-z]{0,1000}>")])], max_held_chars=100)
    assert held.feed([Text("<" + "a" * 90)]) == []
    out = held.feed([Text("a" * 90)])
    assert [record.code for record in out] == ["validation_overflow"]


def test_a_validator_that_raises_ends_the_stream_with_nothing_it_has_not_passed() -> None:
    held = ValidationStage([Broken("closed")])
    assert held.feed([Text("fine ")]) == [Text("fine ")]
    out = held.feed([Text("a boom b")])
    assert [record.code for record in out] == ["validator_failed"]
    assert "boom" not in repr(out)
    assert held.failures == {"broken": 1}


def test_one_that_cannot_even_begin_lets_nothing_out() -> None:
    out = ValidationStage([Broken("closed", at_start=True)]).feed([Text("hello"), Text("again")])
    assert [record.code for record in out] == ["validator_failed"]


def test_an_open_one_is_left_out_counted_and_told() -> None:
    held = ValidationStage([Broken("open"), Patterns([CODE])])
    out = held.feed([Text("a boom b "), Text(f"{SECRET}. ")])
    assert shown(out) == "a boom b [redacted]. "
    assert ("broken", "open") in [(r.validator, r.action) for r in out if isinstance(r, Verdict)]
    assert held.failures == {"broken": 1}


def test_two_of_a_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="patterns"):
        ValidationStage([Patterns([CODE]), Patterns([CODE])])


def test_stats_say_what_is_held() -> None:
    held = stage()
    held.feed([Text("a key-")])
    assert held.stats() == {"held_records": 1, "held_chars": 4, "lanes": 1, "failures": 0}
    assert "patterns" in repr(held)
