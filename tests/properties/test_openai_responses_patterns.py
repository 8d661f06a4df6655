"""Responses deltas that are recognised by what stands around their text are read as they are by the parser."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patinox.core.events import BlockDelta
from patinox.formats.framing import encode_event
from patinox.formats.openai_responses import OpenAIResponsesReader
from patinox.formats.openai_responses.patterns import Patterns

DELTA = "response.output_text.delta"
KEYS = ("type", "sequence_number", "item_id", "output_index", "content_index", "delta", "logprobs", "obfuscation")
TEXTS = st.sampled_from(
    ["", "a", "7", '"', "\\", "😀", '","delta":"', "$", 'a"$', '$"', '","obfuscation":"', "i", "\n"]
)
STEPS = st.fixed_dictionaries(
    {"delta": TEXTS, "obfuscation": TEXTS},
    optional={
        "item_id": st.sampled_from(["i", "j"]),
        "content_index": st.sampled_from([0, 1]),
        "logprobs": st.just([{"token": "a"}]),
        "gap": st.just(2),
        "name": st.sampled_from(["", "other"]),
        "spaced": st.just(True),
        "ends": st.sampled_from(["response.output_text.done", "response.content_part.done", "error"]),
    },
)


class Unlearned(Patterns):
    """The simple way: nothing is ever recognised."""

    def learn(self, *_frame: Any) -> None:
        """Nothing."""


def events(reader: OpenAIResponsesReader, frames: list[bytes]) -> tuple[list[Any], list[str], Any]:
    read = [event for frame in frames for event in reader.feed(frame)]
    return [*read, *reader.close()], reader.problems, reader.ending


def frames_of(steps: list[dict[str, Any]], order: list[str], *, numbered: bool, padded: bool) -> list[bytes]:
    """A stream's frames, their keys in this order."""
    number = 3
    frames = [encode_event(json.dumps({"type": "response.created", "sequence_number": 2, "response": {}}),
                           event="response.created")]  # fmt: skip
    for step in steps:
        body = {"type": DELTA, "item_id": "i", "output_index": 0, "content_index": 0, "logprobs": [], **step}
        number += body.pop("gap", 0)
        name, spaced = body.pop("name", DELTA), body.pop("spaced", False)
        if ends := body.pop("ends", None):
            body["type"] = name = ends
        if numbered:
            body["sequence_number"] = number
        if not padded:
            body.pop("obfuscation", None)
        number += 1
        body = {key: body[key] for key in order if key in body}
        text = json.dumps(body, ensure_ascii=False, separators=None if spaced else (",", ":"))
        frames.append(encode_event(text, event=name))
    return frames


@given(st.lists(STEPS, min_size=4, max_size=12), st.permutations(KEYS), st.booleans(), st.booleans())
def test_recognised_or_parsed_the_events_are_the_same(
    steps: list[dict[str, Any]], order: list[str], numbered: bool, padded: bool
) -> None:
    frames = frames_of(steps, order, numbered=numbered, padded=padded)
    simple = OpenAIResponsesReader()
    simple._patterns = Unlearned()
    assert events(OpenAIResponsesReader(), frames) == events(simple, frames)


def test_a_fourth_delta_is_recognised_without_its_frame_being_parsed() -> None:
    steps = [{"delta": text, "obfuscation": "xy"} for text in "abcd"]
    frames = frames_of(steps, list(KEYS), numbered=True, padded=True)
    reader = OpenAIResponsesReader()
    for frame in frames[:-1]:
        reader.feed(frame)
    delta = reader._patterns.match(frames[-1], 6)
    assert delta == BlockDelta(message=0, block=0, text="d", ext={"openai-responses": {"once": {"obfuscation": "xy"}}})


@pytest.mark.parametrize("text", ["$", 'a"$'])
def test_a_text_that_looks_like_a_hole_is_left_to_the_parser(text: str) -> None:
    frames = frames_of([{"delta": said} for said in ("a", "b", "c", text)], list(KEYS), numbered=True, padded=False)
    simple = OpenAIResponsesReader()
    simple._patterns = Unlearned()
    assert events(OpenAIResponsesReader(), frames) == events(simple, frames)
