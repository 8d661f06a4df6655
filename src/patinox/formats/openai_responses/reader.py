"""Reads OpenAI Responses streams (API reference, "Streaming events"), and those of servers that speak it too.

A delta whose frame is that of the block's last delta, but for text and number, is one short event; every other frame
leaves its shape (see `shapes`) with its first event. Frames without a neutral meaning are `Native`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, Outcome
from patinox.core.events import BlockDelta, Event, FinishReason, MessageEnd, MessageStart, Native, RunEnd, RunStart
from patinox.formats.base import interrupted
from patinox.formats.framing import EventStreamParser
from patinox.formats.openai_responses.items import ItemsReader, Part, joined
from patinox.formats.openai_responses.patterns import Patterns, event_of
from patinox.formats.openai_responses.shapes import DIALECT, HOLE, hole
from patinox.formats.openai_responses.tables import DELTAS, DONES, REASONS, Growing, read_error, read_usage

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

_HOLE_KEY = f'"{HOLE}"'
_PASSING = ("delta", "obfuscation")
_UNTOLD = object()


class OpenAIResponsesReader:
    """One stream. Errors of the stream are told by `ending`, never among the events."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._parser = EventStreamParser()
        self._items = ItemsReader(0, self.problems)
        self._patterns = Patterns()
        self._begun = False
        self._response: dict[str, Any] = {}
        self._next = 0
        self._numbered = True
        self._named = True
        self._outcome: Outcome | None = None
        self._error: Error | None = None

    def __repr__(self) -> str:
        state = "open" if self._outcome is None else self._outcome
        return f"<OpenAIResponsesReader {len(self._items.parts)} blocks, {state}>"

    def feed(self, data: bytes) -> list[Any]:
        """The events that `data` completes. Raises FramingError for an event over the parser's limit."""
        if self._patterns.known and self._parser.is_idle(len(data)):
            delta = self._patterns.match(data, self._next)
            if delta is not None:
                self._parser.offset += len(data)
                self._next += self._numbered
                return [delta]
        whole = self._parser.whole(data)
        if whole is not None:
            return [*self._whole(whole.data, whole.event)]
        out: list[Any] = []
        for event in self._parser.feed(data):
            out += self._text(event.data, event.event)
        return out

    def feed_frame(self, value: Any, event: str = "") -> list[Any]:
        """The events of one frame: an object, or an SDK's model of it."""
        dump = getattr(value, "model_dump", None)
        body = value if dump is None else dump(exclude_unset=True)
        name = body.get("type", "") if isinstance(body, dict) else ""
        return self._text(_encode(body).decode(), event or name)

    def close(self) -> list[Any]:
        """The end of the bytes. Nothing ends here that did not end before."""
        if self._parser.close().strip():
            self.problems.append("the last event was cut off")
        if self._parser.replaced:
            self.problems.append(f"bytes that are not UTF-8, first after byte {self._parser.replaced_offset}")
        return []

    @property
    def ending(self) -> End | Error:
        """Failed on an error, complete or incomplete where the end was seen, else interrupted."""
        if self._error is not None:
            return self._error
        if self._outcome is not None:
            return End(self._outcome)
        return interrupted("the stream broke off before its end")

    # one frame

    def _text(self, text: str, event: str) -> list[Any]:
        delta = self._patterns.match(event_of(text, event), self._next) if self._patterns.known else None
        if delta is not None:
            self._next += self._numbered
            return [delta]
        return [*self._whole(text, event)]

    def _whole(self, text: str, event: str) -> Sequence[Any]:
        try:
            frame = _decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            return self._raw(text, event, str(error))
        if not isinstance(frame, dict) or not isinstance(kind := frame.get("type"), str):
            return self._unknown(frame, event)
        if self._error is not None and kind != "response.failed":
            self.problems.append("a frame after the error was passed over")
            return ()
        growing = DELTAS.get(kind)
        literal = _HOLE_KEY in text
        if growing is not None and not literal and self._begun and self._outcome is None:
            number = frame.pop("sequence_number", _UNTOLD)
            expected = self._next if self._numbered else _UNTOLD
            if number == expected and event == (kind if self._named else ""):
                part = self._part_of(growing, frame)
                delta = None if part is None else self._plain(part, frame)
                if part is not None and delta is not None:
                    self._patterns.learn(text, event, self._next if self._numbered else None, part, delta)
                    self._next += self._numbered
                    return (delta,)
            if number is not _UNTOLD:
                frame["sequence_number"] = number
        return self._framed(frame, kind, event, literal)

    def _raw(self, text: str, event: str, error: str) -> Sequence[Any]:
        if not text.startswith("[DONE]"):
            self.problems.append(f"a frame is not JSON ({error})")
        elif self._error is not None:
            return ()
        ext: dict[str, Any] = {"raw": True} | ({"event": event} if event else {})
        return (Native(dialect=DIALECT, event=event, value=text, ext={DIALECT: ext}),)

    def _unknown(self, frame: Any, event: str) -> Sequence[Any]:
        self._patterns.clear()
        self.problems.append("a frame without a type was kept as it is")
        text = _encode(frame).decode()
        ext: dict[str, Any] = {"raw": True} | ({"event": event} if event else {})
        if isinstance(frame, dict) and frame.get("error"):
            self._error = read_error(frame["error"])
            ext["hold"] = True
        return (Native(dialect=DIALECT, event=event, value=text, ext={DIALECT: ext}),)

    def _framed(self, frame: dict[str, Any], kind: str, event: str, literal: bool) -> Sequence[Any]:
        self._items.begin_frame()
        self._patterns.clear()
        ext = self._numbering(frame) | self._naming(kind, event)
        handler = _HANDLERS.get(kind)
        shape: Any = None
        if self._outcome is not None and kind != "response.created":
            self.problems.append("a frame after the end was kept as it is")
        elif handler is not None:
            shape = handler(self, frame, ext)
        elif kind in DELTAS:
            shape = self._delta(frame, DELTAS[kind], literal)
        elif kind in DONES:
            shape = self._done(frame, DONES[kind])
        events: list[Event] = self._items.events
        if shape is None and not events:
            return joined([Native(dialect=DIALECT, event=kind, value=frame)], ext)
        ext["frame"] = hole("literal", frame) if literal else frame if shape is None else shape
        return joined(events or [Native(dialect=DIALECT, event=kind)], ext)

    def _numbering(self, frame: dict[str, Any]) -> dict[str, Any]:
        number = frame.get("sequence_number")
        if type(number) is not int:
            was, self._numbered = self._numbered, False
            return {"seq": False} if was else {}
        del frame["sequence_number"]
        expected = self._numbered and number == self._next
        self._numbered, self._next = True, number + 1
        return {} if expected else {"seq": number}

    def _naming(self, kind: str, event: str) -> dict[str, Any]:
        if event == (kind if self._named else ""):
            return {}
        if event in (kind, ""):
            self._named = bool(event)
            return {"named": self._named}
        return {"event": event}

    # deltas

    def _plain(self, part: Part, frame: dict[str, Any]) -> BlockDelta | None:
        """A delta like the last one of its block; None, and the frame as it was, for any other."""
        text = frame.get("delta")
        if part.shape is None or type(text) is not str or not text or part.ended:
            return None
        del frame["delta"]
        once = {"obfuscation": frame.pop("obfuscation")} if "obfuscation" in frame else {}
        if frame != part.shape:
            if frame.keys() != part.shape.keys() or frame.get("logprobs"):
                frame.update(once, delta=text)
                return None
            once |= {key: value for key, value in frame.items() if value != part.shape[key]}
        part.parts.append(text)
        return BlockDelta(
            message=self._items.message,
            block=part.block,
            op=part.op,
            text=text,
            ext={DIALECT: {"once": once}} if once else None,
        )

    def _part_of(self, growing: Growing, frame: dict[str, Any]) -> Part | None:
        index, at = frame.get("output_index"), frame.get(growing.number, 0) if growing.number else 0
        try:
            part = self._items.parts.get((index, growing.area, at))  # type: ignore[arg-type]
        except TypeError:  # not a number, not even hashable
            return None
        return part if part is not None and part.of == growing.of else None

    def _opened(self, growing: Growing, frame: dict[str, Any]) -> Part | None:
        """The block that a frame is about, begun by it if need be; None where it does not say which."""
        index, at = frame.get("output_index"), frame.get(growing.number, 0) if growing.number else 0
        if type(index) is not int or type(at) is not int:
            return None
        self._begin()
        part = self._part_of(growing, frame)
        return part or self._items.open((index, growing.area, at), growing.of, growing.op, frame.get("item_id"))

    def _delta(self, frame: dict[str, Any], growing: Growing, literal: bool) -> Any:
        text = frame.get("delta")
        part = self._opened(growing, frame) if isinstance(text, str) else None
        if part is None or not isinstance(text, str) or part.ended:
            return None
        shape = {**frame}
        if text:
            shape["delta"] = self._items.grow(part, text)
        logprobs = frame.get("logprobs")
        if isinstance(logprobs, list) and logprobs:
            shape["logprobs"] = self._items.attach(part, "logprobs.add", logprobs)
        elif text and not literal and len(self._items.events) == 1:
            part.shape = {key: value for key, value in frame.items() if key not in _PASSING}
        return shape

    def _done(self, frame: dict[str, Any], growing: Growing) -> Any:
        part = self._opened(growing, frame)
        if part is None or growing.key not in frame:
            return None
        shape = {**frame, growing.key: self._items.settle(part, frame[growing.key])}
        if "logprobs" in frame:
            shape["logprobs"] = self._items.settle_logprobs(part, frame["logprobs"])
        return shape

    def _part_added(self, frame: dict[str, Any], _ext: dict[str, Any]) -> Any:
        return self._part_frame(frame, ended=False)

    def _part_done(self, frame: dict[str, Any], _ext: dict[str, Any]) -> Any:
        return self._part_frame(frame, ended=True)

    def _part_frame(self, frame: dict[str, Any], *, ended: bool) -> Any:
        area = "summary" if "summary_index" in frame else "content"
        index, at = frame.get("output_index"), frame.get(f"{area}_index")
        if type(index) is not int or type(at) is not int or "part" not in frame:
            return None
        self._begin()
        part = self._items.part((index, area, at), frame.get("part"), frame.get("item_id"), ended=ended)
        return {**frame, "part": part}

    def _annotation(self, frame: dict[str, Any], _ext: dict[str, Any]) -> Any:
        part = self._opened(DELTAS["response.output_text.delta"], frame)
        if part is None or part.ended or "annotation" not in frame:
            return None
        hole_ = self._items.attach(part, "annotation.add", frame["annotation"])
        return {**frame, "annotation": hole_}

    # items

    def _item_added(self, frame: dict[str, Any], _ext: dict[str, Any]) -> Any:
        index, item = frame.get("output_index"), frame.get("item")
        if type(index) is not int or not isinstance(item, dict):
            return None
        self._begin()
        return {**frame, "item": self._items.begin_item(index, item)}

    def _item_done(self, frame: dict[str, Any], ext: dict[str, Any]) -> Any:
        index, item = frame.get("output_index"), frame.get("item")
        if type(index) is not int or not isinstance(item, dict):
            return None
        self._begin()
        ext["item"] = index
        return {**frame, "item": self._items.finish_item(index, item)}

    # the response

    def _created(self, frame: dict[str, Any], ext: dict[str, Any]) -> Any:
        response = frame.get("response")
        if not isinstance(response, dict):
            return None
        if self._begun:
            if self._outcome is None:
                self.problems.append("a response began before the one before it had ended")
            self._items = ItemsReader(self._items.message + 1, self.problems)
        self._begun, self._outcome, self._response = False, None, response
        ext["set"] = response
        self._begin(response)
        return {**frame, "response": hole("response", {}, [])}

    def _begin(self, response: Mapping[str, Any] = {}) -> None:
        if self._begun:
            return
        self._begun = True
        created = response.get("created_at")
        start = RunStart(
            model=_word(response.get("model")),
            provider_id=_word(response.get("id")),
            created_s=created if type(created) in (int, float) and created else None,
        )
        self._items.events[:0] = [start, MessageStart(message=self._items.message)]

    def _progress(self, frame: dict[str, Any], ext: dict[str, Any]) -> Any:
        response = frame.get("response")
        if not isinstance(response, dict):
            return None
        if not self._begun:  # resumed by `starting_after`, say
            return self._created(frame, ext)
        return {**frame, "response": hole("response", *self._changes(response))}

    def _changes(self, response: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        before = self._response
        changed = {key: value for key, value in response.items() if key not in before or before[key] != value}
        return changed, [key for key in before if key not in response]

    def _ended(self, frame: dict[str, Any], ext: dict[str, Any]) -> Any:
        response = frame.get("response")
        if not isinstance(response, dict):
            return None
        self._begin(response)
        changes, gone = self._changes(response)
        if isinstance(output := changes.get("output"), list):
            changes["output"] = [self._output(index, item, frame["type"]) for index, item in enumerate(output)]
        self._items.end_all()
        if isinstance(usage := response.get("usage"), dict):
            self._items.events.append(read_usage(usage))
            changes["usage"] = self._items.take_payload()
        ext["hold"] = True
        self._end(frame["type"], response)
        return {**frame, "response": hole("response", changes, gone)}

    def _output(self, position: int, item: Any, kind: str) -> Any:
        if not isinstance(item, dict):
            return item
        finished = self._items.finished
        if position in finished and finished[position][0] == item:
            return hole("item", position)
        for index, (known, _) in finished.items():
            if known == item:
                return hole("item", index)
        return self._items.finish_item(position, item, whole=kind == "response.completed")

    def _end(self, kind: str, response: dict[str, Any]) -> None:
        if kind == "response.failed":
            if self._error is None:
                self._error = read_error(response.get("error"))
            return
        reason: FinishReason = "tool_calls" if self._items.calls else "stop"
        word = None
        self._outcome = Outcome.COMPLETE
        if kind == "response.incomplete":
            details = response.get("incomplete_details")
            word = _word(details.get("reason")) if isinstance(details, dict) else None
            reason = REASONS.get(word or "", "other")
            if reason != "content_filter":
                self._outcome = Outcome.INCOMPLETE
        message = self._items.message
        self._items.events += [
            MessageEnd(message=message, finish_reason=reason, provider_reason=word or kind.removeprefix("response.")),
            RunEnd(outcome=self._outcome),
        ]

    def _error_frame(self, frame: dict[str, Any], ext: dict[str, Any]) -> Any:
        inner = frame.get("error")
        self._error = read_error(inner if isinstance(inner, dict) else frame)
        ext["hold"] = True
        return frame


_HANDLERS: Mapping[str, Callable[[OpenAIResponsesReader, dict[str, Any], dict[str, Any]], Any]] = {
    "response.created": OpenAIResponsesReader._created,
    "response.queued": OpenAIResponsesReader._progress,
    "response.in_progress": OpenAIResponsesReader._progress,
    "response.output_item.added": OpenAIResponsesReader._item_added,
    "response.output_item.done": OpenAIResponsesReader._item_done,
    "response.content_part.added": OpenAIResponsesReader._part_added,
    "response.content_part.done": OpenAIResponsesReader._part_done,
    "response.reasoning_summary_part.added": OpenAIResponsesReader._part_added,
    "response.reasoning_summary_part.done": OpenAIResponsesReader._part_done,
    "response.output_text.annotation.added": OpenAIResponsesReader._annotation,
    "response.completed": OpenAIResponsesReader._ended,
    "response.incomplete": OpenAIResponsesReader._ended,
    "response.failed": OpenAIResponsesReader._ended,
    "error": OpenAIResponsesReader._error_frame,
}


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
