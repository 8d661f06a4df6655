"""Whatever comes in, a parser gives what it can or an error of ours: 120,000 inputs, the same ones in every run.

Half of them are random bytes, half are what the parser understands, with a few bytes changed, cut, doubled or moved.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest

from patinox.config.units import parse_duration
from patinox.core.codec import chunk_from_wire, parse_event_id
from patinox.core.producers import parse_producer
from patinox.errors import PatinoxError
from patinox.formats.registry import builtin
from patinox.server.auth.credentials import credential_of
from patinox.transports.negotiation import negotiate
from patinox.transports.origins import Door
from patinox.transports.websocket import protocol

FORMATS = builtin()
INPUTS = 120_000

SSE = b'id: a-1\r\nevent: text\r\ndata: {"text": "h\xc3\xa9llo"}\n\n: note\ndata: x\ndata: y\n\n'
CHAT = (
    b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hi","tool_calls":'
    b'[{"index":0,"id":"t","function":{"name":"f","arguments":"{\\"a\\""}}]},"finish_reason":null}],'
    b'"usage":{"prompt_tokens":1}}\n\ndata: [DONE]\n\n'
)
ANTHROPIC = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","role":"assistant","usage":{}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text"}}\n\n'
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
GEMINI = b'data: {"candidates":[{"content":{"parts":[{"text":"a"},{"functionCall":{"name":"f","args":{}}}]}}]}\r\n\r\n'
OLLAMA = (
    b'{"model":"m","message":{"role":"assistant","content":"a"},"done":false}\n{"done":true,"done_reason":"stop"}\n'
)
SEEDS = {
    "openai-chat": CHAT,
    "openai-responses": b'event: response.created\ndata: {"type":"response.created","response":{}}\n\n',
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "ollama": OLLAMA,
    "ai-sdk": b'data: {"type":"text-delta","id":"1","delta":"a"}\n\n',
    "ag-ui": b'data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"a"}\n\n',
    "patinox": SSE,
    "ndjson": b'{"id":"a-1","event":"text","data":{"text":"a"}}\n',
}
BREAKERS = (b"\0", b"\r", b"\n", b"\xff", b'"', b"{" * 50, b"[" * 2000, b"\xe2\x80\xa8", b"9" * 30)


def read(name: str) -> Callable[[bytes], object]:
    def parse(data: bytes) -> object:
        reader = FORMATS[name].reader()
        half = len(data) // 2
        return [*reader.feed(data[:half]), *reader.feed(data[half:]), *reader.close(), reader.ending]

    return parse


def on_text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("latin-1"))


def on_json(data: bytes) -> object:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return chunk_from_wire(value)


def on_scope(data: bytes) -> object:
    name, _, value = data.partition(b":")
    scope = {"headers": [(name.lower(), value), (b"host", data), (b"origin", value)], "query_string": data,
             "subprotocols": [data.decode("latin-1")], "server": ("127.0.0.1", 1)}  # fmt: skip
    return [Door().refusal(scope), Door(strict=True).refusal(scope), credential_of(scope, "session")]


def duration(text: str) -> object:
    try:
        return parse_duration(text)
    except ValueError:
        return None


PARSERS: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    **{name: (read(name), SEEDS.get(name, b"plain text\n")) for name in FORMATS},
    "event id": (on_text(parse_event_id), b"k3Jd82Qw-17.2"),
    "chunk": (on_json, b'{"event": "block.delta", "data": {"index": 0, "text": "a"}}'),
    "op": (
        on_text(protocol.parse),
        b'{"op": "write", "stream": "s", "chunk": {"event": "text", "data": "a"}, "ref": 1}',
    ),
    "producer": (on_text(lambda text: parse_producer(*[*text.split(","), "", "", ""][:3])), b"me,1,7"),
    "accept": (
        on_text(lambda text: negotiate(text, None, FORMATS, ids=True, retry_ms=1)),
        b"text/event-stream;q=0.5, */*",
    ),
    "scope": (on_scope, b"authorization: Bearer abc"),
    "duration": (on_text(duration), b"1.5h"),
}


def changed(seed: bytes, dice: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(4):
            case 0:
                data[at : at + 1] = dice.randbytes(1)
            case 1:
                del data[at : at + dice.randint(1, 9)]
            case 2:
                data[at:at] = data[dice.randrange(len(data) + 1) :][:20]
            case _:
                data[at:at] = dice.choice(BREAKERS)
    return bytes(data)


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_gives_what_it_can_or_an_error_of_ours(name: str) -> None:
    parse, seed = PARSERS[name]
    dice = random.Random(f"patinox {name}")
    for number in range(INPUTS // len(PARSERS)):
        data = changed(seed, dice) if number % 2 else dice.randbytes(dice.randint(0, 60))
        try:
            parse(data)
        except PatinoxError as error:
            if error.http_status >= 500:
                pytest.fail(f"{data!r}: {error!r}")
        except Exception as error:
            pytest.fail(f"{data!r}: {error!r}")


STEPS = {name: (parse, seed) for name, (parse, seed) in PARSERS.items() if name in FORMATS}


def steps(parse: Callable[[bytes], object], data: bytes) -> int:
    """Calls made while it parses, of C functions too: the same number in every run, unlike time."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(note)
    try:
        parse(data)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", STEPS)
def test_ten_times_the_input_takes_ten_times_the_steps(name: str) -> None:
    parse, seed = STEPS[name]
    small, large = steps(parse, seed * 100), steps(parse, seed * 1000)
    assert large < 11 * small + 1000
