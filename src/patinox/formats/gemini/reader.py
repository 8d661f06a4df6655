"""Reads Gemini streams (`streamGenerateContent?alt=sse`), of the Gemini API and of Vertex AI.

Every frame is a `GenerateContentResponse`. The stream has no end but that of its bytes: it was complete if every
candidate has had its finish reason. Errors come as JSON without `data:`, on one line or many.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, Outcome
from patinox.core.events import BlockDelta, Event, Native, RunEnd, RunStart
from patinox.formats.base import interrupted
from patinox.formats.eventstream import StrayLine
from patinox.formats.framing import EventStreamParser
from patinox.formats.gemini.candidates import CandidatesReader
from patinox.formats.gemini.frames import DIALECT, USAGE, USED, read_usage, remember
from patinox.formats.gemini.patterns import Pattern, learn

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_put = msgspec.structs.force_setattr  # only on events that were made here and nobody has seen yet

_PATTERNS = 4
_PATIENCE = 32
_MAX_STRAY_LINES = 200  # of an error over many lines
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")


class GeminiReader:
    """One stream. Errors of the stream are told by `ending`, never among the events."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._parser = EventStreamParser(keep_stray=True)
        self._candidates = CandidatesReader(self.problems)
        self._envelope: dict[str, Any] | None = None
        self._shapes: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._patterns: list[Pattern] = []
        self._patience = _PATIENCE
        self._usage_text = ""
        self._final = False
        self._stray: list[str] = []
        self._closed = False
        self._error: Error | None = None

    def __repr__(self) -> str:
        return f"<GeminiReader {len(self._candidates.candidates)} candidates, {'closed' if self._closed else 'open'}>"

    def feed(self, data: bytes) -> list[Any]:
        """The events that `data` completes. Raises FramingError for an event over the parser's limit."""
        out: list[Any] = []
        for event in self._parser.feed(data):
            if type(event) is StrayLine:
                self._bare(event.data)
            else:
                out += self._payload(event.data, event.event)
        return out

    def feed_frame(self, value: Any, event: str = "") -> list[Any]:
        """The events of one frame: an object, or the official client's model of it."""
        dump = getattr(value, "model_dump", None)
        if dump is not None:
            value = dump(mode="json", by_alias=True, exclude_none=True)
            for added in ("sdkHttpResponse", "automaticFunctionCallingHistory", "parsed"):
                value.pop(added, None)
        return list(self._payload(_encode(value).decode(), event))

    def close(self) -> list[Any]:
        """The end of the bytes, which is the end of the stream."""
        rest = self._parser.close()
        for line in rest.split(b"\n"):
            if line.startswith(_FIELDS):
                self.problems.append("the last event was cut off")
                break
            if line:
                self._bare(line.decode(errors="replace"))
        if self._stray:
            self.problems.append("a line that is no frame and no error was passed over")
        if self._parser.replaced:
            self.problems.append(f"bytes that are not UTF-8, first after byte {self._parser.replaced_offset}")
        if self._closed or self._error is not None or not self._candidates.all_ended():
            return []
        self._closed = True
        return [] if isinstance(self.ending, Error) else [RunEnd(outcome=self._outcome(), ext={DIALECT: {}})]

    @property
    def ending(self) -> End | Error:
        """Failed on an error, complete or incomplete where every candidate had its finish reason, else interrupted."""
        if self._error is not None:
            return self._error
        if not self._candidates.all_ended():
            return interrupted("the stream broke off before its finish reason")
        if failed := self._candidates.ended_in("error"):
            word = failed.word or "error"
            return Error(word, f"the answer ended with {word}", provider={"finishReason": word})
        return End(self._outcome())

    def _outcome(self) -> Outcome:
        return Outcome.INCOMPLETE if self._candidates.ended_in("length") else Outcome.COMPLETE

    # one frame

    def _bare(self, line: str) -> None:
        """A line without a field name: an error, or a part of one."""
        if not self._stray and not line.lstrip().startswith(("{", "[")):
            self.problems.append("a line that is neither a field nor an error was passed over")
            return
        self._stray.append(line)
        if len(self._stray) > _MAX_STRAY_LINES:
            self._stray = []
            self.problems.append("lines that are neither fields nor an error were passed over")
            return
        try:
            value = _decode("\n".join(self._stray))
        except (msgspec.DecodeError, RecursionError):
            return
        self._stray = []
        first = value[0] if isinstance(value, list) and value else value
        if not isinstance(first, dict) or "error" not in first:
            self.problems.append("an object without `data:` that is no error was passed over")
        elif self._error is None:
            self._error = _error(value)

    def _payload(self, text: str, event: str) -> Sequence[Any]:
        if self._error is not None:
            self.problems.append("a frame after the error was passed over")
            return ()
        if self._patterns and not event and (known := self._recognised(text)) is not None:
            return known
        try:
            frame = _decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            self.problems.append(f"a frame is not JSON ({error})")
            return (Native(dialect=DIALECT, event=event, value=text, ext={DIALECT: {"raw": True}}),)
        if not isinstance(frame, dict):
            if isinstance(frame, list) and frame and isinstance(frame[0], dict) and "error" in frame[0]:
                self._error = _error(frame)
                return ()
            return (Native(dialect=DIALECT, event=event, value=frame, ext={DIALECT: {}}),)
        if frame.get("error"):
            self._error = _error(frame)
            return ()
        return self._frame(frame, event, text)

    def _recognised(self, text: str) -> Sequence[Any] | None:
        for pattern in self._patterns:
            match = pattern.match(text, self._usage_text)
            if match is None:
                continue
            delta, self._usage_text, raw = match
            if raw is None or raw == self._usage:
                return (delta,)
            self._usage = raw
            _put(delta, "more", True)
            return (delta, read_usage(raw, final=self._candidates.all_ended()))
        return None

    def _frame(self, frame: dict[str, Any], event: str, text: str) -> Sequence[Any]:
        reader = self._candidates
        reader.begin_frame()
        first = self._envelope is None
        shape: Any = None
        if isinstance(candidates := frame.get("candidates"), list):
            del frame["candidates"]
            shape = reader.read(candidates)
        elif word := _block_reason(frame):
            reader.block_prompt(word)
        usage = self._used(frame)
        events: list[Any] = reader.events
        if usage is not None:
            events.append(usage)
        if first:
            events.insert(0, _run_start(frame))
        ext = {} if frame == self._envelope else self._changes(frame)
        if event and event != "message":
            ext["event"] = event
        if not self._known(events, shape):
            ext["candidates"] = shape
        elif not ext and self._patience > 0:
            self._learn(text, events[0], frame, shape)
        for item in events[:-1]:
            _put(item, "more", True)
        if not events:
            events.append(Native(dialect=DIALECT))
            ext.setdefault("candidates", shape)
        if ext:
            _put(events[0], "ext", {DIALECT: ext})
        return events

    def _learn(self, text: str, delta: BlockDelta, frame: dict[str, Any], shape: Any) -> None:
        pattern = learn(text, delta, frame, shape)
        if pattern is None:
            self._patience -= 1
        else:
            self._patterns = [*self._patterns[1 - _PATTERNS :], pattern]
            self._usage_text = ""

    def _known(self, events: list[Event], shape: Any) -> bool:
        """Whether the writer knows the shape: it is that of the block's last delta. If not, it will."""
        reader = self._candidates
        plain = reader.payloads == 1 and bool(events) and type(events[0]) is BlockDelta and len(events) <= 2
        if plain and self._shapes.get(reader.key) == shape:
            return True
        self._patterns.clear()
        if reader.payloads == 1 and reader.key:
            remember(self._shapes, reader.key, shape)
        return False

    def _used(self, frame: dict[str, Any]) -> Event | None:
        """The usage, if it is another than before, or final. In the envelope it has a place only."""
        raw = frame.get(USAGE)
        if not isinstance(raw, dict):
            return None
        frame[USAGE] = USED
        final = self._candidates.all_ended()
        if raw == self._usage and final is self._final:
            return None
        self._usage, self._final = raw, final
        return read_usage(raw, final=final)

    def _changes(self, frame: dict[str, Any]) -> dict[str, Any]:
        before, self._envelope = self._envelope, frame
        self._patterns.clear()
        if before is None:
            return {"set": frame}
        changed = {key: value for key, value in frame.items() if key not in before or before[key] != value}
        gone = [key for key in before if key not in frame]
        return ({"set": changed} if changed else {}) | ({"unset": gone} if gone else {})


def _run_start(frame: dict[str, Any]) -> RunStart:
    model, response_id = frame.get("modelVersion"), frame.get("responseId")
    return RunStart(
        model=model if isinstance(model, str) and model else None,
        provider_id=response_id if isinstance(response_id, str) and response_id else None,
        created_s=_time_s(frame.get("createTime")),
    )


def _time_s(value: Any) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _block_reason(frame: dict[str, Any]) -> str | None:
    feedback = frame.get("promptFeedback")
    word = feedback.get("blockReason") if isinstance(feedback, dict) else None
    return word if isinstance(word, str) and word else None


def _error(value: Any) -> Error:
    """`{"error": {"code", "message", "status"}}`, alone or in a list; the whole of it is kept."""
    body = value[0] if isinstance(value, list) and value else value
    fields = body.get("error") if isinstance(body, dict) else None
    fields = fields if isinstance(fields, dict) else {}
    code, message, status = fields.get("code"), fields.get("message"), fields.get("status")
    known = code if type(code) is int and 400 <= code <= 599 else None
    return Error(
        code=status if isinstance(status, str) and status else str(code or "upstream_error"),
        message=message
        if isinstance(message, str) and message
        else "the provider reported an error and did not say which",
        status=known,
        retryable=None if known is None else known in (408, 409, 429) or known >= 500,
        provider=value,
    )
