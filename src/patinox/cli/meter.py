"""How fast an answer came: time to first token and tokens per second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any


class Meter:
    """Started when it is made; `piece` is to be called for every piece of the answer. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_s = clock()
        self._first_s: float | None = None
        self._last_s = self._started_s
        self._pieces = 0

    def piece(self) -> None:
        """Something of the answer has come."""
        self._last_s = self._clock()
        self._pieces += 1
        if self._first_s is None:
            self._first_s = self._last_s

    def line(self, usage: Mapping[str, Any]) -> str:
        """`57 tokens · 61.3 tokens/s · first after 0.21 s`; "about" where nobody counted the tokens."""
        if self._first_s is None:
            return "no text"
        tokens, about = usage.get("output_tokens"), ""
        if tokens is None:
            tokens, about = self._pieces, "about "
        parts = [f"{about}{tokens} token{'' if tokens == 1 else 's'}"]
        span_s = self._last_s - self._first_s
        if tokens > 1 and span_s > 0:
            parts.append(f"{(tokens - 1) / span_s:.1f} tokens/s")
        return " · ".join([*parts, f"first after {self._first_s - self._started_s:.2f} s"])
