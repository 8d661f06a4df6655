"""What reading and writing a dialect costs, over the recorded provider streams; nothing is served.

Every recording is fed event by event, as it comes from a provider, and written again in its own dialect, through the
neutral events: CPU per frame. LiteLLM's path per chunk is its own library in the peers' environment, over the same
chat recordings: bytes to the chunks that `completion(stream=True)` gives, and each of them to JSON again.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.build import ROOT
from benchmarks.contestants import PEERS_PYTHON, Contestant
from benchmarks.measures import Metrics, Settings
from benchmarks.processes import Failed, NotThere
from patinox.formats.framing import EventStreamParser, encode_event
from patinox.formats.transformer import StreamTransformer

RECORDINGS = ROOT / os.environ.get("PATINOX_RECORDINGS", "../shared/recordings")
CHAT = ("openai-chat",)
SETS = {
    "dialects": ("anthropic", "gemini", "openai-chat", "openai-responses"),
    "dialects-chat": CHAT,
    "litellm-chunks": CHAT,
}
"""What each contestant reads and writes."""

_FAILS = (
    "openrouter_stream_error.1",
    "tool_use_failed_error_streaming.1",
    "tool_use_failed_error_streaming_with_text.1",
)
"""Recordings with an error in them, at which the library raises: left out for both."""


class Stream(msgspec.Struct):
    """One recording, an element an event."""

    dialect: str
    events: list[bytes]


def measure(contestant: Contestant, settings: Settings) -> Metrics:
    """CPU per frame: the least of some passes over all recordings, since whatever else runs only ever adds."""
    streams = recorded(SETS[contestant.key], errors=contestant.key == "dialects")
    frames = sum(len(stream.events) for stream in streams)
    is_peer = contestant.key == "litellm-chunks"
    used_s = _peer() if is_peer else min(_pass(streams) for _ in range(settings["passes"]))
    return {"cpu_us_per_frame": used_s / frames * 1e6, "frames": frames, "streams": len(streams)}


def recorded(dialects: Sequence[str], *, errors: bool) -> list[Stream]:
    """The recordings of these dialects, cut into events. Raises `NotThere` without any."""
    paths = [(dialect, path) for dialect in dialects for path in sorted((RECORDINGS / dialect).glob("*.sse"))]
    if not paths:
        raise NotThere(f"no recordings at {RECORDINGS}; set PATINOX_RECORDINGS")
    return [Stream(dialect, _events(path.read_bytes())) for dialect, path in paths if errors or path.stem not in _FAILS]


def _events(data: bytes) -> list[bytes]:
    return [encode_event(event.data, event=event.event) for event in EventStreamParser().feed(data)]


def _pass(streams: Sequence[Stream]) -> float:
    used_s = 0.0
    for stream in streams:
        transformer = StreamTransformer(stream.dialect, stream.dialect)
        feed = transformer.feed
        started_s = time.process_time()
        for event in stream.events:
            feed(event)
        transformer.close()
        used_s += time.process_time() - started_s
    return used_s


def _peer() -> float:
    if not Path(PEERS_PYTHON).exists():
        raise NotThere("the peers' environment is missing: make bench sets it up")
    command = [PEERS_PYTHON, "-m", "benchmarks.litellm_chunks", str(RECORDINGS / "openai-chat"), "1", *_FAILS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise Failed(done.stderr[-500:] or "the peer gave up")
    return float(done.stdout.split()[-1])
