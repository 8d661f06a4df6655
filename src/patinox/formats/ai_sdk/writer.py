"""Writes UI message streams of the Vercel AI SDK (protocol v1).

The protocol knows one message in steps: the messages of an agent's run become its steps, and its finish reason is
held until the end. Only frames that every version since 5 takes are made: no key and no type beyond its schema.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from patinox.core.chunks import Binary, End, Error, Json, Outcome
from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Event,
    MessageEnd,
    MessageStart,
    Metadata,
    Native,
    Retract,
    RunStart,
    StatePatch,
    StateSnapshot,
    StepEnd,
    StepStart,
    ToolApproval,
    ToolError,
    ToolReady,
    ToolResult,
    Usage,
    Verdict,
)
from patinox.formats.ai_sdk.frames import (
    CALLS,
    DONE,
    FAILURES,
    SPOKEN,
    WORDS,
    AISDKState,
    Written,
    annotation,
    answered,
    call_input,
    counted,
    failure,
    kind_of,
    opener,
    part,
    remember,
    say,
    usage_metadata,
    waiting,
)
from patinox.formats.ai_sdk.parts import DIALECT
from patinox.formats.base import Frame, StreamHead
from patinox.formats.flat import (
    CUT_SHORT,
    FlatWriter,
    OpenBlock,
    as_call,
    encode,
    free_name,
    merge_usage,
    place,
    replace,
)
from patinox.incremental.assembler import Assembly


class AISDKWriter(FlatWriter[AISDKState]):
    """The fold. It has no state of its own."""

    dialect: ClassVar[str] = DIALECT

    def initial(self, head: StreamHead) -> AISDKState:
        """The message's id is the stream's."""
        return AISDKState(stream=head.id, id=f"msg-{head.id}")

    def opened(self, state: AISDKState, assembly: Assembly) -> Sequence[Frame]:
        """The message and its step, every part that is open, and every call whose result is still to come."""
        if state.finished or not state.begun:
            return ()
        frames = [say("start", messageId=state.id)]
        if state.step:
            frames.append(say("start-step"))
        frames += [waiting(block, assembly) for block in state.calls.values()]
        frames += [opener(block) for block in state.blocks.values() if block.id]
        return frames

    def track(self, state: AISDKState, data: Event, shape: dict[str, Any] | None) -> AISDKState:
        """Notes what a frame that was read from this dialect begins and ends."""
        shape = shape or {}
        match data:
            case RunStart():
                said = shape.get("messageId")
                state = replace(state, begun=True, id=said if isinstance(said, str) and said else state.id)
            case StepStart():
                state = replace(state, step="told", due=False)
            case StepEnd():
                state = replace(state, step="")
            case BlockStart():
                name = shape.get("toolCallId") if data.of in CALLS else shape.get("id")
                state = remember(state, data, name if isinstance(name, str) else "")
            case BlockEnd() if kind_of(state, data) not in CALLS:
                state = self.forget(state, place(data.message, data.block))
            case ToolReady():
                state = self._called(state, data)
            case ToolResult() | ToolError() if shape.get("preliminary") is not True:
                state = answered(state, data.call_id)
            case MessageEnd():
                state = replace(state, finished=True, blocks={}, plains=())
        return state

    def delta_shape(self, state: AISDKState, block: OpenBlock, op: str) -> dict[str, Any] | None:
        """`text-delta`, `reasoning-delta`, `tool-input-delta`."""
        if block.of in CALLS and op == "json.append":
            return {"type": "tool-input-delta", "toolCallId": block.id, "inputTextDelta": {"$": 0}}
        if block.of in SPOKEN and op == "text.append":
            return {"type": f"{SPOKEN[block.of]}-delta", "id": block.id, "delta": {"$": 0}}
        return None

    def own(self, state: AISDKState, data: Any, assembly: Assembly) -> Written:
        """The frames of a record that was not read from this dialect; one message is all that it can tell."""
        write = _OWN.get(type(data))
        if write is None or (isinstance(data, Event) and data.choice):
            return state, ()
        return write(self, state, data, assembly)

    # the message and its steps

    def _content(self, state: AISDKState) -> tuple[AISDKState, list[Frame]]:
        """What must stand before content: the start, and the step of a message that has begun."""
        frames: list[Frame] = []
        if not state.begun:
            state, frames = replace(state, begun=True), [say("start", messageId=state.id)]
        if state.due:
            if state.step:
                state, closing = self._end_step(state)
                frames += closing
            frames.append(say("start-step"))
            state = replace(state, due=False, step="auto")
        return state, frames

    def _run_start(self, state: AISDKState, data: RunStart, _assembly: Assembly) -> Written:
        if state.begun:
            return state, ()
        metadata = {"messageMetadata": {"model": data.model}} if data.model else {}
        return replace(state, begun=True), (say("start", messageId=state.id, **metadata),)

    def _message_start(self, state: AISDKState, data: MessageStart, _assembly: Assembly) -> Written:
        if data.role != "assistant":
            return replace(state, muted=(*state.muted, data.message)), ()
        return replace(state, due=state.step != "told", held=None), ()

    def _message_end(self, state: AISDKState, data: MessageEnd, assembly: Assembly) -> Written:
        if data.message in state.muted:
            return replace(state, muted=tuple(each for each in state.muted if each != data.message)), ()
        held = WORDS.get(data.finish_reason, "other") if data.finish_reason else state.held
        state, frames = self._close(state, data.message)
        calls: Sequence[Frame] = ()
        if data.finish_reason not in CUT_SHORT:
            state, calls = self._end_calls(state, assembly)
        return replace(state, held=held), (*frames, *calls)

    def _step_start(self, state: AISDKState, data: StepStart, _assembly: Assembly) -> Written:
        state, frames = self._content(replace(state, due=False))
        closing: Sequence[Frame] = ()
        if state.step:
            state, closing = self._end_step(state)
        return replace(state, step="told"), (*frames, *closing, say("start-step"))

    def _step_end(self, state: AISDKState, data: StepEnd, _assembly: Assembly) -> Written:
        return self._end_step(state) if state.step else (state, ())

    def _end_step(self, state: AISDKState) -> Written:
        state, frames = self._close(state, None)
        return replace(state, step="", due=False), (*frames, say("finish-step"))

    def _close(self, state: AISDKState, message: int | None) -> Written:
        """Ends the parts of a message (None: of all) that are open. A call whose input is not whole stays so."""
        frames = []
        for key, block in state.blocks.items():
            if block.of not in CALLS and message in (None, block.message):
                state = self.forget(state, key)
                if block.id and block.of in SPOKEN:
                    frames.append(say(f"{SPOKEN[block.of]}-end", id=block.id))
        return state, frames

    # blocks

    def _block_start(self, state: AISDKState, data: BlockStart, _assembly: Assembly) -> Written:
        key = place(data.message, data.block)
        data = as_call(data)
        if key in state.blocks and state.blocks[key].of in CALLS:
            return state, ()  # begun twice
        state, bare = self._close_one(state, place(0, None))
        state, twice = self._close_one(state, key)
        bare = (*bare, *twice)
        if data.message in state.muted:
            return remember(state, data, ""), bare
        if data.of not in SPOKEN and data.of not in CALLS:
            return remember(state, data, ""), bare
        state, frames = self._content(state)
        name = f"{data.message}-{data.block}"
        if data.of in CALLS:
            name = free_name(state, data)
        state = remember(state, data, name)
        return state, (*bare, *frames, opener(state.blocks[key]))

    def _close_one(self, state: AISDKState, key: str) -> Written:
        """Ends a part, if it is open: text that came without a block, or a block that begins again."""
        block = state.blocks.get(key)
        if block is None:
            return state, ()
        ending = (say(f"{SPOKEN[block.of]}-end", id=block.id),) if block.id and block.of in SPOKEN else ()
        return self.forget(state, key), ending

    def _block_delta(self, state: AISDKState, data: BlockDelta, _assembly: Assembly) -> Written:
        key = place(data.message, data.block)
        block, frames = state.blocks.get(key), list[Frame]()
        if block is None:
            if data.op != "text.append" or data.message in state.muted:
                return state, ()
            state, frames = self._content(state)
            name = f"text-{state.bare}" if data.block is None else f"{data.message}-{data.block}"
            start = BlockStart(message=data.message, block=data.block)
            state = remember(replace(state, bare=state.bare + 1), start, name)
            block = state.blocks[key]
            frames.append(opener(block))
        if not block.id:
            return state, frames
        if data.op in ("text.append", "json.append"):
            if block.of in CALLS and not block.begun:
                block = replace(block, begun=True)
                state = replace(state, blocks={**state.blocks, key: block})
            state, made = self.plain(state, block, data)
            return state, (*frames, *made)
        state, made = self._attachment(state, block, data)
        return state, (*frames, *made)

    def _attachment(self, state: AISDKState, block: OpenBlock, data: BlockDelta) -> Written:
        """What goes with a block: a citation, a signature."""
        if data.op == "annotation.add":
            return annotation(state, block, data.value)
        if data.op not in ("opaque.set", "opaque.append"):
            return state, ()
        if block.of not in SPOKEN:
            return state, (say("data-opaque", data={"toolCallId": block.id, "value": data.value}),)
        noted = {"patinox": {data.op: data.value}}
        return state, (say(f"{SPOKEN[block.of]}-delta", id=block.id, delta="", providerMetadata=noted),)

    def _block_end(self, state: AISDKState, data: BlockEnd, assembly: Assembly) -> Written:
        key = place(data.message, data.block)
        block = state.blocks.get(key)
        if block is None or block.of in CALLS:
            return (state if block is None else self.call_over(state, key)), ()
        state = self.forget(state, key)
        if block.id:
            return state, (say(f"{SPOKEN[block.of]}-end", id=block.id),)
        whole = assembly.block(data.message, data.block)
        if whole is None or data.message in state.muted or block.of == "tool_result":
            return state, ()
        state, frames = self._content(state)
        return state, (*frames, part(state.id, block, whole))

    # tools

    def _tool_ready(self, state: AISDKState, data: ToolReady, _assembly: Assembly) -> Written:
        block = state.blocks.get(place(data.message, data.block))
        if data.message in state.muted or block is None or block.of not in CALLS:
            return state, ()
        frame = call_input(block, data.arguments if data.invalid_raw is None else data.invalid_raw, data.invalid_raw)
        return self._called(state, data), (frame,)

    def _called(self, state: AISDKState, data: ToolReady) -> AISDKState:
        key = place(data.message, data.block)
        block = state.blocks.get(key)
        if block is None or block.of not in CALLS:
            return state
        state = self.forget(state, key)
        return replace(state, calls={**state.calls, block.id: replace(block, shape=None)})

    def _end_calls(self, state: AISDKState, assembly: Assembly, call_id: str | None = None) -> Written:
        """Tells the server's own calls that are over (only this one, where given): nobody will make them ready."""
        frames = []
        for key, block in state.blocks.items():
            if block.of == "server_tool_call" and block.ended and call_id in (None, block.call_id):
                state = self.forget(state, key)
                state = replace(state, calls={**state.calls, block.id: replace(block, shape=None)})
                frames.append(waiting(block, assembly))
        return state, frames

    def _tool_result(self, state: AISDKState, data: ToolResult, assembly: Assembly) -> Written:
        state, frames = self._end_calls(state, assembly, data.call_id) if data.call_id else (state, ())
        state, answer = self._answer(state, data, "tool-output-available", output=data.result)
        return state, (*frames, *answer)

    def _tool_error(self, state: AISDKState, data: ToolError, assembly: Assembly) -> Written:
        state, frames = self._end_calls(state, assembly, data.call_id) if data.call_id else (state, ())
        state, answer = self._answer(state, data, "tool-output-error", errorText=data.error)
        return state, (*frames, *answer)

    def _answer(self, state: AISDKState, data: ToolResult | ToolError, kind: str, **said: Any) -> Written:
        call = state.calls.get(data.call_id or "")
        if call is None:  # clients fail on an answer to a call that they do not know
            body = msgspec.to_builtins(data, enc_hook=str)
            return state, (say(f"data-{data.kind.replace('.', '-')}", data=body),)
        executed = {"providerExecuted": True} if call.of == "server_tool_call" else {}
        frame = say(kind, toolCallId=data.call_id, **said, **executed)
        return answered(state, data.call_id), (frame,)

    def _tool_approval(self, state: AISDKState, data: ToolApproval, _assembly: Assembly) -> Written:
        if data.call_id not in state.calls or data.approved:
            return state, ()
        if data.approved is False:
            return answered(state, data.call_id), (say("tool-output-denied", toolCallId=data.call_id),)
        name = data.provider_id or f"approval-{data.call_id}"
        return state, (say("tool-approval-request", approvalId=name, toolCallId=data.call_id),)

    # everything else

    def _usage(self, state: AISDKState, data: Usage, _assembly: Assembly) -> Written:
        return replace(state, usage=merge_usage(state.usage, data)), ()

    def _native(self, state: AISDKState, data: Native, _assembly: Assembly) -> Written:
        if data.dialect != DIALECT or not isinstance(data.value, dict):
            return state, ()
        return state, (Frame(encode(data.value)),)

    def _data(self, state: AISDKState, data: Any, _assembly: Assembly) -> Written:
        """Data of the application's own, and what the protocol has no part for."""
        state, frames = self._content(state)
        match data:
            case Metadata(name=None) if isinstance(data.value, dict):
                frame = say("message-metadata", messageMetadata=data.value)
            case Metadata():
                frame = say(f"data-{data.name or 'metadata'}", data=data.value)
            case Json():
                frame = say("data-json", data=data.value)
            case Binary():
                media = "application/octet-stream"
                url = f"data:{media};base64,{base64.b64encode(data.data).decode()}"
                frame = say("file", url=url, mediaType=media)
            case StateSnapshot():
                frame = say("data-state-snapshot", data=data.state)
            case StatePatch():
                frame = say("data-state-patch", data=data.patch)
            case _:
                frame = say(f"data-{data.kind}", data=msgspec.to_builtins(data))
        return state, (*frames, frame)

    # endings

    def end(self, state: AISDKState, data: End | Error, assembly: Assembly) -> Written:
        """`finish` and `[DONE]`; on a failure `error`, on a cancel `abort`, after the usage, and neither of the two."""
        if isinstance(data, Error) or data.outcome in FAILURES:
            return state, (*counted(state), *failure(data))
        if state.finished:
            return state, (DONE,)
        state, opening = self._content(replace(state, due=False))
        closing: Sequence[Frame] = ()
        if data.outcome is Outcome.COMPLETE:
            state, calls = self._end_calls(state, assembly)
            opening += calls
        state, closing = self._end_step(state) if state.step else self._close(state, None)
        said = "length" if data.outcome is Outcome.INCOMPLETE else state.held or "stop"
        finish = say("finish", finishReason=said, **usage_metadata(state))
        return replace(state, finished=True), (*opening, *closing, finish, DONE)


_OWN: dict[type, Callable[[AISDKWriter, AISDKState, Any, Assembly], Written]] = {
    RunStart: AISDKWriter._run_start,
    MessageStart: AISDKWriter._message_start,
    MessageEnd: AISDKWriter._message_end,
    StepStart: AISDKWriter._step_start,
    StepEnd: AISDKWriter._step_end,
    BlockStart: AISDKWriter._block_start,
    BlockDelta: AISDKWriter._block_delta,
    BlockEnd: AISDKWriter._block_end,
    ToolReady: AISDKWriter._tool_ready,
    ToolResult: AISDKWriter._tool_result,
    ToolError: AISDKWriter._tool_error,
    ToolApproval: AISDKWriter._tool_approval,
    Usage: AISDKWriter._usage,
    Native: AISDKWriter._native,
    Metadata: AISDKWriter._data,
    StateSnapshot: AISDKWriter._data,
    StatePatch: AISDKWriter._data,
    Verdict: AISDKWriter._data,
    Retract: AISDKWriter._data,
    Json: AISDKWriter._data,
    Binary: AISDKWriter._data,
}
