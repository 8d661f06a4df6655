"""Log lines: what is in them, and what never is."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from patinox import Error, StreamManager
from patinox.config.choices import LogFormat, LogLevel
from patinox.core.trace import CURRENT, TraceContext
from patinox.errors import UpstreamRefused
from patinox.server import logs

MARKER = "the-prompt-7d1c"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What is logged as JSON at `debug`; the loggers are as before afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("patinox")
    before, levels = list(root.handlers), (root.level, ours.level)
    text = io.StringIO()
    logs.set_up(LogLevel.DEBUG, LogFormat.JSON, text)
    yield text
    root.handlers[:] = before
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def lines(text: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.getvalue().splitlines()]


def test_a_line_is_an_object_with_its_facts(written: io.StringIO) -> None:
    logging.getLogger("patinox.x").info("it %s", "happened", extra={"stream": "s", "bytes": 7, "secret": MARKER})
    (line,) = lines(written)
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "logger": "patinox.x", "message": "it happened", "stream": "s", "bytes": 7}


def test_a_line_names_the_trace_that_the_work_belongs_to(written: io.StringIO) -> None:
    before = CURRENT.set(TraceContext("ab" * 16, "cd" * 8))
    logging.getLogger("patinox.x").info("it happened")
    CURRENT.reset(before)
    (line,) = lines(written)
    assert (line["trace_id"], line["span_id"]) == ("ab" * 16, "cd" * 8)


def test_of_an_exception_type_code_and_places_are_told_but_not_what_it_says(written: io.StringIO) -> None:
    try:
        raise UpstreamRefused(f"no: {MARKER}", status=400, body={"message": MARKER})
    except UpstreamRefused:
        logging.getLogger("patinox.x").exception("it failed")
    (line,) = lines(written)
    assert (line["error"]["type"], line["error"]["code"]) == ("UpstreamRefused", "upstream_refused")
    assert "test_logs.py" in line["error"]["stack"][-1]
    assert MARKER not in written.getvalue()


def test_of_asyncios_reports_only_the_first_line_is_told(written: io.StringIO) -> None:
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <Task ValueError('%s')>", MARKER)
    (line,) = lines(written)
    assert line["message"] == "Task exception was never retrieved"


def test_a_code_that_is_a_sentence_is_not_told(written: io.StringIO) -> None:
    logging.getLogger("patinox.x").info("it ended", extra={"code": f"because {MARKER}"})
    assert "code" not in lines(written)[0]


def test_others_say_only_what_is_a_warning(written: io.StringIO) -> None:
    logging.getLogger("openai").debug("request %s", MARKER)
    logging.getLogger("aiohttp").info("request %s", MARKER)
    logging.getLogger("aiohttp").warning("slow")
    assert [line["message"] for line in lines(written)] == ["slow"]


def test_text_is_one_line_and_the_places_of_an_exception(written: io.StringIO) -> None:
    text = io.StringIO()
    logs.set_up(LogLevel.INFO, LogFormat.TEXT, text)
    logging.getLogger("patinox.x").debug("unheard")
    try:
        raise ValueError(MARKER)
    except ValueError:
        logging.getLogger("patinox.x").warning("it failed", extra={"stream": "s"}, exc_info=True)
    first, *places, last = text.getvalue().splitlines()
    assert first == "WARNING patinox.x: it failed (stream=s)"
    assert places
    assert last == "  ValueError"
    assert written.getvalue() == ""


async def test_a_stream_that_begins_and_ends_has_a_line_each(written: io.StringIO) -> None:
    async with StreamManager() as manager:
        stream = await manager.create(id="s", metadata={"prompt": MARKER})
        await stream.write(MARKER)
        await stream.fail(Error("upstream", MARKER))
    began, ended = lines(written)
    assert (began["message"], began["stream"]) == ("a stream began", "s")
    facts = {key: ended[key] for key in ("message", "stream", "outcome", "code", "chunks", "readers")}
    assert facts == {
        "message": "a stream ended", "stream": "s", "outcome": "failed", "code": "upstream", "chunks": 2, "readers": 0,
    }  # fmt: skip
    assert ended["bytes"] > 0
    assert ended["duration_s"] >= ended["first_chunk_s"] >= 0
    assert MARKER not in written.getvalue()


async def test_a_source_that_fails_is_told_without_what_it_says(written: io.StringIO) -> None:
    async def source() -> Any:
        yield "Hel"
        raise RuntimeError(MARKER)

    async with StreamManager() as manager:
        stream = await manager.relay(source())
        async for _ in stream.subscribe():
            pass
    (told,) = [line for line in lines(written) if line["message"] == "its source failed (RuntimeError)"]
    assert (told["stream"], told["error"]["type"]) == (stream.id, "RuntimeError")
    assert MARKER not in written.getvalue()
