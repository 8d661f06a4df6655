"""Plain text: what an answer says, and nothing else. Of several alternatives it is the first.

Its bytes have no frame and no end of their own: how the stream ended is for the transport to say (a body without
its last chunk).
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any, get_args

from patinox.core.chunks import End, Error, Outcome, StreamChunk, Text
from patinox.core.events import BlockDelta, BlockKind, BlockStart, MessageEnd, MessageStart
from patinox.errors import FramingError
from patinox.formats.base import Format, Frame, StreamHead, interrupted
from patinox.formats.flat import USAGE_COUNTS
from patinox.formats.losses import ONE_CALL, Loss, Losses
from patinox.incremental.assembler import Assembly

_BOM = "\ufeff"

Hidden = tuple[tuple[int, int | None], ...]
"""The (message, block) of what has begun and is not text; a whole message has None for its block."""


class TextWriter:
    """Writes `Text` chunks, and the text of blocks of kind text."""

    def initial(self, head: StreamHead) -> Hidden:
        """Nothing is hidden."""
        return ()

    def write(self, state: Hidden, chunk: StreamChunk, assembly: Assembly) -> tuple[Hidden, Sequence[Frame]]:
        """The text of one record as UTF-8; no frame if it has none."""
        data = chunk.data
        if isinstance(data, Text):
            return state, (Frame(data.text.encode()),) if data.text else ()
        if isinstance(data, BlockDelta):
            said = data.op == "text.append" and data.text and not data.choice and not _is_hidden(state, data)
            return state, (Frame(data.text.encode()),) if said else ()
        if isinstance(data, BlockStart) and data.of != "text":
            return (*state, (data.message, data.block)), ()
        if isinstance(data, MessageStart) and data.role != "assistant":
            return (*state, (data.message, None)), ()
        if isinstance(data, MessageEnd) and state:
            return tuple(place for place in state if place[0] != data.message), ()
        return state, ()

    def openers(self, state: Hidden, assembly: Assembly) -> Sequence[Frame]:
        """Text needs none."""
        return ()


def _is_hidden(state: Hidden, data: BlockDelta) -> bool:
    return bool(state) and ((data.message, data.block) in state or (data.message, None) in state)


class TextReader:
    """Reads UTF-8 as `Text` chunks, one for what each call completes; characters are never cut."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._offset = 0
        self._begun = False
        self._failure: FramingError | None = None
        self._closed = False

    def feed(self, data: bytes) -> list[Any]:
        """The text that `data` completes. Ill-formed UTF-8 raises FramingError, after the text before it."""
        if self._failure is not None:
            raise self._failure
        held = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(data)
        except UnicodeDecodeError as error:
            self._failure = FramingError("not UTF-8", offset=self._offset - held + error.start)
            text = bytes(error.object[: error.start]).decode()
            if not text:
                raise self._failure from error
        self._offset += len(data)
        return self._texts(text)

    def feed_frame(self, value: Any, event: str = "") -> list[Any]:
        """A piece of text."""
        return self._texts(str(value))

    def close(self) -> list[Any]:
        """The end. Raises FramingError for what `feed` still had to raise."""
        if self._failure is not None:
            raise self._failure
        if self._decoder.getstate()[0]:
            self.problems.append("the last character was cut off")
        self._closed = True
        return []

    @property
    def ending(self) -> End | Error:
        """Complete once closed: plain text has no other end. A transport that knows better says so."""
        return End(Outcome.COMPLETE) if self._closed else interrupted("the text broke off before its end")

    def _texts(self, text: str) -> list[Any]:
        if text and not self._begun:
            self._begun = True
            text = text.removeprefix(_BOM)
        return [Text(text)] if text else []


_ONLY_TEXT = "nothing but the text of the answer is told"
_NO_END = "a text has no end of its own: over HTTP the body is cut off, in a file nothing tells it"
LOSSES: Losses = {
    **{key: Loss(_ONLY_TEXT) for key in ONE_CALL if key not in ("message.start", "message.start:role")},
    **{key: ONE_CALL[key] for key in ("message.start", "message.start:role")},
    **{f"block.start:{kind}": Loss(_ONLY_TEXT) for kind in get_args(BlockKind) if kind != "text"},
    **{
        f"block.delta:{op}": Loss(_ONLY_TEXT)
        for op in ("opaque.set", "opaque.append", "annotation.add", "logprobs.add")
    },
    **{f"message.end:{field}": Loss(_ONLY_TEXT) for field in ("finish_reason", "stop_sequence")},
    **{f"run.start:{field}": Loss(_ONLY_TEXT) for field in ("model", "provider", "created_s")},
    **{f"usage:{field}": Loss(_ONLY_TEXT) for field in USAGE_COUNTS},
    "choice": Loss("of several alternatives it is the first"),
    "error": Loss(_NO_END),
    **{f"end:{outcome}": Loss(_NO_END) for outcome in Outcome if outcome is not Outcome.COMPLETE},
}
"""What is lost on the way into plain text."""

TEXT: Format[Hidden] = Format(
    name="text",
    title="Plain text",
    content_type="text/plain; charset=utf-8",
    framing="raw",
    reader=TextReader,
    writer=TextWriter(),
    tells=frozenset({"text"}),
    losses=LOSSES,
    repeats=False,
    heartbeat=b"",
)
