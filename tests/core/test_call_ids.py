"""Ids of calls whose source gave none: derived from the run, so that a conversation never holds one twice."""

from typing import Any

import pytest
from tests.dialects import HEAD, assembled, framed, logged, read, write

from patinox.core.chunks import End, Outcome
from patinox.core.events import BlockEnd, BlockStart, MessageEnd, MessageStart, RunStart, ToolReady
from patinox.formats.base import Frame, StreamHead
from patinox.formats.openai_chat import assemble_completion
from patinox.formats.registry import builtin

FORMATS = builtin()
NAMED = ("openai-chat", "openai-responses", "anthropic", "ollama", "ai-sdk", "ag-ui")
"""Those in which every call has an id; in Gemini it need not."""

RECORDS: list[Any] = [
    RunStart(model="m"),
    MessageStart(),
    *(
        record
        for block, name in enumerate(("one", "two"))
        for record in (
            BlockStart(block=block, of="tool_call", name=name),
            BlockEnd(block=block),
            ToolReady(block=block, name=name, arguments={"a": block}),
        )
    ),
    MessageEnd(finish_reason="tool_calls"),
    End(Outcome.COMPLETE),
]


def calls(target: str, head: StreamHead) -> list[str | None]:
    frames = write(FORMATS[target], logged(RECORDS), head)
    return [
        event.call_id for event in read(FORMATS[target], bytes_of(target, frames))[0] if isinstance(event, ToolReady)
    ]


def bytes_of(target: str, frames: list[Frame]) -> bytes:
    if FORMATS[target].framing == "lines":
        return b"".join(frame.data + b"\n" for frame in frames)
    return framed(frames)


@pytest.mark.parametrize("target", NAMED)
def test_two_runs_never_give_their_calls_the_same_ids(target: str) -> None:
    ids = [*calls(target, HEAD), *calls(target, StreamHead(id="s2", epoch="e", created_s=0.0))]

    assert len({*ids} - {None}) == 4


@pytest.mark.parametrize("target", NAMED)
def test_the_same_run_gives_them_the_same_ids_again(target: str) -> None:
    assert calls(target, HEAD) == calls(target, HEAD)


def test_a_whole_completion_has_the_ids_of_a_streamed_one() -> None:
    whole = assemble_completion(assembled(logged(RECORDS)), HEAD)

    assert [call["id"] for call in whole["choices"][0]["message"]["tool_calls"]] == calls("openai-chat", HEAD)


def test_a_reader_makes_no_ids_that_the_wire_did_not_have() -> None:
    line = b'{"model":"m","message":{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{}}}]}}\n'
    events = read(FORMATS["ollama"], line)[0]

    assert [event.call_id for event in events if isinstance(event, ToolReady)] == [None]
