"""Writes Ollama's chat streams (docs/api.md, "Generate a chat completion").

A call goes out whole, when it is ready, and only with an object for its arguments: a model's call that cannot be
parsed makes the stream end with an error, as Ollama's own does. So does an answer that was withheld, by a filter or a
refusal without words: `stop` would make a success of it. Times are those of the stream's beginning.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from patinox.core.chunks import End, Error, Outcome, StreamChunk
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Event,
    MessageEnd,
    MessageStart,
    Native,
    RunStart,
    ToolReady,
    Usage,
)
from patinox.formats.base import Frame, StreamHead
from patinox.formats.flat import FlatState, FlatWriter, OpenBlock, as_call, call_id, encode, merge_usage, place, replace
from patinox.formats.losses import is_withheld
from patinox.formats.media import file_url
from patinox.formats.ollama.reader import DIALECT
from patinox.incremental.assembler import Assembly

_FIELDS = {
    "text": "content",
    "refusal": "content",
    "reasoning": "thinking",
    "reasoning_summary": "thinking",
}
_FAILURES = {
    Outcome.CANCELLED: "the answer was cancelled",
    Outcome.INTERRUPTED: "the answer broke off",
    Outcome.FAILED: "the answer failed",
}
_TEXT, _AT = "\0$text$", "\0$at$"
_TEXT_JSON, _AT_JSON = encode(_TEXT), encode(_AT)


class OllamaState(FlatState, frozen=True, kw_only=True):
    """All that the writer remembers. `timed` is the last line with a time of its own, cut at its time and text."""

    model: str
    created_at: str
    begun: bool = False
    finished: bool = False
    calls: int = 0
    is_length: bool = False
    withheld: str | None = None
    broken: str | None = None
    timed: tuple[str, tuple[bytes, bytes, bytes], bool] | None = None


Written = tuple[OllamaState, Sequence[Frame]]


class OllamaWriter(FlatWriter[OllamaState]):
    """The fold. It has no state of its own."""

    dialect: ClassVar[str] = DIALECT

    def initial(self, head: StreamHead) -> OllamaState:
        """The model is told by the run, else by the stream's metadata, else it is ours."""
        model = head.metadata.get("model")
        created = datetime.fromtimestamp(head.created_s, UTC).isoformat(timespec="microseconds")
        return OllamaState(
            stream=head.id,
            model=model if isinstance(model, str) and model else "patinox",
            created_at=created.replace("+00:00", "Z"),
        )

    def opened(self, state: OllamaState, assembly: Assembly) -> Sequence[Frame]:
        """Every line stands for itself."""
        return ()

    def write(self, state: OllamaState, chunk: StreamChunk, assembly: Assembly) -> Written:
        """The lines of one record. A delta that has nothing but a time of its own takes the short way."""
        data = chunk.data
        if type(data) is BlockDelta and data.ext is not None and state.joint is None and not data.more:
            at = _time(data)
            if at is not None:
                return self._timed(state, data, at, assembly)
        return super().write(state, chunk, assembly)

    def track(self, state: OllamaState, data: Event, shape: dict[str, Any] | None) -> OllamaState:
        """Notes what a line that was read from this dialect tells."""
        match data:
            case RunStart():
                return replace(state, begun=True, model=data.model or state.model, plains=())
            case BlockStart():
                return _remember(state, data)
            case BlockEnd():
                return self.forget(state, place(data.message, data.block))
            case ToolReady():
                return replace(state, calls=state.calls + 1)
            case MessageEnd():
                return replace(state, finished=True, blocks={}, plains=(), timed=None)
        return state

    def delta_shape(self, state: OllamaState, block: OpenBlock, op: str) -> dict[str, Any] | None:
        """The line of a piece of text or thinking."""
        field = _FIELDS.get(block.of)
        if field is None or op != "text.append":
            return None
        message = {"role": "assistant", "content": ""} | {field: {"$": 0}}
        return {"model": state.model, "created_at": state.created_at, "message": message, "done": False}

    def own(self, state: OllamaState, data: Any, assembly: Assembly) -> Written:
        """The lines of a record that was not read from this dialect; of alternatives only the first is written."""
        write = _OWN.get(type(data))
        if write is None or (isinstance(data, Event) and data.choice):
            return state, ()
        return write(self, state, data, assembly)

    # lines that were read from this dialect

    def _timed(self, state: OllamaState, data: BlockDelta, at: str, assembly: Assembly) -> Written:
        key = place(data.message, data.block)
        if state.timed is None or state.timed[0] != key:
            block = state.blocks.get(key)
            shape = block.shape if block is not None else None
            if shape is None or block is None:
                return self.own(state, data, assembly)
            parts = _cut(shape)
            if parts is None:
                return state, (Frame(encode(_filled(shape, data.text, at))),)
            state = replace(state, timed=(key, *parts))
            assert state.timed is not None
        _, (before, between, after), is_time_first = state.timed
        first, second = encode(at), encode(data.text)
        if not is_time_first:
            first, second = second, first
        return state, (Frame(before + first + between + second + after),)

    def _join(self, state: OllamaState, data: Event, assembly: Assembly) -> Written:
        if isinstance(data, BlockDelta):
            state = replace(state, timed=None)
            if data.op == "logprobs.add" and isinstance(data.value, dict):
                data = replace(data, value=data.value.get("content"))
        return super()._join(state, data, assembly)

    # lines of our own

    def _line(self, state: OllamaState, message: dict[str, Any], **fields: Any) -> Frame:
        body = {"role": "assistant", "content": ""} | message
        head = {"model": state.model, "created_at": state.created_at, "message": body}
        return Frame(encode({**head, "done": False, **fields}))

    def _run_start(self, state: OllamaState, data: RunStart, _assembly: Assembly) -> Written:
        return replace(state, model=data.model or state.model, plains=(), timed=None), ()

    def _message_start(self, state: OllamaState, data: MessageStart, _assembly: Assembly) -> Written:
        if data.role != "assistant":
            return replace(state, muted=(*state.muted, data.message)), ()
        return replace(state, is_length=False, withheld=None), ()

    def _message_end(self, state: OllamaState, data: MessageEnd, assembly: Assembly) -> Written:
        kept = {key: block for key, block in state.blocks.items() if block.message != data.message}
        muted = tuple(each for each in state.muted if each != data.message)
        if data.message not in state.muted:
            withheld = data.finish_reason if is_withheld(data, assembly) else None
            state = replace(state, is_length=data.finish_reason == "length", withheld=withheld)
        return replace(state, blocks=kept, muted=muted, plains=()), ()

    def _block_start(self, state: OllamaState, data: BlockStart, _assembly: Assembly) -> Written:
        return _remember(state, as_call(data)), ()

    def _block_delta(self, state: OllamaState, data: BlockDelta, _assembly: Assembly) -> Written:
        key = place(data.message, data.block)
        if data.message in state.muted:
            return state, ()
        if key not in state.blocks and data.op == "text.append":
            state = _remember(state, BlockStart(message=data.message, block=data.block))
        block = state.blocks.get(key)
        if block is None:
            return state, ()
        if data.op == "text.append":
            return self.plain(state, replace(block, shape=None), data) if data.text else (state, ())
        logprobs = data.value.get("content") if isinstance(data.value, dict) else None
        if data.op == "logprobs.add" and block.of == "text" and isinstance(logprobs, list):
            return state, (self._line(state, {}, logprobs=logprobs),)
        return state, ()

    def _block_end(self, state: OllamaState, data: BlockEnd, assembly: Assembly) -> Written:
        key = place(data.message, data.block)
        block = state.blocks.get(key)
        if block is None or block.of == "tool_call":
            return state, ()
        whole = assembly.block(data.message, data.block) if block.of == "image" else None
        state = self.forget(state, key)
        if whole is None or data.message in state.muted:
            return state, ()
        url, _ = file_url(whole)
        if whole.data:
            return state, (self._line(state, {"images": [base64.b64encode(bytes(whole.data)).decode()]}),)
        if url is not None and url.startswith("data:") and ";base64," in url:
            return state, (self._line(state, {"images": [url.partition(",")[2]]}),)
        return state, ()

    def _tool_ready(self, state: OllamaState, data: ToolReady, _assembly: Assembly) -> Written:
        block = state.blocks.get(place(data.message, data.block))
        if data.message in state.muted or block is None or block.of != "tool_call":
            return state, ()
        state = self.forget(state, place(data.message, data.block))
        name = data.name or block.name or ""
        arguments = {} if data.arguments is None else data.arguments
        if isinstance(arguments, str) and data.invalid_raw is None:  # a custom tool's input
            arguments = {"input": arguments}
        if data.invalid_raw is not None or not isinstance(arguments, dict):
            return replace(state, broken=f"the model's call of {name} has arguments that are no JSON object"), ()
        function = {"index": state.calls, "name": name, "arguments": arguments}
        call = {"id": block.call_id or call_id(state, data), "function": function}
        return replace(state, calls=state.calls + 1), (self._line(state, {"tool_calls": [call]}),)

    def _usage(self, state: OllamaState, data: Usage, _assembly: Assembly) -> Written:
        return replace(state, usage=merge_usage(state.usage, data)), ()

    def _native(self, state: OllamaState, data: Native, _assembly: Assembly) -> Written:
        if data.dialect != DIALECT or not isinstance(data.value, dict):
            return state, ()
        return state, (Frame(encode(data.value)),)

    # endings

    def end(self, state: OllamaState, data: End | Error, assembly: Assembly) -> Written:
        """The last line, with the counts that are known; on a failure a line with those, and one that says so."""
        if isinstance(data, Error) or data.outcome in _FAILURES:
            return state, (*self._counted(state), _failure(data))
        if state.finished:
            return state, ()
        failed = state.broken
        if failed is None and state.withheld is not None:
            failed = f"the rest of the answer was withheld ({state.withheld})"
        if failed is not None:
            return state, (*self._counted(state), Frame(encode({"error": failed})))
        said = "length" if state.is_length or data.outcome is Outcome.INCOMPLETE else "stop"
        frame = self._line(state, {}, done=True, done_reason=said, **_counts(state))
        return replace(state, finished=True), (frame,)

    def _counted(self, state: OllamaState) -> Sequence[Frame]:
        """What was counted before an error was paid for: a line that is not the last may have the counts too."""
        counts = {} if state.finished else _counts(state)
        return (self._line(state, {}, **counts),) if counts else ()


_OWN: dict[type, Callable[[OllamaWriter, OllamaState, Any, Assembly], Written]] = {
    RunStart: OllamaWriter._run_start,
    MessageStart: OllamaWriter._message_start,
    MessageEnd: OllamaWriter._message_end,
    BlockStart: OllamaWriter._block_start,
    BlockDelta: OllamaWriter._block_delta,
    BlockEnd: OllamaWriter._block_end,
    ToolReady: OllamaWriter._tool_ready,
    Usage: OllamaWriter._usage,
    Native: OllamaWriter._native,
}


def _counts(state: OllamaState) -> dict[str, int]:
    """The counts that are known, under the protocol's names."""
    names = {"input_tokens": "prompt_eval_count", "output_tokens": "eval_count"}
    return {theirs: state.usage[ours] for ours, theirs in names.items() if ours in state.usage}


def _remember(state: OllamaState, data: BlockStart) -> OllamaState:
    block = OpenBlock(of=data.of, message=data.message, block=data.block, name=data.name, call_id=data.call_id)
    return replace(state, blocks={**state.blocks, place(data.message, data.block): block})


def _time(data: BlockDelta) -> str | None:
    """The time of a line that has nothing else of its own; None if there is more to say of it."""
    ext = (data.ext or {}).get(DIALECT)
    at = ext.get("at") if isinstance(ext, dict) and "frame" not in ext else None
    return at if isinstance(at, str) else None


def _filled(shape: Any, text: str, at: str) -> Any:
    """The block's last line, with another text and another time."""
    if type(shape) is dict:
        if len(shape) == 1 and shape.get("$") == 0:
            return text
        return {key: at if key == "created_at" else _filled(value, text, at) for key, value in shape.items()}
    return shape


def _cut(shape: dict[str, Any]) -> tuple[tuple[bytes, bytes, bytes], bool] | None:
    """The line's bytes without its time and its text, and whether the time comes first; None if that is not certain."""
    body = encode(_filled(shape, _TEXT, _AT))
    if body.count(_TEXT_JSON) != 1 or body.count(_AT_JSON) != 1:
        return None
    is_time_first = body.index(_AT_JSON) < body.index(_TEXT_JSON)
    one, two = (_AT_JSON, _TEXT_JSON) if is_time_first else (_TEXT_JSON, _AT_JSON)
    before, _, rest = body.partition(one)
    between, _, after = rest.partition(two)
    return (before, between, after), is_time_first


def _failure(data: End | Error) -> Frame:
    error = data if isinstance(data, Error) else data.error
    provider = error.provider if error is not None else None
    if isinstance(provider, dict) and isinstance(provider.get("error"), str):
        return Frame(encode(provider))
    outcome = data.outcome if isinstance(data, End) else Outcome.FAILED
    return Frame(encode({"error": error.message if error is not None and error.message else _FAILURES[outcome]}))
