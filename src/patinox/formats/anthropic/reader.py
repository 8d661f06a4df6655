"""Reads Anthropic Messages streams (API reference, "Streaming Messages").

A text, thinking or argument delta that says nothing unusual is decoded straight into a struct; one that is written as
Anthropic does, and of the block that the last one was of, only has its string read. Everything else takes the long
way. All give the same events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, Outcome
from patinox.core.events import (
    BlockDelta,
    BlockKind,
    MessageEnd,
    MessageStart,
    Native,
    RunEnd,
    RunStart,
)
from patinox.formats.anthropic.blocks import BlocksReader
from patinox.formats.anthropic.deltas import DELTA, PLAIN, Last, decode_delta, last_of, said_like
from patinox.formats.anthropic.frames import DIALECT, REASONS, STATUSES, read_usage
from patinox.formats.base import interrupted
from patinox.formats.framing import EventStreamParser

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
replace = msgspec.structs.replace
_put = msgspec.structs.force_setattr  # only on events that were made here and nobody has seen yet

_HELPERS = frozenset({"text", "input_json", "thinking", "signature", "citation"})
"""What the official client's `messages.stream()` adds to the events of the wire."""


class Shape(msgspec.Struct, frozen=True):
    """A frame with holes where its payloads were. `plain`: the writer makes the same without being told."""

    frame: dict[str, Any]
    plain: bool = False


class AnthropicReader:
    """One stream. Errors of the stream are told by `ending`, never among the events."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._parser = EventStreamParser()
        self._blocks = BlocksReader(self.problems)
        self._last: Last | None = None
        self._messages = 0
        self._id: Any = None
        self._reason: dict[str, Any] = {}
        self._stopped = False
        self._closed = False
        self._error: Error | None = None

    def __repr__(self) -> str:
        return f"<AnthropicReader {self._messages} messages, {'stopped' if self._stopped else 'open'}>"

    def feed(self, data: bytes) -> list[Any]:
        """The events that `data` completes. Raises FramingError for an event over the parser's limit."""
        last = self._last
        if last is not None and data.startswith(last.head) and self._parser.is_idle(len(data)):
            delta = self._like_the_last(last, data)
            if delta is not None:
                self._parser.offset += len(data)
                return [delta]
        whole = self._parser.whole(data)
        if whole is not None:
            return self._payload(whole.data, whole.event)
        out: list[Any] = []
        for event in self._parser.feed(data):
            out += self._payload(event.data, event.event)
        return out

    def feed_frame(self, value: Any, event: str = "") -> list[Any]:
        """The events of one frame: an object, or the official client's model of it."""
        body = _plain(value)
        if isinstance(body, dict):
            if body.get("type") in _HELPERS:
                return []
            event = event or str(body.get("type", ""))
        return self._payload(_encode(body).decode(), event)

    def close(self) -> list[Any]:
        """The end of the bytes. The run is over if the last message was."""
        if self._parser.close().strip():
            self.problems.append("the last event was cut off")
        if self._parser.replaced:
            self.problems.append(f"bytes that are not UTF-8, first after byte {self._parser.replaced_offset}")
        if self._closed or self._error is not None or not self._stopped:
            return []
        self._closed = True
        return [RunEnd(outcome=self._outcome(), ext={DIALECT: {}})]

    @property
    def ending(self) -> End | Error:
        """Failed on an error, complete or incomplete after `message_stop`, else interrupted."""
        if self._error is not None:
            return self._error
        return End(self._outcome()) if self._stopped else interrupted("the stream broke off before message_stop")

    def _outcome(self) -> Outcome:
        cut = REASONS.get(self._reason.get("stop_reason") or "") == "length"
        return Outcome.INCOMPLETE if cut else Outcome.COMPLETE

    # one frame

    def _payload(self, text: str, event: str) -> list[Any]:
        if event == DELTA or not event:
            delta = self._plain_delta(text)
            if delta is not None:
                return [delta]
        return [*self._whole(text, event)]

    def _like_the_last(self, last: Last, data: bytes) -> BlockDelta | None:
        """The delta of a whole event that begins like the last one; None where more than its text stands in it."""
        text = said_like(last, data)
        if text is None:
            return None
        if last.op == "json.append":
            last.block.parts.append(text)
        return BlockDelta(message=self._blocks.message, block=last.block.number, op=last.op, text=text)

    def _plain_delta(self, text: str) -> BlockDelta | None:
        try:
            frame = decode_delta(text)
        except (msgspec.DecodeError, RecursionError):
            return None
        block, delta = self._blocks.open.get(frame.index), frame.delta
        op = PLAIN.get((type(delta), block.of)) if block is not None else None
        if block is None or op is None or self._stopped or self._error is not None:
            return None
        if op == "json.append":
            block.parts.append(delta.said)
        if self._last is None or self._last.block is not block:
            self._last = last_of(frame, block, op)
        return BlockDelta(message=self._blocks.message, block=block.number, op=op, text=delta.said)

    def _whole(self, text: str, event: str) -> Sequence[Any]:
        self._last = None
        if self._error is not None:
            self.problems.append("a frame after the error was passed over")
            return ()
        try:
            frame = _decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            return self._malformed(text, event, f"a frame is not JSON ({error})")
        kind = frame.get("type") if isinstance(frame, dict) else None
        if kind == "error" or event == "error":
            self._error = _error(frame)
            return ()
        event = event or _word(kind) or ""  # official clients pass over what has no name
        self._blocks.begin_frame()
        read = _READ.get(kind) if isinstance(kind, str) else None
        shape = read(self, frame) if read is not None else None
        if shape is None:
            return [*self._blocks.events, Native(dialect=DIALECT, event=event, value=frame)]
        return self._shaped(shape, event, named=event == kind)

    def _shaped(self, shape: Shape, event: str, *, named: bool) -> Sequence[Any]:
        """The events of a frame; the first says the frame's shape where the writer would not make the same."""
        events = self._blocks.events
        is_plain = shape.plain and named
        if is_plain and len(events) == 1:
            return events
        own = [item for item in events if item.ext is None]
        for item in own[:-1]:
            _put(item, "more", True)
        if not is_plain:
            ext = {"frame": shape.frame} if named else {"frame": shape.frame, "event": event}
            _put(own[0], "ext", {DIALECT: ext})
        return events

    def _malformed(self, text: str, event: str, problem: str) -> Sequence[Any]:
        self.problems.append(problem)
        if event == "error":
            self._error = Error("upstream_error", text)
            return ()
        return (Native(dialect=DIALECT, event=event, value=text, ext={DIALECT: {"raw": True}}),)

    # by type: each gives the frame's shape, None where the frame is to be kept as it is

    def _message_start(self, frame: dict[str, Any]) -> Shape | None:
        message = frame.get("message")
        if not isinstance(message, dict):
            return self._odd("a message_start without a message")
        if self._messages and not self._stopped:
            if message.get("id") == self._id:
                return self._odd("a message began twice")
            self._break_off()
        if not self._messages:
            self._blocks.events.append(
                RunStart(model=_word(message.get("model")), provider_id=_word(message.get("id")))
            )
        self._blocks.begin_message(self._messages)
        self._messages += 1
        self._id, self._stopped = message.get("id"), False
        self._reason = message if message.get("stop_reason") else {}
        role = _word(message.get("role")) or "assistant"
        self._blocks.events.append(
            MessageStart(message=self._blocks.message, role=role, provider_id=_word(message.get("id")))
        )
        return Shape({**frame, "message": self._message(message)})

    def _message(self, message: dict[str, Any]) -> dict[str, Any]:
        shape = dict(message)
        if isinstance(content := message.get("content"), list):
            shape["content"] = [self._content(item) for item in content]
        if isinstance(usage := message.get("usage"), dict):
            self._blocks.events.append(replace(read_usage(usage, final=False), message=self._blocks.message))
            shape["usage"] = self._blocks.hole()
        return shape

    def _content(self, item: Any) -> Any:
        """A block that was whole when its message began."""
        if not isinstance(item, dict):
            return item
        place = self._blocks.next
        shape, _ = self._blocks.start(place, item)
        self._blocks.stop(self._blocks.open[place])
        return shape

    def _break_off(self) -> None:
        """Another message begins where one had not ended: what was open is closed, but nothing is made ready."""
        self.problems.append("a message began before the one before it had ended")
        self._close_blocks()
        self._blocks.events.append(MessageEnd(message=self._blocks.message, ext={DIALECT: {}}))

    def _close_blocks(self) -> None:
        for block in self._blocks.open.values():
            self._blocks.abandon(block)
        self._blocks.open.clear()

    def _block_start(self, frame: dict[str, Any]) -> Shape | None:
        index, content = frame.get("index"), frame.get("content_block")
        if type(index) is not int or not isinstance(content, dict) or not self._in_message():
            return self._odd("a content_block_start out of place")
        self._blocks.settle()
        shape, plain = self._blocks.start(index, content)
        return Shape({**frame, "content_block": shape}, plain and len(frame) == 3)

    def _block_delta(self, frame: dict[str, Any]) -> Shape | None:
        index, delta = frame.get("index"), frame.get("delta")
        if type(index) is not int or not isinstance(delta, dict) or not self._in_message():
            return self._odd("a content_block_delta out of place")
        block = self._blocks.open.get(index)
        if block is None:
            of = _STRAYS.get(str(delta.get("type")))
            if of is None:
                return self._odd(f"block {index} never began")
            block = self._blocks.stray(index, of)
        read = self._blocks.delta(block, delta)
        return None if read is None else Shape({**frame, "delta": read[0]}, read[1] and len(frame) == 3)

    def _block_stop(self, frame: dict[str, Any]) -> Shape | None:
        index = frame.get("index")
        block = self._blocks.open.get(index) if type(index) is int else None
        if block is None or not self._in_message():
            return self._odd("a content_block_stop out of place")
        self._blocks.stop(block)
        return Shape(frame, len(frame) == 2)

    def _message_delta(self, frame: dict[str, Any]) -> Shape | None:
        delta, usage = frame.get("delta"), frame.get("usage")
        if not self._in_message():
            return self._odd("a message_delta out of place")
        if isinstance(delta, dict) and delta.get("stop_reason"):
            self._reason = delta
        if self._reason:  # usage before an error comes without one, and then a call may have been cut off
            self._blocks.settle(cut=self._outcome() is Outcome.INCOMPLETE)
        if not isinstance(usage, dict):
            return None
        self._blocks.events.append(replace(read_usage(usage, final=True), message=self._blocks.message))
        return Shape({**frame, "usage": self._blocks.hole()})

    def _message_stop(self, frame: dict[str, Any]) -> Shape | None:
        if not self._in_message():
            return self._odd("a message_stop out of place")
        if self._blocks.open:
            self.problems.append("a message ended before its blocks had")
        self._close_blocks()
        self._blocks.settle(cut=self._outcome() is Outcome.INCOMPLETE)
        self._stopped = True
        word = _word(self._reason.get("stop_reason"))
        if word is None:
            self.problems.append("a message ended without a stop reason")
        self._blocks.events.append(
            MessageEnd(
                message=self._blocks.message,
                finish_reason=None if word is None else REASONS.get(word, "other"),
                provider_reason=word,
                stop_sequence=_word(self._reason.get("stop_sequence")),
                details=self._reason.get("stop_details"),
            )
        )
        return Shape(frame)

    def _in_message(self) -> bool:
        return self._messages > 0 and not self._stopped

    def _odd(self, problem: str) -> Shape | None:
        """A frame that is kept as it is."""
        self.problems.append(problem)
        return None


_READ: dict[str, Any] = {
    "message_start": AnthropicReader._message_start,
    "content_block_start": AnthropicReader._block_start,
    "content_block_delta": AnthropicReader._block_delta,
    "content_block_stop": AnthropicReader._block_stop,
    "message_delta": AnthropicReader._message_delta,
    "message_stop": AnthropicReader._message_stop,
}

_STRAYS: dict[str, BlockKind] = {"text_delta": "text", "thinking_delta": "reasoning", "input_json_delta": "tool_call"}


def _plain(value: Any) -> Any:
    """The official client's model as the object it was; its helpers' additions to two events are left out."""
    kind = getattr(value, "type", None)
    if kind == "content_block_stop" and hasattr(value, "index"):
        return {"type": kind, "index": value.index}
    if kind == "message_stop" and not isinstance(value, dict):
        return {"type": kind}
    if isinstance(kind, str) and kind in _HELPERS and not isinstance(value, dict):
        return {"type": kind}
    dump = getattr(value, "model_dump", None)
    return value if dump is None else dump(mode="json", exclude_unset=True)


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _error(frame: Any) -> Error:
    """`{"type": "error", "error": {"type", "message"}}`; the whole of it is kept."""
    fields = frame.get("error") if isinstance(frame, dict) else None
    fields = fields if isinstance(fields, dict) else {}
    kind = _word(fields.get("type"))
    status = STATUSES.get(kind or "")
    return Error(
        code=kind or "upstream_error",
        message=_word(fields.get("message")) or "the provider reported an error and did not say which",
        status=status,
        retryable=None if status is None else status in (408, 409, 429) or status >= 500,
        provider=frame,
    )
