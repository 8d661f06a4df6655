"""Reads OpenAI Chat Completions streams (API reference, "The chat completion chunk object"), and what the
many servers that speak it add: `reasoning_content`, `reasoning_details`, content parts, images, errors.

A delta that looks like one before it, its text aside, is recognised by the characters around its text and is
not parsed as a whole; everything else takes the long way. Both give the same events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, Outcome
from patinox.core.events import BlockDelta, Event, Native, RunEnd, RunStart
from patinox.formats.base import interrupted
from patinox.formats.framing import EventStreamParser
from patinox.formats.openai_chat.choices import ChoicesReader
from patinox.formats.openai_chat.frames import DIALECT, read_usage, remember
from patinox.formats.openai_chat.patterns import (
    Around,
    Pattern,
    around_id,
    around_padded,
    delta_of,
    event_of,
    matched,
    pattern_of,
    with_id,
)

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_put = msgspec.structs.force_setattr  # only on events that were made here and nobody has seen yet

_ONCE = ("x_groq", "obfuscation")
_PATTERNS = 4
_PATIENCE = 32
_UNNAMED = frozenset({"", "message"})


class OpenAIChatReader:
    """One stream. Errors of the stream are told by `ending`, never among the events."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._parser = EventStreamParser()
        self._choices = ChoicesReader(self.problems)
        self._envelope: dict[str, Any] | None = None
        self._shapes: dict[str, Any] = {}
        self._patterns: list[Pattern] = []
        self._patience = _PATIENCE
        self._done = False
        self._error: Error | None = None

    def __repr__(self) -> str:
        return f"<OpenAIChatReader {len(self._choices.choices)} choices, {'done' if self._done else 'open'}>"

    def feed(self, data: bytes) -> list[Any]:
        """The events that `data` completes. Raises FramingError for an event over the parser's limit."""
        if self._patterns and self._parser.is_idle(len(data)) and (delta := self._recognised(data)) is not None:
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
        """The events of one frame: an object, or an SDK's model of it."""
        dump = getattr(value, "model_dump", None)
        body = value if dump is None else dump(exclude_unset=True)
        return self._payload(_encode(body).decode(), event)

    def close(self) -> list[Any]:
        """The end of the bytes. Without `[DONE]` the run has ended only if every choice had its reason."""
        if self._parser.close().strip():
            self.problems.append("the last event was cut off")
        if self._parser.replaced:
            self.problems.append(f"bytes that are not UTF-8, first after byte {self._parser.replaced_offset}")
        if self._done or self._error is not None:
            return []
        if not self._choices.all_ended():
            return []
        self.problems.append("the stream ended without [DONE]")
        return list(self._finish())

    @property
    def ending(self) -> End | Error:
        """Failed on an error, complete or incomplete where the end was seen, else interrupted."""
        if self._error is not None:
            return self._error
        if self._choices.ended_in("error"):
            return Error("upstream_error", "the provider ended the answer with an error and did not say which")
        if self._done or self._choices.all_ended():
            return End(self._outcome())
        return interrupted("the stream broke off before its end")

    def _outcome(self) -> Outcome:
        return Outcome.INCOMPLETE if self._choices.ended_in("length") else Outcome.COMPLETE

    # one frame

    def _payload(self, text: str, event: str) -> list[Any]:
        if self._patterns and not event and (delta := self._recognised(event_of(text))) is not None:
            return [delta]
        return [*self._whole(text, event)]

    def _recognised(self, data: bytes) -> BlockDelta | None:
        """The delta of a whole event that is like one before it; None for any other."""
        for pattern in self._patterns:
            if data.startswith(pattern.head) and data.endswith(pattern.tail):
                delta = self._with_id(pattern, data) if pattern.is_id else matched(pattern, data)
                if delta is not None:
                    return delta
        return None

    def _with_id(self, pattern: Pattern, data: bytes) -> BlockDelta | None:
        """A delta whose frame has an id of its own, perhaps; it is that of the envelope from here on."""
        found = with_id(pattern, data)
        if found is None or not found[1]:
            return None
        frame_id, said = found
        envelope = self._envelope or {}
        if frame_id == envelope["id"]:
            return delta_of(pattern, said, None)
        self._envelope = {**envelope, "id": frame_id}
        self._patterns = [known for known in self._patterns if known.is_id]
        return delta_of(pattern, said, {DIALECT: {"set": {"id": frame_id}}})

    def _whole(self, text: str, event: str) -> Sequence[Any]:
        if text.lstrip().startswith("[DONE]"):
            return () if self._error is not None else self._finish(done=True)
        if self._done or self._error is not None:
            self.problems.append("a frame after the end was passed over")
            return ()
        try:
            frame = _decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            return self._malformed(text, event, f"a frame is not JSON ({error})")
        if event == "error" or (isinstance(frame, dict) and frame.get("error")):
            return self._failure(frame, event)
        if not isinstance(frame, dict) or not isinstance(frame.get("choices"), list):
            return self._unknown(frame, event)
        return self._chunk(frame, event, text)

    def _malformed(self, text: str, event: str, problem: str) -> Sequence[Any]:
        self.problems.append(problem)
        if event == "error":
            self._error = Error("upstream_error", text)
            return ()
        return (Native(dialect=DIALECT, event=event, value=text, ext={DIALECT: {"raw": True}}),)

    def _unknown(self, frame: Any, event: str) -> Sequence[Any]:
        events: list[Any] = []
        usage = frame.get("usage") if isinstance(frame, dict) else None
        if isinstance(usage, dict):
            events.append(read_usage(usage, final=self._choices.all_ended()))
        events.append(Native(dialect=DIALECT, event=event, value=frame))
        return _joined(events, {})

    def _chunk(self, frame: dict[str, Any], event: str, text: str) -> Sequence[Any]:
        events, choices = self._choices.read(frame["choices"]), frame["choices"]
        usage, once = self._usage(frame), self._once(frame)
        if self._envelope is None:
            if not choices and not usage:
                return (Native(dialect=DIALECT, event=event, value={**frame, **once}),)
            events.insert(0, _run_start(frame))
        frame["choices"] = None  # keeps its place among the keys
        ext = self._changes(frame)
        if once:
            ext["once"] = once
        if event not in _UNNAMED:
            ext["event"] = event
        single = len(events) == 1 and type(events[0]) is BlockDelta
        if not single or self._shapes.get(self._choices.key) != choices:
            ext["choices"] = choices
            self._remember(choices)
        elif ext.keys() <= {"once"}:
            self._learn(text, events[0], choices, once)
            if not ext:
                return events
        elif ext.keys() == {"set"} and ext["set"].keys() == {"id"}:
            self._learn_id(text, events[0], choices)
        return _joined(events or [Native(dialect=DIALECT)], ext)

    def _usage(self, frame: dict[str, Any]) -> bool:
        raw: Any = frame.get("usage")
        if not isinstance(raw, dict):
            groq = frame.get("x_groq")
            raw = groq.get("usage") if isinstance(groq, dict) else None
        if not isinstance(raw, dict):
            return False
        self._choices.events.append(read_usage(raw, final=self._choices.all_ended()))
        return True

    def _once(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Takes out of the frame what only ever stands in one."""
        once = {key: frame.pop(key) for key in _ONCE if key in frame}
        if isinstance(frame.get("usage"), dict):
            once["usage"] = {"$": self._choices.payloads}
            if self._envelope is not None and "usage" in self._envelope:
                frame["usage"] = self._envelope["usage"]
            else:
                del frame["usage"]
        return once

    def _changes(self, frame: dict[str, Any]) -> dict[str, Any]:
        before = self._envelope
        if frame == before:
            return {}
        self._envelope = frame
        self._patterns.clear()
        if before is None:
            return {"set": frame}
        changed = {key: value for key, value in frame.items() if key not in before or before[key] != value}
        gone = [key for key in before if key not in frame]
        return ({"set": changed} if changed else {}) | ({"unset": gone} if gone else {})

    def _remember(self, choices: list[Any]) -> None:
        self._patterns.clear()
        if self._choices.payloads == 1 and self._choices.key:
            remember(self._shapes, self._choices.key, choices)

    def _learn(self, text: str, delta: Event, choices: list[Any], once: dict[str, Any]) -> None:
        """Makes a pattern of a plain delta, if its text can be told apart from the rest of the frame."""
        assert isinstance(delta, BlockDelta)
        if not self._may_learn(text, delta) or not once.keys() <= {"obfuscation"}:
            return
        around = around_padded(text, delta.text, once.get("obfuscation"))
        probe = {**(self._envelope or {}), **dict.fromkeys(once, ""), "choices": choices}
        if around is None or _decode('{"$":0}'.join(around[:2]) + ('""' if once else "") + around[2]) != probe:
            self._patience -= 1
            return
        self._add(around, delta)

    def _learn_id(self, text: str, delta: Event, choices: list[Any]) -> None:
        """Makes a pattern of a plain delta whose frame has another id than the one before it."""
        assert isinstance(delta, BlockDelta)
        frame_id = (self._envelope or {}).get("id")
        if not self._may_learn(text, delta) or not isinstance(frame_id, str):
            return
        around = around_id(text, frame_id, delta.text)
        probe = {**(self._envelope or {}), "id": {"$": 0}, "choices": choices}
        if around is None or _decode('{"$":0}'.join(around)) != probe:
            self._patience -= 1
            return
        self._add(around, delta, is_id=True)

    def _may_learn(self, text: str, delta: BlockDelta) -> bool:
        """Not of an event of several lines, nor of one that would be one of several."""
        return self._patience > 0 and delta.block is not None and "\n" not in text and "\r" not in text

    def _add(self, around: Around, delta: BlockDelta, *, is_id: bool = False) -> None:
        pattern = pattern_of(around, delta, self._choices.arguments(delta), is_id=is_id)
        self._patterns = [*self._patterns[1 - _PATTERNS :], pattern]

    # endings

    def _finish(self, *, done: bool = False) -> Sequence[Any]:
        if self._done:
            self.problems.append("a second [DONE] was passed over")
            return ()
        self._done = True
        self._patterns.clear()
        if self._envelope is None:
            self.problems.append("the stream was empty")
        events = self._choices.finish()
        return _joined([*events, RunEnd(outcome=self._outcome())], {})

    def _failure(self, frame: Any, event: str) -> Sequence[Any]:
        """An error ends the stream; what its frame carries besides is kept for the way back."""
        body = frame if isinstance(frame, dict) else {"error": frame}
        error = body.get("error") or body
        rest = {key: value for key, value in body.items() if key != "error"} if body.get("error") else {}
        events: list[Event] = []
        if rest:
            copy = _decode(_encode(rest))
            events = self._choices.read(copy["choices"] if isinstance(copy.get("choices"), list) else [])
            self._usage(copy)
        if rest or event:
            events.append(Native(dialect=DIALECT, event=event, value=rest))
        self._error = _error(error)
        self._patterns.clear()
        for item in events:
            _put(item, "more", True)
        if events:
            _put(events[0], "ext", {DIALECT: {}})
        return events


def _joined(events: list[Any], ext: dict[str, Any]) -> list[Any]:
    """The events of one frame: the first says what is special, all but the last say that it goes on."""
    _put(events[0], "ext", {DIALECT: ext})
    for event in events[:-1]:
        _put(event, "more", True)
    return events


def _run_start(frame: dict[str, Any]) -> RunStart:
    created = frame.get("created")
    return RunStart(
        model=_word(frame.get("model")),
        provider=_word(frame.get("provider")),
        provider_id=_word(frame.get("id")),
        created_s=created if type(created) in (int, float) and created else None,
    )


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _error(body: Any) -> Error:
    """OpenAI's error object `{message, type, code, param}`, or whatever stands in its place."""
    fields = body if isinstance(body, dict) else {}
    code, status = fields.get("code"), fields.get("status_code", fields.get("status"))
    if type(status) is not int:
        status = code if type(code) is int else None
    message = fields.get("message")
    if not isinstance(message, str) or not message:
        message = body if isinstance(body, str) else "the provider reported an error and did not say which"
    return Error(
        code=str(code or fields.get("type") or "upstream_error"),
        message=message,
        status=status if status is not None and 400 <= status <= 599 else None,
        retryable=None if status is None else status in (408, 409, 429) or status >= 500,
        provider=body,
    )
