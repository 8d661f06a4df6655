"""AG-UI, the agent-user interaction protocol: server-sent events without names, `RUN_STARTED` to `RUN_FINISHED`."""

from __future__ import annotations

from collections.abc import Mapping

from patinox.formats.ag_ui_frames import AGUIState
from patinox.formats.ag_ui_reader import AGUIReader
from patinox.formats.ag_ui_writer import AGUIWriter
from patinox.formats.base import Format

__all__ = ["AG_UI", "LOSSES", "AGUIReader", "AGUIWriter"]

AG_UI: Format[AGUIState] = Format(
    name="ag-ui",
    title="AG-UI events",
    content_type="text/event-stream; charset=utf-8",
    framing="sse",
    reader=AGUIReader,
    writer=AGUIWriter(),
)

LOSSES: Mapping[str, str] = {
    "block.delta:opaque.append": "an encrypted value is set, not grown: of several pieces the last stands",
    "block.start:text": "text that goes on in the message's next block stays one message",
    "block.start:custom": "a custom tool's call becomes an ordinary one, its text the whole input",
    "choice": "a run has one answer: only the first alternative is written",
    "created_s": "a run has no time of its own",
    "message.end:details": "the protocol has no finish reason: the last message's stands in the run's result",
    "message.start:role": "what a message with the role of a tool says is left out; its result is written",
    "provider_id": "messages are named after the stream; a tool call keeps its id",
    "run.end": "told by the end itself",
    "tool.error:details": "the text of the error is all there is",
    "usage:raw": "the counts are written, under the protocol's names",
}
