"""`patinox chat` and `patinox tail` as processes, before a real server, a scripted model and breaking connections."""

import asyncio
import json
import os
import pty
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from tests.browser.scripted_upstream import ScriptedUpstream
from tests.live_server import live

from patinox import Json, Outcome, StreamingConfig, StreamManager
from patinox.config import Config, SseConfig
from patinox.core.chunks import Error
from patinox.core.events import BlockDelta, BlockStart
from patinox.gateway.client import UpstreamClient
from patinox.gateway.upstreams import configured
from patinox.manager import ActiveStream
from patinox.server.app import ServerApp
from patinox.testing.proxy import Fault, FaultProxy

pytestmark = pytest.mark.server

WORDS = ["Grüße ", "an ", "alle", "\u2028Welt", " und ", "noch ", "ein ", "paar."]


class Done:
    """What a command left behind."""

    def __init__(self, code: int | None, out: bytes, err: bytes) -> None:
        self.code, self.out, self.err = code, out.decode(), err.decode()


class Place:
    """A server whose only upstream is scripted, behind a proxy; and commands that are run against it."""

    def __init__(self, manager: StreamManager, proxy: FaultProxy, upstream: ScriptedUpstream) -> None:
        self.manager = manager
        self.proxy = proxy
        self.upstream = upstream

    async def start(self, *words: str, out: int = PIPE, env: dict[str, str] | None = None) -> Process:
        """A command under way."""
        clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "patinox.cli.main", *words,
            stdin=PIPE, stdout=out, stderr=PIPE,
            env={**clean, "PATINOX_SERVER": self.proxy.url, "TERM": "xterm", "COLUMNS": "80", **(env or {})},
        )  # fmt: skip

    async def run(self, *words: str, typed: bytes = b"") -> Done:
        """A command to its end."""
        process = await self.start(*words)
        out, err = await process.communicate(typed)
        return Done(process.returncode, out, err)

    @property
    def streams(self) -> list[ActiveStream]:
        return list(self.manager)


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as scripted:
        scripted.words = list(WORDS)
        yield scripted


@pytest.fixture
async def place(upstream: ScriptedUpstream) -> AsyncIterator[Place]:
    scripted = {"url": upstream.url, "models": ["large"]}
    config = Config.load(None, {}, {"gateway.upstreams.scripted": scripted, "server.local_model": False})
    streaming = StreamingConfig(sse=SseConfig(retry_interval_s=0.001))
    async with StreamManager(streaming) as manager, UpstreamClient(config.gateway) as client:
        app = ServerApp(manager, configured(config, {}, None), client)
        async with live(app) as port, FaultProxy("127.0.0.1", port) as proxy:
            yield Place(manager, proxy, upstream)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for is no event of ours
        await asyncio.sleep(0.001)


async def read_on(master: int, process: Process) -> str:
    """All that a process writes to a terminal."""

    def read() -> bytes:
        seen = b""
        try:
            while data := os.read(master, 4096):
                seen += data
        except OSError:  # Linux says EIO when the last writer has gone
            pass
        return seen

    reading = asyncio.create_task(asyncio.to_thread(read))
    await process.wait()
    return (await reading).decode()


# --- chat


async def test_chat_in_a_pipe_is_the_answer_and_nothing_else(place: Place) -> None:
    done = await place.run("chat", "Hello")
    assert (done.code, done.out, done.err) == (0, "".join(WORDS) + "\n", "")


async def test_chat_asks_what_openai_clients_ask(place: Place) -> None:
    await place.run("chat", "-", "--model", "scripted/large", typed="Grüße\n".encode())
    [asked] = place.upstream.requests
    assert asked["messages"] == [{"role": "user", "content": "Grüße\n"}]
    assert (asked["model"], asked["stream"]) == ("large", True)


async def test_chat_survives_cuts_and_asks_the_model_once(place: Place) -> None:
    place.proxy.script(Fault(cut_after_bytes=20), *(Fault(cut_after_bytes=650 + 60 * n) for n in range(5)))
    done = await place.run("chat", "Hello")
    assert (done.code, done.out) == (0, "".join(WORDS) + "\n")
    assert len(place.upstream.requests) == 1
    assert "asking again in" in done.err
    assert "reconnecting in" in done.err


async def test_chat_writes_the_bytes_of_a_format(place: Place) -> None:
    done = await place.run("chat", "Hello", "--format", "openai-chat")
    frames = [line.removeprefix("data: ") for line in done.out.split("\n") if line]
    assert frames.pop() == "[DONE]"
    deltas = [choice["delta"] for frame in frames for choice in json.loads(frame)["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "".join(WORDS)


async def test_chat_in_an_unknown_format_lets_no_model_run_on(place: Place) -> None:
    place.upstream.hold_at = 2
    done = await place.run("chat", "Hello", "--format", "latin")
    assert done.code == 2
    assert "openai-chat" in done.err
    assert [stream.state for stream in place.streams] == ["cancelled"]


async def test_ctrl_c_stops_the_answer_at_the_server(place: Place) -> None:
    place.upstream.hold_at = 2
    process = await place.start("chat", "Hello")
    assert process.stdout is not None
    assert await process.stdout.readexactly(len("Grüße an ".encode())) == "Grüße an ".encode()
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 1
    assert "stopping the answer" in err.decode()
    assert "cancelled" in err.decode()
    assert [stream.state.value for stream in place.streams] == ["cancelled"]
    assert await asyncio.to_thread(place.upstream.hung_up.wait, 10)


async def test_an_upstream_that_breaks_off_is_a_failure(place: Place) -> None:
    place.upstream.breaks = True
    done = await place.run("chat", "Hello")
    assert (done.code, done.out) == (1, "".join(WORDS) + "\n")
    assert re.match(r"patinox: the stream (failed|was interrupted): ", done.err)


async def test_an_unknown_model_is_a_sentence(place: Place) -> None:
    done = await place.run("chat", "Hello", "--model", "nobody/large")
    assert (done.code, done.out) == (1, "")
    assert re.match(r"Error: .*scripted/large.*\n$", done.err)


async def test_chat_on_a_terminal_ends_with_what_it_took(place: Place) -> None:
    master, slave = pty.openpty()
    process = await place.start("chat", "Hello", out=slave)
    os.close(slave)
    shown = await read_on(master, process)
    _, err = await process.communicate()
    os.close(master)
    assert shown.replace("\r\n", "\n") == "".join(WORDS) + "\n"
    assert re.match(r"complete · 8 tokens · .*first after [\d.]+ s · \w{22}\n$", err.decode())


# --- tail


async def written(manager: StreamManager, *data: object, outcome: Outcome | None = Outcome.COMPLETE) -> ActiveStream:
    stream = await manager.create()
    for item in data:
        await stream.write(item)  # type: ignore[arg-type]
    if outcome is not None:
        await stream.finish(outcome)
    return stream


async def test_tail_prints_the_text_and_ends_its_last_line(place: Place) -> None:
    stream = await written(place.manager, "one\r\n", "two")
    done = await place.run("tail", stream.id)
    assert (done.code, done.out, done.err) == (0, "one\r\ntwo\n", "")


async def test_tail_with_the_text_format_adds_nothing(place: Place) -> None:
    stream = await written(place.manager, "one\r\n", "two")
    assert (await place.run("tail", stream.id, "--format", "text")).out == "one\r\ntwo"


async def test_tail_goes_on_after_an_event_and_still_knows_what_is_reasoning(place: Place) -> None:
    deltas = [BlockDelta(block=0, text=text) for text in ("hm", "so")]
    stream = await written(
        place.manager,
        BlockStart(block=0, of="reasoning"),
        *deltas,
        BlockStart(block=1),
        BlockDelta(block=1, text="yes"),
    )
    done = await place.run("tail", stream.id, "--after", f"{stream.epoch}-2")
    assert (done.code, done.out) == (0, "yes\n")


async def test_tail_as_ndjson_is_whole_across_cuts(place: Place) -> None:
    stream = await written(place.manager, *(f"word {number} " for number in range(40)))
    place.proxy.script(*(Fault(cut_after_bytes=900 + 300 * n) for n in range(3)))
    done = await place.run("tail", stream.id, "--format", "ndjson")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["id"] for line in lines] == [f"{stream.epoch}-{number}" for number in range(42)]
    assert [line["event"] for line in lines] == ["position", *["text"] * 40, "end"]
    assert done.code == 0


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (Outcome.INCOMPLETE, 0, "the answer is incomplete"),
        (Outcome.CANCELLED, 1, "the stream was cancelled"),
        (Outcome.INTERRUPTED, 1, "the stream was interrupted"),
    ],
)
async def test_tail_exits_by_the_streams_outcome(place: Place, outcome: Outcome, code: int, said: str) -> None:
    stream = await written(place.manager, "text", outcome=outcome)
    done = await place.run("tail", stream.id)
    assert (done.code, done.out, done.err) == (code, "text\n", f"patinox: {said}\n")


async def test_tail_says_why_a_stream_failed(place: Place) -> None:
    stream = await written(place.manager, "text", outcome=None)
    await stream.fail(Error("boom", "it broke"))
    done = await place.run("tail", stream.id, "--format", "ndjson")
    assert (done.code, done.err) == (1, "patinox: the stream failed: it broke\n")


async def test_tail_of_a_stream_that_is_not_there_is_a_sentence(place: Place) -> None:
    done = await place.run("tail", "nope")
    assert (done.code, done.out, done.err) == (1, "", "Error: there is no stream 'nope'\n")


async def test_tail_of_a_deleted_stream_is_a_sentence(place: Place) -> None:
    stream = await written(place.manager, "text")
    await place.manager.delete(stream.id)
    done = await place.run("tail", stream.id)
    assert (done.code, done.out) == (1, "")
    assert "deleted" in done.err


async def test_tail_in_an_unknown_format_lists_those_there_are(place: Place) -> None:
    stream = await written(place.manager, "text")
    done = await place.run("tail", stream.id, "--format", "latin")
    assert (done.code, done.out) == (2, "")
    assert "ndjson" in done.err


async def test_tail_says_that_some_records_are_no_text(place: Place) -> None:
    stream = await written(place.manager, "text", Json({"a": 1}))
    done = await place.run("tail", stream.id)
    assert (done.code, done.out) == (0, "text\n")
    assert "1 record is no text" in done.err


async def test_leaving_a_tail_says_how_to_go_on_and_stops_nothing(place: Place) -> None:
    stream = await written(place.manager, "text\n", outcome=None)
    process = await place.start("tail", stream.id)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"text\n"
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 1
    assert f"patinox tail {stream.id} --after {stream.epoch}-1" in err.decode()
    assert "Traceback" not in err.decode()
    assert stream.is_open


async def test_a_reader_of_the_pipe_that_leaves_is_no_traceback(place: Place) -> None:
    stream = await written(place.manager, "text\n", outcome=None)
    process = await place.start("tail", stream.id)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"text\n"
    process.stdout._transport.close()  # type: ignore[attr-defined]
    await until(lambda: stream.feed.readers == 1)
    await stream.write("more\n")
    assert process.stderr is not None
    err = await process.stderr.read()
    assert await process.wait() == 1
    assert b"Traceback" not in err


@pytest.mark.parametrize("colours", [True, False])
async def test_on_a_terminal_events_are_dim_lines_and_text_cannot_steer_it(place: Place, colours: bool) -> None:
    stream = await written(
        place.manager, BlockStart(block=0, of="reasoning"), BlockDelta(block=0, text="hm"), BlockStart(block=1),
        BlockDelta(block=1, text="\x1b]0;title\x07yes\x9b2J"),
    )  # fmt: skip
    master, slave = pty.openpty()
    process = await place.start("tail", stream.id, out=slave, env={} if colours else {"NO_COLOR": "1"})
    os.close(slave)
    shown = await read_on(master, process)
    await process.communicate()
    os.close(master)
    assert "\x1b]0" not in shown
    assert "\x07" not in shown
    assert "\x9b" not in shown
    assert "\x1b[2mhm\x1b[0m" in shown
    assert "block.start" in shown
    assert "]0;titleyes2J\r\n" in shown
    assert not re.search(r"\x1b\[[\d;]*3\d", shown)
