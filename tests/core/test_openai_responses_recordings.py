"""Every recorded Responses stream: read whole, cut anywhere, written again as it came, and told in other words."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from openai.types.responses import Response
from tests.dialects import HEAD, assembled, framed, logged, payloads, read, write
from tests.recordings import recorded

from patinox.core.chunks import End, Error, Outcome, StreamChunk
from patinox.core.events import MessageEnd, MessageStart, Native, RunEnd, RunStart, ToolReady, Usage
from patinox.formats.anthropic import ANTHROPIC
from patinox.formats.base import Format, Frame
from patinox.formats.gemini import GEMINI
from patinox.formats.openai_chat import OPENAI_CHAT
from patinox.formats.openai_responses import OPENAI_RESPONSES, assemble_response, position_of
from patinox.formats.openai_responses.state import ResponsesState
from patinox.incremental.assembler import Assembly

SMALL_BYTES = 6_000
ALL = recorded("openai-responses")
SMALL = recorded("openai-responses", max_bytes=SMALL_BYTES)
LARGE = recorded("openai-responses", min_bytes=SMALL_BYTES + 1)
OWN = [pytest.param(OPENAI_RESPONSES, *param.values, id=param.id, marks=param.marks) for param in ALL]
FOREIGN = [
    pytest.param(dialect, *param.values, id=f"{dialect.name}-{param.id}", marks=param.marks)
    for dialect in (OPENAI_CHAT, ANTHROPIC, GEMINI)
    for param in recorded(dialect.name)
]

# Several responses, one after the other, in one file.
SEVERAL = {"openai-reasoning-encrypted-content.1": 4, "openai-shell-tool.1": 2}
# Servers whose ids change from frame to frame, which the official client refuses.
CHANGING_IDS = {"openai-github-copilot-id-rotation.1", "openai-client-tool-search.1"}
# The client's models don't know this provider's shape of an item, and say so when they are serialised.
UNKNOWN_TO_CLIENT = {"openai_responses_model_web_search_tool_stream.1"}


def final_response(body: bytes) -> Response:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    client = openai.OpenAI(
        api_key="none",
        base_url="http://test/v1",
        max_retries=0,
        http_client=openai.DefaultHttpxClient(transport=httpx2.MockTransport(answer)),
    )
    with client, client.responses.stream(model="m", input="x") as stream:
        return stream.get_final_response()


def steps(records: list[StreamChunk]) -> Iterator[tuple[ResponsesState, list[Frame], Assembly]]:
    """The state before each record, and its frames."""
    writer, assembly = OPENAI_RESPONSES.writer, Assembly()
    state = writer.initial(HEAD)
    for record in records:
        assembly.apply(record)
        before = state
        state, frames = writer.write(state, record, assembly)
        yield before, list(frames), assembly


def stripped(events: list[Any]) -> list[Any]:
    """The events without what only this dialect can read."""
    return [msgspec.structs.replace(event, ext=None, more=False) for event in events if not isinstance(event, Native)]


@pytest.mark.parametrize("path", ALL)
def test_the_same_dialect_gives_back_the_same_frames(path: Path) -> None:
    original = path.read_bytes()
    events, ending, _ = read(OPENAI_RESPONSES, original)

    assert payloads(framed(write(OPENAI_RESPONSES, logged([*events, ending])))) == payloads(original)


@pytest.mark.parametrize("path", ALL)
def test_nothing_is_malformed_and_the_run_ends_complete(path: Path) -> None:
    events, ending, problems = read(OPENAI_RESPONSES, path.read_bytes())

    assert ending == End(Outcome.COMPLETE)
    assert problems == []
    assert sum(isinstance(event, RunEnd) for event in events) == SEVERAL.get(path.stem, 1)


@pytest.mark.parametrize("path", ALL)
def test_each_response_is_a_message_with_its_model_and_usage(path: Path) -> None:
    events, _, _ = read(OPENAI_RESPONSES, path.read_bytes())
    count = SEVERAL.get(path.stem, 1)

    assert [type(event) for event in events[:2]] == [RunStart, MessageStart]
    assert [event.message for event in events if isinstance(event, MessageStart)] == list(range(count))
    assert [event.message for event in events if isinstance(event, MessageEnd)] == list(range(count))
    assert all(event.model for event in events if isinstance(event, RunStart))
    assert sum(isinstance(event, Usage) and event.output_tokens is not None for event in events) == count


@pytest.mark.parametrize("path", ALL)
def test_the_text_is_that_of_the_response_object(path: Path) -> None:
    original = path.read_bytes()
    events, ending, _ = read(OPENAI_RESPONSES, original)
    told = [
        part["text"]
        for _, frame in payloads(original)
        if frame != "[DONE]" and frame["type"] == "response.completed"
        for item in frame["response"]["output"]
        if item["type"] == "message"
        for part in item["content"]
    ]

    assert assembled(logged([*events, ending])).content == "".join(told)


@pytest.mark.parametrize("path", SMALL)
def test_every_cut_in_two_gives_the_same_events(path: Path) -> None:
    data = path.read_bytes()
    whole = read(OPENAI_RESPONSES, data)

    for cut in range(len(data) + 1):
        assert read(OPENAI_RESPONSES, data[:cut], data[cut:]) == whole, f"cut at byte {cut}"


@pytest.mark.parametrize(
    ("path", "rounds"),
    [pytest.param(*param.values, 50, id=param.id, marks=param.marks) for param in LARGE]
    + [
        pytest.param(*param.values, 200, id=f"{param.id}-200", marks=[*param.marks, pytest.mark.slow])
        for param in LARGE
    ],
)
def test_random_cuts_give_the_same_events(path: Path, rounds: int) -> None:
    data = path.read_bytes()
    whole = read(OPENAI_RESPONSES, data)
    chance = random.Random(path.stem)

    for _ in range(rounds):
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 12)))
        pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert read(OPENAI_RESPONSES, *pieces) == whole, f"cut at {cuts}"


@pytest.mark.parametrize("path", ALL)
def test_what_is_said_twice_is_kept_once(path: Path) -> None:
    data = path.read_bytes()
    events, ending, _ = read(OPENAI_RESPONSES, data)

    assert sum(len(record.payload) for record in logged([*events, ending])) < 0.9 * len(data)


@pytest.mark.parametrize("path", ALL)
def test_the_writer_goes_on_from_a_checkpoint_with_the_same_frames(path: Path) -> None:
    data = path.read_bytes()
    events, ending, _ = read(OPENAI_RESPONSES, data)
    created = len(msgspec.json.encode(next(frame for _, frame in payloads(data))))

    for at, (before, frames, assembly) in enumerate(steps(records := logged([*events, ending]))):
        if at >= 60 and at % 16:
            continue
        checkpoint = msgspec.json.encode(before)
        restored = msgspec.json.decode(checkpoint, type=ResponsesState)
        assert list(OPENAI_RESPONSES.writer.write(restored, records[at], assembly)[1]) == frames
        assert before.core.held or len(checkpoint) < created + 16_384


@pytest.mark.parametrize(("dialect", "path"), [*OWN, *FOREIGN])
def test_frames_are_the_same_when_the_assembly_is_ahead(dialect: Format[Any], path: Path) -> None:
    events, ending, _ = read(dialect, path.read_bytes())
    records = logged([*events, ending])
    whole, state, frames = assembled(records), OPENAI_RESPONSES.writer.initial(HEAD), list[Frame]()

    for record in records:
        state, made = OPENAI_RESPONSES.writer.write(state, record, whole)
        frames += made

    assert frames == write(OPENAI_RESPONSES, records)


@pytest.mark.parametrize("path", ALL)
def test_a_sequence_number_leads_back_to_its_frame(path: Path) -> None:
    events, ending, _ = read(OPENAI_RESPONSES, path.read_bytes())
    records = logged([*events, ending])
    if path.stem in SEVERAL:
        pytest.skip("numbers begin again with each response")
    made = [frames for _, frames, _ in steps(records)]
    assembly, state = assembled(records), OPENAI_RESPONSES.writer.initial(HEAD)

    for _, frame in payloads(framed([frame for frames in made for frame in frames]))[::9]:
        if frame == "[DONE]" or "sequence_number" not in frame:
            continue
        found = position_of(frame["sequence_number"], state, records, assembly)
        assert found is not None
        frames = made[found.sequence - 1]
        assert payloads(framed(frames[: found.part or len(frames)]))[-1][1] == frame


@pytest.mark.slow
@pytest.mark.parametrize("path", ALL)
def test_a_fresh_client_may_attach_anywhere(path: Path) -> None:
    if path.stem in CHANGING_IDS | UNKNOWN_TO_CLIENT | SEVERAL.keys():
        pytest.skip("the client does not read the recording itself")
    events, ending, _ = read(OPENAI_RESPONSES, path.read_bytes())
    assert_readable_from_anywhere(logged([*events, ending]))


@pytest.mark.parametrize("path", ALL)
def test_without_what_only_this_dialect_reads_the_same_is_told(path: Path) -> None:
    events, ending, _ = read(OPENAI_RESPONSES, path.read_bytes())
    records = logged([*stripped(events), ending])
    before = assembled(records)

    body = framed(write(OPENAI_RESPONSES, records))

    again, same_ending, problems = read(OPENAI_RESPONSES, body)
    after = assembled(logged([*again, same_ending]))
    assert (same_ending, problems) == (ending, [])
    assert after.content == before.content
    kinds = [event for event in events if isinstance(event, ToolReady)]
    assert [(event.call_id, event.name, event.arguments) for event in again if isinstance(event, ToolReady)] == [
        (event.call_id, event.name, event.arguments) for event in kinds
    ]
    assert [block.value for block in after.blocks.values() if block.kind == "server_tool_call"] == [
        block.value for block in before.blocks.values() if block.kind == "server_tool_call"
    ]
    if path.stem not in UNKNOWN_TO_CLIENT:
        assert final_response(body).output_text == before.content


@pytest.mark.parametrize(("dialect", "path"), FOREIGN)
def test_the_official_client_reads_what_other_providers_said(dialect: Format[Any], path: Path) -> None:
    events, ending, _ = read(dialect, path.read_bytes())
    records = logged([*events, ending])
    told = assembled(records)
    body = framed(write(OPENAI_RESPONSES, records))
    stopped = any(message.finish_reason in ("refusal", "content_filter") for message in told.messages.values())
    if isinstance(ending, Error) or stopped:
        with pytest.raises(RuntimeError, match=r"response\.completed"):
            final_response(body)
        return

    response = final_response(body)

    assert response.output_text == told.content
    calls = [item for item in response.output if item.type == "function_call"]
    blocks = [block for block in told.blocks.values() if block.kind == "tool_call" and not block.choice]
    assert [(call.name, call.arguments) for call in calls] == [(block.name, block.text or "{}") for block in blocks]
    for call, block in zip(calls, blocks, strict=True):
        assert call.call_id == (block.call_id or call.call_id)
        assert call.call_id  # one provider has none: ours is made of the place
    assert response.status == "completed"
    if told.usage is not None:
        assert response.usage is not None
        assert response.usage.output_tokens == told.usage["output_tokens"]
    assert response.model_dump()["id"] == "resp_s1"


@pytest.mark.parametrize(("dialect", "path"), FOREIGN)
def test_what_other_providers_said_is_read_back(dialect: Format[Any], path: Path) -> None:
    events, ending, _ = read(dialect, path.read_bytes())
    told = assembled(logged([*events, ending]))

    again, same, problems = read(OPENAI_RESPONSES, framed(write(OPENAI_RESPONSES, logged([*events, ending]))))

    assert problems == []
    assert type(same) is type(ending)
    after = assembled(logged([*again, same]))
    assert after.content == told.content
    for kinds in (("reasoning", "reasoning_summary"), ("tool_call",), ("refusal",)):
        empty = "{}" if kinds == ("tool_call",) else ""
        assert [block.text for block in after.blocks.values() if block.kind in kinds] == [
            block.text or empty for block in told.blocks.values() if block.kind in kinds and not block.choice
        ]
    if isinstance(ending, End):
        assert same == ending
        for count in ("input_tokens", "output_tokens"):
            assert (after.usage or {}).get(count) == (told.usage or {}).get(count)


@pytest.mark.slow
@pytest.mark.parametrize(("dialect", "path"), FOREIGN)
def test_a_fresh_client_may_attach_anywhere_to_other_providers(dialect: Format[Any], path: Path) -> None:
    events, ending, _ = read(dialect, path.read_bytes())
    if isinstance(ending, Error) or path.stem == "anthropic-refusal":
        pytest.skip("it ends in no completed response")
    assert_readable_from_anywhere(logged([*events, ending]))


@pytest.mark.parametrize(("dialect", "path"), FOREIGN)
def test_the_whole_response_is_that_of_the_last_frame(dialect: Format[Any], path: Path) -> None:
    events, ending, _ = read(dialect, path.read_bytes())
    if isinstance(ending, Error):
        pytest.skip("it ends in no response")
    records = logged([*events, ending])

    response = msgspec.json.decode(msgspec.json.encode(assemble_response(assembled(records), HEAD)))

    last = payloads(framed(write(OPENAI_RESPONSES, records)))[-1][1]["response"]
    assert {**response, "output": None} == {**last, "output": None}
    assert without_ids(response["output"]) == without_ids(last["output"])


def without_ids(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(({**item, "id": ""} for item in items), key=str)


def assert_readable_from_anywhere(records: list[StreamChunk]) -> None:
    whole = assembled(records)
    told = list(steps(records))
    states = [state for state, _, _ in told]
    frames = [frames for _, frames, _ in told]
    expected = final_response(framed(frame for made in frames for frame in made)).model_dump()

    for at in range(1, len(records), max(1, len(records) // 12)):
        openers = OPENAI_RESPONSES.writer.openers(states[at], whole)
        rest = [frame for made in frames[at:] for frame in made]
        assert final_response(framed([*openers, *rest])).model_dump() == expected, f"attached after {at}"
