"""What is told to whoever observes the gateway: that an upstream is asked, and what came of it. Never what was said.

`Observer` is the seam. Without one nothing is measured, and the trace that a call belongs to goes on to the upstream
as it came.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Protocol

import msgspec

from patinox.core.chunks import Error, Outcome
from patinox.core.events import MessageEnd, RunStart, Usage
from patinox.core.trace import CURRENT, TraceContext
from patinox.errors import PatinoxError
from patinox.formats.base import Format
from patinox.gateway.upstreams import Upstream
from patinox.manager.sources import Source

CANCELLED = "cancelled"
"""The `Report.error` of an answer that we hung up on."""

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class Report(msgspec.Struct):
    """What came of a call. `error` is a code of ours or the upstream's; counts that nobody told are None."""

    model: str | None = None
    finish_reasons: list[str] = msgspec.field(default_factory=list)
    input_tokens: int | None = None
    output_tokens: int | None = None
    first_chunk_s: float | None = None
    duration_s: float = 0.0
    error: str | None = None

    def take(self, data: Any) -> None:
        """Counts one piece of the answer in."""
        match data:
            case RunStart(model=str() as model):
                self.model = model
            case MessageEnd(finish_reason=str() as reason):
                self.finish_reasons.append(reason)
            case Usage():
                is_more = data.mode == "delta"
                self.input_tokens = _counted(self.input_tokens, data.input_tokens, is_more)
                self.output_tokens = _counted(self.output_tokens, data.output_tokens, is_more)


class Call(Protocol):
    """One call of an upstream, from the request to the end of its answer."""

    trace: TraceContext | None
    """What the upstream is told as its `traceparent`."""

    def ended(self, report: Report) -> None:
        """It is over, in whatever way. Called once."""
        ...


class Observer(Protocol):
    """Told of each call of an upstream, as it is made."""

    def begin(self, upstream: Upstream, model: str, parent: TraceContext | None) -> Call:
        """An upstream is asked now, on behalf of `parent`. `model` is as it is asked for, empty for its choice."""
        ...


class _Unobserved:
    """A call that nobody looks at."""

    def __init__(self, trace: TraceContext | None) -> None:
        self.trace = trace

    def ended(self, report: Report) -> None:
        """Nobody asked."""


class NoObserver:
    """Observes nothing."""

    def begin(self, upstream: Upstream, model: str, parent: TraceContext | None) -> Call:
        """As in `Observer`; the upstream is told the caller's own trace."""
        return _Unobserved(parent)


class ObservedSource(Source):
    """The answer of an upstream, reported on once it is over. `begin` is called when the upstream is about to be asked.

    From then on what is done belongs to the call's own place in the trace: the request, and what is logged of it.
    """

    def __init__(
        self, source: Any, begin: Callable[[TraceContext | None], Call], *, formats: Mapping[str, Format[Any]],
        format_: str,
    ) -> None:  # fmt: skip
        super().__init__(source, formats=formats, format_=format_, strict=True)
        self._begin = begin

    async def batches(self) -> AsyncGenerator[list[Any], None]:
        """As in `Source`."""
        began_s = time.monotonic()
        call, report = self._begin(CURRENT.get()), Report(error=CANCELLED)
        CURRENT.set(call.trace)
        inner = super().batches()
        try:
            async for batch in inner:
                if batch and report.first_chunk_s is None:
                    report.first_chunk_s = time.monotonic() - began_s
                for data in batch:
                    report.take(data)
                yield batch
            report.error = self._fault()
        except Exception as error:
            report.error = error.code if isinstance(error, PatinoxError) else type(error).__name__
            raise
        finally:
            report.duration_s = time.monotonic() - began_s
            call.ended(report)
            await inner.aclose()

    def _fault(self) -> str | None:
        if isinstance(self.ending, Error):  # the upstream's own word, unless it is a sentence
            return self.ending.code if _CODE.fullmatch(self.ending.code) else "upstream_error"
        return None if self.ending.outcome in (Outcome.COMPLETE, Outcome.INCOMPLETE) else self.ending.outcome.value


def _counted(before: int | None, told: int | None, is_more: bool) -> int | None:
    if told is None:
        return before
    return told + (before or 0) if is_more else told
