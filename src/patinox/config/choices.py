"""The words that settings choose between. Each member equals its spelling in TOML and JSON."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from patinox.config.units import format_duration, parse_duration


class OverflowStrategy(StrEnum):
    """What an append does when the hot window of a stream is full."""

    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"
    BLOCK = "block"


class Retain(StrEnum):
    """What a stream keeps behind its hot window."""

    FULL = "full"
    WINDOW = "window"


class BackpressureStrategy(StrEnum):
    """What happens when a reader's lag passes the high mark."""

    PAUSE = "pause"
    DROP = "drop"
    BUFFER = "buffer"


class PaceTo(StrEnum):
    """Whose pace a producer keeps when it has to wait."""

    FASTEST = "fastest"
    SLOWEST = "slowest"
    NONE = "none"


class Dialect(StrEnum):
    """The protocol an upstream speaks."""

    OPENAI_CHAT = "openai-chat"
    OPENAI_RESPONSES = "openai-responses"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    OLLAMA = "ollama"


class LogFormat(StrEnum):
    """How a log line is written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """How much of its own the server logs."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class ProcessorName(StrEnum):
    """What a pipeline may do to text."""

    NEWLINES = "newlines"
    TERMINAL = "terminal"
    LINKS = "links"
    HTML = "html"


class ChunkBy(StrEnum):
    """How a pipeline cuts text."""

    TOKEN = "token"  # noqa: S105
    WORD = "word"
    SENTENCE = "sentence"
    LINE = "line"
    BLOCK = "block"
    BYTES = "bytes"


class OnAbandon(msgspec.Struct, frozen=True):
    """What becomes of a stream nobody watches any more: cancelled `cancel_after_s` later; None = kept."""

    cancel_after_s: float | None = None

    @classmethod
    def parse(cls, text: str) -> OnAbandon:
        """Reads `keep` or `cancel_after=30s`, as in TOML and in `Patinox-On-Abandon`. Raises ValueError."""
        if text == "keep":
            return cls()
        word, equals, duration = text.partition("=")
        if word != "cancel_after" or not equals:
            raise ValueError('is neither "keep" nor "cancel_after=<duration>"')
        try:
            return cls(parse_duration(duration))
        except ValueError as error:
            raise ValueError(f"names a time that {error}") from None

    def __str__(self) -> str:
        return "keep" if self.cancel_after_s is None else f"cancel_after={format_duration(self.cancel_after_s)}"
