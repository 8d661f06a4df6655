"""Agents' events as sources: stand-ins with the fields that pydantic-ai's and LangChain's objects have on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from patinox import StreamingConfig, StreamManager
from patinox.core.chunks import End, Json, Outcome
from patinox.core.events import Metadata, Native, ToolError, ToolReady, ToolResult
from patinox.errors import InputError


@pytest.fixture
async def manager() -> AsyncIterator[StreamManager]:
    async with StreamManager(StreamingConfig(drain_timeout_s=0)) as manager:
        yield manager


async def relayed(manager: StreamManager, items: Any) -> tuple[list[Any], dict[str, Any]]:
    stream = await manager.relay(items if hasattr(items, "__aenter__") else list(items))
    return [chunk.data async for chunk in stream.subscribe()], stream.snapshot()


def of(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if type(event) is kind]


# ── pydantic-ai ──


def event(kind: str, **fields: Any) -> SimpleNamespace:
    return SimpleNamespace(event_kind=kind, **fields)


def start(index: int, kind: str, **fields: Any) -> SimpleNamespace:
    return event("part_start", index=index, part=SimpleNamespace(part_kind=kind, **fields))


def delta(index: int, kind: str, **fields: Any) -> SimpleNamespace:
    return event("part_delta", index=index, delta=SimpleNamespace(part_delta_kind=kind, **fields))


def end(index: int) -> SimpleNamespace:
    return event("part_end", index=index, part=None)


def call(index: int, **fields: Any) -> SimpleNamespace:
    return start(index, "tool-call", **{"tool_name": "weather", "args": None, "tool_call_id": "c1", **fields})


def returned(content: Any, kind: str = "tool-return") -> SimpleNamespace:
    part = SimpleNamespace(part_kind=kind, tool_name="weather", content=content, tool_call_id="c1")
    return event("function_tool_result", part=part)


RUN = [
    start(0, "thinking", content="hm", signature="sig"),
    end(0),
    start(1, "text", content="I look"),
    event("final_result", tool_name=None, tool_call_id=None),
    delta(1, "text", content_delta=" it up."),
    end(1),
    call(2, args='{"ci'),
    delta(2, "tool_call", args_delta='ty": "Oslo"}', tool_call_id="c1"),
    end(2),
    event("function_tool_call", part=None),
    returned("12 in Oslo"),
    start(0, "text", content="It is "),
    delta(0, "text", content_delta="12."),
    end(0),
    event("agent_run_result", result=SimpleNamespace(usage=SimpleNamespace(input_tokens=7, output_tokens=5))),
]


async def test_a_run_of_pydantic_ai_is_told_whole(manager: StreamManager) -> None:
    events, snapshot = await relayed(manager, RUN)

    assert snapshot["content"] == "I look it up.It is 12."
    assert snapshot["usage"] == {"input_tokens": 7, "output_tokens": 5}
    assert [(block["kind"], block.get("value")) for block in snapshot["blocks"]][:1] == [("reasoning", "sig")]
    assert [message["finish_reason"] for message in snapshot["messages"]] == ["tool_calls", "stop"]
    (ready,), (result,) = of(events, ToolReady), of(events, ToolResult)
    assert (ready.call_id, ready.name, ready.arguments) == ("c1", "weather", {"city": "Oslo"})
    assert (result.call_id, result.name, result.result) == ("c1", "weather", "12 in Oslo")
    assert events[-1] == End(Outcome.COMPLETE)


async def test_a_run_of_an_earlier_release_has_no_ends_of_parts(manager: StreamManager) -> None:
    run = [each for each in RUN if each.event_kind != "part_end"]

    events, snapshot = await relayed(manager, run)

    assert snapshot["content"] == "I look it up.It is 12."
    assert len(of(events, ToolReady)) == 1


async def test_a_context_manager_is_entered_and_left(manager: StreamManager) -> None:
    class Run:
        left = False

        async def __aenter__(self) -> AsyncIterator[Any]:
            return self.events()

        async def __aexit__(self, *_: object) -> None:
            self.left = True

        async def events(self) -> AsyncIterator[Any]:
            for each in RUN:
                yield each

    run = Run()
    _, snapshot = await relayed(manager, run)

    assert snapshot["content"] == "I look it up.It is 12."
    assert run.left


@pytest.mark.parametrize("args", [{"city": "Oslo"}, '{"city": "Oslo"}'])
async def test_arguments_come_as_text_or_as_an_object(manager: StreamManager, args: Any) -> None:
    events, _ = await relayed(manager, [call(0, args=args), end(0)])

    assert of(events, ToolReady)[0].arguments == {"city": "Oslo"}


async def test_a_tool_that_failed_is_told_as_that(manager: StreamManager) -> None:
    events, _ = await relayed(manager, [call(0), end(0), returned("no such city", "retry-prompt")])

    assert of(events, ToolError)[0].error == "no such city"


async def test_what_pydantic_ai_tells_and_we_have_no_name_for_is_kept(manager: StreamManager) -> None:
    events, _ = await relayed(manager, [event("deferred_tool_requests"), start(0, "hologram")])

    assert [native.event for native in of(events, Native)] == ["deferred_tool_requests", "part_start:hologram"]


async def test_a_file_is_told_with_its_bytes(manager: StreamManager) -> None:
    content = SimpleNamespace(media_type="image/png", data=b"\x89PNG")
    _, snapshot = await relayed(manager, [start(0, "file", content=content), end(0)])

    assert snapshot["blocks"][0]["kind"] == "image"
    assert snapshot["blocks"][0]["value"]["url"] == "data:image/png;base64,iVBORw=="


# ── LangChain and LangGraph ──


def chunk(content: Any = "", **fields: Any) -> SimpleNamespace:
    usual = {"type": "AIMessageChunk", "id": "run-1", "additional_kwargs": {}, "response_metadata": {}}
    return SimpleNamespace(content=content, **{**usual, "tool_call_chunks": [], "usage_metadata": None, **fields})


def piece(args: str, **fields: Any) -> SimpleNamespace:
    return chunk(tool_call_chunks=[{"name": None, "id": None, "index": 0, "args": args, **fields}])


def tool(content: Any, **fields: Any) -> SimpleNamespace:
    usual = {"type": "tool", "name": "weather", "tool_call_id": "c1", "additional_kwargs": {}, "status": "success"}
    return SimpleNamespace(content=content, **{**usual, **fields})


USAGE = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12, "input_token_details": {"cache_read": 2}}
MODEL = [
    chunk("I look"),
    piece("", name="weather", id="c1"),
    piece('{"city": '),
    piece('"Oslo"}'),
    chunk(response_metadata={"finish_reason": "tool_calls"}, usage_metadata=USAGE),
    chunk(chunk_position="last"),
]
ANSWER = [
    chunk([{"type": "text", "text": "It is ", "index": 0}], id="run-2"),
    chunk([{"type": "text", "text": "12.", "index": 0}], id="run-2", chunk_position="last"),
]


def check(events: list[Any], snapshot: dict[str, Any]) -> None:
    assert snapshot["content"] == "I lookIt is 12."
    assert snapshot["usage"] == {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12, "cached_tokens": 2}
    assert [message["finish_reason"] for message in snapshot["messages"]] == ["tool_calls", "stop"]
    assert [(ready.name, ready.arguments) for ready in of(events, ToolReady)] == [("weather", {"city": "Oslo"})]


def node(chunks: Iterable[Any], name: str, step: int) -> list[Any]:
    return [(each, {"langgraph_node": name, "langgraph_step": step}) for each in chunks]


async def test_chunks_of_a_chat_model(manager: StreamManager) -> None:
    check(*await relayed(manager, [*MODEL, *ANSWER]))


async def test_messages_of_a_graph(manager: StreamManager) -> None:
    graph = [*node(MODEL, "model", 1), *node([tool("12 in Oslo")], "tools", 2), *node(ANSWER, "model", 3)]

    events, snapshot = await relayed(manager, graph)

    check(events, snapshot)
    assert of(events, ToolResult)[0].result == "12 in Oslo"


async def test_several_modes_of_a_graph_at_once(manager: StreamManager) -> None:
    told = [("messages", each) for each in (*node(MODEL, "model", 1), *node(ANSWER, "model", 2))]

    events, snapshot = await relayed(manager, [*told[:4], ("custom", {"at": 1}), *told[4:]])

    check(events, snapshot)
    assert [(each.name, each.value) for each in of(events, Metadata)] == [("custom", {"at": 1})]


def happened(name: str, run_id: str, **data: Any) -> dict[str, Any]:
    return {"event": name, "run_id": run_id, "name": "x", "data": data, "parent_ids": [], "tags": [], "metadata": {}}


async def test_events_of_a_graph(manager: StreamManager) -> None:
    run = [
        happened("on_chain_start", "r0", input={}),
        happened("on_chat_model_start", "r1"),
        *(happened("on_chat_model_stream", "r1", chunk=each) for each in MODEL),
        happened("on_chat_model_end", "r1", output=SimpleNamespace(type="ai", id=None)),
        happened("on_tool_end", "r2", output=tool("12 in Oslo")),
        *(happened("on_chat_model_stream", "r3", chunk=each) for each in ANSWER),
        happened("on_chain_end", "r0", output={}),
    ]

    events, snapshot = await relayed(manager, run)

    check(events, snapshot)
    assert of(events, ToolResult)[0].call_id == "c1"


async def test_nodes_that_speak_at_once_have_a_message_each(manager: StreamManager) -> None:
    first, second = node([chunk("a"), chunk("c")], "one", 1), node([chunk("b"), chunk("d")], "two", 1)

    _, snapshot = await relayed(manager, [first[0], second[0], first[1], second[1]])

    assert [(block["message"], block["text"]) for block in snapshot["blocks"]] == [(0, "ac"), (1, "bd")]


async def test_a_message_of_a_model_that_does_not_stream_is_told_once(manager: StreamManager) -> None:
    calls = [{"name": "weather", "args": {"city": "Oslo"}, "id": "c1", "type": "tool_call"}]
    usual: dict[str, Any] = {"additional_kwargs": {}, "response_metadata": {}, "usage_metadata": None, "type": "ai"}
    whole = SimpleNamespace(content="I look", id="m", tool_calls=calls, **usual)

    events, snapshot = await relayed(manager, node([whole, whole], "model", 1))

    assert snapshot["content"] == "I look"
    assert [ready.arguments for ready in of(events, ToolReady)] == [{"city": "Oslo"}]


async def test_thinking_is_reasoning_and_keeps_its_signature(manager: StreamManager) -> None:
    parts = [{"type": "thinking", "thinking": "hm", "index": 0}, {"type": "thinking", "signature": "sig", "index": 0}]
    kwargs = {"reasoning_content": "so"}

    _, snapshot = await relayed(manager, [chunk([part]) for part in parts] + [chunk(additional_kwargs=kwargs)])

    assert [(b["kind"], b["text"], b.get("value")) for b in snapshot["blocks"]] == [
        ("reasoning", "hm", "sig"),
        ("reasoning", "so", None),
    ]


async def test_a_call_that_was_cut_off_is_not_ready(manager: StreamManager) -> None:
    cut = [piece('{"ci', name="weather", id="c1"), chunk(response_metadata={"finish_reason": "length"})]

    events, snapshot = await relayed(manager, cut)

    assert of(events, ToolReady) == []
    assert snapshot["messages"][0]["finish_reason"] == "length"


async def test_a_tool_of_a_graph_that_failed_is_told_as_that(manager: StreamManager) -> None:
    events, _ = await relayed(manager, node([tool("no such city", status="error")], "tools", 1))

    assert of(events, ToolError)[0].error == "no such city"


async def test_an_applications_own_dictionaries_and_pairs_stay_its_own(manager: StreamManager) -> None:
    own = [{"event": "on_sale", "price": 1}, ("values", 2), {"messages": 1}]

    events, _ = await relayed(manager, own)

    assert [each.value for each in of(events, Json)] == [
        {"event": "on_sale", "price": 1},
        ("values", 2),
        {"messages": 1},
    ]


async def test_an_object_that_nobody_knows_is_refused(manager: StreamManager) -> None:
    stream = await manager.relay([SimpleNamespace(model_dump=dict)])
    (last,) = [each.data async for each in stream.subscribe()]

    assert last.code == InputError.code
