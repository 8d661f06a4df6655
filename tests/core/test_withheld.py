"""An answer that was withheld or declined, in every dialect: never told as an ordinary success."""

import json
from typing import Any

import pytest
from tests.dialects import HEAD, assembled, logged, read, write

from patinox.core.chunks import End, Error, Outcome
from patinox.core.events import BlockDelta, BlockEnd, BlockStart, MessageEnd, MessageStart, RunStart
from patinox.formats.anthropic import assemble_message
from patinox.formats.registry import builtin
from patinox.formats.transformer import StreamTransformer

FORMATS = builtin()
MODELS = ("openai-chat", "openai-responses", "anthropic", "gemini", "ollama", "ai-sdk", "ag-ui")


def told(of: str, text: str, **end: Any) -> list[Any]:
    kind: Any = of
    block = [BlockStart(block=0, of=kind), BlockDelta(block=0, text=text), BlockEnd(block=0)] if text else []
    return [RunStart(model="m"), MessageStart(), *block, MessageEnd(**end), End(Outcome.COMPLETE)]


def read_back(target: str, records: list[Any]) -> tuple[list[Any], End | Error]:
    transformer = StreamTransformer("patinox", target)
    written = b"".join(transformer.events(records))
    events, ending, _ = read(FORMATS[target], written)
    return events, ending


@pytest.mark.parametrize("target", MODELS)
@pytest.mark.parametrize("text", ["", "half an ans"])
@pytest.mark.parametrize("reason", ["content_filter", "refusal"])
def test_what_was_withheld_ends_with_a_reason_that_says_so_or_an_error(target: str, reason: Any, text: str) -> None:
    events, ending = read_back(target, told("text", text, finish_reason=reason))
    reasons = [event.finish_reason for event in events if isinstance(event, MessageEnd)]

    assert isinstance(ending, Error) or set(reasons) & {"content_filter", "refusal"}


@pytest.mark.parametrize("target", ["anthropic", "gemini"])
def test_a_refusal_in_words_is_told_by_the_reason_where_text_is_only_text(target: str) -> None:
    events, ending = read_back(target, told("refusal", "I'd rather not.", finish_reason="stop"))

    assert ending == End(Outcome.COMPLETE)
    assert next(e.finish_reason for e in events if isinstance(e, MessageEnd)) in ("refusal", "content_filter")
    assert "".join(event.text for event in events if isinstance(event, BlockDelta)) == "I'd rather not."


def test_a_refusal_in_words_is_what_an_ollama_model_says() -> None:
    events, ending = read_back("ollama", told("refusal", "I'd rather not.", finish_reason="stop"))

    assert ending == End(Outcome.COMPLETE)
    assert "".join(event.text for event in events if isinstance(event, BlockDelta)) == "I'd rather not."


def test_the_error_of_a_withheld_answer_takes_the_place_of_the_last_line() -> None:
    frames = write(FORMATS["ollama"], logged(told("text", "half", finish_reason="content_filter")))

    assert json.loads(frames[-1].data) == {"error": "the rest of the answer was withheld (content_filter)"}
    assert not any(json.loads(frame.data).get("done") for frame in frames)


@pytest.mark.parametrize(
    ("of", "end", "expected"),
    [
        ("refusal", {"finish_reason": "stop"}, ("refusal", None)),
        ("text", {"finish_reason": "stop"}, ("end_turn", None)),
        ("text", {"finish_reason": "stop", "stop_sequence": "END"}, ("stop_sequence", "END")),
    ],
)
def test_a_whole_message_has_the_same_stop_as_a_streamed_one(of: str, end: dict[str, Any], expected: Any) -> None:
    records = logged(told(of, "said", **end))
    whole = assemble_message(assembled(records), HEAD)
    streamed = next(
        json.loads(frame.data)["delta"]
        for frame in write(FORMATS["anthropic"], records)
        if frame.event == "message_delta"
    )

    assert (whole["stop_reason"], whole["stop_sequence"]) == expected
    assert (streamed["stop_reason"], streamed["stop_sequence"]) == expected
