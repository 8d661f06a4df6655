"""Reads Ollama's chat streams (docs/api.md, "Generate a chat completion"): one object a line, the last with
`done: true` and the counts; an error is a line `{"error": …}`.

Every line has its own `created_at`: an ordinary delta keeps it as `ext["ollama"]["at"]`, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, ClassVar, Literal, NamedTuple

from patinox.core.chunks import End, Error, Outcome
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockKind,
    BlockStart,
    FinishReason,
    MessageEnd,
    MessageStart,
    RunEnd,
    RunStart,
    ToolReady,
    Usage,
)
from patinox.formats.base import interrupted
from patinox.formats.flat import count, word
from patinox.formats.flat_reader import SILENT, FlatLinesReader, Unfit

DIALECT = "ollama"

_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
_COUNTERS = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)
_FIELDS: dict[str, BlockKind] = {"thinking": "reasoning", "content": "text"}


class _Timed(NamedTuple):
    """A line like the one before it, but for its time."""

    at: str


class OllamaReader(FlatLinesReader):
    """One stream: one message, in which one block of thinking or text is open at a time."""

    dialect: ClassVar[str] = DIALECT

    def __init__(self) -> None:
        super().__init__()
        self._begun = False
        self._open: BlockKind | None = None
        self._number = 0
        self._called = False
        self._reason: FinishReason | None = None
        self._over = False
        self._shapes: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<OllamaReader {self._number} blocks, {'done' if self._over else 'open'}>"

    def closed(self) -> list[Any]:
        """The end of the bytes says nothing: only `done` does."""
        return []

    @property
    def ending(self) -> End | Error:
        """Failed on an error, complete or incomplete after `done`, else interrupted."""
        if self.error is not None:
            return self.error
        if self._over:
            return End(self._outcome())
        return interrupted("the stream broke off before it was done")

    def _outcome(self) -> Outcome:
        return Outcome.INCOMPLETE if self._reason == "length" else Outcome.COMPLETE

    def frame(self, frame: dict[str, Any]) -> Any:
        """One line."""
        if frame.get("error"):
            return self._failure(frame)
        message = frame.get("message")
        if not isinstance(message, dict):
            if frame.get("done") is not True:
                raise Unfit
            message = {}
        if self._over:
            raise Unfit("a line after the last one")
        at = frame.pop("created_at", None)
        self._begin(frame, message)
        self._message(message)
        self._logprobs(frame)
        if frame.get("done") is True:
            self._finish(frame)
        elif frame.get("prompt_eval_count") or frame.get("eval_count"):  # zeros may stand for what nobody counted yet
            self._usage(frame, "cumulative")
        return self._kept(frame, at)

    def _kept(self, frame: dict[str, Any], at: Any) -> Any:
        """The frame's shape; its time alone, if the last delta of the block looked the same."""
        delta = self.events[0] if len(self.events) == 1 else None
        if isinstance(delta, BlockDelta) and delta.op == "text.append":
            if self._shapes.get(str(delta.block)) == frame and isinstance(at, str):
                return _Timed(at)
            self._shapes = {str(delta.block): frame}
        return frame if at is None else {**frame, "created_at": at}

    def note(self, shape: Any) -> dict[str, Any]:
        """Its time alone, or its shape."""
        return {"at": shape.at} if isinstance(shape, _Timed) else super().note(shape)

    def _begin(self, frame: dict[str, Any], message: dict[str, Any]) -> None:
        if self._begun:
            return
        self._begun = True
        self.add(RunStart(model=word(frame.get("model"))))
        self.add(MessageStart(role=word(message.get("role")) or "assistant"))

    def _message(self, message: dict[str, Any]) -> None:
        for field, of in _FIELDS.items():
            text = message.get(field)
            if isinstance(text, str) and text:
                self._enter(of)
                message[field] = self.add(BlockDelta(block=self._number - 1, text=text))
        calls, images = message.get("tool_calls"), message.get("images")
        if isinstance(calls, list) and calls:
            message["tool_calls"] = [self._call(each) for each in calls]
        if isinstance(images, list) and images:
            message["images"] = [self._image(each) for each in images]

    def _enter(self, of: BlockKind | None) -> None:
        """What is said next is of this kind; the block of another ends."""
        if of == self._open:
            return
        if self._open is not None:
            self.add(BlockEnd(block=self._number - 1))
        self._open = of
        if of is not None:
            self.add(BlockStart(block=self._number, of=of))
            self._number += 1

    def _call(self, call: Any) -> Any:
        """A call comes whole, its arguments as an object."""
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            return call
        self._enter(None)
        self._called = True
        number, name = self._number, word(function.get("name"))
        call_id = word(call.get("id"))
        self._number += 1
        self.add(BlockStart(block=number, of="tool_call", name=name, call_id=call_id))
        self.add(BlockEnd(block=number))
        arguments = function.get("arguments")
        hole = self.add(
            ToolReady(block=number, name=name, call_id=call_id, arguments={} if arguments is None else arguments)
        )
        return {**call, "function": {**function, "arguments": hole} if arguments is not None else function}

    def _image(self, image: Any) -> Any:
        data = _bytes(image)
        if not data:
            return image
        self._enter(None)
        number, self._number = self._number, self._number + 1
        self.add(BlockStart(block=number, of="image"))
        hole = self.add(BlockDelta(block=number, op="bytes.append", data=data))
        self.add(BlockEnd(block=number))
        return hole

    def _logprobs(self, frame: dict[str, Any]) -> None:
        """Of the text that is open. Their payload is wrapped as in the dialects that have several kinds."""
        logprobs = frame.get("logprobs")
        if isinstance(logprobs, list) and logprobs and self._open is not None:
            value = {"content": logprobs}
            frame["logprobs"] = self.add(BlockDelta(block=self._number - 1, op="logprobs.add", value=value))

    def _finish(self, frame: dict[str, Any]) -> None:
        said = word(frame.get("done_reason"))
        reason: FinishReason = _REASONS.get(said, "other") if said else "stop"
        self._reason = "tool_calls" if reason == "stop" and self._called else reason
        self._over = True
        self._enter(None)
        self._usage(frame, "final")
        self.add(MessageEnd(finish_reason=self._reason, provider_reason=said))
        self.add(RunEnd(outcome=self._outcome()))

    def _usage(self, frame: dict[str, Any], mode: Literal["cumulative", "final"]) -> None:
        counters = {key: frame[key] for key in _COUNTERS if key in frame}
        if counters:
            self.add(
                Usage(
                    mode=mode,
                    input_tokens=count(frame.get("prompt_eval_count")),
                    output_tokens=count(frame.get("eval_count")),
                    raw=counters,
                )
            )

    def _failure(self, frame: dict[str, Any]) -> Any:
        if self.error is None:
            message, status = frame["error"], frame.get("status_code")
            known = type(status) is int and 400 <= status <= 599
            self.error = Error(
                "upstream_error",
                message if isinstance(message, str) else "the provider reported an error and did not say which",
                status=status if known else None,
                provider=frame,
            )
        return SILENT


def _bytes(value: Any) -> bytes:
    """Base64 that would be written the same again; nothing for any other value."""
    if not isinstance(value, str):
        return b""
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if base64.b64encode(data).decode() == value else b""
