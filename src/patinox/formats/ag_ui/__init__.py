"""AG-UI, the agent-user interaction protocol: server-sent events without names, `RUN_STARTED` to `RUN_FINISHED`."""

from __future__ import annotations

from typing import get_args

from patinox.core.events import FinishReason
from patinox.formats.ag_ui.frames import AGUIState
from patinox.formats.ag_ui.reader import AGUIReader
from patinox.formats.ag_ui.writer import AGUIWriter
from patinox.formats.base import Format
from patinox.formats.losses import ONE_CALL, Loss, Losses, has_cut_calls, is_followed, word_differs

__all__ = ["AG_UI", "LOSSES", "AGUIReader", "AGUIWriter"]


LOSSES: Losses = {
    "json": Loss("told as a custom event"),
    "binary": Loss("told as a custom event, in base64"),
    "block.delta:opaque.append": Loss("an encrypted value is set, not grown: of several pieces the last stands"),
    "block.start:custom": Loss("a custom tool's call becomes an ordinary one, its text the whole input"),
    "block.start:tool_result": Loss("told as the result of its call"),
    "choice": Loss("a run has one answer: only the first alternative is written"),
    "end:complete": Loss("an answer that ends within a tool call is an error of the run", has_cut_calls),
    "end:incomplete": Loss("an answer that ends within a tool call is an error of the run", has_cut_calls),
    "message.end:finish_reason": Loss("the run's result has that of its last message", is_followed, is_late=True),
    "message.end:details": Loss("the protocol has no finish reason: the last message's stands in the run's result"),
    "message.end:provider_reason": ONE_CALL["message.end:provider_reason"]._replace(
        when=word_differs({reason: reason for reason in get_args(FinishReason)})
    ),
    "message.end:stop_sequence": Loss("the protocol does not say which stop sequence it was"),
    "message.start": Loss(
        "where a message ends shows only by the texts and calls of the next", lambda data, _: data.message > 0
    ),
    "message.start:role": Loss(
        "what a message with the role of a tool says is left out; its result is written",
        lambda data, _: data.role == "tool",
    ),
    "metadata": Loss("data without a name is told under a name", lambda data, _: data.name is None),
    "native": Loss("frames of other dialects are told as raw events"),
    "provider_id": Loss("messages are named after the stream; a tool call keeps its id"),
    "run.start:created_s": Loss("a run has no time of its own"),
    "run.start:model": Loss("a run has no model; it stands with the usage"),
    "run.start:provider": Loss("a run has no provider; it stands with the usage"),
    "step.start": Loss("a step has a name", lambda data, _: data.name is None),
    "step.end": Loss("a step has a name", lambda data, _: data.name is None),
    "tool.error:details": Loss("the text of the error is all there is"),
    "usage:raw": Loss("the counts are written, under the protocol's names"),
}
"""What is lost, or told in other words, on the way into this dialect from another."""

AG_UI: Format[AGUIState] = Format(
    name="ag-ui",
    title="AG-UI events",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=AGUIReader,
    writer=AGUIWriter(),
    losses=LOSSES,
)
