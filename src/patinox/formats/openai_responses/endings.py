"""How a log's end is said: the run's own last frames where they agree with it, else ours.

Complete is `response.completed`, or `response.incomplete` where the model was stopped; incomplete is
`response.incomplete`; failed, cancelled and interrupted are `error`, then `response.failed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from patinox.core.chunks import End, Error, Outcome
from patinox.formats.openai_responses import own
from patinox.formats.openai_responses.shapes import HOLE, fill
from patinox.formats.openai_responses.state import (
    Core,
    Joint,
    ResponsesState,
    Written,
    numbered,
    output,
    replace,
    sources,
)
from patinox.formats.openai_responses.tables import ERROR_CODES, write_usage
from patinox.incremental.assembler import Assembly

Flush = Callable[[ResponsesState, Sequence[Joint], Assembly], Written]

_FAILURES = {
    Outcome.CANCELLED: "the answer was cancelled",
    Outcome.INTERRUPTED: "the answer broke off",
    Outcome.FAILED: "the answer failed",
}
_FILTERED = ("content_filter", "refusal")
_FITTING = {
    Outcome.COMPLETE: ("response.completed", "response.incomplete"),
    Outcome.INCOMPLETE: ("response.incomplete",),
    Outcome.FAILED: ("error", "response.failed"),
}


def end(state: ResponsesState, data: End | Error, assembly: Assembly, flush: Flush) -> Written:
    """The frames of the log's last record."""
    outcome = data.outcome if isinstance(data, End) else Outcome.FAILED
    state = ResponsesState(state.sequence, replace(state.core, joint=None))
    held = state.core.held
    if outcome is Outcome.FAILED:
        held = tuple(_failures(held))
    if any(_type(joint) in _FITTING.get(outcome, ()) or joint.ext.get("raw") for joint in held):
        return flush(state, held, assembly)
    core, bodies = own.begin(replace(state.core, held=()))
    if outcome in _FAILURES:
        return numbered(state.sequence, core, [*bodies, *_failed(core, data, outcome, assembly)])
    core, more = own.close(core, assembly, whole=outcome is Outcome.COMPLETE)
    known = sources(core, assembly)
    bodies += [fill(body, known) for body in more]
    if outcome is Outcome.INCOMPLETE and core.reason not in _FILTERED:
        core = replace(core, reason="length")
    return numbered(state.sequence, core, [*bodies, finished(core, assembly, core.usage)])


def _type(joint: Joint) -> str | None:
    frame = joint.ext.get("frame")
    literal = frame.get(HOLE) if isinstance(frame, dict) else None
    body = literal[1] if isinstance(literal, list) and len(literal) == 2 else frame
    kind = body.get("type") if isinstance(body, dict) else None
    return kind if isinstance(kind, str) else None


def _failures(held: Sequence[Joint]) -> list[Joint]:
    """Of the frames that are held, those that say that it failed."""
    return [joint for joint in held if joint.ext.get("hold") and (joint.ext.get("raw") or _is_failure(joint))]


def _is_failure(joint: Joint) -> bool:
    return _type(joint) in _FITTING[Outcome.FAILED]


def finished(core: Core, assembly: Assembly, usage: Mapping[str, Any]) -> dict[str, Any]:
    """The last frame of a response that did not fail."""
    word = "content_filter" if core.reason in _FILTERED else "max_output_tokens" if core.reason == "length" else None
    details = None if word is None else {"reason": word}
    status = "completed" if word is None else "incomplete"
    return _last(core, status, assembly, usage, incomplete_details=details)


def _failed(core: Core, data: End | Error, outcome: Outcome, assembly: Assembly) -> list[dict[str, Any]]:
    error = data if isinstance(data, Error) else data.error
    message = _FAILURES[outcome] if error is None else error.message
    code = outcome.value if error is None else error.code
    told = {"code": code if code in ERROR_CODES else "server_error", "message": message}
    status = "cancelled" if outcome is Outcome.CANCELLED else "failed"
    return [
        {"type": "error", "code": code, "message": message, "param": None},
        {**_last(core, status, assembly, core.usage, error=told), "type": "response.failed"},
    ]


def _last(core: Core, status: str, assembly: Assembly, usage: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    response = {
        **(core.response or own.fresh_response(core)),
        "status": status,
        "model": core.response.get("model") or core.model,
        "output": output(core, assembly),
        "usage": write_usage(usage),
        **fields,
    }
    return {"type": f"response.{status}", "response": response}
