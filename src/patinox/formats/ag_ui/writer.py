"""Writes AG-UI event streams (docs.ag-ui.com, "Events").

Every text and every reasoning becomes a message of the protocol; one is said at a time, and text that goes on in
the message's next block stays one. A call is ended only when it is ready: a client may carry out what has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

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
    RunEnd,
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
from patinox.formats.ag_ui.frames import (
    CALLS,
    FAILURES,
    ROLES,
    SPOKEN,
    AGUIState,
    Live,
    Written,
    attached,
    closer,
    data_frames,
    failure,
    opener,
    remember,
    run_started,
    say,
    span,
    spanned,
    theirs,
    usage_entries,
    whole_block,
)
from patinox.formats.ag_ui.parts import DIALECT, THINKING
from patinox.formats.base import Frame, StreamHead
from patinox.formats.flat import (
    CUT_SHORT,
    FlatWriter,
    OpenBlock,
    as_call,
    call_id,
    encode,
    free_name,
    merge_usage,
    place,
    replace,
)
from patinox.incremental.assembler import Assembly


class AGUIWriter(FlatWriter[AGUIState]):
    """The fold. It has no state of its own."""

    dialect: ClassVar[str] = DIALECT

    def initial(self, head: StreamHead) -> AGUIState:
        """The run and the thread have the stream's id, unless the source names them."""
        return AGUIState(stream=head.id, run=f"run-{head.id}", thread=f"thread-{head.id}")

    def opened(self, state: AGUIState, assembly: Assembly) -> Sequence[Frame]:
        """The run, its steps, and what is being said or called."""
        if state.finished or not state.begun:
            return ()
        frames = [run_started(state), *(say("STEP_STARTED", stepName=name) for name in state.steps)]
        frames += [span(name) for name in state.spans]
        lasting = state.live
        if lasting is not None and lasting.key not in state.blocks:
            frames.append(say("TEXT_MESSAGE_START", messageId=lasting.id, role=self._role(state, lasting.message)))
        for block in state.blocks.values():
            if block.id:
                role, parent = self._role(state, block.message), state.parents.get(str(block.message))
                frames.append(opener(block, role=role, parent=parent))
        return frames

    def track(self, state: AGUIState, data: Event, shape: dict[str, Any] | None) -> AGUIState:
        """Notes what a frame that was read from this dialect begins and ends."""
        match data:
            case RunStart():
                run, thread = (shape or {}).get("runId"), (shape or {}).get("threadId")
                state = replace(
                    state,
                    begun=True,
                    finished=False,
                    run=run if isinstance(run, str) else state.run,
                    thread=thread if isinstance(thread, str) else state.thread,
                )
            case RunEnd():
                state = replace(state, finished=True, blocks={}, plains=(), spans=(), steps=())
            case StepStart(name=str(name)):
                state = replace(state, steps=(*state.steps, name))
            case StepEnd(name=str(name)):
                state = replace(state, steps=tuple(each for each in state.steps if each != name))
            case BlockStart():
                state = theirs(state, data, shape or {})
            case BlockEnd():
                key = place(data.message, data.block)
                if key in state.blocks and state.blocks[key].of not in CALLS:
                    state = self.forget(state, key)
            case ToolReady():
                state = self.forget(state, place(data.message, data.block))
            case Native() if shape is not None:
                state = spanned(state, shape)
        return state

    def delta_shape(self, state: AGUIState, block: OpenBlock, op: str) -> dict[str, Any] | None:
        """`TEXT_MESSAGE_CONTENT`, `REASONING_MESSAGE_CONTENT`, `TOOL_CALL_ARGS`."""
        if block.of in CALLS and op == "json.append":
            return {"type": "TOOL_CALL_ARGS", "toolCallId": block.id, "delta": {"$": 0}}
        if block.of in SPOKEN and op == "text.append":
            return {"type": f"{SPOKEN[block.of]}_MESSAGE_CONTENT", "messageId": block.id, "delta": {"$": 0}}
        return None

    def own(self, state: AGUIState, data: Any, assembly: Assembly) -> Written:
        """The frames of a record that was not read from this dialect; of alternatives only the first is written."""
        write = _OWN.get(type(data))
        if write is None or (isinstance(data, Event) and data.choice):
            return state, ()
        if type(data) in _SILENT or state.begun:
            return write(self, state, data, assembly)
        state, frames = write(self, replace(state, begun=True), data, assembly)
        return state, (run_started(state), *frames)

    # the run

    def _run_start(self, state: AGUIState, data: RunStart, _assembly: Assembly) -> Written:
        return replace(state, model=data.model or state.model, provider=data.provider or state.provider), ()

    def _message_start(self, state: AGUIState, data: MessageStart, _assembly: Assembly) -> Written:
        if data.role == "assistant":
            return replace(state, held=None), ()
        return replace(state, roles={**state.roles, str(data.message): data.role}), ()

    def _message_end(self, state: AGUIState, data: MessageEnd, _assembly: Assembly) -> Written:
        state, frames = self._hush(state, data.message)
        if data.finish_reason not in CUT_SHORT:
            state, ended = self._end_calls(state)
            frames = (*frames, *ended)
        for key, block in state.blocks.items():
            if block.message == data.message and block.of not in CALLS:
                state = self.forget(state, key)
        name = str(data.message)
        is_answer = name not in state.roles
        parents = {key: parent for key, parent in state.parents.items() if key != name}
        roles = {key: role for key, role in state.roles.items() if key != name}
        held = (data.finish_reason or state.held) if is_answer else state.held
        return replace(state, parents=parents, roles=roles, held=held), frames

    def _role(self, state: AGUIState, message: int) -> str:
        return state.roles.get(str(message), "assistant")

    def _is_muted(self, state: AGUIState, message: int) -> bool:
        """Whether the protocol has no message of that role: what a tool says is its result."""
        return self._role(state, message) not in ROLES | {"assistant"}

    def _step_start(self, state: AGUIState, data: StepStart, _assembly: Assembly) -> Written:
        name = data.name or data.step or f"step-{len(state.steps) + 1}"
        while name in state.steps:  # a step may not begin twice
            name += "'"
        return replace(state, steps=(*state.steps, name)), (say("STEP_STARTED", stepName=name),)

    def _step_end(self, state: AGUIState, data: StepEnd, _assembly: Assembly) -> Written:
        if not state.steps:
            return state, ()
        asked = data.name or data.step
        name = asked if asked in state.steps else state.steps[-1]
        steps = tuple(each for each in state.steps if each != name)
        return replace(state, steps=steps), (say("STEP_FINISHED", stepName=name),)

    # text and reasoning

    def _speak(self, state: AGUIState, key: str, block: OpenBlock) -> Written:
        """Makes the block the one that is being said."""
        live = state.live
        if block.shape is not None or (live is not None and live.key == key and block.id):
            return state, ()
        if live is not None and self._goes_on(state, live, key, block):
            named = {**state.blocks, key: replace(block, id=live.id)}
            return replace(state, live=replace(live, key=key), blocks=named), ()
        state, closing = self._hush(state)
        parent = state.parents.get(str(block.message))
        is_text = SPOKEN[block.of] == "TEXT"
        fresh = block.id if is_text and parent is None and block.id else f"msg-{state.stream}-{state.parts}"
        block = replace(block, id=fresh)
        state = replace(
            state,
            parts=state.parts + 1,
            blocks={**state.blocks, key: block},
            live=Live(fresh, block.of, block.message, key),
            parents=state.parents if parent or not is_text else {**state.parents, str(block.message): fresh},
            spans=state.spans if is_text else (*state.spans, fresh),
        )
        around = [] if is_text else [span(fresh)]
        return state, (*closing, *around, opener(block, role=self._role(state, block.message)))

    def _goes_on(self, state: AGUIState, live: Live, key: str, block: OpenBlock) -> bool:
        """Whether the block is more of what was being said."""
        is_over = live.key == key or live.key not in state.blocks
        return is_over and live.message == block.message and live.of == block.of

    def _hush(self, state: AGUIState, message: int | None = None) -> Written:
        """Ends what is being said (only if it is of `message`, where given)."""
        live = state.live
        if live is None or (message is not None and live.message != message):
            return state, ()
        blocks = state.blocks
        if live.key in blocks:
            blocks = {**blocks, live.key: replace(blocks[live.key], id="")}
        spans = tuple(name for name in state.spans if name != live.id)
        return replace(state, live=None, blocks=blocks, spans=spans, plains=()), closer(live.of, live.id)

    def _block_start(self, state: AGUIState, data: BlockStart, _assembly: Assembly) -> Written:
        key = place(data.message, data.block)
        data = as_call(data)
        if key in state.blocks and state.blocks[key].of in CALLS:
            return state, ()  # begun twice
        if data.of not in CALLS or self._is_muted(state, data.message):
            state, closing = self._hush(state) if state.live is not None and state.live.key == key else (state, ())
            return remember(state, data, ""), closing
        state, closing = self._hush(state)
        parent = state.parents.get(str(data.message))
        if parent is None:
            parent = f"msg-{state.stream}-{state.parts}"
            parents = {**state.parents, str(data.message): parent}
            state = replace(state, parts=state.parts + 1, parents=parents)
        name = free_name(state, data)
        state = remember(state, data, name)
        return state, (*closing, opener(state.blocks[key], parent=parent))

    def _block_delta(self, state: AGUIState, data: BlockDelta, _assembly: Assembly) -> Written:
        key = place(data.message, data.block)
        if key not in state.blocks and data.op == "text.append":
            state = remember(state, BlockStart(message=data.message, block=data.block), "")
        block = state.blocks.get(key)
        if block is None or self._is_muted(state, data.message) or not (block.of in SPOKEN or block.of in CALLS):
            return state, ()
        if data.op in ("text.append", "json.append") and not data.text:
            return state, ()
        opening: Sequence[Frame] = ()
        if block.of in SPOKEN:
            state, opening = self._speak(state, key, block)
        block = state.blocks[key]
        if data.op == "json.append" and not block.begun:
            block = replace(block, begun=True)
            state = replace(state, blocks={**state.blocks, key: block})
        if data.op in ("text.append", "json.append"):
            state, made = self.plain(state, block, data)
        else:
            made = attached(block, data)
        return state, (*opening, *made)

    def _block_end(self, state: AGUIState, data: BlockEnd, assembly: Assembly) -> Written:
        key = place(data.message, data.block)
        block = state.blocks.get(key)
        if block is None or block.of in CALLS:
            return (state if block is None else self.call_over(state, key)), ()
        whole = assembly.block(data.message, data.block)
        state = self.forget(state, key)
        if block.of not in SPOKEN:
            told = whole_block(whole) if whole is not None and not self._is_muted(state, data.message) else None
            return state, () if told is None else (told,)
        if SPOKEN[block.of] == "TEXT" or state.live is None or state.live.key != key:
            return state, ()  # text may go on in the next block
        return self._hush(state)

    # tools

    def _tool_ready(self, state: AGUIState, data: ToolReady, _assembly: Assembly) -> Written:
        key = place(data.message, data.block)
        block = state.blocks.get(key)
        if block is None or block.of not in CALLS or not block.id:
            return state, ()
        frames: list[Frame] = []
        if not block.begun:
            text = data.invalid_raw
            if text is None:
                text = encode({} if data.arguments is None else data.arguments).decode()
            frames.append(say("TOOL_CALL_ARGS", toolCallId=block.id, delta=text))
        return self.forget(state, key), (*frames, say("TOOL_CALL_END", toolCallId=block.id))

    def _end_calls(self, state: AGUIState, call_id: str | None = None) -> Written:
        """Ends the server's own calls that are over (only this one, where given): nobody will make them ready."""
        frames = []
        for key, block in state.blocks.items():
            if block.of == "server_tool_call" and block.ended and call_id in (None, block.call_id, block.id):
                state = self.forget(state, key)
                frames.append(say("TOOL_CALL_END", toolCallId=block.id))
        return state, frames

    def _tool_result(self, state: AGUIState, data: ToolResult, _assembly: Assembly) -> Written:
        if isinstance(data.result, str):
            return self._answer(state, data, data.result, {})
        return self._answer(state, data, encode(data.result).decode(), {"json": True})

    def _tool_error(self, state: AGUIState, data: ToolError, _assembly: Assembly) -> Written:
        return self._answer(state, data, data.error, {"error": True})

    def _answer(self, state: AGUIState, data: ToolResult | ToolError, text: str, note: dict[str, Any]) -> Written:
        named_id = call_id(state, data)
        noted = {"metadata": {"patinox": note}} if note else {}
        named = {"messageId": f"result-{named_id}", "toolCallId": named_id, "role": "tool"}
        state, closing = self._hush(state)
        state, ended = self._end_calls(state, named_id)
        return state, (*closing, *ended, say("TOOL_CALL_RESULT", **named, content=text, **noted))

    # everything else

    def _usage(self, state: AGUIState, data: Usage, _assembly: Assembly) -> Written:
        return replace(state, usage=merge_usage(state.usage, data)), ()

    def _data(self, state: AGUIState, data: Any, _assembly: Assembly) -> Written:
        return state, data_frames(data)

    # endings

    def end(self, state: AGUIState, data: End | Error, assembly: Assembly) -> Written:
        """`RUN_FINISHED`, or `RUN_ERROR`: on every failure, and for a call that was cut off."""
        if isinstance(data, Error) or data.outcome in FAILURES:
            over = isinstance(data, End) and data.outcome is Outcome.CANCELLED and state.finished
            return state, () if over else (failure(state, data),)
        if state.finished:
            return state, ()
        frames = [] if state.begun else [run_started(state)]
        state, closing = self._hush(replace(state, begun=True))
        frames += closing
        if data.outcome is Outcome.COMPLETE:
            state, ended = self._end_calls(state)
            frames += ended
        if any(block.of in CALLS and block.id for block in state.blocks.values()):
            cut = Error("tool_call_cut_off", "the answer ended within a tool call, which is not to be carried out")
            return state, (*frames, failure(state, cut))
        for block in state.blocks.values():
            if block.shape is None and block.id and block.id != THINKING:
                frames += closer(block.of, block.id)
        frames += [say("STEP_FINISHED", stepName=name) for name in reversed(state.steps)]
        reason = "length" if data.outcome is Outcome.INCOMPLETE else state.held
        result = {"result": {"finishReason": reason}} if reason else {}
        named = {"threadId": state.thread, "runId": state.run}
        frames.append(say("RUN_FINISHED", **named, **result, **usage_entries(state)))
        return replace(state, finished=True, steps=(), blocks={}), frames


_OWN: dict[type, Callable[[AGUIWriter, AGUIState, Any, Assembly], Written]] = {
    RunStart: AGUIWriter._run_start,
    MessageStart: AGUIWriter._message_start,
    MessageEnd: AGUIWriter._message_end,
    StepStart: AGUIWriter._step_start,
    StepEnd: AGUIWriter._step_end,
    BlockStart: AGUIWriter._block_start,
    BlockDelta: AGUIWriter._block_delta,
    BlockEnd: AGUIWriter._block_end,
    ToolReady: AGUIWriter._tool_ready,
    ToolResult: AGUIWriter._tool_result,
    ToolError: AGUIWriter._tool_error,
    Usage: AGUIWriter._usage,
    Native: AGUIWriter._data,
    Metadata: AGUIWriter._data,
    StateSnapshot: AGUIWriter._data,
    StatePatch: AGUIWriter._data,
    ToolApproval: AGUIWriter._data,
    Verdict: AGUIWriter._data,
    Retract: AGUIWriter._data,
    Json: AGUIWriter._data,
    Binary: AGUIWriter._data,
}
_SILENT = frozenset({Usage, MessageEnd})
