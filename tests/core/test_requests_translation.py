"""One conversation, asked in each client's dialect, as each upstream's dialect has it."""

from __future__ import annotations

from typing import Any

import pytest

from patinox.gateway.requests import translate

PNG = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ANSWER = {"type": "object", "properties": {"warm": {"type": "boolean"}}}

CHAT: dict[str, Any] = {
    "model": "ignored",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this, and where?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ],
        },
        {
            "role": "assistant",
            "content": "I look it up.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
                {"id": "c2", "type": "function", "function": {"name": "now", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "12 °C"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "noon"}]},
        {"role": "user", "content": "So?"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "weather", "description": "Weather.", "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "now"}},
    ],
    "tool_choice": "auto",
    "max_completion_tokens": 200,
    "temperature": 0.5,
    "top_p": 0.9,
    "reasoning_effort": "low",
    "stream": True,
    "stream_options": {"include_usage": True},
}
RESPONSES: dict[str, Any] = {
    "model": "ignored",
    "instructions": "Be brief.",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this, and where?"},
                {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PNG}"},
            ],
        },
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_1",
            "status": "completed",
            "content": [{"type": "output_text", "text": "I look it up.", "annotations": [], "logprobs": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": '{"city": "Oslo"}'},
        {"type": "function_call", "call_id": "c2", "name": "now", "arguments": ""},
        {"type": "function_call_output", "call_id": "c1", "output": "12 °C"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "noon"}]},
        {"role": "user", "content": "So?"},
    ],
    "tools": [
        {"type": "function", "name": "weather", "description": "Weather.", "parameters": SCHEMA, "strict": False},
        {"type": "function", "name": "now", "parameters": None, "strict": None},
    ],
    "tool_choice": "auto",
    "max_output_tokens": 200,
    "temperature": 0.5,
    "top_p": 0.9,
    "reasoning": {"effort": "low"},
    "stream": True,
    "store": False,
}
MESSAGES: dict[str, Any] = {
    "model": "ignored",
    "system": [{"type": "text", "text": "Be brief."}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this, and where?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look it up."},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "c2", "name": "now", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "12 °C"},
                {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "noon"}]},
                {"type": "text", "text": "So?"},
            ],
        },
    ],
    "tools": [
        {"name": "weather", "description": "Weather.", "input_schema": SCHEMA},
        {"type": "custom", "name": "now", "input_schema": {"type": "object", "properties": {}}},
    ],
    "tool_choice": {"type": "auto"},
    "max_tokens": 200,
    "temperature": 0.5,
    "top_p": 0.9,
    "output_config": {"effort": "low"},
    "stream": True,
}
ASKED = {"openai-chat": CHAT, "openai-responses": RESPONSES, "anthropic": MESSAGES}

NOTHING = {"type": "object", "properties": {}}
TOLD: dict[str, tuple[str, dict[str, Any]]] = {
    "openai-chat": (
        "/chat/completions",
        {
            "model": "m",
            "messages": [
                CHAT["messages"][0],
                CHAT["messages"][1],
                {
                    "role": "assistant",
                    "content": "I look it up.",
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{…}"}},
                        {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "12 °C"},
                {"role": "tool", "tool_call_id": "c2", "content": "noon"},
                {"role": "user", "content": "So?"},
            ],
            "tools": [
                {"type": "function", "function": {"name": "weather", "description": "Weather.", "parameters": SCHEMA}},
                {"type": "function", "function": {"name": "now", "parameters": NOTHING}},
            ],
            "tool_choice": "auto",
            "max_tokens": 200,
            "temperature": 0.5,
            "top_p": 0.9,
            "reasoning_effort": "low",
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    "openai-responses": (
        "/responses",
        {
            "model": "m",
            "input": [
                {
                    "type": "message",
                    "role": "system",
                    "content": [{"type": "input_text", "text": "Be brief."}],
                },
                {"type": "message", **RESPONSES["input"][0]},
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "I look it up."}],
                },
                {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{…}"},
                {"type": "function_call", "call_id": "c2", "name": "now", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "12 °C"},
                {"type": "function_call_output", "call_id": "c2", "output": "noon"},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "So?"}]},
            ],
            "tools": [
                {
                    "type": "function",
                    "name": "weather",
                    "description": "Weather.",
                    "parameters": SCHEMA,
                    "strict": False,
                },
                {"type": "function", "name": "now", "parameters": NOTHING, "strict": False},
            ],
            "tool_choice": "auto",
            "max_output_tokens": 200,
            "temperature": 0.5,
            "top_p": 0.9,
            "reasoning": {"effort": "low"},
            "store": False,
            "stream": True,
        },
    ),
    "anthropic": (
        "/messages",
        {
            "model": "m",
            "max_tokens": 200,
            "system": "Be brief.",
            "messages": [
                MESSAGES["messages"][0],
                MESSAGES["messages"][1],
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "c1",
                            "content": [{"type": "text", "text": "12 °C"}],
                        },
                        MESSAGES["messages"][2]["content"][1],
                        {"type": "text", "text": "So?"},
                    ],
                },
            ],
            "tools": [MESSAGES["tools"][0], {"name": "now", "input_schema": NOTHING}],
            "tool_choice": {"type": "auto"},
            "temperature": 0.5,
            "top_p": 0.9,
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "low"},
            "stream": True,
        },
    ),
    "gemini": (
        "/models/m:streamGenerateContent?alt=sse",
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"text": "What is this, and where?"},
                        {"inlineData": {"mimeType": "image/png", "data": PNG}},
                    ],
                },
                {
                    "role": "model",
                    "parts": [
                        {"text": "I look it up."},
                        {
                            "functionCall": {"id": "c1", "name": "weather", "args": {"city": "Oslo"}},
                            "thoughtSignature": "skip_thought_signature_validator",
                        },
                        {"functionCall": {"id": "c2", "name": "now", "args": {}}},
                    ],
                },
                {
                    "role": "user",
                    "parts": [
                        {"functionResponse": {"id": "c1", "name": "weather", "response": {"result": "12 °C"}}},
                        {"functionResponse": {"id": "c2", "name": "now", "response": {"result": "noon"}}},
                        {"text": "So?"},
                    ],
                },
            ],
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "weather", "description": "Weather.", "parametersJsonSchema": SCHEMA},
                        {"name": "now"},
                    ]
                }
            ],
            "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
            "generationConfig": {
                "maxOutputTokens": 200,
                "temperature": 0.5,
                "topP": 0.9,
                "thinkingConfig": {"thinkingLevel": "LOW"},
            },
        },
    ),
    "ollama": (
        "/api/chat",
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "What is this, and where?", "images": [PNG]},
                {
                    "role": "assistant",
                    "content": "I look it up.",
                    "tool_calls": [
                        {"function": {"name": "weather", "arguments": {"city": "Oslo"}}},
                        {"function": {"name": "now", "arguments": {}}},
                    ],
                },
                {"role": "tool", "content": "12 °C", "tool_name": "weather"},
                {"role": "tool", "content": "noon", "tool_name": "now"},
                {"role": "user", "content": "So?"},
            ],
            "tools": [
                {"type": "function", "function": {"name": "weather", "description": "Weather.", "parameters": SCHEMA}},
                {"type": "function", "function": {"name": "now", "parameters": NOTHING}},
            ],
            "options": {"num_predict": 200, "temperature": 0.5, "top_p": 0.9},
            "think": "low",
            "stream": True,
        },
    ),
}


def settled(value: Any) -> Any:
    """Without what is said in several ways: how argument text is spaced, a schema that says nothing."""
    if isinstance(value, dict):
        out = {key: settled(item) for key, item in value.items()}
        if isinstance(out.get("arguments"), str) and len(out["arguments"]) > 2:
            out["arguments"] = "{…}"
        return {key: item for key, item in out.items() if (key, item) != ("parametersJsonSchema", NOTHING)}
    return [settled(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("to", TOLD)
@pytest.mark.parametrize("from_", ASKED)
def test_a_conversation_with_tools_and_an_image_is_the_same_everywhere(from_: str, to: str) -> None:
    written = translate(ASKED[from_], from_, to, "m")

    path, body = TOLD[to]
    assert written.path == path
    assert settled(written.body) == settled(body)


def asking(dialect: str, **more: Any) -> dict[str, Any]:
    """A request of one word."""
    if dialect == "openai-responses":
        return {"input": "Hi", **more}
    return {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9, **more}


def test_a_name_is_put_into_geminis_path_and_nothing_else() -> None:
    written = translate(asking("anthropic"), "anthropic", "gemini", "tuned/x?y")

    assert written.path == "/models/tuned%2Fx%3Fy:streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("url", "key"),
    [("https://api.openai.com/v1", "max_completion_tokens"), ("http://127.0.0.1:8000/v1", "max_tokens")],
)
def test_the_limit_is_called_what_the_server_knows(url: str, key: str) -> None:
    body = translate(asking("anthropic"), "anthropic", "openai-chat", "m", url).body

    assert {name: body[name] for name in body if name.startswith("max")} == {key: 9}


def test_anthropic_is_given_the_limit_that_it_requires() -> None:
    body = translate({"messages": [{"role": "user", "content": "Hi"}]}, "openai-chat", "anthropic", "m").body

    assert body["max_tokens"] == 8192


CHOICES = [
    ("openai-chat", "required", "anthropic", {"type": "any"}),
    ("openai-chat", "none", "anthropic", {"type": "none"}),
    (
        "openai-chat",
        {"type": "function", "function": {"name": "f"}},
        "anthropic",
        {"type": "tool", "name": "f"},
    ),
    ("openai-responses", {"type": "function", "name": "f"}, "anthropic", {"type": "tool", "name": "f"}),
    (
        "openai-responses",
        {"type": "function", "name": "f"},
        "openai-chat",
        {"type": "function", "function": {"name": "f"}},
    ),
    ("anthropic", {"type": "any"}, "openai-chat", "required"),
    ("anthropic", {"type": "tool", "name": "f"}, "openai-responses", {"type": "function", "name": "f"}),
]


@pytest.mark.parametrize(("from_", "choice", "to", "written"), CHOICES)
def test_the_choice_of_a_tool(from_: str, choice: Any, to: str, written: Any) -> None:
    assert translate(asking(from_, tool_choice=choice), from_, to, "m").body["tool_choice"] == written


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("required", {"mode": "ANY"}),
        ("none", {"mode": "NONE"}),
        ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_the_choice_of_a_tool_at_gemini(choice: Any, config: Any) -> None:
    body = translate(asking("openai-chat", tool_choice=choice), "openai-chat", "gemini", "m").body

    assert body["toolConfig"] == {"functionCallingConfig": config}


def test_a_tool_that_must_not_be_called_is_not_told_to_ollama() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    body = translate(asking("openai-chat", tool_choice="none", tools=tools), "openai-chat", "ollama", "m").body

    assert "tools" not in body


SETTINGS = [
    ("openai-chat", {"stop": "END"}, "anthropic", {"stop_sequences": ["END"]}),
    ("openai-chat", {"stop": ["a", "b"]}, "gemini", {"generationConfig": {"stopSequences": ["a", "b"]}}),
    ("openai-chat", {"stop": ["a"], "seed": 0}, "ollama", {"options": {"stop": ["a"], "seed": 0}}),
    ("anthropic", {"stop_sequences": ["END"]}, "openai-chat", {"stop": ["END"]}),
    ("anthropic", {"top_k": 5}, "gemini", {"generationConfig": {"topK": 5}}),
    ("anthropic", {"top_k": 5}, "ollama", {"options": {"top_k": 5}}),
    ("openai-chat", {"temperature": 0}, "anthropic", {"temperature": 0}),
    ("openai-chat", {"n": 2}, "gemini", {"generationConfig": {"candidateCount": 2}}),
    ("openai-chat", {"n": 1}, "anthropic", {}),
    ("openai-chat", {"user": "u"}, "anthropic", {"metadata": {"user_id": "u"}}),
    ("anthropic", {"metadata": {"user_id": "u"}}, "openai-responses", {"safety_identifier": "u"}),
    (
        "openai-chat",
        {"reasoning_effort": "high"},
        "anthropic",
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
    ),
    ("openai-chat", {"reasoning_effort": "none"}, "anthropic", {"thinking": {"type": "disabled"}}),
    ("openai-chat", {"reasoning_effort": "none"}, "ollama", {"think": False}),
    ("openai-responses", {"reasoning": {"effort": "max"}}, "ollama", {"think": "high"}),
    (
        "openai-responses",
        {"reasoning": {"effort": "high", "summary": "auto"}},
        "gemini",
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True}}},
    ),
    (
        "anthropic",
        {"thinking": {"type": "enabled", "budget_tokens": 3000}},
        "gemini",
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 3000, "includeThoughts": True}}},
    ),
    (
        "anthropic",
        {"thinking": {"type": "enabled", "budget_tokens": 3000}},
        "openai-chat",
        {"reasoning_effort": "medium"},
    ),
    (
        "anthropic",
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
        "openai-responses",
        {"reasoning": {"effort": "max", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
    ),
    (
        "openai-chat",
        {"parallel_tool_calls": False, "tools": [{"type": "function", "function": {"name": "f"}}]},
        "anthropic",
        {
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            "tools": [{"name": "f", "input_schema": NOTHING}],
        },
    ),
    (
        "anthropic",
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        "openai-chat",
        {"tool_choice": "auto", "parallel_tool_calls": False},
    ),
    (
        "openai-chat",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": ANSWER, "strict": True}}},
        "openai-responses",
        {"text": {"format": {"type": "json_schema", "name": "a", "schema": ANSWER, "strict": True}}},
    ),
    (
        "openai-responses",
        {"text": {"format": {"type": "json_schema", "name": "a", "schema": ANSWER}}},
        "anthropic",
        {"output_config": {"format": {"type": "json_schema", "schema": ANSWER}}},
    ),
    (
        "openai-chat",
        {"response_format": {"type": "json_object"}},
        "gemini",
        {"generationConfig": {"responseMimeType": "application/json"}},
    ),
    (
        "anthropic",
        {"output_config": {"format": {"type": "json_schema", "schema": ANSWER}}},
        "ollama",
        {"format": ANSWER},
    ),
    (
        "openai-responses",
        {"text": {"verbosity": "low"}, "truncation": "disabled", "service_tier": "auto", "background": True},
        "openai-chat",
        {"verbosity": "low"},
    ),
]


@pytest.mark.parametrize(("from_", "setting", "to", "written"), SETTINGS)
def test_a_setting_is_said_in_the_other_dialect(from_: str, setting: Any, to: str, written: Any) -> None:
    bare = translate(asking(from_), from_, to, "m").body
    body = translate(asking(from_, **setting), from_, to, "m").body

    limits = {"generationConfig": ("maxOutputTokens",), "options": ("num_predict",)}
    more = {key: value for key, value in body.items() if bare.get(key) != value}
    for key, names in limits.items():
        if key in more:
            more[key] = {name: value for name, value in more[key].items() if name not in names}
    assert more == written


def test_a_model_of_gemini_that_has_no_levels_is_given_a_budget() -> None:
    body = translate(asking("openai-chat", reasoning_effort="high"), "openai-chat", "gemini", "gemini-2.5-pro").body

    assert body["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 24_576}


def image(dialect: str, url: str) -> dict[str, Any]:
    """A request with one image by its address."""
    if dialect == "openai-responses":
        return {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]}
    part = (
        {"type": "image_url", "image_url": {"url": url}}
        if dialect == "openai-chat"
        else {"type": "image", "source": {"type": "url", "url": url}}
    )
    return {"messages": [{"role": "user", "content": [part]}], "max_tokens": 9}


URL = "https://example.org/a.jpg?size=1"
IMAGES = {
    "openai-chat": {"type": "image_url", "image_url": {"url": URL}},
    "openai-responses": {"type": "input_image", "image_url": URL, "detail": "auto"},
    "anthropic": {"type": "image", "source": {"type": "url", "url": URL}},
    "gemini": {"fileData": {"fileUri": URL, "mimeType": "image/jpeg"}},
}


@pytest.mark.parametrize("to", IMAGES)
@pytest.mark.parametrize("from_", ASKED)
def test_an_image_by_its_address(from_: str, to: str) -> None:
    body = translate(image(from_, URL), from_, to, "m").body

    messages: Any = body.get("messages", body.get("input", body.get("contents")))
    message = messages[0]
    assert message.get("content", message.get("parts")) == [IMAGES[to]]


def failed_result() -> dict[str, Any]:
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": "no such city", "is_error": True}
    return asking(
        "anthropic", messages=[{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    )


def test_that_a_tool_failed_is_told_where_there_is_no_flag_for_it() -> None:
    bodies = {to: translate(failed_result(), "anthropic", to, "m").body for to in TOLD}

    assert bodies["openai-chat"]["messages"][1]["content"] == '{"error":"no such city"}'
    assert bodies["openai-responses"]["input"][1]["output"] == '{"error":"no such city"}'
    assert bodies["ollama"]["messages"][1]["content"] == '{"error":"no such city"}'
    assert bodies["anthropic"]["messages"][1]["content"][0]["is_error"] is True
    response = bodies["gemini"]["contents"][1]["parts"][0]["functionResponse"]["response"]
    assert response == {"error": "no such city"}


def test_an_image_that_a_tool_gave_goes_where_one_may_stand() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    result = {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "image", "source": source}]}
    body = asking("anthropic", messages=[{"role": "user", "content": [result]}])

    (item,) = translate(body, "anthropic", "openai-responses", "m").body["input"]

    assert item["output"] == [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}]


def thinking(*parts: Any) -> dict[str, Any]:
    said = {"type": "text", "text": "Yes."}
    return asking("anthropic", messages=[{"role": "assistant", "content": [*parts, said]}])


def test_a_signed_thought_comes_back_as_what_it_was() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
    body = translate(thinking(thought), "anthropic", "openai-responses", "m").body

    assert body["input"][0] == {
        "type": "reasoning",
        "id": "rs_messages_0_content_0",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "sig",
    }
    assert body["include"] == ["reasoning.encrypted_content"]
    item = {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Hm."}]}
    asked = {"input": [{**item, "encrypted_content": "sig"}, {"role": "assistant", "content": "Yes."}]}
    assert translate(asked, "openai-responses", "anthropic", "m").body["messages"][0]["content"][0] == thought


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("openai-chat", {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}),
        ("ollama", {"role": "assistant", "content": "Yes.", "thinking": "Hm."}),
        ("gemini", {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"text": "Yes."}]}),
    ],
)
def test_a_thought_that_can_be_read_stays_one(to: str, said: Any) -> None:
    body = translate(thinking({"type": "thinking", "thinking": "Hm.", "signature": "sig"}), "anthropic", to, "m").body

    assert body.get("messages", body.get("contents")) == [said]


def test_an_answer_of_the_official_client_can_be_sent_back_as_it_is() -> None:
    said: dict[str, Any] = {
        "role": "assistant",
        "content": "Yes.",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "tool_calls": None,
    }
    body = translate({"messages": [said]}, "openai-chat", "anthropic", "m").body

    assert body["messages"] == [{"role": "assistant", "content": [{"type": "text", "text": "Yes."}]}]


def test_messages_of_one_role_that_follow_one_another_become_one_where_roles_take_turns() -> None:
    asked = {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}

    assert len(translate(asked, "openai-chat", "anthropic", "m").body["messages"]) == 1
    assert len(translate(asked, "openai-chat", "gemini", "m").body["contents"]) == 1
    assert len(translate(asked, "openai-chat", "ollama", "m").body["messages"]) == 2
