"""What a dialect cannot carry: how it is declared, and how it is counted in a stream.

A dialect declares its losses as data beside its `Format`: a *key* of what is lost, or told in other words, and why.
The keys are the words of the neutral events (docs/reference/dialects):

    json, step.start, tool.result, native, …        an event of this kind
    block.start:image, block.delta:annotation.add   a block of this kind, a delta of this op
    message.end:stop_sequence, usage:raw, …         this field of an event
    choice, provider_id, run, step, ext             a field that any event may have
    error, end:interrupted, …                       how the stream ended

What hangs on something that is lost is lost with it, and not declared again: the deltas of a block, say. `ext`, what
a source's frames said besides, is lost on the way to any other dialect, and `native` frames of other dialects too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from patinox.core.chunks import Binary, End, Error, Json, Text
from patinox.core.events import TEXT_APPEND, BlockDelta, BlockStart, Event, Native

_SHARED = ("run", "step", "choice", "provider_id", "ext")
_OWN = {field for field in Event.__struct_fields__}


class Loss(NamedTuple):
    """Why a key is lost. `when` says for which events; without it, for all that have the key."""

    why: str
    when: Callable[[Any], bool] | None = None


Losses = Mapping[str, Loss]

FOREIGN_EXT = Loss("what the source's frames said besides, which has no neutral name")
"""Lost between any two dialects."""


def keys(data: Any) -> Iterator[str]:
    """The keys of one record: what of it a dialect may have declared as lost."""
    kind: str = data.kind
    if isinstance(data, End):
        yield f"end:{data.outcome}"
        return
    yield kind
    if isinstance(data, Text | Json | Binary | Error):
        return
    if isinstance(data, BlockDelta):
        yield f"{kind}:{data.op}"
    elif isinstance(data, BlockStart):
        yield f"{kind}:{data.of}"
        yield from (f"{kind}:{field}" for field in ("name", "call_id") if getattr(data, field) is not None)
    else:
        yield from (f"{kind}:{field}" for field in _own_fields(data) if getattr(data, field) not in (None, "", []))
    yield from (field for field in _SHARED if getattr(data, field))


def _own_fields(data: Event) -> Iterator[str]:
    return (field for field in data.__struct_fields__ if field not in _OWN)


class LossCounter:
    """Counts what is lost of a stream on its way into a dialect."""

    def __init__(self, target: str, losses: Losses) -> None:
        self.counts: dict[str, int] = {}
        self._target = target
        self._losses = losses
        self._is_text_whole = not losses.keys() & {"block.delta", f"block.delta:{TEXT_APPEND}"}

    def count(self, data: Any) -> None:
        """Takes the next record."""
        if (
            self._is_text_whole
            and type(data) is BlockDelta
            and data.op == TEXT_APPEND
            and not (data.ext or data.choice)
        ):
            return
        for key in keys(data):
            loss = self._losses.get(key)
            if loss is not None and self._is_lost(key, loss, data):
                self.counts[key] = self.counts.get(key, 0) + 1

    def why(self, key: str) -> str:
        """The declared reason."""
        return self._losses[key].why

    def _is_lost(self, key: str, loss: Loss, data: Any) -> bool:
        if key == "ext":
            return any(dialect != self._target and said for dialect, said in data.ext.items())
        if key == "native" and isinstance(data, Native) and data.dialect == self._target:
            return False
        return loss.when is None or loss.when(data)
