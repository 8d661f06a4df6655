"""What cannot be said in the upstream's dialect is refused by its name, all of it at once; nonsense is refused too."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patinox.errors import InputError
from patinox.gateway.requests import Untranslatable, translate

READ = ("openai-chat", "openai-responses", "anthropic")
WRITTEN = ("openai-chat", "openai-responses", "anthropic", "gemini", "ollama")


def asking(dialect: str, **more: Any) -> dict[str, Any]:
    if dialect == "openai-responses":
        return {"input": "Hi", **more}
    return {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9, **more}


def refused(from_: str, to: str, body: dict[str, Any]) -> list[str]:
    with pytest.raises(Untranslatable) as raised:
        translate(body, from_, to, "m")
    assert raised.value.http_status == 400
    assert all(name in raised.value.message for name in raised.value.fields)
    return raised.value.fields


def saying(dialect: str, *parts: Any, role: str = "user") -> dict[str, Any]:
    key = "input" if dialect == "openai-responses" else "messages"
    return (
        {key: [{"role": role, "content": list(parts)}], "max_tokens": 9}
        if key == "messages"
        else {key: [{"role": role, "content": list(parts)}]}
    )


CASES: list[tuple[str, str, dict[str, Any], list[str]]] = [
    ("openai-chat", "anthropic", asking("openai-chat", logit_bias={"1": 2}), ["logit_bias"]),
    ("openai-chat", "anthropic", asking("openai-chat", seed=1, n=2, logprobs=True), ["logprobs", "seed", "n (…)"]),
    ("openai-chat", "openai-responses", asking("openai-chat", stop=["x"]), ["stop"]),
    ("openai-chat", "anthropic", asking("openai-chat", temperature=1.5), ["temperature (…)"]),
    (
        "openai-chat",
        "anthropic",
        asking("openai-chat", response_format={"type": "json_object"}),
        ["response_format (…)"],
    ),
    ("openai-chat", "ollama", asking("openai-chat", tool_choice="required"), ["tool_choice (…)"]),
    ("openai-chat", "ollama", asking("openai-chat", user="u"), ["user"]),
    ("openai-chat", "gemini", asking("openai-chat", parallel_tool_calls=False), ["parallel_tool_calls (…)"]),
    ("openai-chat", "gemini", asking("openai-chat", functions=[{"name": "f"}]), ["functions"]),
    ("openai-chat", "anthropic", asking("openai-chat", tools=[{"type": "custom", "custom": {}}]), ["tools[0] (…)"]),
    ("openai-chat", "anthropic", asking("openai-chat", tool_choice={"type": "allowed_tools"}), ["tool_choice (…)"]),
    ("openai-chat", "anthropic", asking("openai-chat", reasoning_effort="enormous"), ["reasoning_effort (…)"]),
    (
        "openai-chat",
        "anthropic",
        asking("openai-chat", tool_choice={"type": "function", "function": {"name": "f", "odd": 1}, "more": 1}),
        ["tool_choice.more", "tool_choice.function.odd"],
    ),
    (
        "openai-responses",
        "anthropic",
        asking("openai-responses", tool_choice={"type": "function", "name": "f", "odd": 1}),
        ["tool_choice.odd"],
    ),
    (
        "openai-chat",
        "anthropic",
        saying("openai-chat", {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}),
        ["messages[0].content[0] (…)"],
    ),
    (
        "openai-chat",
        "anthropic",
        saying("openai-chat", {"type": "image_url", "image_url": {"url": "http://x/a.png", "detail": "high"}}),
        ["messages[0].content[0] (…)"],
    ),
    (
        "openai-chat",
        "ollama",
        saying("openai-chat", {"type": "image_url", "image_url": {"url": "http://x/a.png"}}),
        ["messages[0].content[0] (…)"],
    ),
    (
        "openai-chat",
        "gemini",
        {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]},
        ["messages[1] (…)"],
    ),
    (
        "openai-chat",
        "gemini",
        {"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]},
        ["messages[0] (…)"],
    ),
    (
        "openai-chat",
        "anthropic",
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{"}}]}]},
        ["messages[0].tool_calls[0] (…)"],
    ),
    ("openai-chat", "anthropic", {"messages": [{"role": "user", "name": "Bo", "content": "a"}]}, ["messages[0].name"]),
    ("openai-responses", "openai-chat", asking("openai-responses", previous_response_id="r"), ["previous_response_id"]),
    ("openai-responses", "openai-chat", asking("openai-responses", truncation="auto"), ["truncation"]),
    ("openai-responses", "openai-chat", asking("openai-responses", max_tool_calls=3), ["max_tool_calls"]),
    ("openai-responses", "openai-chat", asking("openai-responses", include=["web_search_call.results"]), ["include"]),
    (
        "openai-responses",
        "openai-chat",
        asking("openai-responses", reasoning={"summary": "detailed"}),
        ["reasoning.summary (…)"],
    ),
    ("openai-responses", "gemini", asking("openai-responses", tools=[{"type": "web_search"}]), ["tools[0] (…)"]),
    (
        "openai-responses",
        "ollama",
        asking("openai-responses", tools=[{"type": "function", "name": "f", "parameters": {}, "strict": True}]),
        ["tools[0] (…)"],
    ),
    ("openai-responses", "anthropic", {"input": [{"type": "item_reference", "id": "x"}]}, ["input[0] (…)"]),
    (
        "openai-responses",
        "anthropic",
        saying("openai-responses", {"type": "input_file", "file_id": "f"}),
        ["input[0].content[0] (…)"],
    ),
    (
        "openai-responses",
        "openai-chat",
        {"input": [{"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "sig"}]},
        ["input[0] (…)"],
    ),
    ("anthropic", "openai-chat", asking("anthropic", top_k=3), ["top_k"]),
    ("anthropic", "openai-chat", asking("anthropic", container="c", mcp_servers=[{}]), ["container", "mcp_servers"]),
    (
        "anthropic",
        "openai-chat",
        saying("anthropic", {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}),
        ["messages[0].content[0].cache_control"],
    ),
    (
        "anthropic",
        "openai-chat",
        saying("anthropic", {"type": "document", "source": {}}),
        ["messages[0].content[0] (…)"],
    ),
    (
        "anthropic",
        "gemini",
        saying("anthropic", {"type": "redacted_thinking", "data": "x"}, role="assistant"),
        ["messages[0].content[0] (…)"],
    ),
    (
        "anthropic",
        "openai-chat",
        asking("anthropic", tools=[{"type": "bash_20250124", "name": "bash"}]),
        ["tools[0] (…)"],
    ),
    ("anthropic", "openai-chat", asking("anthropic", thinking={"type": "between_tools"}), ["thinking (…)"]),
    ("anthropic", "ollama", asking("anthropic", tool_choice={"type": "tool", "name": "f"}), ["tool_choice (…)"]),
]


@pytest.mark.parametrize(("from_", "to", "body", "names"), CASES)
def test_what_cannot_be_said_is_refused_by_its_name(
    from_: str, to: str, body: dict[str, Any], names: list[str]
) -> None:
    told = refused(from_, to, body)

    assert [name.partition(" (")[0] + (" (…)" if " (" in name else "") for name in told] == names


def test_everything_that_cannot_be_said_is_named_at_once() -> None:
    body = {
        "messages": [{"role": "user", "content": [{"type": "file", "file": {}}, {"type": "video", "x": 1}]}],
        "tools": [{"type": "web_search"}],
        "logit_bias": {"1": 1},
        "seed": 3,
    }

    assert refused("openai-chat", "anthropic", body) == [
        "messages[0].content[0] (file)",
        "messages[0].content[1] (video)",
        "tools[0] (web_search)",
        "logit_bias",
        "seed",
    ]


@pytest.mark.parametrize(
    "more",
    [{"logit_bias": None}, {"logprobs": False}, {"functions": []}, {"metadata": {}}, {"service_tier": "auto"}],
)
def test_what_asks_for_nothing_is_no_reason_to_refuse(more: Any) -> None:
    bare = translate(asking("openai-chat"), "openai-chat", "anthropic", "m")

    assert translate(asking("openai-chat", **more), "openai-chat", "anthropic", "m") == bare


MALFORMED: list[tuple[str, Any]] = [
    ("openai-chat", {"messages": ["Hi"]}),
    ("openai-chat", {"messages": [{"content": "Hi"}]}),
    ("openai-chat", {"messages": [{"role": "user", "content": 1}]}),
    ("openai-chat", {"messages": [{"role": "user", "content": [{"text": "no type"}]}]}),
    ("openai-chat", {"messages": [{"role": "tool", "content": "no id"}]}),
    ("openai-chat", {"messages": [], "temperature": "warm"}),
    ("openai-chat", {"messages": [], "max_tokens": True}),
    ("openai-chat", {"messages": [], "tools": {}}),
    ("openai-chat", {"messages": [], "parallel_tool_calls": 1}),
    ("openai-responses", {"input": 1}),
    ("openai-responses", {"input": [{"type": "function_call", "name": "f"}]}),
    ("anthropic", {"messages": [], "system": {}}),
    ("anthropic", {"messages": [], "thinking": "yes"}),
    ("anthropic", {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": 1}]}]}),
]


@pytest.mark.parametrize(("dialect", "body"), MALFORMED)
def test_a_request_that_is_none_is_refused(dialect: str, body: Any) -> None:
    with pytest.raises(InputError) as raised:
        translate(body, dialect, "gemini", "m")
    assert not isinstance(raised.value, Untranslatable)


WORDS = st.sampled_from([
    "messages", "input", "role", "content", "type", "text", "user", "assistant", "system", "tool", "image_url",
    "input_text", "tool_use", "tool_result", "thinking", "function", "function_call", "reasoning", "summary", "tools",
    "tool_choice", "name", "arguments", "source", "url", "base64", "id", "tool_calls", "output_config", "effort",
    "response_format", "json_schema", "schema", "temperature", "stop", "max_tokens", "message", "call_id", "output",
])  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | WORDS | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(WORDS, VALUES, max_size=4), st.sampled_from(READ), st.sampled_from(WRITTEN))
def test_whatever_is_sent_is_translated_or_refused(body: dict[str, Any], from_: str, to: str) -> None:
    try:
        written = translate(body, from_, to, "m")
    except InputError:
        return
    assert msgspec.json.encode(written.body)
