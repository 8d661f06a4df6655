"""Reads AG-UI event streams (docs.ag-ui.com, "Events"): server-sent events without names, from `RUN_STARTED` to
`RUN_FINISHED` or `RUN_ERROR`.

What Patinox says beyond the protocol stands in `metadata.patinox`, and in `CUSTOM` events named `patinox.…`.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from patinox.core.chunks import End, Error, Outcome
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    FinishReason,
    Metadata,
    Native,
    Retract,
    RunEnd,
    RunStart,
    StatePatch,
    StateSnapshot,
    StepEnd,
    StepStart,
    ToolApproval,
    Usage,
    Verdict,
)
from patinox.formats.ag_ui.parts import PartsReader, ours
from patinox.formats.base import interrupted
from patinox.formats.flat import count, word
from patinox.formats.flat_reader import SILENT, Handler, Unfit, need

REASONS: frozenset[FinishReason] = frozenset(
    {"stop", "length", "tool_calls", "content_filter", "refusal", "pause", "error", "other"}
)
_COUNTS = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "total_tokens": "totalTokens",
    "reasoning_tokens": "reasoningTokens",
    "cached_tokens": "cachedInputTokens",
    "cache_write_tokens": "cacheWriteInputTokens",
}


class AGUIReader(PartsReader):
    """One stream, of one run or of several."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = False
        self._over: End | None = None

    def __repr__(self) -> str:
        return f"<AGUIReader {'over' if self._over or self.error else 'open'}>"

    def closed(self) -> list[Any]:
        """The end of the bytes says nothing: only `RUN_FINISHED` does."""
        return []

    @property
    def ending(self) -> End | Error:
        """Failed on `RUN_ERROR`, complete, incomplete or cancelled after `RUN_FINISHED`, else interrupted."""
        return self.error or self._over or interrupted("the stream broke off before its run was finished")

    def frame(self, frame: dict[str, Any]) -> Any:
        """One frame by its type."""
        kind = frame.get("type")
        if not isinstance(kind, str):
            raise Unfit("a frame has no type")
        if kind == "TEXT_MESSAGE_CONTENT" and self.chunk is None and self._begun:
            return self.content(frame)
        if self.error is not None:
            self.problems.append(f"{kind} after RUN_ERROR was passed over")
            return SILENT
        if kind not in _CHUNKS and self.chunk is not None:
            self.end_chunk()
        if not self._begun and kind not in _FIRST:
            self._begun = True
            self.problems.append("the stream did not begin with RUN_STARTED")
            self.add(RunStart())
        self.settle()
        handler = _HANDLERS.get(kind)
        if handler is None:
            raise Unfit
        before = len(self.events)
        shape = handler(self, frame)
        return frame if before and shape is None else shape

    # the run

    def _run_started(self, frame: dict[str, Any]) -> Any:
        run = need(frame, "runId")
        if self._begun and self._over is None:
            self.problems.append("RUN_STARTED while a run was active")
        self._begun, self._over = True, None
        self.add(RunStart(run=run, provider_id=run))
        return frame

    def _run_finished(self, frame: dict[str, Any]) -> Any:
        if self._over is not None:
            raise Unfit("a second RUN_FINISHED")
        result, usage = frame.get("result"), frame.get("usage")
        said = result.get("finishReason") if isinstance(result, dict) else None
        kind = frame["outcome"].get("type") if isinstance(frame.get("outcome"), dict) else None
        self._usage(usage)
        self.cut()
        reason: FinishReason = said if said in REASONS else "tool_calls" if self.waits else "stop"
        if kind == "interrupt":
            reason = "pause"
            self._interrupts(frame["outcome"].get("interrupts"))
        if result is not None and not (said in REASONS and len(result) == 1):
            frame["result"] = self.add(Metadata(name="result", value=result))
        if said in REASONS and self._messages == 0:
            self._enter(None)  # an answer without a word, as a refusal is
        self.end_message(reason, word(said))
        cancelled = kind == "cancelled"
        outcome = Outcome.CANCELLED if cancelled else Outcome.INCOMPLETE if reason == "length" else Outcome.COMPLETE
        self._over = End(outcome)
        self.add(RunEnd(outcome=outcome))
        return frame

    def _interrupts(self, interrupts: Any) -> None:
        for each in interrupts if isinstance(interrupts, list) else ():
            if isinstance(each, dict):
                self.add(
                    ToolApproval(
                        provider_id=word(each.get("id")),
                        call_id=word(each.get("toolCallId")),
                        reason=word(each.get("message")) or word(each.get("reason")),
                    )
                )

    def _run_error(self, frame: dict[str, Any]) -> Any:
        message = need(frame, "message")
        self.error = Error(word(frame.get("code")) or "run_error", message, provider=frame)
        self._usage(frame.get("usage"))
        if not self.events:
            return SILENT
        self.events = self.unframed()
        return None

    def _usage(self, entries: Any) -> None:
        """The sum over the models of a run; what nobody counted stays unknown."""
        known = [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
        if not known:
            return
        sums: dict[str, int] = {}
        for field, theirs in _COUNTS.items():
            values = [value for each in known if (value := count(each.get(theirs))) is not None]
            if values:
                sums[field] = sum(values)
        self.add(Usage(**sums, raw=entries))  # type: ignore[arg-type]

    def _step_started(self, frame: dict[str, Any]) -> Any:
        name = need(frame, "stepName")
        self.add(StepStart(step=name, name=name))
        return None if len(frame) == 2 else frame

    def _step_finished(self, frame: dict[str, Any]) -> Any:
        name = need(frame, "stepName")
        self.add(StepEnd(step=name, name=name))
        return None if len(frame) == 2 else frame

    def _span(self, frame: dict[str, Any]) -> Any:
        """`REASONING_START` and `REASONING_END` stand around reasoning and say nothing else."""
        return frame

    # state and data

    def _state_snapshot(self, frame: dict[str, Any]) -> Any:
        plain = len(frame) == 2 and "snapshot" in frame
        frame["snapshot"] = self.add(StateSnapshot(state=frame.get("snapshot")))
        return None if plain else frame

    def _state_delta(self, frame: dict[str, Any]) -> Any:
        if not isinstance(frame.get("delta"), list):
            raise Unfit("a STATE_DELTA has no list of operations")
        plain = len(frame) == 2
        frame["delta"] = self.add(StatePatch(patch=frame["delta"]))
        return None if plain else frame

    def _raw(self, frame: dict[str, Any]) -> Any:
        source, event = word(frame.get("source")), frame.get("event")
        if source is None or event is None or source == self.dialect:
            raise Unfit
        plain, name = len(frame) == 3, word(ours(frame).get("event")) or ""
        frame["event"] = self.add(Native(dialect=source, event=name, value=event))
        return None if plain else frame

    def _custom(self, frame: dict[str, Any]) -> Any:
        name, value = need(frame, "name"), frame.get("value")
        own, plain = name.removeprefix("patinox."), len(frame) == 3 and "value" in frame
        if own != name and isinstance(value, dict) and self._own(own, value):
            return frame
        frame["value"] = self.add(Metadata(name=name, value=value))
        return None if plain and name else frame

    def _own(self, name: str, value: dict[str, Any]) -> bool:
        """What Patinox wrote because the protocol has no event for it. False: it cannot be read as that."""
        if name in _STRUCTS:
            try:
                self.add(msgspec.convert(value, _STRUCTS[name]))
            except msgspec.ValidationError:
                return False
            return True
        if name == "block":
            return self._block(value)
        block = self.named(value.get("id"))
        if name not in _OPS or block is None:
            return False
        said: dict[str, Any] = {"message": block.message, "block": block.number, "op": name}
        value["value"] = self.add(BlockDelta(**said, value=value.get("value")))
        return True

    def _block(self, value: dict[str, Any]) -> bool:
        """A block that was told in one piece."""
        try:
            start = msgspec.convert({"of": value.get("kind")}, BlockStart)
            data = base64.b64decode(value.get("base64") or "", validate=True)
        except (msgspec.ValidationError, binascii.Error, TypeError, ValueError):
            return False
        place = self.whole_block()
        self.add(BlockStart(**place, of=start.of, name=word(value.get("name")), call_id=word(value.get("call_id"))))
        if text := word(value.get("text")):
            self.add(BlockDelta(**place, text=text))
        if data:
            self.add(BlockDelta(**place, op="bytes.append", data=data))
        if value.get("value") is not None:
            self.add(BlockDelta(**place, op="opaque.set", value=value["value"]))
        self.add(BlockEnd(**place))
        return True


_STRUCTS: dict[str, Any] = {"verdict": Verdict, "retract": Retract, "tool.approval": ToolApproval}
_OPS = frozenset({"opaque.set", "opaque.append", "annotation.add", "logprobs.add", "replace", "json.patch"})
_CHUNKS = frozenset({"TEXT_MESSAGE_CHUNK", "TOOL_CALL_CHUNK", "REASONING_MESSAGE_CHUNK"})
_FIRST = frozenset({"RUN_STARTED", "RUN_ERROR"})

_HANDLERS: dict[str, Handler] = {
    "RUN_STARTED": AGUIReader._run_started,
    "RUN_FINISHED": AGUIReader._run_finished,
    "RUN_ERROR": AGUIReader._run_error,
    "STEP_STARTED": AGUIReader._step_started,
    "STEP_FINISHED": AGUIReader._step_finished,
    "TEXT_MESSAGE_START": AGUIReader.text_start,
    "TEXT_MESSAGE_CONTENT": AGUIReader.content,
    "TEXT_MESSAGE_END": AGUIReader.content_end,
    "TEXT_MESSAGE_CHUNK": AGUIReader.any_chunk,
    "REASONING_START": AGUIReader._span,
    "REASONING_END": AGUIReader._span,
    "REASONING_MESSAGE_START": AGUIReader.reasoning_start,
    "REASONING_MESSAGE_CONTENT": AGUIReader.content,
    "REASONING_MESSAGE_END": AGUIReader.content_end,
    "REASONING_MESSAGE_CHUNK": AGUIReader.any_chunk,
    "REASONING_ENCRYPTED_VALUE": AGUIReader.encrypted,
    "THINKING_START": AGUIReader._span,
    "THINKING_END": AGUIReader._span,
    "THINKING_TEXT_MESSAGE_START": AGUIReader.reasoning_start,
    "THINKING_TEXT_MESSAGE_CONTENT": AGUIReader.thought,
    "THINKING_TEXT_MESSAGE_END": AGUIReader.content_end,
    "TOOL_CALL_START": AGUIReader.call_start,
    "TOOL_CALL_ARGS": AGUIReader.call_args,
    "TOOL_CALL_END": AGUIReader.call_end,
    "TOOL_CALL_CHUNK": AGUIReader.any_chunk,
    "TOOL_CALL_RESULT": AGUIReader.result,
    "STATE_SNAPSHOT": AGUIReader._state_snapshot,
    "STATE_DELTA": AGUIReader._state_delta,
    "RAW": AGUIReader._raw,
    "CUSTOM": AGUIReader._custom,
}
