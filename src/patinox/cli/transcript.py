"""Native events to what a person reads: the text, the model's reasoning, and remarks on what was missed."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, NamedTuple

import msgspec

from patinox.cli.pieces import WireEvent
from patinox.core.attach import AttachOutcome
from patinox.core.chunks import Binary, End, Error, Json, StreamChunk
from patinox.core.codec import decode_data
from patinox.core.events import BlockDelta, BlockStart, Retract, Usage
from patinox.errors import InvalidChunk
from patinox.incremental.assembler import Assembly

_REASONING = ("reasoning", "reasoning_summary")


class Piece(NamedTuple):
    """Something to show: `text` and `reasoning` run on, a `note` is ours, an `event` is one that is neither."""

    kind: Literal["text", "reasoning", "note", "event"]
    text: str


class Transcript:
    """Folds the events of one stream, in order. It holds which blocks there are, not what they say."""

    def __init__(self) -> None:
        self.hidden = 0
        """How many records of the application's own, Json and Binary, were no text."""
        self._assembly = Assembly()
        self._shown = hashlib.blake2b()
        self._shown_chars = 0
        self._gap = ""

    @property
    def usage(self) -> dict[str, Any]:
        """The token counts so far; empty where none were told."""
        return self._assembly.usage or {}

    def seed(self, snapshot: dict[str, Any]) -> None:
        """Learns from a snapshot which blocks had begun before the reader came."""
        for block in snapshot.get("blocks") or ():
            start = {"message": block["message"], "block": block["block"], "of": block["kind"]}
            self._fold(msgspec.convert({**start, "choice": block.get("choice", 0)}, BlockStart))

    def take(self, event: WireEvent) -> list[Piece]:
        """What the next event makes to show."""
        missed = self._missed(event.event)
        match event.event:
            case "position":
                return missed + self._position(_object(event.data))
            case "gap":
                gap = _object(event.data)
                self._gap = f"records {gap.get('from')} to {gap.get('to')} are gone; what follows comes after them"
                return []
            case "goaway":  # the server is about to leave; what reads this comes back by itself
                return missed
            case "snapshot":
                return self._snapshot(_object(event.data))
        try:
            data = decode_data(event.event, event.data)
        except InvalidChunk:  # of a newer server than we are
            return [*missed, _event(event)]
        return missed + self._record(data, event)

    def _record(self, data: Any, event: WireEvent) -> list[Piece]:
        text = self._assembly.visible_text(data)
        if text:
            return [self._text(text)]
        if isinstance(data, BlockDelta) and data.op == "text.append":
            block = self._assembly.block(data.message, data.block)
            thought = block is not None and block.kind in _REASONING and not data.choice
            return [Piece("reasoning", data.text)] if thought and data.text else []
        if isinstance(data, BlockStart | Usage):
            self._fold(data)
        if isinstance(data, Retract):
            return [Piece("note", f"{data.count} characters were taken back: now {data.replacement!r}")]
        self.hidden += isinstance(data, Json | Binary)
        return [] if isinstance(data, End | Error) else [_event(event)]

    def _position(self, told: dict[str, Any]) -> list[Piece]:
        if told.get("outcome") != AttachOutcome.RESET:
            return []
        again = bool(self._shown_chars)
        self._shown, self._shown_chars = hashlib.blake2b(), 0
        self._assembly = Assembly()
        more = "; forget what stands above" if again else ""
        return [Piece("note", f"the server does not know this position; this is the stream from its start{more}")]

    def _snapshot(self, state: dict[str, Any]) -> list[Piece]:
        """What the snapshot has beyond what was shown; all of it where that was something else."""
        self._gap = ""
        self.seed(state)
        content = str(state.get("content", ""))
        before = content[: self._shown_chars]
        if _digest(before) == self._shown.digest():
            rest = content[self._shown_chars :]
            return [self._text(rest)] if rest else []
        self._shown, self._shown_chars = hashlib.blake2b(), 0
        return [Piece("note", "this is the whole text so far; forget what stands above"), self._text(content)]

    def _missed(self, event: str) -> list[Piece]:
        """The gap that was told before, unless a snapshot fills it."""
        gap, self._gap = self._gap, ""
        return [Piece("note", gap)] if gap and event != "snapshot" else []

    def _text(self, text: str) -> Piece:
        self._shown.update(text.encode("utf-8", "surrogatepass"))
        self._shown_chars += len(text)
        return Piece("text", text)

    def _fold(self, data: BlockStart | Usage) -> None:
        self._assembly.apply(StreamChunk(1, data, 0.0))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest()


def _object(data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _event(event: WireEvent) -> Piece:
    return Piece("event", f"{event.event} {event.data.decode('utf-8', 'replace')}")
