"""Reads the candidates of one Gemini frame after the other into neutral events.

The dialect has parts, not blocks: parts of one kind that follow one another are one block, which ends when a part of
another kind comes, or the candidate ends. Each method leaves, in the place of what it has read, the hole that the
writer fills (see `gemini.frames`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec

from patinox.core.events import (
    BlockDelta,
    BlockEnd,
    BlockKind,
    BlockStart,
    DeltaOp,
    Event,
    MessageEnd,
    MessageStart,
    ToolError,
    ToolReady,
    ToolResult,
)
from patinox.formats.gemini.arguments import PartialArguments
from patinox.formats.gemini.frames import REASONS, shape_key

_encode = msgspec.json.Encoder().encode

_CUT_SHORT = frozenset({"length", "content_filter", "error"})


class _Block:
    __slots__ = ("arguments", "call_id", "done", "name", "number", "of", "value")

    def __init__(self, number: int, of: BlockKind, name: str | None, call_id: str | None) -> None:
        self.number = number
        self.of = of
        self.name = name
        self.call_id = call_id
        self.value: Any = {}  # a whole call's arguments
        self.arguments: PartialArguments | None = None
        self.done = False  # the last piece of the arguments was there


class Candidate:
    """One alternative: its message, and the block that is open."""

    __slots__ = ("begun", "block", "called", "index", "late", "message", "reason", "word")

    def __init__(self, index: int, message: int) -> None:
        self.index = index
        self.message = message
        self.begun = 0
        self.block: _Block | None = None
        self.called = False
        self.late = False
        self.reason: str | None = None
        self.word: str | None = None


class CandidatesReader:
    """The candidates of one stream; what the last frame gave is in `events` until the next is begun."""

    def __init__(self, problems: list[str]) -> None:
        self.candidates: dict[int, Candidate] = {}
        self.events: list[Event] = []
        self.payloads = 0
        self.key = ""
        self._problems = problems

    def begin_frame(self) -> None:
        """Forgets the events of the frame before."""
        self.events, self.payloads, self.key = [], 0, ""

    def read(self, candidates: list[Any]) -> list[Any]:
        """Reads the candidates of one frame and returns their shape."""
        return [self._candidate(value) if isinstance(value, dict) else value for value in candidates]

    def all_ended(self) -> bool:
        """Whether there are candidates and each has had its finish reason."""
        return bool(self.candidates) and all(item.reason is not None for item in self.candidates.values())

    def ended_in(self, reason: str) -> Candidate | None:
        """The first candidate that ended for this (neutral) reason."""
        return next((item for item in self.candidates.values() if item.reason == reason), None)

    def block_prompt(self, word: str) -> None:
        """The prompt was refused: there is one empty answer, which says so."""
        if not self.candidates:
            self._end(self._begin(0, None), word, None)

    def _candidate(self, value: dict[str, Any]) -> dict[str, Any]:
        index = value.get("index", 0)
        index = index if type(index) is int else 0
        content = value.get("content")
        candidate = self.candidates.get(index)
        if candidate is None:
            candidate = self._begin(index, content.get("role") if isinstance(content, dict) else None)
        shape = dict(value)
        if isinstance(content, dict) and isinstance(parts := content.get("parts"), list):
            if candidate.reason is not None and parts and not candidate.late:
                candidate.late = True
                self._problems.append(f"candidate {index} went on after its finish reason")
            read = [self._part(candidate, part) if isinstance(part, dict) else part for part in parts]
            shape["content"] = {**content, "parts": read}
        for key in ("groundingMetadata", "citationMetadata"):
            if (sources := value.get(key)) and isinstance(sources, dict):
                shape[key] = self._grow(candidate, self._text(candidate), "annotation.add", value=sources)
        if (logprobs := value.get("logprobsResult")) and isinstance(logprobs, dict):
            shape["logprobsResult"] = self._grow(candidate, self._text(candidate), "logprobs.add", value=logprobs)
        reason = value.get("finishReason")
        if isinstance(reason, str) and reason and candidate.reason is None:
            self._end(candidate, reason, value.get("finishMessage"))
        return shape

    def _begin(self, index: int, role: Any) -> Candidate:
        candidate = self.candidates[index] = Candidate(index, len(self.candidates))
        role = role if isinstance(role, str) and role not in ("", "model") else "assistant"
        self.events.append(MessageStart(message=candidate.message, choice=index, role=role))
        return candidate

    def _end(self, candidate: Candidate, word: str, details: Any) -> None:
        reason = REASONS.get(word, "other")
        if reason == "stop" and candidate.called:
            reason = "tool_calls"
        self._close(candidate, cut=reason in _CUT_SHORT)
        candidate.reason, candidate.word = reason, word
        self.events.append(
            MessageEnd(
                message=candidate.message,
                choice=candidate.index,
                finish_reason=reason,
                provider_reason=word,
                details=details,
            )
        )

    # parts

    def _part(self, candidate: Candidate, part: dict[str, Any]) -> Any:
        text = part.get("text")
        if isinstance(text, str):
            shape, block = self._text_part(candidate, part, text)
        else:
            read = next((read for key, read in _PARTS.items() if isinstance(part.get(key), dict)), None)
            if read is None:
                return self._unknown(candidate, part)
            shape, block = dict(part), None
            block = read(self, candidate, shape)
        signature = part.get("thoughtSignature")
        if isinstance(signature, str) and signature:
            block = block or candidate.block or self._block(candidate, _kind(part))
            shape["thoughtSignature"] = self._grow(candidate, block, "opaque.set", value=signature)
        self._settle(candidate)
        return shape

    def _text_part(self, candidate: Candidate, part: dict[str, Any], text: str) -> tuple[dict[str, Any], _Block | None]:
        if not text:
            return dict(part), None
        block = self._block(candidate, _kind(part))
        return {**part, "text": self._grow(candidate, block, "text.append", text)}, block

    def _function_call(self, candidate: Candidate, shape: dict[str, Any]) -> _Block:
        call = shape["functionCall"]
        name, pieces = _word(call.get("name")), call.get("partialArgs")
        block = candidate.block
        if name is None and block is not None and block.arguments is not None:
            shape["functionCall"] = self._pieces(candidate, block, call)
            return block
        candidate.called = True
        self._close(candidate)
        block = self._open(candidate, "tool_call", name, _word(call.get("id")))
        if call.get("willContinue") is True or isinstance(pieces, list):
            block.arguments = PartialArguments()
            shape["functionCall"] = self._pieces(candidate, block, call)
        else:
            shape["functionCall"] = self._whole_call(candidate, block, call)
        return block

    def _whole_call(self, candidate: Candidate, block: _Block, call: dict[str, Any]) -> dict[str, Any]:
        arguments = call.get("args")
        shape = dict(call)
        if arguments:
            block.value = arguments
            text = _encode(arguments).decode()
            shape["args"] = {**self._grow(candidate, block, "json.append", text), "json": True}
        return shape

    def _pieces(self, candidate: Candidate, block: _Block, call: dict[str, Any]) -> dict[str, Any]:
        """Arguments in pieces; those of one part make one delta. The part that ends the call ends the text."""
        assert block.arguments is not None
        shape, pieces, text = dict(call), call.get("partialArgs"), ""
        if isinstance(pieces, list):
            hole = self.payloads
            shapes = []
            for piece in pieces:
                read = block.arguments.add(piece) if isinstance(piece, dict) else None
                if read is None:
                    self._problems.append("a piece of a call's arguments is out of order, or not known")
                    shapes.append(piece)
                    continue
                shapes.append(_piece_shape(piece, hole, read.key, len(text) + read.start, len(text) + read.stop))
                text += read.text
            shape["partialArgs"] = shapes
        if call.get("willContinue") is not True:
            text += block.arguments.finish()
            block.done = True
        if text or pieces:
            self._grow(candidate, block, "json.append", text)
        return shape

    def _code(self, candidate: Candidate, shape: dict[str, Any]) -> _Block:
        code = shape["executableCode"]
        self._close(candidate)
        block = self._open(candidate, "code", _word(code.get("language")), _word(code.get("id")))
        if isinstance(text := code.get("code"), str) and text:
            shape["executableCode"] = {**code, "code": self._grow(candidate, block, "text.append", text)}
        return block

    def _code_result(self, candidate: Candidate, shape: dict[str, Any]) -> _Block:
        result = shape["codeExecutionResult"]
        block = self._result_block(candidate, "code_execution", _word(result.get("id")))
        failed = result.get("outcome") not in (None, "OUTCOME_OK", "OUTCOME_UNSPECIFIED")
        error = _word(result.get("outcome")) if failed else None
        shape["codeExecutionResult"] = self._result(candidate, block, result, error)
        return block

    def _tool_call(self, candidate: Candidate, shape: dict[str, Any]) -> _Block:
        call = shape["toolCall"]
        self._close(candidate)
        block = self._open(candidate, "server_tool_call", _word(call.get("toolType")), _word(call.get("id")))
        shape["toolCall"] = self._whole_call(candidate, block, call)
        return block

    def _tool_response(self, candidate: Candidate, shape: dict[str, Any]) -> _Block:
        answer = shape["toolResponse"]
        block = self._result_block(candidate, _word(answer.get("toolType")), _word(answer.get("id")))
        if "response" in answer:
            shape["toolResponse"] = {**answer, "response": self._result(candidate, block, answer["response"], None)}
        return block

    def _result_block(self, candidate: Candidate, name: str | None, call_id: str | None) -> _Block:
        self._close(candidate)
        return self._open(candidate, "tool_result", name, call_id)

    def _result(self, candidate: Candidate, block: _Block, value: Any, error: str | None) -> dict[str, Any]:
        place: dict[str, Any] = {"message": candidate.message, "choice": candidate.index, "block": block.number}
        place |= {"call_id": block.call_id, "name": block.name}
        if error is not None:
            self.events.append(ToolError(**place, error=error, details=value))
        else:
            self.events.append(ToolResult(**place, result=value))
        return self._hole()

    def _inline_data(self, candidate: Candidate, shape: dict[str, Any]) -> _Block:
        blob = shape["inlineData"]
        mime = _word(blob.get("mimeType")) or ""
        of: BlockKind = "image" if mime.startswith("image/") else "audio" if mime.startswith("audio/") else "file"
        block = candidate.block
        if of != "audio" or block is None or (block.of, block.name) != (of, mime):
            self._close(candidate)
            block = self._open(candidate, of, mime or None, None)
        if data := _bytes(blob.get("data")):
            shape["inlineData"] = {**blob, "data": self._grow(candidate, block, "bytes.append", data=data)}
        return block

    def _file_data(self, candidate: Candidate, shape: dict[str, Any]) -> _Block:
        self._close(candidate)
        block = self._open(candidate, "file", None, None)
        shape["fileData"] = self._grow(candidate, block, "opaque.set", value=shape["fileData"])
        return block

    def _unknown(self, candidate: Candidate, part: dict[str, Any]) -> Any:
        if part.keys() <= {"thought", "thoughtSignature"}:
            shape = dict(part)
            if signature := _word(part.get("thoughtSignature")):
                shape["thoughtSignature"] = self._grow(candidate, self._text(candidate), "opaque.set", value=signature)
            return shape
        self._close(candidate)
        shape = self._grow(candidate, self._open(candidate, "custom", None, None), "opaque.set", value=part)
        self._close(candidate)
        return shape

    # blocks

    def _text(self, candidate: Candidate) -> _Block:
        """The block that what belongs to the answer is said of: the open one, else a text."""
        return candidate.block or self._open(candidate, "text", None, None)

    def _block(self, candidate: Candidate, of: BlockKind) -> _Block:
        block = candidate.block
        if block is not None and block.of == of:
            return block
        self._close(candidate)
        return self._open(candidate, of, None, None)

    def _open(self, candidate: Candidate, of: BlockKind, name: str | None, call_id: str | None) -> _Block:
        block = candidate.block = _Block(candidate.begun, of, name, call_id)
        candidate.begun += 1
        self.events.append(
            BlockStart(
                message=candidate.message,
                choice=candidate.index,
                block=block.number,
                of=of,
                name=name,
                call_id=call_id,
            )
        )
        return block

    def _grow(
        self,
        candidate: Candidate,
        block: _Block,
        op: DeltaOp,
        text: str = "",
        *,
        value: Any = None,
        data: bytes = b"",
    ) -> dict[str, Any]:
        """Adds the delta, and gives the hole that it leaves in the frame."""
        self.key = shape_key(candidate.message, block.number, op)
        self.events.append(
            BlockDelta(message=candidate.message, choice=candidate.index, block=block.number, op=op, text=text,
                       value=value, data=data)
        )  # fmt: skip
        return self._hole()

    def _hole(self) -> dict[str, Any]:
        self.payloads += 1
        return {"$": self.payloads - 1}

    def _settle(self, candidate: Candidate) -> None:
        """Ends the open block if a part is all of it."""
        block = candidate.block
        if block is None or block.of in ("text", "reasoning", "audio"):
            return
        if block.arguments is None or block.done:
            self._close(candidate)

    def _close(self, candidate: Candidate, *, cut: bool = False) -> None:
        block, candidate.block = candidate.block, None
        if block is None:
            return
        place: dict[str, Any] = {"message": candidate.message, "choice": candidate.index, "block": block.number}
        if block.arguments is not None and not block.done and not cut and (text := block.arguments.finish()):
            self._grow(candidate, block, "json.append", text)  # its last part is missing, but the answer went on
        self.events.append(BlockEnd(**place))
        if block.of in ("tool_call", "server_tool_call") and (block.arguments is None or block.done or not cut):
            arguments = block.value if block.arguments is None else block.arguments.value
            self.events.append(ToolReady(**place, call_id=block.call_id, name=block.name, arguments=arguments))


_PARTS: dict[str, Callable[[CandidatesReader, Candidate, dict[str, Any]], _Block]] = {
    "functionCall": CandidatesReader._function_call,
    "executableCode": CandidatesReader._code,
    "codeExecutionResult": CandidatesReader._code_result,
    "toolCall": CandidatesReader._tool_call,
    "toolResponse": CandidatesReader._tool_response,
    "inlineData": CandidatesReader._inline_data,
    "fileData": CandidatesReader._file_data,
}


def _piece_shape(piece: dict[str, Any], hole: int, key: str, start: int, stop: int) -> dict[str, Any]:
    if key == "nullValue":
        return piece
    at: dict[str, Any] = {"$": hole, "at": [start, stop]}
    return {**piece, key: {**at, "string": True} if key == "stringValue" else at}


def _kind(part: dict[str, Any]) -> BlockKind:
    return "reasoning" if part.get("thought") is True else "text"


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _bytes(value: Any) -> bytes:
    """Base64 that would be written the same again; nothing for any other value."""
    if not isinstance(value, str):
        return b""
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if base64.b64encode(data).decode() == value else b""
