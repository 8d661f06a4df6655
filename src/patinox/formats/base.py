"""What a dialect is: how its frames are framed, a reader, and a writer.

A **reader** takes the bytes of a dialect as they come, cut anywhere, and gives chunk data and neutral events. A
**writer** is a fold, `(state, chunk) → (state, frames)`: pure, with an immutable state, so that the frames from any
position can be made again and a resumed client sees the very bytes an uninterrupted one saw. Aggregates that a
dialect repeats at its end (a whole text, a whole tool call) are read from the shared `Assembly`, which stands at or
after the chunk being written; blocks that have ended no longer change in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from patinox.core.chunks import End, Error, Outcome, StreamChunk
from patinox.formats.losses import FOREIGN_EXT, Loss
from patinox.incremental.assembler import Assembly

S = TypeVar("S")

FramingName = Literal["sse", "lines", "raw"]


class Frame(NamedTuple):
    """One frame of a dialect before framing: the payload, and the SSE event name where the dialect uses one.

    `bare` marks a payload that goes out as it is, without the framing (Gemini's errors have no `data: `).
    """

    data: bytes
    event: str = ""
    bare: bool = False


new_frame: Callable[[tuple[bytes, str, bool]], Frame] = partial(tuple.__new__, Frame)
"""A frame from its three fields: what `Frame(…)` is, at half the price, for what is done once a token."""


class StreamHead(msgspec.Struct, frozen=True):
    """What a writer may know of a stream before its first chunk; never changes, so frames stay reproducible.

    `tenant` and `owner` say whose it is; no dialect tells them.
    """

    id: str
    epoch: str
    created_s: float
    metadata: Mapping[str, Any] = {}
    tenant: str = ""
    owner: str = ""


class Writer(Protocol[S]):
    """Folds the chunks of a log into the frames of a dialect."""

    def initial(self, head: StreamHead) -> S:
        """The state before the first chunk: immutable, and made of what msgspec can encode."""
        ...

    def write(self, state: S, chunk: StreamChunk, assembly: Assembly) -> tuple[S, Sequence[Frame]]:
        """The state after `chunk`, and the frames it makes (none is fine). The end record closes the dialect."""
        ...

    def openers(self, state: S, assembly: Assembly) -> Sequence[Frame]:
        """What a fresh client that attaches at `state` must see first (message start, block start)."""
        ...


class Reader(Protocol):
    """Reads a dialect incrementally. The same events come out for every way of cutting the bytes."""

    def feed(self, data: bytes) -> list[Any]:
        """The chunk data that `data` completes. Malformed frames are kept as `Native` and noted in `problems`."""
        ...

    def feed_frame(self, value: Any, event: str = "") -> list[Any]:
        """The same for one frame that is parsed already, as an SDK hands it out."""
        ...

    def close(self) -> list[Any]:
        """What the end of the bytes completes; afterwards `ending` says how the stream ended."""
        ...

    @property
    def ending(self) -> End | Error:
        """Complete or incomplete where the dialect's own end was seen, failed on its error, else interrupted."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What was malformed but could be read on from, a sentence each."""
        ...


class Format(msgspec.Struct, Generic[S], frozen=True):
    """A dialect: its name, how it goes over HTTP, its reader and its writer.

    `stateless` writers make each record's frames from that record alone, so nothing need be replayed before a
    position. `heartbeat` is what the dialect's own clients ignore. `repeats` says that the writer reads whole texts
    from the assembly. `tells` are the keys of what the reader can give (empty: of anything), and `losses` declares
    what the writer cannot carry (see `patinox.formats.losses`); empty for a dialect that carries everything.
    """

    name: str
    title: str
    content_type: str
    framing: FramingName
    reader: Callable[[], Reader]
    writer: Writer[S]
    stateless: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    heartbeat: bytes = b": \n"
    repeats: bool = True
    tells: frozenset[str] = frozenset()
    losses: Mapping[str, Loss] = {}

    def losses_from(self, source: Format[Any]) -> dict[str, Loss]:
        """What is lost on the way from `source` into this dialect; nothing between a dialect and itself."""
        if source.name == self.name or not self.losses:
            return {}
        losses = {"ext": FOREIGN_EXT, **self.losses}
        return {key: loss for key, loss in losses.items() if not source.tells or key in source.tells}


def interrupted(message: str) -> End:
    """The ending of a source that broke off."""
    return End(Outcome.INTERRUPTED, Error("interrupted", message, retryable=True))
