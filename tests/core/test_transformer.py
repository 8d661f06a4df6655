"""StreamTransformer: bytes, chunks and events in, a dialect's bytes out, and a report of what was lost."""

import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dialects import HEAD, logged, read, write
from tests.flat import AGENT, AGENT_TEXT, body
from tests.recordings import recorded

from patinox import Format, StreamTransformer
from patinox.core.chunks import End, Error, Json, Outcome, StreamChunk, Text
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockKind,
    BlockStart,
    MessageEnd,
    MessageStart,
    Native,
    RunEnd,
    RunStart,
)
from patinox.errors import FramingError, InputError, TooLarge, UnknownFormat
from patinox.formats.base import Frame, StreamHead, interrupted
from patinox.formats.losses import Loss
from patinox.formats.openai_chat import OPENAI_CHAT
from patinox.formats.registry import builtin
from patinox.incremental.assembler import Assembly

FORMATS = builtin()
FOREIGN = sorted(FORMATS.keys() - {"patinox", "ndjson"})
CHAT = b"".join(
    b"data: %b\n\n" % (frame if isinstance(frame, bytes) else json.dumps(frame).encode())
    for frame in [
        {"id": "c1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m",
         "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}, "finish_reason": None}]},
        {"id": "c1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m",
         "choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": None}]},
        {"id": "c1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m",
         "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        b"[DONE]",
    ]
)  # fmt: skip


def convert(source: str, target: str, *pieces: bytes) -> bytes:
    transformer = StreamTransformer(source, target)
    return b"".join([*(transformer.feed(piece) for piece in pieces), transformer.close()])


def feed_all(transformer: StreamTransformer, piece: bytes, times: int) -> None:
    for _ in range(times):
        transformer.feed(piece)


# bytes


def test_text_is_what_the_answer_says() -> None:
    assert convert("openai-chat", "text", CHAT) == b"Hello"


@pytest.mark.parametrize("target", FOREIGN)
@pytest.mark.parametrize("path", recorded("anthropic", max_bytes=8_000))
def test_the_bytes_are_those_of_a_log_of_the_same_events(path: Path, target: str) -> None:
    transformer = StreamTransformer("anthropic", target, head=HEAD)
    made = transformer.feed(path.read_bytes()) + transformer.close()

    events, ending, _ = read(FORMATS["anthropic"], path.read_bytes())
    frames = write(FORMATS[target], logged([*events, ending]))

    raw = b"".join(frame.data for frame in frames)
    assert made == (raw if target == "text" else body(FORMATS[target], frames))


@pytest.mark.parametrize("target", sorted(FORMATS))
def test_however_it_is_cut_the_bytes_are_the_same(target: str) -> None:
    whole = convert("openai-chat", target, CHAT)

    for cut in range(len(CHAT) + 1):
        assert convert("openai-chat", target, CHAT[:cut], CHAT[cut:]) == whole


def test_what_a_piece_completes_is_written_at_once() -> None:
    transformer = StreamTransformer("openai-chat", "text")
    first, second, *_ = CHAT.split(b"\n\n")

    assert transformer.feed(first + b"\n\n") == b"Hel"
    assert transformer.feed(second + b"\n\n") == b"lo"


@pytest.mark.parametrize("target", ["openai-chat", "openai-responses"])
def test_the_time_is_the_sources_own_though_something_strange_came_first(target: str) -> None:
    strange = b'data: {"id": "", "object": "", "model": "", "choices": [], "prompt_filter_results": [{}]}\n\n'

    assert b"1700000000" in convert("openai-chat", "openai-responses", strange, CHAT)


def test_ids_and_the_time_are_those_of_the_head() -> None:
    head = StreamHead(id="mine", epoch="e", created_s=1_600_000_000.0)
    transformer = StreamTransformer("text", "openai-chat", head=head)

    first = json.loads((transformer.feed(b"x") + transformer.close()).split(b"\n")[0][6:])

    assert (first["id"], first["created"]) == ("chatcmpl-mine", 1_600_000_000)


def test_native_records_have_ids() -> None:
    assert convert("text", "patinox", b"x") == (
        b'id: 0-1\nevent: text\ndata: {"text":"x"}\n\nid: 0-2\nevent: end\ndata: {"outcome":"complete"}\n\n'
    )
    assert convert("text", "ndjson", b"x").splitlines()[0] == b'{"id":"0-1","event":"text","data":{"text":"x"}}'


def test_an_sdks_frames_are_read_as_well() -> None:
    transformer = StreamTransformer("openai-chat", "text")

    assert transformer.feed_frame({"choices": [{"index": 0, "delta": {"content": "Hi"}}]}) == b"Hi"


def test_closing_twice_writes_one_end() -> None:
    transformer = StreamTransformer("text", "openai-chat")
    transformer.feed(b"x")

    assert transformer.close().endswith(b"data: [DONE]\n\n")
    assert transformer.close() == b""
    assert transformer.ending == End(Outcome.COMPLETE)


def test_a_source_that_breaks_off_is_no_success() -> None:
    made = convert("openai-chat", "anthropic", CHAT[: len(CHAT) // 2])

    assert b"event: error" in made
    assert b"message_stop" not in made


def test_an_abort_ends_the_output_with_the_targets_error_once() -> None:
    transformer = StreamTransformer("text", "openai-chat")
    transformer.feed(b"x")

    assert b'"error":' in transformer.abort(Error("odd", "cannot be read on"))
    assert transformer.abort(Error("odd", "again")) == transformer.close() == b""


def test_bytes_before_what_breaks_the_framing_are_written() -> None:
    transformer = StreamTransformer("openai-chat", "text")
    told = transformer.feed(CHAT.split(b"\n\n")[0] + b"\n\ndata: ")

    with pytest.raises(FramingError) as caught:
        feed_all(transformer, b"x" * 2**20, 20)

    assert told == b"Hel"
    assert caught.value.offset == CHAT.index(b"\n\n") + 2


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownFormat, match="unknown format 'morse'"):
        StreamTransformer("morse", "text")


# bounds


@pytest.mark.parametrize("source", sorted(FORMATS.keys() - {"text"}))
def test_a_line_of_100_mb_takes_no_memory_and_is_refused(source: str) -> None:
    transformer = StreamTransformer(source, "text")
    piece = b"data: " + b"x" * 2**20
    tracemalloc.start()
    try:
        with pytest.raises(FramingError):
            feed_all(transformer, piece, 100)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 80 * 2**20


def test_an_answer_that_its_target_repeats_is_bounded() -> None:
    transformer = StreamTransformer("text", "openai-responses", max_bytes=1_000)

    with pytest.raises(TooLarge):
        feed_all(transformer, b"x" * 100, 100)


def test_an_answer_that_its_target_does_not_repeat_has_no_bound() -> None:
    transformer = StreamTransformer("text", "openai-chat", max_bytes=1_000)

    assert sum(bool(transformer.feed(b"x" * 100)) for _ in range(100)) == 100


def test_of_many_problems_the_first_are_told_and_all_are_counted() -> None:
    transformer = StreamTransformer("openai-chat", "text")
    for _ in range(300):
        transformer.feed(b"data: {nonsense\n\n" * 2)
    transformer.close()

    assert (len(transformer.report.problems), transformer.report.problem_count) == (100, 600)


@pytest.mark.parametrize("source", sorted(FORMATS))
@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b'{"', b"\xff", b"\xe2\x82", b"}\n"])))
def test_no_bytes_at_all_break_a_reader(source: str, pieces: list[bytes]) -> None:
    transformer = StreamTransformer(source, "ndjson")
    try:
        for piece in pieces:
            transformer.feed(piece)
        transformer.close()
    except FramingError:
        assert source == "text"  # which has no other way to be wrong


@pytest.mark.parametrize("source", sorted(FORMATS.keys() - {"text"}))
def test_bytes_that_are_not_utf8_are_told_as_a_problem(source: str) -> None:
    transformer = StreamTransformer(source, "ndjson")
    transformer.feed(b'data: {"a": "\xff"}\n\n{"a": "\xff"}\n')
    transformer.close()

    assert transformer.report.problem_count > 0


# is it a stream of that dialect at all


def test_a_stream_of_another_dialect_is_not_recognised() -> None:
    transformer = StreamTransformer("anthropic", "text")
    transformer.feed(CHAT)
    transformer.close()

    assert not transformer.is_recognised


@pytest.mark.parametrize("data", [CHAT, b"data: [DONE]\n\n", b'data: {"error": {"message": "no"}}\n\n'])
def test_content_an_empty_end_and_an_error_are_recognised(data: bytes) -> None:
    transformer = StreamTransformer("openai-chat", "text")
    transformer.feed(data)
    transformer.close()

    assert transformer.is_recognised


# chunks and events


def test_neutral_events_are_written_and_end_as_their_run_does() -> None:
    made = b"".join(StreamTransformer("patinox", "openai-chat").events(AGENT))
    events, ending, problems = read(OPENAI_CHAT, made)

    said = "".join(event.text for event in events if isinstance(event, BlockDelta) and event.op == "text.append")
    assert AGENT_TEXT in said.replace("I need the weather.", "")
    assert (ending, problems) == (End(Outcome.COMPLETE), [])


def test_strings_and_chunk_data_are_records_too() -> None:
    transformer = StreamTransformer("patinox", "text")

    assert b"".join(transformer.events(["a", Text("b"), Json({"c": 1}), "d"])) == b"abd"
    assert transformer.ending == End(Outcome.COMPLETE)


def test_a_run_that_was_cut_short_ends_so() -> None:
    transformer = StreamTransformer("patinox", "openai-chat")

    assert b'"length"' in b"".join(transformer.events(["a", RunEnd(outcome=Outcome.INCOMPLETE)]))


def test_chunks_of_a_log_end_as_it_does() -> None:
    chunks = logged([Text("a"), End(Outcome.CANCELLED)])
    transformer = StreamTransformer("patinox", "ai-sdk")

    assert b'"type":"abort"' in b"".join(transformer.events(chunks))


def test_chunks_without_their_last_are_interrupted() -> None:
    transformer = StreamTransformer("patinox", "openai-chat")
    made = b"".join(transformer.events([StreamChunk(1, Text("a"), 0.0)]))

    assert b'"error"' in made
    assert isinstance(transformer.ending, End)
    assert transformer.ending.outcome is Outcome.INTERRUPTED


def test_nothing_follows_an_error() -> None:
    transformer = StreamTransformer("patinox", "text")

    assert b"".join(transformer.events(["a", Error("odd", "failed"), "b"])) == b"a"
    assert transformer.write("c") == b""


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(InputError, match="not int"):
        StreamTransformer("patinox", "text").write(7)


def test_iterators_of_bytes_are_transformed() -> None:
    assert b"".join(StreamTransformer("openai-chat", "text").stream([CHAT[:99], CHAT[99:]])) == b"Hello"


async def test_asynchronous_iterators_are_transformed() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield CHAT[:99]
        yield CHAT[99:]

    async def records() -> AsyncIterator[Any]:
        for record in AGENT:
            yield record

    made = [piece async for piece in StreamTransformer("openai-chat", "text").astream(pieces())]
    told = [piece async for piece in StreamTransformer("patinox", "text").aevents(records())]

    assert b"".join(made) == b"Hello"
    assert b"".join(told).decode() == AGENT_TEXT


# a dialect of one's own


class LoudReader:
    """Reads shouted words, one a line."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.ending: End | Error = interrupted("no full stop")
        self._rest = ""

    def feed(self, data: bytes) -> list[Any]:
        *words, self._rest = (self._rest + data.decode()).split("\n")
        if "." in words:
            self.ending = End(Outcome.COMPLETE)
        return [Text(word.lower()) for word in words if word != "."]

    def feed_frame(self, value: Any, event: str = "") -> list[Any]:
        return [Text(str(value))]

    def close(self) -> list[Any]:
        return []


class LoudWriter:
    """Shouts. The state counts the words."""

    def initial(self, head: StreamHead) -> int:
        return 0

    def write(self, state: int, chunk: StreamChunk, assembly: Assembly) -> tuple[int, list[Frame]]:
        if chunk.is_final:
            return state, [Frame(b".")]
        if not isinstance(chunk.data, Text):
            return state, []
        return state + 1, [Frame(chunk.data.text.upper().encode())]

    def openers(self, state: int, assembly: Assembly) -> list[Frame]:
        return []


LOUD = Format(
    name="loud",
    title="Shouting",
    content_type="text/plain",
    framing="lines",
    reader=LoudReader,
    writer=LoudWriter(),
    losses={"json": Loss("one cannot shout an object")},
)


def test_a_dialect_of_ones_own_is_a_format_like_any() -> None:
    made = StreamTransformer("text", LOUD)

    assert made.feed(b"hi") + made.close() == b"HI\n.\n"
    assert convert_named("loud", "text", b"HI\nTHERE\n.\n") == b"hithere"


def convert_named(source: str, target: str, data: bytes) -> bytes:
    transformer = StreamTransformer(source, target, formats={**FORMATS, "loud": LOUD})
    return transformer.feed(data) + transformer.close()


def test_a_dialect_of_ones_own_declares_its_losses() -> None:
    transformer = StreamTransformer("patinox", LOUD)
    list(transformer.events([Json(1), Text("a"), Json(2)]))

    assert [(loss.what, loss.count, loss.why) for loss in transformer.report.lost] == [
        ("json", 2, "one cannot shout an object")
    ]


# the report


def messages() -> Iterator[Any]:
    yield RunStart(model="m", provider_id="run_1", ext={"anthropic": {"frame": {}}})
    yield MessageStart()
    yield Native(dialect="anthropic", value={"type": "ping"})
    kinds: tuple[BlockKind, ...] = ("text", "image", "image")
    for number, kind in enumerate(kinds):
        yield BlockStart(block=number, of=kind)
        yield BlockEnd(block=number)
    yield MessageEnd(finish_reason="pause", provider_reason="pause_turn")
    yield RunEnd()


def test_what_was_lost_is_counted_with_its_reason() -> None:
    transformer = StreamTransformer("patinox", "openai-chat")
    list(transformer.events(messages()))
    report = transformer.report

    assert {loss.what: loss.count for loss in report.lost} == {
        "provider_id": 1, "ext": 1, "native": 1, "block.start:image": 2, "message.end:finish_reason": 1,
        "message.end:provider_reason": 1,
    }  # fmt: skip
    assert {loss.what for loss in report.lost} <= report.cannot_carry.keys()
    assert all(loss.why == report.cannot_carry[loss.what] for loss in report.lost)
    assert (report.source, report.target) == ("patinox", "openai-chat")


@pytest.mark.parametrize("target", ["patinox", "ndjson"])
def test_the_native_dialects_lose_nothing(target: str) -> None:
    transformer = StreamTransformer("patinox", target)
    list(transformer.events(messages()))

    assert (transformer.report.lost, transformer.report.cannot_carry) == ([], {})


def test_a_report_is_json_ready() -> None:
    transformer = StreamTransformer("openai-chat", "anthropic")
    transformer.feed(CHAT)
    transformer.close()

    report = msgspec.json.decode(msgspec.json.encode(transformer.report))
    assert report["records"] > report["frames"] > 0
    assert report["lost"][0].keys() == {"what", "count", "why"}
