"""pydantic-ai: the events of a run, by their `event_kind`, and of their parts, by `part_kind`.

A part that begins with number 0, or with any that is not beyond the last one, begins a new message: so does a model's
next answer after tools were called.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from patinox.core.events import BlockKind, Native, Usage
from patinox.manager.agents.telling import AgentReader, Telling, count, plain

DIALECT = "pydantic-ai"
_PASSED = ("final_result", "function_tool_call", "output_tool_call")  # of parts that were told
_KINDS: Mapping[str, BlockKind] = {"text": "text", "thinking": "reasoning"}


def is_event(value: Any) -> bool:
    """Whether an object is an event of pydantic-ai."""
    return isinstance(getattr(value, "event_kind", None), str)


class PydanticAIReader(AgentReader):
    """One run."""

    def __init__(self) -> None:
        super().__init__()
        self._message: Telling | None = None
        self._last = -1

    def read(self, value: Any) -> None:
        """One event of a run."""
        kind = value.event_kind
        handle = _EVENTS.get(kind)
        if handle is not None:
            handle(self, value)
        elif kind not in _PASSED:
            self.out.append(Native(dialect=DIALECT, event=kind, value=plain(value)))

    def finish(self) -> None:
        """Ends the message."""
        if self._message is not None:
            self._message.end()
        self._message, self._last = None, -1

    def _part_start(self, event: Any) -> None:
        if event.index <= self._last:
            self.finish()
        if self._message is None:
            self._message = self.tell()
        self._last = event.index
        part, message = event.part, self._message
        kind: str = part.part_kind
        if kind.endswith("tool-call"):
            of: BlockKind = "tool_call" if kind == "tool-call" else "server_tool_call"
            message.open(event.index, of, part.tool_name, part.tool_call_id)
            message.grow(event.index, _arguments(part.args))
        elif kind.endswith("tool-return"):
            message.open(event.index, "tool_result", part.tool_name, part.tool_call_id)
            self.result(part.tool_call_id, part.tool_name, plain(part.content))
        elif kind in _KINDS:
            message.open(event.index, _KINDS[kind])
            message.grow(event.index, part.content)
            message.value(event.index, getattr(part, "signature", None))
        elif kind == "file":
            message.open(event.index, _file_kind(part.content.media_type))
            message.value(event.index, _file(part.content))
        else:
            self.out.append(Native(dialect=DIALECT, event=f"part_start:{kind}", value=plain(part)))

    def _part_delta(self, event: Any) -> None:
        message, delta = self._message, event.delta
        if message is None:
            return
        if delta.part_delta_kind == "tool_call":
            message.grow(event.index, _arguments(delta.args_delta))
        else:
            message.grow(event.index, delta.content_delta or "")
            message.value(event.index, getattr(delta, "signature_delta", None))

    def _part_end(self, event: Any) -> None:
        if self._message is not None:
            self._message.close(event.index)

    def _tool_result(self, event: Any) -> None:
        self.finish()
        part = getattr(event, "part", None) or event.result  # as earlier releases call it
        failed = part.part_kind == "retry-prompt"
        self.result(part.tool_call_id, part.tool_name, plain(part.content), failed=failed)

    def _run_result(self, event: Any) -> None:
        self.finish()
        usage = event.result.usage
        usage = usage if hasattr(usage, "input_tokens") else usage()  # as earlier releases have it
        self.out.append(
            Usage(
                input_tokens=count(usage, "input_tokens"),
                output_tokens=count(usage, "output_tokens"),
                cached_tokens=count(usage, "cache_read_tokens"),
                cache_write_tokens=count(usage, "cache_write_tokens"),
            )
        )


_EVENTS: Mapping[str, Callable[[PydanticAIReader, Any], None]] = {
    "part_start": PydanticAIReader._part_start,
    "part_delta": PydanticAIReader._part_delta,
    "part_end": PydanticAIReader._part_end,
    "function_tool_result": PydanticAIReader._tool_result,
    "output_tool_result": PydanticAIReader._tool_result,
    "agent_run_result": PydanticAIReader._run_result,
}


def _arguments(value: Any) -> str:
    """Arguments come as text, or as an object in one piece."""
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.encode(plain(value)).decode()


def _file_kind(media_type: str) -> BlockKind:
    kind = media_type.partition("/")[0]
    return "image" if kind == "image" else "audio" if kind == "audio" else "file"


def _file(content: Any) -> dict[str, Any]:
    data = base64.b64encode(content.data).decode()
    return {"url": f"data:{content.media_type};base64,{data}", "media_type": content.media_type}
