"""What the official Python client of Ollama makes of our lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest
from tests.dialects import assembled, logged, read, write
from tests.flat import AGENT, AGENT_TEXT, COMPLETE, body, resumed
from tests.recordings import recorded

from patinox.core.chunks import End, Error, Outcome, StreamChunk, Text
from patinox.core.events import BlockEnd, BlockStart, ToolReady, Usage
from patinox.formats.ollama import OLLAMA
from patinox.formats.openai_chat import OPENAI_CHAT


def chat(stream: bytes) -> Iterator[ollama.ChatResponse]:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=stream, headers={"content-type": OLLAMA.content_type})

    with ollama.Client(host="http://patinox.invalid", transport=httpx.MockTransport(answer)) as client:
        yield from client.chat(model="m", messages=[{"role": "user", "content": "?"}], stream=True)


def said(parts: list[ollama.ChatResponse]) -> str:
    return "".join(part.message.content or "" for part in parts)


def calls(parts: list[ollama.ChatResponse]) -> list[tuple[str, Any]]:
    return [(c.function.name, c.function.arguments) for part in parts for c in part.message.tool_calls or ()]


def sent(records: list[StreamChunk]) -> bytes:
    return body(OLLAMA, write(OLLAMA, records))


@pytest.mark.parametrize("path", recorded("openai-chat"))
def test_a_recorded_chat_gives_its_text_calls_and_usage(path: Path) -> None:
    events, ending, _ = read(OPENAI_CHAT, path.read_bytes())
    records = logged([*events, ending])
    assembly = assembled(records)
    if isinstance(ending, Error):
        with pytest.raises(ollama.ResponseError, match=r"\S"):
            list(chat(sent(records)))
        return

    parts = list(chat(sent(records)))

    assert said(parts) == assembly.content
    assert calls(parts) == [(r.data.name, r.data.arguments) for r in records if isinstance(r.data, ToolReady)]
    assert [part.done for part in parts] == [*[False] * (len(parts) - 1), True]
    assert parts[-1].done_reason == "stop"
    assert parts[-1].eval_count == (assembly.usage or {}).get("output_tokens")
    assert parts[-1].prompt_eval_count == (assembly.usage or {}).get("input_tokens")


def test_an_agents_run_is_read_from_any_position() -> None:
    records = logged([*AGENT, COMPLETE])
    for at in range(len(records)):
        parts = list(chat(resumed(OLLAMA, records, at)))

        assert AGENT_TEXT.endswith(said(parts))
        assert parts[-1].done


def test_thinking_is_thinking() -> None:
    parts = list(chat(sent(logged([*AGENT, COMPLETE]))))

    assert "".join(part.message.thinking or "" for part in parts) == "I need the weather."


def test_heartbeats_between_lines_are_nothing() -> None:
    stream = sent(logged([Text("a"), Text("b"), COMPLETE]))

    parts = list(chat(b" " + stream.replace(b"\n", b"\n   ").rstrip(b" ")))

    assert said(parts) == "ab"


def test_an_incomplete_answer_is_done_for_length() -> None:
    parts = list(chat(sent(logged([Text("a"), End(Outcome.INCOMPLETE)]))))

    assert parts[-1].done_reason == "length"


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED, Outcome.INTERRUPTED])
def test_a_failure_makes_the_client_raise(outcome: Outcome) -> None:
    with pytest.raises(ollama.ResponseError, match="the reason"):
        list(chat(sent(logged([Text("a"), End(outcome, Error("code", "the reason"))]))))


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED, Outcome.INTERRUPTED])
def test_the_usage_of_a_failed_stream_is_read_before_the_client_raises(outcome: Outcome) -> None:
    usage = Usage(mode="cumulative", input_tokens=30, output_tokens=9)
    answer = chat(sent(logged([Text("a"), usage, End(outcome, Error("code", "the reason"))])))
    parts = [next(answer), next(answer)]

    with pytest.raises(ollama.ResponseError, match="the reason"):
        next(answer)
    assert (said(parts), parts[-1].prompt_eval_count, parts[-1].eval_count) == ("a", 30, 9)
    assert not any(part.done for part in parts)


def test_a_call_that_cannot_be_parsed_makes_the_client_raise() -> None:
    call = [
        BlockStart(block=0, of="tool_call", name="f", call_id="c"),
        BlockEnd(block=0),
        ToolReady(block=0, name="f", call_id="c", invalid_raw="{"),
    ]

    with pytest.raises(ollama.ResponseError, match="call of f"):
        list(chat(sent(logged([*call, COMPLETE]))))


def test_the_clients_own_objects_can_be_read_again() -> None:
    stream = sent(logged([*AGENT, COMPLETE]))
    reader = OLLAMA.reader()

    events = [event for part in chat(stream) for event in reader.feed_frame(part)]
    events += reader.close()

    assert assembled(logged(events)).content == AGENT_TEXT
    assert reader.ending == COMPLETE
