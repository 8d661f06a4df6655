"""W3C Trace Context: which trace the work at hand belongs to (https://www.w3.org/TR/trace-context/, level 1).

A request that carries `traceparent` sets `CURRENT` for whatever is done on its behalf, tasks included; log lines and
the calls to upstreams take it from there.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import NamedTuple

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_MAX_CHARS = 128


class TraceContext(NamedTuple):
    """Where in a trace one stands: the trace, the span that asked, and the flags, in lower-case hexadecimal."""

    trace_id: str
    span_id: str
    flags: str = "01"

    def header(self) -> str:
        """The value of `traceparent`, version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


CURRENT: ContextVar[TraceContext | None] = ContextVar("patinox.trace", default=None)
"""What is done now belongs to this trace."""


def parse_traceparent(text: str) -> TraceContext | None:
    """What a `traceparent` says; None where it says nothing that may be used (§3.2.2, §4.3)."""
    found = _TRACEPARENT.fullmatch(text.strip()) if len(text) <= _MAX_CHARS else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceContext(trace_id, span_id, flags)
