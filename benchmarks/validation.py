"""What validators cost, and how much clean text they delay; nothing is served, so no load client is needed.

The text is that of the recorded provider streams, event by event as their readers tell it, with a record after a
delta in the order it came. A character that leaves with the event that brought it was not delayed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.build import ROOT
from benchmarks.contestants import Contestant
from benchmarks.processes import NotThere
from patinox.core.chunks import Text
from patinox.core.events import BlockDelta, Verdict
from patinox.formats.registry import builtin
from patinox.validation.frontier import ValidationStage
from patinox.validation.personal import personal
from patinox.validation.secrets import secrets
from patinox.validation.words import Words

RECORDINGS = ROOT / os.environ.get("PATINOX_RECORDINGS", "../shared/recordings")
_DIALECTS = ("openai-chat", "openai-responses", "anthropic", "gemini")


def _list(count: int) -> list[str]:
    """Words that nobody says, so that no text has them, but that begin as words do."""
    made = random.Random(1)
    return ["".join(made.choices("etaoinshrdlu", k=made.randint(3, 9))) + "qx" for _ in range(count)]


SETS: dict[str, Callable[[], Sequence[Any]]] = {
    "validators": lambda: [secrets(), personal()],
    "validators-email": lambda: [secrets(), personal("email", "phone", "card", "iban")],
    "validators-words-100": lambda: [Words(_list(100))],
    "validators-words-2000": lambda: [Words(_list(2_000))],
    "validators-words-20000": lambda: [Words(_list(20_000))],
}
"""What is measured, by contestant: the default set, and what holds back any word."""


def measure(contestant: Contestant, settings: Any) -> dict[str, float]:
    """CPU per chunk, the share of characters that leave at once, and how cost grows with the stream."""
    streams = _recorded()
    validators = SETS[contestant.key]()
    characters = sum(len(_text(event)) for stream in streams for event in stream)
    chunks = sum(1 for stream in streams for event in stream if _text(event))
    at_once, longest, verdicts, used_s, values_s = 0, 0, 0, 0.0, 0.0
    for stream in streams:
        stage = ValidationStage(validators)
        for event in stream:
            started_s = time.process_time()
            out = stage.feed([event])
            spent_s = time.process_time() - started_s
            used_s, values_s = (used_s + spent_s, values_s) if _text(event) else (used_s, values_s + spent_s)
            verdicts += sum(isinstance(record, Verdict) for record in out)
            # What is held never grows by more than what came, so what is left of this event waits.
            came, held = len(_text(event)), stage.waiting_chars
            at_once += came - min(came, held)
            longest = max(longest, held)
    short, long = (_per_chunk_us(validators, count) for count in (settings["short_chars"], settings["long_chars"]))
    return {
        "cpu_us_per_chunk": used_s / chunks * 1e6,
        "values_ms_per_stream": values_s / len(streams) * 1e3,
        "same_step_percent": 100 * at_once / characters,
        "longest_wait_chars": longest,
        "verdicts": verdicts,
        "short_us": short,
        "long_us": long,
        "growth_ratio": long / short,
        "chunks": chunks,
    }


def _recorded() -> list[list[Any]]:
    """The events of every recording that can be read."""
    streams = []
    for dialect in _DIALECTS:
        for path in sorted((RECORDINGS / dialect).glob("*.sse")):
            reader = builtin()[dialect].reader()
            streams.append([*reader.feed(Path(path).read_bytes()), *reader.close()])
    if not streams:
        raise NotThere(f"no recordings at {RECORDINGS}; set PATINOX_RECORDINGS")
    return streams


def _text(event: Any) -> str:
    said = isinstance(event, Text) or (isinstance(event, BlockDelta) and event.op in ("text.append", "json.append"))
    return event.text if said else ""


def _per_chunk_us(validators: Sequence[Any], characters: int) -> float:
    """CPU for one chunk of six characters in one answer of so many characters."""
    prose = "So the quick fox said, on Monday: take 12 of them, or leave it. "
    chunks = [Text((prose * 2)[at % len(prose) :][:6]) for at in range(0, characters, 6)]
    stage = ValidationStage(validators)
    started_s = time.process_time()
    for chunk in chunks:
        stage.feed([chunk])
    stage.close()
    return (time.process_time() - started_s) / len(chunks) * 1e6
