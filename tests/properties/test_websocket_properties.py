"""Whatever a client sends, in whatever order: every op is answered once, the socket goes on, and no task is left."""

import asyncio
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sockets import AsgiSocket

from patinox import StreamingConfig, StreamManager
from patinox.asgi import PatinoxApp
from patinox.config import SseConfig
from patinox.testing.fakes import turns
from patinox.transports.websocket.protocol import OPS, Malformed, parse

names = st.sampled_from(["s1", "s2", "c", "", "no such", "x" * 200])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
chunks = st.one_of(
    st.text(max_size=8), values,
    st.fixed_dictionaries({"event": st.sampled_from(["text", "json", "binary", "error", "end"]), "data": values}),
)  # fmt: skip
afters = st.sampled_from(["start", "now", "snapshot", "a-1", "a-0.1", "nonsense", "EPOCH-1", "EPOCH-2.1"])
fields = st.fixed_dictionaries(
    {},
    optional={
        "stream": names | values,
        "channel": names,
        "id": names | afters,
        "after": afters | values,
        "format": st.sampled_from(["patinox", "text", "openai-chat", "anthropic", "ai-sdk", "none"]),
        "openers": st.booleans() | values,
        "chunk": chunks,
        "seq": st.integers(-1, 3),
        "producer": st.fixed_dictionaries({"id": st.text(max_size=3)}, optional={"epoch": values, "seq": values}),
        "outcome": st.sampled_from(["complete", "failed", "cancelled", "splendid"]),
        "error": values,
        "reason": st.text(max_size=5),
        "metadata": values,
        "ttl": values,
    },
)
useful = st.one_of(
    st.builds(lambda s, a: {"op": "subscribe", "stream": s, "after": a}, names, afters),
    st.builds(lambda a: {"op": "subscribe", "channel": "c", "after": a}, afters),
    st.builds(lambda s, c: {"op": "write", "stream": s, "chunk": c}, names, chunks),
    st.builds(lambda s: {"op": "create", "id": s, "channel": "c"}, names),
    st.builds(lambda o, s: {"op": o, "stream": s}, st.sampled_from(["unsubscribe", "finish", "cancel"]), names),
)
ops = useful | st.builds(lambda op, rest: {"op": op, **rest}, st.sampled_from([*OPS, "dance"]), fields)


@given(st.lists(ops, max_size=25))
@settings(max_examples=60, deadline=None)
def test_every_op_is_answered_once_and_nothing_is_left(sequence: list[dict[str, Any]]) -> None:
    asyncio.run(_carry_out(sequence))


async def _carry_out(sequence: list[dict[str, Any]]) -> None:
    config = StreamingConfig(drain_timeout_s=0, buffer_size=4, sse=SseConfig(heartbeat_interval_s=0))
    async with StreamManager(config) as manager:
        stream = await manager.create(id="s1", channel="c")
        await stream.write("a")
        before = asyncio.all_tasks()
        async with AsgiSocket(PatinoxApp(manager)) as socket:
            for ref, op in enumerate(sequence):
                text = msgspec.json.encode({**op, "ref": ref}).decode().replace("EPOCH", stream.epoch)
                socket.send_text(text)
                await turns(ref % 3)
            socket.send("ping", ref="done")
            await socket.told(lambda said: said.get("ref") == "done")
            await turns(30)  # what is written goes down a lane of its own
            answers = [said["ref"] for said in socket.ops if "ref" in said]
            assert sorted(ref for ref in answers if ref != "done") == list(range(len(sequence)))
            assert socket.close_code is None
        await turns()
        assert asyncio.all_tasks() == before
        assert all(stream.feed.readers == 0 for stream in manager)
        assert len(manager.fanout) == 0


@given(st.text() | st.builds(lambda value: msgspec.json.encode(value).decode(), values))
def test_any_text_is_an_op_or_is_refused(text: str) -> None:
    try:
        name = type(parse(text)).__name__.lower()
    except Malformed:
        name = "ping"
    assert name in OPS
