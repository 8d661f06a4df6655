"""What is logged, and what never is.

A line says what happened and to which stream and trace; never a token, a prompt or an answer. Our own messages hold no
content, but an exception's text may: a parser quotes what it could not read, a provider what it was asked. So of an
exception only its type, its code, where it has one, and where it was raised are written, and of asyncio's reports only
the first line.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Any

import msgspec

from patinox.config.choices import LogFormat, LogLevel
from patinox.core.trace import CURRENT

FACTS = (
    "stream", "channel", "upstream", "model", "outcome", "code", "chunks", "bytes", "duration_s", "first_chunk_s",
    "readers", "trace_id", "span_id",
)  # fmt: skip
"""What a record may carry beside its message, given as `extra`."""

_CODE = re.compile(r"[a-z0-9_.-]{1,64}", re.IGNORECASE)
_MAX_FRAMES = 20
_ENDS_WITH_AN_EXCEPTION = ("asyncio",)
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def set_up(level: LogLevel, format_: LogFormat, stream: IO[str] | None = None) -> None:
    """Has everything logged to `stream` (stderr), in one format. Called again it replaces what it did before."""
    handler = _Handler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if format_ is LogFormat.JSON else TextFormatter())
    root = logging.getLogger()
    for other in [other for other in root.handlers if isinstance(other, _Handler)]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # of others: what they say below that may hold anything
    set_level(level)


def set_level(level: LogLevel) -> None:
    """How much of our own is logged."""
    logging.getLogger("patinox").setLevel(level.upper())


class _Handler(logging.StreamHandler[IO[str]]):
    """Ours, to be known again."""


class JsonFormatter(logging.Formatter):
    """One object a line: `{"time", "level", "logger", "message", …facts, "error"?}`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        told: dict[str, Any] = {"time": when, "level": record.levelname.lower(), "logger": record.name}
        told |= {"message": message_of(record), **facts_of(record)}
        if (error := error_of(record)) is not None:
            told["error"] = error
        return msgspec.json.encode(told, enc_hook=str).decode()


class TextFormatter(logging.Formatter):
    """`LEVEL logger: message (stream=…, …)`, and where an exception came from on lines of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines."""
        facts = ", ".join(f"{name}={value}" for name, value in facts_of(record).items())
        line = f"{record.levelname} {record.name}: {message_of(record)}{f' ({facts})' if facts else ''}"
        error = error_of(record)
        if error is None:
            return line
        named = f"{error['type']}{f' {code}' if (code := error.get('code')) else ''}"
        return "\n".join([line, *(f"  {place}" for place in error["stack"]), f"  {named}"])


def message_of(record: logging.LogRecord) -> str:
    """The message; of loggers that put an exception's text behind it, its first line."""
    said = record.getMessage()
    return said.partition("\n")[0] if record.name in _ENDS_WITH_AN_EXCEPTION else said.rstrip("\n")


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """The facts that were given, and the trace that the work belongs to."""
    trace = CURRENT.get()
    ids = {} if trace is None else {"trace_id": trace.trace_id, "span_id": trace.span_id}
    facts = {**ids, **{name: getattr(record, name) for name in FACTS if getattr(record, name, None) is not None}}
    if not _CODE.fullmatch(str(facts.get("code", "x"))):
        del facts["code"]  # a producer's own, which may be a sentence
    return facts


def error_of(record: logging.LogRecord) -> dict[str, Any] | None:
    """Type, code and places of the exception that goes with a record; not what it says."""
    if not record.exc_info or record.exc_info[1] is None:
        return None
    error = record.exc_info[1]
    code = getattr(error, "code", None)
    named = {"code": code} if isinstance(code, str) and _CODE.fullmatch(code) else {}
    return {"type": type(error).__qualname__, **named, "stack": list(_places(error))}


def _places(error: BaseException) -> Iterator[str]:
    for frame in traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]:
        yield f"{frame.filename}:{frame.lineno} in {frame.name}"
