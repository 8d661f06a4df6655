"""Reads UI message streams of the Vercel AI SDK (protocol v1, header `x-vercel-ai-ui-message-stream`).

One stream is one message, in steps. What Patinox says beyond the protocol stands where applications may say
anything: `providerMetadata.patinox`, and parts named `data-…`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, Outcome
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockKind,
    BlockStart,
    FinishReason,
    MessageEnd,
    Metadata,
    Retract,
    RunEnd,
    StatePatch,
    StateSnapshot,
    StepEnd,
    StepStart,
    Usage,
    Verdict,
)
from patinox.formats.ai_sdk.parts import PartsReader, ours
from patinox.formats.base import interrupted
from patinox.formats.flat import count, word
from patinox.formats.flat_reader import SILENT, Handler, Unfit, need

REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content-filter": "content_filter",
    "tool-calls": "tool_calls",
    "error": "error",
    "other": "other",
    "unknown": "other",
}
"""The protocol's finish reasons and what they mean."""

_AFTER_ALL = frozenset({"finish", "finish-step"})


class AISDKReader(PartsReader):
    """One stream."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0
        self._in_step = False
        self._finished: FinishReason | None = None
        self._ended = False
        self._aborted: End | None = None
        self._done = False

    def __repr__(self) -> str:
        return f"<AISDKReader {self.number} blocks, {'done' if self._done else 'open'}>"

    def text(self, text: str | bytes, event: str = "") -> Sequence[Any]:
        """The events of one frame."""
        if text in ("[DONE]", b'"[DONE]"'):
            return self._finish()
        return super().text(text, event)

    def closed(self) -> list[Any]:
        """Without `[DONE]` the message has ended only if it said so."""
        if self._ended and not self._done and self.error is None and self._aborted is None:
            self.problems.append("the stream ended without [DONE]")
        return []

    @property
    def ending(self) -> End | Error:
        """Failed on an error, cancelled on `abort`, complete or incomplete at the end, else interrupted."""
        if self.error is not None:
            return self.error
        if self._aborted is not None:
            return self._aborted
        if self._finished == "error":
            return Error("upstream_error", "the message ended with an error, which was not said")
        if self._ended:
            return End(self._outcome())
        return interrupted("the stream broke off before its end")

    def _outcome(self) -> Outcome:
        return Outcome.INCOMPLETE if self._finished == "length" else Outcome.COMPLETE

    def frame(self, frame: dict[str, Any]) -> Any:
        """One frame by its type."""
        kind = frame.get("type")
        if not isinstance(kind, str):
            raise Unfit("a frame has no type")
        if kind == "text-delta":
            return self.delta(frame)
        if (self.error is not None or self._aborted is not None) and kind in _AFTER_ALL:
            return SILENT
        if kind.startswith("data-"):
            return self._data(frame, kind[5:])
        handler = _HANDLERS.get(kind)
        if handler is None:
            raise Unfit
        return handler(self, frame)

    # the message and its steps

    def _start(self, frame: dict[str, Any]) -> Any:
        metadata = frame.get("messageMetadata")
        if self.begin(word(frame.get("messageId")), metadata) and metadata is not None:
            frame["messageMetadata"] = self.add(Metadata(value=metadata))
        return frame

    def _start_step(self, frame: dict[str, Any]) -> Any:
        plain = not self.begin() and not self._in_step and len(frame) == 1
        self._in_step = True
        self._steps += 1
        self.add(StepStart(step=str(self._steps)))
        return None if plain else frame

    def _finish_step(self, frame: dict[str, Any]) -> Any:
        plain = not self.begin() and self._in_step and not self.blocks and len(frame) == 1
        self._in_step = False
        self.end_blocks()
        self.add(StepEnd(step=str(self._steps)))
        return None if plain else frame

    def _finish_message(self, frame: dict[str, Any]) -> Any:
        if self._ended:
            raise Unfit("a second finish")
        self.begin()
        reason, metadata = word(frame.get("finishReason")), frame.get("messageMetadata")
        if metadata is not None:
            frame["messageMetadata"] = self.add(Metadata(value=metadata))
            self._usage(metadata)
        self._end(REASONS.get(reason, "other") if reason else None, reason)
        return frame

    def _end(self, reason: FinishReason | None, said: str | None) -> None:
        self.end_blocks()
        for call in self.calls.values():
            if call.shape is not None:
                self.add(BlockEnd(block=call.number))  # its input never came: not ready
        self._ended, self._finished = True, reason
        self.add(MessageEnd(finish_reason=reason, provider_reason=said))
        self.add(RunEnd(outcome=self._outcome()))

    def _usage(self, metadata: Any) -> None:
        usage = metadata.get("usage", metadata.get("totalUsage")) if isinstance(metadata, dict) else None
        if not isinstance(usage, dict) or not usage.keys() & {"inputTokens", "outputTokens", "totalTokens"}:
            return
        self.add(
            Usage(
                input_tokens=count(usage.get("inputTokens")),
                output_tokens=count(usage.get("outputTokens")),
                total_tokens=count(usage.get("totalTokens")),
                reasoning_tokens=count(usage.get("reasoningTokens")),
                cached_tokens=count(usage.get("cachedInputTokens")),
                cache_write_tokens=count(usage.get("cacheWriteInputTokens")),
                raw=usage,
            )
        )

    def _finish(self) -> list[Any]:
        """`[DONE]`: the end, whether or not the message said that it had finished."""
        self.begin_frame()
        if self._done:
            self.problems.append("a second [DONE] was passed over")
        over = self._done or self._ended or self.error is not None or self._aborted is not None
        self._done = True
        if over:
            return []
        if not self.begun:
            self.problems.append("the stream was empty")
            self._ended = True
            return []
        self._end(None, None)
        return self.unframed()

    # everything else

    def _whole_part(self, frame: dict[str, Any]) -> Any:
        """A file or a source, which come in one piece."""
        media = need(frame, "mediaType").partition("/")[0] if frame["type"].endswith("file") else ""
        self.begin()
        note = ours(frame)
        if "annotation" in note and self.blocks:
            block = self.blocks.get(f"text:{note.get('part')}") or next(reversed(self.blocks.values()))
            note["annotation"] = self.add(BlockDelta(block=block.number, op="annotation.add", value=note["annotation"]))
            return frame
        of: BlockKind = _MEDIA.get(media, "file") if media else "source"
        number, self.number = self.number, self.number + 1
        self.add(BlockStart(block=number, of=of))
        shape = self.add(BlockDelta(block=number, op="opaque.set", value=frame))
        self.add(BlockEnd(block=number))
        return shape

    def _message_metadata(self, frame: dict[str, Any]) -> Any:
        plain = len(frame) == 2 and isinstance(frame.get("messageMetadata"), dict)
        self._usage(frame.get("messageMetadata"))
        plain = plain and not self.events
        frame["messageMetadata"] = self.add(Metadata(value=frame.get("messageMetadata")))
        return None if plain else frame

    def _data(self, frame: dict[str, Any], name: str) -> Any:
        value = frame.get("data")
        plain = len(frame) == 2 and "data" in frame
        if name == "state-snapshot":
            frame["data"] = self.add(StateSnapshot(state=value))
        elif name == "state-patch" and isinstance(value, list):
            frame["data"] = self.add(StatePatch(patch=value))
        elif name in _STRUCTS and (event := _converted(value, _STRUCTS[name])) is not None:
            self.add(event)
            return frame
        else:
            frame["data"] = self.add(Metadata(name=name, value=value, provider_id=word(frame.get("id"))))
        return None if plain and self.begun else frame

    def _error(self, frame: dict[str, Any]) -> Any:
        self.error = self.error or Error("upstream_error", need(frame, "errorText"), provider=frame)
        return SILENT

    def _abort(self, frame: dict[str, Any]) -> Any:
        reason = word(frame.get("reason"))
        self._aborted = End(Outcome.CANCELLED, Error("cancelled", reason) if reason else None)
        return SILENT


_MEDIA: dict[str, BlockKind] = {"image": "image", "audio": "audio"}
_STRUCTS: dict[str, Any] = {"verdict": Verdict, "retract": Retract}

_HANDLERS: dict[str, Handler] = {
    "start": AISDKReader._start,
    "start-step": AISDKReader._start_step,
    "finish-step": AISDKReader._finish_step,
    "finish": AISDKReader._finish_message,
    "text-start": AISDKReader.part_start,
    "text-end": AISDKReader.part_end,
    "reasoning-start": AISDKReader.part_start,
    "reasoning-delta": AISDKReader.delta,
    "reasoning-end": AISDKReader.part_end,
    "tool-input-start": AISDKReader.input_start,
    "tool-input-delta": AISDKReader.input_delta,
    "tool-input-available": AISDKReader.input_end,
    "tool-input-error": AISDKReader.input_end,
    "tool-output-available": AISDKReader.output,
    "tool-output-error": AISDKReader.output_error,
    "tool-output-denied": AISDKReader.approval,
    "tool-approval-request": AISDKReader.approval,
    "tool-approval-response": AISDKReader.approval,
    "file": AISDKReader._whole_part,
    "reasoning-file": AISDKReader._whole_part,
    "source-url": AISDKReader._whole_part,
    "source-document": AISDKReader._whole_part,
    "message-metadata": AISDKReader._message_metadata,
    "error": AISDKReader._error,
    "abort": AISDKReader._abort,
}


def _converted(value: Any, kind: Callable[..., Any]) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None
